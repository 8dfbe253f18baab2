//! Drains, what nodes hold back, and what they repaired.

use std::time::{SystemTime, UNIX_EPOCH};

use tonic::Status;
use weir_proto::wire::drain_target::{Backend, Target};
use weir_proto::wire::{
    Drain, DrainProgress, DrainRequest, DrainState, DrainTarget, Hold, NodeState, NodeTarget,
    OnDeadline, Repair, UndrainRequest, drain_state::OnNode,
};

use super::fake::{Fake, State};
use super::get::until;
use super::{Ran, WEB, failed, fine, start};

fn backend(address: &str) -> DrainTarget {
    DrainTarget {
        target: Some(Target::Backend(Backend {
            service: "web".to_owned(),
            address: address.to_owned(),
            port: 8080,
        })),
    }
}

pub(super) fn node(name: &str) -> DrainTarget {
    DrainTarget {
        target: Some(Target::Node(name.to_owned())),
    }
}

/// Gives a time that is so long from now, in Unix milliseconds.
pub(super) fn within(seconds: i64) -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.expect("a clock past 1970").as_secs();
    now.saturating_add_signed(seconds) * 1_000
}

#[test]
fn drains_are_asked_for_and_ended_by_what_is_named() {
    let fake = start();
    let arguments = [
        "drain",
        "backend",
        "web",
        "10.0.0.11:8080",
        "[fd00::11]:8080",
    ];
    assert_eq!(
        fake.run(&arguments),
        fine("backend/web/10.0.0.11:8080 draining\nbackend/web/[fd00::11]:8080 draining\n")
    );
    let arguments = [
        "drain",
        "node",
        "node-a",
        "--deadline",
        "10m",
        "--on-deadline",
        "RESET",
    ];
    assert_eq!(fake.run(&arguments), fine("node/node-a draining\n"));
    let said = |targets, deadline_seconds, on_deadline: OnDeadline| DrainRequest {
        targets,
        drain: Some(Drain {
            deadline_seconds,
            on_deadline: on_deadline.into(),
        }),
    };
    let both = vec![backend("10.0.0.11"), backend("fd00::11")];
    assert_eq!(
        fake.state().drained,
        [
            said(both, None, OnDeadline::Unspecified),
            said(vec![node("node-a")], Some(600), OnDeadline::Reset),
        ]
    );
    assert_eq!(
        fake.run(&["undrain", "node", "node-a"]),
        fine("node/node-a undrained\n")
    );
    let targets = vec![node("node-a")];
    assert_eq!(fake.state().undrained, [UndrainRequest { targets }]);
    let text = "not drained: nodes[node-a]";
    fake.state().refusal = Some(Status::not_found(text));
    assert_eq!(
        fake.run(&["undrain", "node", "node-a"]),
        failed("error: the controller says NOT_FOUND: not drained: nodes[node-a]\n")
    );
}

/// What node-a tells of the drain of a backend, whose time is over so many seconds from now.
fn told(connections: u64, left: i64, end: OnDeadline, done: bool) -> Vec<DrainState> {
    let progress = DrainProgress {
        active_connections: connections,
        started_unix_ms: within(left) - 60_000,
        deadline_unix_ms: within(left),
        on_deadline: end.into(),
        done,
        ..DrainProgress::default()
    };
    vec![DrainState {
        target: Some(backend("10.0.0.11")),
        asked: true,
        drain: Some(Drain {
            deadline_seconds: Some(60),
            on_deadline: end.into(),
        }),
        asked_unix_ms: within(-5),
        nodes: vec![OnNode {
            node: "node-a".to_owned(),
            progress: Some(progress),
        }],
    }]
}

fn converged() -> NodeState {
    NodeState {
        name: "node-a".to_owned(),
        connected: true,
        wanted_generation: 2,
        accepted_generation: 2,
        converged_generation: 2,
        ..NodeState::default()
    }
}

fn wait(drains: Vec<Vec<DrainState>>) -> Ran {
    let fake = Fake::start(State {
        targets: vec![NodeTarget {
            node: "node-a".to_owned(),
            generation: 2,
        }],
        nodes: vec![converged()],
        drains: drains.into(),
        ..State::default()
    });
    fake.run(&["drain", "backend", "web", "10.0.0.11:8080", "--wait"])
}

fn draining(status: i32, out: &str, err: &str) -> Ran {
    Ran {
        status,
        out: format!("backend/web/10.0.0.11:8080 draining\n{out}"),
        err: err.to_owned(),
    }
}

#[test]
fn a_wait_ends_when_nothing_is_left() {
    let asked = {
        let mut asked = told(0, 60, OnDeadline::Keep, false);
        asked[0].nodes.clear();
        asked
    };
    let drains = vec![
        asked,
        told(3, 60, OnDeadline::Keep, false),
        told(0, 60, OnDeadline::Keep, true),
    ];
    assert_eq!(wait(drains), draining(0, "drained on 1 node\n", ""));
}

#[test]
fn a_wait_ends_at_the_deadline_with_what_becomes_of_the_rest() {
    // the nodes' time is over in the course of the wait
    let past = |end| vec![told(3, 1, end, false)];
    assert_eq!(
        wait(past(OnDeadline::Reset)),
        draining(
            0,
            "the time is over: 3 connections cut on 1 of 1 node\n",
            ""
        )
    );
    assert_eq!(
        wait(past(OnDeadline::Keep)),
        draining(
            1,
            "",
            "node-a: 3 connections kept\n\
             error: the time is over: 3 connections kept on 1 of 1 node\n"
        )
    );
}

#[test]
fn a_wait_ends_when_somebody_undrains() {
    let drains = vec![told(3, 60, OnDeadline::Keep, false), vec![]];
    assert_eq!(
        wait(drains),
        draining(
            1,
            "",
            "error: backend/web/10.0.0.11:8080 is drained no longer\n"
        )
    );
}

#[test]
fn a_wait_for_a_node_that_says_nothing_ends_in_time() {
    let mut drains = told(3, 60, OnDeadline::Keep, false);
    drains[0].nodes.clear();
    drains[0].drain = Some(Drain {
        deadline_seconds: Some(0),
        on_deadline: OnDeadline::Keep.into(),
    });
    let fake = Fake::start(State {
        targets: vec![NodeTarget {
            node: "node-a".to_owned(),
            generation: 2,
        }],
        nodes: vec![converged()],
        drains: [drains].into(),
        ..State::default()
    });
    let arguments = [
        "drain",
        "backend",
        "web",
        "10.0.0.11:8080",
        "--wait",
        "--wait-timeout",
        "100ms",
    ];
    let ran = fake.run(&arguments);
    assert_eq!(ran.status, 1);
    let (line, end) = ran.err.split_once('\n').expect("two lines");
    assert_eq!(line, "node-a: has not told of it yet");
    assert!(end.starts_with("error: timed out after "), "{end}");
    let rest = ": it is not known to be over on 1 of 1 node\n";
    assert!(end.ends_with(rest), "{end}");
}

#[test]
fn drains_and_repairs_are_shown_as_tables() {
    let fake = start();
    // half a minute keeps the rounded times what they are while this runs
    let mut drains = told(3, 10 * 3_600 + 1_800, OnDeadline::Keep, false);
    drains[0].asked_unix_ms = within(-(5 * 86_400 + 7_200 + 1_800));
    fake.state().drains = [drains].into();
    let table = "\
NAME                 KIND      NODE     CONNECTIONS   LEFT   ON-DEADLINE   STATE      AGE
web/10.0.0.11:8080   backend   node-a   3             10h    KEEP          draining   5d2h
";
    for arguments in [
        &["get", "drains"][..],
        &["get", "drains", "-o", "wide"],
        &["get", "drain", "web/10.0.0.11:8080"],
    ] {
        assert_eq!(fake.run(arguments), fine(table), "{arguments:?}");
    }
    let repair = Repair {
        object: "vip 10.100.100.100".to_owned(),
        kind: "vip".to_owned(),
        found: String::new(),
        expected: "bound".to_owned(),
        at_unix_ms: within(-(10 * 3_600 + 1_800)),
    };
    fake.state().nodes = vec![
        NodeState {
            repairs: vec![repair],
            ..converged()
        },
        NodeState {
            name: "node-b".to_owned(),
            ..converged()
        },
    ];
    let table = "\
NODE     KIND   OBJECT               FOUND    EXPECTED   AGE
node-a   vip    vip 10.100.100.100   <none>   bound      10h
";
    assert_eq!(fake.run(&["get", "repairs"]), fine(table));
    assert_eq!(fake.run(&["get", "repairs", "-o", "wide"]), fine(table));
    assert_eq!(fake.run(&["get", "repairs", "node-a"]), fine(table));
    let nothing = Ran {
        status: 0,
        out: String::new(),
        err: "No repairs found.\n".to_owned(),
    };
    assert_eq!(fake.run(&["get", "repairs", "node-b"]), nothing);
}

#[test]
fn drains_that_are_watched_are_shown_as_connections_go_and_when_they_are_over() {
    let fake = start();
    let drained = |connections| {
        let mut drains = told(connections, 10 * 3_600 + 1_800, OnDeadline::Keep, false);
        drains[0].asked_unix_ms = within(-(5 * 86_400 + 7_200 + 1_800));
        drains
    };
    fake.state().drains = [drained(3), drained(3), drained(1), vec![]].into();
    let (lines, status) = until(&fake, &["get", "drains", "-w"], 4);
    assert_eq!(
        lines,
        [
            "NAME                 KIND      NODE     CONNECTIONS   LEFT   ON-DEADLINE   STATE      AGE",
            "web/10.0.0.11:8080   backend   node-a   3             10h    KEEP          draining   5d2h",
            "web/10.0.0.11:8080   backend   node-a   1             10h    KEEP          draining   5d2h",
            "web/10.0.0.11:8080   backend   node-a   1             10h    KEEP          draining   deleted",
        ]
    );
    assert_eq!(status.code(), Some(0), "{status}");
    fake.state().drains = [drained(3), drained(1)].into();
    let arguments = ["get", "drains", "--watch-only", "-o", "name"];
    let (lines, _) = until(&fake, &arguments, 1);
    assert_eq!(lines, ["drain/web/10.0.0.11:8080"]);
}

#[test]
fn repairs_that_are_watched_are_shown_once_each() {
    let fake = start();
    let repair = |found: &str| Repair {
        object: "backend 10.0.0.11:8080".to_owned(),
        kind: "backend".to_owned(),
        found: found.to_owned(),
        expected: "weight 3".to_owned(),
        at_unix_ms: within(-(10 * 3_600 + 1_800)),
    };
    let (first, second) = (repair("weight 9"), repair("weight 7"));
    let node = |repairs: &[&Repair]| {
        vec![NodeState {
            repairs: repairs.iter().copied().cloned().collect(),
            ..converged()
        }]
    };
    let answers = vec![node(&[&first]), node(&[&first]), node(&[&first, &second])];
    fake.state().watches = [answers.clone()].into();
    let header = "NODE     KIND      OBJECT                   FOUND      EXPECTED   AGE";
    let row = |found: &str| {
        format!("node-a   backend   backend 10.0.0.11:8080   {found}   weight 3   10h")
    };
    let (lines, status) = until(&fake, &["get", "repairs", "-w"], 3);
    assert_eq!(lines, [header.to_owned(), row("weight 9"), row("weight 7")]);
    assert_eq!(status.code(), Some(0), "{status}");
    fake.state().watches = [answers].into();
    let (lines, _) = until(&fake, &["get", "repairs", "--watch-only"], 2);
    assert_eq!(lines, [header.to_owned(), row("weight 7")]);
}

#[test]
fn a_node_that_holds_back_is_released_by_name() {
    let fake = start();
    assert_eq!(
        fake.run(&["node", "release", "node-a"]),
        failed("error: the controller says FAILED_PRECONDITION: node node-a holds nothing back\n")
    );
    let hold = Hold {
        generation: 7,
        ..Hold::default()
    };
    fake.state().nodes = vec![NodeState {
        hold: Some(hold),
        ..converged()
    }];
    assert_eq!(
        fake.run(&["node", "release", "node-a"]),
        fine("node/node-a released up to generation 7\n")
    );
}

#[test]
fn a_write_says_whether_nodes_may_drop_much() {
    let fake = start();
    fake.apply(WEB);
    super::run(&fake.url, &["apply", "-f", "-", "--allow-mass-delete"], WEB);
    fake.run(&["delete", "service/web", "--allow-mass-delete"]);
    assert_eq!(fake.state().allowed, [false, true, true]);
}

#[test]
fn a_wait_for_an_apply_says_what_a_node_holds_back() {
    let held = NodeState {
        converged_generation: 1,
        hold: Some(Hold {
            generation: 2,
            dropped: 12,
            served: 20,
            ..Hold::default()
        }),
        ..converged()
    };
    let fake = Fake::start(State {
        targets: vec![NodeTarget {
            node: "node-a".to_owned(),
            generation: 2,
        }],
        watches: [vec![vec![held]]].into(),
        ..State::default()
    });

    let arguments = ["apply", "-f", "-", "--wait", "--wait-timeout", "60s"];
    assert_eq!(
        super::run(&fake.url, &arguments, WEB),
        Ran {
            status: 1,
            out: "service/web created\n".to_owned(),
            err: "node-a: would drop 12 of 20 services; weirctl node release node-a\n\
                  error: refused by 1 of 1 node\n"
                .to_owned(),
        }
    );
}
