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
        }),
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
            "services[dr].backends[0]: 10.0.0.1 is not of the family of frontend fd00::1",
            "services[dr].backends[0]: port 8080 differs from frontend port 80, and DIRECT_ROUTE cannot rewrite ports",
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
                    ..backend("10.0.0.1", 8080)
                }],
                session_affinity: Some(wire::SessionAffinity {
                    timeout_seconds: Some(300),
                }),
                hairpin: Some(true),
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
    fn any_frontend()(address in words(), port in 0u32..70_000, protocol in 0i32..5) -> wire::Frontend {
        frontend(&address, port, protocol)
    }
}

prop_compose! {
    fn any_backend()(
        address in words(),
        port in 0u32..70_000,
        weight in proptest::option::of(0u32..70_000),
        node in words(),
    ) -> wire::Backend {
        wire::Backend { address, port, weight, node }
    }
}

prop_compose! {
    fn any_service()(
        name in words(),
        frontends in proptest::collection::vec(any_frontend(), 0..3),
        scheduler in proptest::option::of(words()),
        forwarding in proptest::option::of(0i32..5),
        backends in proptest::collection::vec(any_backend(), 0..3),
        timeout_seconds in proptest::option::of(0u32..100_000),
        hairpin in any::<Option<bool>>(),
        node_selector in proptest::collection::btree_map(words(), words(), 0..2),
    ) -> wire::Resource {
        service(wire::Service {
            name, frontends, scheduler, forwarding, backends, hairpin, node_selector,
            labels: BTreeMap::new(),
            session_affinity: timeout_seconds.map(|t| wire::SessionAffinity { timeout_seconds: Some(t) }),
        })
    }
}

prop_compose! {
    fn any_item()(
        which in 0..4,
        key in any_frontend(),
        address in words(),
        port in 0u32..70_000,
        weight in 0u32..70_000,
        forwarding in 0i32..5,
        text in words(),
    ) -> wire::Item {
        use wire::item::{Backend, Kind, LoopbackEntry, Vip, VirtualService};
        let kind = match which {
            0 => Kind::Vip(Vip { address }),
            1 => Kind::VirtualService(VirtualService {
                frontend: Some(key), scheduler: "rr".to_owned(), affinity_timeout_seconds: port, service: text,
            }),
            2 => Kind::Backend(Backend { frontend: Some(key), address, port, weight, forwarding }),
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
    let item = Item::Vip("10.100.100.100".parse().expect("address"));
    let mut digest = Digest::default();
    digest.add(&item);
    // xxh3-128 of 0a 10 0a 0e "10.100.100.100"
    let bytes = b"\x0a\x10\x0a\x0e10.100.100.100";
    assert_eq!(item_to_wire(&item).encode_to_vec(), bytes);
    assert_eq!(
        digest.to_bytes(),
        xxhash_rust::xxh3::xxh3_128(bytes).to_be_bytes()
    );
}

#[test]
fn a_hello_comes_back_from_the_wire() {
    let hello = Hello {
        node: crate::model::Node {
            name: crate::model::NodeName::new("node-a").expect("name"),
            labels: Labels::new([("rack".to_owned(), "3".to_owned())]).expect("labels"),
            addresses: vec!["192.0.2.7".parse().expect("address")],
        },
        agent_version: "0.1.0".to_owned(),
        held: Some((crate::model::Generation(4), Digest::from_bytes([7; 16]))),
        capabilities: vec![crate::model::Capability {
            name: "ip_vs".to_owned(),
            available: true,
            detail: "1.2.1".to_owned(),
            optional: true,
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
