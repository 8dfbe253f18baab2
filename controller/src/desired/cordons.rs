//! Which nodes are cordoned: backends that run there take no new connection, on whatever node. PURE
//!
//! A cordon is of a node and written with it. Unlike a drain it ends nothing: backends stay where they are, at weight 0.

use std::collections::BTreeSet;

use weir_proto::model::{Backend, Kind, NodeName, Resource, ServiceName, Weight};

use super::Desired;
use super::resources::{Batch, Resources};
use super::rollout::Rollout;

/// The nodes that are cordoned when a batch is written.
#[derive(Debug)]
pub(super) struct Cordons<'a>(BTreeSet<&'a NodeName>);

impl<'a> Cordons<'a> {
    /// Lays a batch over the nodes as they are. Costs as much as there are cordoned nodes, and nodes in the batch.
    pub(super) fn new(now: &'a Resources, batch: &'a Batch) -> Self {
        let mut cordoned: BTreeSet<&NodeName> = now.cordoned().collect();
        for (reference, resource) in batch {
            if reference.kind != Kind::Node {
                continue;
            }
            match resource {
                Some(Resource::Node(node)) if node.cordoned => {
                    cordoned.insert(&node.name);
                }
                _ => cordoned.retain(|name| name.as_str() != reference.name),
            }
        }
        Self(cordoned)
    }

    /// Gives the weight that nodes take of a backend.
    pub(super) fn weight(&self, backend: &Backend) -> Weight {
        match &backend.node {
            Some(node) if self.0.contains(node) => Weight::ZERO,
            Some(_) | None => backend.weight,
        }
    }
}

impl Desired {
    /// Gives the services that take other weights because nodes become cordoned by writes, or are so no longer.
    pub(super) fn recordoned_by(
        &self,
        writes: &Batch,
        rollout: Option<&Rollout>,
    ) -> BTreeSet<ServiceName> {
        let mut services = BTreeSet::new();
        for (reference, resource) in writes {
            let (Kind::Node, Ok(name)) = (reference.kind, NodeName::new(&reference.name)) else {
                continue;
            };
            let before = self.resources.node(&name).is_some_and(|it| it.cordoned);
            let after = matches!(resource, Some(Resource::Node(node)) if node.cordoned);
            if before == after {
                continue;
            }
            services.extend(self.resources.services_on(&name));
            // what was there before may have run there as well
            let staged = rollout.into_iter();
            services.extend(staged.flat_map(|rollout| rollout.services.iter().cloned()));
        }
        services
    }
}
