//! The few things that operations are about, so that they meet often.

use weir_integration::random::Random;
use weir_proto::convert::{item_from_wire, item_key_to_wire};
use weir_proto::model::{Family, Item, ItemKey};
use weir_proto::state::NodeState;
use weir_proto::wire;

/// 10.100.0.1 to .8, and fd00:100::1 to ::4.
const VIPS: usize = 12;
const V4_VIPS: usize = 8;
const PORTS: [u32; 2] = [80, 81];
/// The first is somebody else's.
const MARKS: [u32; 3] = [7, 22, 23];
const BINDINGS: [wire::VipBinding; 2] = [wire::VipBinding::Address, wire::VipBinding::Route];
const BACKENDS: usize = 6;
const SCHEDULERS: [&str; 6] = ["rr", "wrr", "lc", "wlc", "sh", "mh"];
const PROTOCOLS: [wire::Protocol; 3] = [
    wire::Protocol::Tcp,
    wire::Protocol::Udp,
    wire::Protocol::Sctp,
];
const FORWARDINGS: [wire::Forwarding; 3] = [
    wire::Forwarding::Masquerade,
    wire::Forwarding::DirectRoute,
    wire::Forwarding::Tunnel,
];

/// One change of what the node should hold.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    Put(Item),
    /// With what lives in it.
    Remove(Vec<ItemKey>),
}

impl Operation {
    /// Puts a VIP, which is enough for the link, the sets and the rules of its family.
    pub(super) fn first() -> Self {
        Self::Put(item(vip(V4_VIPS, wire::VipBinding::Address)))
    }

    /// Chooses one.
    pub(super) fn random(random: &mut Random, state: &NodeState) -> Self {
        match random.below(14) {
            0 | 1 => {
                let place = random.below(VIPS);
                Self::Put(item(vip(place, *random.pick(&BINDINGS))))
            }
            2..=4 => Self::Put(item(service(random))),
            5..=7 => backend(random, state),
            8 => Self::Put(item(entry(random))),
            9 => Self::Put(item(of_the_node(random))),
            _ => removal(random, state),
        }
    }
}

fn item(kind: wire::item::Kind) -> Item {
    let item = wire::Item { kind: Some(kind) };
    item_from_wire(&item, "item").unwrap_or_else(|error| panic!("{error}"))
}

fn address(place: usize) -> String {
    if place < V4_VIPS {
        format!("10.100.0.{}", place + 1)
    } else {
        format!("fd00:100::{}", place - V4_VIPS + 1)
    }
}

fn host(random: &mut Random, v6: bool) -> String {
    let number = 11 + random.below(BACKENDS);
    if v6 {
        format!("fd00::{number}")
    } else {
        format!("10.0.0.{number}")
    }
}

fn vip(place: usize, binding: wire::VipBinding) -> wire::item::Kind {
    wire::item::Kind::Vip(wire::item::Vip {
        address: address(place),
        binding: binding.into(),
        lockdown: place.is_multiple_of(2),
    })
}

fn service(random: &mut Random) -> wire::item::Kind {
    let place = random.below(VIPS);
    let frontend = match random.below(8) {
        0 => wire::Frontend {
            firewall_mark: *random.pick(&MARKS),
            address_family: wire::AddressFamily::Ipv4.into(),
            ..wire::Frontend::default()
        },
        _ => wire::Frontend {
            address: address(place),
            port: *random.pick(&PORTS),
            protocol: (*random.pick(&PROTOCOLS)).into(),
            ..wire::Frontend::default()
        },
    };
    let v6 = frontend.firewall_mark == 0 && place >= V4_VIPS;
    let sources = if v6 { "fd00::/8" } else { "10.0.0.0/8" };
    let sources = (frontend.firewall_mark == 0 && random.below(3) == 0).then_some(sources);
    wire::item::Kind::VirtualService(wire::item::VirtualService {
        frontend: Some(frontend),
        scheduler: (*random.pick(&SCHEDULERS)).to_owned(),
        affinity_timeout_seconds: *random.pick(&[0, 0, 60, 600]),
        affinity_prefix_length: *random.pick(&[32, 24]),
        service: "any".to_owned(),
        allow_sources: sources.into_iter().map(str::to_owned).collect(),
        ..Default::default()
    })
}

/// What is set on the node, and what it takes silently.
fn of_the_node(random: &mut Random) -> wire::item::Kind {
    use wire::item::Kind;
    match random.below(3) {
        0 => Kind::SilentVip(wire::item::SilentVip {
            address: address(random.below(VIPS)),
        }),
        1 => Kind::StrictArp(wire::item::StrictArp {}),
        _ => Kind::ConnectionTimeouts(wire::ConnectionTimeouts {
            tcp_seconds: *random.pick(&[0, 600, 700]),
            udp_seconds: *random.pick(&[100, 200]),
            ..wire::ConnectionTimeouts::default()
        }),
    }
}

/// A backend of a service that is there; a service, when there is none.
fn backend(random: &mut Random, state: &NodeState) -> Operation {
    let services: Vec<&Item> = state
        .items()
        .values()
        .filter(|item| matches!(item, Item::VirtualService(_)))
        .collect();
    let Some(Item::VirtualService(of)) = services.get(random.below(services.len())) else {
        return Operation::Put(item(service(random)));
    };
    let frontend = item_key_to_wire(&ItemKey::VirtualService(of.frontend));
    let Some(wire::item_key::Kind::VirtualService(frontend)) = frontend.kind else {
        unreachable!("the key of a service");
    };
    let backend = wire::item::Backend {
        frontend: Some(frontend),
        address: host(random, of.frontend.family() == Family::V6),
        port: 8080,
        weight: *random.pick(&[0, 1, 2, 65_535]),
        forwarding: (*random.pick(&FORWARDINGS)).into(),
        upper_threshold: *random.pick(&[0, 0, 9]),
        ..Default::default()
    };
    Operation::Put(item(wire::item::Kind::Backend(backend)))
}

fn entry(random: &mut Random) -> wire::item::Kind {
    let v6 = random.below(2) == 1;
    let address = host(random, v6);
    wire::item::Kind::LoopbackEntry(wire::item::LoopbackEntry {
        address: address.clone(),
        protocol: (*random.pick(&PROTOCOLS)).into(),
        port: 8080,
        source: address,
    })
}

/// Removes something that is there, a service with its backends.
fn removal(random: &mut Random, state: &NodeState) -> Operation {
    let keys: Vec<ItemKey> = state.items().keys().copied().collect();
    let Some(chosen) = keys.get(random.below(keys.len())) else {
        return Operation::first();
    };
    let goes = |key: &&ItemKey| match (chosen, key) {
        (ItemKey::VirtualService(frontend), ItemKey::Backend(backend)) => {
            backend.frontend == *frontend
        }
        _ => *key == chosen,
    };
    Operation::Remove(keys.iter().filter(goes).copied().collect())
}
