//! Which of a node's failures are about what was written. PURE.
//!
//! - A service: what bears one of its frontends (virtual service, backends, VIP), and the loopback entries of
//!   its own backends.
//! - A backend set: its backends and their loopback entries. Where its service is written too, its frontends
//!   tell whose the backends are; else the address and port have to.
//! - A node: all that fails on it, for all that it holds may come from its labels.
//!
//! What is deleted counts as it was. A failure that cannot be told from these counts as well: a wait that
//! succeeds must not be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weir_proto::model::{Backend, Endpoint, Frontend, ItemKey, NodeName, Resource, ServiceName};
use weir_proto::{convert, wire};

/// What was written, by what its failures can be known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct About {
    frontends: BTreeSet<Frontend>,
    /// Of backend sets whose service was not written.
    backends: BTreeSet<Endpoint>,
    /// Of services and backend sets.
    loopbacks: BTreeSet<Endpoint>,
    nodes: BTreeSet<NodeName>,
}

impl About {
    /// Takes what was written. What the language refuses cannot have been.
    pub(crate) fn new(written: Vec<wire::Resource>) -> Self {
        let mut about = Self::default();
        let mut services: BTreeSet<ServiceName> = BTreeSet::new();
        let mut sets = Vec::new();
        for resource in written {
            match convert::resource_from_wire(resource) {
                Ok(Resource::Service(service)) => {
                    about.frontends.extend(service.frontends.keys());
                    about.loopbacks.extend(endpoints(&service.backends));
                    services.insert(service.name);
                }
                Ok(Resource::BackendSet(set)) => sets.push(set),
                Ok(Resource::Node(node)) => {
                    about.nodes.insert(node.name);
                }
                Err(_) => {}
            }
        }
        for set in sets {
            about.loopbacks.extend(endpoints(&set.backends));
            if !services.contains(&set.service) {
                about.backends.extend(endpoints(&set.backends));
            }
        }
        about
    }

    /// Says whether a failure on a node is about what was written.
    pub(crate) fn concerns(&self, node: &str, failure: &wire::ItemFailure) -> bool {
        if self.nodes.iter().any(|name| name.as_str() == node) {
            return true;
        }
        let key = failure.key.as_ref();
        let Some(Ok(key)) = key.map(|key| convert::item_key_from_wire(key, "key")) else {
            return true;
        };
        match key {
            ItemKey::Vip(address) => self.has_vip(address),
            // the service of a backend set that was written alone is not known, nor its VIPs
            ItemKey::SilentVip(address) => self.has_vip(address) || !self.backends.is_empty(),
            // any service with tunnels may be the one that needs it
            ItemKey::TunnelEnd(_) => !self.frontends.is_empty() || !self.loopbacks.is_empty(),
            // what only a node has
            ItemKey::StrictArp
            | ItemKey::ConnectionTimeouts
            | ItemKey::SyncDaemon(_)
            | ItemKey::NodeDrain => false,
            // nobody can say here what it is
            ItemKey::Unread(_) => true,
            ItemKey::VirtualService(frontend) => self.frontends.contains(&frontend),
            ItemKey::Backend(key) => {
                self.frontends.contains(&key.frontend) || self.backends.contains(&key.endpoint)
            }
            ItemKey::LoopbackEntry(entry) => self.loopbacks.contains(&Endpoint {
                address: entry.address,
                port: entry.port,
            }),
        }
    }
}

impl About {
    fn has_vip(&self, address: IpAddr) -> bool {
        let mut vips = self.frontends.iter().filter_map(|it| it.vip());
        vips.any(|vip| vip == address)
    }
}

fn endpoints(backends: &BTreeMap<Endpoint, Backend>) -> impl Iterator<Item = Endpoint> {
    backends.keys().copied()
}

#[cfg(test)]
mod tests;
