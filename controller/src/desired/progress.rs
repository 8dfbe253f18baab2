//! How far one node is: what its agent said, rolled up. PURE

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use weir_proto::convert::Hello;
use weir_proto::model::{
    Capability, Degraded, DrainProgress, Generation, Hold, ItemFailure, NodeName, Repair,
};

use super::feed::{Feed, Rejected};
use super::view::View;

/// How many failures of a node are kept to be read: more is for a report, not for an answer.
pub(crate) const MOST_FAILURES: usize = 100;

/// How many repairs of a node are kept to be read, as NodeState says.
pub(crate) const MOST_REPAIRS: usize = 100;

/// How many items a node can have at most that are counted as failed.
const MOST_ITEMS: u64 = 1 << 40;

/// What an agent said of its node, in its own generations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeProgress {
    connected: bool,
    agent_version: String,
    converged: Generation,
    failures: Vec<ItemFailure>,
    failure_count: u64,
    /// What it does not take of the generation it accepted last, and how much of it: not the kernel's verdict, but its own.
    refused: Vec<ItemFailure>,
    refused_count: u64,
    refused_of: Generation,
    rejection: Option<String>,
    /// The generation that it did not take.
    rejected: Generation,
    /// Why its last stream ended; empty while it has one.
    disconnection: String,
    last_heard_unix_ms: u64,
    /// What it had accepted and converged on when its agent went, in the controller's generations: a node
    /// that nobody hears from gets no further.
    parted: Option<(Generation, Generation)>,
    hold: Option<Hold>,
    degraded: Option<Degraded>,
    drains: Vec<DrainProgress>,
    /// How many drains there are, those that are over included and those that were not named.
    drain_count: u64,
    /// The oldest first; whoever reads a status holds a pointer to them.
    repairs: Arc<VecDeque<Repair>>,
    repair_counts: BTreeMap<String, u64>,
    /// 0: it is connected without a certificate, or was not heard from.
    certificate_expires_unix_ms: u64,
}

/// What of a node is counted over all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// 1 if its agent is connected.
    pub(crate) connected: u64,
    /// 1 if it holds back what it was sent.
    pub(crate) held: u64,
    /// 1 if it can make nothing durable.
    pub(crate) degraded: u64,
    /// Drains under way.
    pub(crate) drains: u64,
    /// Items that it does not take, or its kernel refuses.
    pub(crate) failed_items: u64,
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
    pub(crate) hold: Option<Hold>,
    pub(crate) degraded: Option<Degraded>,
    /// How many are under way.
    pub(crate) drain_count: u64,
    pub(crate) repairs: Arc<VecDeque<Repair>>,
    pub(crate) repair_counts: BTreeMap<String, u64>,
    pub(crate) certificate_expires_unix_ms: u64,
    /// Why its last stream ended; empty: it has one, or never had.
    pub(crate) disconnection: String,
    pub(crate) cordoned: bool,
}

/// What a node refuses.
#[derive(Debug)]
pub(crate) struct Refusals<'a> {
    /// Items of what it has accepted, which its agent does not take.
    pub(crate) items: std::slice::Iter<'a, ItemFailure>,
    /// Items of what it has converged on, which its kernel does not take.
    pub(crate) failures: std::slice::Iter<'a, ItemFailure>,
    /// A whole generation, and why.
    pub(crate) update: Option<(Generation, &'a str)>,
}

impl Tally {
    /// Gives the sum of two.
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            connected: self.connected + other.connected,
            held: self.held + other.held,
            degraded: self.degraded + other.degraded,
            drains: self.drains + other.drains,
            failed_items: self.failed_items.saturating_add(other.failed_items),
        }
    }

    /// Takes one away that was counted in.
    pub(crate) fn without(self, other: Self) -> Self {
        Self {
            connected: self.connected.saturating_sub(other.connected),
            held: self.held.saturating_sub(other.held),
            degraded: self.degraded.saturating_sub(other.degraded),
            drains: self.drains.saturating_sub(other.drains),
            failed_items: self.failed_items.saturating_sub(other.failed_items),
        }
    }
}

impl NodeProgress {
    /// Gives the version of the agent that said hello last; empty: none did.
    pub(crate) fn version(&self) -> &str {
        &self.agent_version
    }

    /// Notes that the agent connected. What it said of convergence counts on while it holds the same; its condition and
    /// its drains it tells again.
    pub(crate) fn hello(&mut self, hello: &Hello, now_unix_ms: u64) {
        let held = hello.held.map_or(Generation(0), |(held, _)| held);
        if self.converged != held {
            self.converged = Generation(0);
            self.failures.clear();
            self.failure_count = 0;
        }
        if self.refused_of != held {
            self.refused.clear();
            self.refused_count = 0;
        }
        self.connected = true;
        self.disconnection.clear();
        self.parted = None;
        self.agent_version.clone_from(&hello.agent_version);
        self.rejection = None;
        self.hold = None;
        self.degraded = None;
        self.drains.clear();
        self.drain_count = 0;
        self.certificate_expires_unix_ms = 0;
        self.last_heard_unix_ms = now_unix_ms;
    }

    /// Notes until when the certificate is valid that the agent connected with.
    pub(crate) fn certificate(&mut self, expires_unix_ms: u64) {
        self.certificate_expires_unix_ms = expires_unix_ms;
    }

    /// Notes what keeps the node from doing as it is told.
    pub(crate) fn condition(
        &mut self,
        hold: Option<Hold>,
        degraded: Option<Degraded>,
        now_unix_ms: u64,
    ) {
        self.hold = hold;
        self.degraded = degraded;
        self.last_heard_unix_ms = now_unix_ms;
    }

    /// Notes how far the node's drains are, and how many are under way, which may be more than are named.
    pub(crate) fn drains(&mut self, drains: Vec<DrainProgress>, count: u64, now_unix_ms: u64) {
        self.drain_count = count;
        self.drains = drains;
        self.last_heard_unix_ms = now_unix_ms;
    }

    /// Notes what the node repaired, and how many of each kind there were.
    pub(crate) fn repaired(
        &mut self,
        repairs: Vec<Repair>,
        counts: &BTreeMap<String, u64>,
        now_unix_ms: u64,
    ) {
        let kept = Arc::make_mut(&mut self.repairs);
        kept.extend(repairs);
        let beyond = kept.len().saturating_sub(MOST_REPAIRS);
        kept.drain(..beyond);
        for (kind, count) in counts {
            let counted = self.repair_counts.entry(kind.clone()).or_default();
            *counted = counted.saturating_add(*count);
        }
        self.last_heard_unix_ms = now_unix_ms;
    }

    /// Gives what the node holds back, as it said last.
    pub(crate) fn held_back(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// Gives why the node can make nothing durable, as it said last.
    pub(crate) fn degradation(&self) -> Option<&Degraded> {
        self.degraded.as_ref()
    }

    /// Gives how far the node's drains are, as it said last.
    pub(crate) fn told_drains(&self) -> &[DrainProgress] {
        &self.drains
    }

    /// Gives what of the node is counted.
    pub(crate) fn tally(&self) -> Tally {
        Tally {
            connected: self.connected.into(),
            held: self.hold.is_some().into(),
            degraded: self.degraded.is_some().into(),
            drains: self.drain_count,
            // as many as there are is said by an agent: more than that is no number to add up
            failed_items: (self.failure_count.saturating_add(self.refused_count)).min(MOST_ITEMS),
        }
    }

    /// Notes that a generation is durable on the node, and what of it the node does not take, of which there may be more
    /// than is named. The digest covers it: it is not sent again.
    pub(crate) fn accepted(
        &mut self,
        generation: Generation,
        refused: (Vec<ItemFailure>, u64),
        now_unix_ms: u64,
    ) {
        self.rejection = None;
        self.accepted_before(generation, refused, now_unix_ms);
    }

    /// Notes what the node does not take of a generation that it held before; what became of a later one stays as it is.
    pub(crate) fn accepted_before(
        &mut self,
        generation: Generation,
        (mut refused, count): (Vec<ItemFailure>, u64),
        now_unix_ms: u64,
    ) {
        self.refused_count = count.max(refused.len() as u64);
        refused.truncate(MOST_FAILURES);
        self.refused = refused;
        self.refused_of = generation;
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
        self.rejected = *generation;
        self.last_heard_unix_ms = now_unix_ms;
    }

    /// Notes that the agent is gone, and why. The end of its stream is the last that is heard of it.
    pub(crate) fn disconnected(
        &mut self,
        (view, feed): (&View<'_>, &Feed),
        why: String,
        now_unix_ms: u64,
    ) {
        self.disconnection = why;
        self.parted = Some(self.reached(view, feed));
        self.connected = false;
        self.last_heard_unix_ms = now_unix_ms;
    }

    /// Gives what the node has accepted and converged on, in the controller's generations.
    pub(crate) fn at(&self, view: &View<'_>, feed: &Feed) -> (Generation, Generation) {
        self.parted.unwrap_or_else(|| self.reached(view, feed))
    }

    /// Gives what the node refuses.
    pub(crate) fn refusals(&self) -> Refusals<'_> {
        let update = self.rejection.as_deref();
        Refusals {
            items: self.refused.iter(),
            failures: self.failures.iter(),
            update: update.map(|cause| (self.rejected, cause)),
        }
    }

    /// Sums up how far the node is; what its kernel can do, and whether it is cordoned, is known elsewhere.
    pub(crate) fn status(&self, name: &NodeName, view: &View<'_>, feed: &Feed) -> NodeStatus {
        let wanted = view.generation();
        let (accepted, converged) = self.at(view, feed);
        let failures = self.refused.iter().chain(&self.failures);
        NodeStatus {
            name: name.clone(),
            connected: self.connected,
            agent_version: self.agent_version.clone(),
            wanted,
            accepted,
            converged,
            wanted_items: view.len() as u64,
            failures: failures.take(MOST_FAILURES).cloned().collect(),
            failure_count: self.failure_count.saturating_add(self.refused_count),
            rejection: self.rejection.clone(),
            capabilities: Vec::new(),
            last_heard_unix_ms: self.last_heard_unix_ms,
            hold: self.hold.clone(),
            degraded: self.degraded.clone(),
            drain_count: self.drain_count,
            repairs: Arc::clone(&self.repairs),
            repair_counts: self.repair_counts.clone(),
            certificate_expires_unix_ms: self.certificate_expires_unix_ms,
            disconnection: self.disconnection.clone(),
            cordoned: false,
        }
    }

    /// Gives what the node has accepted and converged on. A connected node that holds the wanted content by
    /// another generation (the content went back to what it was, or the controller lost its count) is sent
    /// nothing, and holds the wanted generation, unless something else is still on its way there.
    fn reached(&self, view: &View<'_>, feed: &Feed) -> (Generation, Generation) {
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
