//! What a batch changes, worked out before anything does. PURE
//!
//! The services that a batch touches are compiled as it leaves them, and `placing` finds what that changes on the nodes.

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::model::{
    DrainTarget, Generation, Kind, Node, NodeName, Resource, ResourceRef, ServiceName,
};

use super::compile::{Compiled, Items, compile, own_items};
use super::drains::{DrainBatch, ProposedDrains};
use super::placing::Placing;
use super::resources::{Batch, Proposed, service_of};
use super::{Change, Desired, Outcome};

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
        let holds = |service: &Compiled, node: &Node| service.version_for(node).is_some();
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
        let set = self.set_on(&writes, &drains);
        let views = Placing {
            desired: self,
            writes: &writes,
            drains: ProposedDrains::new(&self.drains, &drains),
            set: &set,
            compiled: &compiled,
        };
        let views = self.views.prepare(views.propose());
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

    /// Gives what is set on the nodes of which that may change, before and after.
    fn set_on(&self, writes: &Batch, drains: &DrainBatch) -> BTreeMap<NodeName, (Items, Items)> {
        let drained = drains.keys().filter_map(|target| match target {
            DrainTarget::Node(name) => self.resources.node(name),
            DrainTarget::Backend(..) => None,
        });
        let mut after: BTreeMap<&NodeName, &Node> =
            drained.map(|node| (&node.name, node)).collect();
        after.extend(writes.values().filter_map(|written| match written {
            Some(Resource::Node(node)) => Some((&node.name, node)),
            _ => None,
        }));
        let drains = ProposedDrains::new(&self.drains, drains);
        let set = after.into_iter().filter_map(|(name, node)| {
            let before = own_items(self.resources.node(name)?, self.drains.node(name));
            let after = own_items(node, drains.node(name));
            Some((name.clone(), (before, after)))
        });
        set.collect()
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
