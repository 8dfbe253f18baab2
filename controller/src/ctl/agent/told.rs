//! Rows, events and the state of a node as they are printed. PURE.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use weir_proto::wire;
use weir_proto::wire::agent_event::Kind as Happened;

use super::seen::{Kind, NONE, Row};
use crate::ctl::args::DocumentForm;
use crate::ctl::manifest::API_VERSION;
use crate::ctl::render::{Degraded, Failure, Hold, Style, Tone, failure_text, human, written};

/// Sets rows for programs.
pub(super) fn documents(rows: &[Row], form: DocumentForm) -> Result<String> {
    let kind = match rows.first() {
        Some(Row::Backend(_)) => "NodeBackendList",
        Some(Row::Vip(_)) => "NodeVipList",
        Some(Row::Service(_)) | None => "NodeServiceList",
    };
    listed(kind, rows, form)
}

/// Sets events for programs.
pub(super) fn event_documents(events: &[wire::AgentEvent], form: DocumentForm) -> Result<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Event<'a> {
        sequence: u64,
        at_unix_ms: u64,
        kind: &'static str,
        object: &'a str,
        detail: &'a str,
    }
    let events: Vec<Event<'_>> = events
        .iter()
        .map(|event| Event {
            sequence: event.sequence,
            at_unix_ms: event.at_unix_ms,
            kind: happened(event),
            object: &event.object,
            detail: &event.detail,
        })
        .collect();
    listed("NodeEventList", &events, form)
}

fn listed<T: Serialize>(kind: &'static str, items: &[T], form: DocumentForm) -> Result<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct List<'a, T> {
        api_version: &'static str,
        kind: &'static str,
        items: &'a [T],
    }
    let list = List {
        api_version: API_VERSION,
        kind,
        items,
    };
    written(&list, form)
}

pub(super) fn event_header() -> Vec<&'static str> {
    Kind::Events.header(false)
}

/// Gives the row of an event. `now` is in Unix milliseconds.
pub(super) fn event_row(event: &wire::AgentEvent, now: u64) -> Vec<String> {
    let detail = match event.detail.as_str() {
        "" => NONE,
        detail => detail,
    };
    let age = now.saturating_sub(event.at_unix_ms) / 1_000;
    vec![
        happened(event).to_owned(),
        event.object.clone(),
        detail.replace('\n', "; "),
        human(Duration::from_secs(age)),
    ]
}

fn happened(event: &wire::AgentEvent) -> &'static str {
    match event.kind() {
        Happened::Connected => "connected",
        Happened::Disconnected => "disconnected",
        Happened::Rejected => "rejected",
        Happened::Held => "held",
        Happened::Released => "released",
        Happened::Degraded => "degraded",
        Happened::Mended => "mended",
        Happened::Repaired => "repaired",
        Happened::Failed => "failed",
        Happened::Recovered => "recovered",
        Happened::Unspecified => "unknown",
    }
}

/// Says whether nothing is to be done about a node.
pub(super) fn is_well(state: &wire::AgentState) -> bool {
    let contact = state.contact.clone().unwrap_or_default();
    contact.connected
        && state.hold.is_none()
        && state.degraded.is_none()
        && state.converged_generation >= state.accepted_generation
        && state.failure_count + state.refused_count == 0
}

/// Sets how a node is for programs.
pub(super) fn status_document(
    path: &Path,
    state: &wire::AgentState,
    form: DocumentForm,
) -> Result<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct AgentStatus<'a> {
        api_version: &'static str,
        kind: &'static str,
        node: &'a str,
        agent_version: &'a str,
        socket: String,
        well: bool,
        controller: Controller<'a>,
        accepted_generation: u64,
        served_generation: u64,
        converged_generation: u64,
        item_count: u64,
        failure_count: u64,
        refused_count: u64,
        failures: Vec<Failure<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hold: Option<Hold<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        degraded: Option<Degraded<'a>>,
        drain_count: usize,
        missing_capabilities: Vec<&'a str>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Controller<'a> {
        url: &'a str,
        connected: bool,
        heard_unix_ms: Option<u64>,
        #[serde(skip_serializing_if = "str::is_empty")]
        disconnection: &'a str,
    }
    let contact = state.contact.clone().unwrap_or_default();
    let failures = state.items.iter().filter_map(|item| item.failure.as_ref());
    let document = AgentStatus {
        api_version: API_VERSION,
        kind: "AgentStatus",
        node: &state.node,
        agent_version: &state.agent_version,
        socket: path.display().to_string(),
        well: is_well(state),
        controller: Controller {
            url: &contact.controller,
            connected: contact.connected,
            heard_unix_ms: (contact.heard_unix_ms != 0).then_some(contact.heard_unix_ms),
            disconnection: &contact.disconnection,
        },
        accepted_generation: state.accepted_generation,
        served_generation: state.served_generation,
        converged_generation: state.converged_generation,
        item_count: state.item_count,
        failure_count: state.failure_count,
        refused_count: state.refused_count,
        failures: failures.map(Failure::from).collect(),
        hold: state.hold.as_ref().map(Hold::from),
        degraded: state.degraded.as_ref().map(Degraded::from),
        drain_count: under_way(state),
        missing_capabilities: missing(state).map(|it| it.name.as_str()).collect(),
    };
    written(&document, form)
}

/// Counts the drains that are under way.
fn under_way(state: &wire::AgentState) -> usize {
    state.drains.iter().filter(|drain| !drain.done).count()
}

/// Gives what the kernel lacks and should not.
fn missing(state: &wire::AgentState) -> impl Iterator<Item = &wire::Capability> {
    let all = state.capabilities.iter();
    all.filter(|it| !it.available && !it.optional)
}

/// Sets how a node is.
pub(super) fn page(path: &Path, state: &wire::AgentState, style: Style) -> String {
    let contact = state.contact.clone().unwrap_or_default();
    let since = |then: u64| {
        let ago = state.now_unix_ms.saturating_sub(then);
        human(Duration::from_secs(ago / 1_000))
    };
    let reason = match contact.disconnection.as_str() {
        "" => String::new(),
        why => format!(" ({why})"),
    };
    let heard = match (contact.connected, contact.heard_unix_ms) {
        (true, _) => "connected".to_owned(),
        (false, 0) => style.paint(
            Tone::Warning,
            &format!("not heard since the agent started{reason}"),
        ),
        (false, then) => style.paint(Tone::Warning, &format!("gone for {}{reason}", since(then))),
    };
    let generation = format!(
        "accepted {}, served {}, converged {}",
        state.accepted_generation, state.served_generation, state.converged_generation
    );
    let failed = state.failure_count + state.refused_count;
    let items = format!(
        "{}, {} not held as wanted, {} not taken",
        state.item_count, state.failure_count, state.refused_count
    );
    let items = match failed {
        0 => items,
        _ => style.paint(Tone::Bad, &items),
    };
    let drains = under_way(state);
    let mut text = format!(
        "node {}, weir-agent {}, at {}\n\n\
         controller   {}, {heard}\n\
         generation   {generation}\n\
         items        {items}\n\
         drains       {drains} under way\n",
        state.node,
        state.agent_version,
        path.display(),
        contact.controller,
    );
    let mut troubles = Vec::new();
    if let Some(hold) = &state.hold {
        let bad = style.paint(Tone::Bad, "HELD");
        troubles.push(format!(
            "{bad} for {}: generation {} would drop {} of {} services; weirctl node release {}",
            since(hold.since_unix_ms),
            hold.generation,
            hold.dropped,
            hold.served,
            state.node
        ));
    }
    if let Some(degraded) = &state.degraded {
        let bad = style.paint(Tone::Bad, "DEGRADED");
        troubles.push(format!(
            "{bad} for {}: {}",
            since(degraded.since_unix_ms),
            degraded.reason
        ));
    }
    let failures = state.items.iter().filter_map(|item| item.failure.as_ref());
    troubles.extend(failures.map(failure_text));
    let missing = missing(state).map(|it| format!("{} is missing: {}", it.name, it.detail));
    troubles.extend(missing);
    if !troubles.is_empty() {
        text = text + "\n" + &troubles.join("\n") + "\n";
    }
    text
}
