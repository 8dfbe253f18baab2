use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::digest::Digest;
use crate::model::{Item, ItemKey, Resource, Revision};
use crate::state::NodeState;

fn frontend(address: &str, port: u32, protocol: i32) -> wire::Frontend {
    wire::Frontend {
        address: address.to_owned(),
        port,
        protocol,
        ..wire::Frontend::default()
    }
}

fn backend(address: &str, port: u32) -> wire::Backend {
    wire::Backend {
        address: address.to_owned(),
        port,
        ..wire::Backend::default()
    }
}

fn service(service: wire::Service) -> wire::Resource {
    wire::Resource {
        kind: Some(wire::resource::Kind::Service(service)),
        revision: 0,
    }
}

fn problems(batch: Vec<wire::Resource>) -> Vec<String> {
    let FieldErrors(errors) = resources_from_wire(batch).expect_err("refused");
    errors.iter().map(FieldError::to_string).collect()
}

#[test]
fn every_bad_field_of_a_batch_is_named_by_its_path() {
    let bad = wire::Service {
        name: "web".to_owned(),
        labels: BTreeMap::from([("a b".to_owned(), "x".to_owned())]),
        frontends: vec![
            frontend("10.1.0.1", 0, 1),
            frontend("10.1.0", 80, 0),
            frontend("10.1.0.1", 80, 9),
        ],
        scheduler: Some("fast".to_owned()),
        forwarding: Some(0),
        backends: vec![
            wire::Backend {
                weight: Some(65_536),
                node: "Node".to_owned(),
                ..backend("127.0.0.1", 70_000)
            },
            backend("10.0.0.1", 80),
            backend("10.0.0.1", 80),
        ],
        session_affinity: Some(wire::SessionAffinity {
            timeout_seconds: Some(0),
            ipv4_prefix_length: Some(33),
            ipv6_prefix_length: Some(0),
            persistence_engine: "h323".to_owned(),
        }),
        scheduler_flags: Some(wire::SchedulerFlags::default()),
        vip_binding: Some(9),
        ..wire::Service::default()
    };
    let nameless = wire::Service {
        frontends: vec![frontend("10.1.0.2", 80, 1)],
        ..wire::Service::default()
    };
    assert_eq!(
        problems(vec![
            service(bad),
            service(nameless),
            wire::Resource::default()
        ]),
        [
            "services[web].labels[a b]: \"a b\" is not a label (at most 63 letters, digits, \"-\", \"_\", \".\" and \"/\"; a key is not empty)",
            "services[web].frontends[0].port: 0 is not a port (1-65535)",
            "services[web].frontends[1].address: \"10.1.0\" is not an IP address",
            "services[web].frontends[1].protocol: missing",
            "services[web].frontends[2].protocol: 9 is not a protocol",
            "services[web].scheduler: \"fast\" is not a scheduler (rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh twos)",
            "services[web].forwarding: missing",
            "services[web].backends[0].address: 127.0.0.1 is a loopback address, which no host can be reached at",
            "services[web].backends[0].port: 70000 is not a port (1-65535)",
            "services[web].backends[0].weight: 65536 is not a weight (0-65535)",
            "services[web].backends[0].node: \"Node\" is not a name (1-63 characters of a-z, 0-9, \"-\" and \".\", with a letter or digit at both ends)",
            "services[web].backends[2]: 10.0.0.1:80 is named twice",
            "services[web].session_affinity.timeout_seconds: 0 is not an affinity time-out (1-86400 seconds)",
            "services[web].session_affinity.ipv4_prefix_length: 33 is not a prefix length (1-32 for IPv4)",
            "services[web].session_affinity.ipv6_prefix_length: 0 is not a prefix length (1-128 for IPv6)",
            "services[web].session_affinity.persistence_engine: \"h323\" is not a persistence engine (there is sip)",
            "services[web].vip_binding: 9 is not a VIP binding",
            "services[1].name: missing",
            "resources[2]: missing",
        ]
    );
}

#[test]
fn a_backend_that_does_not_fit_its_frontends_is_refused() {
    let mixed = wire::Service {
        name: "dr".to_owned(),
        frontends: vec![frontend("10.1.0.1", 80, 1), frontend("fd00::1", 80, 1)],
        forwarding: Some(wire::Forwarding::DirectRoute.into()),
        backends: vec![backend("10.0.0.1", 8080)],
        ..wire::Service::default()
    };
    assert_eq!(
        problems(vec![service(mixed)]),
        [
            "services[dr].backends[0]: port 8080 differs from frontend port 80, and DIRECT_ROUTE cannot rewrite ports",
            "services[dr].backends[0]: 10.0.0.1 is not of the family of frontend [fd00::1]:80 TCP",
            "services[dr].backends[0]: port 8080 differs from frontend port 80, and DIRECT_ROUTE cannot rewrite ports",
        ]
    );
}

#[test]
fn what_does_not_go_together_is_refused() {
    let refused = |change: wire::Service| {
        problems(vec![service(wire::Service {
            name: "web".to_owned(),
            ..change
        })])
    };
    let tcp = || vec![frontend("10.1.0.1", 80, 1)];
    let mark = wire::Frontend {
        firewall_mark: 7,
        allow_sources: vec!["10.0.0.0/8".to_owned()],
        ..frontend("10.1.0.1", 0, 0)
    };
    let marked = wire::Service {
        frontends: vec![
            mark,
            wire::Frontend {
                address_family: 1,
                allow_sources: vec!["10.0.0.1/8".to_owned(), "fd00::/8".to_owned()],
                ..frontend("10.1.0.1", 80, 1)
            },
        ],
        ..wire::Service::default()
    };
    assert_eq!(
        refused(marked),
        [
            "services[web].frontends[0].address: not with a firewall mark",
            "services[web].frontends[0].address_family: missing",
            "services[web].frontends[1].address_family: only with a firewall mark",
            "services[web].frontends[1].allow_sources[0]: 10.0.0.1/8 has bits set beyond its prefix: 10.0.0.0/8 is meant",
            "services[web].frontends[1].allow_sources[1]: fd00::/8 is not of IPv4, the family of the frontend",
        ]
    );
    let tunnelled = wire::Service {
        frontends: tcp(),
        tunnel: Some(wire::Tunnel::default()),
        scheduler_flags: Some(wire::SchedulerFlags::default()),
        one_packet: Some(true),
        session_affinity: Some(wire::SessionAffinity {
            persistence_engine: "sip".to_owned(),
            ..wire::SessionAffinity::default()
        }),
        backends: vec![wire::Backend {
            upper_threshold: Some(3),
            lower_threshold: Some(4),
            ..backend("10.0.0.1", 80)
        }],
        ..wire::Service::default()
    };
    assert_eq!(
        refused(tunnelled),
        [
            "services[web].scheduler_flags: only with scheduler sh or mh",
            "services[web].tunnel: only with forwarding TUNNEL",
            "services[web].backends[0].lower_threshold: lower threshold 4 is above upper threshold 3",
            "services[web].session_affinity.persistence_engine: only with UDP frontends",
            "services[web].one_packet: only with UDP frontends",
            "services[web].one_packet: not with session affinity",
        ]
    );
    let gue = wire::Service {
        frontends: tcp(),
        forwarding: Some(wire::Forwarding::Tunnel.into()),
        tunnel: Some(wire::Tunnel {
            r#type: Some(wire::TunnelType::Gue.into()),
            ..wire::Tunnel::default()
        }),
        ..wire::Service::default()
    };
    assert_eq!(refused(gue), ["services[web].tunnel: GUE needs a port"]);
}

#[test]
fn a_tunnel_carries_either_family_in_either() {
    let six_in_four = wire::Service {
        name: "web".to_owned(),
        frontends: vec![frontend("fd00::1", 80, 1)],
        forwarding: Some(wire::Forwarding::Tunnel.into()),
        backends: vec![backend("10.0.0.1", 80)],
        ..wire::Service::default()
    };
    let read = resource_from_wire(service(six_in_four)).expect("a service");
    let Resource::Service(service) = read else {
        panic!("{read:?}");
    };
    assert_eq!(service.backends.len(), 1);
}

#[test]
fn what_is_set_on_a_node_is_checked_field_by_field() {
    let node = |timeouts, daemons: Vec<wire::SyncDaemon>| wire::Resource {
        kind: Some(wire::resource::Kind::Node(wire::Node {
            name: "node-a".to_owned(),
            strict_arp: Some(true),
            connection_timeouts: Some(timeouts),
            sync_daemons: daemons,
            ..wire::Node::default()
        })),
        revision: 0,
    };
    let good = wire::SyncDaemon {
        role: 1,
        interface: "eth1".to_owned(),
        sync_id: 7,
        group: "239.1.1.1".to_owned(),
        port: 9000,
        ttl: 2,
        max_length: 1400,
    };
    let timeouts = wire::ConnectionTimeouts {
        tcp_seconds: 600,
        ..wire::ConnectionTimeouts::default()
    };
    let wire = node(timeouts, vec![good.clone()]);
    let read = resource_from_wire(wire.clone()).expect("a node");
    assert_eq!(resource_to_wire(&read, Revision(0)), wire);
    let bad = wire::SyncDaemon {
        role: 0,
        interface: "eth1:1".to_owned(),
        sync_id: 256,
        group: "10.0.0.1".to_owned(),
        port: 65_536,
        ttl: 256,
        max_length: 65_508,
    };
    let timeouts = wire::ConnectionTimeouts {
        tcp_seconds: 2_147_484,
        ..timeouts
    };
    assert_eq!(
        problems(vec![node(timeouts, vec![good.clone(), bad, good])]),
        [
            "nodes[node-a].connection_timeouts.tcp_seconds: 2147484 is not a connection time-out (1-2147483 seconds, or 0)",
            "nodes[node-a].sync_daemons[1].role: missing",
            "nodes[node-a].sync_daemons[1].interface: \"eth1:1\" is not the name of a link (1-15 characters, no \"/\", \":\" or white space)",
            "nodes[node-a].sync_daemons[1].sync_id: 256 is not in 0-255",
            "nodes[node-a].sync_daemons[1].group: 10.0.0.1 is not a multicast address",
            "nodes[node-a].sync_daemons[1].port: 65536 is not a port (1-65535)",
            "nodes[node-a].sync_daemons[1].ttl: 256 is not in 0-255",
            "nodes[node-a].sync_daemons[1].max_length: 65508 is not a packet length (1-65507 bytes)",
            "nodes[node-a].sync_daemons[2]: MASTER is named twice",
        ]
    );
}

#[test]
fn a_resource_named_twice_in_one_batch_is_refused() {
    let web = || {
        service(wire::Service {
            name: "web".to_owned(),
            frontends: vec![frontend("10.1.0.1", 80, 1)],
            ..wire::Service::default()
        })
    };
    assert_eq!(
        problems(vec![web(), web()]),
        ["services[web]: web is named twice"]
    );
}

#[test]
fn what_is_left_out_has_its_default() {
    let read = resource_from_wire(service(wire::Service {
        name: "web".to_owned(),
        frontends: vec![frontend("10.1.0.1", 80, 1)],
        backends: vec![backend("10.0.0.1", 8080)],
        session_affinity: Some(wire::SessionAffinity::default()),
        ..wire::Service::default()
    }))
    .expect("service");
    let wire = resource_to_wire(&read, Revision(7));
    assert_eq!(
        wire,
        wire::Resource {
            kind: Some(wire::resource::Kind::Service(wire::Service {
                name: "web".to_owned(),
                frontends: vec![frontend("10.1.0.1", 80, 1)],
                scheduler: Some("wrr".to_owned()),
                forwarding: Some(wire::Forwarding::Masquerade.into()),
                backends: vec![wire::Backend {
                    weight: Some(1),
                    upper_threshold: Some(0),
                    lower_threshold: Some(0),
                    ..backend("10.0.0.1", 8080)
                }],
                session_affinity: Some(wire::SessionAffinity {
                    timeout_seconds: Some(300),
                    ipv4_prefix_length: Some(32),
                    ipv6_prefix_length: Some(128),
                    persistence_engine: String::new(),
                }),
                hairpin: Some(true),
                one_packet: Some(false),
                vip_binding: Some(wire::VipBinding::Address.into()),
                lockdown: Some(true),
                ..wire::Service::default()
            })),
            revision: 7,
        }
    );
}

/// Text that is sometimes an address, a name or a scheduler, and often not.
fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-z]{1,4}",
        "10\\.0\\.0\\.[1-9]",
        "fd00::[1-9]",
        Just("rr".to_owned()),
        ".{0,6}",
    ]
}

prop_compose! {
    fn any_frontend()(
        address in words(),
        port in 0u32..70_000,
        protocol in 0i32..5,
        mark in prop_oneof![9 => Just(None), 1 => (1u32..5, 0i32..4).prop_map(Some)],
    ) -> wire::Frontend {
        match mark {
            None => frontend(&address, port, protocol),
            Some((firewall_mark, address_family)) => wire::Frontend {
                firewall_mark, address_family, ..wire::Frontend::default()
            },
        }
    }
}

prop_compose! {
    fn any_backend()(
        address in words(),
        port in 0u32..70_000,
        weight in proptest::option::of(0u32..70_000),
        node in words(),
        upper_threshold in proptest::option::of(0u32..9),
        lower_threshold in proptest::option::of(0u32..3),
    ) -> wire::Backend {
        wire::Backend { address, port, weight, node, upper_threshold, lower_threshold }
    }
}

prop_compose! {
    fn any_tunnel()(
        kind in proptest::option::of(0i32..5),
        port in proptest::option::of(0u32..70_000),
        checksum in proptest::option::of(0i32..5),
    ) -> wire::Tunnel {
        wire::Tunnel { r#type: kind, port, checksum }
    }
}

prop_compose! {
    fn any_affinity()(
        timeout_seconds in proptest::option::of(0u32..100_000),
        ipv4_prefix_length in proptest::option::of(0u32..34),
        ipv6_prefix_length in proptest::option::of(0u32..130),
        sip in any::<bool>(),
    ) -> wire::SessionAffinity {
        let persistence_engine = if sip { "sip".to_owned() } else { String::new() };
        wire::SessionAffinity {
            timeout_seconds, ipv4_prefix_length, ipv6_prefix_length, persistence_engine,
        }
    }
}

fn any_flags() -> impl Strategy<Value = wire::SchedulerFlags> {
    any::<(Option<bool>, Option<bool>)>()
        .prop_map(|(fallback, port)| wire::SchedulerFlags { fallback, port })
}

fn scheduler() -> impl Strategy<Value = String> {
    prop_oneof![Just("mh".to_owned()), Just("rr".to_owned()), words()]
}

fn sources() -> impl Strategy<Value = Vec<String>> {
    let known = ["10.0.0.0/8", "192.0.2.1", "fd00::/8", "10.0.0.1/8"].map(str::to_owned);
    proptest::collection::vec(prop::sample::select(known.to_vec()), 0..3)
}

prop_compose! {
    fn any_service()(
        name in words(),
        frontends in proptest::collection::vec((any_frontend(), sources()), 0..3),
        scheduler in proptest::option::of((scheduler(), proptest::option::of(any_flags()))),
        forwarding in proptest::option::of((0i32..5, proptest::option::of(any_tunnel()))),
        backends in proptest::collection::vec(any_backend(), 0..3),
        session_affinity in proptest::option::of(any_affinity()),
        flags in any::<[Option<bool>; 3]>(),
        vip_binding in proptest::option::of(0i32..4),
        node_selector in proptest::collection::btree_map(words(), words(), 0..2),
    ) -> wire::Resource {
        let [hairpin, one_packet, lockdown] = flags;
        let (scheduler, scheduler_flags) = scheduler.unzip();
        let (forwarding, tunnel) = forwarding.unzip();
        let frontends = frontends.into_iter().map(|(frontend, allow_sources)| wire::Frontend {
            allow_sources, ..frontend
        });
        service(wire::Service {
            name,
            labels: BTreeMap::new(),
            frontends: frontends.collect(),
            scheduler,
            forwarding,
            backends,
            session_affinity,
            hairpin,
            node_selector,
            scheduler_flags: scheduler_flags.flatten(),
            tunnel: tunnel.flatten(),
            one_packet,
            vip_binding,
            lockdown,
        })
    }
}

prop_compose! {
    fn any_daemon()(role in 0i32..4, sync_id in 0u32..300, port in 0u32..70_000, more in 0u32..70_000) -> wire::SyncDaemon {
        let group = if more % 2 == 0 { String::new() } else { "ff02::81".to_owned() };
        wire::SyncDaemon {
            role, interface: "eth0".to_owned(), sync_id, group, port, ttl: more % 300, max_length: more,
        }
    }
}

prop_compose! {
    fn any_item()(
        which in 0..9,
        key in any_frontend(),
        address in words(),
        port in 0u32..70_000,
        weight in 0u32..70_000,
        forwarding in (0i32..5, proptest::option::of(any_tunnel())),
        text in words(),
        (scheduler, flags) in (scheduler(), proptest::option::of(any_flags())),
        (sources, daemon) in (sources(), any_daemon()),
    ) -> wire::Item {
        use wire::item::{Backend, Kind, LoopbackEntry, SilentVip, StrictArp, TunnelEnd, Vip, VirtualService};
        let kind = match which {
            0 => Kind::Vip(Vip { address, binding: forwarding.0, lockdown: port % 2 == 0 }),
            1 => Kind::VirtualService(VirtualService {
                frontend: Some(key),
                scheduler,
                affinity_timeout_seconds: port,
                service: text,
                affinity_prefix_length: weight % 140,
                persistence_engine: if weight % 5 == 0 { "sip".to_owned() } else { String::new() },
                scheduler_flags: flags,
                one_packet: weight % 2 == 0,
                allow_sources: sources,
            }),
            2 => Kind::Backend(Backend {
                frontend: Some(key),
                address,
                port,
                weight,
                forwarding: forwarding.0,
                tunnel: forwarding.1,
                upper_threshold: weight,
                lower_threshold: port,
            }),
            3 => Kind::SilentVip(SilentVip { address }),
            4 => Kind::TunnelEnd(TunnelEnd { outer: forwarding.0, inner: key.protocol }),
            5 => Kind::StrictArp(StrictArp {}),
            6 => Kind::ConnectionTimeouts(wire::ConnectionTimeouts {
                tcp_seconds: weight, tcp_fin_seconds: 0, udp_seconds: port,
            }),
            7 => Kind::SyncDaemon(daemon),
            _ => Kind::LoopbackEntry(LoopbackEntry {
                address: address.clone(), protocol: key.protocol, port, source: address,
            }),
        };
        wire::Item { kind: Some(kind) }
    }
}

/// Items that make sense, straight from the model.
fn good_item() -> impl Strategy<Value = Item> {
    any_item().prop_filter_map("not an item", |item| item_from_wire(&item, "item").ok())
}

proptest! {
    #![proptest_config(ProptestConfig { max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

    #[test]
    fn a_resource_that_is_read_reads_the_same_when_written_again(wire in any_service()) {
        if let Ok(read) = resource_from_wire(wire) {
            prop_assert!(matches!(read, Resource::Service(_)));
            let again = resource_from_wire(resource_to_wire(&read, Revision(1)));
            prop_assert_eq!(again, Ok(read));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(wire) = wire::Resource::decode(bytes.as_slice())
            && let Err(FieldErrors(errors)) = resource_from_wire(wire) {
                prop_assert!(!errors.is_empty());
            }
        if let Ok(wire) = wire::Item::decode(bytes.as_slice())
            && let Err(FieldErrors(errors)) = item_from_wire(&wire, "item") {
                prop_assert!(!errors.is_empty());
            }
    }

    #[test]
    fn an_item_and_its_key_come_back_from_the_wire(item in good_item()) {
        prop_assert_eq!(item_from_wire(&item_to_wire(&item), "item"), Ok(item.clone()));
        let key = item.key();
        prop_assert_eq!(item_key_from_wire(&item_key_to_wire(&key), "key"), Ok(key));
    }

    #[test]
    fn the_digest_is_that_of_the_items_whatever_the_way_to_them(
        first in proptest::collection::vec(good_item(), 0..8),
        second in proptest::collection::vec(good_item(), 0..8),
        removed in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut state: NodeState = first.into_iter().collect();
        for item in second {
            state.insert(item);
        }
        let keys: Vec<ItemKey> = state.items().keys().copied().collect();
        if !keys.is_empty() {
            for index in removed {
                state.remove(index.get(&keys));
            }
        }
        let again: NodeState = state.items().values().rev().cloned().collect();
        prop_assert_eq!(again.digest(), state.digest());
        prop_assert_eq!(state.digest() == Digest::default(), state.items().is_empty());
    }
}

#[test]
fn the_digest_has_the_bytes_the_language_promises() {
    let item = Item::Vip(crate::model::Vip {
        address: "10.100.100.100".parse().expect("address"),
        binding: crate::model::VipBinding::Address,
        lockdown: true,
    });
    let mut digest = Digest::default();
    digest.add(&item);
    // xxh3-128 of a Vip: its address, binding 1, lockdown true
    let bytes = b"\x0a\x14\x0a\x0e10.100.100.100\x10\x01\x18\x01";
    assert_eq!(item_to_wire(&item).encode_to_vec(), bytes);
    assert_eq!(
        digest.to_bytes(),
        xxhash_rust::xxh3::xxh3_128(bytes).to_be_bytes()
    );
}

#[test]
fn a_hello_comes_back_from_the_wire() {
    let hello = Hello {
        node: crate::model::Node::new(
            crate::model::NodeName::new("node-a").expect("name"),
            Labels::new([("rack".to_owned(), "3".to_owned())]).expect("labels"),
            vec!["192.0.2.7".parse().expect("address")],
        ),
        agent_version: "0.1.0".to_owned(),
        held: Some((crate::model::Generation(4), Digest::from_bytes([7; 16]))),
        capabilities: vec![crate::model::Capability {
            name: "ip_vs".to_owned(),
            available: true,
            detail: "1.2.1".to_owned(),
        }],
    };
    assert_eq!(hello_from_wire(hello_to_wire(&hello)), Ok(hello));
    let FieldErrors(errors) = hello_from_wire(wire::Hello {
        node: String::new(),
        held_generation: 1,
        held_digest: vec![1, 2],
        ..wire::Hello::default()
    })
    .expect_err("refused");
    let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(paths, ["hello.node", "hello.held_digest"]);
}
