//! What `get` writes, `apply` reads.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_proto::wire;

use crate::ctl::args::DocumentForm;
use crate::ctl::manifest::{File, Manifests};
use crate::ctl::render::resources;

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
        proptest::option::of(3..9u32),
        proptest::option::of(0..3u32),
    );
    proptest::collection::vec(backend, 0..4).prop_map(|backends| {
        let numbered = backends.into_iter().enumerate();
        numbered
            .map(
                |(place, (port, weight, node, upper, lower))| wire::Backend {
                    address: format!("fd00::{:x}", place + 1),
                    port,
                    weight,
                    node,
                    upper_threshold: upper,
                    lower_threshold: upper.and(lower),
                },
            )
            .collect()
    })
}

fn some_frontends() -> impl Strategy<Value = Vec<wire::Frontend>> {
    let ranges = ["fd00::/8", "2001:db8::1", "::/0"]
        .map(str::to_owned)
        .to_vec();
    let ranges = proptest::sample::subsequence(ranges, 0..=3);
    let listeners = proptest::collection::btree_map((1..=65_535u32, 1..=3i32), ranges, 1..4);
    let marks = proptest::collection::btree_set(1..9u32, 0..2);
    (listeners, marks).prop_map(|(listeners, marks)| {
        let listeners = listeners
            .into_iter()
            .map(|((port, protocol), allow_sources)| wire::Frontend {
                address: "fd00:100::1".to_owned(),
                port,
                protocol,
                allow_sources,
                ..wire::Frontend::default()
            });
        let marks = marks.into_iter().map(|firewall_mark| wire::Frontend {
            firewall_mark,
            address_family: wire::AddressFamily::Ipv6.into(),
            ..wire::Frontend::default()
        });
        listeners.chain(marks).collect()
    })
}

fn an_affinity() -> impl Strategy<Value = wire::SessionAffinity> {
    (
        proptest::option::of(1..=86_400u32),
        proptest::option::of(1..=32u32),
        proptest::option::of(1..=128u32),
    )
        .prop_map(|(timeout_seconds, ipv4, ipv6)| wire::SessionAffinity {
            timeout_seconds,
            ipv4_prefix_length: ipv4,
            ipv6_prefix_length: ipv6,
            persistence_engine: String::new(),
        })
}

fn a_scheduler() -> impl Strategy<Value = (Option<String>, Option<wire::SchedulerFlags>)> {
    let flags = any::<(Option<bool>, Option<bool>)>()
        .prop_map(|(fallback, port)| wire::SchedulerFlags { fallback, port });
    let mh = proptest::option::of(flags).prop_map(|flags| (Some("mh".to_owned()), flags));
    prop_oneof![Just((None, None)), Just((Some("rr".to_owned()), None)), mh]
}

fn a_drain() -> impl Strategy<Value = wire::Drain> {
    let seconds = proptest::option::of(0..=604_800u32);
    (seconds, 0..=2i32).prop_map(|(deadline_seconds, on_deadline)| wire::Drain {
        deadline_seconds,
        on_deadline,
    })
}

fn a_service() -> impl Strategy<Value = wire::Service> {
    (
        (a_name(), some_labels(), some_labels(), some_backends()),
        some_frontends(),
        a_scheduler(),
        proptest::option::of(Just(1)),
        proptest::option::of(an_affinity()),
        any::<[Option<bool>; 2]>(),
        proptest::option::of(1..=2i32),
        proptest::option::of(a_drain()),
    )
        .prop_map(
            |(
                (name, labels, node_selector, backends),
                frontends,
                (scheduler, scheduler_flags),
                forwarding,
                session_affinity,
                [hairpin, lockdown],
                vip_binding,
                drain,
            )| {
                wire::Service {
                    name,
                    labels,
                    frontends,
                    scheduler,
                    forwarding,
                    backends,
                    session_affinity,
                    hairpin,
                    node_selector,
                    scheduler_flags,
                    vip_binding,
                    lockdown,
                    drain,
                    ..wire::Service::default()
                }
            },
        )
}

/// A service over UDP, for what no other can have.
fn a_datagram_service() -> impl Strategy<Value = wire::Service> {
    let kind = prop_oneof![
        Just((1, None, None)),
        (1..=65_535u32, 1..=3i32).prop_map(|(port, sum)| (2, Some(port), Some(sum))),
        (1..=2i32).prop_map(|sum| (3, None, Some(sum))),
    ];
    (a_name(), kind, any::<bool>()).prop_map(|(name, (kind, port, checksum), sip)| {
        let affinity = wire::SessionAffinity {
            persistence_engine: "sip".to_owned(),
            ..wire::SessionAffinity::default()
        };
        wire::Service {
            name,
            frontends: vec![wire::Frontend {
                address: "10.1.0.1".to_owned(),
                port: 5060,
                protocol: 2,
                ..wire::Frontend::default()
            }],
            forwarding: Some(wire::Forwarding::Tunnel.into()),
            tunnel: Some(wire::Tunnel {
                r#type: Some(kind),
                port,
                checksum,
            }),
            session_affinity: sip.then_some(affinity),
            one_packet: Some(!sip),
            ..wire::Service::default()
        }
    })
}

fn a_node() -> impl Strategy<Value = wire::Node> {
    let timeouts =
        (0..9u32, 0..9u32, 1..9u32).prop_map(|(tcp, tcp_fin, udp)| wire::ConnectionTimeouts {
            tcp_seconds: tcp,
            tcp_fin_seconds: tcp_fin,
            udp_seconds: udp,
        });
    let daemon = (0..256u32, 0..3u32).prop_map(|(sync_id, more)| wire::SyncDaemon {
        role: 1,
        interface: "eth1".to_owned(),
        sync_id,
        group: if more > 0 { "239.1.1.1" } else { "" }.to_owned(),
        port: more,
        ttl: more,
        max_length: more,
    });
    (
        (a_name(), some_labels(), 0..3usize),
        proptest::option::of(any::<bool>()),
        proptest::option::of(any::<bool>()),
        proptest::option::of(timeouts),
        proptest::option::of(daemon),
    )
        .prop_map(
            |((name, labels, addresses), strict_arp, cordoned, timeouts, daemon)| {
                let all = ["10.0.0.1", "fd00::1", "2001:db8::"];
                wire::Node {
                    name,
                    labels,
                    addresses: all[..addresses]
                        .iter()
                        .map(|text| (*text).to_owned())
                        .collect(),
                    strict_arp,
                    cordoned,
                    connection_timeouts: timeouts,
                    sync_daemons: daemon.into_iter().collect(),
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
    prop_oneof![
        a_service().prop_map(Kind::Service),
        set.prop_map(Kind::BackendSet),
        a_datagram_service().prop_map(Kind::Service),
        a_node().prop_map(Kind::Node),
    ]
    .prop_map(|kind| wire::Resource {
        kind: Some(kind),
        ..wire::Resource::default()
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
        for form in [DocumentForm::Yaml, DocumentForm::Json] {
            for single in [true, false] {
                prop_assert_eq!(
                    &read_back(resources(&shown, single, form).expect("it can be written")),
                    std::slice::from_ref(&resource)
                );
            }
        }
    }
}
