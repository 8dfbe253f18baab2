//! The resources of the cluster, and the indices that make checking a small change cheap. PURE
//!
//! A batch is laid over the resources as they are: `Proposed` answers as if it had been written, so that
//! checks and compilation see the outcome before anything changes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

use weir_proto::model::{
    Backend, BackendSet, BackendSetName, Endpoint, Frontend, Kind, Listener, Node, NodeName, Port,
    Protocol, Resource, ResourceRef, Revision, Service, ServiceName,
};

/// How many frontends that are of no service any more are kept: those of drains under way, and with each some 100 bytes.
const MOST_DEPARTED: usize = 10_000;

/// What a batch makes of each resource it names; none: it is deleted.
pub(crate) type Batch = BTreeMap<ResourceRef, Option<Resource>>;

/// A resource with the revision of its last change, and when it was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) resource: Resource,
    pub(crate) revision: Revision,
    /// Unix milliseconds; 0: not known.
    pub(crate) created_unix_ms: u64,
}

/// Every resource.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    all: BTreeMap<ResourceRef, Arc<Stored>>,
    sets_of: BTreeMap<ServiceName, BTreeSet<BackendSetName>>,
    claims: BTreeMap<Frontend, ServiceName>,
    /// Which resources have a backend at an address.
    standing: BTreeMap<IpAddr, BTreeSet<ResourceRef>>,
    /// Which resources have a backend on a node.
    running: BTreeMap<NodeName, BTreeSet<ResourceRef>>,
    /// The nodes that are cordoned.
    cordoned: BTreeSet<NodeName>,
    /// Which service a frontend was of that is of none now, so that a drain that goes on can be told.
    departed: BTreeMap<Frontend, ServiceName>,
    /// Which nodes have an address.
    located: BTreeMap<IpAddr, BTreeSet<ResourceRef>>,
    /// Of services and backend sets together; one that is in both counts twice.
    backends: usize,
}

/// The resources as a batch would leave them.
#[derive(Debug)]
pub(crate) struct Proposed<'a> {
    now: &'a Resources,
    batch: &'a Batch,
    sets_of: BTreeMap<&'a ServiceName, Vec<&'a BackendSet>>,
    claims: BTreeMap<Frontend, Vec<&'a ServiceName>>,
    standing: BTreeMap<IpAddr, BTreeSet<&'a ResourceRef>>,
}

impl Resources {
    /// Writes a resource over the one of its kind and name.
    pub(crate) fn put(&mut self, stored: Stored) -> Arc<Stored> {
        let reference = stored.resource.reference();
        self.remove(&reference);
        self.index(&reference, &stored.resource);
        let stored = Arc::new(stored);
        self.all.insert(reference, stored.clone());
        stored
    }

    /// Removes a resource, if it is there.
    pub(crate) fn remove(&mut self, reference: &ResourceRef) {
        if let Some(stored) = self.all.remove(reference) {
            self.unindex(reference, &stored.resource);
        }
    }

    /// Gives a resource.
    pub(crate) fn get(&self, reference: &ResourceRef) -> Option<&Arc<Stored>> {
        self.all.get(reference)
    }

    /// Gives every resource, kind by kind and by name.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.all.values()
    }

    /// Gives the resources of a kind by name, those whose name comes after `after`.
    pub(crate) fn after(&self, kind: Kind, after: &str) -> impl Iterator<Item = &Arc<Stored>> {
        let from = ResourceRef {
            kind,
            name: after.to_owned(),
        };
        self.all
            .range((Bound::Excluded(from), Bound::Unbounded))
            .take_while(move |(reference, _)| reference.kind == kind)
            .map(|(_, stored)| stored)
    }

    /// Gives the nodes by name.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        // no name is empty, so this leaves none out
        self.after(Kind::Node, "")
            .filter_map(|stored| match &stored.resource {
                Resource::Node(node) => Some(node),
                Resource::Service(_) | Resource::BackendSet(_) => None,
            })
    }

    /// Gives a node.
    pub(crate) fn node(&self, name: &NodeName) -> Option<&Node> {
        match &self.get(&reference(Kind::Node, name.as_str()))?.resource {
            Resource::Node(node) => Some(node),
            Resource::Service(_) | Resource::BackendSet(_) => None,
        }
    }

    /// Gives the names of a service's backend sets.
    pub(crate) fn sets_of(&self, service: &str) -> impl Iterator<Item = &BackendSetName> {
        // by text: whoever deletes has a name that was never checked
        ServiceName::new(service)
            .ok()
            .and_then(|name| self.sets_of.get(&name))
            .into_iter()
            .flatten()
    }

    /// Gives a service.
    pub(crate) fn service(&self, name: &ServiceName) -> Option<&Service> {
        match &self.get(&reference(Kind::Service, name.as_str()))?.resource {
            Resource::Service(service) => Some(service),
            Resource::Node(_) | Resource::BackendSet(_) => None,
        }
    }

    /// Gives a backend of a service, its own or of one of its sets.
    pub(crate) fn backend(&self, service: &ServiceName, at: &Endpoint) -> Option<&Backend> {
        let own = self.service(service)?.backends.get(at);
        own.or_else(|| {
            let mut sets = self.sets_of.get(service)?.iter();
            sets.find_map(|name| {
                let reference = reference(Kind::BackendSet, name.as_str());
                match &self.get(&reference)?.resource {
                    Resource::BackendSet(set) => set.backends.get(at),
                    Resource::Node(_) | Resource::Service(_) => None,
                }
            })
        })
    }

    /// Gives the nodes that are cordoned.
    pub(crate) fn cordoned(&self) -> impl Iterator<Item = &NodeName> {
        self.cordoned.iter()
    }

    /// Gives the services that have a backend on a node.
    pub(crate) fn services_on(&self, node: &NodeName) -> BTreeSet<ServiceName> {
        let here = self.running.get(node).into_iter().flatten();
        let resources = here.filter_map(|reference| self.get(reference));
        resources
            .filter_map(|stored| service_of(&stored.resource))
            .collect()
    }

    /// Gives the service that a frontend is of, or was of last.
    pub(crate) fn service_behind(&self, frontend: &Frontend) -> Option<&ServiceName> {
        let now = self.claims.get(frontend);
        now.or_else(|| self.departed.get(frontend))
    }

    /// Gives the service that a frontend is of.
    pub(crate) fn claimant(&self, frontend: &Frontend) -> Option<&ServiceName> {
        self.claims.get(frontend)
    }

    /// Gives the frontends on a VIP, each with its service.
    pub(crate) fn frontends_at(
        &self,
        vip: IpAddr,
    ) -> impl Iterator<Item = (Frontend, &ServiceName)> {
        let on_it = self.claims.iter();
        let on_it = on_it.filter(move |(frontend, _)| frontend.vip() == Some(vip));
        on_it.map(|(frontend, service)| (*frontend, service))
    }

    /// Counts the backends of services and backend sets.
    pub(crate) fn backends(&self) -> usize {
        self.backends
    }

    fn index(&mut self, reference: &ResourceRef, resource: &Resource) {
        match resource {
            Resource::Node(node) => {
                for address in &node.addresses {
                    let here = self.located.entry(*address).or_default();
                    here.insert(reference.clone());
                }
                if node.cordoned {
                    self.cordoned.insert(node.name.clone());
                }
            }
            Resource::Service(service) => {
                for frontend in service.frontends.keys() {
                    self.claims.insert(*frontend, service.name.clone());
                    self.departed.remove(frontend);
                }
                self.stand(reference, &service.backends);
            }
            Resource::BackendSet(set) => {
                let sets = self.sets_of.entry(set.service.clone()).or_default();
                sets.insert(set.name.clone());
                self.stand(reference, &set.backends);
            }
        }
    }

    fn unindex(&mut self, reference: &ResourceRef, resource: &Resource) {
        match resource {
            Resource::Node(node) => {
                for address in &node.addresses {
                    forget(&mut self.located, address, reference);
                }
                self.cordoned.remove(&node.name);
            }
            Resource::Service(service) => {
                for frontend in service.frontends.keys() {
                    // in one batch a frontend may have moved to a service that was written before
                    if self.claims.get(frontend) == Some(&service.name) {
                        self.claims.remove(frontend);
                        self.departed.insert(*frontend, service.name.clone());
                        if self.departed.len() > MOST_DEPARTED {
                            self.departed.pop_first();
                        }
                    }
                }
                self.leave(reference, &service.backends);
            }
            Resource::BackendSet(set) => {
                if let Some(sets) = self.sets_of.get_mut(&set.service) {
                    sets.remove(&set.name);
                    if sets.is_empty() {
                        self.sets_of.remove(&set.service);
                    }
                }
                self.leave(reference, &set.backends);
            }
        }
    }

    fn stand(&mut self, reference: &ResourceRef, backends: &BTreeMap<Endpoint, Backend>) {
        self.backends += backends.len();
        for (endpoint, backend) in backends {
            let here = self.standing.entry(endpoint.address).or_default();
            here.insert(reference.clone());
            if let Some(node) = &backend.node {
                let here = self.running.entry(node.clone()).or_default();
                here.insert(reference.clone());
            }
        }
    }

    fn leave(&mut self, reference: &ResourceRef, backends: &BTreeMap<Endpoint, Backend>) {
        self.backends -= backends.len();
        for (endpoint, backend) in backends {
            forget(&mut self.standing, &endpoint.address, reference);
            if let Some(node) = &backend.node {
                forget(&mut self.running, node, reference);
            }
        }
    }
}

impl<'a> Proposed<'a> {
    /// Lays a batch over the resources as they are.
    pub(crate) fn new(now: &'a Resources, batch: &'a Batch) -> Self {
        let mut proposed = Self {
            now,
            batch,
            sets_of: BTreeMap::new(),
            claims: BTreeMap::new(),
            standing: BTreeMap::new(),
        };
        for (reference, resource) in batch {
            let backends = match resource {
                None | Some(Resource::Node(_)) => continue,
                Some(Resource::Service(service)) => {
                    for frontend in service.frontends.keys() {
                        let claims = proposed.claims.entry(*frontend).or_default();
                        claims.push(&service.name);
                    }
                    &service.backends
                }
                Some(Resource::BackendSet(set)) => {
                    proposed.sets_of.entry(&set.service).or_default().push(set);
                    &set.backends
                }
            };
            for endpoint in backends.keys() {
                let here = proposed.standing.entry(endpoint.address).or_default();
                here.insert(reference);
            }
        }
        proposed
    }

    /// Gives a resource.
    pub(crate) fn get(&self, reference: &ResourceRef) -> Option<&'a Resource> {
        match self.batch.get(reference) {
            Some(proposed) => proposed.as_ref(),
            None => self.now.get(reference).map(|stored| &stored.resource),
        }
    }

    /// Gives a service.
    pub(crate) fn service(&self, name: &ServiceName) -> Option<&'a Service> {
        match self.get(&reference(Kind::Service, name.as_str()))? {
            Resource::Service(service) => Some(service),
            Resource::Node(_) | Resource::BackendSet(_) => None,
        }
    }

    /// Gives a service as it is before the batch.
    pub(crate) fn service_before(&self, name: &ServiceName) -> Option<&'a Service> {
        let stored = self.now.get(&reference(Kind::Service, name.as_str()))?;
        match &stored.resource {
            Resource::Service(service) => Some(service),
            Resource::Node(_) | Resource::BackendSet(_) => None,
        }
    }

    /// Gives the nodes, those of the batch first.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &'a Node> {
        let new = self.batch.values().filter_map(|resource| match resource {
            Some(Resource::Node(node)) => Some(node),
            _ => None,
        });
        let named = |node: &&Node| {
            let reference = reference(Kind::Node, node.name.as_str());
            self.batch.contains_key(&reference)
        };
        new.chain(self.now.nodes().filter(move |node| !named(node)))
    }

    /// Gives the backend sets of a service that the batch does not name.
    pub(crate) fn kept_sets_of(
        &self,
        service: &ServiceName,
    ) -> impl Iterator<Item = &'a BackendSet> {
        let now = self.now.sets_of.get(service).into_iter().flatten();
        now.filter_map(|name| {
            let reference = reference(Kind::BackendSet, name.as_str());
            if self.batch.contains_key(&reference) {
                return None;
            }
            match &self.now.get(&reference)?.resource {
                Resource::BackendSet(set) => Some(set),
                Resource::Node(_) | Resource::Service(_) => None,
            }
        })
    }

    /// Gives the backend sets of a service.
    pub(crate) fn sets_of(&self, service: &ServiceName) -> impl Iterator<Item = &'a BackendSet> {
        let new = self.sets_of.get(service).into_iter().flatten().copied();
        self.kept_sets_of(service).chain(new)
    }

    /// Gives a backend of a service, its own or of one of its sets.
    pub(crate) fn backend(&self, service: &ServiceName, at: &Endpoint) -> Option<&'a Backend> {
        let own = self.service(service)?.backends.get(at);
        let of_a_set = || self.sets_of(service).find_map(|set| set.backends.get(at));
        own.or_else(of_a_set)
    }

    /// Gives a service other than `except` that claims a frontend.
    pub(crate) fn other_claimant(
        &self,
        frontend: &Frontend,
        except: &ServiceName,
    ) -> Option<&'a ServiceName> {
        let new = self.claims.get(frontend).into_iter().flatten().copied();
        let kept = self.now.claims.get(frontend);
        new.chain(kept.filter(|name| self.keeps(name)))
            .find(|name| *name != except)
    }

    /// Gives a service that has an address as a VIP.
    pub(crate) fn service_at(&self, vip: IpAddr) -> Option<&'a ServiceName> {
        self.claimants(vip).next()
    }

    /// Gives the services that have an address as a VIP, each once.
    pub(crate) fn services_at(&self, vip: IpAddr) -> impl Iterator<Item = &'a Service> {
        let names: BTreeSet<&ServiceName> = self.claimants(vip).collect();
        names.into_iter().filter_map(|name| self.service(name))
    }

    fn claimants(&self, vip: IpAddr) -> impl Iterator<Item = &'a ServiceName> {
        let bounds = frontends_at(vip);
        let new = bounds.map(|(first, last)| self.claims.range(first..=last));
        let new = new.into_iter().flatten().flat_map(|(_, names)| names);
        let kept = bounds.map(|(first, last)| self.now.claims.range(first..=last));
        let kept = kept.into_iter().flatten().map(|(_, name)| name);
        new.copied().chain(kept.filter(|name| self.keeps(name)))
    }

    /// Gives a resource that has a backend at an address.
    pub(crate) fn backend_at(&self, address: IpAddr) -> Option<&'a ResourceRef> {
        let new = self.standing.get(&address).into_iter().flatten().copied();
        let kept = self.now.standing.get(&address).into_iter().flatten();
        new.chain(kept.filter(|reference| !self.batch.contains_key(reference)))
            .next()
    }

    /// Gives a node that has an address.
    pub(crate) fn node_at(&self, address: IpAddr) -> Option<&'a ResourceRef> {
        let has = |resource: &Option<Resource>| match resource {
            Some(Resource::Node(node)) => node.addresses.contains(&address),
            _ => false,
        };
        let new = self.batch.iter().filter(|(_, resource)| has(resource));
        let kept = self.now.located.get(&address).into_iter().flatten();
        new.map(|(reference, _)| reference)
            .chain(kept.filter(|reference| !self.batch.contains_key(reference)))
            .next()
    }

    fn keeps(&self, service: &ServiceName) -> bool {
        let reference = reference(Kind::Service, service.as_str());
        !self.batch.contains_key(&reference)
    }
}

/// Takes a resource from those at an address, or on a node.
fn forget<K: Ord>(at: &mut BTreeMap<K, BTreeSet<ResourceRef>>, place: &K, reference: &ResourceRef) {
    if let Some(here) = at.get_mut(place) {
        here.remove(reference);
        if here.is_empty() {
            at.remove(place);
        }
    }
}

/// Gives the service that a resource is or belongs to.
pub(crate) fn service_of(resource: &Resource) -> Option<ServiceName> {
    match resource {
        Resource::Node(_) => None,
        Resource::Service(service) => Some(service.name.clone()),
        Resource::BackendSet(set) => Some(set.service.clone()),
    }
}

/// Names a resource.
pub(crate) fn reference(kind: Kind, name: &str) -> ResourceRef {
    ResourceRef {
        kind,
        name: name.to_owned(),
    }
}

/// Gives the least and the greatest frontend that an address can have.
pub(super) fn frontends_at(address: IpAddr) -> Option<(Frontend, Frontend)> {
    let at = |port: u16, protocol| {
        let port = Port::new(port.into()).ok()?;
        Some(Frontend::Address(Listener {
            address,
            port,
            protocol,
        }))
    };
    Some((at(1, Protocol::Tcp)?, at(u16::MAX, Protocol::Sctp)?))
}
