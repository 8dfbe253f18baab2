//! Backends on their way out, and the node itself: what begins a drain, what the kernel holds meanwhile, and when it is
//! over.
//!
//! A drain is known by what is drained and the generation that began it: a backend that came back and went again is
//! another one. One is under way as long as it has a record; a backend whose item says that it is drained and that has
//! none is done with, and so is not in the kernel.

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::faults::{self, Bug};
use weir_proto::model::{
    BackendKey, Drain, DrainProgress, Frontend, Generation, Item, ItemKey, NodeBackend, OnDeadline,
    Protocol, Thresholds,
};
use weir_proto::state::NodeState;

use super::table::backends_of;
use super::wanted::{backend_spec, stays_when_withdrawn};
use super::{
    BackendSpec, Change, Connections, Held, Key, Ledger, Object, Scope, Table, Unit, wanted,
};

/// How many counts in a row must find no connection. One may have missed the backend in a table that changed under it, or
/// come before a packet that was on its way when the weight became 0.
const QUIET_COUNTS: u32 = 2;

/// The beginning of a drain, as it is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// The generation that began it.
    pub generation: Generation,
    /// What is drained.
    pub what: Drained,
    /// When, in Unix milliseconds.
    pub started_unix_ms: u64,
    /// When its time is over.
    pub deadline_unix_ms: u64,
    /// What becomes of connections that are left then.
    pub on_deadline: OnDeadline,
}

/// What is drained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drained {
    /// A backend, as it was.
    Backend(NodeBackend),
    /// The node.
    Node,
}

/// A drain by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DrainId {
    /// The generation that began it.
    pub generation: Generation,
    /// A backend, or [`ItemKey::NodeDrain`].
    pub key: ItemKey,
}

/// The drains of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Drains {
    under_way: BTreeMap<ItemKey, UnderWay>,
    /// What is over while its item still says that it is drained.
    done: BTreeMap<ItemKey, DrainProgress>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct UnderWay {
    begun: Begun,
    /// As counted last.
    counted: Counted,
    /// How many counts in a row found no connection.
    quiet: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    active: u64,
    inactive: u64,
}

impl Begun {
    /// Gives its name.
    pub fn id(&self) -> DrainId {
        DrainId {
            generation: self.generation,
            key: self.key(),
        }
    }

    fn key(&self) -> ItemKey {
        match &self.what {
            Drained::Backend(backend) => ItemKey::Backend(backend.key),
            Drained::Node => ItemKey::NodeDrain,
        }
    }
}

/// Gives the drains that a change of what is served begins; `before` gives what is served until then.
pub fn begun<'a>(
    change: &Change,
    before: impl Fn(&ItemKey) -> Option<&'a Item>,
    now_unix_ms: u64,
) -> Vec<Begun> {
    let mut begun = Vec::new();
    let mut begin = |what: Drained, drain: Drain| {
        begun.push(Begun {
            generation: change.generation,
            what,
            started_unix_ms: now_unix_ms,
            deadline_unix_ms: now_unix_ms + u64::from(drain.deadline.seconds()) * 1_000,
            on_deadline: drain.on_deadline,
        });
    };
    for item in &change.upserted {
        match item {
            Item::Backend(backend) if waits(backend.key.frontend) => {
                let was = match before(&item.key()) {
                    Some(Item::Backend(was)) => was.drain,
                    _ => None,
                };
                if let Some(drain) = backend.drain
                    && was != Some(drain)
                {
                    begin(Drained::Backend(backend.clone()), drain);
                }
            }
            Item::NodeDrain(drain) if before(&item.key()) != Some(item) => {
                begin(Drained::Node, *drain);
            }
            _ => {}
        }
    }
    let is_service = |key: &ItemKey| matches!(key, ItemKey::VirtualService(_));
    let gone = change.removed.iter().filter(|key| is_service(key));
    let gone: BTreeSet<&ItemKey> = gone.collect();
    let edited = change.upserted.iter().map(|item| (item.key(), item));
    let edited: BTreeMap<ItemKey, &Item> = edited.filter(|(key, _)| is_service(key)).collect();
    for key in &change.removed {
        let Some(Item::Backend(backend)) = before(key) else {
            continue;
        };
        let service = ItemKey::VirtualService(backend.key.frontend);
        // with its service a backend goes at once, and one that is drained goes on with that
        if gone.contains(&service) || backend.drain.is_some() || !waits(backend.key.frontend) {
            continue;
        }
        let edited = edited.get(&service).copied();
        if let Some(Item::VirtualService(service)) = edited.or_else(|| before(&service)) {
            begin(Drained::Backend(backend.clone()), service.drain);
        }
    }
    begun
}

/// Gives the drains that begin when virtual services are `taken` over which stand in `actual`: those of their backends that
/// `held` does not have.
pub fn unwanted(
    actual: &Table,
    taken: &BTreeSet<Key>,
    held: &Held,
    now_unix_ms: u64,
) -> Vec<Begun> {
    let mut begun = Vec::new();
    for key in taken {
        let &Key::Item(ItemKey::VirtualService(frontend)) = key else {
            continue;
        };
        let service = held.state.get(&ItemKey::VirtualService(frontend));
        let Some(Item::VirtualService(service)) = service else {
            continue;
        };
        if !waits(frontend) {
            continue;
        }
        let of = backends_of(frontend);
        let of = actual.range(Key::Item(*of.start())..=Key::Item(*of.end()));
        for (key, object) in of {
            let (Key::Item(ItemKey::Backend(key)), Object::Backend(spec)) = (key, object) else {
                continue;
            };
            // what weir never asks for it cannot ask for at weight 0 either
            let Some(forwarding) = spec.forwarding else {
                continue;
            };
            if held.state.get(&ItemKey::Backend(*key)).is_some() {
                continue;
            }
            let thresholds = Thresholds::new(spec.upper_threshold, spec.lower_threshold);
            let deadline = u64::from(service.drain.deadline.seconds()) * 1_000;
            begun.push(Begun {
                generation: held.generation,
                what: Drained::Backend(NodeBackend {
                    forwarding,
                    thresholds: thresholds.unwrap_or_default(),
                    ..NodeBackend::new(*key)
                }),
                started_unix_ms: now_unix_ms,
                deadline_unix_ms: now_unix_ms + deadline,
                on_deadline: service.drain.on_deadline,
            });
        }
    }
    begun
}

/// Says whether there are connections to wait for; what has a mark may be anything.
fn waits(frontend: Frontend) -> bool {
    let protocol = frontend.listener().map(|listener| listener.protocol);
    protocol != Some(Protocol::Udp)
}

impl Drains {
    /// Takes up what was written down, of a node that serves `state`. Gives what of it has no use: of several drains of one
    /// backend the last counts.
    pub fn restore(records: Vec<Begun>, state: &NodeState) -> (Self, Vec<DrainId>) {
        let mut records = records;
        records.sort_by_key(|begun| begun.generation);
        let mut drains = Self::default();
        let mut ended = drains.begin(records);
        let keys: Vec<ItemKey> = drains.under_way.keys().copied().collect();
        let services = keys.iter().filter_map(|key| match key {
            ItemKey::Backend(backend) => Some(ItemKey::VirtualService(backend.frontend)),
            _ => None,
        });
        let services: BTreeSet<ItemKey> = services.collect();
        let revised = drains.revise(keys.iter().copied().chain(services), state);
        ended.extend(revised.ended);
        for item in state.items().values() {
            if let Some(drain) = drain_of(item)
                && !drains.under_way.contains_key(&item.key())
            {
                let progress = finished(item.key(), drain.on_deadline);
                drains.done.insert(item.key(), progress);
            }
        }
        (drains, ended)
    }

    /// Takes up drains that begin. Gives those of the same backends that they take the place of.
    pub fn begin(&mut self, begun: Vec<Begun>) -> Vec<DrainId> {
        let mut replaced = Vec::new();
        for begun in begun {
            let key = begun.key();
            self.done.remove(&key);
            let under_way = UnderWay {
                begun,
                counted: Counted::default(),
                quiet: 0,
            };
            let before = self.under_way.insert(key, under_way);
            replaced.extend(before.map(|before| before.begun.id()));
        }
        replaced
    }

    /// Gives what is to be written down of those under way.
    pub fn records(&self) -> Vec<Begun> {
        let under_way = self.under_way.values();
        under_way.map(|under_way| under_way.begun.clone()).collect()
    }

    /// Says whether nothing is drained.
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Says whether a backend is being drained, or has been and its item stands.
    pub fn is_drained(&self, key: &BackendKey) -> bool {
        let key = ItemKey::Backend(*key);
        self.under_way.contains_key(&key) || self.done.contains_key(&key)
    }

    /// Ends what a changed state has no more use for: a backend that is back, one whose service is gone, a node that is
    /// not drained any more. Looks at the keys of a change only.
    pub fn revise(&mut self, keys: impl Iterator<Item = ItemKey>, state: &NodeState) -> Revised {
        let mut ended = Vec::new();
        let mut news = false;
        for key in keys {
            let item = state.get(&key);
            let drain = item.and_then(drain_of);
            let stands = drain.is_some();
            match drain {
                None => news |= self.done.remove(&key).is_some(),
                // what there is nothing to wait for is done at once
                Some(drain) if !self.under_way.contains_key(&key) => {
                    news |= !self.done.contains_key(&key);
                    let done = self.done.entry(key);
                    done.or_insert_with(|| finished(key, drain.on_deadline));
                }
                Some(_) => {}
            }
            match key {
                ItemKey::Backend(_) if item.is_some() && !stands => ended.extend(self.end(&key)),
                ItemKey::NodeDrain if !stands => ended.extend(self.end(&key)),
                ItemKey::VirtualService(frontend) if item.is_none() => {
                    let of = self.under_way.range(backends_of(frontend));
                    let of: Vec<ItemKey> = of.map(|(key, _)| *key).collect();
                    ended.extend(of.iter().filter_map(|key| self.end(key)));
                }
                _ => {}
            }
        }
        news |= !ended.is_empty();
        Revised { ended, news }
    }

    fn end(&mut self, key: &ItemKey) -> Option<DrainId> {
        let under_way = self.under_way.remove(key)?;
        Some(under_way.begun.id())
    }

    /// Gives the virtual services whose connections must be counted; all of them, where the node is drained.
    pub fn counted(&self, state: &NodeState) -> BTreeSet<Frontend> {
        if self.under_way.contains_key(&ItemKey::NodeDrain) {
            let services = state.items().keys().filter_map(|key| match key {
                ItemKey::VirtualService(frontend) => Some(*frontend),
                _ => None,
            });
            return services.collect();
        }
        let of = |key: &ItemKey| match key {
            ItemKey::Backend(backend) => Some(backend.frontend),
            _ => None,
        };
        self.under_way.keys().filter_map(of).collect()
    }

    /// Takes what was counted, and ends what is over by that: it has no connection left, twice in a row, or its time is up
    /// and those that are left are not kept. A backend that is not in the count has none. What is over need only be
    /// written off: from then on it is not wanted.
    pub fn count(
        &mut self,
        counts: &BTreeMap<BackendKey, Connections>,
        state: &NodeState,
        now_unix_ms: u64,
    ) -> Vec<Over> {
        let mut ended = Vec::new();
        for (key, under_way) in &mut self.under_way {
            under_way.counted = match key {
                ItemKey::Backend(backend) => sum(counts.get(backend).into_iter()),
                _ => sum(counts.values()),
            };
            let Counted { active, inactive } = under_way.counted;
            let late = now_unix_ms >= under_way.begun.deadline_unix_ms;
            let cut = late && under_way.begun.on_deadline == OnDeadline::Reset;
            under_way.quiet = match active + inactive {
                0 => under_way.quiet + 1,
                _ => 0,
            };
            let enough = match faults::planted(Bug::OneCountEnough) {
                true => 1,
                false => QUIET_COUNTS,
            };
            if under_way.quiet >= enough || cut {
                ended.push(*key);
            }
        }
        let over = ended.iter().filter_map(|key| self.finish(key, state));
        over.collect()
    }

    /// Gives the services within `scope` that stand in `actual` and lack a backend that is drained.
    pub fn missing(&self, scope: &Scope, actual: &Table) -> BTreeSet<Unit> {
        let within = self.within(scope).into_iter();
        let gone = within.filter_map(|key| match key {
            ItemKey::Backend(backend) if !actual.contains_key(&Key::Item(key)) => {
                Some(backend.frontend)
            }
            _ => None,
        });
        let stands = |frontend: &Frontend| {
            actual.contains_key(&Key::Item(ItemKey::VirtualService(*frontend)))
        };
        gone.filter(stands).map(Unit::Service).collect()
    }

    /// Ends the drains within `scope` whose backends are not in `actual`: somebody took them away.
    pub fn settle(&mut self, scope: &Scope, actual: &Table, state: &NodeState) -> Vec<Over> {
        let within = self.within(scope).into_iter();
        let gone = within.filter(|key| {
            matches!(key, ItemKey::Backend(_)) && !actual.contains_key(&Key::Item(*key))
        });
        let gone: Vec<ItemKey> = gone.collect();
        let over = gone.iter().filter_map(|key| self.finish(key, state));
        over.collect()
    }

    fn finish(&mut self, key: &ItemKey, state: &NodeState) -> Option<Over> {
        let under_way = self.under_way.remove(key)?;
        if state.get(key).is_some_and(|item| drain_of(item).is_some()) {
            let progress = DrainProgress {
                done: true,
                ..progress(&under_way)
            };
            self.done.insert(*key, progress);
        }
        let Counted { active, inactive } = under_way.counted;
        Some(Over {
            id: under_way.begun.id(),
            cut: active + inactive > 0,
        })
    }

    /// Gives what is under way within `scope`.
    fn within(&self, scope: &Scope) -> Vec<ItemKey> {
        let Scope::Units(units) = scope else {
            return self.under_way.keys().copied().collect();
        };
        let services = units.iter().filter_map(|unit| match unit {
            Unit::Service(frontend) => Some(backends_of(*frontend)),
            _ => None,
        });
        let keys = services.flat_map(|of| self.under_way.range(of));
        keys.map(|(key, _)| *key).collect()
    }

    /// Gives how far each drain is, the finished ones included whose item still stands.
    pub fn progress(&self) -> Vec<DrainProgress> {
        let under_way = self.under_way.values().map(progress);
        under_way.chain(self.done.values().cloned()).collect()
    }

    /// Gives what the kernel should hold within `scope`, where it holds `actual`: what `state` says, with the backends
    /// that are drained at weight 0 as long as they are there, and without the VIPs of a node that is done.
    pub fn wanted(
        &self,
        state: &NodeState,
        ledger: &Ledger,
        scope: &Scope,
        actual: &Table,
    ) -> Table {
        let mut table = wanted(state, ledger, scope);
        for key in self.within(scope) {
            let Some(Drained::Backend(backend)) = self.under_way.get(&key).map(|it| &it.begun.what)
            else {
                continue;
            };
            let service = Key::Item(ItemKey::VirtualService(backend.key.frontend));
            if actual.contains_key(&Key::Item(key)) && table.contains_key(&service) {
                let spec = BackendSpec {
                    weight: 0,
                    ..backend_spec(backend)
                };
                table.insert(Key::Item(key), Object::Backend(spec));
            }
        }
        if self.done.contains_key(&ItemKey::NodeDrain) {
            table.retain(|key, object| stays_when_withdrawn(*key, object, state));
        }
        table
    }
}

/// What a changed state ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revised {
    /// The drains that are over.
    pub ended: Vec<DrainId>,
    /// Whether there is anything else to tell than before.
    pub news: bool,
}

/// A drain that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Over {
    /// Which.
    pub id: DrainId,
    /// Whether it had connections left, which are cut.
    pub cut: bool,
}

/// Gives how an item is drained, if it is.
fn drain_of(item: &Item) -> Option<Drain> {
    match item {
        Item::Backend(backend) => backend.drain,
        Item::NodeDrain(drain) => Some(*drain),
        _ => None,
    }
}

fn sum<'a>(counts: impl Iterator<Item = &'a Connections>) -> Counted {
    counts.fold(Counted::default(), |sum, of| Counted {
        active: sum.active + u64::from(of.active),
        inactive: sum.inactive + u64::from(of.inactive),
    })
}

fn progress(under_way: &UnderWay) -> DrainProgress {
    let UnderWay { begun, counted, .. } = under_way;
    DrainProgress {
        key: begun.key(),
        active: counted.active,
        inactive: counted.inactive,
        started_unix_ms: begun.started_unix_ms,
        deadline_unix_ms: begun.deadline_unix_ms,
        on_deadline: begun.on_deadline,
        done: false,
    }
}

/// Gives what there is to say of a drain that was over before this agent started.
fn finished(key: ItemKey, on_deadline: OnDeadline) -> DrainProgress {
    DrainProgress {
        key,
        active: 0,
        inactive: 0,
        started_unix_ms: 0,
        deadline_unix_ms: 0,
        on_deadline,
        done: true,
    }
}

#[cfg(test)]
mod tests;
