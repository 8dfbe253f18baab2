//! How far one node is: what its agent said, rolled up. PURE

use weir_proto::convert::Hello;
use weir_proto::model::{Capability, Generation, ItemFailure, NodeName};

use super::feed::{Feed, Rejected};
use super::view::View;

/// How many failures of a node are kept to be read: more is for a report, not for an answer.
pub(crate) const MOST_FAILURES: usize = 100;

/// What an agent said of its node, in its own generations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeProgress {
    connected: bool,
    agent_version: String,
    converged: Generation,
    failures: Vec<ItemFailure>,
    failure_count: u64,
    rejection: Option<String>,
    last_heard_unix_ms: u64,
    /// What it had accepted and converged on when its agent went, in the controller's generations: a node
    /// that nobody hears from gets no further.
    parted: Option<(Generation, Generation)>,
}

/// How far one node is, in the controller's generations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeStatus {
    pub(crate) name: NodeName,
    pub(crate) connected: bool,
    pub(crate) agent_version: String,
    pub(crate) wanted: Generation,
    pub(crate) accepted: Generation,
    pub(crate) converged: Generation,
    pub(crate) wanted_items: u64,
    pub(crate) failures: Vec<ItemFailure>,
    pub(crate) failure_count: u64,
    pub(crate) rejection: Option<String>,
    pub(crate) capabilities: Vec<Capability>,
    pub(crate) last_heard_unix_ms: u64,
}

impl NodeProgress {
    /// Notes that the agent connected. What it said of convergence counts on while it holds the same.
    pub(crate) fn hello(&mut self, hello: &Hello, now_unix_ms: u64) {
        let held = hello.held.map_or(Generation(0), |(held, _)| held);
        if self.converged != held {
            self.converged = Generation(0);
            self.failures.clear();
            self.failure_count = 0;
        }
        self.connected = true;
        self.parted = None;
        self.agent_version.clone_from(&hello.agent_version);
        self.rejection = None;
        self.last_heard_unix_ms = now_unix_ms;
    }

    /// Notes that a generation is durable on the node.
    pub(crate) fn accepted(&mut self, now_unix_ms: u64) {
        self.rejection = None;
        self.last_heard_unix_ms = now_unix_ms;
    }

    /// Notes that the kernel was brought to a generation, save for failures, of which there may be more than
    /// are named.
    pub(crate) fn converged(
        &mut self,
        generation: Generation,
        mut failures: Vec<ItemFailure>,
        failure_count: u64,
        now_unix_ms: u64,
    ) {
        self.failure_count = failure_count.max(failures.len() as u64);
        failures.truncate(MOST_FAILURES);
        self.converged = generation;
        self.failures = failures;
        self.last_heard_unix_ms = now_unix_ms;
    }

    /// Notes that a generation was not taken.
    pub(crate) fn rejected(&mut self, rejected: &Rejected, now_unix_ms: u64) {
        let Rejected {
            generation,
            reason,
            cause,
            held: _,
        } = rejected;
        self.rejection = Some(format!(
            "generation {generation}: {}: {cause}",
            reason.as_str()
        ));
        self.last_heard_unix_ms = now_unix_ms;
    }

    /// Notes that the agent is gone. The end of its stream is the last that is heard of it.
    pub(crate) fn disconnected(&mut self, view: &View, feed: &Feed, now_unix_ms: u64) {
        self.parted = Some(self.reached(view, feed));
        self.connected = false;
        self.last_heard_unix_ms = now_unix_ms;
    }

    /// Says whether the agent is connected.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }

    /// Sums up how far the node is; what its kernel can do is known elsewhere.
    pub(crate) fn status(&self, name: &NodeName, view: &View, feed: &Feed) -> NodeStatus {
        let wanted = view.generation();
        let (accepted, converged) = self.parted.unwrap_or_else(|| self.reached(view, feed));
        NodeStatus {
            name: name.clone(),
            connected: self.connected,
            agent_version: self.agent_version.clone(),
            wanted,
            accepted,
            converged,
            wanted_items: view.state().items().len() as u64,
            failures: self.failures.clone(),
            failure_count: self.failure_count,
            rejection: self.rejection.clone(),
            capabilities: Vec::new(),
            last_heard_unix_ms: self.last_heard_unix_ms,
        }
    }

    /// Gives what the node has accepted and converged on. A connected node that holds the wanted content by
    /// another generation (the content went back to what it was, or the controller lost its count) is sent
    /// nothing, and holds the wanted generation.
    fn reached(&self, view: &View, feed: &Feed) -> (Generation, Generation) {
        let held = feed.held().map_or(Generation(0), |(held, _)| held);
        if !self.connected || !feed.is_current(view) {
            return (held, self.converged);
        }
        let wanted = view.generation();
        let converged = if self.converged == held {
            wanted
        } else {
            self.converged
        };
        (wanted, converged)
    }
}

#[cfg(test)]
mod tests;
