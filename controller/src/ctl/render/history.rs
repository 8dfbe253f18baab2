//! The history as a table and as a file. PURE.

use anyhow::Result;
use serde::Serialize;
use weir_proto::wire;

use super::document::List;
use super::drains::{age, drain_target};
use super::rows::{NONE, SHOWN};
use super::{Table, outcome, reference, written};
use crate::ctl::args::DocumentForm;

/// Gives one row a write. `now` is in Unix milliseconds.
pub(crate) fn history_rows(entries: &[wire::HistoryEntry], now: u64, wide: bool) -> Table {
    let rows = entries.iter().map(|entry| {
        vec![
            entry.revision.to_string(),
            entry.who.clone(),
            entry.what.clone(),
            changed(entry, wide),
            age(entry.unix_ms, now),
        ]
    });
    Table {
        header: vec!["REVISION", "WHO", "WHAT", "CHANGES", "AGE"],
        rows: rows.collect(),
    }
}

/// Writes the history for programs, to be read.
pub(crate) fn history(entries: &[wire::HistoryEntry], form: DocumentForm) -> Result<String> {
    let items: Vec<Entry> = entries.iter().map(Entry::new).collect();
    let list = List {
        kind: "HistoryList",
        ..List::new(&items)
    };
    written(&list, form)
}

/// Says what a write changed: all of it, or the first and how many more.
fn changed(entry: &wire::HistoryEntry, wide: bool) -> String {
    let resources = entry.changes.iter().map(|change| {
        let of = change.r#ref.as_ref().map(reference).unwrap_or_default();
        format!("{of} {}", outcome(change.outcome()))
    });
    let drains = entry.drains.iter().map(drained);
    let all: Vec<String> = resources.chain(drains).collect();
    let rest = all.len().saturating_sub(SHOWN);
    match (all.as_slice(), wide || rest == 0) {
        ([], _) => NONE.to_owned(),
        (all, true) => all.join(", "),
        (all, false) => format!("{} + {rest} more...", all[..SHOWN].join(", ")),
    }
}

fn drained(target: &wire::DrainTarget) -> String {
    let (kind, name) = drain_target(target);
    format!("{kind}/{name}")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    revision: u64,
    unix_ms: u64,
    who: String,
    what: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<Changed>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    drains: Vec<String>,
}

#[derive(Serialize)]
struct Changed {
    resource: String,
    outcome: &'static str,
}

impl Entry {
    fn new(entry: &wire::HistoryEntry) -> Self {
        let changes = entry.changes.iter().map(|change| Changed {
            resource: change.r#ref.as_ref().map(reference).unwrap_or_default(),
            outcome: outcome(change.outcome()),
        });
        Self {
            revision: entry.revision,
            unix_ms: entry.unix_ms,
            who: entry.who.clone(),
            what: entry.what.clone(),
            changes: changes.collect(),
            drains: entry.drains.iter().map(drained).collect(),
        }
    }
}
