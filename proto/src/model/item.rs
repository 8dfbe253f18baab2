//! What one node must hold.

use std::fmt;
use std::net::IpAddr;

use super::{
    AffinityTimeout, Endpoint, Forwarding, Frontend, Port, Protocol, Scheduler, ServiceName, Weight,
};

/// One thing a node must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// What lets a backend reach itself through a VIP.
    LoopbackEntry(LoopbackEntry),
    /// A frontend as the kernel holds it.
    VirtualService(VirtualService),
    /// A backend of one virtual service.
    Backend(NodeBackend),
    /// An address the node answers for.
    Vip(IpAddr),
}

/// An item by its key. The order of keys is the order in which items are put up: a VIP comes last, when
/// everything it leads to is there. They are taken down the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ItemKey {
    /// A loopback entry is nothing but its key.
    LoopbackEntry(LoopbackEntry),
    /// A virtual service by its frontend.
    VirtualService(Frontend),
    /// A backend by its virtual service and where it listens.
    Backend(BackendKey),
    /// A VIP by its address.
    Vip(IpAddr),
}

/// A packet to `address`, `protocol`:`port` that comes from `source` is masqueraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoopbackEntry {
    /// The backend.
    pub address: IpAddr,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its port.
    pub port: Port,
    /// Where the packet comes from: the backend itself.
    pub source: IpAddr,
}

/// A frontend as the kernel holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualService {
    /// Its key.
    pub frontend: Frontend,
    /// How the kernel picks a backend.
    pub scheduler: Scheduler,
    /// How long a client stays with its backend.
    pub affinity: Option<AffinityTimeout>,
    /// The service it was made for.
    pub service: ServiceName,
}

/// Which backend of which virtual service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackendKey {
    /// The virtual service.
    pub frontend: Frontend,
    /// Where the backend listens.
    pub endpoint: Endpoint,
}

/// A backend as the kernel holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeBackend {
    /// Its key.
    pub key: BackendKey,
    /// Its share of new connections.
    pub weight: Weight,
    /// How packets get to it.
    pub forwarding: Forwarding,
}

impl Item {
    /// Gives the key.
    pub fn key(&self) -> ItemKey {
        match self {
            Self::LoopbackEntry(entry) => ItemKey::LoopbackEntry(*entry),
            Self::VirtualService(service) => ItemKey::VirtualService(service.frontend),
            Self::Backend(backend) => ItemKey::Backend(backend.key),
            Self::Vip(address) => ItemKey::Vip(*address),
        }
    }
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoopbackEntry(entry) => write!(f, "loopback entry {entry}"),
            Self::VirtualService(frontend) => write!(f, "virtual service {frontend}"),
            Self::Backend(BackendKey { frontend, endpoint }) => {
                write!(f, "backend {endpoint} of {frontend}")
            }
            Self::Vip(address) => write!(f, "vip {address}"),
        }
    }
}

/// As `ipset list` prints it.
impl fmt::Display for LoopbackEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            address,
            protocol,
            port,
            source,
        } = self;
        let protocol = protocol.to_string().to_ascii_lowercase();
        write!(f, "{address},{protocol}:{port},{source}")
    }
}
