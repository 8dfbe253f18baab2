//! The codec of route netlink, as far as addresses, routes and tunnel links go, and notices of what goes. Pure.
//!
//! Constants keep the kernel's names (`include/uapi/linux/rtnetlink.h`, `if_addr.h`, `if_link.h`, `if_tunnel.h`).
//! Requests are such as a socket with `NETLINK_GET_STRICT_CHK` takes: what a dump's header names, it filters by
//! (`ip_valid_fib_dump_req` in `net/ipv4/fib_frontend.c`, `inet_valid_dump_ifaddr_req` in `net/ipv4/devinet.c`).

mod notice;
mod tunnel;

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::kernel::linux::netlink::wire::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use crate::kernel::linux::netlink::{Attrs, Message, Request};

pub use notice::{GROUPS, HEED, Notice};
pub use tunnel::{Tunnel, TunnelKind};

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;

/// Neither a temporary address (IPv6) nor a later one of a subnet (IPv4) is this node's own choice of a source.
pub const IFA_F_SECONDARY: u32 = 0x01;
const IFA_F_NODAD: u8 = 0x02;
/// Another node has it.
pub const IFA_F_DADFAILED: u32 = 0x08;
/// Not to be used for what is new.
pub const IFA_F_DEPRECATED: u32 = 0x20;
/// Not yet to be used.
pub const IFA_F_TENTATIVE: u32 = 0x40;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PREFSRC: u16 = 7;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;

/// A route to a host elsewhere.
const RTN_UNICAST: u8 = 1;
/// A route that ends here.
pub const RTN_LOCAL: u8 = 2;
/// The table that leads elsewhere.
pub const RT_TABLE_MAIN: u32 = 254;
/// The table that is looked at first, and where packets to this host end.
pub const RT_TABLE_LOCAL: u32 = 255;
/// Anywhere.
pub const RT_SCOPE_UNIVERSE: u8 = 0;
/// Nowhere but on this host.
pub const RT_SCOPE_HOST: u8 = 254;
const RTM_F_FIB_MATCH: u32 = 0x2000;

/// Who made a route: the kernel itself, for an address.
pub const RTPROT_KERNEL: u8 = 2;
/// Who made a route: weir. Any number from 5 on is for user space to give meaning to; this one is in neither
/// `include/uapi/linux/rtnetlink.h` nor iproute2's `rt_protos`, lies away from the blocks that routing daemons number
/// their protocols in (1-18, 42, 80, 84, 99, and 186 and above), and is the letter w.
pub const RTPROT_WEIR: u8 = 119;

/// An address on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The link's index.
    pub link: u32,
    /// The link's own end.
    pub address: IpAddr,
    /// The bits of its subnet.
    pub prefix: u8,
    /// `RT_SCOPE_*`; always the kernel's own choice of IPv6.
    pub scope: u8,
    /// `IFA_F_*`.
    pub flags: u32,
}

/// A route, as far as weir cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `RTN_*`.
    pub kind: u8,
    /// `RTPROT_*`.
    pub protocol: u8,
    /// `RT_TABLE_*`, or any other number.
    pub table: u32,
    /// Where it leads to; the unspecified address for a default route.
    pub destination: IpAddr,
    /// How many bits of the destination count.
    pub prefix: u8,
    /// The index of the link it leads to; none for one that has several.
    pub link: Option<u32>,
    /// The address that this host speaks from on it.
    pub source: Option<IpAddr>,
    /// The routers it leads to.
    pub gateways: Vec<IpAddr>,
}

/// What to ask of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Adds an address as a host of its own, `/32` or `/128`; `EEXIST` when the link has it. The scope is of IPv4 only.
    ///
    /// An IPv6 address skips duplicate detection, since the other nodes hold it too, and is deprecated from the start
    /// (preferred lifetime zero), so that nothing on this node takes it as its source.
    AddAddress {
        /// The link's index.
        link: u32,
        /// Which.
        address: IpAddr,
        /// `RT_SCOPE_*`.
        scope: u8,
    },
    /// Deletes an address that was added as a host, of whatever scope; `EADDRNOTAVAIL` when the link does not have it.
    DelAddress {
        /// The link's index.
        link: u32,
        /// Which.
        address: IpAddr,
    },
    /// Makes packets to an address end here.
    AddRoute {
        /// Which.
        route: LocalRoute,
        /// Whether an IPv4 route to the same address may be there already; the new one comes behind it. IPv6 tells the
        /// kernel's from others by their metric.
        beside: bool,
    },
    /// Takes weir's own local route away; `ESRCH` when it is not there.
    DelRoute {
        /// The link's index.
        link: u32,
        /// Which.
        address: IpAddr,
    },
    /// Asks for the route that packets to an address take, as it stands in its table.
    Lookup(IpAddr),
    /// Shows one IPv6 address of a link; `EADDRNOTAVAIL` when the link does not have it (`inet6_rtm_getaddr` in
    /// `net/ipv6/addrconf.c`; IPv4 has no such request).
    GetAddress {
        /// The link's index.
        link: u32,
        /// Which.
        address: Ipv6Addr,
    },
    /// Dumps the addresses of a family, of one link or, with 0, of all.
    Addresses {
        /// Whether of IPv6.
        v6: bool,
        /// The link's index.
        link: u32,
    },
    /// Dumps the local routes of a family, of one link or of all.
    LocalRoutes {
        /// Whether of IPv6.
        v6: bool,
        /// The link's index.
        link: Option<u32>,
    },
    /// Dumps the routes of a family that lead elsewhere.
    MainRoutes {
        /// Whether of IPv6.
        v6: bool,
    },
}

/// A route of ours to one address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalRoute {
    /// The link's index.
    pub link: u32,
    /// Which address.
    pub address: IpAddr,
    /// What this host speaks from when it is its own client; without, from the address itself.
    pub source: Option<IpAddr>,
}

impl Command {
    /// Writes the request.
    pub fn encode(&self) -> Request {
        match *self {
            Self::AddAddress {
                link,
                address,
                scope,
            } => {
                let scope = if address.is_ipv4() { scope } else { 0 };
                let flags = NLM_F_CREATE | NLM_F_EXCL;
                let mut out = Request::new(RTM_NEWADDR, flags);
                host_address(&mut out, link, address, scope);
                if address.is_ipv6() {
                    // preferred for no time, valid without end (`INFINITY_LIFE_TIME` in `include/net/addrconf.h`)
                    let mut lifetimes = [0; 16];
                    lifetimes[4..8].copy_from_slice(&u32::MAX.to_ne_bytes());
                    out.bytes(IFA_CACHEINFO, &lifetimes);
                }
                out
            }
            Self::DelAddress { link, address } => {
                let mut out = Request::new(RTM_DELADDR, 0);
                host_address(&mut out, link, address, 0);
                out
            }
            Self::AddRoute { route, beside } => {
                let behind = beside && route.address.is_ipv4();
                let more = if behind { NLM_F_APPEND } else { NLM_F_EXCL };
                let mut out = Request::new(RTM_NEWROUTE, NLM_F_CREATE | more);
                local_route(&mut out, route);
                out
            }
            Self::DelRoute { link, address } => {
                let mut out = Request::new(RTM_DELROUTE, 0);
                let source = None;
                local_route(
                    &mut out,
                    LocalRoute {
                        link,
                        address,
                        source,
                    },
                );
                out
            }
            Self::Lookup(address) => {
                let mut out = Request::new(RTM_GETROUTE, 0);
                let header = RouteHeader {
                    family: family_of(address),
                    bits: bits_of(address),
                    flags: RTM_F_FIB_MATCH,
                    ..RouteHeader::default()
                };
                header.write(&mut out);
                out.ip(RTA_DST, address);
                out
            }
            Self::GetAddress { link, address } => {
                let mut out = Request::new(RTM_GETADDR, 0);
                write_address_header(&mut out, [AF_INET6, 0, 0, 0], link);
                out.ip(IFA_ADDRESS, address.into());
                out
            }
            Self::Addresses { v6, link } => {
                let mut out = Request::new(RTM_GETADDR, 0);
                write_address_header(&mut out, [family(v6), 0, 0, 0], link);
                out
            }
            Self::LocalRoutes { v6, link } => {
                let mut out = Request::new(RTM_GETROUTE, 0);
                dump_header(v6, RTN_LOCAL).write(&mut out);
                out.u32(RTA_TABLE, RT_TABLE_LOCAL);
                if let Some(link) = link {
                    out.u32(RTA_OIF, link);
                }
                out
            }
            Self::MainRoutes { v6 } => {
                let mut out = Request::new(RTM_GETROUTE, 0);
                dump_header(v6, RTN_UNICAST).write(&mut out);
                out.u32(RTA_TABLE, RT_TABLE_MAIN);
                out
            }
        }
    }
}

impl Address {
    /// Reads an address; none from a message that is no such thing.
    pub fn decode(message: &Message<'_>) -> Option<Self> {
        if message.kind != RTM_NEWADDR {
            return None;
        }
        let [_, prefix, flags, scope, l0, l1, l2, l3] = *message.payload.first_chunk()?;
        let attrs = message.attrs(8);
        // IFA_LOCAL is the link's own end, IFA_ADDRESS the other one where there is one
        let address = attrs.get(IFA_LOCAL).or(attrs.get(IFA_ADDRESS))?.ip()?;
        let more = attrs.get(IFA_FLAGS).and_then(|attr| attr.u32());
        Some(Self {
            link: u32::from_ne_bytes([l0, l1, l2, l3]),
            address,
            prefix,
            scope,
            flags: more.unwrap_or(flags.into()),
        })
    }

    /// Reads only the index of the link, which comes cheap.
    pub fn link(message: &Message<'_>) -> Option<u32> {
        let [_, _, _, _, l0, l1, l2, l3] = *message.payload.first_chunk()?;
        (message.kind == RTM_NEWADDR).then_some(u32::from_ne_bytes([l0, l1, l2, l3]))
    }
}

impl Route {
    /// Reads a route; none from a message that is no such thing, or a route of neither family.
    pub fn decode(message: &Message<'_>) -> Option<Self> {
        if message.kind != RTM_NEWROUTE {
            return None;
        }
        let header = message.payload.first_chunk::<12>()?;
        let [family, prefix, _, _, table, protocol, _, kind, ..] = *header;
        let unspecified: IpAddr = match family {
            AF_INET => Ipv4Addr::UNSPECIFIED.into(),
            AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
            _ => return None,
        };
        let mut route = Self {
            kind,
            protocol,
            table: table.into(),
            destination: unspecified,
            prefix,
            link: None,
            source: None,
            gateways: Vec::new(),
        };
        for attr in message.attrs(12) {
            match attr.kind {
                RTA_DST => route.destination = attr.ip()?,
                RTA_OIF => route.link = attr.u32(),
                RTA_PREFSRC => route.source = attr.ip(),
                RTA_TABLE => route.table = attr.u32()?,
                RTA_MULTIPATH => hops(attr.payload, &mut route.gateways),
                _ => route.gateways.extend(gateway(attr.kind, attr.payload)),
            }
        }
        Some(route)
    }

    /// Says whether it leads to one address of this host alone.
    pub fn is_host(&self) -> bool {
        self.kind == RTN_LOCAL && self.prefix == bits_of(self.destination)
    }
}

/// Reads `RTA_GATEWAY`, or the address in an `RTA_VIA`: a router of the other family.
fn gateway(kind: u16, payload: &[u8]) -> Option<IpAddr> {
    let address = match kind {
        RTA_GATEWAY => payload,
        RTA_VIA => payload.get(2..)?,
        _ => return None,
    };
    match address.len() {
        4 => <[u8; 4]>::try_from(address).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(address).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Reads the routers of the hops of a route: `struct rtnexthop` and attributes, one behind the other.
fn hops(mut rest: &[u8], gateways: &mut Vec<IpAddr>) {
    while let Some([l0, l1, ..]) = rest.first_chunk::<8>() {
        let len = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let Some(attrs) = rest.get(8..len) else {
            return;
        };
        let found = Attrs::new(attrs).filter_map(|attr| gateway(attr.kind, attr.payload));
        gateways.extend(found);
        rest = rest.get((len + 3) & !3..).unwrap_or_default();
    }
}

/// `struct rtmsg` without what stays zero.
#[derive(Default)]
struct RouteHeader {
    family: u8,
    bits: u8,
    table: u8,
    protocol: u8,
    scope: u8,
    kind: u8,
    flags: u32,
}

impl RouteHeader {
    fn write(&self, out: &mut Request) {
        let &Self {
            family,
            bits,
            table,
            protocol,
            scope,
            kind,
            flags,
        } = self;
        let [f0, f1, f2, f3] = flags.to_ne_bytes();
        out.raw(&[
            family, bits, 0, 0, table, protocol, scope, kind, f0, f1, f2, f3,
        ]);
    }
}

fn dump_header(v6: bool, kind: u8) -> RouteHeader {
    RouteHeader {
        family: family(v6),
        kind,
        ..RouteHeader::default()
    }
}

fn local_route(out: &mut Request, route: LocalRoute) {
    let header = RouteHeader {
        family: family_of(route.address),
        bits: bits_of(route.address),
        table: RT_TABLE_LOCAL as u8,
        protocol: RTPROT_WEIR,
        // IPv6 knows no scopes of routes, and its kernel does not look
        scope: if route.address.is_ipv4() {
            RT_SCOPE_HOST
        } else {
            RT_SCOPE_UNIVERSE
        },
        kind: RTN_LOCAL,
        flags: 0,
    };
    header.write(out);
    out.ip(RTA_DST, route.address);
    if let Some(source) = route.source {
        out.ip(RTA_PREFSRC, source);
    }
    out.u32(RTA_OIF, route.link);
}

fn host_address(out: &mut Request, link: u32, address: IpAddr, scope: u8) {
    let flags = if address.is_ipv6() { IFA_F_NODAD } else { 0 };
    let header = [family_of(address), bits_of(address), flags, scope];
    write_address_header(out, header, link);
    out.ip(IFA_LOCAL, address).ip(IFA_ADDRESS, address);
}

fn write_address_header(out: &mut Request, [f, bits, flags, scope]: [u8; 4], link: u32) {
    let [l0, l1, l2, l3] = link.to_ne_bytes();
    out.raw(&[f, bits, flags, scope, l0, l1, l2, l3]);
}

fn family(v6: bool) -> u8 {
    if v6 { AF_INET6 } else { AF_INET }
}

fn family_of(address: IpAddr) -> u8 {
    family(address.is_ipv6())
}

/// Gives how many bits an address has.
pub fn bits_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}
