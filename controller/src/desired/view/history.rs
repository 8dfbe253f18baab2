//! The states that something was in, so that who holds one of them can be told what changed since. PURE
//!
//! States are numbered as they come; a state is found by its digest.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use weir_proto::digest::Digest;
use weir_proto::model::ItemKey;

/// How many changes a node may be behind and still get a delta. A node that is away for a rolling
/// restart misses a few; one that misses a thousand is better served whole.
pub(super) const LONGEST_HISTORY: usize = 1_024;
/// How many changed keys a history holds: about 5 MiB at most, and a delta of so many items is
/// no cheaper than the snapshot of most nodes.
pub(super) const MOST_CHANGES: usize = 65_536;

/// States, the newest last, and the keys in which each differs from the one before.
#[derive(Debug)]
pub(super) struct History {
    steps: VecDeque<Step>,
    /// The number of the oldest state.
    first: u64,
    /// The number of the newest state with a digest.
    places: BTreeMap<Digest, u64>,
    /// How many keys there are.
    changes: usize,
}

#[derive(Debug)]
struct Step {
    digest: Digest,
    keys: Arc<[ItemKey]>,
}

impl History {
    /// Begins with a state.
    pub(super) fn new(digest: Digest) -> Self {
        Self {
            steps: VecDeque::from([Step {
                digest,
                keys: Arc::new([]),
            }]),
            first: 0,
            places: BTreeMap::from([(digest, 0)]),
            changes: 0,
        }
    }

    /// Gives the number of the newest state.
    pub(super) fn last(&self) -> u64 {
        self.first + (self.steps.len() as u64).saturating_sub(1)
    }

    /// Counts the keys.
    pub(super) fn changes(&self) -> usize {
        self.changes
    }

    /// Goes on to a state.
    pub(super) fn push(&mut self, digest: Digest, keys: Arc<[ItemKey]>) {
        self.changes += keys.len();
        self.steps.push_back(Step { digest, keys });
        self.places.insert(digest, self.last());
        while self.steps.len() > 1
            && (self.steps.len() > LONGEST_HISTORY || self.changes > MOST_CHANGES)
        {
            self.forget_oldest();
        }
    }

    /// Gives the number of the newest state with a digest; none: it is not known, or no longer.
    pub(super) fn place(&self, digest: Digest) -> Option<u64> {
        self.places.get(&digest).copied()
    }

    /// Gives the keys in which two states may differ; none: one of them is no longer known.
    pub(super) fn between(&self, one: u64, other: u64) -> Option<impl Iterator<Item = &ItemKey>> {
        let (from, to) = (one.min(other), one.max(other));
        if from < self.first || to > self.last() {
            return None;
        }
        let skipped = usize::try_from(from - self.first + 1).ok()?;
        let taken = usize::try_from(to - from).ok()?;
        let steps = self.steps.iter().skip(skipped).take(taken);
        Some(steps.flat_map(|step| step.keys.iter()))
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.steps.pop_front() else {
            return;
        };
        self.changes -= oldest.keys.len();
        if self.places.get(&oldest.digest) == Some(&self.first) {
            self.places.remove(&oldest.digest);
        }
        self.first += 1;
        // what led to the oldest state leads from nowhere
        if let Some(next) = self.steps.front_mut() {
            self.changes -= next.keys.len();
            next.keys = Arc::new([]);
        }
    }
}

#[cfg(test)]
impl History {
    /// Counts the states.
    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }
}
