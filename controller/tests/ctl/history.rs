//! `history` and `rollback`.

use std::time::{SystemTime, UNIX_EPOCH};

use tonic::Status;
use weir_proto::wire::change::Outcome;
use weir_proto::wire::drain_target::Target;
use weir_proto::wire::{
    DrainTarget, HistoryEntry, Kind, NodeState, NodeTarget, ResourceRef, RollbackRequest,
};

use super::fake::changed;
use super::{NODE, SET, WEB, failed, fine, start};

fn named(kind: Kind, name: &str) -> ResourceRef {
    ResourceRef {
        kind: kind.into(),
        name: name.to_owned(),
    }
}

fn history() -> Vec<HistoryEntry> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.expect("after 1970").as_millis() as u64;
    let ago = |hours: u64| now - hours * 3_600_000 - 60_000;
    let services = ["a", "b", "c", "d", "e"].map(|name| named(Kind::Service, name));
    vec![
        HistoryEntry {
            revision: 12,
            unix_ms: ago(2),
            who: "admin/alice".to_owned(),
            what: "rollback to 9".to_owned(),
            changes: services
                .iter()
                .map(|service| changed(service, Outcome::Deleted))
                .collect(),
            ..HistoryEntry::default()
        },
        HistoryEntry {
            revision: 10,
            unix_ms: ago(30),
            who: "operator/bob".to_owned(),
            what: "drain".to_owned(),
            drains: vec![DrainTarget {
                target: Some(Target::Node("node-a".to_owned())),
            }],
            ..HistoryEntry::default()
        },
        HistoryEntry {
            revision: 9,
            unix_ms: 5,
            who: "anonymous".to_owned(),
            what: "apply".to_owned(),
            changes: vec![
                changed(&named(Kind::Service, "web"), Outcome::Created),
                changed(&named(Kind::BackendSet, "web-b"), Outcome::Updated),
            ],
            ..HistoryEntry::default()
        },
    ]
}

#[test]
fn history_shows_who_did_what_and_when() {
    let fake = start();
    let nothing = super::Ran {
        status: 0,
        out: String::new(),
        err: "No writes found.\n".to_owned(),
    };
    assert_eq!(fake.run(&["history"]), nothing);
    fake.state().history = history();
    assert_eq!(
        fake.run(&["history", "-n", "2"]),
        fine(
            "\
REVISION   WHO            WHAT            CHANGES                                                               AGE
12         admin/alice    rollback to 9   service/a deleted, service/b deleted, service/c deleted + 2 more...   2h1m
10         operator/bob   drain           node/node-a                                                           1d6h
"
        )
    );
    fake.state().history.remove(1);
    let wide = fake.run(&["history", "-o", "wide", "--limit", "1"]);
    let all = ["a", "b", "c", "d", "e"].map(|name| format!("service/{name} deleted"));
    assert!(wide.out.contains(&all.join(", ")), "{}", wide.out);
    fake.state().history.remove(0);
    assert_eq!(
        fake.run(&["history", "-o", "yaml"]),
        fine(
            "\
apiVersion: weir/v1
kind: HistoryList
items:
- revision: 9
  unixMs: 5
  who: anonymous
  what: apply
  changes:
  - resource: service/web
    outcome: created
  - resource: backendset/web-b
    outcome: configured
"
        )
    );
    let json = fake.run(&["history", "-o", "json"]).out;
    assert!(json.contains("\"kind\": \"HistoryList\""), "{json}");
}

#[test]
fn rollback_says_what_became_of_each_resource() {
    let fake = start();
    fake.apply(&format!("{WEB}---\n{SET}---\n{NODE}"));
    assert_eq!(
        fake.run(&["rollback", "1"]),
        fine("nothing changed since revision 1\n")
    );
    fake.state().back = vec![
        changed(&named(Kind::Service, "web"), Outcome::Updated),
        changed(&named(Kind::Service, "dns"), Outcome::Deleted),
        changed(&named(Kind::BackendSet, "web-b"), Outcome::Unchanged),
    ];
    fake.state().targets = vec![NodeTarget {
        node: "node-a".to_owned(),
        generation: 2,
    }];
    let told = NodeState {
        name: "node-a".to_owned(),
        connected: true,
        wanted_generation: 2,
        accepted_generation: 2,
        converged_generation: 2,
        last_heard_unix_ms: 1,
        ..NodeState::default()
    };
    fake.state().watches = [vec![vec![told]]].into();
    let dry = fake.run(&["rollback", "1", "--dry-run", "--expected-revision", "2"]);
    assert_eq!(
        dry,
        fine(
            "service/web configured (server dry run)\n\
             service/dns deleted (server dry run)\n\
             backendset/web-b unchanged (server dry run)\n"
        )
    );
    assert_eq!(
        fake.run(&["rollback", "1", "--allow-mass-delete", "--wait"]),
        fine(
            "service/web configured\n\
             service/dns deleted\n\
             backendset/web-b unchanged\n\
             converged on 1 node\n"
        )
    );
    let asked = |dry_run, expected_revision, allow_mass_delete| RollbackRequest {
        revision: 1,
        dry_run,
        expected_revision,
        allow_mass_delete,
    };
    assert_eq!(
        fake.state().rolled_back,
        [
            asked(false, None, false),
            asked(true, Some(2), false),
            asked(false, None, true),
        ]
    );
}

#[test]
fn a_rollback_that_is_refused_says_why() {
    let fake = start();
    let text = "revision 3 cannot be gone back to: the history knows what was from revision 7 on";
    fake.state().refusal = Some(Status::out_of_range(text));
    assert_eq!(
        fake.run(&["rollback", "3"]),
        failed(&format!(
            "error: the controller says OUT_OF_RANGE: {text}\n"
        ))
    );
}
