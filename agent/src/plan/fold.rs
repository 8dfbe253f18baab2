//! Takes an update into the state a node holds, or refuses it whole.

use std::collections::BTreeSet;

use weir_proto::digest::Digest;
use weir_proto::faults::{Bug, planted};
use weir_proto::model::{Generation, Item, ItemKey};
use weir_proto::state::NodeState;

/// What the node has durably taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// 0: nothing yet.
    pub generation: Generation,
    /// What it must hold.
    pub state: NodeState,
}

/// A node's next state as the controller sends it, all its chunks together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Update {
    /// The generation it leads to.
    pub generation: Generation,
    /// The generation it changes; none: it is the whole state.
    pub base: Option<Generation>,
    /// New and changed items.
    pub upserted: Vec<Item>,
    /// What is no longer to be held.
    pub removed: Vec<ItemKey>,
    /// The digest of the state that results.
    pub digest: Digest,
    /// Which cluster it is of; empty: not known.
    pub cluster: String,
    /// Whether an operator confirmed that much may go.
    pub allow_mass_delete: bool,
}

/// What an update changes in the held state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The generation it leads to.
    pub generation: Generation,
    /// Items that are new or differ.
    pub upserted: Vec<Item>,
    /// Items that go; each is in the held state.
    pub removed: Vec<ItemKey>,
}

/// Why an update is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Refusal {
    #[error("generation {offered} is older than {held}, which this node holds")]
    Stale {
        offered: Generation,
        held: Generation,
    },
    #[error("generation {0} came again with other content")]
    Conflict(Generation),
    #[error("the update changes generation {base}, and this node holds {held}")]
    Base { base: Generation, held: Generation },
    #[error("the state that results has digest {results}, and the update says {says}")]
    Digest { results: Digest, says: Digest },
}

/// Gives what an update changes in what is held; nothing, when it is held already. What is held stays
/// as it is until [`Held::apply`].
pub fn fold(held: &Held, update: Update) -> Result<Option<Change>, Refusal> {
    let Update {
        generation,
        base,
        upserted,
        removed,
        digest: says,
        cluster: _,
        allow_mass_delete: _,
    } = update;
    if generation < held.generation && !planted(Bug::OlderTaken) {
        return Err(Refusal::Stale {
            offered: generation,
            held: held.generation,
        });
    }
    if generation == held.generation {
        return if says == held.state.digest() || planted(Bug::ConflictUnseen) {
            Ok(None)
        } else {
            Err(Refusal::Conflict(generation))
        };
    }
    let removed = match base {
        None => missing_from(&upserted, held),
        Some(base) if base == held.generation || planted(Bug::WrongBase) => removed,
        Some(base) => {
            return Err(Refusal::Base {
                base,
                held: held.generation,
            });
        }
    };
    let change = Change {
        generation,
        upserted: upserted
            .into_iter()
            .filter(|item| held.state.get(&item.key()) != Some(item))
            .collect(),
        removed: removed
            .into_iter()
            .filter(|key| held.state.get(key).is_some())
            .collect(),
    };
    let results = digest_after(held, &change);
    if results == says || planted(Bug::DigestUnchecked) || planted(Bug::WrongBase) {
        Ok(Some(change))
    } else {
        Err(Refusal::Digest { results, says })
    }
}

/// Gives what a snapshot leaves out.
fn missing_from(snapshot: &[Item], held: &Held) -> Vec<ItemKey> {
    let keys: BTreeSet<ItemKey> = snapshot.iter().map(Item::key).collect();
    let all = held.state.items().keys();
    all.filter(|key| !keys.contains(key) && !planted(Bug::SnapshotKeepsRest))
        .copied()
        .collect()
}

/// Gives the digest a change leads to, without making it.
fn digest_after(held: &Held, change: &Change) -> Digest {
    let mut digest = held.state.digest();
    let keys = change.upserted.iter().map(Item::key);
    for key in keys.chain(change.removed.iter().copied()) {
        if let Some(old) = held.state.get(&key) {
            digest.remove(old);
        }
    }
    for item in &change.upserted {
        digest.add(item);
    }
    digest
}

impl Held {
    /// Takes a change in.
    pub fn apply(&mut self, change: Change) {
        let Change {
            generation,
            upserted,
            removed,
        } = change;
        for key in &removed {
            self.state.remove(key);
        }
        for item in upserted {
            self.state.insert(item);
        }
        self.generation = generation;
    }
}

impl Change {
    /// Gives the keys it touches.
    pub fn keys(&self) -> impl Iterator<Item = ItemKey> {
        let upserted = self.upserted.iter().map(Item::key);
        upserted.chain(self.removed.iter().copied())
    }
}

#[cfg(test)]
mod tests;
