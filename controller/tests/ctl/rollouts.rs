//! Rollouts: `apply --canary`, and what `rollout` shows and does.

use std::time::{SystemTime, UNIX_EPOCH};

use tonic::Status;
use weir_proto::wire::canary::{Step, step::Size};
use weir_proto::wire::rollout::{Node, Phase};
use weir_proto::wire::steer_rollout_request::Action;
use weir_proto::wire::{Canary, Kind, ResourceRef, Rollout, SteerRolloutRequest};

use super::fake::{Fake, State};
use super::{Ran, WEB, failed, fine, run, start};

fn steps() -> Canary {
    let sizes = [Size::Nodes(1), Size::Percent(50), Size::Percent(100)];
    let step = |size| Step { size: Some(size) };
    Canary {
        steps: sizes.map(step).into(),
    }
}

fn node(name: &str, step: u32, reached: bool, converged: bool) -> Node {
    let (connections, failed_connections) = if converged { (120, 3) } else { (0, 0) };
    Node {
        name: name.to_owned(),
        step,
        reached,
        converged,
        connections,
        failed_connections,
        held: String::new(),
    }
}

/// A rollout over three nodes, of which two were reached and one has converged.
pub(super) fn rollout(phase: Phase) -> Rollout {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.expect("a clock past 1970").as_secs() * 1_000;
    Rollout {
        revision: 1,
        canary: Some(steps()),
        step: 1,
        phase: phase.into(),
        reason: match phase {
            Phase::Halted => "node node-c refuses a backend".to_owned(),
            _ => String::new(),
        },
        refs: vec![ResourceRef {
            kind: Kind::Service.into(),
            name: "web".to_owned(),
        }],
        nodes: vec![
            node("node-c", 0, true, true),
            node("node-a", 1, true, false),
            node("node-b", 2, false, false),
        ],
        who: "operator/alice".to_owned(),
        // far enough from where a minute ends
        begun_unix_ms: now - 3_600_000 * 30,
        changed_unix_ms: now - 3_600_000 * 26,
    }
}

fn with(rollouts: Vec<Vec<Rollout>>) -> Fake {
    Fake::start(State {
        rollout: Some(rollout(Phase::Running)),
        rollouts: rollouts.into(),
        ..State::default()
    })
}

fn apply(fake: &Fake, more: &[&str]) -> Ran {
    let arguments = [&["apply", "-f", "-", "--canary", "1,50%,100%"], more].concat();
    run(&fake.url, &arguments, WEB)
}

#[test]
fn steps_are_asked_for_as_they_are_written() {
    let fake = start();
    assert_eq!(apply(&fake, &[]), fine("service/web created\n"));
    assert_eq!(fake.state().canaries, [steps()]);
}

#[test]
fn apply_waits_until_every_node_has_it() {
    let fake = with(vec![
        vec![rollout(Phase::Running)],
        vec![rollout(Phase::Paused), rollout(Phase::Done)],
    ]);
    assert_eq!(
        apply(&fake, &["--wait"]),
        fine("service/web created\nrolled out to 3 nodes\n")
    );
}

#[test]
fn apply_fails_when_it_halts_and_says_why() {
    for (last, err) in [
        (
            Phase::Halted,
            "error: rollout 1 halted: node node-c refuses a backend; weirctl rollout resume or undo\n",
        ),
        (Phase::Undone, "error: rollout 1 was undone\n"),
    ] {
        let fake = with(vec![vec![rollout(Phase::Running), rollout(last)]]);
        let ended = Ran {
            status: 1,
            out: "service/web created\n".to_owned(),
            err: err.to_owned(),
        };
        assert_eq!(apply(&fake, &["--wait"]), ended);
    }
}

#[test]
fn apply_says_how_far_it_is_when_the_time_is_over() {
    let fake = with(vec![vec![rollout(Phase::Running)]]);
    let ended = Ran {
        status: 1,
        out: "service/web created\n".to_owned(),
        err: "error: not over after 300ms: rollout 1: running, step 2 of 3 (1,50%,100%), 1 of 3 nodes \
              have it\n"
            .to_owned(),
    };
    assert_eq!(apply(&fake, &["--wait", "--wait-timeout", "300ms"]), ended);
}

#[test]
fn the_rollout_is_shown_node_by_node_in_its_order() {
    let fake = with(Vec::new());
    assert_eq!(
        fake.run(&["rollout", "status"]),
        fine(
            "\
rollout 1: running, step 2 of 3 (1,50%,100%), 1 of 3 nodes have it
service/web by operator/alice, begun 1d6h ago, changed 1d2h ago

NODE     STEP   STATE       CONNECTIONS   FAILED
node-c   1      converged   120           3
node-a   2      reached     0             0
node-b   3      waiting     -             -
"
        )
    );
    fake.state().rollout = None;
    assert_eq!(
        fake.run(&["rollout", "status"]),
        fine("No rollout: weirctl apply --canary begins one.\n")
    );
}

#[test]
fn a_rollout_that_halted_is_a_failure() {
    let fake = with(Vec::new());
    fake.state().rollout = Some(Rollout {
        nodes: Vec::new(),
        ..rollout(Phase::Halted)
    });
    let halted = Ran {
        status: 1,
        out: "\
rollout 1: HALTED, step 2 of 3 (1,50%,100%), 0 of 0 nodes have it
node node-c refuses a backend
service/web by operator/alice, begun 1d6h ago, changed 1d2h ago
It touches no node.
"
        .to_owned(),
        err: String::new(),
    };
    assert_eq!(fake.run(&["rollout", "status"]), halted);
}

#[test]
fn a_node_that_holds_back_is_named_with_how_it_is_let_go() {
    let fake = with(Vec::new());
    let held = Node {
        held: "holds back generation 9: would take away 20 of 30 virtual services".to_owned(),
        ..node("node-a", 1, false, false)
    };
    fake.state().rollout = Some(Rollout {
        nodes: vec![node("node-c", 0, true, true), held],
        ..rollout(Phase::Running)
    });
    let page = fake.run(&["rollout", "status"]).out;
    let told = page.lines().last();
    assert_eq!(
        told,
        Some(
            "node-a: holds back generation 9: would take away 20 of 30 virtual services; \
             weirctl node release node-a"
        )
    );
}

#[test]
fn a_rollout_is_watched_until_it_is_over() {
    let fake = with(vec![vec![rollout(Phase::Running), rollout(Phase::Done)]]);
    let ran = fake.run(&["rollout", "status", "--watch"]);
    let heads: Vec<&str> = ran
        .out
        .lines()
        .filter(|line| line.starts_with("rollout "))
        .collect();
    assert_eq!(
        (ran.status, heads),
        (
            0,
            vec![
                "rollout 1: running, step 2 of 3 (1,50%,100%), 1 of 3 nodes have it",
                "rollout 1: done, step 2 of 3 (1,50%,100%), 1 of 3 nodes have it",
            ]
        )
    );
    let fake = with(vec![vec![rollout(Phase::Running), rollout(Phase::Done)]]);
    let ran = fake.run(&["rollout", "status", "--watch", "-o", "yaml"]);
    let documents = ran.out.split("---\n").skip(1).map(|text| {
        let document: serde_json::Value = serde_saphyr::from_str(text).expect("YAML");
        document["phase"].clone()
    });
    let phases: Vec<serde_json::Value> = documents.collect();
    assert_eq!(phases, ["RUNNING", "DONE"]);
}

#[test]
fn programs_get_the_rollout_as_the_api_has_it() {
    let fake = with(Vec::new());
    fake.state().rollout = Some(Rollout {
        begun_unix_ms: 5,
        changed_unix_ms: 6,
        nodes: vec![node("node-c", 0, true, true)],
        ..rollout(Phase::Paused)
    });
    assert_eq!(
        fake.run(&["rollout", "status", "-o", "json"]),
        fine(
            r#"{
  "revision": 1,
  "canary": "1,50%,100%",
  "step": 1,
  "phase": "PAUSED",
  "refs": [
    "service/web"
  ],
  "who": "operator/alice",
  "begunUnixMs": 5,
  "changedUnixMs": 6,
  "nodes": [
    {
      "name": "node-c",
      "step": 0,
      "reached": true,
      "converged": true,
      "connections": 120,
      "failedConnections": 3
    }
  ]
}
"#
        )
    );
    assert_eq!(
        fake.run(&["rollout", "status", "-o", "yaml"]),
        fine(
            "\
revision: 1
canary: 1,50%,100%
step: 1
phase: PAUSED
refs:
- service/web
who: operator/alice
begunUnixMs: 5
changedUnixMs: 6
nodes:
- name: node-c
  step: 0
  reached: true
  converged: true
  connections: 120
  failedConnections: 3
"
        )
    );
    fake.state().rollout = None;
    assert_eq!(
        fake.run(&["rollout", "status", "-o", "json"]),
        fine("null\n")
    );
}

#[test]
fn the_rollout_is_steered_by_what_is_named() {
    let fake = with(Vec::new());
    for (word, done) in [
        ("pause", "rollout/1 paused\n"),
        ("resume", "rollout/1 resumed\n"),
        ("undo", "rollout/1 undone\n"),
    ] {
        assert_eq!(fake.run(&["rollout", word]), fine(done));
    }
    fake.run(&["rollout", "undo", "--revision", "7"]);
    let asked = |action: Action, revision| SteerRolloutRequest {
        action: action.into(),
        revision,
    };
    assert_eq!(
        fake.state().steered,
        [
            asked(Action::Pause, 0),
            asked(Action::Resume, 0),
            asked(Action::Undo, 0),
            asked(Action::Undo, 7),
        ]
    );
    fake.state().refusal = Some(Status::failed_precondition("rollout 1 is done: x"));
    assert_eq!(
        fake.run(&["rollout", "pause"]),
        failed("error: the controller says FAILED_PRECONDITION: rollout 1 is done: x\n")
    );
}
