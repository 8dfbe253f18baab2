//! What a node has beside its VIPs: addresses, and a way out.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::super::link::Rtnl;
use super::super::link::rtm::{
    Address, Command, IFA_F_DADFAILED, IFA_F_DEPRECATED, IFA_F_SECONDARY, IFA_F_TENTATIVE,
    RT_SCOPE_UNIVERSE, RT_TABLE_LOCAL, RT_TABLE_MAIN, RTN_LOCAL, RTPROT_KERNEL, RTPROT_WEIR, Route,
};
use super::super::netlink::NlError;
use super::ONE_BY_ONE;

/// What makes packets to an address end on this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// It is an address of our link.
    pub(super) address: bool,
    /// A route of ours.
    pub(super) route: bool,
    /// The protocol of a route of somebody else's to our link.
    pub(super) foreign: Option<u8>,
    /// An address or a route that does not touch our link.
    pub(super) elsewhere: bool,
}

/// What is known of the node, kept from one read to the next: all steps of a pass are judged by one look.
#[derive(Default)]
pub(super) struct Node {
    outward: BTreeMap<bool, Outward>,
    locals: BTreeMap<bool, Locals>,
}

/// How one family leaves the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outward {
    /// The routers of its default routes.
    pub(super) gateways: BTreeSet<IpAddr>,
    /// What the node speaks from; none when it has no address.
    pub(super) source: Option<IpAddr>,
}

/// Where packets of one family end on the node.
#[derive(Debug, Default)]
struct Locals {
    hosts: BTreeMap<IpAddr, Found>,
    nets: Vec<(IpAddr, u8)>,
}

impl Found {
    /// Judges one local route as seen from our link; `address` is what was asked for.
    pub(super) fn of(route: &Route, link: u32) -> Self {
        let mut found = Self::default();
        if route.kind != RTN_LOCAL {
            return found;
        }
        // the tables local and main are one until there is a rule, and a look-up then calls both by the latter's name
        // (`fib_trie_unmerge` in `net/ipv4/fib_trie.c`)
        let local = [RT_TABLE_LOCAL, RT_TABLE_MAIN].contains(&route.table);
        match route.protocol {
            _ if route.link != Some(link) || !route.is_host() || !local => {
                found.elsewhere = true;
            }
            RTPROT_KERNEL => found.address = true,
            RTPROT_WEIR => found.route = true,
            protocol => found.foreign = Some(protocol),
        }
        found
    }

    /// Says whether there is something.
    pub(super) fn any(self) -> bool {
        self != Self::default()
    }

    fn and(self, other: Self) -> Self {
        Self {
            address: self.address || other.address,
            route: self.route || other.route,
            foreign: self.foreign.or(other.foreign),
            elsewhere: self.elsewhere || other.elsewhere,
        }
    }
}

impl Locals {
    fn take(&mut self, route: &Route, link: u32) {
        if route.is_host() {
            let found = self.hosts.entry(route.destination).or_default();
            *found = found.and(Found::of(route, link));
        } else if route.kind == RTN_LOCAL {
            self.nets.push((route.destination, route.prefix));
        }
    }

    fn find(&self, address: IpAddr) -> Found {
        let within = |(net, prefix): &(IpAddr, u8)| within(address, *net, *prefix);
        let wide = Found {
            elsewhere: self.nets.iter().any(within),
            ..Found::default()
        };
        let host = self.hosts.get(&address).copied().unwrap_or_default();
        host.and(wide)
    }
}

impl Node {
    /// Lets go of where packets end, which any read may find changed. Gateways and the node's own address change seldom
    /// and cost a dump of the main routes, a million on some nodes: they are looked for with everything else.
    pub(super) fn forget(&mut self, everything: bool) {
        self.locals.clear();
        if everything {
            self.outward.clear();
        }
    }

    /// Says where each address ends on this node.
    pub(super) async fn find(
        &mut self,
        rtnl: &mut Rtnl,
        link: u32,
        addresses: &[IpAddr],
    ) -> Result<BTreeMap<IpAddr, Found>, NlError> {
        if addresses.len() <= ONE_BY_ONE {
            let routes = rtnl.lookup(addresses).await?;
            let found = routes.iter().map(|route| {
                route
                    .as_ref()
                    .map(|route| Found::of(route, link))
                    .unwrap_or_default()
            });
            return Ok(addresses.iter().copied().zip(found).collect());
        }
        let mut found = BTreeMap::new();
        for address in addresses {
            let v6 = address.is_ipv6();
            let locals = match self.locals.entry(v6) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    let mut locals = Locals::default();
                    let all = Command::LocalRoutes { v6, link: None };
                    rtnl.routes(all, |route| locals.take(&route, link)).await?;
                    unknown.insert(locals)
                }
            };
            found.insert(*address, locals.find(*address));
        }
        Ok(found)
    }

    /// Takes note of what a step made of an address.
    pub(super) fn note(&mut self, address: IpAddr, found: Found) {
        if let Some(locals) = self.locals.get_mut(&address.is_ipv6()) {
            locals.hosts.insert(address, found);
        }
    }

    /// Says how a family leaves the node, `link` being ours.
    pub(super) async fn outward(
        &mut self,
        rtnl: &mut Rtnl,
        v6: bool,
        link: u32,
    ) -> Result<Outward, NlError> {
        if let Some(outward) = self.outward.get(&v6) {
            return Ok(outward.clone());
        }
        let mut defaults = Vec::new();
        rtnl.routes(Command::MainRoutes { v6 }, |route| {
            if route.prefix == 0 {
                defaults.push(route);
            }
        })
        .await?;
        let mut source = defaults.iter().find_map(|route| route.source);
        for route in &defaults {
            if let (None, Some(out)) = (source, route.link) {
                source = speaker(&rtnl.addresses(v6, out).await?, &route.gateways);
            }
        }
        if source.is_none() {
            source = speaker(&rtnl.addresses_elsewhere(v6, Some(link)).await?, &[]);
        }
        let outward = Outward {
            gateways: defaults
                .into_iter()
                .flat_map(|route| route.gateways)
                .collect(),
            source,
        };
        self.outward.insert(v6, outward.clone());
        Ok(outward)
    }
}

/// Picks the address that a node speaks from: one in the subnet of a gateway or, failing that, the first.
fn speaker(addresses: &[Address], gateways: &[IpAddr]) -> Option<IpAddr> {
    const UNFIT: u32 = IFA_F_SECONDARY | IFA_F_DADFAILED | IFA_F_DEPRECATED | IFA_F_TENTATIVE;
    let fit = addresses.iter().filter(|address| {
        let open = address.scope == RT_SCOPE_UNIVERSE && address.flags & UNFIT == 0;
        open && !is_compatible(address.address)
    });
    let near = |address: &&Address| {
        let within = |gateway: &IpAddr| within(*gateway, address.address, address.prefix);
        gateways.iter().any(within)
    };
    let found = fit.clone().find(near).or_else(|| fit.clone().next());
    found.map(|address| address.address)
}

/// Says whether it is an IPv6 address that only names an IPv4 one: what `sit0` gives itself once it is up
/// (`sit_add_v4_addrs` in `net/ipv6/addrconf.c`), and nobody speaks from.
pub(super) fn is_compatible(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.to_bits() >> 32 == 0,
    }
}

/// Says whether an address is within a subnet.
fn within(address: IpAddr, net: IpAddr, prefix: u8) -> bool {
    let (one, other, bits) = match (address, net) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits().into(), other.to_bits().into(), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), 128),
        _ => return false,
    };
    let differ: u128 = one ^ other;
    u32::from(prefix) <= bits && differ.checked_shr(bits - u32::from(prefix)).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    fn on(address: &str, prefix: u8, flags: u32) -> Address {
        Address {
            link: 2,
            address: ip(address),
            prefix,
            scope: RT_SCOPE_UNIVERSE,
            flags,
        }
    }

    #[test]
    fn an_address_is_within_a_subnet_when_its_first_bits_are_the_same() {
        let cases = [
            ("10.1.2.3", "10.1.2.255", 24, true),
            ("10.1.2.3", "10.1.3.3", 24, false),
            ("10.1.2.3", "10.1.2.3", 32, true),
            ("10.1.2.3", "10.1.2.2", 32, false),
            ("10.1.2.3", "192.0.2.1", 0, true),
            ("10.1.2.3", "::", 0, false),
            ("fd00::1", "fd00::ffff", 64, true),
            ("fd00::1", "fd00::2", 128, false),
            ("fd00::1", "2001:db8::", 0, true),
        ];
        for (address, net, prefix, expected) in cases {
            let found = within(ip(address), ip(net), prefix);
            assert_eq!(found, expected, "{address} in {net}/{prefix}");
        }
    }

    #[test]
    fn a_node_speaks_from_a_fit_address_near_its_gateway() {
        let addresses = [
            on("192.0.2.9", 24, IFA_F_SECONDARY),
            Address {
                scope: 254,
                ..on("127.0.0.2", 8, 0)
            },
            on("10.0.0.9", 24, 0),
            on("192.0.2.10", 24, 0),
        ];
        let near = speaker(&addresses, &[ip("192.0.2.1")]);
        assert_eq!(near, Some(ip("192.0.2.10")));
        assert_eq!(speaker(&addresses, &[ip("fe80::1")]), Some(ip("10.0.0.9")));
        assert_eq!(speaker(&addresses[..2], &[ip("192.0.2.1")]), None);
        assert_eq!(speaker(&[on("::10.0.0.9", 96, 0)], &[]), None);
    }

    #[test]
    fn many_local_routes_are_judged_like_one() {
        let route = |destination: &str, prefix, protocol, link| Route {
            kind: RTN_LOCAL,
            protocol,
            table: RT_TABLE_LOCAL,
            destination: ip(destination),
            prefix,
            link: Some(link),
            source: None,
            gateways: Vec::new(),
        };
        let routes = [
            route("10.0.0.1", 32, RTPROT_KERNEL, 7),
            route("10.0.0.2", 32, RTPROT_WEIR, 7),
            route("10.0.0.3", 32, 4, 7),
            route("10.0.0.4", 32, RTPROT_KERNEL, 2),
            route("10.1.0.0", 16, 4, 7),
        ];
        let mut locals = Locals::default();
        for route in &routes {
            locals.take(route, 7);
        }
        let nothing = Found::default();
        let elsewhere = Found {
            elsewhere: true,
            ..nothing
        };
        let expected = [
            (
                "10.0.0.1",
                Found {
                    address: true,
                    ..nothing
                },
            ),
            (
                "10.0.0.2",
                Found {
                    route: true,
                    ..nothing
                },
            ),
            (
                "10.0.0.3",
                Found {
                    foreign: Some(4),
                    ..nothing
                },
            ),
            ("10.0.0.4", elsewhere),
            ("10.1.2.3", elsewhere),
            ("10.0.0.5", nothing),
        ];
        for (address, found) in expected {
            assert_eq!(locals.find(ip(address)), found, "{address}");
            assert_eq!(found.any(), address != "10.0.0.5");
        }
        for (route, (_, found)) in routes.iter().zip(expected) {
            assert_eq!(Found::of(route, 7), found, "{route:?}");
        }
    }
}
