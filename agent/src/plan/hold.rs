//! What a node accepted, and what it serves while it holds something back.
//!
//! An update that would take away more than half of the virtual services that are served, and more than
//! [`MOST_DROPPED`], is accepted and not applied, and so is everything after it, until an operator confirms it or the
//! wanted state no longer drops so much. The same holds of an update of another cluster that would take away any: a
//! controller that lost its store is another cluster.

use std::collections::BTreeMap;

use weir_proto::faults::{self, Bug};
use weir_proto::model::{self, Generation, Item, ItemKey};
use weir_proto::state::NodeState;

use super::{Change, Folded, Held, Refusal, RefusedChange, Update, fold};

/// So many services may go at once whatever their share: a node with a handful of services is changed by hand.
const MOST_DROPPED: u64 = 10;

/// What a node holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keeping {
    /// What it accepted last.
    pub accepted: Held,
    /// The cluster whose state is served; empty: not known.
    pub cluster: String,
    /// What it serves otherwise; none: it serves what it accepted.
    pub hold: Option<Hold>,
    /// Whether what it accepted last may have been something else: its journal was damaged. It says that it holds nothing,
    /// and takes nothing out of the kernel.
    pub unsure: bool,
}

/// What is held back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hold {
    /// What to tell of it.
    pub told: model::Hold,
    /// The generation that is served.
    pub served: Generation,
    /// The cluster of what is held back.
    pub cluster: String,
    /// What is served where that is not what is accepted, or was not once; none: it is not served.
    pub kept: BTreeMap<ItemKey, Option<Item>>,
}

/// What accepting an update, or releasing a hold, does; nothing is done yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taking {
    /// What changes in what is accepted; none: a hold is released.
    pub accepted: Option<Change>,
    /// What changes in what is not taken; nothing, unless something is accepted.
    pub refused: RefusedChange,
    /// What changes in what is served; none: it is held back.
    pub served: Option<Change>,
    /// What becomes of the hold.
    pub hold: HoldChange,
    /// The cluster served from then on, where that changes.
    pub cluster: Option<String>,
    /// Whether a doubt about what was accepted is over.
    pub sure: bool,
}

/// What becomes of a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldChange {
    /// There is none, before and after.
    None,
    /// There is one: its new head, and what of `kept` is new.
    Held(Hold),
    /// It is over; these keys were in it.
    Over(Vec<ItemKey>),
}

impl From<Change> for Taking {
    /// Accepts a change and serves it.
    fn from(change: Change) -> Self {
        Self {
            accepted: Some(change.clone()),
            refused: RefusedChange::default(),
            served: Some(change),
            hold: HoldChange::None,
            cluster: None,
            sure: false,
        }
    }
}

impl Keeping {
    /// Gives the item that is served under a key.
    pub fn served(&self, key: &ItemKey) -> Option<&Item> {
        match self.hold.as_ref().and_then(|hold| hold.kept.get(key)) {
            Some(kept) => kept.as_ref(),
            None => self.accepted.state.get(key),
        }
    }

    /// Gives all that is served.
    pub fn serving(&self) -> Held {
        let mut served = self.accepted.clone();
        if let Some(hold) = &self.hold {
            for (key, kept) in &hold.kept {
                match kept {
                    Some(item) => served.state.insert(item.clone()),
                    None => {
                        served.state.remove(key);
                    }
                }
            }
            served.generation = hold.served;
        }
        served
    }

    /// Folds an update, and gives what it does; nothing, when it is held already.
    pub fn take(&self, update: Update, now_unix_ms: u64) -> Result<Option<Taking>, Refusal> {
        let known = self.hold.as_ref();
        // whose it is: as the update says, or as what came before it
        let of = match (update.cluster.as_str(), known) {
            ("", Some(hold)) => hold.cluster.clone(),
            ("", None) => self.cluster.clone(),
            (cluster, _) => cluster.to_owned(),
        };
        let confirmed = update.allow_mass_delete;
        let Folded { change, refused } = match fold(&self.accepted, update)? {
            Some(folded) => folded,
            // what was left is what is wanted: the doubt is over
            None if self.unsure => Folded {
                change: Change {
                    generation: self.accepted.generation,
                    ..Change::default()
                },
                refused: RefusedChange::default(),
            },
            None => return Ok(None),
        };
        let other = !self.cluster.is_empty() && of != self.cluster;
        let (serving, over) = self.let_go(&change);
        let cause = match confirmed || faults::planted(Bug::HoldIgnored) {
            true => None,
            false => self.too_much(&serving, other),
        };
        let Some((dropped, served, cause)) = cause else {
            return Ok(Some(Taking {
                accepted: Some(change),
                refused,
                served: Some(serving),
                hold: over,
                cluster: (of != self.cluster).then_some(of),
                sure: self.unsure,
            }));
        };
        let mut kept = BTreeMap::new();
        for key in change.keys() {
            if known.is_none_or(|hold| !hold.kept.contains_key(&key)) {
                kept.insert(key, self.accepted.state.get(&key).cloned());
            }
        }
        let hold = Hold {
            told: model::Hold {
                generation: change.generation,
                dropped,
                served,
                since_unix_ms: known.map_or(now_unix_ms, |hold| hold.told.since_unix_ms),
                cause,
            },
            served: known.map_or(self.accepted.generation, |hold| hold.served),
            cluster: of,
            kept,
        };
        Ok(Some(Taking {
            accepted: Some(change),
            refused,
            served: None,
            hold: HoldChange::Held(hold),
            cluster: None,
            // what is served is still what is left of a journal
            sure: false,
        }))
    }

    /// Gives what it does that an operator confirms what is held back up to `generation`; nothing, when no such thing is.
    pub fn release(&self, generation: Generation) -> Option<Taking> {
        let hold = self.hold.as_ref()?;
        if generation < hold.told.generation {
            return None;
        }
        let nothing = Change {
            generation: self.accepted.generation,
            ..Change::default()
        };
        let (served, over) = self.let_go(&nothing);
        Some(Taking {
            accepted: None,
            refused: RefusedChange::default(),
            served: Some(served),
            hold: over,
            cluster: (hold.cluster != self.cluster).then(|| hold.cluster.clone()),
            sure: self.unsure,
        })
    }

    /// Makes it so.
    pub fn apply(&mut self, taking: &Taking) {
        let Taking {
            accepted,
            refused,
            served: _,
            hold,
            cluster,
            sure,
        } = taking;
        self.unsure &= !sure;
        if let Some(change) = accepted {
            self.accepted.take(Folded {
                change: change.clone(),
                refused: refused.clone(),
            });
        }
        match hold {
            HoldChange::None => {}
            HoldChange::Over(_) => self.hold = None,
            HoldChange::Held(next) => {
                let before = self.hold.take().map(|hold| hold.kept);
                let mut kept = before.unwrap_or_default();
                kept.extend(next.kept.clone());
                self.hold = Some(Hold {
                    kept,
                    ..next.clone()
                });
            }
        }
        if let Some(cluster) = cluster {
            self.cluster.clone_from(cluster);
        }
    }

    /// Gives what a change of what is served would drop of it, how much is served, and why that is too much; none: it
    /// is not.
    fn too_much(&self, serving: &Change, other: bool) -> Option<(u64, u64, String)> {
        let services = serving.removed.iter().filter(|key| is_service(key));
        let dropped = services.count() as u64;
        if dropped <= MOST_DROPPED && !(other && dropped > 0) {
            return None;
        }
        let served = self.count_served();
        let mut cause = format!("would take away {dropped} of {served} virtual services");
        if other {
            cause = format!(
                "the controller's store is not the one that what is served came from; it {cause}"
            );
        } else if dropped * 2 <= served {
            return None;
        }
        Some((dropped, served, cause))
    }

    /// Counts the virtual services that are served. Walks over them: only where many are dropped at once.
    fn count_served(&self) -> u64 {
        let services = services_of(&self.accepted.state);
        let Some(hold) = &self.hold else {
            return services;
        };
        let mut services = services;
        for (key, kept) in &hold.kept {
            if is_service(key) {
                services += u64::from(kept.is_some());
                services -= u64::from(self.accepted.state.get(key).is_some());
            }
        }
        services
    }

    /// Gives what serving all that is accepted after `change` changes, and what becomes of the hold.
    fn let_go(&self, change: &Change) -> (Change, HoldChange) {
        let Some(hold) = &self.hold else {
            return (change.clone(), HoldChange::None);
        };
        let touched = change.keys().filter(|key| !hold.kept.contains_key(key));
        let keys: Vec<ItemKey> = hold.kept.keys().copied().chain(touched).collect();
        let mut after: BTreeMap<ItemKey, Option<&Item>> = BTreeMap::new();
        for key in &keys {
            after.insert(*key, self.accepted.state.get(key));
        }
        for item in &change.upserted {
            after.insert(item.key(), Some(item));
        }
        for key in &change.removed {
            after.insert(*key, None);
        }
        let mut served = Change {
            generation: change.generation,
            ..Change::default()
        };
        for (key, item) in after {
            match (self.served(&key), item) {
                (before, Some(item)) if before != Some(item) => served.upserted.push(item.clone()),
                (Some(_), None) => served.removed.push(key),
                _ => {}
            }
        }
        let over = hold.kept.keys().copied().collect();
        (served, HoldChange::Over(over))
    }
}

fn services_of(state: &NodeState) -> u64 {
    state.items().keys().filter(|key| is_service(key)).count() as u64
}

fn is_service(key: &ItemKey) -> bool {
    matches!(key, ItemKey::VirtualService(_))
}

#[cfg(test)]
mod tests;
