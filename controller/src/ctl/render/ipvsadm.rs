//! Services as `ipvsadm -Sn` writes them. PURE.
//!
//! The words, their order, and the order of the lines are those of ipvsadm 1.31 (`print_service_entry` and `print_dest` in
//! `ipvsadm.c`, `ipvs_cmp_services` and `ipvs_cmp_dests` in `libipvs.c`). It writes no thresholds, so none are here.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context, Result, bail};
use weir_proto::model::{
    Backend, Checksum, Endpoint, Family, Forwarding, Frontend, Resource, Service, Tunnel,
};
use weir_proto::{convert, wire};

use super::listing::Listing;

/// Writes what nodes are told to hold of services: each with the backends of its sets, one that is drained, or whose node is
/// cordoned, at weight 0.
pub(crate) fn ipvsadm(
    listing: &Listing,
    services: &[&wire::Service],
    drains: &[wire::DrainState],
) -> Result<String> {
    let drained = Drained::of(drains, listing);
    let mut entries = Vec::new();
    for service in services.iter().copied() {
        let backends = listing.backends(service).into_iter();
        let whole = wire::Service {
            backends: backends.map(|(backend, _)| backend.clone()).collect(),
            ..service.clone()
        };
        let resource = wire::Resource {
            kind: Some(wire::resource::Kind::Service(whole)),
            ..wire::Resource::default()
        };
        let read = convert::resource_from_wire(resource);
        let doing = || format!("this weirctl cannot read service/{}", service.name);
        let Resource::Service(whole) = read.with_context(doing)? else {
            bail!("service/{} is of another kind", service.name);
        };
        for frontend in whole.frontends.keys() {
            let mut text = String::new();
            write_service(&mut text, *frontend, &whole)?;
            write_backends(&mut text, *frontend, &whole, &drained)?;
            entries.push((*frontend, text));
        }
    }
    let sorted = merge_sorted(entries, &|(one, _), (other, _)| after(*one, *other));
    Ok(sorted.into_iter().map(|(_, text)| text).collect())
}

/// What operators drain, and the nodes they cordon.
struct Drained<'a> {
    backends: BTreeSet<(&'a str, String, u32)>,
    nodes: BTreeSet<&'a str>,
}

impl<'a> Drained<'a> {
    fn of(drains: &'a [wire::DrainState], listing: &'a Listing) -> Self {
        use wire::drain_target::Target;
        let nodes = listing.nodes.iter();
        let cordoned = nodes.filter(|(_, node)| node.it.cordoned.unwrap_or(false));
        let mut drained = Self {
            backends: BTreeSet::new(),
            nodes: cordoned.map(|(name, _)| name.as_str()).collect(),
        };
        let asked = drains.iter().filter(|drain| drain.asked);
        for target in asked.filter_map(|drain| drain.target.as_ref()?.target.as_ref()) {
            match target {
                Target::Backend(backend) => {
                    let address = backend.address.clone();
                    let key = (backend.service.as_str(), address, backend.port);
                    drained.backends.insert(key);
                }
                Target::Node(node) => {
                    drained.nodes.insert(node);
                }
            }
        }
        drained
    }

    fn has(&self, service: &Service, backend: &Backend) -> bool {
        let Endpoint { address, port } = backend.endpoint;
        let key = (
            service.name.as_str(),
            address.to_string(),
            port.get().into(),
        );
        let node = backend.node.as_ref().map(|node| node.as_str());
        self.backends.contains(&key) || node.is_some_and(|node| self.nodes.contains(node))
    }
}

/// Writes by what options a frontend is named.
fn name(frontend: Frontend) -> String {
    match frontend {
        Frontend::Address(listener) => {
            let option = match listener.protocol {
                weir_proto::model::Protocol::Tcp => "-t",
                weir_proto::model::Protocol::Udp => "-u",
                weir_proto::model::Protocol::Sctp => "--sctp-service",
            };
            format!("{option} {}", socket(listener.address, listener.port.get()))
        }
        Frontend::Mark(mark) => {
            // ipvsadm writes a mark as an int.
            let number = mark.number.get().cast_signed();
            match mark.family {
                Family::V4 => format!("-f {number}"),
                Family::V6 => format!("-f {number} -6"),
            }
        }
    }
}

fn socket(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{}]:{port}", v6(address)),
    }
}

/// Writes an address as `inet_ntop` does, which gives those in `::/96` their last part in dots.
fn v6(address: Ipv6Addr) -> String {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
            let v4 = Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
            format!("::{v4}")
        }
        _ => address.to_string(),
    }
}

fn write_service(text: &mut String, frontend: Frontend, service: &Service) -> Result<()> {
    write!(text, "-A {} -s {}", name(frontend), service.scheduler)?;
    if let Some(affinity) = service.affinity {
        let affinity = affinity.of(frontend.family());
        write!(text, " -p {}", affinity.timeout.seconds())?;
        let bits = affinity.prefix.get();
        match frontend.family() {
            Family::V4 if bits < 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                write!(text, " -M {}", Ipv4Addr::from(mask))?;
            }
            Family::V6 if bits < 128 => write!(text, " -M {bits}")?,
            Family::V4 | Family::V6 => {}
        }
        if let Some(engine) = affinity.engine {
            write!(text, " --pe {}", engine.as_str())?;
        }
    }
    if service.one_packet {
        text.push_str(" -o");
    }
    if let Some(flags) = service.scheduler_flags {
        let scheduler = service.scheduler;
        let named = [(flags.fallback, "fallback"), (flags.port, "port")];
        let set = named.iter().filter(|(set, _)| *set);
        let set: Vec<String> = set.map(|(_, flag)| format!("{scheduler}-{flag}")).collect();
        if !set.is_empty() {
            write!(text, " -b {}", set.join(","))?;
        }
    }
    text.push('\n');
    Ok(())
}

fn write_backends(
    text: &mut String,
    frontend: Frontend,
    service: &Service,
    drained: &Drained<'_>,
) -> Result<()> {
    let backends: Vec<&Backend> = service.backends.values().collect();
    let sorted = merge_sorted(backends, &|one: &&Backend, other: &&Backend| {
        after_backend(one.endpoint, other.endpoint)
    });
    let how = match service.forwarding {
        Forwarding::Masquerade => "-m",
        Forwarding::DirectRoute => "-g",
        Forwarding::Tunnel(_) => "-i",
    };
    for backend in sorted {
        let Endpoint { address, port } = backend.endpoint;
        let weight = match drained.has(service, backend) {
            true => 0,
            false => backend.weight.get(),
        };
        let at = socket(address, port.get());
        write!(text, "-a {} -r {at} {how} -w {weight}", name(frontend))?;
        if let Forwarding::Tunnel(tunnel) = service.forwarding {
            let sum = match tunnel.checksum() {
                Checksum::None => "--tun-nocsum",
                Checksum::Full => "--tun-csum",
                Checksum::Remote => "--tun-remcsum",
            };
            match tunnel {
                Tunnel::Ipip => text.push_str(" --tun-type ipip"),
                Tunnel::Gue { port, .. } => {
                    write!(text, " --tun-type gue --tun-port {port} {sum}")?;
                }
                Tunnel::Gre { .. } => write!(text, " --tun-type gre {sum}")?,
            }
        }
        text.push('\n');
    }
    Ok(())
}

/// Gives the four words of an address that are compared; one of IPv4 is the first of them.
fn address_words(address: IpAddr) -> [u32; 4] {
    match address {
        IpAddr::V4(address) => [address.into(), 0, 0, 0],
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h] = address.segments().map(u32::from);
            [a << 16 | b, c << 16 | d, e << 16 | f, g << 16 | h]
        }
    }
}

/// Tells how libipvs finds two addresses apart: by a difference that is cut to an `int`, so that the later of two that lie
/// more than half of all addresses apart counts as the smaller.
fn difference(one: IpAddr, other: IpAddr) -> i32 {
    let words = if one.is_ipv6() { 4 } else { 1 };
    let (one, other) = (address_words(one), address_words(other));
    let pairs = one.iter().zip(other.iter()).take(words);
    let mut differences = pairs.map(|(one, other)| one.wrapping_sub(*other).cast_signed());
    differences.find(|difference| *difference != 0).unwrap_or(0)
}

/// Says whether a frontend comes after another (`ipvs_cmp_services`). One without a mark has mark 0.
fn after(one: Frontend, other: Frontend) -> bool {
    let mark = |frontend| match frontend {
        Frontend::Address(_) => 0,
        Frontend::Mark(mark) => mark.number.get(),
    };
    let marks = mark(one).wrapping_sub(mark(other)).cast_signed();
    let order = marks.cmp(&0).then(one.family().cmp(&other.family()));
    let order = match (one, other) {
        (Frontend::Address(one), Frontend::Address(other)) => order
            .then(one.protocol.number().cmp(&other.protocol.number()))
            .then(difference(one.address, other.address).cmp(&0))
            .then(one.port.cmp(&other.port)),
        _ => order,
    };
    order.is_gt()
}

/// Says whether a backend comes after another (`ipvs_cmp_dests`).
fn after_backend(one: Endpoint, other: Endpoint) -> bool {
    let order = difference(one.address, other.address).cmp(&0);
    order.then(one.port.cmp(&other.port)).is_gt()
}

/// Sorts as the C library's `qsort` does, by merging halves: `after` need be no order, and the library's own sorts may
/// panic on one that is not.
fn merge_sorted<T>(mut all: Vec<T>, after: &impl Fn(&T, &T) -> bool) -> Vec<T> {
    if all.len() < 2 {
        return all;
    }
    let second = all.split_off(all.len() / 2);
    let mut first = merge_sorted(all, after).into_iter().peekable();
    let mut second = merge_sorted(second, after).into_iter().peekable();
    let mut sorted = Vec::with_capacity(first.len() + second.len());
    while let (Some(one), Some(other)) = (first.peek(), second.peek()) {
        match after(one, other) {
            true => sorted.extend(second.next()),
            false => sorted.extend(first.next()),
        }
    }
    sorted.extend(first);
    sorted.extend(second);
    sorted
}
