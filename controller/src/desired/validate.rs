//! What a batch must not do to the cluster, all of it found in one go and named by its path. PURE
//!
//! `convert` has checked each resource by itself; here they meet. Which nodes there are is not checked: a
//! backend may name a node that registers later, and may outlive one.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weir_proto::convert::{FieldErrors, Problems};
use weir_proto::model::{
    Ability, Backend, BackendSet, Endpoint, Frontend, Kind, Node, Refused, Resource, ResourceRef,
    Service,
};

use super::abilities::{Abilities, Unable};
use super::needs::{At, needs};
use super::resources::{Batch, Proposed, Resources, reference};

/// Where in the request each frontend and backend stood, so that a path points at what was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Places {
    frontends: BTreeMap<ResourceRef, BTreeMap<Frontend, usize>>,
    backends: BTreeMap<ResourceRef, BTreeMap<Endpoint, usize>>,
}

/// Finds everything that keeps a batch from being written.
pub(crate) fn check(
    now: &Resources,
    batch: &Batch,
    places: &Places,
    abilities: &Abilities,
) -> Result<(), FieldErrors> {
    let check = Check {
        proposed: Proposed::new(now, batch),
        batch,
        places,
        abilities,
        nodes: OnceCell::new(),
    };
    let mut problems = Problems::default();
    for (reference, resource) in batch {
        match resource {
            None => {}
            Some(Resource::Node(node)) => check.node(reference, node, &mut problems),
            Some(Resource::Service(service)) => check.service(reference, service, &mut problems),
            Some(Resource::BackendSet(set)) => check.backend_set(reference, set, &mut problems),
        }
    }
    problems.finish(Some(()))
}

struct Check<'a> {
    proposed: Proposed<'a>,
    batch: &'a Batch,
    places: &'a Places,
    abilities: &'a Abilities,
    /// The nodes as the batch leaves them, from when a service first asks.
    nodes: OnceCell<Vec<&'a Node>>,
}

impl Places {
    /// Notes where a frontend of a service stood.
    pub(crate) fn frontend(&mut self, of: &ResourceRef, frontend: Frontend, place: usize) {
        let frontends = self.frontends.entry(of.clone()).or_default();
        frontends.insert(frontend, place);
    }

    /// Notes where a backend of a service or backend set stood.
    pub(crate) fn backend(&mut self, of: &ResourceRef, endpoint: Endpoint, place: usize) {
        let backends = self.backends.entry(of.clone()).or_default();
        backends.insert(endpoint, place);
    }

    fn frontend_path(&self, of: &ResourceRef, frontend: &Frontend) -> String {
        match self.frontends.get(of).and_then(|all| all.get(frontend)) {
            Some(place) => format!("{of}.frontends[{place}]"),
            None => format!("{of}.frontends[{frontend}]"),
        }
    }

    /// A backend that is not in the request is named by where it listens.
    fn backend_path(&self, of: &ResourceRef, endpoint: &Endpoint) -> String {
        match self.backends.get(of).and_then(|all| all.get(endpoint)) {
            Some(place) => format!("{of}.backends[{place}]"),
            None => format!("{of}.backends[{endpoint}]"),
        }
    }
}

impl Check<'_> {
    fn service(&self, of: &ResourceRef, service: &Service, problems: &mut Problems) {
        for frontend in service.frontends.keys() {
            let path = || self.places.frontend_path(of, frontend);
            if let Some(other) = self.proposed.other_claimant(frontend, &service.name) {
                let other = reference(Kind::Service, other.as_str());
                let problem = format!("{frontend} is claimed by {other}");
                problems.add(path(), Refused::Other(problem));
            }
            let Some(address) = frontend.vip() else {
                continue;
            };
            if let Some(node) = self.proposed.node_at(address) {
                let problem = format!(
                    "{address} is an address of {node}: as a VIP it would cut the other nodes off from it"
                );
                problems.add(path(), Refused::Other(problem));
            }
            if let Some(other) = self.proposed.backend_at(address) {
                let problem = format!(
                    "{address} is the address of a backend in {other}: its traffic would come back to the VIP for ever"
                );
                problems.add(path(), Refused::Other(problem));
            }
        }
        let vips: BTreeSet<IpAddr> = service.frontends.keys().filter_map(|it| it.vip()).collect();
        for vip in vips {
            self.agrees(of, service, vip, problems);
        }
        self.can_run(of, service, problems);
        self.backends(of, &service.backends, problems);
        // those that the batch names are checked where they stand
        for set in self.proposed.kept_sets_of(&service.name) {
            let of = reference(Kind::BackendSet, set.name.as_str());
            self.misfits(&of, service, &set.backends, problems);
        }
    }

    fn node(&self, of: &ResourceRef, node: &Node, problems: &mut Problems) {
        for (place, address) in node.addresses.iter().enumerate() {
            if let Some(service) = self.proposed.service_at(*address) {
                let service = reference(Kind::Service, service.as_str());
                // one that is in the batch says it where it stands
                if self.batch.contains_key(&service) {
                    continue;
                }
                let problem = format!(
                    "{address} is a VIP of {service}: bound, it would cut the other nodes off from this one"
                );
                problems.add(format!("{of}.addresses[{place}]"), Refused::Other(problem));
            }
        }
    }

    /// A VIP is bound once on a node, for all services that share it.
    fn agrees(&self, of: &ResourceRef, service: &Service, vip: IpAddr, problems: &mut Problems) {
        for other in self.proposed.services_at(vip) {
            if other.name == service.name {
                continue;
            }
            let mut differs = |field: &str, mine: String, theirs: String| {
                if mine != theirs {
                    let with = reference(Kind::Service, other.name.as_str());
                    let problem =
                        format!("{mine}, and {theirs} in {with}, which shares the VIP {vip}");
                    problems.add(format!("{of}.{field}"), Refused::Other(problem));
                }
            };
            let (mine, theirs) = (service.vip_binding, other.vip_binding);
            differs("vip_binding", mine.to_string(), theirs.to_string());
            let (mine, theirs) = (service.lockdown, other.lockdown);
            differs("lockdown", mine.to_string(), theirs.to_string());
        }
    }

    /// A service that no node can run is refused when it comes to need what they lack. One that was accepted, and
    /// whose nodes have lost something since, can still be changed in every other way.
    fn can_run(&self, of: &ResourceRef, service: &Service, problems: &mut Problems) {
        let needed = needs(service);
        if let Some(before) = self.proposed.service_before(&service.name)
            && before.node_selector == service.node_selector
        {
            let before: BTreeSet<Ability> = needs(before).iter().map(|need| need.ability).collect();
            if needed.iter().all(|need| before.contains(&need.ability)) {
                return;
            }
        }
        let nodes = self.nodes.get_or_init(|| self.proposed.nodes().collect());
        let selects = |node: &&Node| node.labels.match_selector(&service.node_selector);
        let selected = nodes.iter().copied().filter(selects);
        if let Some(Unable { need, cause }) = self.abilities.unable(&needed, selected) {
            let path = match need.at {
                At::Whole => of.to_string(),
                At::Field(field) => format!("{of}.{field}"),
                At::Frontend(frontend) => self.places.frontend_path(of, &frontend),
            };
            problems.add(path, Refused::Other(cause));
        }
    }

    fn backend_set(&self, of: &ResourceRef, set: &BackendSet, problems: &mut Problems) {
        match self.proposed.service(&set.service) {
            Some(service) => self.misfits(of, service, &set.backends, problems),
            None => {
                let problem = format!("there is no service {}", set.service);
                problems.add(format!("{of}.service"), Refused::Other(problem));
            }
        }
        self.backends(of, &set.backends, problems);
        for other in self.proposed.sets_of(&set.service) {
            let other_name = reference(Kind::BackendSet, other.name.as_str());
            // two sets of one batch: said once, of the later one
            if other.name == set.name
                || (other.name > set.name && self.batch.contains_key(&other_name))
            {
                continue;
            }
            for endpoint in set.backends.keys() {
                if other.backends.contains_key(endpoint) {
                    let problem = format!(
                        "{endpoint} stands behind service {} already, in {other_name}",
                        set.service
                    );
                    problems.add(
                        self.places.backend_path(of, endpoint),
                        Refused::Other(problem),
                    );
                }
            }
        }
    }

    fn backends(
        &self,
        of: &ResourceRef,
        backends: &BTreeMap<Endpoint, Backend>,
        problems: &mut Problems,
    ) {
        for endpoint in backends.keys() {
            if let Some(other) = self.proposed.service_at(endpoint.address) {
                let other = reference(Kind::Service, other.as_str());
                let problem = format!(
                    "{} is a VIP of {other}: its traffic would come back to the VIP for ever",
                    endpoint.address
                );
                problems.add(
                    self.places.backend_path(of, endpoint),
                    Refused::Other(problem),
                );
            }
        }
    }

    fn misfits(
        &self,
        of: &ResourceRef,
        service: &Service,
        backends: &BTreeMap<Endpoint, Backend>,
        problems: &mut Problems,
    ) {
        for (endpoint, backend) in backends {
            for misfit in service.misfits(backend) {
                problems.add(self.places.backend_path(of, endpoint), misfit);
            }
        }
    }
}

#[cfg(test)]
mod tests;
