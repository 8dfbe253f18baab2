//! Which service and which backend it is that something passes through. PURE

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use weir_proto::model::{
    Backend, BackendKey, BackendSetName, Endpoint, Frontend, Kind, NodeName, Resource, ResourceRef,
    Service, ServiceName,
};

use super::sums::Sum;
use crate::desired::Stored;
use crate::desired::resources::frontends_at;

/// A service, and what passes through it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) name: ServiceName,
    /// None: there are only backend sets for it so far.
    stored: Option<Arc<Stored>>,
    sets: BTreeMap<BackendSetName, Arc<Stored>>,
    pub(super) sum: Sum,
    /// Those of its backends through which anything has passed.
    pub(super) counted: BTreeMap<Endpoint, Counted>,
}

/// What passes through a backend of a service.
#[derive(Debug)]
pub(super) struct Counted {
    /// Tells it apart from one that was there before at the same place.
    pub(super) id: u64,
    pub(super) sum: Sum,
}

/// Every service. Numbers tell apart what was there before under the same name.
#[derive(Debug, Default)]
pub(super) struct Places {
    all: BTreeMap<u64, Place>,
    named: BTreeMap<ServiceName, u64>,
    claims: BTreeMap<Frontend, u64>,
    set_of: BTreeMap<BackendSetName, ServiceName>,
    pub(super) nodes: BTreeSet<NodeName>,
    given: u64,
}

impl Place {
    fn service(&self) -> Option<&Service> {
        match &self.stored.as_ref()?.resource {
            Resource::Service(service) => Some(service),
            Resource::Node(_) | Resource::BackendSet(_) => None,
        }
    }

    /// Says whether the service is there.
    fn is_there(&self) -> bool {
        self.stored.is_some()
    }

    /// Gives the backends of the service and of its sets, each as often as it is named.
    fn named_backends(&self) -> impl Iterator<Item = &BTreeMap<Endpoint, Backend>> {
        let sets = self.sets.values().filter_map(|set| match &set.resource {
            Resource::BackendSet(set) => Some(&set.backends),
            Resource::Node(_) | Resource::Service(_) => None,
        });
        let own = self.service().map(|service| &service.backends);
        own.into_iter().chain(sets)
    }

    /// Says whether a backend is one of the service.
    fn has(&self, endpoint: &Endpoint) -> bool {
        self.named_backends()
            .any(|backends| backends.contains_key(endpoint))
    }

    /// Gives the backends it is to have, in order.
    pub(super) fn backends(&self) -> impl Iterator<Item = Endpoint> {
        let all = self.named_backends().flat_map(BTreeMap::keys);
        let all: BTreeSet<Endpoint> = all.copied().collect();
        all.into_iter()
    }

    /// Counts the backends it is to have.
    pub(super) fn backend_count(&self) -> usize {
        match self.sets.is_empty() {
            true => self.service().map_or(0, |service| service.backends.len()),
            false => self.backends().count(),
        }
    }

    /// Forgets what passed through backends that are no longer there.
    fn forget(&mut self) {
        let mut counted = std::mem::take(&mut self.counted);
        counted.retain(|endpoint, _| self.has(endpoint));
        self.counted = counted;
    }
}

impl Places {
    /// Takes note of a resource that was written, or, without one, went.
    pub(super) fn put(&mut self, reference: &ResourceRef, stored: Option<Arc<Stored>>) {
        let gone = stored.is_none();
        match stored.as_ref().map(|stored| &stored.resource) {
            Some(Resource::Node(node)) => {
                self.nodes.insert(node.name.clone());
            }
            Some(Resource::Service(service)) => {
                let name = service.name.clone();
                let frontends: Vec<Frontend> = service.frontends.keys().copied().collect();
                let id = self.id(&name);
                self.unclaim(id);
                self.claims
                    .extend(frontends.into_iter().map(|frontend| (frontend, id)));
                if let Some(place) = self.all.get_mut(&id) {
                    place.stored = stored;
                    place.forget();
                }
            }
            Some(Resource::BackendSet(set)) => {
                let (set, of) = (set.name.clone(), set.service.clone());
                if self.set_of.get(&set).is_some_and(|before| *before != of) {
                    self.remove_set(&set);
                }
                self.set_of.insert(set.clone(), of.clone());
                let id = self.id(&of);
                if let (Some(place), Some(stored)) = (self.all.get_mut(&id), stored) {
                    place.sets.insert(set, stored);
                    place.forget();
                }
            }
            None => {}
        }
        if gone {
            self.remove(reference);
        }
    }

    fn remove(&mut self, reference: &ResourceRef) {
        // what has no such name was never here
        match reference.kind {
            Kind::Node => {
                let name = NodeName::new(&reference.name).ok();
                name.map(|name| self.nodes.remove(&name));
            }
            Kind::Service => {
                if let Ok(name) = ServiceName::new(&reference.name) {
                    self.remove_service(&name);
                }
            }
            Kind::BackendSet => {
                if let Ok(name) = BackendSetName::new(&reference.name) {
                    self.remove_set(&name);
                }
            }
        }
    }

    fn remove_service(&mut self, name: &ServiceName) {
        let Some(id) = self.named.remove(name) else {
            return;
        };
        self.unclaim(id);
        let sets = self.all.remove(&id).map(|place| place.sets);
        // they may go after it, or stay for one that comes again
        let sets = sets.filter(|sets| !sets.is_empty());
        if let Some(sets) = sets {
            let id = self.id(name);
            if let Some(place) = self.all.get_mut(&id) {
                place.sets = sets;
            }
        }
    }

    fn remove_set(&mut self, name: &BackendSetName) {
        let service = self.set_of.remove(name);
        let id = service.and_then(|service| self.named.get(&service).copied());
        let Some((id, place)) = id.and_then(|id| Some((id, self.all.get_mut(&id)?))) else {
            return;
        };
        place.sets.remove(name);
        place.forget();
        if !place.is_there() && place.sets.is_empty() {
            let name = place.name.clone();
            self.named.remove(&name);
            self.all.remove(&id);
        }
    }

    /// Gives the number of a service, which may be new.
    fn id(&mut self, name: &ServiceName) -> u64 {
        if let Some(id) = self.named.get(name) {
            return *id;
        }
        let id = self.next_id();
        self.named.insert(name.clone(), id);
        let place = Place {
            name: name.clone(),
            stored: None,
            sets: BTreeMap::new(),
            sum: Sum::default(),
            counted: BTreeMap::new(),
        };
        self.all.insert(id, place);
        id
    }

    /// Gives a number that was not given before.
    fn next_id(&mut self) -> u64 {
        self.given += 1;
        self.given
    }

    /// Takes the frontends from a service that are still its own: in one batch one may have gone to another.
    fn unclaim(&mut self, id: u64) {
        let Some(service) = self.all.get(&id).and_then(Place::service) else {
            return;
        };
        for frontend in service.frontends.keys() {
            if self.claims.get(frontend) == Some(&id) {
                self.claims.remove(frontend);
            }
        }
    }

    /// Gives the number of the service behind a frontend.
    fn behind(&self, frontend: &Frontend) -> Option<u64> {
        self.claims.get(frontend).copied()
    }

    /// Says whether an address is a VIP.
    pub(super) fn has_vip(&self, address: IpAddr) -> bool {
        let Some((first, last)) = frontends_at(address) else {
            return false;
        };
        self.claims.range(first..=last).next().is_some()
    }

    /// Says whether a backend is still one of a service under its number, at the same frontend.
    pub(super) fn holds(&self, service: u64, key: &BackendKey) -> bool {
        self.behind(&key.frontend) == Some(service)
            && self
                .all
                .get(&service)
                .is_some_and(|it| it.has(&key.endpoint))
    }

    /// Gives the numbers of a service, and of the backend where it is one of the service's.
    pub(super) fn find(&mut self, key: &BackendKey) -> Option<(u64, Option<u64>)> {
        let service = self.behind(&key.frontend)?;
        let fresh = self.next_id();
        let place = self.all.get_mut(&service)?;
        if !place.has(&key.endpoint) {
            return Some((service, None));
        }
        let counted = place.counted.entry(key.endpoint);
        let counted = counted.or_insert_with(|| Counted {
            id: fresh,
            sum: Sum::default(),
        });
        Some((service, Some(counted.id)))
    }

    /// Gives a service by its number.
    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Place> {
        self.all.get_mut(&id)
    }

    /// Gives a service by its name.
    pub(super) fn service(&self, name: &ServiceName) -> Option<&Place> {
        let place = self.all.get(self.named.get(name)?)?;
        Some(place).filter(|place| place.is_there())
    }

    /// Gives every service by name.
    pub(super) fn services(&self) -> impl Iterator<Item = &Place> {
        self.named.keys().filter_map(|name| self.service(name))
    }

    /// Names every resource there is.
    pub(super) fn references(&self) -> BTreeSet<ResourceRef> {
        let reference = |kind, name: &str| ResourceRef {
            kind,
            name: name.to_owned(),
        };
        let nodes = self.nodes.iter();
        let nodes = nodes.map(|name| reference(Kind::Node, name.as_str()));
        let services = self.named.keys();
        let services = services.map(|name| reference(Kind::Service, name.as_str()));
        let sets = self.set_of.keys();
        let sets = sets.map(|name| reference(Kind::BackendSet, name.as_str()));
        nodes.chain(services).chain(sets).collect()
    }
}
