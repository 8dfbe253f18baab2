//! The page that `status` shows. PURE.

mod document;

use std::time::Duration;

use weir_proto::wire;

pub(crate) use document::status_document;

use super::failure::degraded;
use super::{Style, absence, expiry, held, human, lag, node_troubles, status_rows, styled};

/// The controller that was called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Called<'a> {
    pub(crate) url: &'a str,
    /// None: it was called without TLS.
    pub(crate) certificate_expires_unix_ms: Option<u64>,
}

/// Sets the whole of a status. `now` is in Unix milliseconds.
pub(crate) fn status_page(
    called: &Called<'_>,
    status: &wire::NodeStatusResponse,
    now: u64,
    style: Style,
) -> String {
    let Called {
        url,
        certificate_expires_unix_ms: expires,
    } = *called;
    let certificate = expires.map(|expires| format!(", {}", expiry::phrase(expires, now)));
    let head = format!(
        "controller {url}{}, revision {}{}\n\n",
        program(status, now),
        status.revision,
        certificate.unwrap_or_default()
    );
    let soon = expires.and_then(|expires| expiry::of_controller(expires, now));
    let soon = soon.map(|soon| format!("controller: {soon}\n"));
    let soon = soon.unwrap_or_default();
    if status.nodes.is_empty() {
        let gap = if soon.is_empty() { "" } else { "\n" };
        return head + "No nodes: none has registered, and none was applied.\n" + gap + &soon;
    }
    let mut text = head + &styled(&status_rows(&status.nodes, now), style);
    let troubles: String = status
        .nodes
        .iter()
        .flat_map(|node| {
            let reasons = troubles(node, now).into_iter();
            reasons.map(|reason| format!("{}: {reason}\n", node.name))
        })
        .collect();
    let troubles = soon + &troubles;
    if !troubles.is_empty() {
        text = text + "\n" + &troubles;
    }
    text
}

/// Says which program the controller is, and since when; nothing of one that does not say.
fn program(status: &wire::NodeStatusResponse, now: u64) -> String {
    let version = match status.controller_version.as_str() {
        "" => String::new(),
        version => format!(", version {version}"),
    };
    let up = match status.controller_started_unix_ms {
        0 => String::new(),
        since => {
            let up = Duration::from_secs(now.saturating_sub(since) / 1_000);
            format!(", up {}", human(up))
        }
    };
    version + &up
}

/// Says all that is in the way of a node, or soon will be.
pub(super) fn troubles(node: &wire::NodeState, now: u64) -> Vec<String> {
    let held = held(node, now);
    // one that holds back says so, and is behind for it
    let lag = || lag(node, node.wanted_generation).filter(|_| held.is_none());
    let behind = absence(node, now).or_else(lag).into_iter();
    let condition = held.iter().cloned().chain(degraded(node, now));
    let reasons = behind.chain(condition).chain(node_troubles(node));
    reasons.chain(expiry::of_node(node, now)).collect()
}

/// Whether a node's agent is connected and says that the node holds all that it must, and that nothing keeps it from more.
pub(crate) fn is_well(node: &wire::NodeState) -> bool {
    node.connected
        && node.converged_generation >= node.wanted_generation
        && node.failure_count == 0
        && node.rejection.is_empty()
        && node.hold.is_none()
        && node.degraded.is_none()
}

#[cfg(test)]
mod tests;
