//! What is shown: tables, file forms and sentences made of what the controller says. PURE.

mod document;
mod drains;
mod expiry;
mod failure;
mod history;
mod ipvsadm;
mod listing;
mod page;
mod rollout;
mod rows;
mod span;

use tabled::builder::Builder;
use tabled::settings::{Padding, Style};

pub(crate) use document::{backends, json, yaml};
pub(crate) use drains::{drain_rows, drain_target, repair_rows};
pub(crate) use failure::{
    absence, failure_text, held, hold, is_unheard, lag, missing_capabilities, node_troubles,
    rejection, silence,
};
pub(crate) use history::{history, history_rows};
pub(crate) use ipvsadm::ipvsadm;
pub(crate) use listing::Listing;
pub(crate) use page::{Called, is_well, status_page};
pub(crate) use rollout::{rollout_json, rollout_line, rollout_page, rollout_yaml};
pub(crate) use rows::{backend_rows, node_rows, service_rows, set_rows, status_rows};
pub(crate) use span::{human, parse as parse_span, parse_seconds};

/// A header and rows of the same width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) header: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// Sets a table as kubectl does: no borders, columns aligned, three spaces apart, nothing trailing.
pub(crate) fn table(table: &Table) -> String {
    let mut builder = Builder::with_capacity(table.rows.len() + 1, table.header.len());
    builder.push_record(table.header.iter().copied());
    for row in &table.rows {
        builder.push_record(row);
    }
    let mut set = builder.build();
    set.with(Style::empty()).with(Padding::new(0, 3, 0, 0));
    let mut text = String::new();
    for line in set.to_string().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Gives a resource's kind as `service/web` has it.
pub(crate) fn kind_word(kind: weir_proto::model::Kind) -> &'static str {
    match kind {
        weir_proto::model::Kind::Service => "service",
        weir_proto::model::Kind::BackendSet => "backendset",
        weir_proto::model::Kind::Node => "node",
    }
}

/// Gives a reference as `service/web`. A kind this version does not know is shown by its number.
pub(crate) fn reference(reference: &weir_proto::wire::ResourceRef) -> String {
    match weir_proto::convert::kind_from_wire(reference.kind) {
        Ok(kind) => format!("{}/{}", kind_word(kind), reference.name),
        Err(_) => format!("kind{}/{}", reference.kind, reference.name),
    }
}

/// Says what became of a resource, as kubectl does.
pub(crate) fn outcome(outcome: weir_proto::wire::change::Outcome) -> &'static str {
    use weir_proto::wire::change::Outcome;
    match outcome {
        Outcome::Created => "created",
        Outcome::Updated => "configured",
        Outcome::Unchanged => "unchanged",
        Outcome::Deleted => "deleted",
        Outcome::Unspecified => "done",
    }
}

/// Sets `count` before its noun.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests;
