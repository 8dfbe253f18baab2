//! What nodes that hold the same services in the same versions hold alike, and how that changes. PURE

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_proto::digest::Digest;
use weir_proto::model::{Item, ItemKey};
use weir_proto::state::NodeState;

use super::super::compile::Part;
use super::history::History;

/// Items that services want of every node that holds them, how many services want each, and how it came to be.
#[derive(Debug)]
pub(super) struct Common {
    state: NodeState,
    /// How many services beyond the first claim an item, where more than one does.
    shared: BTreeMap<ItemKey, u32>,
    history: History,
}

/// A change of what is common that could be taken.
#[derive(Debug, Clone)]
pub(super) struct CommonChange {
    /// What each item becomes; none: it goes.
    changed: BTreeMap<ItemKey, Option<Item>>,
    /// How many services claim each item that one service more or less claims.
    claims: BTreeMap<ItemKey, u32>,
    /// Of what results.
    digest: Digest,
    keys: Arc<[ItemKey]>,
    /// The keys that come or go.
    turned: Vec<ItemKey>,
}

#[derive(Debug, Clone)]
struct Slot {
    item: Option<Item>,
    claims: u32,
}

impl Common {
    /// Begins with what services claim, one after the other.
    pub(super) fn new<'a>(claims: impl Iterator<Item = &'a Item>) -> Self {
        let mut state = NodeState::default();
        let mut shared: BTreeMap<ItemKey, u32> = BTreeMap::new();
        for item in claims {
            let key = item.key();
            if state.get(&key).is_some() {
                *shared.entry(key).or_default() += 1;
            } else {
                state.insert(item.clone());
            }
        }
        let history = History::new(state.digest());
        Self {
            state,
            shared,
            history,
        }
    }

    /// Gives the same, with a history that begins here.
    pub(super) fn branch(&self) -> Self {
        Self {
            state: self.state.clone(),
            shared: self.shared.clone(),
            history: History::new(self.digest()),
        }
    }

    pub(super) fn state(&self) -> &NodeState {
        &self.state
    }

    pub(super) fn digest(&self) -> Digest {
        self.state.digest()
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    pub(super) fn into_history(self) -> History {
        self.history
    }

    pub(super) fn holds(&self, key: &ItemKey) -> bool {
        self.state.get(key).is_some()
    }

    /// Works out what a change of what services claim does.
    pub(super) fn prepare(&self, parts: &[Part<'_>]) -> CommonChange {
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
        let mut change = CommonChange {
            changed: BTreeMap::new(),
            claims: BTreeMap::new(),
            digest: self.digest(),
            keys: Arc::new([]),
            turned: Vec::new(),
        };
        for (key, slot) in slots {
            let old = self.state.get(&key);
            change.claims.insert(key, slot.claims);
            if old != slot.item.as_ref() {
                old.inspect(|item| change.digest.remove(item));
                slot.item.iter().for_each(|item| change.digest.add(item));
                if old.is_some() != slot.item.is_some() {
                    change.turned.push(key);
                }
                change.changed.insert(key, slot.item);
            }
        }
        change.keys = change.changed.keys().copied().collect();
        change
    }

    /// Takes a change that was prepared on just this.
    pub(super) fn take(&mut self, change: CommonChange) {
        let CommonChange {
            changed,
            claims,
            digest,
            keys,
            turned: _,
        } = change;
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
        for (key, item) in changed {
            match item {
                Some(item) => self.state.insert(item),
                None => {
                    self.state.remove(&key);
                }
            }
        }
        debug_assert_eq!(self.digest(), digest);
        self.history.push(self.digest(), keys);
    }

    fn slot(&self, key: &ItemKey) -> Slot {
        let item = self.state.get(key).cloned();
        let claims = match item {
            Some(_) => 1 + self.shared.get(key).copied().unwrap_or_default(),
            None => 0,
        };
        Slot { item, claims }
    }
}

impl CommonChange {
    /// Gives the digest of what results.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// Gives the keys in which what results differs.
    pub(super) fn keys(&self) -> &Arc<[ItemKey]> {
        &self.keys
    }

    /// Gives what a key becomes, nothing if it goes; none: it stays as it is.
    pub(super) fn becomes(&self, key: &ItemKey) -> Option<Option<&Item>> {
        self.changed.get(key).map(Option::as_ref)
    }

    /// Gives the keys that come or go.
    pub(super) fn turned(&self) -> &[ItemKey] {
        &self.turned
    }

    /// Says whether a key is held after the change of `before`.
    pub(super) fn holds(&self, before: &Common, key: &ItemKey) -> bool {
        match self.changed.get(key) {
            Some(item) => item.is_some(),
            None => before.holds(key),
        }
    }
}
