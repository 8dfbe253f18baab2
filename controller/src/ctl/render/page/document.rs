//! The same for programs. PURE.

use anyhow::Result;
use serde::Serialize;
use weir_proto::wire;

use super::super::{Degraded, Failure, Hold, is_unheard, streamed, written};
use super::{Called, is_well, troubles};
use crate::ctl::args::DocumentForm;
use crate::ctl::manifest::API_VERSION;

/// Writes it; with `more`, as one of several. `now` is in Unix milliseconds.
pub(crate) fn status_document(
    called: &Called<'_>,
    status: &wire::NodeStatusResponse,
    now: u64,
    (form, more): (DocumentForm, bool),
) -> Result<String> {
    let document = Status {
        api_version: API_VERSION,
        kind: "Status",
        controller: Controller {
            url: called.url,
            version: &status.controller_version,
            started_unix_ms: known(status.controller_started_unix_ms),
            certificate_expires_unix_ms: called.certificate_expires_unix_ms,
        },
        revision: status.revision,
        well: status.nodes.iter().all(is_well),
        nodes: status.nodes.iter().map(|it| Node::new(it, now)).collect(),
    };
    match more {
        true => streamed(&document, form),
        false => written(&document, form),
    }
}

/// Gives a time; none: there is none.
fn known(unix_ms: u64) -> Option<u64> {
    (unix_ms != 0).then_some(unix_ms)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    api_version: &'static str,
    kind: &'static str,
    controller: Controller<'a>,
    revision: u64,
    well: bool,
    nodes: Vec<Node<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Controller<'a> {
    url: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_unix_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_expires_unix_ms: Option<u64>,
}

/// Null is what nobody knows; what is not there is left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Node<'a> {
    node: &'a str,
    well: bool,
    connected: bool,
    heard_unix_ms: Option<u64>,
    #[serde(skip_serializing_if = "str::is_empty")]
    disconnection: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    agent_version: &'a str,
    wanted_generation: u64,
    accepted_generation: Option<u64>,
    converged_generation: Option<u64>,
    item_count: u64,
    failure_count: u64,
    /// At most 100 of them.
    failures: Vec<Failure<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    rejection: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<Hold<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<Degraded<'a>>,
    drain_count: u64,
    repair_count: u64,
    cordoned: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_expires_unix_ms: Option<u64>,
    /// The sentences that people are told.
    troubles: Vec<String>,
}

impl<'a> Node<'a> {
    fn new(node: &'a wire::NodeState, now: u64) -> Self {
        let heard = |generation| (!is_unheard(node)).then_some(generation);
        Self {
            node: &node.name,
            well: is_well(node),
            connected: node.connected,
            heard_unix_ms: known(node.last_heard_unix_ms),
            disconnection: &node.disconnection,
            agent_version: &node.agent_version,
            wanted_generation: node.wanted_generation,
            accepted_generation: heard(node.accepted_generation),
            converged_generation: heard(node.converged_generation),
            item_count: node.wanted_items,
            failure_count: node.failure_count,
            failures: node.failures.iter().map(Failure::from).collect(),
            rejection: &node.rejection,
            hold: node.hold.as_ref().map(Hold::from),
            degraded: node.degraded.as_ref().map(Degraded::from),
            drain_count: node.drain_count,
            repair_count: node.repair_counts.values().sum(),
            cordoned: node.cordoned,
            certificate_expires_unix_ms: known(node.certificate_expires_unix_ms),
            troubles: troubles(node, now),
        }
    }
}
