//! Whether nodes hold what a change brings them. PURE.

use std::collections::BTreeMap;

use weir_proto::wire;

use super::about::About;
use crate::ctl::render::{counted, failure_text, hold, lag, rejection};

/// How many nodes a line names.
const NAMED: usize = 3;

/// Which nodes are waited for, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wait {
    /// The generation each must converge to.
    pub(super) targets: BTreeMap<String, u64>,
    /// What is waited for. What else fails on the nodes is not judged.
    pub(super) about: About,
}

/// How far the nodes are that matter; a line for each, or for each reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// These do not hold it yet, and may.
    pub(crate) waiting: Vec<Missing>,
    /// These do not take it. It may be that they did not take what was before, or that they will take a
    /// snapshot in its place: it counts when it stays so for a while.
    pub(crate) rejecting: Vec<String>,
    /// How many hold it but for what they refuse of it.
    pub(crate) refusing: usize,
    /// What those refuse.
    pub(crate) refused: Vec<String>,
    /// Nodes on which something else fails.
    pub(crate) others: Vec<String>,
}

/// A node that does not hold it yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) node: String,
    /// How far it is.
    pub(crate) lag: String,
    /// Its agent is not connected: nobody but the agent can change that.
    pub(crate) absent: bool,
}

impl Wait {
    /// Waits for these with what was written.
    pub(crate) fn new(targets: Vec<wire::NodeTarget>, about: About) -> Self {
        Self {
            targets: targets
                .into_iter()
                .map(|target| (target.node, target.generation))
                .collect(),
            about,
        }
    }

    /// Gives what is known before anything was heard.
    pub(super) fn before(&self) -> Progress {
        let missing = |node: &String| missing(node, "no word from the controller".to_owned());
        Progress {
            waiting: self.targets.keys().map(missing).collect(),
            ..Progress::default()
        }
    }

    /// Decides from what the nodes say now, each for itself.
    pub(crate) fn judge(&self, states: &[wire::NodeState]) -> Progress {
        let states: BTreeMap<&str, &wire::NodeState> = states
            .iter()
            .map(|state| (state.name.as_str(), state))
            .collect();
        let mut progress = Progress::default();
        for (node, target) in &self.targets {
            let Some(state) = states.get(node.as_str()) else {
                let lag = "not known to the controller".to_owned();
                progress.waiting.push(missing(node, lag));
                continue;
            };
            match lag(state, *target) {
                None => self.weigh(state, &mut progress),
                Some(_) if rejects(state, *target) => {
                    let line = format!("{node}: {}", rejection(state));
                    progress.rejecting.push(line);
                }
                Some(_) if state.connected && state.hold.is_some() => {
                    progress.rejecting.push(format!("{node}: {}", hold(state)));
                }
                Some(lag) => progress.waiting.push(Missing {
                    absent: !state.connected,
                    ..missing(node, lag)
                }),
            }
        }
        progress
    }

    /// Tells the failures of a node that converged apart: those of what was written, and others. Those that
    /// it does not name may be either, and a wait that succeeds must not be wrong.
    fn weigh(&self, state: &wire::NodeState, progress: &mut Progress) {
        let node = &state.name;
        let (ours, others): (Vec<_>, Vec<_>) = state
            .failures
            .iter()
            .partition(|failure| self.about.concerns(node, failure));
        let unnamed = number(state.failure_count).saturating_sub(state.failures.len());
        if !ours.is_empty() || unnamed > 0 {
            progress.refusing += 1;
        }
        let lines = ours.into_iter().map(failure_text);
        let lines = lines.map(|line| format!("{node}: {line}"));
        progress.refused.extend(lines);
        if unnamed > 0 {
            let more = counted(unnamed, "failure");
            let line = format!("{node}: and {more} it does not name, of this or of others");
            progress.refused.push(line);
        }
        if !others.is_empty() {
            let other = counted(others.len(), "other failure");
            let line = format!("{node} has {other}; see weirctl status");
            progress.others.push(line);
        }
    }
}

impl Progress {
    /// Says whether each node has converged or refused, whether or not the rejections stand.
    pub(super) fn is_heard(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Names the nodes that are waited for and not connected, if there are any.
    pub(super) fn reminder(&self) -> Option<String> {
        let absent = self.waiting.iter().filter(|missing| missing.absent);
        let absent: Vec<&str> = absent.map(|missing| missing.node.as_str()).collect();
        let are = if absent.len() == 1 { "is" } else { "are" };
        let names = absent.join(", ");
        (!absent.is_empty())
            .then(|| format!("still waiting for {names}, which {are} not connected"))
    }

    /// Sums up what is wrong when the waiting is over; none when nothing is.
    pub(super) fn verdict(&self, all: usize, waited: &str) -> Option<String> {
        let (waiting, refusing) = (self.waiting.len(), self.refusing + self.rejecting.len());
        let refused = format!("refused by {}", part(refusing, all));
        let nodes = part(waiting, all);
        let names = named(self.waiting.iter().map(|missing| missing.node.as_str()));
        let missing = format!("timed out after {waited}: {nodes} did not converge: {names}");
        match (refusing, waiting) {
            (0, 0) => None,
            (1.., 0) => Some(refused),
            (0, 1..) => Some(missing),
            (1.., 1..) => Some(format!("{refused}; {missing}")),
        }
    }

    /// Gives every line behind the verdict.
    pub(super) fn details(self) -> Vec<String> {
        let waiting = self.waiting.iter().map(Missing::line);
        let waiting: Vec<String> = waiting.collect();
        [self.refused, self.rejecting, waiting].concat()
    }
}

impl Missing {
    fn line(&self) -> String {
        format!("{}: {}", self.node, self.lag)
    }
}

fn missing(node: &str, lag: String) -> Missing {
    Missing {
        node: node.to_owned(),
        lag,
        absent: false,
    }
}

fn number(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Whether a node that can be asked does not take the generation it is offered.
fn rejects(state: &wire::NodeState, target: u64) -> bool {
    state.connected && state.accepted_generation < target && !state.rejection.is_empty()
}

/// Says how many of the nodes: "1 of 3 nodes".
pub(super) fn part(nodes: usize, all: usize) -> String {
    format!("{nodes} of {}", counted(all, "node"))
}

pub(super) fn progress_line(missing: &[Missing], all: usize) -> String {
    let lines: Vec<String> = missing.iter().map(Missing::line).collect();
    let nodes = part(missing.len(), all);
    let named = named(lines.iter().map(String::as_str));
    format!("waiting for {nodes}: {named}")
}

/// Gives the first few and counts the rest.
fn named<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let first: Vec<&str> = names.take(NAMED).collect();
    first.join(", ") + &more
}

#[cfg(test)]
mod tests;
