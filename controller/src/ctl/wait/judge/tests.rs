use weir_proto::wire;

use super::*;

fn state(name: &str, accepted: u64, converged: u64) -> wire::NodeState {
    wire::NodeState {
        name: name.to_owned(),
        connected: true,
        wanted_generation: 7,
        accepted_generation: accepted,
        converged_generation: converged,
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

fn gone(mut state: wire::NodeState) -> wire::NodeState {
    state.connected = false;
    state
}

fn both() -> Wait {
    let target = |node: &str| wire::NodeTarget {
        node: node.to_owned(),
        generation: 7,
    };
    Wait::new(vec![target("a"), target("b")])
}

fn waiting(lines: &[&str]) -> Progress {
    Progress::Waiting(lines.iter().map(|line| (*line).to_owned()).collect())
}

fn refusal(reasons: &[&str]) -> Refusal {
    Refusal {
        nodes: reasons.len(),
        reasons: reasons.iter().map(|line| (*line).to_owned()).collect(),
    }
}

#[test]
fn what_the_nodes_say_decides() {
    for (case, states, progress) in [
        (
            "both are there",
            vec![state("a", 7, 7), state("b", 9, 8)],
            Progress::Done,
        ),
        (
            "a node that went away after it converged holds it still",
            vec![state("a", 7, 7), gone(state("b", 7, 7))],
            Progress::Done,
        ),
        (
            "one has it durable only",
            vec![state("a", 7, 7), state("b", 7, 6)],
            waiting(&["b: accepted generation 7, converged on generation 6 of 7"]),
        ),
        (
            "one has not heard of it, one is away",
            vec![state("a", 6, 6), gone(state("b", 5, 5))],
            waiting(&[
                "a: has not accepted generation 7; it holds 6",
                "b: not connected; converged on generation 5 of 7",
            ]),
        ),
        (
            "one is not spoken of, and others do not matter",
            vec![state("a", 7, 7), failing("c", 7)],
            waiting(&["b: not known to the controller"]),
        ),
        (
            "failures of an earlier generation are not about this one",
            vec![state("a", 7, 7), failing("b", 6)],
            waiting(&["b: accepted generation 7, converged on generation 6 of 7"]),
        ),
        (
            "one refuses an item, and the others are not waited for",
            vec![failing("a", 7), state("b", 6, 6)],
            Progress::Refused(refusal(&["a: vip 10.100.100.100: EPERM: no right to"])),
        ),
        (
            "one rejects the generation",
            vec![state("a", 7, 6), rejecting("b", 6)],
            Progress::Rejected(refusal(&[
                "b: takes no further generation: the journal is full",
            ])),
        ),
        (
            "one that is away can reject nothing",
            vec![state("a", 7, 7), gone(rejecting("b", 6))],
            waiting(&["b: not connected; converged on generation 6 of 7"]),
        ),
        (
            "a refusal counts before a rejection, which may pass",
            vec![failing("a", 7), rejecting("b", 6)],
            Progress::Refused(refusal(&["a: vip 10.100.100.100: EPERM: no right to"])),
        ),
        (
            "a rejection of what came after is not about this one",
            vec![state("a", 7, 7), rejecting("b", 7)],
            Progress::Done,
        ),
    ] {
        assert_eq!(both().judge(&states), progress, "{case}");
    }
}

#[test]
fn progress_names_three_nodes_and_counts_the_rest() {
    let missing = ["a: x", "b: x", "c: x", "d: x", "e: x"].map(str::to_owned);
    assert_eq!(
        progress_line(&missing, 9),
        "waiting for 5 of 9 nodes: a: x, b: x, c: x, and 2 more"
    );
    assert_eq!(
        progress_line(&missing[..1], 1),
        "waiting for 1 of 1 node: a: x"
    );
}
