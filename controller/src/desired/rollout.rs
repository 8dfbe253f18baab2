//! A batch on its way to the nodes: what it does next, from what the nodes say. PURE
//!
//! - A step reaches so many nodes as its size says, and is over when every node that was reached has converged.
//! - The order is that of a hash of the node's name and the revision: it is the same whoever works it out, and not always the
//!   same node comes first. A node that comes meanwhile takes its place among those not reached.
//! - A node that is not connected is waited for, however long it takes.
//! - It halts when a node refuses something of the batch, takes nothing of what it is sent, or when connections fail more
//!   often than before; and goes on, then without regard to what made it halt, when it is told to. Only a node that takes
//!   nothing makes it halt again: it can never have the batch, and would be waited for without an end.
//!
//! Somebody makes durable what is next, and only then it is so.

mod counts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_proto::model::{
    Canary, Generation, NodeName, Revision, RolloutPhase, ServiceName, Steering,
};

pub(crate) use counts::{Count, Recent};

use super::resources::Batch;

/// How long nodes that have converged are looked at before the next step, where connections run: two of the nodes' samples of
/// five seconds, one of which lies wholly after, and time for it to arrive.
const LOOK_MS: u64 = 12_000;

/// A batch on its way to the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rollout {
    /// What is rolled out.
    pub(crate) revision: Revision,
    pub(crate) canary: Canary,
    /// Which step is under way.
    pub(crate) step: usize,
    pub(crate) phase: RolloutPhase,
    /// Why it halted; empty: it did not.
    pub(crate) reason: String,
    /// The resources of the batch as they were before; none: they were not there.
    pub(crate) before: Arc<Batch>,
    /// The services that the batch is of.
    pub(crate) services: BTreeSet<ServiceName>,
    /// The nodes that the batch touches.
    pub(crate) members: BTreeMap<NodeName, Member>,
    /// Who began it.
    pub(crate) who: String,
    pub(crate) begun_unix_ms: u64,
    /// When its phase or step changed last.
    pub(crate) changed_unix_ms: u64,
    /// Nodes may take away more than half of what they serve.
    pub(crate) allow_mass_delete: bool,
    /// What was counted where the batch is not, and before.
    pub(crate) usual: Count,
}

/// One node of a rollout.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Member {
    /// The step that reached it, and the generation that carried the batch there; none: it has what was there before.
    pub(crate) reached: Option<(usize, Generation)>,
    /// What it refused was seen by who let the rollout go on.
    pub(crate) excused: bool,
    /// What was counted there since.
    pub(crate) counted: Count,
    /// Of that, what may halt the rollout.
    charged: Count,
    /// What it had converged on when it spoke last.
    converged: Generation,
    /// What of the batch it refuses.
    refuses: Option<String>,
    /// The generation that it does not take as a whole and is not sent again, and why.
    rejects: Option<String>,
    /// What keeps it from doing as it is told: it is held back until somebody releases it.
    pub(crate) held: Option<String>,
    /// Since when it holds the batch.
    holds_since: Option<u64>,
}

/// What a node says of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// What it has converged on.
    pub(crate) converged: Generation,
    /// What of the batch it refuses, and why.
    pub(crate) refuses: Option<String>,
    /// What it does not take as a whole and is not sent again, and why.
    pub(crate) rejects: Option<String>,
    /// What it holds back until somebody releases it.
    pub(crate) held: Option<String>,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing before somebody says something, or until then, in Unix milliseconds.
    Wait(Option<u64>),
    /// These nodes get the batch, by this step.
    Reach(usize, BTreeSet<NodeName>),
    /// It halts, for this reason.
    Halt(String),
    /// It is over.
    Finish,
}

/// A rollout is not where this can be done with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rollout {revision} is {phase}: {hint}")]
pub(crate) struct NotNow {
    pub(crate) revision: Revision,
    pub(crate) phase: RolloutPhase,
    pub(crate) hint: &'static str,
}

impl Rollout {
    /// Says what is to be done now.
    pub(crate) fn next(&self, now_unix_ms: u64) -> Next {
        if self.phase != RolloutPhase::Running {
            return Next::Wait(None);
        }
        if let Some(reason) = self.trouble() {
            return Next::Halt(reason);
        }
        let missing = self.missing(self.step);
        if !missing.is_empty() {
            return Next::Reach(self.step, missing);
        }
        let Some(held_since) = self.held_since() else {
            return Next::Wait(None);
        };
        let looked = held_since.saturating_add(LOOK_MS);
        if self.is_used() && now_unix_ms < looked {
            return Next::Wait(Some(looked));
        }
        let mut later = self.step + 1..=self.canary.last();
        let next = later.find_map(|step| {
            let missing = self.missing(step);
            (!missing.is_empty()).then_some(Next::Reach(step, missing))
        });
        next.unwrap_or(Next::Finish)
    }

    /// Begins to look at nodes anew whose look has yet to begin: the clock was set back.
    pub(crate) fn set_back(&mut self, now_unix_ms: u64) {
        for member in self.members.values_mut() {
            member.holds_since = member.holds_since.map(|since| since.min(now_unix_ms));
        }
    }

    /// Notes that nodes got the batch by a step, each with the generation that carried it there.
    pub(crate) fn reach(
        &mut self,
        step: usize,
        nodes: impl IntoIterator<Item = (NodeName, Generation)>,
        now_unix_ms: u64,
    ) {
        if step != self.step {
            self.step = step;
            self.changed_unix_ms = now_unix_ms;
        }
        for (name, generation) in nodes {
            if let Some(member) = self.members.get_mut(&name) {
                member.reached = Some((step, generation));
                member.holds_since = None;
            }
        }
    }

    /// Brings it into another phase.
    pub(crate) fn set_phase(&mut self, phase: RolloutPhase, reason: String, now_unix_ms: u64) {
        self.phase = phase;
        self.reason = reason;
        self.changed_unix_ms = now_unix_ms;
        if phase == RolloutPhase::Done {
            self.step = self.canary.last();
        }
    }

    /// Says whether an operator can do this now.
    pub(crate) fn check(&self, steering: Steering) -> Result<(), NotNow> {
        use RolloutPhase::{Done, Halted, Paused, Running, Undone};
        let hint = match (steering, self.phase) {
            (Steering::Pause, Running)
            | (Steering::Resume, Paused | Halted)
            | (Steering::Undo, Running | Paused | Halted) => return Ok(()),
            (Steering::Pause, Paused | Halted) => "it does not go on by itself",
            (Steering::Resume, Running) => "it goes on by itself",
            (_, Done) => "every node has it; roll back to the revision before it instead",
            (_, Undone) => "every node has what was there before",
        };
        Err(NotNow {
            revision: self.revision,
            phase: self.phase,
            hint,
        })
    }

    /// Lets it go on; what made it halt counts no more. Gives the nodes that are to be asked again, since they took nothing.
    pub(crate) fn resume(&mut self, now_unix_ms: u64) -> Vec<NodeName> {
        let mut again = Vec::new();
        for (name, member) in &mut self.members {
            member.charged = Count::default();
            member.excused |= member.refuses.take().is_some();
            if member.rejects.take().is_some() {
                again.push(name.clone());
            }
            member.settle(now_unix_ms);
        }
        self.set_phase(RolloutPhase::Running, String::new(), now_unix_ms);
        again
    }

    /// Notes what a node says. Says whether that changes anything.
    pub(crate) fn heard(&mut self, node: &NodeName, heard: Heard, now_unix_ms: u64) -> bool {
        let Some(member) = self.members.get_mut(node) else {
            return false;
        };
        let before = member.clone();
        let Heard {
            converged,
            refuses,
            rejects,
            held,
        } = heard;
        member.converged = converged;
        member.refuses = refuses.filter(|_| !member.excused);
        member.rejects = rejects;
        member.held = held;
        member.settle(now_unix_ms);
        *member != before
    }

    /// Notes what a node counted in an interval that ends now. What lies partly before the node held the batch, or while it
    /// took it, is left out.
    pub(crate) fn counted(
        &mut self,
        node: &NodeName,
        count: Count,
        interval_ms: u64,
        now_unix_ms: u64,
    ) {
        if !self.phase.is_under_way() {
            return;
        }
        let Some(member) = self.members.get_mut(node) else {
            return;
        };
        if member.reached.is_none() {
            self.usual.add(count);
            return;
        }
        let began = now_unix_ms.saturating_sub(interval_ms);
        if member.holds_since.is_some_and(|since| began >= since) {
            member.counted.add(count);
            member.charged.add(count);
        }
    }

    /// Says whether a node is among those that the batch touches.
    pub(crate) fn has(&self, node: &NodeName) -> bool {
        self.members.contains_key(node)
    }

    /// Takes a node among those that the batch touches, or away from them; one that comes has not been reached.
    pub(crate) fn place(&mut self, node: NodeName, touched: bool) {
        if !touched {
            self.members.remove(&node);
        } else if !self.has(&node) {
            self.members.insert(node, Member::default());
        }
    }

    /// Gives the nodes that were reached.
    pub(crate) fn reached(&self) -> BTreeSet<NodeName> {
        let reached = self.members.iter();
        let reached = reached.filter(|(_, member)| member.reached.is_some());
        reached.map(|(name, _)| name.clone()).collect()
    }

    /// Says whether a node was reached.
    pub(crate) fn has_reached(&self, node: &NodeName) -> bool {
        let member = self.members.get(node);
        member.is_some_and(|member| member.reached.is_some())
    }

    /// Gives the nodes in their order, each with the step that reaches it.
    pub(crate) fn order(&self) -> Vec<(&NodeName, &Member, usize)> {
        let (reached, waiting): (Vec<_>, Vec<_>) = self
            .by_place()
            .into_iter()
            .partition(|(_, member)| member.reached.is_some());
        let (had, all) = (reached.len(), self.members.len());
        let reached = reached.into_iter().map(|(name, member)| {
            let step = member.reached.map_or(0, |(step, _)| step);
            (name, member, step)
        });
        let waiting = waiting
            .into_iter()
            .enumerate()
            .map(|(place, (name, member))| {
                let step = self.canary.step_of(had + place, all);
                (name, member, step.max(self.step))
            });
        let mut order: Vec<_> = reached.chain(waiting).collect();
        // stable: within a step by place
        order.sort_by_key(|(_, _, step)| *step);
        order
    }

    /// Gives the nodes that are to have the batch when a step is over and have not been reached.
    fn missing(&self, step: usize) -> BTreeSet<NodeName> {
        let reached = self.members.values();
        let reached = reached.filter(|member| member.reached.is_some()).count();
        let wanted = self.canary.reach(step, self.members.len());
        if wanted <= reached {
            return BTreeSet::new();
        }
        let order = self.by_place().into_iter();
        let waiting = order.filter(|(_, member)| member.reached.is_none());
        let next = waiting.take(wanted - reached);
        next.map(|(name, _)| name.clone()).collect()
    }

    fn by_place(&self) -> Vec<(&NodeName, &Member)> {
        let mut order: Vec<_> = self.members.iter().collect();
        // stable: nodes of one place, which hardly are, by name
        order.sort_by_cached_key(|(name, _)| place(name, self.revision));
        order
    }

    /// Gives since when every node that was reached holds the batch; none: one does not. Without any, since ever.
    fn held_since(&self) -> Option<u64> {
        let reached = self.members.values();
        let reached = reached.filter(|member| member.reached.is_some());
        reached
            .map(|member| member.holds_since)
            .try_fold(0, |latest, since| Some(since?.max(latest)))
    }

    /// Says whether connections run that could fail.
    fn is_used(&self) -> bool {
        let mut counted = self.members.values().map(|member| member.counted);
        self.usual.connections > 0 || counted.any(|count| count.connections > 0)
    }

    /// Says why it does not go on.
    fn trouble(&self) -> Option<String> {
        let mut charged = Count::default();
        for (name, member) in &self.members {
            if let Some(refused) = member.refuses.as_ref().or(member.rejects.as_ref()) {
                return Some(format!("node {name} refuses {refused}"));
            }
            charged.add(member.charged);
        }
        charged.rise(self.usual)
    }
}

impl Member {
    /// Takes up a node where it was left.
    pub(crate) fn kept(reached: Option<(usize, Generation)>, excused: bool) -> Self {
        Self {
            reached,
            excused,
            ..Self::default()
        }
    }

    /// Says whether it was reached and holds the batch.
    pub(crate) fn holds(&self) -> bool {
        self.holds_since.is_some()
    }

    fn settle(&mut self, now_unix_ms: u64) {
        let brought = self.reached.is_some_and(|(_, by)| self.converged >= by);
        let refuses = self.refuses.is_some() || self.rejects.is_some();
        self.holds_since = match self.holds_since {
            _ if !brought || refuses => None,
            Some(since) => Some(since),
            None => Some(now_unix_ms),
        };
    }
}

/// Gives the place of a node in the order: FNV-1a over the name and the revision, its bits mixed as in SplitMix64, since those
/// of names that differ in their end alone would stay together.
fn place(name: &NodeName, revision: Revision) -> u64 {
    let bytes = name.as_str().bytes().chain(revision.0.to_be_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests;
