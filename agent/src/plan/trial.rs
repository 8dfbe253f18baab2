//! What a change would do, found without making it: by what a pass goes through, on copies of what the agent holds.

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::model::{BackendKey, Frontend, ItemKey};

use super::{
    Begun, Change, Connections, Drains, Held, Key, Ledger, Plan, Problem, Scope, Step, Table, Unit,
    Visit, Visits, guards, plan,
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
    /// A frontend that is looked at, with what packets to it meet.
    pub visit: Option<Visit>,
}

/// What is served, and what that made of the kernel.
#[derive(Debug, Clone, Copy)]
pub struct Stand<'a> {
    /// What is served.
    pub held: &'a Held,
    /// What is ours.
    pub ledger: &'a Ledger,
    /// What is drained.
    pub drains: &'a Drains,
}

/// A trial that waits for what the kernel holds.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// What would be served, and drained; none: nothing changes.
    after: Option<(Held, Drains)>,
    begun: Vec<BackendKey>,
    visit: Option<Visit>,
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
    /// What would be done without the change.
    pub repairs: Plan,
    /// The frontend that was looked at.
    pub visit: Option<Visit>,
    /// The connections of its client, or why they are not known; none: they were not asked for.
    pub visits: Option<Result<Visits, String>>,
    /// What would be tried and refused; it is in no step.
    pub refused: BTreeMap<Key, Problem>,
}

impl Stand<'_> {
    /// Takes a change in, on copies.
    pub fn attempt(self, trial: Trial) -> Attempt {
        let Trial {
            change,
            begun,
            mut also,
            everything,
            visit,
        } = trial;
        also.extend(visit.iter().flat_map(|visit| visit.keys(&self.held.state)));
        let backends = begun.iter().filter_map(|begun| match begun.id().key {
            ItemKey::Backend(backend) => Some(backend),
            _ => None,
        });
        let backends: Vec<BackendKey> = backends.collect();
        let mut scope = Scope::Units(BTreeSet::new());
        let after = change.map(|change| {
            let (mut held, mut drains) = (self.held.clone(), self.drains.clone());
            let keys: Vec<ItemKey> = change.keys().collect();
            scope = held.reach(change, self.ledger);
            let _ = drains.begin(begun);
            let _ = drains.revise(keys.into_iter(), &held.state);
            (held, drains)
        });
        match &mut scope {
            Scope::Units(units) if !everything => {
                units.extend(also.iter().map(|key| Key::Item(*key).unit()));
                let states = [Some(self.held), after.as_ref().map(|(held, _)| held)];
                let states = states.into_iter().flatten();
                let items =
                    states.flat_map(|held| also.iter().filter_map(|key| held.state.get(key)));
                units.extend(items.flat_map(guards).map(Unit::Guard));
                // settings and the link matter to every packet
                units.extend(visit.map(|_| Unit::Base));
            }
            scope => *scope = Scope::All,
        }
        Attempt {
            after,
            begun: backends,
            visit,
            scope,
        }
    }

    /// Plans on what the kernel holds, which may have changed what is over of the drains meanwhile.
    pub fn plan(self, attempt: Attempt, actual: Table) -> Tried {
        let Attempt {
            after,
            begun,
            visit,
            scope,
        } = attempt;
        let wanted = |held: &Held, drains: &Drains| {
            let mut drains = drains.clone();
            let _ = drains.settle(&scope, &actual, &held.state);
            drains.wanted(&held.state, self.ledger, &scope, &actual)
        };
        let before = wanted(self.held, self.drains);
        let repairs = plan(&actual, &before, self.ledger);
        let Some((held, drains)) = after else {
            return Tried {
                actual,
                after: before.clone(),
                before,
                plan: repairs.clone(),
                repairs,
                visit,
                ..Tried::default()
            };
        };
        let after = wanted(&held, &drains);
        let plan = plan(&actual, &after, self.ledger);
        let goes = |backend: &BackendKey| {
            let key = ItemKey::Backend(*backend);
            after.contains_key(&Key::Item(key)) && held.state.get(&key).is_none()
        };
        let going = begun.into_iter().filter(goes).collect();
        Tried {
            actual,
            before,
            after,
            plan,
            going,
            counts: BTreeMap::new(),
            repairs,
            visit,
            visits: None,
            refused: BTreeMap::new(),
        }
    }
}

impl Tried {
    /// Takes steps that would be refused out of what would be done.
    pub fn refuse(&mut self, refused: BTreeMap<Key, Problem>) {
        let stays = |step: &Step| !refused.contains_key(&step.key());
        self.plan.steps.retain(stays);
        self.refused = refused;
    }

    /// Gives what cannot be had, and why, in the order of keys.
    pub fn failing(&self) -> BTreeMap<Key, String> {
        let conflicts = self.plan.conflicts.iter();
        let conflicts = conflicts.map(|conflict| (conflict.key, conflict.cause()));
        let refused = self.refused.iter();
        let refused = refused.map(|(key, problem)| (*key, problem.cause.clone()));
        conflicts.chain(refused).collect()
    }

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
        let visited = self.visit.map(|visit| visit.frontend);
        let there = |of: &Frontend| {
            let key = Key::Item(ItemKey::VirtualService(*of));
            self.actual.contains_key(&key)
        };
        let visited = visited.filter(there);
        services.chain(going).chain(visited).collect()
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
