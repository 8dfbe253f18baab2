//! What `get` writes, `apply` reads.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_proto::wire;

use crate::ctl::manifest::{File, Manifests};
use crate::ctl::render::{json, yaml};

/// Label values that YAML would take for something else are among them.
fn a_label() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9._/-]{1,12}",
        Just("true".to_owned()),
        Just("null".to_owned()),
        Just("3".to_owned()),
        Just("1e3".to_owned()),
        Just("0x1F".to_owned()),
        Just("-".to_owned()),
        Just("---".to_owned()),
        Just(".inf".to_owned()),
        Just("on".to_owned()),
        Just("2026-01-01".to_owned()),
    ]
}

fn some_labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    let value = prop_oneof![a_label(), Just(String::new())];
    proptest::collection::btree_map(a_label(), value, 0..4)
}

fn a_name() -> impl Strategy<Value = String> {
    "[a-z0-9]([a-z0-9.-]{0,8}[a-z0-9])?"
}

fn some_backends() -> impl Strategy<Value = Vec<wire::Backend>> {
    let backend = (
        1..=65_535u32,
        proptest::option::of(0..=65_535u32),
        prop_oneof![Just(String::new()), a_name()],
    );
    proptest::collection::vec(backend, 0..4).prop_map(|backends| {
        let numbered = backends.into_iter().enumerate();
        numbered
            .map(|(place, (port, weight, node))| wire::Backend {
                address: format!("fd00::{:x}", place + 1),
                port,
                weight,
                node,
            })
            .collect()
    })
}

fn a_service() -> impl Strategy<Value = wire::Service> {
    let affinity = proptest::option::of(proptest::option::of(1..=86_400u32));
    (
        (a_name(), some_labels(), some_labels(), some_backends()),
        proptest::collection::btree_set((1..=65_535u32, 1..=3i32), 1..4),
        proptest::option::of(prop_oneof![Just("rr"), Just("mh"), Just("nq")]),
        proptest::option::of(Just(1)),
        affinity,
        proptest::option::of(any::<bool>()),
    )
        .prop_map(
            |(
                (name, labels, node_selector, backends),
                frontends,
                scheduler,
                forwarding,
                affinity,
                hairpin,
            )| {
                wire::Service {
                    name,
                    labels,
                    frontends: frontends
                        .into_iter()
                        .map(|(port, protocol)| wire::Frontend {
                            address: "fd00:100::1".to_owned(),
                            port,
                            protocol,
                        })
                        .collect(),
                    scheduler: scheduler.map(str::to_owned),
                    forwarding,
                    backends,
                    session_affinity: affinity
                        .map(|timeout_seconds| wire::SessionAffinity { timeout_seconds }),
                    hairpin,
                    node_selector,
                }
            },
        )
}

fn a_resource() -> impl Strategy<Value = wire::Resource> {
    use wire::resource::Kind;
    let set = (a_name(), some_labels(), a_name(), some_backends()).prop_map(
        |(name, labels, service, backends)| wire::BackendSet {
            name,
            labels,
            service,
            backends,
        },
    );
    let node = (a_name(), some_labels(), 0..3usize).prop_map(|(name, labels, addresses)| {
        let all = ["10.0.0.1", "fd00::1", "2001:db8::"];
        wire::Node {
            name,
            labels,
            addresses: all[..addresses]
                .iter()
                .map(|text| (*text).to_owned())
                .collect(),
        }
    });
    prop_oneof![
        a_service().prop_map(Kind::Service),
        set.prop_map(Kind::BackendSet),
        node.prop_map(Kind::Node),
    ]
    .prop_map(|kind| wire::Resource {
        kind: Some(kind),
        revision: 0,
    })
}

fn read_back(text: String) -> Vec<wire::Resource> {
    let file = File {
        name: "stdin".to_owned(),
        text,
    };
    match Manifests::read(std::slice::from_ref(&file)) {
        Ok(manifests) => manifests.resources(),
        Err(faults) => panic!("{faults:?} in\n{}", file.text),
    }
}

proptest! {
    #[test]
    fn what_get_writes_apply_reads_as_the_same_resource(resource in a_resource(), revision in 0..9u64) {
        let shown = [wire::Resource { revision, ..resource.clone() }];
        for single in [true, false] {
            prop_assert_eq!(
                &read_back(yaml(&shown, single).expect("it can be written")),
                std::slice::from_ref(&resource)
            );
            prop_assert_eq!(
                &read_back(json(&shown, single).expect("it can be written")),
                std::slice::from_ref(&resource)
            );
        }
    }
}
