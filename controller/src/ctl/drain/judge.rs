//! Whether drains are over. PURE.

use std::time::Duration;

use weir_proto::wire;

use super::Nodes;
use crate::ctl::outcome::Trouble;
use crate::ctl::render::{absence, counted, drain_target, held, human, lag};

/// Within how many milliseconds a node tells of what it took: it does once a second.
const TELLS_WITHIN: u64 = 3_000;

/// What was asked to be drained, and which nodes have to say that it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    pub(crate) targets: Vec<wire::DrainTarget>,
    pub(crate) nodes: Nodes,
    /// When, in Unix milliseconds.
    pub(crate) since_unix_ms: u64,
}

/// What the nodes say, a line for each that is waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) waiting: Vec<String>,
    /// Connections of drains that keep them, on nodes where the time is over.
    pub(crate) kept: Vec<(String, u64)>,
    /// Connections of drains that cut them, on nodes where the time is over.
    pub(crate) cut: Vec<(String, u64)>,
    /// What somebody has undrained meanwhile.
    pub(crate) undrained: Option<String>,
    /// When the time is over for all that is known, in Unix milliseconds.
    pub(crate) until_unix_ms: u64,
}

impl Asked {
    /// Decides from what the nodes say now, each for itself. `now` is in Unix milliseconds.
    pub(crate) fn judge(
        &self,
        states: &[wire::NodeState],
        drains: &[wire::DrainState],
        now: u64,
    ) -> Told {
        let mut told = Told::default();
        let mut ours = Vec::new();
        for target in &self.targets {
            let found = drains
                .iter()
                .find(|drain| drain.asked && drain.target.as_ref() == Some(target));
            match found {
                Some(drain) => ours.push(drain),
                None => {
                    let (kind, name) = drain_target(target);
                    told.undrained = Some(format!("{kind}/{name}"));
                }
            }
        }
        told.until_unix_ms = ours
            .iter()
            .map(|drain| until(drain, self.since_unix_ms))
            .max()
            .unwrap_or(now);
        for (node, generation) in &self.nodes {
            let state = states.iter().find(|state| state.name == *node);
            let missing = match state {
                None => Some("not known to the controller".to_owned()),
                Some(state) => absence(state, now).or_else(|| {
                    let lag = lag(state, *generation)?;
                    Some(held(state, now).unwrap_or(lag))
                }),
            };
            if let Some(missing) = missing {
                told.waiting.push(format!("{node}: {missing}"));
                continue;
            }
            let here = ours.iter().flat_map(|drain| &drain.nodes);
            let here = here.filter(|on| on.node == *node);
            let here: Vec<_> = here.filter_map(|on| on.progress.as_ref()).collect();
            if here.is_empty() || here.iter().any(|drain| self.is_of_before(drain, now)) {
                let line = format!("{node}: has not told of it yet");
                told.waiting.push(line);
            } else {
                told.weigh(node, here, now);
            }
        }
        told
    }

    /// Says whether a node may speak of the drain as it was before it was asked for otherwise.
    fn is_of_before(&self, drain: &wire::DrainProgress, now: u64) -> bool {
        let over_before = !drain.done && drain.deadline_unix_ms < self.since_unix_ms;
        over_before && now < self.since_unix_ms + TELLS_WITHIN
    }
}

impl Told {
    fn weigh(&mut self, node: &str, drains: Vec<&wire::DrainProgress>, now: u64) {
        let going_on = drains.into_iter().filter(|drain| !drain.done);
        let (open, late): (Vec<_>, Vec<_>) =
            going_on.partition(|drain| now < drain.deadline_unix_ms);
        if let Some(deadline) = open.iter().map(|drain| drain.deadline_unix_ms).max() {
            let left = human(Duration::from_millis(deadline - now));
            let connections = number(connections(&open));
            let line = format!("{node}: {connections} left, {left} to the deadline");
            self.waiting.push(line);
        }
        let cuts = |drain: &&wire::DrainProgress| drain.on_deadline() == wire::OnDeadline::Reset;
        let (cut, kept): (Vec<_>, Vec<_>) = late.into_iter().partition(cuts);
        if !kept.is_empty() {
            self.kept.push((node.to_owned(), connections(&kept)));
        }
        if !cut.is_empty() {
            self.cut.push((node.to_owned(), connections(&cut)));
        }
    }

    /// Gives what is printed when it is over, or why it is no good end.
    pub(crate) fn verdict(&self, all: usize) -> Result<String, Trouble> {
        let sum = |nodes: &[(String, u64)]| number(nodes.iter().map(|(_, count)| count).sum());
        let part = |nodes: &[(String, u64)]| format!("{} of {}", nodes.len(), counted(all, "node"));
        if !self.kept.is_empty() {
            let lines = self.kept.iter();
            let lines = lines.map(|(node, count)| format!("{node}: {} kept", number(*count)));
            return Err(Trouble::Detailed {
                details: lines.collect(),
                summary: format!(
                    "the time is over: {} kept on {}",
                    sum(&self.kept),
                    part(&self.kept)
                ),
            });
        }
        if !self.cut.is_empty() {
            let (sum, part) = (sum(&self.cut), part(&self.cut));
            return Ok(format!("the time is over: {sum} cut on {part}\n"));
        }
        Ok(format!("drained on {}\n", counted(all, "node")))
    }

    /// Tells which nodes did not say in time that it is over.
    pub(crate) fn timed_out(self, all: usize, waited: &str) -> Trouble {
        let nodes = format!("{} of {}", self.waiting.len(), counted(all, "node"));
        Trouble::Detailed {
            details: self.waiting,
            summary: format!("timed out after {waited}: it is not known to be over on {nodes}"),
        }
    }

    pub(crate) fn progress_line(&self) -> String {
        format!("waiting for {}", self.waiting.join(", "))
    }
}

/// Gives when the time of a drain is over, by what was asked and by what nodes say.
fn until(drain: &wire::DrainState, since: u64) -> u64 {
    let seconds = drain.drain.and_then(|drain| drain.deadline_seconds);
    let asked = since + u64::from(seconds.unwrap_or_default()) * 1_000;
    let told = drain.nodes.iter().filter_map(|on| on.progress.as_ref());
    let open = told.filter(|progress| !progress.done);
    let told = open.map(|progress| progress.deadline_unix_ms).max();
    asked.max(told.unwrap_or_default())
}

fn connections(drains: &[&wire::DrainProgress]) -> u64 {
    let of = |drain: &&wire::DrainProgress| drain.active_connections + drain.inactive_connections;
    drains.iter().map(of).sum()
}

fn number(connections: u64) -> String {
    let connections = usize::try_from(connections).unwrap_or(usize::MAX);
    counted(connections, "connection")
}

#[cfg(test)]
mod tests;
