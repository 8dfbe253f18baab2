//! The tables of drains and repairs. PURE.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir_proto::wire;
use weir_proto::wire::drain_target::Target;

use super::document::word;
use super::rows::{NONE, UNKNOWN, socket};
use super::{Table, human};
use crate::ctl::manifest::ON_DEADLINES;

/// Names what is drained: its kind, and "web/10.0.0.11:8080" or the node. A backend whose service is forgotten is named by
/// where it listens.
pub(crate) fn drain_target(target: &wire::DrainTarget) -> (&'static str, String) {
    match &target.target {
        Some(Target::Backend(backend)) => {
            let socket = socket(&backend.address, backend.port);
            let name = match backend.service.as_str() {
                "" => socket,
                service => format!("{service}/{socket}"),
            };
            ("backend", name)
        }
        Some(Target::Node(name)) => ("node", name.clone()),
        None => (UNKNOWN, UNKNOWN.to_owned()),
    }
}

/// Gives one row a drain on each node that tells of it. `now` is in Unix milliseconds; when the time is over is by the
/// clocks of the nodes.
pub(crate) fn drain_rows(drains: &[wire::DrainState], now: u64) -> Table {
    let mut rows = Vec::new();
    for drain in drains {
        let target = drain.target.clone().unwrap_or_default();
        let (kind, name) = drain_target(&target);
        let mut by_node: BTreeMap<&str, Vec<&wire::DrainProgress>> = BTreeMap::new();
        for on in &drain.nodes {
            let told = by_node.entry(&on.node).or_default();
            told.extend(on.progress.as_ref());
        }
        if by_node.is_empty() {
            let how = drain.drain.map(|drain| drain.on_deadline);
            rows.push(vec![
                name.clone(),
                kind.to_owned(),
                NONE.to_owned(),
                UNKNOWN.to_owned(),
                UNKNOWN.to_owned(),
                how.map_or(UNKNOWN, |how| word(&ON_DEADLINES, how))
                    .to_owned(),
                "asked".to_owned(),
                age(drain.asked_unix_ms, now),
            ]);
        }
        for (node, told) in by_node {
            let connections: u64 = told
                .iter()
                .map(|drain| drain.active_connections + drain.inactive_connections)
                .sum();
            let began = told.iter().map(|drain| drain.started_unix_ms).min();
            let since = match drain.asked_unix_ms {
                0 => began.unwrap_or_default(),
                asked => asked,
            };
            let (state, left) = state(&told, now);
            rows.push(vec![
                name.clone(),
                kind.to_owned(),
                node.to_owned(),
                connections.to_string(),
                left,
                ends(&told),
                state,
                age(since, now),
            ]);
        }
    }
    Table {
        header: vec![
            "NAME",
            "KIND",
            "NODE",
            "CONNECTIONS",
            "LEFT",
            "ON-DEADLINE",
            "STATE",
            "AGE",
        ],
        rows,
    }
}

/// Says how far a drain is on one node, and how much time it has.
pub(super) fn state(told: &[&wire::DrainProgress], now: u64) -> (String, String) {
    let open: Vec<_> = told.iter().filter(|drain| !drain.done).copied().collect();
    let Some(deadline) = open.iter().map(|drain| drain.deadline_unix_ms).max() else {
        return ("done".to_owned(), UNKNOWN.to_owned());
    };
    match deadline.checked_sub(now) {
        Some(left @ 1..) => {
            let left = Duration::from_millis(left);
            ("draining".to_owned(), human(left))
        }
        _ => {
            let ends = ends(&open).to_lowercase();
            (format!("past deadline ({ends})"), UNKNOWN.to_owned())
        }
    }
}

/// Says what becomes of the connections that are left; of the backends of a node that may differ.
fn ends(told: &[&wire::DrainProgress]) -> String {
    let ends = told
        .iter()
        .map(|drain| word(&ON_DEADLINES, drain.on_deadline));
    let ends: BTreeSet<&str> = ends.collect();
    ends.into_iter().collect::<Vec<_>>().join(",")
}

pub(super) fn age(since: u64, now: u64) -> String {
    if since == 0 {
        return UNKNOWN.to_owned();
    }
    human(Duration::from_secs(now.saturating_sub(since) / 1_000))
}

/// Gives one row a repair, the oldest first. `now` is in Unix milliseconds.
pub(crate) fn repair_rows(states: &[wire::NodeState], now: u64) -> Table {
    let repairs = states.iter().flat_map(|state| {
        let repairs = state.repairs.iter();
        repairs.map(|repair| (repair, &state.name))
    });
    let mut repairs: Vec<_> = repairs.collect();
    // stable: of one node they stay in the order it told them
    repairs.sort_by_key(|(repair, _)| repair.at_unix_ms);
    let or_none = |text: &str| if text.is_empty() { NONE } else { text }.to_owned();
    let rows = repairs.into_iter().map(|(repair, node)| {
        vec![
            node.clone(),
            repair.kind.clone(),
            repair.object.clone(),
            or_none(&repair.found),
            or_none(&repair.expected),
            age(repair.at_unix_ms.max(1), now),
        ]
    });
    Table {
        header: vec!["NODE", "KIND", "OBJECT", "FOUND", "EXPECTED", "AGE"],
        rows: rows.collect(),
    }
}

#[cfg(test)]
mod tests;
