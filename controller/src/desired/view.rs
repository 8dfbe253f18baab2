//! What one node must hold, counted in generations, and how a node that is behind catches up. PURE
//!
//! Nodes that hold the same services in the same versions are a group and share what they hold in common; only what differs
//! from node to node is each one's own. The digest is a sum, so the digest of a node is that of what is common and that of
//! what it has beside it. A change is prepared, made durable by somebody else, and then taken: preparing changes nothing.

mod alike;
mod groups;
mod history;
mod own;
mod prepare;
mod shared;
mod staged;
mod take;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use weir_proto::digest::Digest;
use weir_proto::model::{
    BackendKey, Endpoint, Frontend, Generation, Item, ItemKey, NodeBackend, Port,
};

use alike::Common;
use groups::Groups;
pub(crate) use groups::{GroupId, Views};
use own::Own;
pub(crate) use prepare::{Class, Joining, Proposal, ViewsChange};
pub(crate) use shared::Shared;

/// How many deltas of one group are kept for the next node that misses just the same.
const MOST_KEPT: usize = 256;

/// One node's state and its generation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    own: &'a Own,
    common: &'a Common,
    groups: &'a Groups,
}

/// One node's state, to lift its generation and to tell it what it misses.
#[derive(Debug)]
pub(crate) struct ViewMut<'a> {
    own: &'a mut Own,
    common: &'a Common,
    groups: &'a Groups,
    kept: &'a mut Kept,
}

/// What brings nodes of a group that hold some common content to what it holds now; without content: all of it.
type Kept = BTreeMap<Option<Digest>, Arc<Shared>>;

/// What brings a node that holds some state to the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CatchUp {
    /// It holds what it must.
    Nothing,
    /// These changes of what it holds.
    Delta(Content),
    /// All of it; what is not in it is not to be held.
    Snapshot(Content),
}

/// Items to hold, over those that have their keys, and items not to hold; none is in both parts of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// What others are sent as well; none: nothing.
    pub(crate) common: Option<Arc<Shared>>,
    pub(crate) upserted: Vec<Item>,
    pub(crate) removed: Vec<ItemKey>,
}

/// Where a node's content is found: the step of its own, and of what was common then the digest and its place.
#[derive(Debug, Clone, Copy)]
struct Base {
    step: usize,
    common: Digest,
    place: u64,
}

impl Content {
    /// Counts the items that come and go.
    pub(crate) fn len(&self) -> usize {
        let common = self.common.as_ref();
        let common = common.map_or(0, |common| common.upserted().len() + common.removed().len());
        common + self.upserted.len() + self.removed.len()
    }

    /// Gives the digest of the items that come. Walks over them.
    pub(super) fn digest(&self) -> Digest {
        let common = self.common.iter();
        let items = common.flat_map(|common| common.upserted());
        let mut digest = Digest::default();
        for item in items.chain(&self.upserted) {
            digest.add(item);
        }
        digest
    }
}

impl View<'_> {
    /// Gives the digest of the items.
    pub(crate) fn digest(&self) -> Digest {
        self.common.digest() + self.own.digest()
    }

    /// Gives the generation of the state.
    pub(crate) fn generation(&self) -> Generation {
        self.own.generation
    }

    /// Counts the items.
    pub(crate) fn len(&self) -> usize {
        self.common.state().items().len() + self.own.shown()
    }

    /// Says whether a node that holds `held` holds what it must; one that holds nothing holds the empty state.
    pub(crate) fn is(&self, held: Option<Digest>) -> bool {
        held.unwrap_or_default() == self.digest()
    }

    /// Gives the items that only this node has.
    fn shown(&self) -> impl Iterator<Item = &Item> {
        let own = self.own.items();
        let shown = own.filter(|(key, _)| !self.common.holds(key));
        shown.map(|(_, item)| item)
    }

    /// Gives an item.
    pub(crate) fn get(&self, key: &ItemKey) -> Option<&Item> {
        self.common.state().get(key).or_else(|| self.own.get(key))
    }

    /// Gives the backends of a frontend. Walks over what only this node has.
    pub(crate) fn backends(&self, frontend: Frontend) -> impl Iterator<Item = &NodeBackend> {
        let bound = |address: IpAddr, port: Port| {
            let endpoint = Endpoint { address, port };
            ItemKey::Backend(BackendKey { frontend, endpoint })
        };
        let all = bound([0; 4].into(), Port::LEAST)..=bound([0xff; 16].into(), Port::GREATEST);
        let common = self.common.state().items().range(all);
        let items = common.map(|(_, item)| item).chain(self.shown());
        items.filter_map(move |item| match item {
            Item::Backend(backend) if backend.key.frontend == frontend => Some(backend),
            _ => None,
        })
    }

    /// Finds content that the node had. It is known by its digest alone, whoever counted its generation: as the sum of
    /// what the node had of its own at some time and what its group had in common at some time. That the two were never
    /// there together does no harm: what differs from them now is the same.
    fn find(&self, held: Digest) -> Option<Base> {
        let steps = self.own.steps().iter().enumerate().rev();
        steps
            .filter_map(|(step, own)| {
                let common = held - own.digest;
                let place = self.groups.history(own.group)?.place(common)?;
                Some(Base {
                    step,
                    common,
                    place,
                })
            })
            .next()
    }

    /// Gives the keys in which what is common may differ from what it was.
    fn common_keys(&self, base: Base) -> Option<BTreeSet<ItemKey>> {
        let mut steps = self.own.steps().iter().skip(base.step);
        let mut group = steps.next()?.group;
        let mut place = base.place;
        let mut keys = BTreeSet::new();
        for step in steps {
            if let Some(moved) = &step.moved {
                keys.extend(self.groups.history(group)?.between(place, moved.left)?);
                keys.extend(moved.between.as_ref()?.iter());
                (group, place) = (step.group, moved.came);
            }
        }
        let history = self.groups.history(group)?;
        keys.extend(history.between(place, history.last())?);
        Some(keys)
    }

    fn common_delta(&self, base: Base) -> Option<Arc<Shared>> {
        let (mut upserted, mut removed) = (Vec::new(), Vec::new());
        for key in self.common_keys(base)? {
            match self.common.state().get(&key) {
                Some(item) => upserted.push(item.clone()),
                None => removed.push(key),
            }
        }
        Some(Arc::new(Shared::new(upserted, removed)))
    }

    fn common_whole(&self) -> Arc<Shared> {
        let items = self.common.state().items().values();
        Arc::new(Shared::new(items.cloned().collect(), Vec::new()))
    }

    fn delta(&self, base: Base, common: &Arc<Shared>) -> Content {
        if self.keeps_some_of(common) {
            return self.delta_alone(base, common);
        }
        let (mut upserted, mut removed) = (Vec::new(), Vec::new());
        for key in self.own.keys_after(base.step) {
            match self.own.get(&key) {
                // what is common says what became of it
                _ if self.common.holds(&key) => {}
                Some(item) => upserted.push(item.clone()),
                None if common.removes(&key) => {}
                None => removed.push(key),
            }
        }
        Content {
            common: (!common.is_empty()).then(|| Arc::clone(common)),
            upserted,
            removed,
        }
    }

    /// Says whether the node has of its own what others let go, or what came and went meanwhile and it had all along.
    fn keeps_some_of(&self, common: &Shared) -> bool {
        // most changes let nothing go
        let mut own = self.own.items();
        !common.removed().is_empty() && own.any(|(key, _)| common.removes(key))
    }

    /// Makes a delta that nobody else gets: the node keeps what others let go.
    fn delta_alone(&self, base: Base, common: &Shared) -> Content {
        let mut keys = self.own.keys_after(base.step);
        keys.extend(common.keys());
        let mut content = Content::default();
        for key in keys {
            match self.get(&key) {
                Some(item) => content.upserted.push(item.clone()),
                None => content.removed.push(key),
            }
        }
        content
    }

    fn whole(&self, common: &Arc<Shared>) -> CatchUp {
        CatchUp::Snapshot(Content {
            common: (!common.is_empty()).then(|| Arc::clone(common)),
            upserted: self.shown().cloned().collect(),
            removed: Vec::new(),
        })
    }
}

impl<'a> ViewMut<'a> {
    /// Gives the view to look at.
    pub(crate) fn look(&self) -> View<'_> {
        View {
            own: self.own,
            common: self.common,
            groups: self.groups,
        }
    }

    /// Lifts the generation, if it is lower. The state stays what it is: a generation may be passed over.
    pub(crate) fn raise(&mut self, least: Generation) {
        self.own.generation = self.own.generation.max(least);
    }

    /// Works out what brings a node that holds `held` to the view. The cost of a delta is that of the
    /// changes since, whatever the size of the state, and its common part is made for the first node that misses it.
    pub(crate) fn catch_up(&mut self, held: Option<Digest>) -> CatchUp {
        let view = self.look();
        if view.is(held) {
            return CatchUp::Nothing;
        }
        let Some(base) = held.and_then(|held| view.find(held)) else {
            return self.snapshot();
        };
        if let Some(common) = self.kept.get(&Some(base.common)) {
            return CatchUp::Delta(view.delta(base, common));
        }
        let Some(common) = view.common_delta(base) else {
            return self.snapshot();
        };
        let delta = view.delta(base, &common);
        if self.kept.len() >= MOST_KEPT {
            self.kept.clear();
        }
        self.kept.insert(Some(base.common), common);
        CatchUp::Delta(delta)
    }

    /// Gives all of it.
    pub(crate) fn snapshot(&mut self) -> CatchUp {
        if let Some(common) = self.kept.get(&None) {
            return self.look().whole(common);
        }
        let common = self.look().common_whole();
        let whole = self.look().whole(&common);
        self.kept.insert(None, common);
        whole
    }
}

#[cfg(test)]
impl View<'_> {
    /// Gives the items by key, with their digest.
    pub(crate) fn state(&self) -> weir_proto::state::NodeState {
        let common = self.common.state().items().values();
        common.chain(self.shown()).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
