//! Everything that services, backends and sync daemons can be.

use std::num::NonZeroU32;

use weir_proto::model::{Checksum, Mark, SyncRole, Tunnel};

use super::*;
use crate::plan::SyncDaemonSpec;

/// `IP_VS_SVC_F_ONEPACKET`, `.._SCHED1` and `.._SCHED2` (`include/uapi/linux/ip_vs.h`).
const ONE_PACKET: u32 = 0x04;
const FALLBACK: u32 = 0x08;
const PORT: u32 = 0x10;

fn listening(at: &str, protocol: Protocol) -> Frontend {
    Frontend::Address(Listener {
        address: address(at),
        port: port(5060),
        protocol,
    })
}

fn marked(number: u32, family: Family) -> Frontend {
    let number = NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    Frontend::Mark(Mark { number, family })
}

fn plain(scheduler: &str) -> ServiceSpec {
    ServiceSpec {
        scheduler: scheduler.to_owned(),
        ..ServiceSpec::default()
    }
}

/// Frontends, with how each service is at first and what it becomes.
fn services() -> Vec<(Frontend, ServiceSpec, ServiceSpec)> {
    let sticky = |prefix, engine: &str| ServiceSpec {
        affinity_seconds: 360,
        affinity_prefix: prefix,
        engine: engine.to_owned(),
        ..plain("rr")
    };
    let flagged = |flags| ServiceSpec {
        flags,
        ..plain("mh")
    };
    let one_packet = ServiceSpec {
        flags: ONE_PACKET,
        ..plain("rr")
    };
    vec![
        (
            listening("10.100.0.1", Protocol::Udp),
            sticky(32, "sip"),
            sticky(24, ""),
        ),
        (
            listening("fd00:100::1", Protocol::Tcp),
            sticky(64, ""),
            plain("rr"),
        ),
        (
            listening("10.100.0.2", Protocol::Udp),
            one_packet,
            plain("wlc"),
        ),
        (
            listening("10.100.0.2", Protocol::Tcp),
            flagged(FALLBACK),
            flagged(FALLBACK | PORT),
        ),
        (
            listening("10.100.0.1", Protocol::Sctp),
            plain("sh"),
            flagged(PORT),
        ),
        (marked(7, Family::V4), plain("lc"), sticky(16, "")),
        (marked(7, Family::V6), plain("nq"), plain("fo")),
    ]
}

/// Every way to a backend; the family of the backend is not always that of its frontend.
fn backends() -> Vec<(&'static str, BackendSpec)> {
    let through = |tunnel| Some(Forwarding::Tunnel(tunnel));
    let gue = |number, checksum| {
        through(Tunnel::Gue {
            port: port(number),
            checksum,
        })
    };
    let ways = [
        ("10.0.0.11", Some(Forwarding::Masquerade)),
        ("10.0.0.12", Some(Forwarding::DirectRoute)),
        ("10.0.0.13", through(Tunnel::Ipip)),
        ("10.0.0.14", gue(6080, Checksum::None)),
        ("10.0.0.15", gue(6081, Checksum::Remote)),
        (
            "10.0.0.16",
            through(Tunnel::Gre {
                checksum: Checksum::Full,
            }),
        ),
        ("fd00::13", through(Tunnel::Ipip)),
    ];
    let specs = ways.into_iter().enumerate();
    specs
        .map(|(place, (at, forwarding))| {
            let weight = u32::try_from(place).unwrap_or_default() * 10_000;
            let spec = BackendSpec {
                weight,
                forwarding,
                upper_threshold: weight + 2,
                lower_threshold: weight,
            };
            (at, spec)
        })
        .collect()
}

fn behind(frontend: Frontend, at: &str) -> Key {
    Key::Item(ItemKey::Backend(BackendKey {
        frontend,
        endpoint: Endpoint {
            address: address(at),
            port: port(5060),
        },
    }))
}

pub(super) async fn services_of_every_kind_are_kept_and_edited<K: Kernel>(kernel: &mut K) {
    let key = |frontend: &Frontend| Key::Item(ItemKey::VirtualService(*frontend));
    let services = services();
    let first: Table = services
        .iter()
        .map(|(frontend, spec, _)| (key(frontend), Object::Service(spec.clone())))
        .collect();
    put_up(kernel, &first).await;
    assert_eq!(objects(kernel).await, first);
    let then: Table = services
        .iter()
        .map(|(frontend, _, spec)| (key(frontend), Object::Service(spec.clone())))
        .collect();
    let edits: Vec<Step> = then
        .iter()
        .map(|(key, object)| edit(*key, object.clone()))
        .collect();
    must(kernel, &edits).await;
    assert_eq!(objects(kernel).await, then);
    for (key, object) in &then {
        let alone = read(kernel, &Scope::Units([key.unit()].into())).await;
        assert_eq!(alone, Table::from([(*key, object.clone())]), "{key}");
    }
}

pub(super) async fn backends_of_every_kind_are_kept_and_edited<K: Kernel>(kernel: &mut K) {
    let frontends = [
        listening("10.100.0.1", Protocol::Tcp),
        marked(9, Family::V4),
    ];
    let mut wanted = Table::new();
    for frontend in frontends {
        let service = Key::Item(ItemKey::VirtualService(frontend));
        wanted.insert(service, Object::Service(plain("wrr")));
        for (at, spec) in backends() {
            wanted.insert(behind(frontend, at), Object::Backend(spec));
        }
    }
    put_up(kernel, &wanted).await;
    assert_eq!(objects(kernel).await, wanted);
    // each becomes what its neighbour was, but for the family
    let turned = backends().into_iter().take(6).map(|(_, spec)| spec);
    let turned: Vec<BackendSpec> = turned.rev().collect();
    let v4 = backends().into_iter().take(6).map(|(at, _)| at);
    let edits: Vec<Step> = v4
        .zip(turned)
        .map(|(at, spec)| edit(behind(frontends[0], at), Object::Backend(spec)))
        .collect();
    must(kernel, &edits).await;
    for step in edits {
        if let Step::Edit { key, object } = step {
            wanted.insert(key, object);
        }
    }
    assert_eq!(objects(kernel).await, wanted);
}

pub(super) async fn sync_daemons_are_started_changed_and_stopped<K: Kernel>(kernel: &mut K) {
    let spec = |sync_id, group: &str, max_length| {
        Object::SyncDaemon(SyncDaemonSpec {
            interface: "lo".to_owned(),
            sync_id,
            group: address(group),
            port: 9000,
            ttl: 2,
            max_length,
        })
    };
    let key = |role| Key::Item(ItemKey::SyncDaemon(role));
    let wanted = Table::from([
        (key(SyncRole::Master), spec(7, "239.1.1.1", 1400)),
        (key(SyncRole::Backup), spec(8, "239.1.1.2", 1200)),
    ]);
    put_up(kernel, &wanted).await;
    assert_eq!(objects(kernel).await, wanted);
    let changed = spec(9, "239.1.1.3", 1300);
    must(kernel, &[edit(key(SyncRole::Master), changed.clone())]).await;
    let alone = Scope::Units([Unit::SyncDaemon(SyncRole::Master)].into());
    let expected = Table::from([(key(SyncRole::Master), changed)]);
    assert_eq!(read(kernel, &alone).await, expected);
    let stop = Step::Remove {
        key: key(SyncRole::Master),
    };
    must(kernel, &[stop]).await;
    assert_eq!(read(kernel, &alone).await, Table::new());
}
