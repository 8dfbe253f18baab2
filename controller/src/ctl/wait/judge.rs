//! Whether nodes hold what a change brings them. PURE.

use std::collections::BTreeMap;

use weir_proto::wire;

use crate::ctl::render::{counted, lag, node_troubles};

/// How many nodes a line of progress names.
const NAMED: usize = 3;

/// Which nodes are waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    /// The generation each must converge to.
    pub(super) targets: BTreeMap<String, u64>,
    /// What stood in a node's way before the change. The change may be what clears it, so that it refuses
    /// nothing while it stays the same.
    before: BTreeMap<String, String>,
}

/// How far the nodes are; a line each for those that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All of them hold it.
    Done,
    /// These do not yet, and may.
    Waiting(Vec<String>),
    /// `nodes` of them will not, for these reasons.
    Refused { nodes: usize, reasons: Vec<String> },
}

impl Wait {
    /// Waits for `targets`; `before` is how the nodes were before the change.
    pub(crate) fn new(targets: Vec<wire::NodeTarget>, before: Vec<wire::NodeState>) -> Self {
        Self {
            targets: targets
                .into_iter()
                .map(|target| (target.node, target.generation))
                .collect(),
            before: before
                .into_iter()
                .map(|node| (node.name, node.rejection))
                .collect(),
        }
    }

    /// Decides from what the nodes say now. A refusal counts at once: the others are not waited for.
    pub(crate) fn judge(&self, states: &[wire::NodeState]) -> Progress {
        let states: BTreeMap<&str, &wire::NodeState> = states
            .iter()
            .map(|state| (state.name.as_str(), state))
            .collect();
        let (mut waiting, mut reasons, mut nodes) = (Vec::new(), Vec::new(), 0);
        for (node, target) in &self.targets {
            let Some(state) = states.get(node.as_str()) else {
                waiting.push(format!("{node}: not known to the controller"));
                continue;
            };
            let refused = self.refusals(state, *target);
            if !refused.is_empty() {
                nodes += 1;
                reasons.extend(refused.iter().map(|reason| format!("{node}: {reason}")));
            } else if let Some(lag) = lag(state, *target) {
                let because = match state.rejection.as_str() {
                    "" => String::new(),
                    rejection => format!("; it takes no further generation: {rejection}"),
                };
                waiting.push(format!("{node}: {lag}{because}"));
            }
        }
        match (nodes, waiting.is_empty()) {
            (1.., _) => Progress::Refused { nodes, reasons },
            (0, true) => Progress::Done,
            (0, false) => Progress::Waiting(waiting),
        }
    }

    fn refusals(&self, state: &wire::NodeState, target: u64) -> Vec<String> {
        let brought = state.converged_generation >= target;
        let known = self.before.get(&state.name) == Some(&state.rejection);
        if brought && state.failure_count > 0 {
            let mut only_failures = state.clone();
            only_failures.rejection.clear();
            only_failures.capabilities.clear();
            return node_troubles(&only_failures);
        }
        let taken = state.accepted_generation >= target;
        if !taken && !known && !state.rejection.is_empty() {
            return vec![format!("takes no further generation: {}", state.rejection)];
        }
        Vec::new()
    }
}

/// Says how many of the nodes: "1 of 3 nodes".
pub(super) fn part(nodes: usize, all: usize) -> String {
    format!("{nodes} of {}", counted(all, "node"))
}

pub(super) fn progress_line(missing: &[String], all: usize) -> String {
    let named = &missing[..missing.len().min(NAMED)];
    let more = match missing.len() - named.len() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let nodes = part(missing.len(), all);
    format!("waiting for {nodes}: {}{more}", named.join(", "))
}

#[cfg(test)]
mod tests;
