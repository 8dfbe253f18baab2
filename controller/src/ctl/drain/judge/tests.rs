use super::*;

fn target(name: &str) -> wire::DrainTarget {
    wire::DrainTarget {
        target: Some(wire::drain_target::Target::Node(name.to_owned())),
    }
}

fn asked() -> Asked {
    Asked {
        targets: vec![target("node-a")],
        nodes: ["node-a", "node-b"].map(|node| (node.to_owned(), 2)).into(),
        since_unix_ms: 1_000,
    }
}

fn state(name: &str, converged: u64) -> wire::NodeState {
    wire::NodeState {
        name: name.to_owned(),
        connected: true,
        wanted_generation: 2,
        accepted_generation: 2,
        converged_generation: converged,
        last_heard_unix_ms: 1,
        ..wire::NodeState::default()
    }
}

fn both() -> [wire::NodeState; 2] {
    [state("node-a", 2), state("node-b", 2)]
}

fn on(node: &str, active: u64, end: wire::OnDeadline, done: bool) -> wire::drain_state::OnNode {
    wire::drain_state::OnNode {
        node: node.to_owned(),
        progress: Some(wire::DrainProgress {
            active_connections: active,
            inactive_connections: 1,
            deadline_unix_ms: 301_000,
            on_deadline: end.into(),
            done,
            ..wire::DrainProgress::default()
        }),
    }
}

fn drain(nodes: Vec<wire::drain_state::OnNode>) -> [wire::DrainState; 1] {
    [wire::DrainState {
        target: Some(target("node-a")),
        asked: true,
        drain: Some(wire::Drain {
            deadline_seconds: Some(60),
            on_deadline: wire::OnDeadline::Keep.into(),
        }),
        asked_unix_ms: 500,
        nodes,
    }]
}

use wire::OnDeadline::{Keep, Reset};

#[test]
fn each_node_is_waited_for_until_it_says_that_all_is_over() {
    let nodes = vec![
        on("node-a", 0, Keep, true),
        on("node-a", 4, Keep, false),
        on("node-a", 1, Keep, false),
    ];
    let told = asked().judge(&both(), &drain(nodes), 11_000);
    assert_eq!(
        told,
        Told {
            waiting: vec![
                "node-a: 7 connections left, 4m50s to the deadline".to_owned(),
                "node-b: has not told of it yet".to_owned(),
            ],
            until_unix_ms: 301_000,
            ..Told::default()
        }
    );
    let over = vec![on("node-a", 0, Keep, true), on("node-b", 0, Keep, true)];
    let told = asked().judge(&both(), &drain(over), 11_000);
    assert_eq!(
        told,
        Told {
            until_unix_ms: 61_000,
            ..Told::default()
        }
    );
    assert_eq!(
        told.verdict(2).ok().as_deref(),
        Some("drained on 2 nodes\n")
    );
}

#[test]
fn what_a_node_said_before_it_went_or_took_the_drain_does_not_count() {
    let over = vec![on("node-a", 0, Keep, true), on("node-b", 0, Keep, true)];
    let gone = wire::NodeState {
        connected: false,
        ..state("node-b", 2)
    };
    let told = asked().judge(&[state("node-a", 1), gone], &drain(over.clone()), 11_000);
    assert_eq!(
        told.waiting,
        [
            "node-a: accepted generation 2, converged on generation 1 of 2",
            "node-b: not connected for 10s; converged on generation 2 of 2",
        ]
    );
    let held = wire::NodeState {
        hold: Some(wire::Hold {
            generation: 2,
            dropped: 12,
            served: 20,
            since_unix_ms: 1_000,
            cause: String::new(),
        }),
        ..state("node-a", 1)
    };
    let told = asked().judge(&[held], &drain(over), 11_000);
    assert_eq!(
        told.waiting,
        [
            "node-a: HELD for 10s: would drop 12 of 20 services; weirctl node release node-a",
            "node-b: not known to the controller",
        ]
    );
}

#[test]
fn beyond_the_deadline_connections_are_cut_or_kept_as_the_drain_says() {
    let nodes = |end| {
        drain(vec![
            on("node-a", 4, end, false),
            on("node-b", 0, end, true),
        ])
    };
    let told = asked().judge(&both(), &nodes(Reset), 301_000);
    assert!(told.waiting.is_empty(), "{told:?}");
    assert_eq!(
        told.verdict(2).ok().as_deref(),
        Some("the time is over: 5 connections cut on 1 of 2 nodes\n")
    );
    let told = asked().judge(&both(), &nodes(Keep), 301_000);
    match told.verdict(2) {
        Err(Trouble::Detailed { details, summary }) => {
            assert_eq!(details, ["node-a: 5 connections kept"]);
            let text = "the time is over: 5 connections kept on 1 of 2 nodes";
            assert_eq!(summary, text);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_drain_that_somebody_ended_is_waited_for_no_longer() {
    let told = asked().judge(&both(), &[], 11_000);
    assert_eq!(told.undrained.as_deref(), Some("node/node-a"));
}

#[test]
fn a_deadline_that_was_over_before_is_that_of_an_earlier_word() {
    let asked = Asked {
        since_unix_ms: 302_000,
        ..asked()
    };
    let nodes = drain(vec![
        on("node-a", 4, Keep, false),
        on("node-b", 0, Keep, true),
    ]);
    let told = asked.judge(&both(), &nodes, 304_999);
    assert_eq!(told.waiting, ["node-a: has not told of it yet"]);
    let told = asked.judge(&both(), &nodes, 305_000);
    assert_eq!(told.kept, [("node-a".to_owned(), 5)]);
    assert!(told.waiting.is_empty(), "{told:?}");
}
