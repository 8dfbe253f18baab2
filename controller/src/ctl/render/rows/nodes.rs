//! The rows of the tables of nodes. PURE.

use weir_proto::wire;

use super::{Detail, Known, NONE, UNKNOWN, age, header, labels, list, or};
use crate::ctl::render::{Table, expiry, human, is_unheard, missing_capabilities, silence};

/// Gives the columns of nodes.
pub(crate) fn node_header(wide: bool) -> Vec<&'static str> {
    let always = [
        "NAME",
        "STATE",
        "WANTED",
        "ACCEPTED",
        "CONVERGED",
        "ADDRESSES",
    ];
    header(
        &always,
        &["VERSION", "CERTIFICATE", "LABELS", "MISSING"],
        wide,
    )
}

/// Gives the row of a node, with how far it is where that is known.
pub(crate) fn node_row(
    known: &Known<wire::Node>,
    state: Option<&wire::NodeState>,
    detail: Detail,
) -> Vec<String> {
    let node = &known.it;
    let unknown = wire::NodeState::default();
    let state = state.unwrap_or(&unknown);
    let mut row = vec![
        node.name.clone(),
        state_words(state, node.cordoned.unwrap_or(false)),
        state.wanted_generation.to_string(),
        reached(state, state.accepted_generation),
        reached(state, state.converged_generation),
        list(node.addresses.clone(), detail.wide),
    ];
    if detail.wide {
        let missing = missing_capabilities(state);
        let names = missing.iter().map(|missing| missing.name.clone());
        row.extend([
            or(&state.agent_version, NONE),
            certificate(state, |expires| expiry::left(expires, detail.now)),
            labels(&node.labels, NONE),
            list(names.collect(), detail.wide),
        ]);
    }
    row.push(age(known.created_unix_ms, detail.now));
    row
}

/// Tells of the certificate of a node's agent, in the words for when it expires.
pub(crate) fn certificate(state: &wire::NodeState, words: impl Fn(u64) -> String) -> String {
    match expiry::known(state) {
        Some(expires) => words(expires),
        None if is_unheard(state) => UNKNOWN.to_owned(),
        None => NONE.to_owned(),
    }
}

/// Gives one row a node's state. `now` is in Unix milliseconds. What is left of certificates is shown where there are any.
pub(crate) fn status_rows(states: &[wire::NodeState], now: u64) -> Table {
    let certified = states.iter().any(|state| expiry::known(state).is_some());
    let rows = states.iter().map(|state| {
        let heard = match silence(state, now) {
            Some(silence) => format!("{} ago", human(silence)),
            None => UNKNOWN.to_owned(),
        };
        let mut row = vec![
            state.name.clone(),
            state_words(state, state.cordoned),
            state.wanted_generation.to_string(),
            reached(state, state.accepted_generation),
            reached(state, state.converged_generation),
            state.wanted_items.to_string(),
            state.failure_count.to_string(),
            state.drain_count.to_string(),
            state.repair_counts.values().sum::<u64>().to_string(),
            heard,
        ];
        if certified {
            let left = expiry::known(state).map(|expires| expiry::left(expires, now));
            row.push(left.unwrap_or_else(|| UNKNOWN.to_owned()));
        }
        row
    });
    let mut header = vec![
        "NODE",
        "STATE",
        "WANTED",
        "ACCEPTED",
        "CONVERGED",
        "ITEMS",
        "FAILED",
        "DRAINS",
        "REPAIRS",
        "HEARD",
    ];
    if certified {
        header.push("CERTIFICATE");
    }
    Table {
        header,
        rows: rows.collect(),
    }
}

/// Says how a node is, and whether it is cordoned: `connected,cordoned`.
pub(crate) fn state_words(state: &wire::NodeState, is_cordoned: bool) -> String {
    let word = state_word(state);
    match is_cordoned {
        true => format!("{word},cordoned"),
        false => word.to_owned(),
    }
}

/// Says in a word how a node is.
pub(crate) fn state_word(state: &wire::NodeState) -> &'static str {
    match (state.connected, is_unheard(state)) {
        (true, _) if state.hold.is_some() => "HELD",
        (true, _) if state.degraded.is_some() => "DEGRADED",
        (true, _) if !state.rejection.is_empty() => "REJECTED",
        (true, _) => "connected",
        (false, true) => "unheard",
        (false, false) => "gone",
    }
}

/// Shows a generation that a node reached. Of one that was not heard from, none is known.
pub(crate) fn reached(state: &wire::NodeState, generation: u64) -> String {
    if is_unheard(state) {
        return UNKNOWN.to_owned();
    }
    generation.to_string()
}
