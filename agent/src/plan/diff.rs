//! The steps from what is to what should be.

use weir_proto::faults::{Bug, planted};
use weir_proto::model::ItemKey;

use super::{Key, Ledger, Object, Table};

/// One change to the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Makes an object that is not there.
    Add {
        /// Which.
        key: Key,
        /// How it will be.
        object: Object,
    },
    /// Changes an object in place.
    Edit {
        /// Which.
        key: Key,
        /// How it will be.
        object: Object,
    },
    /// Removes an object, and with it those that live in it.
    Remove {
        /// Which.
        key: Key,
    },
}

/// What to do, and what must be left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order they are to be taken.
    pub steps: Vec<Step>,
    /// What is wanted but cannot be had, because somebody else has it.
    pub conflicts: Vec<Conflict>,
    /// What is not wanted but must stay, because somebody else's objects live in it.
    pub kept: Vec<Key>,
}

/// Somebody else's object stands where one of ours should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What is wanted.
    pub key: Key,
    /// What is in its way: itself, or what it should live in.
    pub held: Key,
}

impl Step {
    /// Gives the key of the object it changes.
    pub fn key(&self) -> Key {
        match self {
            Self::Add { key, .. } | Self::Edit { key, .. } | Self::Remove { key } => *key,
        }
    }
}

/// Gives the steps that turn `actual` into `wanted`: first all that is made or changed, in the order of keys,
/// then all that is removed, the other way round. What `ledger` does not own is somebody else's and stays as it is.
///
/// Both tables must be of the same scope: what is in one and not in the other is taken as a difference.
pub fn plan(actual: &Table, wanted: &Table, ledger: &Ledger) -> Plan {
    let mut plan = Plan {
        // so many at least: to grow a list of steps costs as much as to fill it
        steps: Vec::with_capacity(wanted.len().abs_diff(actual.len())),
        ..Plan::default()
    };
    let mut sight = Sight {
        actual,
        wanted,
        ledger,
        container: None,
    };
    // both tables are in the order of keys: to walk them side by side takes no search for any of them
    let mut there = actual.iter().peekable();
    for (key, object) in wanted {
        while there.next_if(|(found, _)| *found < key).is_some() {}
        let found = there.next_if(|(found, _)| *found == key);
        put(
            (*key, object),
            found.map(|(_, found)| found),
            &mut sight,
            &mut plan,
        );
    }
    let mut stay = wanted.keys().rev().peekable();
    for key in actual.keys().rev() {
        while stay.next_if(|wanted| *wanted > key).is_some() {}
        if stay.peek() != Some(&key) {
            take_down(*key, &mut sight, &mut plan);
        }
    }
    if planted(Bug::RemoveBeforeAdd) {
        let adds = |step: &Step| !matches!(step, Step::Remove { .. });
        plan.steps.sort_by_key(adds);
    }
    if planted(Bug::VipFirst) {
        let waits = |step: &Step| !matches!(step.key(), Key::Item(ItemKey::Vip(_)));
        plan.steps.sort_by_key(waits);
    }
    plan
}

/// What a plan is made from, and what it found out about the container that it met last: what lives in one
/// follows each other.
struct Sight<'a> {
    actual: &'a Table,
    wanted: &'a Table,
    ledger: &'a Ledger,
    container: Option<Container>,
}

#[derive(Clone, Copy)]
struct Container {
    key: Key,
    ours: bool,
    there: bool,
    wanted: bool,
}

impl Sight<'_> {
    /// Looks at an object that others live in or use.
    fn container(&mut self, key: Key) -> Container {
        match self.container {
            Some(known) if known.key == key => known,
            _ => *self.container.insert(Container {
                key,
                ours: self.ledger.owns(key),
                there: self.actual.contains_key(&key),
                wanted: self.wanted.contains_key(&key),
            }),
        }
    }

    /// Says whether an object that is there is ours.
    fn owns(&mut self, key: Key) -> bool {
        match key.container() {
            Some(container) => self.container(container).ours,
            None => self.ledger.owns(key),
        }
    }
}

fn put(
    (key, object): (Key, &Object),
    found: Option<&Object>,
    sight: &mut Sight<'_>,
    plan: &mut Plan,
) {
    if let Key::Setting(setting) = key {
        // a setting belongs to nobody; one that the kernel lacks can only be missed
        let differs = found != Some(object);
        if differs && (found.is_some() || !setting.optional()) {
            plan.steps.push(edit(key, object));
        }
        return;
    }
    // an object that cannot be read may not be there: to add it again harms nothing
    let there = found.is_some_and(|found| !matches!(found, Object::Unreadable(_)));
    // whoever holds the object, or what it should live in or uses, decides; one that is about to be made is ours,
    // and of one out of scope the ledger knows
    let foreign = if there {
        (!sight.owns(key)).then_some(key)
    } else {
        let under = key
            .container()
            .or(uses(key))
            .map(|held| sight.container(held));
        let foreign = under.filter(|held| (held.there || !held.wanted) && !held.ours);
        foreign.map(|held| held.key)
    };
    match foreign {
        // also when it is just like ours: it would not go with the service
        Some(held) => plan.conflicts.push(Conflict { key, held }),
        None if found.is_some_and(|found| found.is_as(object)) => {}
        None if there => plan.steps.push(edit(key, object)),
        None => plan.steps.push(Step::Add {
            key,
            object: object.clone(),
        }),
    }
}

/// Gives what an object acts on without living in it: a rule of ours over somebody else's set would masquerade
/// what he put there.
fn uses(key: Key) -> Option<Key> {
    match key {
        Key::LoopbackRule(family) => Some(Key::LoopbackSet(family)),
        _ => None,
    }
}

fn edit(key: Key, object: &Object) -> Step {
    Step::Edit {
        key,
        object: object.clone(),
    }
}

fn take_down(key: Key, sight: &mut Sight<'_>, plan: &mut Plan) {
    if let Key::Setting(setting) = key {
        if let Some(value) = sight.ledger.found(setting) {
            plan.steps.push(edit(key, &Object::Value(value.to_owned())));
        }
        return;
    }
    let goes_with_its_container = key.container().is_some_and(|container| {
        let container = sight.container(container);
        container.there && !container.wanted
    });
    let ours = sight.owns(key) || planted(Bug::ForeignPruned);
    if goes_with_its_container || !ours || planted(Bug::LostDelete) {
        return;
    }
    if key == Key::Link && has_foreign_address(sight.actual, sight.ledger) {
        plan.kept.push(key);
        return;
    }
    plan.steps.push(Step::Remove { key });
}

/// Says whether the link holds an address that we did not put there: it would go with the link.
fn has_foreign_address(actual: &Table, ledger: &Ledger) -> bool {
    actual
        .keys()
        .any(|key| matches!(key, Key::Item(ItemKey::Vip(_))) && !ledger.owns(*key))
}
