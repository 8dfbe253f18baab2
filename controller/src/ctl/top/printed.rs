//! Tables and JSON, for where nobody looks at a screen. PURE.

use anyhow::Result;
use serde::Serialize;
use weir_proto::wire;

use super::columns::{Column, Sort};
use super::order::{matching, window};
use super::rows::{Detail, Row, Subject};
use crate::ctl::args::DocumentForm;
use crate::ctl::manifest::API_VERSION;
use crate::ctl::render::{Table, written};

/// Gives the rows that pass a filter, in order.
pub(crate) fn sorted<'a>(rows: &'a [Row], filter: &str, sort: Sort) -> Vec<&'a Row> {
    let chosen = matching(rows, filter);
    let sorted = window(rows, &chosen, sort, 0, chosen.len());
    sorted.into_iter().filter_map(|at| rows.get(at)).collect()
}

/// Sets rows as a table.
pub(crate) fn table(subject: Subject, rows: &[&Row], wide: bool) -> Table {
    let columns = subject.printed(wide);
    let cells = |row: &&Row| columns.iter().map(|column| column.text(row)).collect();
    Table {
        header: columns.iter().map(|column| column.title()).collect(),
        rows: rows.iter().map(cells).collect(),
    }
}

/// Writes rows with their numbers as they were told.
pub(crate) fn json(subject: Subject, rows: &[&Row], at_unix_ms: u64) -> Result<String> {
    let list = List {
        api_version: API_VERSION,
        kind: match subject {
            Subject::Services => "ServiceTrafficList",
            Subject::Backends => "BackendTrafficList",
            Subject::Nodes => "NodeTrafficList",
        },
        at_unix_ms,
        items: rows.iter().map(|row| item(row)).collect(),
    };
    written(&list, DocumentForm::Json)
}

/// Finds the column of `--sort-by`.
pub(crate) fn sort_by(subject: Subject, word: &str) -> Result<Sort, String> {
    let wanted = word.to_lowercase();
    let is = |column: &Column| column.word() == wanted || column.title().to_lowercase() == wanted;
    let found = subject.sortable().find(is);
    found.map(Sort::by).ok_or_else(|| {
        let words: Vec<&str> = subject.sortable().map(Column::word).collect();
        let (plural, words) = (subject.plural(), words.join(", "));
        format!("{word:?} is no column of {plural} (there are {words})")
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List {
    api_version: &'static str,
    kind: &'static str,
    at_unix_ms: u64,
    items: Vec<Item>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    backends: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    silent_backends: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    silent: Option<bool>,
    /// Absent: there is nothing to compare.
    #[serde(skip_serializing_if = "Option::is_none")]
    imbalance: Option<f64>,
    connections: u64,
    failed_connections: u64,
    packets_in: u64,
    packets_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    active_connections: u64,
    inactive_connections: u64,
    connections_per_second: f64,
    failed_connections_per_second: f64,
    packets_in_per_second: f64,
    packets_out_per_second: f64,
    bytes_in_per_second: f64,
    bytes_out_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    conntrack: Option<Conntrack>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Conntrack {
    entries: u64,
    max_entries: u64,
    dropped: u64,
    insert_failed: u64,
    early_dropped: u64,
}

fn item(row: &Row) -> Item {
    let wire::Counters {
        connections,
        failed_connections,
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
        active_connections,
        inactive_connections,
        connections_per_second,
        failed_connections_per_second,
        packets_in_per_second,
        packets_out_per_second,
        bytes_in_per_second,
        bytes_out_per_second,
    } = row.counters;
    let (backends, silent_backends) = match row.detail {
        Detail::Service { backends, silent } => (Some(backends), Some(silent)),
        Detail::Backend { .. } | Detail::Node { .. } => (None, None),
    };
    let (service, silent) = match row.detail {
        Detail::Backend { silent, .. } => (Some(row.peers().to_owned()), Some(silent)),
        Detail::Service { .. } | Detail::Node { .. } => (None, None),
    };
    Item {
        name: row.name.clone(),
        backends,
        silent_backends,
        service,
        silent,
        imbalance: row.imbalance.is_finite().then_some(row.imbalance),
        connections,
        failed_connections,
        packets_in,
        packets_out,
        bytes_in,
        bytes_out,
        active_connections,
        inactive_connections,
        connections_per_second,
        failed_connections_per_second,
        packets_in_per_second,
        packets_out_per_second,
        bytes_in_per_second,
        bytes_out_per_second,
        conntrack: match &row.detail {
            Detail::Node { conntrack } => conntrack.as_ref().map(tracked),
            Detail::Service { .. } | Detail::Backend { .. } => None,
        },
    }
}

fn tracked(told: &wire::Conntrack) -> Conntrack {
    Conntrack {
        entries: told.entries,
        max_entries: told.max_entries,
        dropped: told.dropped,
        insert_failed: told.insert_failed,
        early_dropped: told.early_dropped,
    }
}
