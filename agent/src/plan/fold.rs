//! Takes an update into the state a node holds, or refuses it whole.

use std::collections::BTreeMap;

use weir_proto::digest::Digest;
use weir_proto::faults::{Bug, planted};
use weir_proto::model::{Generation, Item, ItemKey};
use weir_proto::state::NodeState;

use super::{RefusedChange, RefusedItem, RefusedItems};

/// What the node has durably taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// 0: nothing yet.
    pub generation: Generation,
    /// What it must hold, as far as it can be taken.
    pub state: NodeState,
    /// What of that generation is not taken.
    pub refused: RefusedItems,
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
    /// New and changed items that cannot be taken.
    pub refused: Vec<(ItemKey, RefusedItem)>,
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

/// What an update does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folded {
    /// To what is held.
    pub change: Change,
    /// To what is not taken.
    pub refused: RefusedChange,
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
pub fn fold(held: &Held, update: Update) -> Result<Option<Folded>, Refusal> {
    let Update {
        generation,
        base,
        upserted,
        refused,
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
        return if says == held.digest() || planted(Bug::ConflictUnseen) {
            Ok(None)
        } else {
            Err(Refusal::Conflict(generation))
        };
    }
    if let Some(base) = base.filter(|base| *base != held.generation && !planted(Bug::WrongBase)) {
        return Err(Refusal::Base {
            base,
            held: held.generation,
        });
    }
    // of what is said twice the last word counts, and a removal is said before all else
    let mut said: BTreeMap<ItemKey, Said> = BTreeMap::new();
    said.extend(removed.into_iter().map(|key| (key, Said::Gone)));
    let upserted = upserted.into_iter();
    said.extend(upserted.map(|item| (item.key(), Said::Held(item))));
    let refused = refused.into_iter();
    said.extend(refused.map(|(key, item)| (key, Said::Refused(item))));
    if base.is_none() && !planted(Bug::SnapshotKeepsRest) {
        let refused = held.refused.iter().map(|(key, _)| key);
        for key in held.state.items().keys().chain(refused) {
            said.entry(*key).or_insert(Said::Gone);
        }
    }
    let (folded, results) = compared(held, generation, said);
    if results == says || planted(Bug::DigestUnchecked) || planted(Bug::WrongBase) {
        Ok(Some(folded))
    } else {
        Err(Refusal::Digest { results, says })
    }
}

/// What is said of a key.
enum Said {
    Gone,
    Held(Item),
    Refused(RefusedItem),
}

/// Gives what of all that is said is news, and the digest that it leads to.
fn compared(
    held: &Held,
    generation: Generation,
    said: BTreeMap<ItemKey, Said>,
) -> (Folded, Digest) {
    let mut folded = Folded {
        change: Change {
            generation,
            ..Change::default()
        },
        refused: RefusedChange::default(),
    };
    let mut digest = held.digest();
    for (key, said) in said {
        let (item, refused) = (held.state.get(&key), held.refused.get(&key));
        // of the two the refused one counts
        match (item, refused) {
            (_, Some(refused)) => digest -= refused.digest,
            (Some(item), None) => digest.remove(item),
            (None, None) => {}
        }
        match &said {
            Said::Gone => {}
            Said::Held(item) => digest.add(item),
            Said::Refused(refused) => digest += refused.digest,
        }
        match said {
            Said::Refused(next) => {
                if refused != Some(&next) {
                    folded.refused.refused.push((key, next));
                }
                continue;
            }
            Said::Held(next) if item != Some(&next) => folded.change.upserted.push(next),
            Said::Held(_) => {}
            Said::Gone => folded.change.removed.extend(item.map(|_| key)),
        }
        folded.refused.gone.extend(refused.map(|_| key));
    }
    (folded, digest)
}

impl Held {
    /// Gives the digest of the generation as the controller has it.
    pub fn digest(&self) -> Digest {
        let mut digest = self.state.digest();
        digest += self.refused.digest();
        digest
    }

    /// Gives the digest to tell the controller: where another version refused something, that of what is held alone, so that
    /// it is sent again.
    pub fn told_digest(&self) -> Digest {
        match self.refused.has_another_versions() {
            true => self.state.digest(),
            false => self.digest(),
        }
    }

    /// Takes in what an update does.
    pub fn take(&mut self, folded: Folded) {
        let Folded { change, refused } = folded;
        for key in &refused.gone {
            self.refused.remove(key);
        }
        self.apply(change);
        for (key, item) in refused.refused {
            self.refuse(key, item);
        }
    }

    /// Notes that an item is not taken. What is held under its key stays.
    pub fn refuse(&mut self, key: ItemKey, item: RefusedItem) {
        self.refused.put(key, item, self.state.get(&key));
    }

    /// Takes a change in.
    pub fn apply(&mut self, change: Change) {
        let Change {
            generation,
            upserted,
            removed,
        } = change;
        // costs no more than the change does
        let packs = upserted.len() > self.state.items().len();
        for key in &removed {
            self.state.remove(key);
        }
        for item in upserted {
            self.state.insert(item);
        }
        if packs {
            self.state.pack();
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
