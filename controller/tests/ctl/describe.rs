//! `describe`: a page for each kind. The pages are in `pages/`.

use weir_proto::wire::drain_state::OnNode;
use weir_proto::wire::drain_target::{Backend, Target};
use weir_proto::wire::{
    BackendTraffic, Capability, Change, Counters, Drain, DrainProgress, DrainState, DrainTarget,
    Frontend, HistoryEntry, ItemFailure, ItemKey, Kind, NodeState, OnDeadline, Protocol, Repair,
    ResourceRef, ServiceTraffic, TrafficRequest, TrafficResponse, change, item_key,
};

use super::drains::within;
use super::fake::Fake;
use super::{NODE, Ran, SET, WEB, failed, start};

fn cluster() -> Fake {
    let fake = start();
    let b = NODE
        .replace("node-a", "node-b")
        .replace("10.0.0.1", "10.0.0.2");
    let c = NODE
        .replace("node-a", "node-c")
        .replace("10.0.0.1", "10.0.0.3");
    let ran = fake.apply(&format!("{WEB}---\n{SET}---\n{NODE}---\n{b}---\n{c}"));
    assert_eq!((ran.status, ran.err.as_str()), (0, ""));
    let state = |name: &str| NodeState {
        name: name.to_owned(),
        connected: true,
        agent_version: "0.1.0".to_owned(),
        wanted_generation: 2,
        accepted_generation: 2,
        converged_generation: 2,
        wanted_items: 5,
        ..NodeState::default()
    };
    let key = item_key::Kind::Backend(item_key::Backend {
        frontend: Some(Frontend {
            address: "10.100.100.100".to_owned(),
            port: 8080,
            protocol: Protocol::Tcp.into(),
            ..Frontend::default()
        }),
        address: "10.0.0.11".to_owned(),
        port: 8080,
    });
    let refusing = NodeState {
        failures: vec![ItemFailure {
            key: Some(ItemKey { kind: Some(key) }),
            errno: 2,
            cause: "scheduler rr is not in this kernel".to_owned(),
            field: String::new(),
        }],
        failure_count: 1,
        capabilities: vec![Capability {
            name: "scheduler_twos".to_owned(),
            available: false,
            detail: "load the module ip_vs_twos".to_owned(),
            optional: true,
        }],
        certificate_expires_unix_ms: within(6 * 86_400 + 43_200),
        repairs: vec![Repair {
            object: "vip 10.100.100.100".to_owned(),
            kind: "vip".to_owned(),
            found: String::new(),
            expected: "bound".to_owned(),
            at_unix_ms: within(-(10 * 3_600 + 1_800)),
        }],
        repair_counts: [("vip".to_owned(), 4)].into(),
        ..state("node-b")
    };
    let target = DrainTarget {
        target: Some(Target::Backend(Backend {
            service: "web".to_owned(),
            address: "10.0.0.11".to_owned(),
            port: 8080,
        })),
    };
    let of = ResourceRef {
        kind: Kind::Service.into(),
        name: "web".to_owned(),
    };
    let progress = DrainProgress {
        key: refusing.failures[0].key.clone(),
        active_connections: 3,
        inactive_connections: 1,
        started_unix_ms: within(-(2 * 3_600 + 1_800)),
        deadline_unix_ms: within(10 * 3_600 + 1_800),
        on_deadline: OnDeadline::Reset.into(),
        done: false,
    };
    let drain = DrainState {
        target: Some(target.clone()),
        asked: true,
        asked_unix_ms: within(-(2 * 3_600 + 1_800)),
        drain: Some(Drain {
            deadline_seconds: Some(13 * 3_600),
            on_deadline: OnDeadline::Reset.into(),
        }),
        nodes: vec![OnNode {
            node: "node-a".to_owned(),
            progress: Some(progress),
        }],
    };
    let applied = HistoryEntry {
        revision: 1,
        unix_ms: within(-(5 * 86_400 + 7_200 + 1_800)),
        who: "admin/alice".to_owned(),
        what: "apply".to_owned(),
        changes: vec![Change {
            r#ref: Some(of),
            outcome: change::Outcome::Created.into(),
        }],
        ..HistoryEntry::default()
    };
    let drained = HistoryEntry {
        revision: 2,
        unix_ms: within(-(2 * 3_600 + 1_800)),
        who: "operator/bob".to_owned(),
        what: "drain".to_owned(),
        drains: vec![target],
        ..HistoryEntry::default()
    };
    let mut held = fake.state();
    held.events = super::events::events();
    held.nodes = vec![state("node-a"), refusing];
    held.drains = [vec![drain]].into();
    held.history = vec![drained, applied];
    held.traffic = traffic();
    drop(held);
    fake
}

/// As the controller tells it of that cluster.
fn traffic() -> TrafficResponse {
    let counters = |active, connections: f64| Counters {
        connections: 1_000,
        active_connections: active,
        inactive_connections: active / 2,
        connections_per_second: connections,
        failed_connections_per_second: connections / 100.0,
        bytes_in_per_second: 1_000.0 * connections,
        bytes_out_per_second: 20_000.0 * connections,
        ..Counters::default()
    };
    let backend = |last: u8, counters, silent| BackendTraffic {
        service: "web".to_owned(),
        address: format!("10.0.0.{last}"),
        port: 8080,
        counters: Some(counters),
        silent,
    };
    TrafficResponse {
        services: vec![ServiceTraffic {
            name: "web".to_owned(),
            counters: Some(counters(40, 15.5)),
            backend_count: 3,
            silent_backend_count: 1,
            imbalance: 1.5,
        }],
        backends: vec![
            backend(11, counters(20, 12.25), false),
            backend(21, counters(20, 3.25), false),
            backend(31, Counters::default(), true),
            // nobody has connected to it yet
            backend(41, Counters::default(), false),
        ],
        ..TrafficResponse::default()
    }
}

#[test]
fn each_page_tells_everything_that_is_known() {
    let fake = cluster();
    for (what, golden) in [
        ("service/web", include_str!("pages/service.txt")),
        ("backendset/web-b", include_str!("pages/backendset.txt")),
        ("node/node-b", include_str!("pages/node.txt")),
        ("vip/10.100.100.100", include_str!("pages/vip.txt")),
        ("drain/web/10.0.0.11:8080", include_str!("pages/drain.txt")),
    ] {
        let Ran { status, out, err } = fake.run(&["describe", what]);
        assert_eq!((status, err.as_str()), (0, ""), "{what}");
        assert_eq!(out, golden, "{what}");
    }
    let asked = TrafficRequest {
        services: vec!["web".to_owned()],
        backends: true,
        ..TrafficRequest::default()
    };
    assert_eq!(
        fake.state().traffic_asked,
        [asked],
        "for what is described alone"
    );
}

#[test]
fn a_controller_that_counts_nothing_describes_services_all_the_same() {
    let fake = cluster();
    fake.state().traffic = TrafficResponse::default();
    let Ran { status, out, err } = fake.run(&["describe", "service", "web"]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(!out.contains("Traffic:") && out.contains("Nodes:"), "{out}");
}

#[test]
fn what_is_not_there_has_no_page() {
    let fake = cluster();
    assert_eq!(
        fake.run(&["describe", "service", "shop"]),
        failed("error: service/shop not found\n")
    );
}
