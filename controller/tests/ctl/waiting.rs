//! `--wait`.

use weir_proto::wire::{ItemFailure, ItemKey, NodeState, NodeTarget, item_key};

use super::fake::{Fake, State};
use super::{Ran, WEB, run};

pub(super) fn node(name: &str, accepted: u64, converged: u64) -> NodeState {
    NodeState {
        name: name.to_owned(),
        connected: true,
        wanted_generation: 2,
        accepted_generation: accepted,
        converged_generation: converged,
        last_heard_unix_ms: 1,
        ..NodeState::default()
    }
}

fn gone(node: NodeState) -> NodeState {
    NodeState {
        connected: false,
        ..node
    }
}

/// Applies with `--wait` while two nodes are touched and each watching call is told the next answers.
fn wait(watches: Vec<Vec<Vec<NodeState>>>, timeout: &str) -> Ran {
    let target = |node: &str| NodeTarget {
        node: node.to_owned(),
        generation: 2,
    };
    let fake = Fake::start(State {
        targets: vec![target("node-a"), target("node-b")],
        watches: watches.into(),
        ..State::default()
    });
    let arguments = ["apply", "-f", "-", "--wait", "--wait-timeout", timeout];
    run(&fake.url, &arguments, WEB)
}

fn ended(status: i32, out: &str, err: &str) -> Ran {
    Ran {
        status,
        out: format!("service/web created\n{out}"),
        err: err.to_owned(),
    }
}

/// Far longer than any of these takes: a time-out would fail the test.
const LONG: &str = "60s";

#[test]
fn apply_returns_when_every_node_has_converged() {
    let answers = vec![
        vec![node("node-a", 1, 1), node("node-b", 1, 1)],
        vec![node("node-a", 2, 2), node("node-b", 2, 1)],
        vec![node("node-a", 2, 2), node("node-b", 2, 2)],
    ];
    assert_eq!(
        wait(vec![answers], LONG),
        ended(0, "converged on 2 nodes\n", "")
    );
}

#[test]
fn a_controller_that_goes_away_meanwhile_is_asked_again() {
    let (before, after) = (
        vec![vec![node("node-a", 2, 2), node("node-b", 2, 1)]],
        vec![vec![node("node-a", 2, 2), node("node-b", 2, 2)]],
    );
    assert_eq!(
        wait(vec![before, after], LONG),
        ended(0, "converged on 2 nodes\n", "")
    );
}

/// A node that fails to hold a backend of a frontend of this port.
fn failing(port: u32, node: NodeState) -> NodeState {
    let backend = item_key::Kind::Backend(item_key::Backend {
        frontend: Some(weir_proto::wire::Frontend {
            address: "10.100.100.100".to_owned(),
            port,
            protocol: weir_proto::wire::Protocol::Tcp.into(),
            ..weir_proto::wire::Frontend::default()
        }),
        address: "10.0.0.11".to_owned(),
        port: 8080,
    });
    NodeState {
        failures: vec![ItemFailure {
            key: Some(ItemKey {
                kind: Some(backend),
            }),
            errno: 2,
            cause: "scheduler mh is not in this kernel".to_owned(),
            field: String::new(),
        }],
        failure_count: 1,
        ..node
    }
}

#[test]
fn every_node_that_refuses_is_waited_for_and_told_with_its_reason() {
    let answers = vec![
        vec![failing(8080, node("node-a", 2, 2)), node("node-b", 1, 1)],
        vec![
            failing(8080, node("node-a", 2, 2)),
            failing(8080, node("node-b", 2, 2)),
        ],
    ];
    assert_eq!(
        wait(vec![answers], LONG),
        ended(
            1,
            "",
            "\
node-a: backend 10.0.0.11:8080 of 10.100.100.100:8080/TCP: ENOENT: scheduler mh is not in this kernel
node-b: backend 10.0.0.11:8080 of 10.100.100.100:8080/TCP: ENOENT: scheduler mh is not in this kernel
error: refused by 2 of 2 nodes
"
        )
    );
}

#[test]
fn what_fails_of_another_service_is_mentioned_and_no_failure_of_this_one() {
    let answers = vec![vec![
        failing(81, node("node-a", 2, 2)),
        node("node-b", 2, 2),
    ]];
    assert_eq!(
        wait(vec![answers], LONG),
        ended(
            0,
            "converged on 2 nodes\n",
            "node-a has 1 other failure; see weirctl status\n"
        )
    );
}

#[test]
fn what_a_delete_leaves_behind_is_judged_by_what_was_there() {
    for (port, status, err) in [
        (81, 0, "node-a has 1 other failure; see weirctl status\n"),
        (
            8080,
            1,
            "node-a: backend 10.0.0.11:8080 of 10.100.100.100:8080/TCP: ENOENT: scheduler mh is not in \
             this kernel\nerror: refused by 1 of 1 node\n",
        ),
    ] {
        let fake = Fake::start(State {
            watches: vec![vec![vec![failing(port, node("node-a", 2, 2))]]].into(),
            ..State::default()
        });
        fake.apply(WEB);
        fake.state().targets = vec![NodeTarget {
            node: "node-a".to_owned(),
            generation: 2,
        }];
        let ran = fake.run(&["delete", "service/web", "--wait"]);
        assert_eq!((ran.status, ran.err.as_str()), (status, err));
    }
}

fn rejecting() -> NodeState {
    NodeState {
        rejection: "generation 2: journal: no space left".to_owned(),
        ..node("node-b", 1, 1)
    }
}

#[test]
fn a_rejection_that_stands_ends_the_wait() {
    assert_eq!(
        wait(vec![vec![vec![node("node-a", 2, 2), rejecting()]]], LONG),
        ended(
            1,
            "",
            "\
node-b: takes no further generation: generation 2: journal: no space left
error: refused by 1 of 2 nodes
"
        )
    );
}

#[test]
fn a_rejection_that_passes_is_none() {
    let answers = vec![
        vec![node("node-a", 2, 2), rejecting()],
        vec![node("node-a", 2, 2), node("node-b", 2, 2)],
    ];
    assert_eq!(
        wait(vec![answers], LONG),
        ended(0, "converged on 2 nodes\n", "")
    );
}

#[test]
fn when_the_time_is_over_what_is_missing_is_named() {
    let answers = vec![vec![node("node-a", 2, 1), gone(node("node-b", 1, 1))]];
    assert_eq!(
        wait(vec![answers], "300ms"),
        ended(
            1,
            "",
            "\
still waiting for node-b, which is not connected
node-a: accepted generation 2, converged on generation 1 of 2
node-b: not connected; converged on generation 1 of 2
error: timed out after 300ms: 2 of 2 nodes did not converge: node-a, node-b
"
        )
    );
}

#[test]
fn a_change_that_touches_no_node_is_not_waited_for() {
    let fake = Fake::start(State::default());
    assert_eq!(
        run(&fake.url, &["apply", "-f", "-", "--wait"], WEB),
        ended(0, "no node is touched\n", "")
    );
    let ran = fake.run(&["delete", "service/web", "--wait"]);
    assert_eq!(
        (ran.status, ran.out.as_str()),
        (0, "service/web deleted\nno node is touched\n")
    );
}
