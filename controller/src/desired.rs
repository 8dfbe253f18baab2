//! What the cluster is to be, and what every node must hold for it. PURE
//!
//! A batch goes through three steps: `check` finds all that is wrong with it, `prepare` works out what it
//! changes, and, once somebody has made that durable, `take` makes it so. Only `take` changes anything.
//! A change compiles the services it touches and no other.

mod abilities;
mod compile;
mod cordons;
mod drains;
pub(crate) mod events;
mod feed;
mod history;
mod needs;
mod pace;
mod placing;
mod prepare;
mod progress;
mod resources;
mod rollout;
#[cfg(test)]
pub(crate) mod samples;
mod staged;
mod staging;
mod traffic;
mod validate;
mod view;
pub(crate) mod why;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_proto::convert::FieldErrors;
use weir_proto::digest::Digest;
use weir_proto::model::{
    AskedDrain, Capability, DrainTarget, DrainTerms, Generation, Kind, NodeName, Resource,
    ResourceRef, Revision, ServiceName,
};

use abilities::Abilities;
use compile::{Compiled, own_items};
pub(crate) use drains::{DrainBatch, Drained, Drains, ListedDrain};
pub(crate) use events::{Event, EventBatch, Events, Happening, Reason};
pub(crate) use feed::{Feed, MOST_UNDER_WAY, Rejected, RejectedReason, Update};
pub(crate) use history::{Before, History, HistoryBatch, Past, What, going_back};
pub(crate) use pace::Pace;
use placing::Census;
pub(crate) use progress::{MOST_FAILURES, MOST_REPAIRS, NodeProgress, NodeStatus, Tally};
pub(crate) use resources::{Batch, Resources, Stored, reference};
pub(crate) use rollout::{Count, Heard, Member, Next, NotNow, Recent, Rollout};
pub(crate) use staged::Staged;
pub(crate) use staging::{Begin, HeldUp};
use staging::{Staging, compile_as};
pub(crate) use traffic::{
    BackendPassing, NodePassing, Passing, Report, RollUp, ServicePassing, Sum, Totals, TrafficQuery,
};
pub(crate) use validate::Places;
use view::ViewsChange;
pub(crate) use view::{Content, Shared, View, ViewMut, Views};

/// The resources, and for each node what it must hold.
#[derive(Debug, Default)]
pub(crate) struct Desired {
    resources: Resources,
    compiled: BTreeMap<ServiceName, Compiled>,
    views: Views,
    drains: Drains,
    abilities: Abilities,
    /// The last one, under way or over.
    rollout: Option<Rollout>,
    /// How many times a service was compiled, which tells what changes cost.
    compilations: u64,
}

/// What became of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Created,
    Updated,
    Unchanged,
    Deleted,
}

/// What a batch changes; nothing has changed yet.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// What becomes of each resource of the batch.
    pub(crate) outcomes: BTreeMap<ResourceRef, Outcome>,
    /// The resources that do change; none: it goes.
    pub(crate) writes: Batch,
    /// The drains that do change.
    pub(crate) drains: DrainBatch,
    compiled: BTreeMap<ServiceName, Option<Compiled>>,
    views: ViewsChange,
    /// The nodes that hold a service of the batch that does not change, with their generation.
    pub(crate) holders: BTreeMap<NodeName, Generation>,
    /// What becomes of the rollout; none: it stays as it is.
    pub(crate) rollout: Option<Rollout>,
    /// When it is made, in Unix milliseconds: what it creates is as old.
    pub(crate) made_unix_ms: u64,
}

impl Desired {
    /// Takes up a cluster where it was left: its resources, its drains, the last rollout, and the generation and digest of
    /// each node.
    pub(crate) fn restore(
        resources: impl IntoIterator<Item = Stored>,
        drains: Drains,
        rollout: Option<Rollout>,
        left: &BTreeMap<NodeName, (Generation, Digest)>,
    ) -> Self {
        let mut desired = Self {
            drains,
            rollout,
            ..Self::default()
        };
        let mut services = BTreeSet::new();
        for stored in resources {
            if let Resource::Service(service) = &stored.resource {
                services.insert(service.name.clone());
            }
            desired.resources.put(stored);
        }
        let nothing = Batch::new();
        let proposed = resources::Proposed::new(&desired.resources, &nothing);
        let same = DrainBatch::new();
        let drains = drains::ProposedDrains::new(&desired.drains, &same);
        let cordons = cordons::Cordons::new(&desired.resources, &nothing);
        let staging = desired.under_way();
        let staging = staging.map(|rollout| Staging::new(rollout, &desired.resources));
        let compiled: BTreeMap<_, _> = services
            .into_iter()
            .filter_map(|name| {
                let compiled = compile_as(&name, &proposed, (&drains, &cordons), staging.as_ref())?;
                Some((name, compiled))
            })
            .collect();
        let census = Census::new(&compiled);
        let nodes = desired.resources.nodes().map(|node| {
            let set = own_items(node, drains.node(&node.name));
            (node.name.clone(), census.joining(node, set))
        });
        let views = Views::restore(nodes, left);
        desired.compilations += compiled.len() as u64;
        desired.compiled = compiled;
        desired.views = views;
        desired
    }

    /// Gives the resources.
    pub(crate) fn resources(&self) -> &Resources {
        &self.resources
    }

    /// Gives what a node must hold.
    pub(crate) fn view(&self, node: &NodeName) -> Option<View<'_>> {
        self.views.get(node)
    }

    /// Gives what a node must hold, to lift its generation and to tell it.
    pub(crate) fn view_mut(&mut self, node: &NodeName) -> Option<ViewMut<'_>> {
        self.views.get_mut(node)
    }

    /// Gives what each node must hold.
    pub(crate) fn views(&self) -> &Views {
        &self.views
    }

    /// Counts the services.
    pub(crate) fn services(&self) -> usize {
        self.compiled.len()
    }

    /// Counts how many times a service was compiled.
    pub(crate) fn compilations(&self) -> u64 {
        self.compilations
    }

    /// Finds everything that keeps a batch from being written.
    pub(crate) fn check(&self, batch: &Batch, places: &Places) -> Result<(), FieldErrors> {
        validate::check(&self.resources, batch, places, &self.abilities)
    }

    /// Gives what a node's kernel can do; nothing: it is not known.
    pub(crate) fn capabilities(&self, node: &NodeName) -> &[Capability] {
        self.abilities.of(node)
    }

    /// Notes what a node's kernel can do; nothing: it is no longer known.
    pub(crate) fn learn(&mut self, node: NodeName, capabilities: Vec<Capability>) {
        self.abilities.learn(node, capabilities);
    }

    /// Takes up what was known of the nodes' kernels.
    pub(crate) fn with_capabilities(self, known: BTreeMap<NodeName, Vec<Capability>>) -> Self {
        Self {
            abilities: Abilities::restore(known),
            ..self
        }
    }

    /// Makes a batch of drains that are asked for now, in Unix milliseconds; one that is there already counts from when it
    /// was asked for first. Gives what is not there otherwise.
    pub(crate) fn draining(
        &self,
        targets: Vec<DrainTarget>,
        terms: DrainTerms,
        now: u64,
    ) -> Result<DrainBatch, Vec<DrainTarget>> {
        let is_there = |target: &DrainTarget| match target {
            DrainTarget::Backend(service, at) => {
                self.resources.backend(service, at).is_some() || self.was_before(service, at)
            }
            DrainTarget::Node(name) => self.resources.node(name).is_some(),
        };
        let (there, missing): (Vec<_>, Vec<_>) = targets.into_iter().partition(is_there);
        if !missing.is_empty() {
            return Err(missing);
        }
        let asked = |target: DrainTarget| {
            let before = self.drains.get(&target);
            let at_unix_ms = before.map_or(now, |before| before.at_unix_ms);
            (target, Some(AskedDrain { terms, at_unix_ms }))
        };
        Ok(there.into_iter().map(asked).collect())
    }

    /// Makes a batch of drains that end. Gives what is not drained otherwise.
    pub(crate) fn undraining(
        &self,
        targets: Vec<DrainTarget>,
    ) -> Result<DrainBatch, Vec<DrainTarget>> {
        let is_drained = |target: &DrainTarget| self.drains.get(target).is_some();
        let (drained, missing): (Vec<_>, Vec<_>) = targets.into_iter().partition(is_drained);
        if !missing.is_empty() {
            return Err(missing);
        }
        Ok(drained.into_iter().map(|target| (target, None)).collect())
    }

    /// Makes a batch of deletions; a service takes its backend sets with it. Gives what is not there
    /// otherwise.
    pub(crate) fn deletion(&self, refs: &[ResourceRef]) -> Result<Batch, Vec<ResourceRef>> {
        let missing: Vec<ResourceRef> = refs
            .iter()
            .filter(|reference| self.resources.get(reference).is_none())
            .cloned()
            .collect();
        if !missing.is_empty() {
            return Err(missing);
        }
        let mut batch = Batch::new();
        for named in refs {
            if named.kind == Kind::Service {
                for set in self.resources.sets_of(&named.name) {
                    batch.insert(reference(Kind::BackendSet, set.as_str()), None);
                }
            }
            batch.insert(named.clone(), None);
        }
        Ok(batch)
    }

    /// Makes a change that was prepared on this very state. Gives the resources written; none: it went.
    pub(crate) fn take(
        &mut self,
        change: Change,
        revision: Revision,
    ) -> Vec<(ResourceRef, Outcome, Option<Arc<Stored>>)> {
        let Change {
            outcomes,
            writes,
            drains,
            compiled,
            views,
            holders: _,
            rollout,
            made_unix_ms,
        } = change;
        if rollout.is_some() {
            self.rollout = rollout;
        }
        for (target, asked) in drains {
            self.drains.set(target, asked);
        }
        let mut written = Vec::with_capacity(writes.len());
        for (reference, resource) in writes {
            let stored = match resource {
                Some(resource) => {
                    let before = self.resources.get(&reference);
                    let created_unix_ms = before.map_or(made_unix_ms, |it| it.created_unix_ms);
                    Some(self.resources.put(Stored {
                        resource,
                        revision,
                        created_unix_ms,
                    }))
                }
                None => {
                    self.resources.remove(&reference);
                    None
                }
            };
            let outcome = outcomes.get(&reference).copied();
            written.push((reference, outcome.unwrap_or(Outcome::Updated), stored));
        }
        self.compilations += compiled.len() as u64;
        for (name, compiled) in compiled {
            match compiled {
                Some(compiled) => self.compiled.insert(name, compiled),
                None => self.compiled.remove(&name),
            };
        }
        let gone = views.seen().iter().filter(|(_, seen)| seen.is_none());
        for (name, _) in gone {
            self.abilities.learn(name.clone(), Vec::new());
        }
        self.views.take(views);
        written
    }
}

impl Change {
    /// Gives the nodes that see the change or hold what it leaves as it is, with the generation that carries
    /// it there.
    pub(crate) fn targets(&self) -> BTreeMap<NodeName, Generation> {
        let seen = self.views.seen();
        let holders = self.holders.iter().map(|(name, at)| (name, *at));
        let holders = holders.filter(|(name, _)| !seen.contains_key(*name));
        let seen = seen.iter().filter_map(|(name, seen)| {
            let (generation, _) = seen.as_ref()?;
            Some((name, *generation))
        });
        let all = seen.chain(holders).filter(|(_, at)| *at != Generation(0));
        // all at once: mostly it is all nodes, in the order of their names, and then none is searched for
        all.map(|(name, at)| (name.clone(), at)).collect()
    }

    /// Gives the nodes whose state changes, with its generation and digest; none: the node is gone.
    pub(crate) fn nodes(&self) -> &BTreeMap<NodeName, Option<(Generation, Digest)>> {
        self.views.seen()
    }
}

#[cfg(test)]
mod tests;
