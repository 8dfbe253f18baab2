//! What operators drain, kept beside the resources: a file that is applied again ends no drain. PURE
//!
//! A drain goes with what it is of: with its backend, however that leaves the service, or with its node.

mod listing;

use std::collections::BTreeMap;

pub(crate) use listing::{Drained, ListedDrain};

use weir_proto::model::{
    AskedDrain, Backend, Drain, DrainTarget, DrainTerms, Endpoint, NodeName, Service, ServiceName,
};

/// What becomes of drains; none: they end.
pub(crate) type DrainBatch = BTreeMap<DrainTarget, Option<AskedDrain>>;

/// Every drain that operators asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Drains {
    backends: BTreeMap<ServiceName, BTreeMap<Endpoint, AskedDrain>>,
    nodes: BTreeMap<NodeName, AskedDrain>,
}

/// The drains as a batch would leave them.
#[derive(Debug)]
pub(super) struct ProposedDrains<'a> {
    now: &'a Drains,
    backends: BTreeMap<&'a ServiceName, Vec<(Endpoint, Option<AskedDrain>)>>,
    nodes: BTreeMap<&'a NodeName, DrainTerms>,
}

/// The drains that matter to one service: of its backends, and of nodes they may run on.
#[derive(Debug)]
pub(super) struct DrainsOf<'a> {
    backends: BTreeMap<Endpoint, DrainTerms>,
    nodes: &'a BTreeMap<&'a NodeName, DrainTerms>,
}

impl Drains {
    /// Gives a drain.
    pub(crate) fn get(&self, target: &DrainTarget) -> Option<&AskedDrain> {
        match target {
            DrainTarget::Backend(service, endpoint) => self.backends.get(service)?.get(endpoint),
            DrainTarget::Node(name) => self.nodes.get(name),
        }
    }

    /// Gives every drain, backends first.
    pub(crate) fn all(&self) -> impl Iterator<Item = (DrainTarget, &AskedDrain)> {
        let backends = self.backends.iter().flat_map(|(service, backends)| {
            let of = |endpoint: &Endpoint| DrainTarget::Backend(service.clone(), *endpoint);
            backends.iter().map(move |(at, asked)| (of(at), asked))
        });
        let nodes = self.nodes.iter();
        backends.chain(nodes.map(|(name, asked)| (DrainTarget::Node(name.clone()), asked)))
    }

    /// Gives the backends of a service that are drained by themselves.
    pub(super) fn backends(&self, service: &ServiceName) -> impl Iterator<Item = &Endpoint> {
        let backends = self.backends.get(service).into_iter();
        backends.flat_map(BTreeMap::keys)
    }

    /// Gives how a node is drained, if it is.
    pub(super) fn node(&self, name: &NodeName) -> Option<Drain> {
        let asked = self.nodes.get(name)?;
        Some(asked.terms.or(Drain::default()))
    }

    /// Makes a drain what it becomes.
    pub(super) fn set(&mut self, target: DrainTarget, asked: Option<AskedDrain>) {
        match (target, asked) {
            (DrainTarget::Backend(service, endpoint), Some(asked)) => {
                let backends = self.backends.entry(service).or_default();
                backends.insert(endpoint, asked);
            }
            (DrainTarget::Backend(service, endpoint), None) => {
                if let Some(backends) = self.backends.get_mut(&service) {
                    backends.remove(&endpoint);
                    if backends.is_empty() {
                        self.backends.remove(&service);
                    }
                }
            }
            (DrainTarget::Node(name), Some(asked)) => {
                self.nodes.insert(name, asked);
            }
            (DrainTarget::Node(name), None) => {
                self.nodes.remove(&name);
            }
        }
    }
}

impl FromIterator<(DrainTarget, AskedDrain)> for Drains {
    fn from_iter<I: IntoIterator<Item = (DrainTarget, AskedDrain)>>(all: I) -> Self {
        let mut drains = Self::default();
        for (target, asked) in all {
            drains.set(target, Some(asked));
        }
        drains
    }
}

impl<'a> ProposedDrains<'a> {
    /// Lays a batch over the drains as they are. Costs as much as there are drained nodes and drains in the batch.
    pub(super) fn new(now: &'a Drains, batch: &'a DrainBatch) -> Self {
        let nodes = now.nodes.iter();
        let mut proposed = Self {
            now,
            backends: BTreeMap::new(),
            nodes: nodes.map(|(name, asked)| (name, asked.terms)).collect(),
        };
        for (target, asked) in batch {
            match (target, asked) {
                (DrainTarget::Backend(service, endpoint), asked) => {
                    let backends = proposed.backends.entry(service).or_default();
                    backends.push((*endpoint, *asked));
                }
                (DrainTarget::Node(name), Some(asked)) => {
                    proposed.nodes.insert(name, asked.terms);
                }
                (DrainTarget::Node(name), None) => {
                    proposed.nodes.remove(name);
                }
            }
        }
        proposed
    }

    /// Gives what matters to a service. Costs as much as it has drains of its own.
    pub(super) fn of(&self, service: &ServiceName) -> DrainsOf<'_> {
        let now = self.now.backends.get(service).into_iter().flatten();
        let mut backends: BTreeMap<Endpoint, DrainTerms> =
            now.map(|(at, asked)| (*at, asked.terms)).collect();
        for (endpoint, asked) in self.backends.get(service).into_iter().flatten() {
            match asked {
                Some(asked) => backends.insert(*endpoint, asked.terms),
                None => backends.remove(endpoint),
            };
        }
        DrainsOf {
            backends,
            nodes: &self.nodes,
        }
    }

    /// Gives how a node is drained, if it is.
    pub(super) fn node(&self, name: &NodeName) -> Option<Drain> {
        let terms = self.nodes.get(name)?;
        Some(terms.or(Drain::default()))
    }
}

impl DrainsOf<'_> {
    /// Gives how a backend of the service is drained, if it is: its own drain comes before that of its node, and what
    /// neither says is as the service says.
    pub(super) fn drain(&self, service: &Service, backend: &Backend) -> Option<Drain> {
        let own = self.backends.get(&backend.endpoint);
        let of_node = || self.nodes.get(backend.node.as_ref()?);
        let terms = own.or_else(of_node)?;
        Some(terms.or(service.drain))
    }
}

#[cfg(test)]
mod tests;
