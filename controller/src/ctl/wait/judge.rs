//! Whether nodes hold what a change brings them. PURE.

use std::collections::BTreeMap;

use weir_proto::wire;

use crate::ctl::render::{counted, failures, lag, rejection};

/// How many nodes a line of progress names.
const NAMED: usize = 3;

/// Which nodes are waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    /// The generation each must converge to.
    pub(super) targets: BTreeMap<String, u64>,
}

/// How far the nodes are; a line each for those that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All of them hold it.
    Done,
    /// These do not yet, and may.
    Waiting(Vec<String>),
    /// Some do not take it. It may be that they did not take what was before, or that they will take a
    /// snapshot in its place: it counts when it stays so for a while.
    Rejected(Refusal),
    /// Some hold it but for what they refuse.
    Refused(Refusal),
}

/// Who refuses, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) nodes: usize,
    pub(crate) reasons: Vec<String>,
}

impl Wait {
    /// Waits for these.
    pub(crate) fn new(targets: Vec<wire::NodeTarget>) -> Self {
        Self {
            targets: targets
                .into_iter()
                .map(|target| (target.node, target.generation))
                .collect(),
        }
    }

    /// Decides from what the nodes say now. Where one refuses, the others are not waited for.
    pub(crate) fn judge(&self, states: &[wire::NodeState]) -> Progress {
        let states: BTreeMap<&str, &wire::NodeState> = states
            .iter()
            .map(|state| (state.name.as_str(), state))
            .collect();
        let (mut waiting, mut rejected, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        let mut refusing = 0;
        for (node, target) in &self.targets {
            let Some(state) = states.get(node.as_str()) else {
                waiting.push(format!("{node}: not known to the controller"));
                continue;
            };
            match lag(state, *target) {
                None if state.failure_count > 0 => {
                    refusing += 1;
                    let reasons = failures(state).into_iter();
                    refused.extend(reasons.map(|reason| format!("{node}: {reason}")));
                }
                None => {}
                Some(_) if rejects(state, *target) => {
                    rejected.push(format!("{node}: {}", rejection(state)));
                }
                Some(lag) => waiting.push(format!("{node}: {lag}")),
            }
        }
        match (refusing, rejected.len(), waiting.is_empty()) {
            (1.., ..) => Progress::Refused(Refusal {
                nodes: refusing,
                reasons: refused,
            }),
            (0, nodes @ 1.., _) => Progress::Rejected(Refusal {
                nodes,
                reasons: rejected,
            }),
            (0, 0, true) => Progress::Done,
            (0, 0, false) => Progress::Waiting(waiting),
        }
    }
}

/// Whether a node that can be asked does not take the generation it is offered.
fn rejects(state: &wire::NodeState, target: u64) -> bool {
    state.connected && state.accepted_generation < target && !state.rejection.is_empty()
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
