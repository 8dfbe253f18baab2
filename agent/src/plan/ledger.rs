//! Which objects of the kernel are ours.

use std::collections::{BTreeMap, BTreeSet};

use super::{Conflict, Key, Object, Plan, Step, Sysctl, Table};

/// The objects we made, and what settings were before us. Whatever is not in it is somebody else's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    made: BTreeSet<Key>,
    found: BTreeMap<Sysctl, String>,
}

/// What changes in a ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerChange {
    /// Objects that are ours from now on.
    pub made: BTreeSet<Key>,
    /// Settings we are about to change, with the value found.
    pub found: BTreeMap<Sysctl, String>,
    /// Objects that are gone, or never came to be.
    pub gone: BTreeSet<Key>,
    /// Settings that are as they were found.
    pub restored: BTreeSet<Sysctl>,
}

impl Ledger {
    /// Says whether an object is ours: we made it, or what it lives in.
    pub fn owns(&self, key: Key) -> bool {
        self.made.contains(&key.container().unwrap_or(key))
    }

    /// Gives the value a setting had before us, if we changed it.
    pub fn found(&self, sysctl: Sysctl) -> Option<&str> {
        self.found.get(&sysctl).map(String::as_str)
    }

    /// Gives the settings we changed, with the values they had.
    pub fn settings(&self) -> impl Iterator<Item = (Sysctl, &str)> {
        self.found
            .iter()
            .map(|(sysctl, value)| (*sysctl, value.as_str()))
    }

    /// Gives the objects we made.
    pub fn made(&self) -> impl Iterator<Item = Key> {
        self.made.iter().copied()
    }

    /// Says whether nothing is ours.
    pub fn is_empty(&self) -> bool {
        self.made.is_empty() && self.found.is_empty()
    }

    /// Gives what must be written down before the steps of `plan` are taken on a kernel that holds `actual`.
    pub fn before(&self, plan: &Plan, actual: &Table) -> LedgerChange {
        let mut change = LedgerChange::default();
        for step in &plan.steps {
            match step {
                Step::Add { key, .. } if key.container().is_none() && !self.made.contains(key) => {
                    change.made.insert(*key);
                }
                Step::Edit {
                    key: Key::Sysctl(sysctl),
                    ..
                } if !self.found.contains_key(sysctl) => {
                    if let Some(Object::Value(value)) = actual.get(&Key::Sysctl(*sysctl)) {
                        change.found.insert(*sysctl, value.clone());
                    }
                }
                Step::Add { .. } | Step::Edit { .. } | Step::Remove { .. } => {}
            }
        }
        change
    }

    /// Gives what must be written down after a step was taken, or refused by the kernel. A step whose outcome
    /// is not known changes nothing: the object may be there.
    pub fn after(&self, step: &Step, taken: bool, change: &mut LedgerChange) {
        match (step, taken) {
            (Step::Add { key, .. }, false) | (Step::Remove { key }, true) => {
                if self.made.contains(key) {
                    change.gone.insert(*key);
                }
            }
            (
                Step::Edit {
                    key: Key::Sysctl(sysctl),
                    object: Object::Value(value),
                },
                true,
            ) if self.found.get(sysctl) == Some(value) => {
                change.restored.insert(*sysctl);
            }
            (Step::Add { .. } | Step::Edit { .. } | Step::Remove { .. }, _) => {}
        }
    }

    /// Gives what to forget of objects that are no longer there at all: somebody removed them, and nobody wants
    /// them back. `actual` must be the whole table.
    pub fn vanished(&self, actual: &Table, wanted: &Table) -> LedgerChange {
        let gone = |key: &Key| !actual.contains_key(key) && !wanted.contains_key(key);
        LedgerChange {
            gone: self.made().filter(gone).collect(),
            ..LedgerChange::default()
        }
    }

    /// Takes a change in.
    pub fn apply(&mut self, change: &LedgerChange) {
        let LedgerChange {
            made,
            found,
            gone,
            restored,
        } = change;
        self.made.extend(made);
        self.made.retain(|key| !gone.contains(key));
        for (sysctl, value) in found {
            self.found.insert(*sysctl, value.clone());
        }
        self.found.retain(|sysctl, _| !restored.contains(sysctl));
    }
}

impl LedgerChange {
    /// Says whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }
}

impl Conflict {
    /// Gives the sentence for people.
    pub fn cause(&self) -> String {
        format!("{} is there and is not ours", self.held)
    }
}
