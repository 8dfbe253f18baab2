//! What a view shows of the cluster, and which of its rows a change touches. PURE.
//!
//! Rows belong to an owner: a service has the rows of its frontends and backends, a VIP, a backend set and a node have their own.
//! A change touches owners, and only their rows are made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weir_proto::wire;
use weir_proto::wire::resource::Kind;

use crate::ctl::names::View;
use crate::ctl::render::{
    Derived, Detail, Listing, backend_header, backend_rows, derived_backends, derived_frontends,
    derived_vip, frontend_header, frontend_rows, node_header, node_row, service_header,
    service_row, set_header, set_row, vip_header, vip_row, vips,
};
use crate::ctl::selector::Selector;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) view: View,
    /// None: all.
    pub(super) names: Vec<String>,
    pub(super) selector: Selector,
}

/// What rows are made of.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct World {
    pub(super) listing: Listing,
    pub(super) states: BTreeMap<String, wire::NodeState>,
}

/// The nodes' states by name.
pub(super) fn by_name(states: Vec<wire::NodeState>) -> BTreeMap<String, wire::NodeState> {
    let states = states.into_iter();
    states.map(|state| (state.name.clone(), state)).collect()
}

impl Scope {
    /// Gives the columns.
    pub(super) fn header(&self, wide: bool) -> Vec<&'static str> {
        match self.view {
            View::Services => service_header(wide),
            View::Frontends => frontend_header(wide),
            View::Backends => backend_header(wide),
            View::BackendSets => set_header(wide),
            View::Nodes => node_header(wide),
            View::Vips => vip_header(wide),
            // their tables are made at once, with their columns
            View::Drains | View::Repairs | View::Events => Vec::new(),
        }
    }

    /// Gives the kinds of resource that rows are made of.
    pub(super) fn kinds(&self) -> &'static [wire::Kind] {
        match self.view {
            View::Services | View::Frontends => &[wire::Kind::Service, wire::Kind::BackendSet],
            View::Backends => &[
                wire::Kind::Service,
                wire::Kind::BackendSet,
                wire::Kind::Node,
            ],
            View::Vips => &[wire::Kind::Service],
            View::BackendSets => &[wire::Kind::BackendSet],
            View::Nodes => &[wire::Kind::Node],
            View::Drains | View::Repairs | View::Events => &[],
        }
    }

    /// Gives the kind of resource that has the rows.
    pub(super) fn kind(&self) -> wire::Kind {
        // what is part of services is found by them
        self.view.kind().unwrap_or(wire::Kind::Service)
    }

    /// Gives the services, backend sets or nodes that names are of, so that these alone are asked for; none: all have to be
    /// looked at.
    pub(super) fn references(&self) -> Option<Vec<wire::ResourceRef>> {
        if self.names.is_empty() {
            return None;
        }
        if matches!(
            self.view,
            View::Vips | View::Drains | View::Repairs | View::Events
        ) {
            return None;
        }
        let mut seen = BTreeSet::new();
        let mut references = Vec::new();
        for name in &self.names {
            let owner: &str = match self.view {
                View::Frontends if is_frontend(name) => return None,
                View::Backends => name.split_once('/').map_or(name.as_str(), |(of, _)| of),
                _ => name,
            };
            if seen.insert(owner) {
                references.push(wire::ResourceRef {
                    kind: self.kind().into(),
                    name: owner.to_owned(),
                });
            }
        }
        Some(references)
    }

    /// Gives everything that has rows: in the order in which it was named, else by name.
    pub(super) fn owners(&self, listing: &Listing) -> Vec<String> {
        if let Some(references) = self.references() {
            return references.into_iter().map(|it| it.name).collect();
        }
        match self.view {
            View::Services | View::Frontends | View::Backends => {
                listing.services.keys().cloned().collect()
            }
            View::BackendSets => listing.sets.keys().cloned().collect(),
            View::Nodes => listing.nodes.keys().cloned().collect(),
            View::Vips => listing.vips().map(|vip| vip.to_string()).collect(),
            View::Drains | View::Repairs | View::Events => Vec::new(),
        }
    }

    /// Gives what a resource, as it is in the listing, has rows of.
    pub(super) fn touched(&self, listing: &Listing, of: &wire::ResourceRef) -> BTreeSet<String> {
        let own = || BTreeSet::from([of.name.clone()]);
        match (self.view, of.kind()) {
            (View::Services | View::Frontends | View::Backends, wire::Kind::Service)
            | (View::BackendSets, wire::Kind::BackendSet)
            | (View::Nodes, wire::Kind::Node) => own(),
            (View::Services | View::Frontends | View::Backends, wire::Kind::BackendSet) => {
                let set = listing.sets.get(&of.name).into_iter();
                set.map(|set| set.it.service.clone()).collect()
            }
            (View::Backends, wire::Kind::Node) => {
                let services = listing.services.iter().filter(|(_, service)| {
                    let backends = listing.backends(&service.it);
                    backends.iter().any(|(backend, _)| backend.node == of.name)
                });
                services.map(|(name, _)| name.clone()).collect()
            }
            (View::Vips, wire::Kind::Service) => {
                let service = listing.services.get(&of.name).into_iter();
                let vips = service.flat_map(|service| vips(&service.it));
                vips.map(|vip| vip.to_string()).collect()
            }
            _ => BTreeSet::new(),
        }
    }

    /// Gives the rows of an owner; none: it is not there, or not selected.
    pub(super) fn rows(&self, world: &World, owner: &str, detail: Detail) -> Vec<Vec<String>> {
        let World { listing, states } = world;
        if !self.selects(listing, owner) {
            return Vec::new();
        }
        let service = || listing.services.get(owner);
        let rows = match self.view {
            View::Services => service().map(|service| vec![service_row(listing, service, detail)]),
            View::Frontends => service().map(|service| frontend_rows(listing, service, detail)),
            View::Backends => service().map(|service| backend_rows(listing, service, detail)),
            View::BackendSets => listing
                .sets
                .get(owner)
                .map(|set| vec![set_row(set, detail)]),
            View::Nodes => listing
                .nodes
                .get(owner)
                .map(|node| vec![node_row(node, states.get(owner), detail)]),
            View::Vips => {
                let vip: Option<IpAddr> = owner.parse().ok();
                let row = vip.and_then(|vip| vip_row(listing, vip, detail));
                row.map(|row| vec![row])
            }
            View::Drains | View::Repairs | View::Events => None,
        };
        let mut rows = rows.unwrap_or_default();
        rows.retain(|row| row.first().is_some_and(|name| self.names_one(owner, name)));
        rows
    }

    /// Gives what an owner has as a list for programs shows it, by name.
    pub(super) fn derived(&self, listing: &Listing, owner: &str) -> Vec<(String, Derived)> {
        if !self.selects(listing, owner) {
            return Vec::new();
        }
        let service = || listing.services.get(owner);
        let mut all = match self.view {
            View::Frontends => service().map(derived_frontends).unwrap_or_default(),
            View::Backends => service()
                .map(|service| derived_backends(listing, service))
                .unwrap_or_default(),
            View::Vips => {
                let vip: Option<IpAddr> = owner.parse().ok();
                let vip = vip.and_then(|vip| derived_vip(listing, vip));
                vip.into_iter().collect()
            }
            View::Services
            | View::BackendSets
            | View::Nodes
            | View::Drains
            | View::Repairs
            | View::Events => Vec::new(),
        };
        all.retain(|(name, _)| self.names_one(owner, name));
        all
    }

    /// Says whether a resource is asked for.
    pub(super) fn has(&self, resource: &wire::Resource) -> bool {
        let (labels, name) = match &resource.kind {
            Some(Kind::Service(service)) => (&service.labels, &service.name),
            Some(Kind::BackendSet(set)) => (&set.labels, &set.name),
            Some(Kind::Node(node)) => (&node.labels, &node.name),
            None => return false,
        };
        self.selector.selects(labels) && self.names_one(name, name)
    }

    /// Gives what is named and not there, as `KIND/NAME`: of what is shown, and of what that belongs to.
    pub(super) fn missing(&self, listing: &Listing, shown: &BTreeSet<String>) -> Vec<String> {
        let missing = self.names.iter().filter_map(|name| {
            let own = match self.view {
                View::Frontends => is_frontend(name),
                View::Backends => name.contains('/'),
                View::Vips | View::Drains | View::Events => true,
                View::Services | View::BackendSets | View::Nodes | View::Repairs => false,
            };
            let (there, word) = if own {
                let mut shown = shown.iter();
                let there = shown.any(|shown| self.stands_for(name, shown));
                (there, self.view.singular())
            } else {
                match self.view {
                    View::BackendSets => (listing.sets.contains_key(name), "backendset"),
                    View::Nodes => (listing.nodes.contains_key(name), "node"),
                    _ => (listing.services.contains_key(name), "service"),
                }
            };
            (!there).then(|| format!("{word}/{name}"))
        });
        missing.collect()
    }

    /// Whether a name that is asked for is that, as people may write it.
    fn stands_for(&self, asked: &str, name: &str) -> bool {
        match self.view {
            View::Vips => matches!(
                (asked.parse::<IpAddr>(), name.parse::<IpAddr>()),
                (Ok(asked), Ok(name)) if asked == name
            ),
            _ => asked == name,
        }
    }

    /// Says whether something of an owner is asked for by its own name or by the owner's.
    fn names_one(&self, owner: &str, name: &str) -> bool {
        self.names.is_empty()
            || self
                .names
                .iter()
                .any(|asked| self.stands_for(asked, name) || asked == owner)
    }

    fn selects(&self, listing: &Listing, owner: &str) -> bool {
        let labels = match self.view {
            View::Services | View::Frontends | View::Backends => {
                listing.services.get(owner).map(|it| &it.it.labels)
            }
            View::BackendSets => listing.sets.get(owner).map(|it| &it.it.labels),
            View::Nodes => listing.nodes.get(owner).map(|it| &it.it.labels),
            // any of its services
            View::Vips => {
                let vip: Option<IpAddr> = owner.parse().ok();
                return vip.is_some_and(|vip| {
                    let mut services = listing.services_at(vip);
                    services.any(|service| self.selector.selects(&service.it.labels))
                });
            }
            View::Drains | View::Repairs | View::Events => return false,
        };
        labels.is_some_and(|labels| self.selector.selects(labels))
    }
}

/// Whether a name is that of a frontend, which no service can have.
fn is_frontend(name: &str) -> bool {
    name.contains([':', '/'])
}
