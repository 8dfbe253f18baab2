//! What operators declare: services and their backends.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    BackendSetName, Endpoint, Forwarding, Frontend, Labels, NodeName, Refused, Scheduler,
    ServiceName, Weight,
};

/// How long a client is remembered, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AffinityTimeout(u32);

impl AffinityTimeout {
    /// What an affinity has that names no time: the value `ipvsadm -p` uses.
    pub const DEFAULT: Self = Self(300);
    /// A day: a client that stays longer on one backend is not balanced at all.
    const MOST: u32 = 86_400;

    /// Takes 1-86400 seconds.
    pub fn new(seconds: u32) -> Result<Self, Refused> {
        if (1..=Self::MOST).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(Refused::AffinityTimeout(seconds))
        }
    }

    /// Gives the seconds.
    pub fn seconds(self) -> u32 {
        self.0
    }
}

/// One server behind a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Its share of new connections.
    pub weight: Weight,
    /// The node it runs on; none: it is taken to run on every node.
    pub node: Option<NodeName>,
}

/// A load-balanced service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Unique among services.
    pub name: ServiceName,
    /// Free labels.
    pub labels: Labels,
    /// At least one; none twice.
    pub frontends: BTreeSet<Frontend>,
    /// How the kernel picks a backend.
    pub scheduler: Scheduler,
    /// How it hands packets over.
    pub forwarding: Forwarding,
    /// The service's own backends, by where they listen.
    pub backends: BTreeMap<Endpoint, Backend>,
    /// How long a client stays with its backend; none: each connection is balanced anew.
    pub affinity: Option<AffinityTimeout>,
    /// Whether a backend may reach itself through the VIP.
    pub hairpin: bool,
    /// The labels a node must have to hold this service.
    pub node_selector: Labels,
}

/// Some of the backends of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendSet {
    /// Unique among backend sets.
    pub name: BackendSetName,
    /// Free labels.
    pub labels: Labels,
    /// The service they stand behind.
    pub service: ServiceName,
    /// The backends, by where they listen.
    pub backends: BTreeMap<Endpoint, Backend>,
}

impl Service {
    /// Says what keeps `backend` from standing behind this service, frontend by frontend.
    pub fn misfits(&self, backend: &Backend) -> Vec<Refused> {
        let Endpoint { address, port } = backend.endpoint;
        let mut found = Vec::new();
        for frontend in &self.frontends {
            if frontend.address.is_ipv4() != address.is_ipv4() {
                found.push(Refused::Family {
                    backend: address,
                    frontend: frontend.address,
                });
            }
            let rewrites = self.forwarding == Forwarding::Masquerade;
            if !rewrites && frontend.port != port {
                found.push(Refused::PortRewrite {
                    backend: port,
                    frontend: frontend.port,
                    forwarding: self.forwarding,
                });
            }
        }
        found
    }
}
