//! The resources that tables, lists and pages are made of, by what they are looked up by. PURE.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weir_proto::wire;
use weir_proto::wire::resource::Kind;

/// A resource with what the controller says of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known<T> {
    pub(crate) it: T,
    pub(crate) revision: u64,
    /// Unix milliseconds; 0: not known.
    pub(crate) created_unix_ms: u64,
}

/// Resources by name. What it costs to find the backend sets of a service, or the services of a VIP, does not depend on how
/// many others there are.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Listing {
    pub(crate) services: BTreeMap<String, Known<wire::Service>>,
    pub(crate) sets: BTreeMap<String, Known<wire::BackendSet>>,
    pub(crate) nodes: BTreeMap<String, Known<wire::Node>>,
    sets_of: BTreeMap<String, BTreeSet<String>>,
    /// The services at each VIP.
    vips: BTreeMap<IpAddr, BTreeSet<String>>,
}

impl Listing {
    /// Takes resources up.
    pub(crate) fn new(resources: impl IntoIterator<Item = wire::Resource>) -> Self {
        let mut listing = Self::default();
        for resource in resources {
            listing.put(resource);
        }
        listing
    }

    /// Takes a resource up, in place of the one of its kind and name.
    pub(crate) fn put(&mut self, resource: wire::Resource) {
        if let Some(named) = reference(&resource) {
            self.remove(&named);
        }
        let wire::Resource {
            kind,
            revision,
            created_unix_ms,
        } = resource;
        match kind {
            Some(Kind::Service(it)) => {
                for vip in vips(&it) {
                    let here = self.vips.entry(vip).or_default();
                    here.insert(it.name.clone());
                }
                let name = it.name.clone();
                self.services
                    .insert(name, known(it, revision, created_unix_ms));
            }
            Some(Kind::BackendSet(it)) => {
                let sets = self.sets_of.entry(it.service.clone()).or_default();
                sets.insert(it.name.clone());
                let name = it.name.clone();
                self.sets.insert(name, known(it, revision, created_unix_ms));
            }
            Some(Kind::Node(it)) => {
                let name = it.name.clone();
                self.nodes
                    .insert(name, known(it, revision, created_unix_ms));
            }
            None => {}
        }
    }

    /// Forgets a resource. Gives it, if it was there.
    pub(crate) fn remove(&mut self, named: &wire::ResourceRef) -> Option<wire::Resource> {
        let name = named.name.as_str();
        match named.kind() {
            wire::Kind::Service => {
                let gone = self.services.remove(name)?;
                for vip in vips(&gone.it) {
                    forget(&mut self.vips, &vip, name);
                }
                Some(resource(gone, Kind::Service))
            }
            wire::Kind::BackendSet => {
                let gone = self.sets.remove(name)?;
                forget(&mut self.sets_of, &gone.it.service, name);
                Some(resource(gone, Kind::BackendSet))
            }
            wire::Kind::Node => Some(resource(self.nodes.remove(name)?, Kind::Node)),
            wire::Kind::Unspecified => None,
        }
    }

    /// Gives a resource.
    pub(crate) fn resource(&self, kind: wire::Kind, name: &str) -> Option<wire::Resource> {
        Some(match kind {
            wire::Kind::Service => resource(self.services.get(name)?.clone(), Kind::Service),
            wire::Kind::BackendSet => resource(self.sets.get(name)?.clone(), Kind::BackendSet),
            wire::Kind::Node => resource(self.nodes.get(name)?.clone(), Kind::Node),
            wire::Kind::Unspecified => return None,
        })
    }

    /// Gives the backend sets of a service by name.
    pub(crate) fn sets_of(&self, service: &str) -> impl Iterator<Item = &Known<wire::BackendSet>> {
        let names = self.sets_of.get(service).into_iter().flatten();
        names.filter_map(|name| self.sets.get(name))
    }

    /// Gives the VIPs, IPv4 first.
    pub(crate) fn vips(&self) -> impl Iterator<Item = IpAddr> {
        self.vips.keys().copied()
    }

    /// Gives the services at a VIP by name.
    pub(crate) fn services_at(&self, vip: IpAddr) -> impl Iterator<Item = &Known<wire::Service>> {
        let names = self.vips.get(&vip).into_iter().flatten();
        names.filter_map(|name| self.services.get(name))
    }

    /// Gives the backends of a service, each with the set it comes from, if it is one. Where the service and a set name
    /// the same address and port, the service's own counts.
    pub(crate) fn backends<'a>(
        &'a self,
        service: &'a wire::Service,
    ) -> Vec<(&'a wire::Backend, Option<&'a Known<wire::BackendSet>>)> {
        let own = service.backends.iter().map(|backend| (backend, None));
        let from_sets = self.sets_of(&service.name).flat_map(|set| {
            let backends = set.it.backends.iter();
            backends.map(move |backend| (backend, Some(set)))
        });
        let mut seen = BTreeSet::new();
        own.chain(from_sets)
            .filter(|(backend, _)| seen.insert((backend.address.as_str(), backend.port)))
            .collect()
    }
}

impl Listing {
    /// Says whether a backend runs on a node that is cordoned.
    pub(crate) fn is_cordoned(&self, backend: &wire::Backend) -> bool {
        let node = self.nodes.get(&backend.node);
        node.is_some_and(|node| node.it.cordoned.unwrap_or(false))
    }

    /// Gives the services of which every backend that would take connections runs on a node that is cordoned, with these nodes.
    pub(crate) fn shut(&self) -> Vec<(&str, BTreeSet<&str>)> {
        let cordoned = |node: &Known<wire::Node>| node.it.cordoned.unwrap_or(false);
        if !self.nodes.values().any(cordoned) {
            return Vec::new();
        }
        let shut = self.services.iter().filter_map(|(name, service)| {
            let mut on = BTreeSet::new();
            for (backend, _) in self.backends(&service.it) {
                if backend.weight == Some(0) {
                    continue;
                }
                if !self.is_cordoned(backend) {
                    return None;
                }
                on.insert(backend.node.as_str());
            }
            (!on.is_empty()).then_some((name.as_str(), on))
        });
        shut.collect()
    }
}

/// Gives the kind and name of a resource.
pub(crate) fn reference(resource: &wire::Resource) -> Option<wire::ResourceRef> {
    let (kind, name) = match resource.kind.as_ref()? {
        Kind::Service(service) => (wire::Kind::Service, &service.name),
        Kind::BackendSet(set) => (wire::Kind::BackendSet, &set.name),
        Kind::Node(node) => (wire::Kind::Node, &node.name),
    };
    Some(wire::ResourceRef {
        kind: kind.into(),
        name: name.clone(),
    })
}

/// Gives the VIPs of a service.
pub(crate) fn vips(service: &wire::Service) -> BTreeSet<IpAddr> {
    let addresses = service.frontends.iter();
    // a mark has none
    addresses
        .filter_map(|frontend| frontend.address.parse().ok())
        .collect()
}

fn known<T>(it: T, revision: u64, created_unix_ms: u64) -> Known<T> {
    Known {
        it,
        revision,
        created_unix_ms,
    }
}

fn resource<T>(known: Known<T>, kind: impl FnOnce(T) -> Kind) -> wire::Resource {
    wire::Resource {
        kind: Some(kind(known.it)),
        revision: known.revision,
        created_unix_ms: known.created_unix_ms,
    }
}

fn forget<K: Ord>(names: &mut BTreeMap<K, BTreeSet<String>>, at: &K, name: &str) {
    if let Some(here) = names.get_mut(at) {
        here.remove(name);
        if here.is_empty() {
            names.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, vips: &[&str]) -> wire::Resource {
        let frontends = vips.iter().map(|address| wire::Frontend {
            address: (*address).to_owned(),
            ..wire::Frontend::default()
        });
        let service = wire::Service {
            name: name.to_owned(),
            frontends: frontends.collect(),
            ..wire::Service::default()
        };
        wire::Resource {
            kind: Some(Kind::Service(service)),
            revision: 3,
            created_unix_ms: 1_000,
        }
    }

    #[test]
    fn what_was_put_and_removed_again_leaves_nothing_behind() {
        let mut listing = Listing::new([service("web", &["10.1.0.2", "10.1.0.1"])]);
        let at = |listing: &Listing, vip: [u8; 4]| {
            let services = listing.services_at(vip.into());
            services
                .map(|known| known.it.name.clone())
                .collect::<Vec<_>>()
        };
        let moved = service("web", &["10.1.0.3", "fd00::1"]);
        listing.put(service("dns", &["10.1.0.1"]));
        assert_eq!(at(&listing, [10, 1, 0, 1]), ["dns", "web"]);
        listing.put(moved.clone());
        assert_eq!(at(&listing, [10, 1, 0, 1]), ["dns"]);
        let vips: Vec<String> = listing.vips().map(|vip| vip.to_string()).collect();
        assert_eq!(vips, ["10.1.0.1", "10.1.0.3", "fd00::1"]);
        let named = |name: &str| reference(&service(name, &[])).expect("a reference");
        assert_eq!(listing.remove(&named("web")), Some(moved));
        assert_eq!(listing.remove(&named("web")), None);
        listing.remove(&named("dns"));
        assert_eq!(listing, Listing::default());
    }
}
