//! Services in two versions: what a rollout brings to the nodes that it has reached, and what was there before. PURE
//!
//! The resources are the new ones at once; only which version a node holds depends on how far the rollout is. A node that was
//! never reached hears nothing of it, whether it goes on or is undone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_proto::model::{
    Canary, Endpoint, Frontend, Generation, ItemKey, Kind, NodeName, Resource, Revision,
    RolloutPhase, ServiceName,
};

use super::compile::{Compiled, compile};
use super::cordons::Cordons;
use super::drains::ProposedDrains;
use super::prepare::Sorted;
use super::resources::{Batch, Proposed, Resources, service_of};
use super::rollout::{Count, Member, Rollout};
use super::{Change, Desired};

/// How a rollout begins.
#[derive(Debug, Clone)]
pub(crate) struct Begin {
    pub(crate) canary: Canary,
    /// That of the write which begins it.
    pub(crate) revision: Revision,
    pub(crate) who: String,
    pub(crate) now_unix_ms: u64,
    pub(crate) allow_mass_delete: bool,
}

/// A write that a rollout stands in the way of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "rollout {revision} is {phase}, and {what} is of it: wait until it is over, or undo it first"
)]
pub(crate) struct HeldUp {
    pub(crate) revision: Revision,
    pub(crate) phase: RolloutPhase,
    pub(crate) what: String,
}

/// The services of a rollout as they were before it, and which nodes it has reached.
pub(super) struct Staging<'a> {
    services: &'a BTreeSet<ServiceName>,
    before: Proposed<'a>,
    reached: Arc<BTreeSet<NodeName>>,
}

impl<'a> Staging<'a> {
    pub(super) fn new(rollout: &'a Rollout, resources: &'a Resources) -> Self {
        Self {
            services: &rollout.services,
            before: Proposed::new(resources, &rollout.before),
            reached: Arc::new(rollout.reached()),
        }
    }
}

/// Compiles a service, in both versions while there are two; none: there is no such service. Drains and cordons are of no
/// version: they count at once, and everywhere.
pub(super) fn compile_as(
    name: &ServiceName,
    proposed: &Proposed<'_>,
    (drains, cordons): (&ProposedDrains<'_>, &Cordons<'_>),
    staging: Option<&Staging<'_>>,
) -> Option<Compiled> {
    let of = |resources: &Proposed<'_>| {
        let service = resources.service(name)?;
        let sets = resources.sets_of(name);
        Some(compile(service, sets, &drains.of(name), cordons))
    };
    let current = of(proposed)?;
    Some(match staging {
        Some(staging) if staging.services.contains(name) => {
            current.staged(of(&staging.before), Arc::clone(&staging.reached))
        }
        _ => current,
    })
}

impl Desired {
    /// Gives the last rollout.
    pub(crate) fn rollout(&self) -> Option<&Rollout> {
        self.rollout.as_ref()
    }

    /// Gives the last rollout, to note what nodes say of it.
    pub(crate) fn rollout_mut(&mut self) -> Option<&mut Rollout> {
        self.rollout.as_mut()
    }

    /// Gives the rollout that is under way.
    pub(crate) fn under_way(&self) -> Option<&Rollout> {
        let rollout = self.rollout.as_ref();
        rollout.filter(|rollout| rollout.phase.is_under_way())
    }

    /// Says whether an item of a node is of the rollout that is under way, in either version.
    pub(crate) fn is_rolled_out(&self, node: &NodeName, key: &ItemKey) -> bool {
        let rollout = self.under_way().into_iter();
        let services = rollout.flat_map(|rollout| &rollout.services);
        let mut compiled = services.filter_map(|name| self.compiled.get(name));
        compiled.any(|service| service.wants(node, key))
    }

    /// Works out what a batch changes that is rolled out: its resources, and nothing on any node yet. `usual` says how often
    /// connections to some services fail. A batch that changes nothing begins nothing.
    pub(crate) fn prepare_rollout(
        &self,
        batch: Batch,
        begin: Begin,
        usual: impl Fn(&ServiceName) -> Count,
    ) -> Change {
        let sorted = self.sort(batch);
        if sorted.writes.is_empty() {
            return self.change_as(sorted, BTreeSet::new(), self.under_way());
        }
        let touched = self.touched_by(&sorted.writes);
        let mut counted = Count::default();
        for name in &touched {
            counted.add(usual(name));
        }
        let Begin {
            canary,
            revision,
            who,
            now_unix_ms,
            allow_mass_delete,
        } = begin;
        let before = sorted.writes.keys().map(|reference| {
            let stored = self.resources.get(reference);
            let before = stored.map(|stored| stored.resource.clone());
            (reference.clone(), before)
        });
        let rollout = Rollout {
            revision,
            canary,
            step: 0,
            phase: RolloutPhase::Running,
            reason: String::new(),
            before: Arc::new(before.collect()),
            members: self.touched_nodes(&sorted.writes, &touched),
            services: touched.clone(),
            who,
            begun_unix_ms: now_unix_ms,
            changed_unix_ms: now_unix_ms,
            allow_mass_delete,
            usual: counted,
        };
        let change = self.change_as(sorted, touched, Some(&rollout));
        Change {
            rollout: Some(rollout),
            ..change
        }
    }

    /// Works out what changes when nodes get what is rolled out.
    pub(crate) fn prepare_reach(
        &self,
        (step, nodes): (usize, &BTreeSet<NodeName>),
        now_unix_ms: u64,
    ) -> Option<Change> {
        let mut rollout = self.under_way()?.clone();
        let at = |generation: &dyn Fn(&NodeName) -> Option<Generation>| {
            let nodes = nodes.iter();
            let reached = nodes.map(|name| (name.clone(), generation(name).unwrap_or_default()));
            reached.collect::<Vec<_>>()
        };
        let now = |name: &NodeName| Some(self.views.get(name)?.generation());
        rollout.reach(step, at(&now), now_unix_ms);
        let change = self.change_as(Sorted::default(), rollout.services.clone(), Some(&rollout));
        let seen = change.nodes();
        let next = |name: &NodeName| {
            let seen = seen.get(name).copied().flatten();
            seen.map(|(generation, _)| generation).or_else(|| now(name))
        };
        rollout.reach(step, at(&next), now_unix_ms);
        Some(Change {
            rollout: Some(rollout),
            ..change
        })
    }

    /// Works out what changes when every node has what is rolled out: drains of what it took away end with it.
    pub(crate) fn prepare_finish(&self, now_unix_ms: u64) -> Option<Change> {
        let mut rollout = self.under_way()?.clone();
        rollout.set_phase(RolloutPhase::Done, String::new(), now_unix_ms);
        let change = self.change_as(Sorted::default(), rollout.services.clone(), None);
        Some(Change {
            rollout: Some(rollout),
            ..change
        })
    }

    /// Works out what changes when everything is again as it was before the rollout.
    pub(crate) fn prepare_undo(&self, now_unix_ms: u64) -> Option<Change> {
        let mut rollout = self.under_way()?.clone();
        rollout.set_phase(RolloutPhase::Undone, String::new(), now_unix_ms);
        let sorted = self.sort(Batch::clone(&rollout.before));
        let change = self.change_as(sorted, rollout.services.clone(), None);
        Some(Change {
            rollout: Some(rollout),
            ..change
        })
    }

    /// Says what of a batch that changes something the rollout that is under way stands in the way of: of its services, and
    /// of frontends and VIPs that nodes still hold as they were.
    pub(crate) fn held_up(&self, writes: &Batch) -> Result<(), HeldUp> {
        let Some(rollout) = self.under_way() else {
            return Ok(());
        };
        let held = |what: String| HeldUp {
            revision: rollout.revision,
            phase: rollout.phase,
            what,
        };
        let mut frontends: BTreeMap<&Frontend, &ServiceName> = BTreeMap::new();
        let mut vips = BTreeMap::new();
        for before in rollout.before.values().flatten() {
            if let Resource::Service(service) = before {
                for frontend in service.frontends.keys() {
                    frontends.insert(frontend, &service.name);
                    if let Some(vip) = frontend.vip() {
                        vips.insert(vip, (service.vip_binding, service.lockdown));
                    }
                }
            }
        }
        for (reference, resource) in writes {
            let old = self.resources.get(reference).map(|old| &old.resource);
            let services = [old, resource.as_ref()].into_iter().flatten();
            let mut services = services.filter_map(service_of);
            if let Some(name) = services.find(|name| rollout.services.contains(name)) {
                return Err(held(format!("service {name}")));
            }
            let Some(Resource::Service(service)) = resource else {
                continue;
            };
            for frontend in service.frontends.keys() {
                if let Some(name) = frontends.get(frontend) {
                    return Err(held(format!("frontend {frontend} of service {name}")));
                }
                let vip = frontend.vip().and_then(|vip| Some((vip, vips.get(&vip)?)));
                if let Some((vip, how)) = vip
                    && *how != (service.vip_binding, service.lockdown)
                {
                    return Err(held(format!("VIP {vip}, which is bound otherwise there,")));
                }
            }
        }
        Ok(())
    }

    /// Says whether a service had a backend before the rollout that is under way.
    pub(super) fn was_before(&self, service: &ServiceName, at: &Endpoint) -> bool {
        self.under_way().is_some_and(|rollout| {
            let before = Proposed::new(&self.resources, &rollout.before);
            before.backend(service, at).is_some()
        })
    }

    /// Finds what a write of nodes does to the rollout that is under way; none: nothing. When one goes that was reached, its
    /// services change: should it come back, it has lost what it had.
    pub(super) fn place_nodes(
        &self,
        writes: &Batch,
        touched: &mut BTreeSet<ServiceName>,
    ) -> Option<Rollout> {
        let rollout = self.under_way()?;
        let mut placed: Option<Rollout> = None;
        for (reference, resource) in writes {
            let (Kind::Node, Ok(name)) = (reference.kind, NodeName::new(&reference.name)) else {
                continue;
            };
            let touches = match resource {
                Some(Resource::Node(node)) => {
                    let services = rollout.services.iter();
                    let mut services = services.filter_map(|name| self.compiled.get(name));
                    services.any(|service| service.touches(node))
                }
                Some(Resource::Service(_) | Resource::BackendSet(_)) | None => false,
            };
            if touches == rollout.has(&name) {
                continue;
            }
            if rollout.has_reached(&name) {
                touched.extend(rollout.services.iter().cloned());
            }
            let placed = placed.get_or_insert_with(|| rollout.clone());
            placed.place(name, touches);
        }
        placed
    }

    fn touched_nodes(
        &self,
        writes: &Batch,
        services: &BTreeSet<ServiceName>,
    ) -> BTreeMap<NodeName, Member> {
        let proposed = Proposed::new(&self.resources, writes);
        let versions = services.iter().flat_map(|name| {
            let before = self.resources.service(name);
            before.into_iter().chain(proposed.service(name))
        });
        let selectors: Vec<_> = versions.map(|service| &service.node_selector).collect();
        let nodes = self.resources.nodes().filter(|node| {
            let mut selectors = selectors.iter();
            selectors.any(|selector| node.labels.match_selector(selector))
        });
        nodes
            .map(|node| (node.name.clone(), Member::default()))
            .collect()
    }
}

#[cfg(test)]
mod tests;
