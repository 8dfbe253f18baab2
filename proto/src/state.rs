//! What one node must hold, as a set of items with its digest kept in step.

use std::collections::BTreeMap;
use std::mem;

use crate::digest::Digest;
use crate::model::{Item, ItemKey};

/// The items of one node by key, and their digest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeState {
    items: BTreeMap<ItemKey, Item>,
    digest: Digest,
}

impl NodeState {
    /// Puts an item in, over the one that has its key.
    pub fn insert(&mut self, item: Item) {
        self.digest.add(&item);
        if let Some(old) = self.items.insert(item.key(), item) {
            self.digest.remove(&old);
        }
    }

    /// Takes an item out. Gives it, if it was there.
    pub fn remove(&mut self, key: &ItemKey) -> Option<Item> {
        let old = self.items.remove(key)?;
        self.digest.remove(&old);
        Some(old)
    }

    /// Takes no more memory than the items need: the nodes of a map that grew item by item are half empty, those of one
    /// that is made of all of them are full.
    pub fn pack(&mut self) {
        self.items = mem::take(&mut self.items).into_iter().collect();
    }

    /// Gives the item with a key.
    pub fn get(&self, key: &ItemKey) -> Option<&Item> {
        self.items.get(key)
    }

    /// Gives the items in the order of their keys.
    pub fn items(&self) -> &BTreeMap<ItemKey, Item> {
        &self.items
    }

    /// Gives the digest of the items.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl FromIterator<Item> for NodeState {
    fn from_iter<I: IntoIterator<Item = Item>>(items: I) -> Self {
        let mut state = Self::default();
        for item in items {
            state.insert(item);
        }
        state
    }
}
