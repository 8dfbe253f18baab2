//! What a batch changes, worked out before anything does. PURE
//!
//! The services that a batch touches are compiled as it leaves them, and what that changes is found node by node.

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::model::{
    DrainTarget, Generation, Item, Kind, Node, NodeName, Resource, ResourceRef, ServiceName,
};

use super::compile::{Compiled, Part, compile, own_items, part};
use super::drains::{DrainBatch, ProposedDrains};
use super::resources::{Batch, Proposed, service_of};
use super::view::View;
use super::{Change, Desired, NodeChange, Outcome, claims_of};

impl Desired {
    /// Works out what a batch changes. Drains of what goes with it, go with it.
    pub(crate) fn prepare(&self, batch: Batch) -> Change {
        let mut outcomes = BTreeMap::new();
        let mut writes = Batch::new();
        let mut kept = BTreeSet::new();
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
        let mut touched = self.touched_by(&writes);
        let drains = self.dropped_by(&writes, &mut touched);
        let holders = self.holders_of(&kept, Compiled::concerns);
        self.change(outcomes, writes, drains, (touched, holders))
    }

    /// Works out what other drains change. The services whose backends are drained, or run on a node that is, are
    /// compiled, and no other.
    pub(crate) fn prepare_drains(&self, batch: DrainBatch) -> Change {
        let (mut touched, mut kept) = (BTreeSet::new(), BTreeSet::new());
        let mut drains = DrainBatch::new();
        let mut held = BTreeMap::new();
        for (target, asked) in batch {
            let now = self.drains.get(&target).map(|now| now.terms);
            let changes = now != asked.map(|asked| asked.terms);
            let services = if changes { &mut touched } else { &mut kept };
            match &target {
                DrainTarget::Backend(service, _) => {
                    services.insert(service.clone());
                }
                DrainTarget::Node(name) => {
                    services.extend(self.resources.services_on(name));
                    let view = self.views.get(name);
                    held.extend(view.map(|view| (name.clone(), view.generation())));
                }
            }
            if changes {
                drains.insert(target, asked);
            }
        }
        // a node that only takes the packets of others has no backend to drain, and tells of none
        let holds = |service: &Compiled, node: &Node| service.selects(&node.labels);
        held.extend(self.holders_of(&kept, holds));
        self.change(BTreeMap::new(), Batch::new(), drains, (touched, held))
    }

    fn change(
        &self,
        outcomes: BTreeMap<ResourceRef, Outcome>,
        writes: Batch,
        drains: DrainBatch,
        (touched, holders): (BTreeSet<ServiceName>, BTreeMap<NodeName, Generation>),
    ) -> Change {
        let compiled = self.compile_touched(&writes, &drains, touched);
        let views = self.prepare_views(&writes, &drains, &compiled);
        Change {
            outcomes,
            writes,
            drains,
            compiled,
            views,
            holders,
        }
    }

    /// Gives the services that writes are of.
    fn touched_by(&self, writes: &Batch) -> BTreeSet<ServiceName> {
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
    }

    /// Finds the drains that are of nothing after writes. The end of a node's drain touches what ran there.
    fn dropped_by(&self, writes: &Batch, touched: &mut BTreeSet<ServiceName>) -> DrainBatch {
        let mut dropped = DrainBatch::new();
        let proposed = Proposed::new(&self.resources, writes);
        for service in &*touched {
            let drained = self.drains.backends(service);
            let gone = drained.filter(|at| proposed.backend(service, at).is_none());
            dropped.extend(gone.map(|at| (DrainTarget::Backend(service.clone(), *at), None)));
        }
        for (reference, resource) in writes {
            let (Kind::Node, None) = (reference.kind, resource) else {
                continue;
            };
            let Ok(name) = NodeName::new(&reference.name) else {
                continue;
            };
            let target = DrainTarget::Node(name.clone());
            if self.drains.get(&target).is_some() {
                touched.extend(self.resources.services_on(&name));
                dropped.insert(target, None);
            }
        }
        dropped
    }

    fn compile_touched(
        &self,
        writes: &Batch,
        drains: &DrainBatch,
        touched: BTreeSet<ServiceName>,
    ) -> BTreeMap<ServiceName, Option<Compiled>> {
        let proposed = Proposed::new(&self.resources, writes);
        let drains = ProposedDrains::new(&self.drains, drains);
        touched
            .into_iter()
            .map(|name| {
                let service = proposed.service(&name);
                let compiled = service
                    .map(|service| compile(service, proposed.sets_of(&name), &drains.of(&name)));
                (name, compiled)
            })
            .collect()
    }

    fn prepare_views(
        &self,
        writes: &Batch,
        drains: &DrainBatch,
        compiled: &BTreeMap<ServiceName, Option<Compiled>>,
    ) -> BTreeMap<NodeName, NodeChange> {
        let of_nodes = drains.keys();
        let of_nodes = of_nodes.filter_map(|target| match target {
            DrainTarget::Node(name) => Some(name),
            DrainTarget::Backend(..) => None,
        });
        let redrained: BTreeSet<&NodeName> = of_nodes.collect();
        let drains = ProposedDrains::new(&self.drains, drains);
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
                let own = own_items(node, drains.node(&name));
                let services = self.after(compiled).map(|(_, next)| next);
                let claims = claims_of(node, services).chain(own.values());
                changes.insert(name, NodeChange::New(View::restore(claims, None)));
                continue;
            };
            if old != node {
                let own = own_items(node, drains.node(&name));
                let mut parts = self.relabel(old, node, compiled);
                let before = own_items(old, self.drains.node(&name));
                parts.push(part(&before, &own));
                self.prepare_view(&name, &parts, &mut changes);
                written.insert(name);
            }
        }
        if differences.is_empty() && redrained.is_empty() {
            return changes;
        }
        for node in self.resources.nodes() {
            if changes.contains_key(&node.name) || written.contains(&node.name) {
                continue;
            }
            let mut parts = Vec::new();
            let own;
            if redrained.contains(&node.name) {
                own = own_items(node, drains.node(&node.name));
                let before = own_items(node, self.drains.node(&node.name));
                parts.push(part(&before, &own));
            }
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

    /// Gives the nodes that have anything to do with one of these services, by the sense of `has`.
    fn holders_of(
        &self,
        services: &BTreeSet<ServiceName>,
        has: impl Fn(&Compiled, &Node) -> bool,
    ) -> BTreeMap<NodeName, Generation> {
        let kept: Vec<&Compiled> = services
            .iter()
            .filter_map(|name| self.compiled.get(name))
            .collect();
        if kept.is_empty() {
            return BTreeMap::new();
        }
        self.resources
            .nodes()
            .filter(|node| kept.iter().any(|service| has(service, node)))
            .filter_map(|node| {
                let view = self.views.get(&node.name)?;
                Some((node.name.clone(), view.generation()))
            })
            .collect()
    }
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
