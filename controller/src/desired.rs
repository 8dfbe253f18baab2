//! What the cluster is to be, and what every node must hold for it. PURE
//!
//! A batch goes through three steps: `check` finds all that is wrong with it, `prepare` works out what it
//! changes, and, once somebody has made that durable, `take` makes it so. Only `take` changes anything.
//! A change compiles the services it touches and no other.

mod abilities;
mod compile;
mod feed;
mod needs;
mod progress;
mod resources;
#[cfg(test)]
pub(crate) mod samples;
mod validate;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_proto::convert::FieldErrors;
use weir_proto::digest::Digest;
use weir_proto::model::{
    Capability, Generation, Item, Kind, Node, NodeName, Resource, ResourceRef, Revision,
    ServiceName,
};

use abilities::Abilities;
use compile::{Compiled, Part, compile, own_items, part};
pub(crate) use feed::{Feed, Rejected, RejectedReason, Update};
pub(crate) use progress::{MOST_FAILURES, NodeProgress, NodeStatus};
pub(crate) use resources::{Batch, Resources, Stored, reference};
pub(crate) use validate::Places;
use view::Prepared;
pub(crate) use view::View;

/// The resources, and for each node what it must hold.
#[derive(Debug, Default)]
pub(crate) struct Desired {
    resources: Resources,
    compiled: BTreeMap<ServiceName, Compiled>,
    views: BTreeMap<NodeName, View>,
    abilities: Abilities,
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
#[derive(Debug)]
pub(crate) struct Change {
    /// What becomes of each resource of the batch.
    pub(crate) outcomes: BTreeMap<ResourceRef, Outcome>,
    /// The resources that do change; none: it goes.
    pub(crate) writes: Batch,
    compiled: BTreeMap<ServiceName, Option<Compiled>>,
    views: BTreeMap<NodeName, NodeChange>,
    /// The nodes that hold a service of the batch that does not change, with their generation.
    holders: BTreeMap<NodeName, Generation>,
}

#[derive(Debug)]
enum NodeChange {
    Prepared(Prepared),
    /// A node not known so far, with what it must hold.
    New(View),
    Gone,
}

impl Desired {
    /// Takes up a cluster where it was left: its resources, and the generation and digest of each node.
    pub(crate) fn restore(
        resources: impl IntoIterator<Item = (Resource, Revision)>,
        left: &BTreeMap<NodeName, (Generation, Digest)>,
    ) -> Self {
        let mut desired = Self::default();
        let mut services = BTreeSet::new();
        for (resource, revision) in resources {
            if let Resource::Service(service) = &resource {
                services.insert(service.name.clone());
            }
            desired.resources.put(resource, revision);
        }
        let nothing = Batch::new();
        let proposed = resources::Proposed::new(&desired.resources, &nothing);
        let compiled: BTreeMap<_, _> = services
            .into_iter()
            .filter_map(|name| {
                let service = proposed.service(&name)?;
                let compiled = compile(service, proposed.sets_of(&name));
                Some((name, compiled))
            })
            .collect();
        let views = desired
            .resources
            .nodes()
            .map(|node| {
                let own = own_items(node);
                let claims = claims_of(node, compiled.values()).chain(own.values());
                let view = View::restore(claims, left.get(&node.name).copied());
                (node.name.clone(), view)
            })
            .collect();
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
    pub(crate) fn view(&self, node: &NodeName) -> Option<&View> {
        self.views.get(node)
    }

    /// Gives what a node must hold, to lift its generation.
    pub(crate) fn view_mut(&mut self, node: &NodeName) -> Option<&mut View> {
        self.views.get_mut(node)
    }

    /// Gives what each node must hold.
    pub(crate) fn views(&self) -> &BTreeMap<NodeName, View> {
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

    /// Works out what a batch changes.
    pub(crate) fn prepare(&self, batch: Batch) -> Change {
        let mut outcomes = BTreeMap::new();
        let mut writes = Batch::new();
        let mut kept = Vec::new();
        for (reference, resource) in batch {
            let old = self.resources.get(&reference).map(|old| &old.resource);
            let outcome = match (&old, &resource) {
                (None, Some(_)) => Outcome::Created,
                (Some(old), Some(new)) if *old == new => Outcome::Unchanged,
                (Some(_), Some(_)) => Outcome::Updated,
                (_, None) => Outcome::Deleted,
            };
            outcomes.insert(reference.clone(), outcome);
            if outcome == Outcome::Unchanged {
                kept.extend(old.and_then(service_of));
            } else {
                writes.insert(reference, resource);
            }
        }
        let compiled = self.compile_touched(&writes);
        let views = self.prepare_views(&writes, &compiled);
        let holders = self.holders_of(&kept);
        Change {
            outcomes,
            writes,
            compiled,
            views,
            holders,
        }
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
            compiled,
            views,
            holders: _,
        } = change;
        let mut written = Vec::with_capacity(writes.len());
        for (reference, resource) in writes {
            let stored = match resource {
                Some(resource) => Some(self.resources.put(resource, revision)),
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
        for (name, change) in views {
            match change {
                NodeChange::New(view) => {
                    self.views.insert(name, view);
                }
                NodeChange::Gone => {
                    self.views.remove(&name);
                    self.abilities.learn(name, Vec::new());
                }
                NodeChange::Prepared(prepared) => {
                    if let Some(view) = self.views.get_mut(&name) {
                        view.take(prepared);
                    }
                }
            }
        }
        written
    }

    fn compile_touched(&self, writes: &Batch) -> BTreeMap<ServiceName, Option<Compiled>> {
        let proposed = resources::Proposed::new(&self.resources, writes);
        let mut touched = BTreeSet::new();
        for (reference, new) in writes {
            let old = self.resources.get(reference).map(|old| &old.resource);
            touched.extend(old.and_then(service_of));
            touched.extend(new.as_ref().and_then(service_of));
            if new.is_none() && reference.kind == Kind::Service {
                touched.extend(ServiceName::new(&reference.name).ok());
            }
        }
        touched
            .into_iter()
            .map(|name| {
                let service = proposed.service(&name);
                let compiled = service.map(|service| compile(service, proposed.sets_of(&name)));
                (name, compiled)
            })
            .collect()
    }

    fn prepare_views(
        &self,
        writes: &Batch,
        compiled: &BTreeMap<ServiceName, Option<Compiled>>,
    ) -> BTreeMap<NodeName, NodeChange> {
        let differences: Vec<_> = compiled
            .iter()
            .map(|(name, next)| {
                let before = self.compiled.get(name);
                let difference = before
                    .zip(next.as_ref())
                    .map(|(before, next)| before.difference(next));
                (before, next.as_ref(), difference)
            })
            .collect();
        let mut changes = BTreeMap::new();
        let mut written = BTreeSet::new();
        for (reference, resource) in writes {
            let (Kind::Node, Ok(name)) = (reference.kind, NodeName::new(&reference.name)) else {
                continue;
            };
            let Some(Resource::Node(node)) = resource else {
                changes.insert(name, NodeChange::Gone);
                continue;
            };
            let Some(old) = self.resources.node(&name) else {
                let own = own_items(node);
                let services = self.after(compiled).map(|(_, next)| next);
                let claims = claims_of(node, services).chain(own.values());
                changes.insert(name, NodeChange::New(View::restore(claims, None)));
                continue;
            };
            if old != node {
                let own = own_items(node);
                let mut parts = self.relabel(old, node, compiled);
                parts.push(part(&own_items(old), &own));
                self.prepare_view(&name, &parts, &mut changes);
                written.insert(name);
            }
        }
        if differences.is_empty() {
            return changes;
        }
        for node in self.resources.nodes() {
            if changes.contains_key(&node.name) || written.contains(&node.name) {
                continue;
            }
            let mut parts = Vec::new();
            for (before, next, difference) in &differences {
                let held = before.is_some_and(|before| before.selects(&node.labels));
                let holds = next.is_some_and(|next| next.selects(&node.labels));
                match (held, holds, difference) {
                    (true, true, Some(difference)) => {
                        parts.push(difference.everywhere.clone());
                        parts.extend(difference.only_at.get(&node.name).cloned());
                    }
                    (false, false, Some(difference)) => {
                        parts.extend(difference.behind.get(&node.name).cloned());
                    }
                    _ => parts.push(swap((node, *before), (node, *next))),
                }
            }
            self.prepare_view(&node.name, &parts, &mut changes);
        }
        changes
    }

    fn prepare_view(
        &self,
        name: &NodeName,
        parts: &[Part<'_>],
        changes: &mut BTreeMap<NodeName, NodeChange>,
    ) {
        let prepared = self.views.get(name).and_then(|view| view.prepare(parts));
        if let Some(prepared) = prepared {
            changes.insert(name.clone(), NodeChange::Prepared(prepared));
        }
    }

    /// Gives the services as a change leaves them.
    fn after<'a>(
        &'a self,
        compiled: &'a BTreeMap<ServiceName, Option<Compiled>>,
    ) -> impl Iterator<Item = (&'a ServiceName, &'a Compiled)> {
        let kept = self.compiled.iter();
        let kept = kept.filter(|(name, _)| !compiled.contains_key(*name));
        let next = compiled.iter();
        kept.chain(next.filter_map(|(name, next)| Some((name, next.as_ref()?))))
    }

    /// A node that is written looks at every service: with other labels any of them may select it now, or no longer.
    fn relabel<'a>(
        &'a self,
        old: &Node,
        new: &Node,
        compiled: &'a BTreeMap<ServiceName, Option<Compiled>>,
    ) -> Vec<Part<'a>> {
        let mut pairs: BTreeMap<&ServiceName, (Option<&Compiled>, Option<&Compiled>)> =
            BTreeMap::new();
        for (name, service) in self.compiled.iter().filter(|(_, it)| it.concerns(old)) {
            pairs.entry(name).or_default().0 = Some(service);
        }
        for (name, next) in self.after(compiled).filter(|(_, it)| it.concerns(new)) {
            pairs.entry(name).or_default().1 = Some(next);
        }
        let stays = |name: &ServiceName, pair: &(Option<&Compiled>, Option<&Compiled>)| {
            let kept = match *pair {
                (Some(held), Some(holds)) => {
                    held.selects(&old.labels) == holds.selects(&new.labels)
                }
                _ => false,
            };
            kept && !compiled.contains_key(name)
        };
        pairs
            .into_iter()
            .filter(|(name, pair)| !stays(name, pair))
            .map(|(_, (held, holds))| swap((old, held), (new, holds)))
            .collect()
    }

    fn holders_of(&self, services: &[ServiceName]) -> BTreeMap<NodeName, Generation> {
        let kept: Vec<&Compiled> = services
            .iter()
            .filter_map(|name| self.compiled.get(name))
            .collect();
        if kept.is_empty() {
            return BTreeMap::new();
        }
        self.resources
            .nodes()
            .filter(|node| kept.iter().any(|service| service.concerns(node)))
            .filter_map(|node| {
                let view = self.views.get(&node.name)?;
                Some((node.name.clone(), view.generation()))
            })
            .collect()
    }
}

impl Change {
    /// Gives the nodes that see the change or hold what it leaves as it is, with the generation that carries
    /// it there.
    pub(crate) fn targets(&self) -> BTreeMap<NodeName, Generation> {
        let mut targets = self.holders.clone();
        let seen = self.nodes().into_iter();
        targets.extend(seen.filter_map(|(name, node)| Some((name, node?.0))));
        for (name, change) in &self.views {
            if matches!(change, NodeChange::Gone) {
                targets.remove(name);
            }
        }
        targets.retain(|_, generation| *generation != Generation(0));
        targets
    }

    /// Gives the nodes whose state changes, with its generation and digest; none: the node is gone.
    pub(crate) fn nodes(&self) -> BTreeMap<NodeName, Option<(Generation, Digest)>> {
        self.views
            .iter()
            .filter_map(|(name, change)| {
                let node = match change {
                    NodeChange::Gone => None,
                    NodeChange::New(view) => Some((view.generation(), view.digest())),
                    NodeChange::Prepared(prepared) => Some(prepared.seen()?),
                };
                Some((name.clone(), node))
            })
            .collect()
    }
}

/// Gives the service that a resource is or belongs to.
fn service_of(resource: &Resource) -> Option<ServiceName> {
    match resource {
        Resource::Node(_) => None,
        Resource::Service(service) => Some(service.name.clone()),
        Resource::BackendSet(set) => Some(set.service.clone()),
    }
}

/// Gives what services want of a node.
fn claims_of<'a>(
    node: &Node,
    services: impl Iterator<Item = &'a Compiled>,
) -> impl Iterator<Item = &'a Item> {
    services.flat_map(|service| service.items_for(node))
}

/// Lets go of what a node held and claims what it holds.
fn swap<'a>(
    (old, held): (&Node, Option<&Compiled>),
    (new, holds): (&Node, Option<&'a Compiled>),
) -> Part<'a> {
    Part {
        released: held
            .into_iter()
            .flat_map(|service| service.items_for(old))
            .map(Item::key)
            .collect(),
        claimed: holds
            .into_iter()
            .flat_map(|service| service.items_for(new))
            .collect(),
        edited: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
