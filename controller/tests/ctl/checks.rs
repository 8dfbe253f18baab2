//! `check`.

use weir_proto::wire::{Hold, NodeState};

use super::{Ran, WEB, run, start};

fn connected(name: &str) -> NodeState {
    NodeState {
        name: name.to_owned(),
        connected: true,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        wanted_generation: 2,
        accepted_generation: 2,
        converged_generation: 2,
        last_heard_unix_ms: 1,
        ..NodeState::default()
    }
}

#[test]
fn a_fleet_with_which_all_is_well_is_a_page_of_ticks() {
    let fake = start();
    fake.apply(WEB);
    fake.state().nodes = vec![connected("node-a"), connected("node-b")];
    let ran = Ran {
        status: 0,
        out: include_str!("checks/fine.txt").to_owned(),
        err: String::new(),
    };
    assert_eq!(fake.run(&["check"]), ran);
}

#[test]
fn what_is_amiss_is_told_with_what_to_do_and_by_the_exit_status() {
    let fake = start();
    let held = NodeState {
        hold: Some(Hold {
            dropped: 3,
            served: 4,
            // so long ago that the page is the same for a while
            since_unix_ms: 1,
            ..Hold::default()
        }),
        ..connected("node-a")
    };
    fake.state().nodes = vec![held, connected("node-b")];
    let ran = fake.run(&["check", "-o", "json"]);
    assert_eq!((ran.status, ran.err.as_str()), (1, ""));
    let told: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(told["failed"], 1);
    let findings = told["findings"].as_array().expect("findings");
    let failed: Vec<_> = findings
        .iter()
        .filter(|it| it["outcome"] == "failed")
        .collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["group"], "nodes");
    assert_eq!(failed[0]["name"], "node-a");
    let advice = "weirctl node release node-a, if that is meant; else apply what is missing again";
    assert_eq!(failed[0]["advice"], advice);
}

#[test]
fn a_controller_that_is_not_there_is_a_finding() {
    let ran = Ran {
        status: 1,
        out: include_str!("checks/unreached.txt").to_owned(),
        err: String::new(),
    };
    assert_eq!(run("http://127.0.0.1:1", &["check"], ""), ran);
}
