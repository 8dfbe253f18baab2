//! The page that `status` shows. PURE.

use weir_proto::wire;

use super::failure::degraded;
use super::{Style, absence, held, lag, node_troubles, status_rows, styled};

/// Sets the whole of a status. `now` is in Unix milliseconds.
pub(crate) fn status_page(
    url: &str,
    status: &wire::NodeStatusResponse,
    now: u64,
    style: Style,
) -> String {
    let head = format!("controller {url}, revision {}\n\n", status.revision);
    if status.nodes.is_empty() {
        return head + "No nodes: none has registered, and none was applied.\n";
    }
    let mut text = head + &styled(&status_rows(&status.nodes, now), style);
    let troubles: String = status
        .nodes
        .iter()
        .flat_map(|node| {
            let held = held(node, now);
            // one that holds back says so, and is behind for it
            let lag = || lag(node, node.wanted_generation).filter(|_| held.is_none());
            let behind = absence(node, now).or_else(lag).into_iter();
            let condition = held.iter().cloned().chain(degraded(node, now));
            let reasons = behind.chain(condition).chain(node_troubles(node));
            let reasons: Vec<String> = reasons.collect();
            let reasons = reasons.into_iter();
            reasons.map(|reason| format!("{}: {reason}\n", node.name))
        })
        .collect();
    if !troubles.is_empty() {
        text = text + "\n" + &troubles;
    }
    text
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
