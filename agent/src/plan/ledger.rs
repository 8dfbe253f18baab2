//! Which objects of the kernel are ours.

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::model::ItemKey;

use super::{Conflict, Key, Object, Plan, Scope, Setting, Step, Table};

/// The objects we made, and what settings were before us. Whatever is not in it is somebody else's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    made: BTreeSet<Key>,
    found: BTreeMap<Setting, String>,
    /// What was ours was let go of, and is not to be taken for ours again because of where it hangs.
    released: bool,
}

/// What changes in a ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerChange {
    /// Objects that are ours from now on.
    pub made: BTreeSet<Key>,
    /// Settings we are about to change, with the value found.
    pub found: BTreeMap<Setting, String>,
    /// Objects that are gone, or never came to be.
    pub gone: BTreeSet<Key>,
    /// Settings that are as they were found.
    pub restored: BTreeSet<Setting>,
}

impl Ledger {
    /// Says whether an object is ours: we made it, or what it lives in.
    pub fn owns(&self, key: Key) -> bool {
        self.made.contains(&key.container().unwrap_or(key))
    }

    /// Gives the value a setting had before us, if we changed it.
    pub fn found(&self, setting: Setting) -> Option<&str> {
        self.found.get(&setting).map(String::as_str)
    }

    /// Gives the settings we changed, with the values they had.
    pub fn settings(&self) -> impl Iterator<Item = (Setting, &str)> {
        self.found
            .iter()
            .map(|(setting, value)| (*setting, value.as_str()))
    }

    /// Gives the objects we made.
    pub fn made(&self) -> impl Iterator<Item = Key> {
        self.made.iter().copied()
    }

    /// Gives a ledger of a kernel in which nothing is ours: it claims nothing either, if this one does not.
    pub fn emptied(&self) -> Self {
        Self {
            released: self.released,
            ..Self::default()
        }
    }

    /// Gives the ledger of a kernel of which is not known what is ours; what settings were before us is.
    pub fn doubted(&self) -> Self {
        Self {
            made: BTreeSet::new(),
            ..self.clone()
        }
    }

    /// Gives up, for good, to claim what hangs on our link.
    pub fn release(&mut self) {
        self.released = true;
    }

    /// Says whether what was ours was let go of: what hangs on our link is somebody else's until it is adopted.
    pub fn is_released(&self) -> bool {
        self.released
    }

    /// Says whether nothing is ours.
    pub fn is_empty(&self) -> bool {
        self.made.is_empty() && self.found.is_empty()
    }

    /// Gives what only we can have made in a kernel whose ledger is lost: the link by our name, the sets and rules,
    /// every VIP on the link, and the services that are reached through one. Nothing while the link is known to
    /// be ours, or is not there, and nothing once it was released: then the ledger is not lost. `actual` must be the whole
    /// table.
    pub fn claim(&self, actual: &Table) -> BTreeSet<Key> {
        let known = self.released || self.owns(Key::Link);
        if known || actual.get(&Key::Link) != Some(&Object::Present) {
            return BTreeSet::new();
        }
        let ours = |key: &Key| match key {
            Key::Setting(_) => false,
            Key::Link | Key::LoopbackSet(_) | Key::LoopbackRule(_) | Key::Lockdown(_) => {
                actual.get(key) == Some(&Object::Present)
            }
            Key::Item(ItemKey::Vip(_)) => true,
            Key::Item(ItemKey::VirtualService(frontend)) => frontend
                .vip()
                .is_some_and(|vip| actual.contains_key(&Key::Item(ItemKey::Vip(vip)))),
            // with what they live in, or they could be anybody's
            Key::Guard(_) | Key::Item(_) => false,
        };
        actual.keys().copied().filter(ours).collect()
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
                    key: Key::Setting(setting),
                    ..
                } if !self.found.contains_key(setting) => {
                    if let Some(Object::Value(value)) = actual.get(&Key::Setting(*setting)) {
                        change.found.insert(*setting, value.clone());
                    }
                }
                Step::Add { .. } | Step::Edit { .. } | Step::Remove { .. } => {}
            }
        }
        change
    }

    /// Gives what must be written down after a step was taken, or refused by the kernel; `before` is what was
    /// written down for its plan. An object that was ours before the plan stays ours when it cannot be added: it
    /// may have been overlooked, and be there.
    pub fn after(
        &self,
        step: &Step,
        taken: bool,
        before: &LedgerChange,
        change: &mut LedgerChange,
    ) {
        match (step, taken) {
            (Step::Add { key, .. }, false) if before.made.contains(key) => {
                change.gone.insert(*key);
            }
            (Step::Remove { key }, true) if self.made.contains(key) => {
                change.gone.insert(*key);
            }
            (
                Step::Edit {
                    key: Key::Setting(setting),
                    object: Object::Value(value),
                },
                true,
            ) if self.found.get(setting) == Some(value) => {
                change.restored.insert(*setting);
            }
            (
                Step::Edit {
                    key: Key::Setting(setting),
                    ..
                },
                false,
            ) if before.found.contains_key(setting) => {
                change.restored.insert(*setting);
            }
            (Step::Add { .. } | Step::Edit { .. } | Step::Remove { .. }, _) => {}
        }
    }

    /// Gives the objects of ours within `scope` that are no longer there at all: somebody removed them, and
    /// nobody wants them back. What comes to stand in their place is not ours.
    pub fn vanished(&self, scope: &Scope, actual: &Table, wanted: &Table) -> BTreeSet<Key> {
        let gone = |key: &Key| !actual.contains_key(key) && !wanted.contains_key(key);
        match scope {
            Scope::All => self.made().filter(gone).collect(),
            Scope::Units(units) => {
                let keys = units.iter().flat_map(|unit| unit.owned_keys());
                keys.filter(|key| self.made.contains(key))
                    .filter(gone)
                    .collect()
            }
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
        if made.contains(&Key::Link) {
            // a link that was made, or adopted, is not the one that was let go of
            self.released = false;
        }
        for key in gone {
            self.made.remove(key);
        }
        for (setting, value) in found {
            self.found.insert(*setting, value.clone());
        }
        for setting in restored {
            self.found.remove(setting);
        }
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

#[cfg(test)]
mod tests {
    use weir_proto::model::{Family, Frontend, Listener, Port, Protocol};

    use super::*;

    fn vip(last: u8) -> Key {
        Key::Item(ItemKey::Vip([10, 1, 0, last].into()))
    }

    fn making(keys: &[Key]) -> LedgerChange {
        LedgerChange {
            made: keys.iter().copied().collect(),
            ..LedgerChange::default()
        }
    }

    fn add(key: Key) -> Step {
        Step::Add {
            key,
            object: Object::Present,
        }
    }

    fn service(last: u8) -> (Key, Object) {
        let frontend = Frontend::Address(Listener {
            address: [10, 1, 0, last].into(),
            port: Port::new(80).expect("port"),
            protocol: Protocol::Tcp,
        });
        let spec = crate::plan::ServiceSpec {
            scheduler: "rr".to_owned(),
            ..crate::plan::ServiceSpec::default()
        };
        (
            Key::Item(ItemKey::VirtualService(frontend)),
            Object::Service(spec),
        )
    }

    #[test]
    fn a_lost_ledger_claims_what_hangs_on_our_link_and_nothing_else() {
        let set = Key::LoopbackSet(Family::V4);
        let other_type = (
            Key::LoopbackSet(Family::V6),
            Object::Value("hash:ip".to_owned()),
        );
        let kernel = Table::from([
            (Key::Link, Object::Present),
            (set, Object::Present),
            other_type,
            (vip(1), Object::Present),
            service(1),
            service(2),
        ]);
        let claimed = [Key::Link, set, vip(1), service(1).0];
        assert_eq!(Ledger::default().claim(&kernel), claimed.into());
        let mut without_link = kernel.clone();
        without_link.remove(&Key::Link);
        assert_eq!(Ledger::default().claim(&without_link), BTreeSet::new());
        let mut ledger = Ledger::default();
        ledger.apply(&making(&[Key::Link]));
        assert_eq!(
            ledger.claim(&kernel),
            BTreeSet::new(),
            "the ledger is not lost"
        );
        let mut released = Ledger::default();
        released.release();
        assert_eq!(
            released.claim(&kernel),
            BTreeSet::new(),
            "it was let go of on purpose"
        );
        assert_eq!(released.emptied(), released);
    }

    #[test]
    fn what_was_ours_and_cannot_be_added_stays_ours() {
        let mut ledger = Ledger::default();
        ledger.apply(&making(&[vip(1), vip(2)]));
        let before = making(&[vip(2)]);
        let mut change = LedgerChange::default();
        for step in [add(vip(1)), add(vip(2))] {
            ledger.after(&step, false, &before, &mut change);
        }
        assert_eq!(
            change.gone,
            [vip(2)].into(),
            "only what this plan meant to make"
        );
    }

    #[test]
    fn a_setting_that_was_refused_is_not_ours_to_put_back() {
        let mut ledger = Ledger::default();
        let step = Step::Edit {
            key: Key::Setting(Setting::ForwardV6),
            object: Object::Value("1".to_owned()),
        };
        let plan = Plan {
            steps: vec![step.clone()],
            ..Plan::default()
        };
        let found = Object::Value("0".to_owned());
        let actual = Table::from([(Key::Setting(Setting::ForwardV6), found)]);
        let before = ledger.before(&plan, &actual);
        ledger.apply(&before);
        assert_eq!(ledger.found(Setting::ForwardV6), Some("0"));
        let mut change = LedgerChange::default();
        ledger.after(&step, false, &before, &mut change);
        ledger.apply(&change);
        assert_eq!(ledger.found(Setting::ForwardV6), None);
    }

    #[test]
    fn what_is_not_there_and_not_wanted_is_forgotten_within_the_scope() {
        let mut ledger = Ledger::default();
        ledger.apply(&making(&[vip(1), vip(2), vip(3)]));
        let there = Table::from([(vip(3), Object::Present)]);
        let wanted = Table::from([(vip(2), Object::Present)]);
        let scope = Scope::Units([vip(1).unit(), vip(2).unit()].into());
        assert_eq!(ledger.vanished(&scope, &there, &wanted), [vip(1)].into());
        assert_eq!(
            ledger.vanished(&Scope::All, &there, &wanted),
            [vip(1)].into()
        );
        let scope = Scope::Units([vip(2).unit()].into());
        assert_eq!(
            ledger.vanished(&scope, &Table::new(), &Table::new()),
            [vip(2)].into()
        );
    }
}
