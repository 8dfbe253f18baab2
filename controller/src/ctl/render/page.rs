//! The page that `status` shows. PURE.

use weir_proto::wire;

use super::{absence, lag, node_troubles, status_rows, table};

/// Sets the whole of a status. `now` is in Unix milliseconds.
pub(crate) fn status_page(url: &str, status: &wire::NodeStatusResponse, now: u64) -> String {
    let head = format!("controller {url}, revision {}\n\n", status.revision);
    if status.nodes.is_empty() {
        return head + "No nodes: none has registered, and none was applied.\n";
    }
    let mut text = head + &table(&status_rows(&status.nodes, now));
    let troubles: String = status
        .nodes
        .iter()
        .flat_map(|node| {
            let behind = absence(node, now).or_else(|| lag(node, node.wanted_generation));
            let reasons = behind.into_iter().chain(node_troubles(node));
            reasons.map(|reason| format!("{}: {reason}\n", node.name))
        })
        .collect();
    if !troubles.is_empty() {
        text = text + "\n" + &troubles;
    }
    text
}

/// Whether a node's agent is connected and says that the node holds all that it must.
pub(crate) fn is_well(node: &wire::NodeState) -> bool {
    node.connected
        && node.converged_generation >= node.wanted_generation
        && node.failure_count == 0
        && node.rejection.is_empty()
}

#[cfg(test)]
mod tests;
