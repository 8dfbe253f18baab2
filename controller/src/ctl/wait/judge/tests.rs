use weir_proto::wire;

use super::*;

fn state(name: &str, accepted: u64, converged: u64) -> wire::NodeState {
    wire::NodeState {
        name: name.to_owned(),
        connected: true,
        wanted_generation: 7,
        accepted_generation: accepted,
        converged_generation: converged,
        last_heard_unix_ms: 1,
        ..wire::NodeState::default()
    }
}

fn failing(name: &str, converged: u64) -> wire::NodeState {
    let key = wire::item_key::Kind::Vip(wire::item_key::Vip {
        address: "10.100.100.100".to_owned(),
    });
    wire::NodeState {
        failures: vec![wire::ItemFailure {
            key: Some(wire::ItemKey { kind: Some(key) }),
            errno: 1,
            cause: "no right to".to_owned(),
            field: String::new(),
        }],
        failure_count: 1,
        ..state(name, 7, converged)
    }
}

fn rejecting(name: &str, accepted: u64) -> wire::NodeState {
    wire::NodeState {
        rejection: "the journal is full".to_owned(),
        ..state(name, accepted, accepted)
    }
}

fn holding(state: wire::NodeState) -> wire::NodeState {
    let hold = wire::Hold {
        generation: 7,
        dropped: 12,
        served: 20,
        ..wire::Hold::default()
    };
    wire::NodeState {
        hold: Some(hold),
        ..state
    }
}

fn gone(mut state: wire::NodeState) -> wire::NodeState {
    state.connected = false;
    state
}

fn both() -> Wait {
    let target = |node: &str| wire::NodeTarget {
        node: node.to_owned(),
        generation: 7,
    };
    let service = wire::Service {
        name: "web".to_owned(),
        frontends: vec![wire::Frontend {
            address: "10.100.100.100".to_owned(),
            port: 8080,
            protocol: wire::Protocol::Tcp.into(),
            ..wire::Frontend::default()
        }],
        ..wire::Service::default()
    };
    let web = wire::Resource {
        kind: Some(wire::resource::Kind::Service(service)),
        ..wire::Resource::default()
    };
    Wait::new(vec![target("a"), target("b")], About::new(vec![web]))
}

/// A node on which a VIP fails that was not written.
fn ailing(state: wire::NodeState) -> wire::NodeState {
    let mut failing = failing(&state.name, state.converged_generation);
    if let Some(key) = &mut failing.failures[0].key {
        key.kind = Some(wire::item_key::Kind::Vip(wire::item_key::Vip {
            address: "10.1.1.1".to_owned(),
        }));
    }
    failing
}

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// Each node that is waited for by its name and how far it is; those that are away begin with "!".
fn waiting(lines: &[(&str, &str)]) -> Progress {
    let missing = lines.iter().map(|(node, lag)| Missing {
        node: node.trim_start_matches('!').to_owned(),
        lag: (*lag).to_owned(),
        absent: node.starts_with('!'),
    });
    Progress {
        waiting: missing.collect(),
        ..Progress::default()
    }
}

fn rejected(reasons: &[&str]) -> Progress {
    Progress {
        rejecting: lines(reasons),
        ..Progress::default()
    }
}

fn refused(nodes: usize, reasons: &[&str]) -> Progress {
    Progress {
        refusing: nodes,
        refused: lines(reasons),
        ..Progress::default()
    }
}

#[test]
fn what_the_nodes_say_decides() {
    for (case, states, progress) in [
        (
            "both are there",
            vec![state("a", 7, 7), state("b", 9, 8)],
            Progress::default(),
        ),
        (
            "a node that went away after it converged holds it still",
            vec![state("a", 7, 7), gone(state("b", 7, 7))],
            Progress::default(),
        ),
        (
            "one has it durable only",
            vec![state("a", 7, 7), state("b", 7, 6)],
            waiting(&[("b", "accepted generation 7, converged on generation 6 of 7")]),
        ),
        (
            "one has not heard of it, one is away",
            vec![state("a", 6, 6), gone(state("b", 5, 5))],
            waiting(&[
                ("a", "has not accepted generation 7; it holds 6"),
                ("!b", "not connected; converged on generation 5 of 7"),
            ]),
        ),
        (
            "one holds it back",
            vec![state("a", 7, 7), holding(state("b", 7, 6))],
            rejected(&["b: would drop 12 of 20 services; weirctl node release b"]),
        ),
        (
            "one was not heard from",
            vec![
                state("a", 7, 7),
                wire::NodeState {
                    last_heard_unix_ms: 0,
                    ..gone(state("b", 0, 0))
                },
            ],
            waiting(&[(
                "!b",
                "not heard from since the controller started; generation 7 waits for it",
            )]),
        ),
        (
            "one is not spoken of, and others do not matter",
            vec![state("a", 7, 7), failing("c", 7)],
            waiting(&[("b", "not known to the controller")]),
        ),
        (
            "failures of an earlier generation are not about this one",
            vec![state("a", 7, 7), failing("b", 6)],
            waiting(&[("b", "accepted generation 7, converged on generation 6 of 7")]),
        ),
        (
            "one refuses an item, and the other is waited for",
            vec![failing("a", 7), state("b", 7, 6)],
            Progress {
                waiting: waiting(&[("b", "accepted generation 7, converged on generation 6 of 7")])
                    .waiting,
                ..refused(1, &["a: vip 10.100.100.100: EPERM: no right to"])
            },
        ),
        (
            "both refuse",
            vec![failing("a", 7), failing("b", 8)],
            refused(
                2,
                &[
                    "a: vip 10.100.100.100: EPERM: no right to",
                    "b: vip 10.100.100.100: EPERM: no right to",
                ],
            ),
        ),
        (
            "what fails of others is mentioned",
            vec![ailing(state("a", 7, 7)), state("b", 7, 7)],
            Progress {
                others: lines(&["a has 1 other failure; see weirctl status"]),
                ..Progress::default()
            },
        ),
        (
            "what is not named may be of what was written",
            vec![
                wire::NodeState {
                    failure_count: 3,
                    ..state("a", 7, 7)
                },
                state("b", 7, 7),
            ],
            refused(
                1,
                &["a: and 3 failures it does not name, of this or of others"],
            ),
        ),
        (
            "one rejects the generation",
            vec![state("a", 7, 7), rejecting("b", 6)],
            rejected(&["b: takes no further generation: the journal is full"]),
        ),
        (
            "one that is away can reject nothing",
            vec![state("a", 7, 7), gone(rejecting("b", 6))],
            waiting(&[("!b", "not connected; converged on generation 6 of 7")]),
        ),
        (
            "one refuses an item, one rejects the generation",
            vec![failing("a", 7), rejecting("b", 6)],
            Progress {
                rejecting: lines(&["b: takes no further generation: the journal is full"]),
                ..refused(1, &["a: vip 10.100.100.100: EPERM: no right to"])
            },
        ),
        (
            "a rejection of what came after is not about this one",
            vec![state("a", 7, 7), rejecting("b", 7)],
            Progress::default(),
        ),
    ] {
        assert_eq!(both().judge(&states), progress, "{case}");
    }
}

#[test]
fn progress_names_three_nodes_and_counts_the_rest() {
    let missing = waiting(&["a", "b", "c", "d", "e"].map(|node| (node, "x"))).waiting;
    assert_eq!(
        progress_line(&missing, 9),
        "waiting for 5 of 9 nodes: a: x, b: x, c: x, and 2 more"
    );
    assert_eq!(
        progress_line(&missing[..1], 1),
        "waiting for 1 of 1 node: a: x"
    );
}

#[test]
fn nodes_that_are_not_connected_are_named() {
    let reminder = |nodes: &[(&str, &str)]| waiting(nodes).reminder();
    assert_eq!(reminder(&[("a", "x")]), None);
    assert_eq!(
        reminder(&[("a", "x"), ("!b", "x")]).as_deref(),
        Some("still waiting for b, which is not connected")
    );
    assert_eq!(
        reminder(&[("!a", "x"), ("!b", "x")]).as_deref(),
        Some("still waiting for a, b, which are not connected")
    );
}

#[test]
fn the_verdict_counts_who_refuses_and_names_who_is_late() {
    let verdict = |progress: Progress| progress.verdict(3, "60s");
    assert_eq!(verdict(Progress::default()), None);
    assert_eq!(
        verdict(Progress {
            rejecting: lines(&["b: x"]),
            ..refused(1, &["a: x", "a: y"])
        })
        .as_deref(),
        Some("refused by 2 of 3 nodes")
    );
    assert_eq!(
        verdict(waiting(&[("!c", "x")])).as_deref(),
        Some("timed out after 60s: 1 of 3 nodes did not converge: c")
    );
    assert_eq!(
        verdict(Progress {
            refusing: 1,
            ..waiting(&[("!c", "x")])
        })
        .as_deref(),
        Some("refused by 1 of 3 nodes; timed out after 60s: 1 of 3 nodes did not converge: c")
    );
}
