//! Waits until nodes hold what a change brings them.
//!
//! [`Wait::judge`] decides from what the nodes say; [`Wait::until_converged`] asks and keeps the time.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status};
use weir_proto::wire;

use super::connect::Controller;
use super::outcome::{Trouble, print, tell};
use super::render::{counted, human, lag, node_troubles};

/// How long to leave a controller alone that went away during the wait: it restarts in about a second.
const AGAIN: Duration = Duration::from_millis(500);
/// How many nodes a line of progress names.
const NAMED: usize = 3;

/// Which nodes are waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    /// The generation each must converge to.
    targets: BTreeMap<String, u64>,
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

    /// Follows the nodes until they converged, one refuses, or the time is over.
    pub(crate) async fn until_converged(&self, of: &Controller, longest: Duration) -> Result<()> {
        let all = self.targets.len();
        if all == 0 {
            return print("no node is touched\n");
        }
        let end = Instant::now() + longest;
        let unheard = |node: &String| format!("{node}: no word from the controller");
        let mut last = Progress::Waiting(self.targets.keys().map(unheard).collect());
        loop {
            let ended = match timeout_at(end, self.follow(of, &mut last)).await {
                Ok(ended) => ended,
                Err(_) => Ended::TimeOver,
            };
            match (ended, last) {
                (Ended::Decided, Progress::Done) => {
                    return print(&format!("converged on {}\n", counted(all, "node")));
                }
                (Ended::Decided, Progress::Refused { nodes, reasons }) => {
                    let summary = format!("refused by {}", part(nodes, all));
                    return Err(detailed(reasons, summary));
                }
                (Ended::TimeOver, Progress::Waiting(missing)) => {
                    let nodes = part(missing.len(), all);
                    let waited = human(longest);
                    let summary = format!("after {waited} {nodes} did not converge");
                    return Err(detailed(missing, summary));
                }
                (Ended::Failed(status), _) if !passes(&status) => return Err(of.refusal(&status)),
                (_, progress) => last = progress,
            }
            sleep(AGAIN).await;
        }
    }

    /// Follows the nodes as long as the controller speaks of them. `last` is what was found so far; it
    /// outlives a call that is cut short.
    async fn follow(&self, of: &Controller, last: &mut Progress) -> Ended {
        let request = wire::NodeStatusRequest {
            names: self.targets.keys().cloned().collect(),
            watch: true,
        };
        let mut client = of.client.clone();
        let mut stream = match of.attempt(client.node_status(request)).await {
            Ok(stream) => stream,
            Err(status) => return Ended::Failed(status),
        };
        loop {
            let states = match stream.message().await {
                Ok(Some(answer)) => answer.nodes,
                Ok(None) => return Ended::Failed(Status::unavailable("the stream ended")),
                Err(status) => return Ended::Failed(status),
            };
            let progress = self.judge(&states);
            let Progress::Waiting(missing) = &progress else {
                *last = progress;
                return Ended::Decided;
            };
            if progress != *last && io::stderr().is_terminal() {
                tell(&progress_line(missing, self.targets.len()));
            }
            *last = progress;
        }
    }
}

/// Why following ended.
enum Ended {
    Decided,
    Failed(Status),
    TimeOver,
}

/// Whether it may be better the next time: the controller restarts, or the way to it is cut.
fn passes(status: &Status) -> bool {
    let transport = std::error::Error::source(status).is_some();
    transport || matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}

fn detailed(details: Vec<String>, summary: String) -> anyhow::Error {
    Trouble::Detailed { details, summary }.into()
}

/// Says how many of the nodes: "1 of 3 nodes".
fn part(nodes: usize, all: usize) -> String {
    format!("{nodes} of {}", counted(all, "node"))
}

fn progress_line(missing: &[String], all: usize) -> String {
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
