//! `plan` and `diff`.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use weir_proto::wire::change::Outcome;
use weir_proto::wire::kernel_object::Value;
use weir_proto::wire::kernel_step::Verb;
use weir_proto::wire::{
    DiffResponse, ErrorReason, KernelBackend, KernelDifference, KernelObject, KernelStep, Kind,
    NodeDiff, NodePlan, PlanResponse, ResourceRef, Staged, Unanswered, diff_response,
    plan_response,
};

use super::fake::{Fake, changed};
use super::{Ran, WEB, fine, run, start};

const NEW: &str = "backend 10.0.0.21:8080 of 10.100.100.100:8080/TCP";
const OLD: &str = "backend 10.0.0.11:8080 of 10.100.100.100:8080/TCP";

fn backend(object: &str, words: &str) -> KernelObject {
    KernelObject {
        object: object.to_owned(),
        kind: "backend".to_owned(),
        words: words.to_owned(),
        value: Some(Value::Backend(KernelBackend::default())),
    }
}

fn there(object: &str, kind: &str) -> KernelObject {
    KernelObject {
        object: object.to_owned(),
        kind: kind.to_owned(),
        words: "there".to_owned(),
        value: None,
    }
}

fn step(verb: Verb, found: Option<KernelObject>, wanted: Option<KernelObject>) -> KernelStep {
    let named = found.as_ref().or(wanted.as_ref()).expect("an object");
    KernelStep {
        verb: verb.into(),
        object: named.object.clone(),
        kind: named.kind.clone(),
        found,
        wanted,
        ..KernelStep::default()
    }
}

fn counted(step: KernelStep) -> KernelStep {
    KernelStep {
        active_connections: Some(3),
        inactive_connections: Some(0),
        ..step
    }
}

fn staged(outcome: Outcome) -> PlanResponse {
    let web = ResourceRef {
        kind: Kind::Service.into(),
        name: "web".to_owned(),
    };
    PlanResponse {
        part: Some(plan_response::Part::Staged(Staged {
            revision: 4,
            changes: vec![changed(&web, outcome)],
        })),
    }
}

fn planned(node: NodePlan) -> PlanResponse {
    PlanResponse {
        part: Some(plan_response::Part::Node(node)),
    }
}

fn compared(node: NodeDiff) -> DiffResponse {
    DiffResponse {
        part: Some(diff_response::Part::Node(node)),
    }
}

fn away() -> Option<Unanswered> {
    Some(Unanswered {
        reason: ErrorReason::NodeAway.into(),
        detail: "it is not connected".to_owned(),
    })
}

fn plans() -> Vec<PlanResponse> {
    let drained = || backend(OLD, "weight 0, masquerade");
    let old = || backend(OLD, "weight 1, masquerade");
    vec![
        staged(Outcome::Updated),
        planned(NodePlan {
            node: "node-c".to_owned(),
            generation: 7,
            unanswered: away(),
            ..NodePlan::default()
        }),
        planned(NodePlan {
            node: "node-a".to_owned(),
            generation: 9,
            steps: vec![
                step(
                    Verb::Add,
                    None,
                    Some(there(
                        "loopback entry 10.0.0.21,tcp:8080,10.0.0.21",
                        "loopback_entry",
                    )),
                ),
                step(Verb::Add, None, Some(backend(NEW, "weight 1, masquerade"))),
            ],
            more: true,
            ..NodePlan::default()
        }),
        planned(NodePlan {
            node: "node-a".to_owned(),
            generation: 9,
            steps: vec![
                counted(step(Verb::Edit, Some(old()), Some(drained()))),
                KernelStep {
                    once_drained: true,
                    ..counted(step(Verb::Remove, Some(old()), None))
                },
            ],
            left_out: 2,
            conflicts: vec!["vip 10.100.100.100: somebody else's".to_owned()],
            ..NodePlan::default()
        }),
        planned(NodePlan {
            node: "node-b".to_owned(),
            generation: 8,
            held_back: "3 of 4 virtual services would go".to_owned(),
            ..NodePlan::default()
        }),
        planned(NodePlan {
            node: "node-d".to_owned(),
            generation: 2,
            ..NodePlan::default()
        }),
    ]
}

fn plan(fake: &Fake, arguments: &[&str]) -> Ran {
    let arguments = [&["plan", "-f", "-"], arguments].concat();
    run(&fake.url, &arguments, WEB)
}

#[test]
fn a_plan_names_each_step_on_each_node() {
    let fake = start();
    fake.state().plan = plans();
    let wanted = "\
service/web configured (plan)

node-a: 4 steps
  add loopback entry 10.0.0.21,tcp:8080,10.0.0.21
  add backend 10.0.0.21:8080 to 10.100.100.100:8080/TCP weight 1, masquerade
  edit backend 10.0.0.11:8080 of 10.100.100.100:8080/TCP: weight 1, masquerade -> weight 0, masquerade (3 active, 0 inactive connections)
  remove backend 10.0.0.11:8080 from 10.100.100.100:8080/TCP, once it is drained (3 active, 0 inactive connections)
  and 2 more, too many to be told
  cannot: vip 10.100.100.100: somebody else's

node-b: held back until it is released: 3 of 4 virtual services would go

node-c: not known: it is not connected

node-d: nothing changes in its kernel
";
    let ran = plan(&fake, &["--expected-revision", "4", "--allow-mass-delete"]);
    assert_eq!(
        ran,
        Ran {
            status: 1,
            ..fine(wanted)
        }
    );
    let asked = fake.state().planned.remove(0);
    assert_eq!(asked.resources.len(), 1);
    assert_eq!(
        (asked.expected_revision, asked.allow_mass_delete),
        (Some(4), true)
    );
    assert_eq!(fake.state().writes, 0);
}

#[test]
fn a_plan_that_changes_nothing_ends_well() {
    let fake = start();
    fake.state().plan = vec![staged(Outcome::Unchanged)];
    assert_eq!(
        plan(&fake, &[]),
        fine("service/web unchanged (plan)\nno node would change\n")
    );
}

#[test]
fn a_plan_is_written_for_programs() {
    let fake = start();
    let mut parts = plans();
    parts.remove(2);
    parts.truncate(4);
    fake.state().plan = parts;
    assert_eq!(
        plan(&fake, &["-o", "yaml"]),
        Ran {
            status: 1,
            ..fine(
                "\
apiVersion: weir/v1
kind: Plan
revision: 4
changes:
- resource: service/web
  outcome: configured
nodes:
- node: node-a
  generation: 9
  steps:
  - verb: edit
    object: backend 10.0.0.11:8080 of 10.100.100.100:8080/TCP
    kind: backend
    found: weight 1, masquerade
    wanted: weight 0, masquerade
    activeConnections: 3
    inactiveConnections: 0
  - verb: remove
    object: backend 10.0.0.11:8080 of 10.100.100.100:8080/TCP
    kind: backend
    found: weight 1, masquerade
    wanted: null
    activeConnections: 3
    inactiveConnections: 0
    onceDrained: true
  leftOut: 2
  conflicts:
  - \"vip 10.100.100.100: somebody else's\"
- node: node-b
  generation: 8
  heldBack: 3 of 4 virtual services would go
  steps: []
- node: node-c
  generation: 7
  notKnown:
    reason: NODE_AWAY
    detail: it is not connected
  steps: []
"
            )
        }
    );
    let json = plan(&fake, &["-o", "json"]);
    assert_eq!(json.status, 1);
    assert!(json.out.contains("\"kind\": \"Plan\""), "{}", json.out);
}

#[test]
fn what_cannot_be_planned_is_status_2() {
    let fake = start();
    let mut details = ErrorDetails::new();
    details.add_bad_request_violation("services[web].scheduler", "\"best\" is no scheduler");
    let refused = Status::with_error_details(Code::InvalidArgument, "bad", details);
    fake.state().refusal = Some(refused);
    let ran = plan(&fake, &[]);
    assert_eq!((ran.status, &*ran.out), (2, ""));
    assert!(ran.err.starts_with("stdin:7: "), "{}", ran.err);
    let nobody = run("http://127.0.0.1:1", &["plan", "-f", "-"], WEB);
    assert_eq!(nobody.status, 2);
    let wrong = run(&fake.url, &["plan", "-f", "-"], "kind: Nothing\n");
    assert_eq!((wrong.status, &*wrong.out), (2, ""));
}

fn differences() -> Vec<DiffResponse> {
    let words = |words: &str| Some(backend(OLD, words));
    vec![
        compared(NodeDiff {
            node: "node-b".to_owned(),
            generation: 7,
            held_generation: 7,
            differences: vec![
                KernelDifference {
                    object: OLD.to_owned(),
                    kind: "backend".to_owned(),
                    file: words("weight 5, masquerade"),
                    desired: words("weight 1, masquerade"),
                    kernel: words("weight 9, masquerade"),
                    foreign: false,
                },
                KernelDifference {
                    object: NEW.to_owned(),
                    kind: "backend".to_owned(),
                    file: words("weight 1, masquerade"),
                    desired: None,
                    kernel: words("weight 1, masquerade"),
                    foreign: true,
                },
            ],
            left_out: 4,
            refused: 1,
            ..NodeDiff::default()
        }),
        compared(NodeDiff {
            node: "node-a".to_owned(),
            generation: 3,
            held_generation: 3,
            ..NodeDiff::default()
        }),
    ]
}

fn diff(fake: &Fake, arguments: &[&str]) -> Ran {
    let arguments = [&["diff"], arguments].concat();
    run(&fake.url, &arguments, WEB)
}

#[test]
fn what_is_not_the_same_has_a_line_with_all_that_is_said_of_it() {
    let fake = start();
    fake.state().diff = differences();
    assert_eq!(
        diff(&fake, &["-f", "-", "node-a", "node-b"]),
        Ran {
            status: 1,
            ..fine(
                "\
NODE     OBJECT                                              FILE                   DESIRED                KERNEL
node-b   backend 10.0.0.11:8080 of 10.100.100.100:8080/TCP   weight 5, masquerade   weight 1, masquerade   weight 9, masquerade
node-b   backend 10.0.0.21:8080 of 10.100.100.100:8080/TCP   weight 1, masquerade   <none>                 weight 1, masquerade (somebody else's)

node-b: does not take 1 item of what is desired: see weirctl status
node-b: 4 more differ, too many to be told
"
            )
        }
    );
    let asked = fake.state().compared.remove(0);
    assert_eq!((asked.resources.len(), asked.nodes.len()), (1, 2));
    // without files there is no such column
    let bare = diff(&fake, &[]);
    let header = bare.out.lines().next().unwrap_or_default();
    let columns: Vec<&str> = header.split_whitespace().collect();
    assert_eq!(columns, ["NODE", "OBJECT", "DESIRED", "KERNEL"]);
    let yaml = diff(&fake, &["-o", "yaml"]);
    assert_eq!(
        yaml.out,
        "\
apiVersion: weir/v1
kind: Diff
nodes:
- node: node-a
  generation: 3
  heldGeneration: 3
  differences: []
- node: node-b
  generation: 7
  heldGeneration: 7
  refused: 1
  differences:
  - object: backend 10.0.0.11:8080 of 10.100.100.100:8080/TCP
    kind: backend
    desired: weight 1, masquerade
    kernel: weight 9, masquerade
  - object: backend 10.0.0.21:8080 of 10.100.100.100:8080/TCP
    kind: backend
    desired: null
    kernel: weight 1, masquerade
    foreign: true
  leftOut: 4
"
    );
}

#[test]
fn what_is_the_same_says_nothing_and_who_does_not_answer_is_no_sameness() {
    let fake = start();
    let mut parts = differences();
    parts.remove(0);
    fake.state().diff = parts.clone();
    assert_eq!(diff(&fake, &[]), fine(""));
    parts.push(compared(NodeDiff {
        node: "node-c".to_owned(),
        unanswered: away(),
        ..NodeDiff::default()
    }));
    fake.state().diff = parts;
    assert_eq!(
        diff(&fake, &[]),
        Ran {
            status: 2,
            out: "node-c: not known: it is not connected\n".to_owned(),
            err: "error: 1 node could not be compared\n".to_owned(),
        }
    );
}
