//! What operators declare: services and their backends.

use std::collections::BTreeMap;

use super::{
    BackendSetName, Drain, Endpoint, Family, Forwarding, Frontend, Labels, NodeName, Refused,
    Scheduler, SchedulerFlags, ServiceName, SessionAffinity, Sources, VipBinding, Weight,
};

/// How many connections a backend takes before it takes no new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Thresholds {
    upper: u32,
    lower: u32,
}

impl Thresholds {
    /// Takes the number above which no new connection is taken, 0 for no limit, and the one below which they are taken
    /// again, 0 for three quarters of the other (`ip_vs_dest_totalconns` and around it in
    /// `net/netfilter/ipvs/ip_vs_conn.c`).
    pub fn new(upper: u32, lower: u32) -> Result<Self, Refused> {
        if lower > upper {
            Err(Refused::Thresholds { lower, upper })
        } else {
            Ok(Self { upper, lower })
        }
    }

    /// Gives the upper one.
    pub fn upper(self) -> u32 {
        self.upper
    }

    /// Gives the lower one.
    pub fn lower(self) -> u32 {
        self.lower
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
    /// How many connections it takes.
    pub thresholds: Thresholds,
}

/// A load-balanced service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Unique among services.
    pub name: ServiceName,
    /// Free labels.
    pub labels: Labels,
    /// At least one, each with who may connect.
    pub frontends: BTreeMap<Frontend, Sources>,
    /// How the kernel picks a backend.
    pub scheduler: Scheduler,
    /// What the scheduler does beside; none: it has no flags.
    pub scheduler_flags: Option<SchedulerFlags>,
    /// How it hands packets over.
    pub forwarding: Forwarding,
    /// The service's own backends, by where they listen.
    pub backends: BTreeMap<Endpoint, Backend>,
    /// How long a client stays with its backend; none: each connection is balanced anew.
    pub affinity: Option<SessionAffinity>,
    /// Whether each packet is balanced by itself.
    pub one_packet: bool,
    /// Whether a backend may reach itself through the VIP.
    pub hairpin: bool,
    /// The labels a node must have to hold this service.
    pub node_selector: Labels,
    /// How its VIPs are bound.
    pub vip_binding: VipBinding,
    /// Whether only declared ports may be reached on its VIPs.
    pub lockdown: bool,
    /// How a backend that is taken out of it ends.
    pub drain: Drain,
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
        for frontend in self.frontends.keys() {
            let tunnel = matches!(self.forwarding, Forwarding::Tunnel(_));
            if frontend.family() != Family::of(address) && !tunnel {
                found.push(Refused::Family {
                    backend: address,
                    frontend: *frontend,
                });
            }
            let rewrites = self.forwarding == Forwarding::Masquerade;
            if let Some(listener) = frontend.listener()
                && !rewrites
                && listener.port != port
            {
                found.push(Refused::PortRewrite {
                    backend: port,
                    frontend: listener.port,
                    forwarding: self.forwarding,
                });
            }
        }
        found
    }
}
