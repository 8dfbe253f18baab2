//! What several nodes are sent alike. PURE

use std::sync::{Arc, OnceLock};

use weir_proto::model::{Item, ItemKey};

/// Items to hold and items not to hold, each in the order of their keys, and the bytes they are on the wire once somebody has
/// worked these out.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    upserted: Vec<Item>,
    removed: Vec<ItemKey>,
    encoded: OnceLock<Vec<Arc<[u8]>>>,
}

impl Shared {
    /// Takes items, and keys, each in their order.
    pub(crate) fn new(upserted: Vec<Item>, removed: Vec<ItemKey>) -> Self {
        Self {
            upserted,
            removed,
            encoded: OnceLock::new(),
        }
    }

    /// Gives the items to hold.
    pub(crate) fn upserted(&self) -> &[Item] {
        &self.upserted
    }

    /// Gives what is not to be held.
    pub(crate) fn removed(&self) -> &[ItemKey] {
        &self.removed
    }

    /// Gives the bytes, which whoever asks first works out, and the others wait for.
    pub(crate) fn encoded(
        &self,
        encode: impl FnOnce(&[Item], &[ItemKey]) -> Vec<Arc<[u8]>>,
    ) -> &[Arc<[u8]>] {
        let encode = || encode(&self.upserted, &self.removed);
        self.encoded.get_or_init(encode)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.upserted.is_empty() && self.removed.is_empty()
    }

    pub(super) fn removes(&self, key: &ItemKey) -> bool {
        self.removed.binary_search(key).is_ok()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = ItemKey> {
        let upserted = self.upserted.iter().map(Item::key);
        upserted.chain(self.removed.iter().copied())
    }
}

/// What is said counts, not whether its bytes are known.
impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        self.upserted == other.upserted && self.removed == other.removed
    }
}

impl Eq for Shared {}
