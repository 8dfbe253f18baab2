//! What is shown: tables, file forms and sentences made of what the controller says. PURE.

mod conditions;
mod derived;
mod describe;
mod document;
mod drains;
mod events;
mod expiry;
mod failure;
mod grid;
mod history;
mod ipvsadm;
mod listing;
mod page;
mod plan;
mod rollout;
mod rows;
mod span;
mod style;
mod why;
mod written;

pub(crate) use conditions::{Degraded, Failure, Hold};
pub(crate) use derived::{
    Derived, backends as derived_backends, derived, drain as derived_drain,
    frontends as derived_frontends, repairs as derived_repairs, vip as derived_vip,
};
pub(crate) use describe::{
    Facts, describe_drain, describe_node, describe_service, describe_set, describe_vip, drained,
};
pub(crate) use document::{resource, resources, word};
pub(crate) use drains::{drain_rows, drain_target, repair_rows};
pub(crate) use events::{event_document, event_header, event_list, event_rows};
pub(crate) use failure::{
    absence, failure_text, held, hold, is_unheard, lag, missing_capabilities, node_troubles,
    rejection, silence,
};
pub(crate) use grid::{Grid, styled, table};
pub(crate) use history::{history, history_rows};
pub(crate) use ipvsadm::ipvsadm;
pub(crate) use listing::{Listing, reference as reference_of, vips};
pub(crate) use page::{Called, is_well, status_document, status_page};
pub(crate) use plan::{DiffPage, PlanPage};
pub(crate) use rollout::{rollout_document, rollout_line, rollout_page};
pub(crate) use rows::{
    Detail, backend_header, backend_rows, frontend as frontend_name, frontend_header,
    frontend_rows, node_header, node_row, service_header, service_row, set_header, set_row,
    socket as socket_name, status_rows, vip_header, vip_row,
};
pub(crate) use span::{human, parse as parse_span, parse_seconds};
pub(crate) use style::{DELETED, Style, Tone};
pub(crate) use why::WhyPage;
pub(crate) use written::{streamed, written};

/// A header and rows of the same width.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) header: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
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

/// Cuts text off where there is no more room.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain(['…']).collect()
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
