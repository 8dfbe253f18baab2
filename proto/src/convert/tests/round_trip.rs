//! What is written comes back as it was, and anything is read or refused.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message;

use super::{frontend, service};
use crate::convert::*;
use crate::digest::Digest;
use crate::model::{Item, ItemKey, Resource, Revision};
use crate::state::NodeState;
use crate::wire;

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

fn any_drain() -> impl Strategy<Value = Option<wire::Drain>> {
    let drain = (proptest::option::of(0u32..700_000), 0i32..4);
    proptest::option::of(
        drain.prop_map(|(deadline_seconds, on_deadline)| wire::Drain {
            deadline_seconds,
            on_deadline,
        }),
    )
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
        (vip_binding, drain) in (proptest::option::of(0i32..4), any_drain()),
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
            drain,
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
        which in 0..10,
        key in any_frontend(),
        address in words(),
        port in 0u32..70_000,
        weight in 0u32..70_000,
        forwarding in (0i32..5, proptest::option::of(any_tunnel())),
        text in words(),
        (scheduler, flags) in (scheduler(), proptest::option::of(any_flags())),
        (sources, daemon, drain) in (sources(), any_daemon(), any_drain()),
    ) -> wire::Item {
        use wire::item::{Backend, Kind, LoopbackEntry, NodeDrain, SilentVip, StrictArp, TunnelEnd, Vip, VirtualService};
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
                drain,
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
                drain,
            }),
            3 => Kind::SilentVip(SilentVip { address }),
            4 => Kind::TunnelEnd(TunnelEnd { outer: forwarding.0, inner: key.protocol }),
            5 => Kind::StrictArp(StrictArp {}),
            6 => Kind::ConnectionTimeouts(wire::ConnectionTimeouts {
                tcp_seconds: weight, tcp_fin_seconds: 0, udp_seconds: port,
            }),
            7 => Kind::SyncDaemon(daemon),
            8 => Kind::NodeDrain(NodeDrain { drain }),
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
        let sent = item_to_wire(&item).encode_to_vec();
        prop_assert_eq!(item_from_sent(&sent, "item", &mut Vec::new()), Ok(item.clone()));
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
