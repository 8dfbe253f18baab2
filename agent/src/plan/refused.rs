//! Items that a node does not take, since what they say cannot be: a word of a later version, a number out of range.
//!
//! - They are no part of what the node holds; their neighbours are taken.
//! - What it held under such a key before it goes on serving, until the item is corrected or removed: traffic first.
//! - In the digest counts what was sent, so that the controller, which expects just that, does not send it again.
//! - Another version may be able to take them. It tells a digest that none of them counts in, and is sent them anew.

use std::collections::BTreeMap;

use weir_proto::digest::Digest;
use weir_proto::model::{Item, ItemFailure, ItemKey};

/// Who it is that judges what is sent.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// An item that is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedItem {
    /// Of the item as it was sent.
    pub digest: Digest,
    /// One sentence for people.
    pub cause: String,
    /// The field at fault.
    pub field: String,
    /// The version of the agent that refused it.
    pub version: String,
}

/// All items that are not taken, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefusedItems {
    items: BTreeMap<ItemKey, Counted>,
    /// What they change in the digest of what is held.
    digest: Digest,
}

/// What changes in the items that are not taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefusedChange {
    /// Those that are new or differ.
    pub refused: Vec<(ItemKey, RefusedItem)>,
    /// Those that were corrected or removed; each was there.
    pub gone: Vec<ItemKey>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Counted {
    item: RefusedItem,
    /// Of what is held under the same key all the same.
    held: Digest,
}

impl RefusedItem {
    /// Says whether another version refused it: this one may take it.
    pub fn is_of_another_version(&self) -> bool {
        self.version != VERSION
    }
}

impl RefusedItems {
    /// Puts an item in, over the one that has its key. `held` is what is held under that key.
    pub(super) fn put(&mut self, key: ItemKey, item: RefusedItem, held: Option<&Item>) {
        self.remove(&key);
        let held = held.map(Digest::of).unwrap_or_default();
        self.digest += item.digest;
        self.digest -= held;
        self.items.insert(key, Counted { item, held });
    }

    /// Takes an item out, if it is there.
    pub(super) fn remove(&mut self, key: &ItemKey) {
        if let Some(Counted { item, held }) = self.items.remove(key) {
            self.digest -= item.digest;
            self.digest += held;
        }
    }

    /// Gives what they change in the digest of what is held.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// Gives the item with a key.
    pub fn get(&self, key: &ItemKey) -> Option<&RefusedItem> {
        self.items.get(key).map(|counted| &counted.item)
    }

    /// Gives all of them in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&ItemKey, &RefusedItem)> {
        self.items.iter().map(|(key, counted)| (key, &counted.item))
    }

    /// Gives how many there are.
    pub fn count(&self) -> u64 {
        self.items.len() as u64
    }

    /// Says whether one was refused by another version.
    pub fn has_another_versions(&self) -> bool {
        self.items
            .values()
            .any(|counted| counted.item.is_of_another_version())
    }

    /// Gives what to tell of them, `most` at most.
    pub fn failures(&self, most: usize) -> Vec<ItemFailure> {
        let told = self.iter().take(most).map(|(key, item)| ItemFailure {
            key: *key,
            // it was not the kernel that refused
            errno: 0,
            cause: item.cause.clone(),
            field: item.field.clone(),
        });
        told.collect()
    }
}
