//! What one node must hold, counted in generations, and how a node that is behind catches up. PURE
//!
//! Services share VIPs and loopback entries, so each is held as long as one service claims it. A change is
//! prepared, made durable by somebody else, and then taken: preparing changes nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use weir_proto::digest::Digest;
use weir_proto::model::{Generation, Item, ItemKey};
use weir_proto::state::NodeState;

use super::compile::Part;

/// How many generations a node may be behind and still get a delta. A node that is away for a rolling
/// restart misses a few; one that misses a thousand is better served whole.
const LONGEST_HISTORY: usize = 1_024;
/// How many changed keys the history of one node holds: about 5 MiB at most, and a delta of so many items is
/// no cheaper than the snapshot of most nodes.
const MOST_CHANGES: usize = 65_536;

/// One node's state, its generation, and how it came to be.
#[derive(Debug, Default)]
pub(crate) struct View {
    state: NodeState,
    /// How many services beyond the first claim an item, where more than one does.
    shared: BTreeMap<ItemKey, u32>,
    generation: Generation,
    history: VecDeque<Step>,
    /// How many keys the history holds.
    changes: usize,
}

/// A state the view was in after a change, and the keys in which it differs from the one before.
#[derive(Debug)]
struct Step {
    digest: Digest,
    keys: Vec<ItemKey>,
}

/// A change that could be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prepared {
    /// What each item becomes; none: it goes.
    changed: BTreeMap<ItemKey, Option<Item>>,
    /// How many services claim each item that one service more or less claims.
    claims: BTreeMap<ItemKey, u32>,
    generation: Generation,
    digest: Digest,
}

/// What brings a node that holds some state to the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CatchUp {
    /// It holds what it must.
    Nothing,
    /// These changes of what it holds.
    Delta {
        /// Items to hold, over those that have their keys.
        upserted: Vec<Item>,
        /// Items not to hold.
        removed: Vec<ItemKey>,
    },
    /// All of it; what is not in it is not to be held.
    Snapshot(Vec<Item>),
}

#[derive(Debug, Clone)]
struct Slot {
    item: Option<Item>,
    claims: u32,
}

impl View {
    /// Takes up a view where it was left: with what its services claim, one after the other, and the
    /// generation and digest it had. Content that is not what it was gets a generation of its own.
    pub(crate) fn restore<'a>(
        claims: impl Iterator<Item = &'a Item>,
        left: Option<(Generation, Digest)>,
    ) -> Self {
        let mut view = Self::default();
        for item in claims {
            let key = item.key();
            if view.state.get(&key).is_some() {
                *view.shared.entry(key).or_default() += 1;
            } else {
                view.state.insert(item.clone());
            }
        }
        let (generation, digest) = left.unwrap_or_default();
        view.generation = if view.digest() == digest {
            generation
        } else {
            generation.next()
        };
        view.remember(Vec::new());
        view
    }

    /// Gives the items and their digest.
    pub(crate) fn state(&self) -> &NodeState {
        &self.state
    }

    /// Gives the digest of the items.
    pub(crate) fn digest(&self) -> Digest {
        self.state.digest()
    }

    /// Gives the generation of the state.
    pub(crate) fn generation(&self) -> Generation {
        self.generation
    }

    /// Says whether a node that holds `held` holds what it must; one that holds nothing holds the empty state.
    pub(crate) fn is(&self, held: Option<Digest>) -> bool {
        held.unwrap_or_default() == self.digest()
    }

    /// Lifts the generation, if it is lower. The state stays what it is: a generation may be passed over.
    pub(crate) fn raise(&mut self, least: Generation) {
        self.generation = self.generation.max(least);
    }

    /// Works out what a change of what services claim does to the view; none: nothing.
    pub(crate) fn prepare(&self, parts: &[Part<'_>]) -> Option<Prepared> {
        let mut slots: BTreeMap<ItemKey, Slot> = BTreeMap::new();
        // an item may pass from one service to another in one change: let go first, then claim
        for key in parts.iter().flat_map(|part| &part.released) {
            let slot = slots.entry(*key).or_insert_with(|| self.slot(key));
            slot.claims = slot.claims.saturating_sub(1);
            if slot.claims == 0 {
                slot.item = None;
            }
        }
        for item in parts.iter().flat_map(|part| &part.claimed) {
            let key = item.key();
            let slot = slots.entry(key).or_insert_with(|| self.slot(&key));
            slot.claims += 1;
            slot.item = Some((*item).clone());
        }
        for item in parts.iter().flat_map(|part| &part.edited) {
            let key = item.key();
            let slot = slots.entry(key).or_insert_with(|| self.slot(&key));
            slot.item = Some((*item).clone());
        }
        if slots.is_empty() {
            return None;
        }
        let mut prepared = Prepared {
            changed: BTreeMap::new(),
            claims: BTreeMap::new(),
            generation: self.generation,
            digest: self.digest(),
        };
        for (key, slot) in slots {
            let old = self.state.get(&key);
            prepared.claims.insert(key, slot.claims);
            if old != slot.item.as_ref() {
                old.inspect(|item| prepared.digest.remove(item));
                slot.item.iter().for_each(|item| prepared.digest.add(item));
                prepared.changed.insert(key, slot.item);
            }
        }
        if !prepared.changed.is_empty() {
            prepared.generation = self.generation.next();
        }
        Some(prepared)
    }

    /// Takes a change that was prepared on this very view.
    pub(crate) fn take(&mut self, prepared: Prepared) {
        let Prepared {
            changed,
            claims,
            generation,
            digest,
        } = prepared;
        for (key, claims) in claims {
            match claims {
                0 | 1 => {
                    self.shared.remove(&key);
                }
                more => {
                    self.shared.insert(key, more - 1);
                }
            }
        }
        if changed.is_empty() {
            return;
        }
        if self.history.is_empty() {
            self.remember(Vec::new());
        }
        let keys = changed.keys().copied().collect();
        for (key, item) in changed {
            match item {
                Some(item) => self.state.insert(item),
                None => {
                    self.state.remove(&key);
                }
            }
        }
        debug_assert_eq!(self.digest(), digest);
        self.generation = generation;
        self.remember(keys);
    }

    /// Works out what brings a node that holds `held` to the view. The cost of a delta is that of the
    /// changes since, whatever the size of the state. What is held is known by its digest alone: it names
    /// the content whoever counted its generation.
    pub(crate) fn catch_up(&self, held: Option<Digest>) -> CatchUp {
        if self.is(held) {
            return CatchUp::Nothing;
        }
        let Some(held) = held else {
            return self.snapshot();
        };
        let Some(base) = self.history.iter().rposition(|step| step.digest == held) else {
            return self.snapshot();
        };
        let since = self.history.iter().skip(base + 1);
        let keys: BTreeSet<ItemKey> = since.flat_map(|step| &step.keys).copied().collect();
        let mut upserted = Vec::new();
        let mut removed = Vec::new();
        for key in keys {
            match self.state.get(&key) {
                Some(item) => upserted.push(item.clone()),
                None => removed.push(key),
            }
        }
        CatchUp::Delta { upserted, removed }
    }

    /// Gives all of it.
    pub(crate) fn snapshot(&self) -> CatchUp {
        CatchUp::Snapshot(self.state.items().values().cloned().collect())
    }

    fn slot(&self, key: &ItemKey) -> Slot {
        let item = self.state.get(key).cloned();
        let claims = match item {
            Some(_) => 1 + self.shared.get(key).copied().unwrap_or_default(),
            None => 0,
        };
        Slot { item, claims }
    }

    fn remember(&mut self, keys: Vec<ItemKey>) {
        self.changes += keys.len();
        self.history.push_back(Step {
            digest: self.digest(),
            keys,
        });
        while self.history.len() > LONGEST_HISTORY || self.changes > MOST_CHANGES {
            let Some(oldest) = self.history.pop_front() else {
                break;
            };
            self.changes -= oldest.keys.len();
        }
    }
}

impl Prepared {
    /// Gives the generation the change makes, with the digest of the state that results; none: only who
    /// claims what changes, which nodes do not see.
    pub(crate) fn seen(&self) -> Option<(Generation, Digest)> {
        (!self.changed.is_empty()).then_some((self.generation, self.digest))
    }
}

#[cfg(test)]
mod tests;
