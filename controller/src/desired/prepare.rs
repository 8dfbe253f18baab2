//! What a batch changes, worked out before anything does. PURE
//!
//! The services that a batch touches are compiled as it leaves them, and `placing` finds what that changes on the nodes.

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::model::{
    DrainTarget, Endpoint, Generation, Kind, Node, NodeName, Resource, ResourceRef, ServiceName,
};

use super::compile::{Compiled, Items, own_items};
use super::cordons::Cordons;
use super::drains::{DrainBatch, ProposedDrains};
use super::placing::Placing;
use super::resources::{Batch, Proposed, service_of};
use super::rollout::Rollout;
use super::staging::{Staging, compile_as};
use super::{Change, Desired, Outcome};

/// A batch, by what it does.
#[derive(Default)]
pub(super) struct Sorted {
    pub(super) outcomes: BTreeMap<ResourceRef, Outcome>,
    /// What changes.
    pub(super) writes: Batch,
    /// The services of what stays as it is.
    pub(super) kept: BTreeSet<ServiceName>,
}

impl Desired {
    /// Works out what a batch changes. Drains of what goes with it, go with it.
    pub(crate) fn prepare(&self, batch: Batch) -> Change {
        let sorted = self.sort(batch);
        let mut touched = self.touched_by(&sorted.writes);
        let placed = self.place_nodes(&sorted.writes, &mut touched);
        let change = self.change_as(sorted, touched, placed.as_ref().or(self.under_way()));
        Change {
            rollout: placed,
            ..change
        }
    }

    /// Finds what a batch does to each of its resources.
    pub(super) fn sort(&self, batch: Batch) -> Sorted {
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
        Sorted {
            outcomes,
            writes,
            kept,
        }
    }

    /// Works out what a batch changes that touches services, with the rollout that is under way after it.
    pub(super) fn change_as(
        &self,
        sorted: Sorted,
        mut touched: BTreeSet<ServiceName>,
        rollout: Option<&Rollout>,
    ) -> Change {
        let Sorted {
            outcomes,
            writes,
            kept,
        } = sorted;
        touched.extend(self.recordoned_by(&writes, rollout));
        let drains = self.dropped_by(&writes, &mut touched, rollout);
        let holders = self.holders_of(&kept, Compiled::concerns);
        let change = Change {
            outcomes,
            writes,
            drains,
            holders,
            ..Change::default()
        };
        self.change(change, touched, rollout)
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
                    // what was there before may have run there as well
                    let staged = self.under_way().into_iter();
                    services.extend(staged.flat_map(|rollout| rollout.services.iter().cloned()));
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
        let change = Change {
            drains,
            holders: held,
            ..Change::default()
        };
        self.change(change, touched, self.under_way())
    }

    fn change(
        &self,
        change: Change,
        touched: BTreeSet<ServiceName>,
        rollout: Option<&Rollout>,
    ) -> Change {
        let Change { writes, drains, .. } = &change;
        let compiled = self.compile_touched(writes, drains, touched, rollout);
        let set = self.set_on(writes, drains);
        let views = Placing {
            desired: self,
            writes,
            drains: ProposedDrains::new(&self.drains, drains),
            set: &set,
            compiled: &compiled,
        };
        let views = self.views.prepare(views.propose());
        Change {
            compiled,
            views,
            ..change
        }
    }

    /// Gives the services that writes are of.
    pub(super) fn touched_by(&self, writes: &Batch) -> BTreeSet<ServiceName> {
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
    fn dropped_by(
        &self,
        writes: &Batch,
        touched: &mut BTreeSet<ServiceName>,
        rollout: Option<&Rollout>,
    ) -> DrainBatch {
        let mut dropped = DrainBatch::new();
        let proposed = Proposed::new(&self.resources, writes);
        let before = rollout.map(|rollout| {
            let before = Proposed::new(&self.resources, &rollout.before);
            (rollout, before)
        });
        let is_held = |service: &ServiceName, at: &Endpoint| {
            // of what is not rolled out there is one version
            let staged = before.as_ref();
            let staged = staged.filter(|(rollout, _)| rollout.services.contains(service));
            let before = staged.and_then(|(_, before)| before.backend(service, at));
            before.is_some() || proposed.backend(service, at).is_some()
        };
        for service in &*touched {
            let drained = self.drains.backends(service);
            let gone = drained.filter(|at| !is_held(service, at));
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
                // what was there before may have run there as well
                let staged = rollout.into_iter();
                touched.extend(staged.flat_map(|rollout| rollout.services.iter().cloned()));
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
        rollout: Option<&Rollout>,
    ) -> BTreeMap<ServiceName, Option<Compiled>> {
        let proposed = Proposed::new(&self.resources, writes);
        let drains = ProposedDrains::new(&self.drains, drains);
        let cordons = Cordons::new(&self.resources, writes);
        // it costs as much as the rollout has nodes
        let staging = rollout.filter(|rollout| !rollout.services.is_disjoint(&touched));
        let staging = staging.map(|rollout| Staging::new(rollout, &self.resources));
        touched
            .into_iter()
            .map(|name| {
                let compiled = compile_as(&name, &proposed, (&drains, &cordons), staging.as_ref());
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
