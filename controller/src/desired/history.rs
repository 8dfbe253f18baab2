//! The last writes of operators, and the way back to what was before them. PURE
//!
//! Each write keeps what every resource that it changed was before. Whoever goes back to a revision undoes the writes after
//! it, the newest first, so that of each resource what it was before the oldest of them is left.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use weir_proto::model::{DrainTarget, Kind, Node, Resource, ResourceRef, Revision};

use super::Outcome;
use super::resources::{Batch, Resources};

/// How many writes are kept, as the operators' language says.
const MOST_WRITES: usize = 100;
/// How many bytes of what was before they hold together: enough for a hundred writes of a service of 10,000 backends, each of
/// which takes some 30 bytes. Of a write beyond that it is known that it was, and nobody goes back past it.
const MOST_BYTES: usize = 64 << 20;

/// What is done by a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// An agent says where its node is, which is no part of the history: a fleet that registers pushes nothing out of it.
    Register,
    Apply,
    Delete,
    Drain,
    Undrain,
    /// The resources go back to what they were at a revision.
    Rollback(Revision),
    /// Resources are brought to the nodes step by step.
    Rollout,
    /// What the rollout of a revision brought is taken back.
    Undo(Revision),
}

/// One write, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Past {
    /// The cluster's revision after it.
    pub(crate) revision: Revision,
    /// Unix milliseconds.
    pub(crate) unix_ms: u64,
    /// Who wrote.
    pub(crate) who: String,
    /// What was done.
    pub(crate) what: String,
    /// What became of each resource that changed.
    pub(crate) changes: Vec<(ResourceRef, Outcome)>,
    /// What was drained, or is no longer.
    pub(crate) drains: Vec<DrainTarget>,
    /// What each resource that was there was before, as the store writes it; none: it was too much to keep.
    pub(crate) before: Option<Before>,
}

/// Resources as the store writes them.
pub(crate) type Before = BTreeMap<ResourceRef, Arc<[u8]>>;

/// What resources were, as the store writes them; none: they were not there.
type Undone<'a> = BTreeMap<&'a ResourceRef, Option<&'a Arc<[u8]>>>;

/// The last writes.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The oldest first.
    writes: VecDeque<Arc<Past>>,
    /// How much of what was before is kept.
    bytes: usize,
}

/// What becomes of kept writes; none: it goes.
pub(crate) type HistoryBatch = BTreeMap<Revision, Option<Arc<Past>>>;

impl What {
    /// Says whether operators find it in the history.
    pub(crate) fn is_kept(self) -> bool {
        match self {
            Self::Register => false,
            Self::Apply
            | Self::Delete
            | Self::Drain
            | Self::Undrain
            | Self::Rollback(_)
            | Self::Rollout
            | Self::Undo(_) => true,
        }
    }
}

/// As the history has it.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register => f.write_str("register"),
            Self::Apply => f.write_str("apply"),
            Self::Delete => f.write_str("delete"),
            Self::Drain => f.write_str("drain"),
            Self::Undrain => f.write_str("undrain"),
            Self::Rollout => f.write_str("rollout"),
            Self::Undo(rollout) => write!(f, "undo of rollout {rollout}"),
            Self::Rollback(to) => write!(f, "rollback to {to}"),
        }
    }
}

impl Past {
    fn bytes(&self) -> usize {
        let before = self.before.iter().flat_map(BTreeMap::values);
        before.map(|resource| resource.len()).sum()
    }
}

impl History {
    /// Takes up what was kept.
    pub(crate) fn restore(kept: BTreeMap<Revision, Past>) -> Self {
        let mut history = Self::default();
        for past in kept.into_values() {
            history.push(past);
        }
        history
    }

    /// Adds the newest write. Gives what that changes of what is kept: the write, and those that there is no more room for.
    pub(crate) fn push(&mut self, past: Past) -> HistoryBatch {
        self.push_within(past, MOST_BYTES)
    }

    fn push_within(&mut self, past: Past, most_bytes: usize) -> HistoryBatch {
        let mut batch = HistoryBatch::new();
        let past = Arc::new(past);
        batch.insert(past.revision, Some(Arc::clone(&past)));
        self.bytes += past.bytes();
        self.writes.push_back(past);
        while self.writes.len() > MOST_WRITES {
            let Some(oldest) = self.writes.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes();
            batch.insert(oldest.revision, None);
        }
        for past in &mut self.writes {
            if self.bytes <= most_bytes {
                break;
            }
            if past.bytes() == 0 {
                continue;
            }
            self.bytes -= past.bytes();
            *past = Arc::new(Past {
                before: None,
                ..Past::clone(past)
            });
            batch.insert(past.revision, Some(Arc::clone(past)));
        }
        batch
    }

    /// Gives the last writes, the newest first.
    pub(crate) fn last(&self, most: usize) -> impl Iterator<Item = &Arc<Past>> {
        self.writes.iter().rev().take(most)
    }

    /// Undoes the writes after a revision: gives what each resource that they changed was at it; none: it was not there. Gives
    /// the oldest revision that can be gone back to when that is later, or this one is yet to come.
    pub(crate) fn undone(&self, to: Revision, newest: Revision) -> Result<Undone<'_>, Revision> {
        let oldest = self.oldest(newest);
        if to < oldest || to > newest {
            return Err(oldest);
        }
        let mut undone = BTreeMap::new();
        let later = self.writes.iter().rev();
        for past in later.take_while(|past| past.revision > to) {
            for (reference, _) in &past.changes {
                let before = past
                    .before
                    .as_ref()
                    .and_then(|before| before.get(reference));
                undone.insert(reference, before);
            }
        }
        Ok(undone)
    }

    /// Gives the oldest revision that can be gone back to: the one before the oldest write of which all is known, and of
    /// every later one too.
    fn oldest(&self, newest: Revision) -> Revision {
        let known = self.writes.iter().rev();
        let known = known.take_while(|past| past.before.is_some());
        known
            .last()
            .map_or(newest, |past| Revision(past.revision.0 - 1))
    }
}

/// Makes a batch of what resources are to be again. Which nodes there are is left alone: their agents register them, which is
/// no part of the history, so one that was deleted may have come after that revision, too. One that came since stays, and one
/// that was deleted stays away until its agent registers it or somebody applies it. Of those that are there the labels and
/// settings go back; their addresses their agents know best.
pub(crate) fn going_back(
    now: &Resources,
    before: impl IntoIterator<Item = (ResourceRef, Option<Resource>)>,
) -> Batch {
    let again = |(reference, before): (ResourceRef, Option<Resource>)| {
        let there = now.get(&reference).is_some();
        let resource = match before {
            Some(Resource::Node(node)) => Some(Resource::Node(where_it_is(now, node)?)),
            Some(resource @ (Resource::Service(_) | Resource::BackendSet(_))) => Some(resource),
            None if there && reference.kind != Kind::Node => None,
            None => return None,
        };
        Some((reference, resource))
    };
    before.into_iter().filter_map(again).collect()
}

/// Gives a node as it was, where it is now; none: it is not there.
fn where_it_is(now: &Resources, before: Node) -> Option<Node> {
    let addresses = now.node(&before.name)?.addresses.clone();
    Some(Node {
        addresses,
        ..before
    })
}

#[cfg(test)]
mod tests;
