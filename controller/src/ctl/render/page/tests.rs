use std::collections::BTreeMap;

use weir_proto::wire;

use super::*;
use crate::ctl::args::DocumentForm;

fn response(nodes: Vec<wire::NodeState>) -> wire::NodeStatusResponse {
    wire::NodeStatusResponse {
        nodes,
        revision: 12,
        ..wire::NodeStatusResponse::default()
    }
}

const URL: Called<'static> = Called {
    url: "http://127.0.0.1:7420",
    certificate_expires_unix_ms: None,
};

#[test]
fn a_page_shows_each_node_and_then_what_is_wrong() {
    let fine = wire::NodeState {
        name: "node-a".to_owned(),
        connected: true,
        wanted_generation: 7,
        accepted_generation: 7,
        converged_generation: 7,
        wanted_items: 12,
        last_heard_unix_ms: 998_000,
        ..wire::NodeState::default()
    };
    let behind = wire::NodeState {
        name: "node-b".to_owned(),
        converged_generation: 6,
        connected: false,
        last_heard_unix_ms: 808_000,
        disconnection: "did not read for 30 s".to_owned(),
        ..fine.clone()
    };
    let away = wire::NodeState {
        name: "node-c".to_owned(),
        converged_generation: 7,
        disconnection: String::new(),
        ..behind.clone()
    };
    let unheard = wire::NodeState {
        name: "node-d".to_owned(),
        wanted_generation: 24,
        wanted_items: 5,
        cordoned: true,
        ..wire::NodeState::default()
    };
    assert_eq!(
        status_page(
            &URL,
            &response(vec![fine.clone(), behind, away.clone(), unheard.clone()]),
            1_000_000,
            Style::PLAIN
        ),
        "\
controller http://127.0.0.1:7420, revision 12

NODE     STATE              WANTED   ACCEPTED   CONVERGED   ITEMS   FAILED   DRAINS   REPAIRS   HEARD
node-a   connected          7        7          7           12      0        0        0         -
node-b   gone               7        7          6           12      0        0        0         3m12s ago
node-c   gone               7        7          7           12      0        0        0         3m12s ago
node-d   unheard,cordoned   24       -          -           5       0        0        0         -

node-b: not connected for 3m12s (did not read for 30 s); converged on generation 6 of 7
node-c: not connected for 3m12s; converged on generation 7 of 7
node-d: not heard from since the controller started; generation 24 waits for it
"
    );
    let well = [fine, away, unheard].map(|node| is_well(&node));
    assert_eq!(well, [true, false, false]);
}

#[test]
fn a_cluster_without_nodes_says_so() {
    assert_eq!(
        status_page(&URL, &response(vec![]), 0, Style::PLAIN),
        "controller http://127.0.0.1:7420, revision 12\n\n\
         No nodes: none has registered, and none was applied.\n"
    );
}

#[test]
fn a_node_that_fails_rejects_or_lags_is_not_well() {
    let fine = wire::NodeState {
        connected: true,
        wanted_generation: 2,
        converged_generation: 2,
        ..wire::NodeState::default()
    };
    let failing = wire::NodeState {
        failure_count: 1,
        ..fine.clone()
    };
    let rejecting = wire::NodeState {
        rejection: "the journal is full".to_owned(),
        ..fine.clone()
    };
    let lagging = wire::NodeState {
        wanted_generation: 3,
        ..fine.clone()
    };
    let held = wire::NodeState {
        hold: Some(wire::Hold::default()),
        ..fine.clone()
    };
    let degraded = wire::NodeState {
        degraded: Some(wire::Degraded::default()),
        ..fine.clone()
    };
    let all = [fine, failing, rejecting, lagging, held, degraded];
    let found = all.map(|node| is_well(&node));
    assert_eq!(found, [true, false, false, false, false, false]);
}

#[test]
fn a_page_says_what_is_held_back_and_why_a_node_is_degraded() {
    let held = wire::NodeState {
        name: "node-a".to_owned(),
        connected: true,
        wanted_generation: 7,
        accepted_generation: 7,
        converged_generation: 6,
        wanted_items: 12,
        hold: Some(wire::Hold {
            generation: 7,
            dropped: 12,
            served: 20,
            since_unix_ms: 808_000,
            cause: "another cluster says so".to_owned(),
        }),
        drain_count: 3,
        repair_counts: [("vip".to_owned(), 2), ("link".to_owned(), 40)].into(),
        ..wire::NodeState::default()
    };
    let degraded = wire::NodeState {
        name: "node-b".to_owned(),
        converged_generation: 7,
        hold: None,
        degraded: Some(wire::Degraded {
            reason: "the disk is full".to_owned(),
            since_unix_ms: 940_000,
        }),
        drain_count: 0,
        repair_counts: BTreeMap::new(),
        ..held.clone()
    };
    assert_eq!(
        status_page(&URL, &response(vec![held, degraded]), 1_000_000, Style::PLAIN),
        "\
controller http://127.0.0.1:7420, revision 12

NODE     STATE      WANTED   ACCEPTED   CONVERGED   ITEMS   FAILED   DRAINS   REPAIRS   HEARD
node-a   HELD       7        7          6           12      0        3        42        -
node-b   DEGRADED   7        7          7           12      0        0        0         -

node-a: HELD for 3m12s: would drop 12 of 20 services (another cluster says so); weirctl node release node-a
node-b: DEGRADED for 1m: the disk is full
"
    );
}

#[test]
fn where_there_are_certificates_it_is_told_how_long_they_last() {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    let now = 1_000 * DAY;
    let node = |name: &str, connected, certificate_expires_unix_ms| wire::NodeState {
        name: name.to_owned(),
        connected,
        last_heard_unix_ms: now,
        certificate_expires_unix_ms,
        ..wire::NodeState::default()
    };
    let expired = wire::NodeState {
        disconnection: "its certificate expired".to_owned(),
        ..node("node-c", false, now - DAY)
    };
    let called = Called {
        url: "https://lb:7420",
        certificate_expires_unix_ms: Some(now + 6 * DAY),
    };
    let nodes = vec![
        node("node-a", true, now + 89 * DAY),
        node("node-b", true, now + 14 * DAY - 1),
        expired,
        node("node-d", true, 0),
    ];
    assert_eq!(
        status_page(&called, &response(nodes), now, Style::PLAIN),
        "\
controller https://lb:7420, revision 12, its certificate expires in 6d

NODE     STATE       WANTED   ACCEPTED   CONVERGED   ITEMS   FAILED   DRAINS   REPAIRS   HEARD    CERTIFICATE
node-a   connected   0        0          0           0       0        0        0         -        89d
node-b   connected   0        0          0           0       0        0        0         -        13d
node-c   gone        0        0          0           0       0        0        0         0s ago   expired
node-d   connected   0        0          0           0       0        0        0         -        -

controller: its certificate expires in 6d; put another in its place: whoever connects then meets that
node-b: its certificate expires in 13d; put another in its place: the agent takes it when it connects anew
node-c: not connected for 0s (its certificate expired); converged on generation 0 of 0
node-c: its certificate expired 1d ago; put another in its place: the agent takes it when it connects anew
"
    );
}

#[test]
fn the_controller_says_which_program_it_is_and_since_when() {
    let status = wire::NodeStatusResponse {
        controller_version: "0.1.0".to_owned(),
        controller_started_unix_ms: 1_000,
        ..response(Vec::new())
    };
    let page = status_page(&URL, &status, 91_000, Style::PLAIN);
    let head = "controller http://127.0.0.1:7420, version 0.1.0, up 1m30s, revision 12\n";
    assert!(page.starts_with(head), "{page}");
}

#[test]
fn what_is_shown_is_written_for_programs() {
    let frontend = wire::Frontend {
        address: "10.1.0.1".to_owned(),
        port: 80,
        protocol: wire::Protocol::Tcp.into(),
        ..wire::Frontend::default()
    };
    let troubled = wire::NodeState {
        name: "node-a".to_owned(),
        connected: true,
        agent_version: "0.1.0".to_owned(),
        wanted_generation: 8,
        accepted_generation: 7,
        converged_generation: 6,
        wanted_items: 12,
        last_heard_unix_ms: 998_000,
        failure_count: 1,
        failures: vec![wire::ItemFailure {
            key: Some(wire::ItemKey {
                kind: Some(wire::item_key::Kind::VirtualService(frontend)),
            }),
            errno: 2,
            cause: "there is no such scheduler".to_owned(),
            field: "scheduler".to_owned(),
        }],
        hold: Some(wire::Hold {
            generation: 7,
            dropped: 13,
            served: 14,
            since_unix_ms: 995_000,
            cause: "would take away 13 of 14 virtual services".to_owned(),
        }),
        degraded: Some(wire::Degraded {
            reason: "the disk is full".to_owned(),
            since_unix_ms: 940_000,
        }),
        drain_count: 1,
        repair_counts: BTreeMap::from([("vip".to_owned(), 2), ("backend".to_owned(), 1)]),
        certificate_expires_unix_ms: 87_400_000,
        ..wire::NodeState::default()
    };
    let gone = wire::NodeState {
        name: "node-b".to_owned(),
        wanted_generation: 8,
        accepted_generation: 8,
        converged_generation: 8,
        last_heard_unix_ms: 808_000,
        disconnection: "did not read for 30 s".to_owned(),
        rejection: "generation 9: it cannot be read".to_owned(),
        ..wire::NodeState::default()
    };
    let unheard = wire::NodeState {
        name: "node-c".to_owned(),
        wanted_generation: 24,
        wanted_items: 5,
        cordoned: true,
        ..wire::NodeState::default()
    };
    let status = wire::NodeStatusResponse {
        controller_version: "0.1.0".to_owned(),
        controller_started_unix_ms: 100_000,
        ..response(vec![troubled, gone, unheard])
    };
    let called = Called {
        certificate_expires_unix_ms: Some(2_000_000_000),
        ..URL
    };
    let written =
        |form| status_document(&called, &status, 1_000_000, (form, false)).expect("written");
    let json = written(DocumentForm::Json);
    assert_eq!(json, include_str!("status.json"));
    let as_json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let as_yaml: serde_json::Value =
        serde_saphyr::from_str(&written(DocumentForm::Yaml)).expect("YAML");
    assert_eq!(as_yaml, as_json);
}
