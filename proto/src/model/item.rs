//! What one node must hold.

use std::fmt;
use std::net::IpAddr;

use super::{
    Affinity, ConnectionTimeouts, Drain, Endpoint, Forwarding, Frontend, Port, Protocol, Scheduler,
    SchedulerFlags, ServiceName, Sources, SyncDaemon, SyncRole, Thresholds, TunnelEnd, Vip, Weight,
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
    /// Packets in a tunnel are unwrapped; there is nothing more to it than its key.
    TunnelEnd(TunnelEnd),
    /// An address the node takes packets to and does not answer for.
    SilentVip(IpAddr),
    /// An address the node answers for.
    Vip(Vip),
    /// The node answers for the addresses of the link that is asked at alone.
    StrictArp,
    /// How long connections are remembered.
    ConnectionTimeouts(ConnectionTimeouts),
    /// Connections are kept like those of another node.
    SyncDaemon(SyncDaemon),
    /// The node is being drained: its VIPs go when nothing is connected through them any more.
    NodeDrain(Drain),
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
    /// The end of a tunnel by its families.
    TunnelEnd(TunnelEnd),
    /// A silent VIP by its address.
    SilentVip(IpAddr),
    /// A VIP by its address.
    Vip(IpAddr),
    /// A node has one or none.
    StrictArp,
    /// A node has one or none.
    ConnectionTimeouts,
    /// A synchronisation daemon by its role.
    SyncDaemon(SyncRole),
    /// A node has one or none.
    NodeDrain,
    /// An item whose key cannot be read. Nothing that is held has such a key.
    Unread(UnreadKey),
}

/// An item whose key cannot be read, since it is of another version: known by its digest alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnreadKey {
    /// The number of its kind on the wire; 0: it says none.
    pub kind: u32,
    /// Its digest as it was sent. Bytes, since as a number it would widen every key.
    pub digest: [u8; 16],
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
    /// What the scheduler does beside; none: it has no flags.
    pub scheduler_flags: Option<SchedulerFlags>,
    /// How a client stays with its backend.
    pub affinity: Option<Affinity>,
    /// Whether each packet is balanced by itself.
    pub one_packet: bool,
    /// Who may connect; of the frontend's family.
    pub sources: Sources,
    /// The service it was made for.
    pub service: ServiceName,
    /// How a backend that is no longer an item ends.
    pub drain: Drain,
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
    /// How many connections it takes.
    pub thresholds: Thresholds,
    /// How it ends, where it does: then it takes no new connection.
    pub drain: Option<Drain>,
}

impl VirtualService {
    /// Makes one as a service has it that says nothing but its name.
    pub fn new(frontend: Frontend, service: ServiceName) -> Self {
        Self {
            frontend,
            scheduler: Scheduler::DEFAULT,
            scheduler_flags: None,
            affinity: None,
            one_packet: false,
            sources: Sources::new(),
            service,
            drain: Drain::default(),
        }
    }
}

impl NodeBackend {
    /// Makes one as a service has it that says nothing but where its backend listens.
    pub fn new(key: BackendKey) -> Self {
        Self {
            key,
            weight: Weight::DEFAULT,
            forwarding: Forwarding::default(),
            thresholds: Thresholds::default(),
            drain: None,
        }
    }
}

impl Item {
    /// Gives the key.
    pub fn key(&self) -> ItemKey {
        match self {
            Self::LoopbackEntry(entry) => ItemKey::LoopbackEntry(*entry),
            Self::VirtualService(service) => ItemKey::VirtualService(service.frontend),
            Self::Backend(backend) => ItemKey::Backend(backend.key),
            Self::TunnelEnd(end) => ItemKey::TunnelEnd(*end),
            Self::SilentVip(address) => ItemKey::SilentVip(*address),
            Self::Vip(vip) => ItemKey::Vip(vip.address),
            Self::StrictArp => ItemKey::StrictArp,
            Self::ConnectionTimeouts(_) => ItemKey::ConnectionTimeouts,
            Self::SyncDaemon(daemon) => ItemKey::SyncDaemon(daemon.role),
            Self::NodeDrain(_) => ItemKey::NodeDrain,
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
            Self::TunnelEnd(end) => write!(f, "tunnel end {end}"),
            Self::SilentVip(address) => write!(f, "silent vip {address}"),
            Self::Vip(address) => write!(f, "vip {address}"),
            Self::StrictArp => f.write_str("strict ARP"),
            Self::ConnectionTimeouts => f.write_str("connection time-outs"),
            Self::SyncDaemon(role) => write!(f, "sync daemon {role}"),
            Self::NodeDrain => f.write_str("node drain"),
            Self::Unread(UnreadKey { kind, digest }) => {
                let digest = u128::from_be_bytes(*digest);
                write!(f, "item of kind {kind} (digest {digest:032x})")
            }
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
