//! What a change would do, found without making it: by what a pass goes through, on copies of what the agent holds.

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::model::{BackendKey, Frontend, ItemKey};

use super::{
    Begun, Change, Connections, Drains, Held, Key, Ledger, Plan, Scope, Step, Table, Unit, guards,
    plan,
};

/// What is to be tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trial {
    /// What would change in what is served; none: nothing.
    pub change: Option<Change>,
    /// The drains that would begin by it.
    pub begun: Vec<Begun>,
    /// What is looked at beside that which changes.
    pub also: Vec<ItemKey>,
    /// Everything is looked at.
    pub everything: bool,
}

/// What an agent holds, to try something on.
#[derive(Debug, Clone)]
pub struct Stand {
    held: Held,
    after: Held,
    ledger: Ledger,
    drains: (Drains, Drains),
    begun: Vec<BackendKey>,
    /// What must be read.
    pub scope: Scope,
}

/// What a trial found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tried {
    /// What the kernel holds.
    pub actual: Table,
    /// What it should hold by what is served.
    pub before: Table,
    /// What it should hold after the change.
    pub after: Table,
    /// What would be done.
    pub plan: Plan,
    /// Backends that would go once they are drained.
    pub going: Vec<BackendKey>,
    /// The connections of the services that the steps touch.
    pub counts: BTreeMap<BackendKey, Connections>,
    repairs: Plan,
}

impl Stand {
    /// Takes a change in, on copies.
    pub fn new(held: &Held, ledger: &Ledger, drains: &Drains, trial: Trial) -> Self {
        let Trial {
            change,
            begun,
            also,
            everything,
        } = trial;
        let mut after = held.clone();
        let (drained, mut drains_after) = (drains.clone(), drains.clone());
        let mut scope = Scope::Units(BTreeSet::new());
        let backends = begun.iter().filter_map(|begun| match begun.id().key {
            ItemKey::Backend(backend) => Some(backend),
            _ => None,
        });
        let backends: Vec<BackendKey> = backends.collect();
        if let Some(change) = change {
            let keys: Vec<ItemKey> = change.keys().collect();
            scope = after.reach(change, ledger);
            let _ = drains_after.begin(begun);
            let _ = drains_after.revise(keys.into_iter(), &after.state);
        }
        match &mut scope {
            Scope::Units(units) if !everything => {
                units.extend(also.iter().map(|key| Key::Item(*key).unit()));
                let states = [&held.state, &after.state];
                let items = states
                    .iter()
                    .flat_map(|state| also.iter().filter_map(|key| state.get(key)));
                units.extend(items.flat_map(guards).map(Unit::Guard));
            }
            scope => *scope = Scope::All,
        }
        Self {
            held: held.clone(),
            after,
            ledger: ledger.clone(),
            drains: (drained, drains_after),
            begun: backends,
            scope,
        }
    }

    /// Plans on what the kernel holds.
    pub fn on(self, actual: Table) -> Tried {
        let Self {
            held,
            after,
            ledger,
            drains: (mut drained, mut drained_after),
            begun,
            scope,
        } = self;
        let _ = drained.settle(&scope, &actual, &held.state);
        let _ = drained_after.settle(&scope, &actual, &after.state);
        let before = drained.wanted(&held.state, &ledger, &scope, &actual);
        let wanted = drained_after.wanted(&after.state, &ledger, &scope, &actual);
        let repairs = plan(&actual, &before, &ledger);
        let plan = plan(&actual, &wanted, &ledger);
        let stays =
            |backend: &BackendKey| wanted.contains_key(&Key::Item(ItemKey::Backend(*backend)));
        let gone = |backend: &BackendKey| after.state.get(&ItemKey::Backend(*backend)).is_none();
        let going = begun
            .into_iter()
            .filter(|it| stays(it) && gone(it))
            .collect();
        Tried {
            actual,
            before,
            after: wanted,
            plan,
            going,
            counts: BTreeMap::new(),
            repairs,
        }
    }
}

impl Tried {
    /// Gives the services whose connections are to be counted: those of which something that is there is touched.
    pub fn touched(&self) -> BTreeSet<Frontend> {
        let keys = self.plan.steps.iter().map(Step::key);
        let there = keys.filter(|key| self.actual.contains_key(key));
        let services = there.filter_map(|key| match key {
            Key::Item(ItemKey::VirtualService(frontend)) => Some(frontend),
            Key::Item(ItemKey::Backend(backend)) => Some(backend.frontend),
            _ => None,
        });
        let going = self.going.iter().map(|backend| backend.frontend);
        services.chain(going).collect()
    }

    /// Gives the active and inactive connections of a backend, or of all backends of a service; none: it is neither, or not
    /// there.
    pub fn connections(&self, key: Key) -> Option<(u64, u64)> {
        if !self.actual.contains_key(&key) {
            return None;
        }
        let of = |backend: &BackendKey| match key {
            Key::Item(ItemKey::VirtualService(frontend)) => backend.frontend == frontend,
            Key::Item(ItemKey::Backend(other)) => *backend == other,
            _ => false,
        };
        let counted = matches!(
            key,
            Key::Item(ItemKey::VirtualService(_) | ItemKey::Backend(_))
        );
        let counts = self.counts.iter().filter(|(backend, _)| of(backend));
        let sum = counts.fold((0, 0), |(active, inactive), (_, counts)| {
            let (more, idle) = (u64::from(counts.active), u64::from(counts.inactive));
            (active + more, inactive + idle)
        });
        counted.then_some(sum)
    }

    /// Gives the keys of what is not the same by the change, by what is served, and in the kernel.
    pub fn differing(&self) -> BTreeSet<Key> {
        let plans = [&self.plan, &self.repairs];
        let steps = plans
            .iter()
            .flat_map(|plan| plan.steps.iter().map(Step::key));
        let conflicts = plans.iter().flat_map(|plan| &plan.conflicts);
        let mut keys: BTreeSet<Key> = steps.chain(conflicts.map(|it| it.key)).collect();
        for key in self.before.keys().chain(self.after.keys()) {
            if self.before.get(key) != self.after.get(key) {
                keys.insert(*key);
            }
        }
        // what goes with what it lives in has no step of its own
        let gone: BTreeSet<Key> = keys
            .iter()
            .copied()
            .filter(|key| !self.after.contains_key(key))
            .collect();
        let lives = |key: &&Key| key.container().is_some_and(|it| gone.contains(&it));
        keys.extend(self.actual.keys().filter(lives));
        keys
    }

    /// Says whether what the kernel has under a key is somebody else's.
    pub fn is_foreign(&self, key: Key) -> bool {
        let plans = [&self.plan, &self.repairs];
        let mut conflicts = plans.iter().flat_map(|plan| &plan.conflicts);
        conflicts.any(|conflict| conflict.key == key || conflict.held == key)
    }
}
