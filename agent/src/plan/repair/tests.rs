use weir_proto::model::{
    BackendKey, Endpoint, Frontend, Listener, LoopbackEntry, Mark, Port, Protocol, SyncRole,
};

use super::*;
use crate::plan::{Guard, Setting};

const AT: u64 = 1_700_000_000_000;

fn listener() -> Listener {
    Listener {
        address: [10, 1, 0, 1].into(),
        port: Port::new(80).expect("port"),
        protocol: Protocol::Tcp,
    }
}

fn service() -> Key {
    Key::Item(ItemKey::VirtualService(Frontend::Address(listener())))
}

fn backend() -> Key {
    let port = Port::new(8080).expect("port");
    Key::Item(ItemKey::Backend(BackendKey {
        frontend: Frontend::Address(listener()),
        endpoint: Endpoint {
            address: [10, 0, 0, 1].into(),
            port,
        },
    }))
}

fn value(text: &str) -> Object {
    Object::Value(text.to_owned())
}

fn rr() -> ServiceSpec {
    ServiceSpec {
        scheduler: "rr".to_owned(),
        ..ServiceSpec::default()
    }
}

fn weighing(weight: u32) -> BackendSpec {
    BackendSpec {
        weight,
        forwarding: Some(Forwarding::Masquerade),
        ..BackendSpec::default()
    }
}

/// Gives kind, object, found and expected.
fn told(key: Key, found: Option<Object>, expected: Option<Object>) -> [String; 4] {
    let step = match (&found, expected) {
        (None, Some(object)) => Step::Add { key, object },
        (Some(_), Some(object)) => Step::Edit { key, object },
        (_, None) => Step::Remove { key },
    };
    let Repair {
        object,
        kind,
        found,
        expected,
        at_unix_ms,
    } = repair(&step, found.as_ref(), AT);
    assert_eq!(at_unix_ms, AT);
    [kind, object, found, expected]
}

#[test]
fn a_repair_of_each_kind_says_what_was_found_and_what_is_again() {
    let here = Some(Object::Present);
    let (v4, v6) = (Family::V4, Family::V6);
    let vip = Key::Item(ItemKey::Vip([10, 1, 0, 1].into()));
    let entry = Key::Item(ItemKey::LoopbackEntry(LoopbackEntry {
        address: [10, 0, 0, 1].into(),
        protocol: Protocol::Udp,
        port: Port::new(53).expect("port"),
        source: [10, 0, 0, 1].into(),
    }));
    let daemon = SyncDaemonSpec {
        interface: "eth0".to_owned(),
        sync_id: 3,
        group: [224, 0, 0, 81].into(),
        port: 8848,
        ttl: 1,
        max_length: 0,
    };
    let found_daemon = SyncDaemonSpec {
        max_length: 1472,
        ..daemon.clone()
    };
    let forward = Key::Setting(Setting::ForwardV4);
    let route = Object::Vip(VipSpec {
        binding: VipBinding::Route,
        silent: false,
    });
    let silent = Object::Vip(VipSpec {
        binding: VipBinding::Address,
        silent: true,
    });
    let rows = [
        (
            told(forward, Some(value("0")), Some(value("1"))),
            ["setting", "sysctl net.ipv4.ip_forward", "0", "1"],
        ),
        (
            told(Key::Link, Some(value("down")), here.clone()),
            ["link", "link weir0", "down", "up"],
        ),
        (
            told(Key::LoopbackSet(v4), None, here.clone()),
            ["loopback_set", "IPv4 loopback set", "", "there"],
        ),
        (
            told(
                Key::LoopbackRule(v6),
                Some(value("not as this version puts it")),
                here.clone(),
            ),
            [
                "loopback_rule",
                "IPv6 loopback rule",
                "not as this version puts it",
                "there",
            ],
        ),
        (
            told(
                Key::Lockdown(v4),
                Some(Object::Unreadable("no answer".to_owned())),
                here.clone(),
            ),
            [
                "lockdown",
                "IPv4 lockdown",
                "not to be read: no answer",
                "there",
            ],
        ),
        (
            told(Key::Guard(Guard::Port(listener())), here.clone(), None),
            ["guard", "guarded port 10.1.0.1:80/TCP", "there", ""],
        ),
        (
            told(entry, None, here),
            [
                "loopback_entry",
                "loopback entry 10.0.0.1,udp:53,10.0.0.1",
                "",
                "there",
            ],
        ),
        (
            told(service(), None, Some(Object::Service(rr()))),
            [
                "virtual_service",
                "virtual service 10.1.0.1:80/TCP",
                "",
                "rr",
            ],
        ),
        (
            told(
                backend(),
                Some(Object::Backend(weighing(9))),
                Some(Object::Backend(weighing(3))),
            ),
            [
                "backend",
                "backend 10.0.0.1:8080 of 10.1.0.1:80/TCP",
                "weight 9, masquerade",
                "weight 3, masquerade",
            ],
        ),
        (
            told(vip, Some(route), Some(silent)),
            ["vip", "vip 10.1.0.1", "route", "silent address"],
        ),
        (
            told(
                Key::Item(ItemKey::SyncDaemon(SyncRole::Master)),
                Some(Object::SyncDaemon(found_daemon)),
                Some(Object::SyncDaemon(daemon)),
            ),
            [
                "sync_daemon",
                "sync daemon MASTER",
                "on eth0, id 3, to 224.0.0.81:8848, ttl 1, at most 1472 bytes",
                "on eth0, id 3, to 224.0.0.81:8848, ttl 1",
            ],
        ),
    ];
    for (told, expected) in rows {
        assert_eq!(told, expected);
    }
}

#[test]
fn a_service_is_told_with_all_that_it_does() {
    let with = |scheduler: &str, flags| ServiceSpec {
        scheduler: scheduler.to_owned(),
        flags,
        ..ServiceSpec::default()
    };
    let affinity = ServiceSpec {
        affinity_seconds: 300,
        affinity_prefix: 32,
        ..rr()
    };
    let narrow = ServiceSpec {
        affinity_prefix: 24,
        engine: "sip".to_owned(),
        ..affinity.clone()
    };
    for (spec, words) in [
        (affinity, "rr, affinity 300 s"),
        (narrow, "rr, affinity 300 s by /24, by sip"),
        (
            with("mh", ONE_PACKET | FALLBACK | PORT),
            "mh, one packet, fallback, by port",
        ),
        (with("rr", FALLBACK | 0x20), "rr, flags 0x28"),
    ] {
        let found = Some(Object::Service(spec));
        assert_eq!(told(service(), found, None)[2], words);
    }
    let mark = Frontend::Mark(Mark {
        family: Family::V6,
        number: std::num::NonZeroU32::MIN,
    });
    let found = ServiceSpec {
        affinity_seconds: 5,
        affinity_prefix: 128,
        ..rr()
    };
    let key = Key::Item(ItemKey::VirtualService(mark));
    let told = told(key, Some(Object::Service(found)), None);
    assert_eq!(
        told,
        [
            "virtual_service",
            "virtual service mark:1/IPV6",
            "rr, affinity 5 s",
            ""
        ]
    );
}

#[test]
fn a_backend_is_told_with_all_that_it_does() {
    let port = Port::new(6080).expect("port");
    let tunnel = |tunnel| Some(Forwarding::Tunnel(tunnel));
    let gue = Tunnel::Gue {
        port,
        checksum: Checksum::Remote,
    };
    let gre = Tunnel::Gre {
        checksum: Checksum::Full,
    };
    for (forwarding, words) in [
        (Some(Forwarding::DirectRoute), "direct route"),
        (tunnel(Tunnel::Ipip), "tunnel IPIP"),
        (tunnel(gue), "tunnel GUE to port 6080 with remote checksum"),
        (tunnel(gre), "tunnel GRE with checksum"),
        (None, "a forwarding that weir never asks for"),
    ] {
        let spec = BackendSpec {
            weight: 1,
            forwarding,
            upper_threshold: 100,
            lower_threshold: 80,
        };
        let found = Some(Object::Backend(spec));
        assert_eq!(
            told(backend(), found, None)[2],
            format!("weight 1, {words}, at most 100 connections, again below 80")
        );
    }
}

#[test]
fn each_repair_is_counted_and_the_newest_wait_to_be_told_once() {
    let mut repairs = Repairs::default();
    let mut noted = Vec::new();
    for at in 0..150 {
        let step = match at % 3 {
            0 => Step::Remove { key: service() },
            _ => Step::Remove { key: backend() },
        };
        let repair = repair(&step, None, at);
        repairs.note(step.key(), repair.clone());
        noted.push(repair);
    }
    let (told, counts) = repairs.take();
    assert_eq!(told, noted[50..]);
    assert_eq!(&counts, repairs.counts(), "each is counted");
    assert_eq!(repairs.take(), Default::default());
    assert_eq!(
        *repairs.counts(),
        [("backend", 100), ("virtual_service", 50)].into()
    );
}

#[test]
fn the_last_repairs_are_known_to_whoever_asks_after_they_were_told() {
    let key = Key::Link;
    let repair = |at_unix_ms| Repair {
        object: "link weir0".to_owned(),
        kind: "link".to_owned(),
        found: String::new(),
        expected: "up".to_owned(),
        at_unix_ms,
    };
    let mut repairs = Repairs::default();
    for at in 0..150 {
        repairs.note(key, repair(at));
    }
    let _ = repairs.take();
    assert_eq!((repairs.total(), repairs.since(0).len()), (150, 100));
    assert_eq!(repairs.since(148), [repair(148), repair(149)]);
    assert_eq!(repairs.since(150), []);
}
