//! Validated types: what exists here makes sense. Constructors refuse nonsense, so nothing past
//! `convert` checks again.

mod ability;
mod affinity;
mod conntrack;
mod drain;
mod frontend;
mod identity;
mod increment;
mod item;
mod name;
mod net;
mod node;
mod resource;
mod rollout;
mod scheduler;
mod service;
mod settings;
mod tunnel;
mod vip;

pub use ability::Ability;
pub use affinity::{Affinity, AffinityTimeout, PersistenceEngine, PrefixLength, SessionAffinity};
pub use conntrack::{ConnectionState, Conntrack, VipConnections};
pub use drain::{
    AskedDrain, Degraded, Drain, DrainDeadline, DrainProgress, DrainTarget, DrainTerms, Hold,
    OBJECT_KINDS, OnDeadline, Repair,
};
pub use frontend::{Frontend, Listener, Mark, UnreadFrontend};
pub use identity::{Identity, Role, TrustDomain};
pub use increment::Increment;
pub use item::{BackendKey, Item, ItemKey, LoopbackEntry, NodeBackend, UnreadKey, VirtualService};
pub use name::{BackendSetName, Labels, NodeName, ServiceName};
pub use net::{Endpoint, Family, Forwarding, Port, Protocol, Weight, unicast, usable};
pub use node::{Capability, Generation, ItemFailure, Node, Revision};
pub use resource::{Kind, Resource, ResourceRef};
pub use rollout::{Canary, CanaryStep, RolloutPhase, Steering};
pub use scheduler::{Scheduler, SchedulerFlags};
pub use service::{Backend, BackendSet, Service, Thresholds};
pub use settings::{ConnectionTimeouts, Interface, MaxLength, SyncDaemon, SyncRole, multicast};
pub use tunnel::{Checksum, Tunnel, TunnelKind};
pub use vip::{Sources, TunnelEnd, Vip, VipBinding, source};

/// Why a value is not one of these types. Its text is the end of a sentence that begins with the
/// field: "services\[web\].frontends\[0\].port: 0 is not a port".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not in 1-65535.
    #[error("{0} is not a port (1-65535)")]
    Port(u32),
    /// Above 65535.
    #[error("{0} is not a weight (0-65535)")]
    Weight(u32),
    /// Not an IP address.
    #[error("{0:?} is not an IP address")]
    Address(String),
    /// An address that no host can have.
    #[error("{0} is {1}, which no host can be reached at")]
    Unusable(std::net::IpAddr, &'static str),
    /// Not a name.
    #[error(
        "{0:?} is not a name (1-63 characters of a-z, 0-9, \"-\" and \".\", with a letter or digit at both ends)"
    )]
    Name(String),
    /// Not a label key or value.
    #[error(
        "{0:?} is not a label (at most 63 letters, digits, \"-\", \"_\", \".\" and \"/\"; a key is not empty)"
    )]
    Label(String),
    /// Not one of the kernel's schedulers.
    #[error("{0:?} is not a scheduler (rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh twos)")]
    Scheduler(String),
    /// Not in 1-86400.
    #[error("{0} is not an affinity time-out (1-86400 seconds)")]
    AffinityTimeout(u32),
    /// Not in 0-604800.
    #[error("{0} is not a drain deadline (0-604800 seconds)")]
    DrainDeadline(u32),
    /// Not as many bits as an address has, or fewer.
    #[error("{0} is not a prefix length (1-{2} for {1})")]
    PrefixLength(u32, Family, u8),
    /// Not one of the kernel's persistence engines.
    #[error("{0:?} is not a persistence engine (there is sip)")]
    PersistenceEngine(String),
    /// A tunnel that there is not.
    #[error("{0}")]
    Tunnel(&'static str),
    /// Too long for the kernel to count.
    #[error("{0} is not a connection time-out (1-2147483 seconds, or 0)")]
    ConnectionTimeout(u32),
    /// Not the name of a link.
    #[error("{0:?} is not the name of a link (1-15 characters, no \"/\", \":\" or white space)")]
    Interface(String),
    /// Not in a range of numbers.
    #[error("{0} is not in {1}-{2}")]
    OutOf(u32, u32, u32),
    /// Not a multicast address.
    #[error("{0} is not a multicast address")]
    NotMulticast(std::net::IpAddr),
    /// Not a range of addresses.
    #[error("{0:?} is not a range of addresses (10.0.0.0/8, fd00::/8)")]
    Range(String),
    /// A range with a host in it.
    #[error("{0} has bits set beyond its prefix: {1} is meant")]
    RangeBits(ipnet::IpNet, ipnet::IpNet),
    /// A range of the other family.
    #[error("{0} is not of {1}, the family of the frontend")]
    RangeFamily(ipnet::IpNet, Family),
    /// A lower threshold above the upper one.
    #[error("lower threshold {lower} is above upper threshold {upper}")]
    Thresholds {
        /// Where connections are taken again.
        lower: u32,
        /// Where no more are taken.
        upper: u32,
    },
    /// Something that cannot go with something else.
    #[error("only with {0}")]
    OnlyWith(&'static str),
    /// Nothing where something must be.
    #[error("missing")]
    Missing,
    /// The enum's zero, or a number this version does not know.
    #[error("{0} is not a {1}")]
    Enum(i32, &'static str),
    /// The same thing a second time.
    #[error("{0} is named twice")]
    Twice(String),
    /// A backend of another family than the frontend.
    #[error("{backend} is not of the family of frontend {frontend}")]
    Family {
        /// The backend's address.
        backend: std::net::IpAddr,
        /// The frontend.
        frontend: Frontend,
    },
    /// A port that direct route and tunnel cannot rewrite.
    #[error(
        "port {backend} differs from frontend port {frontend}, and {forwarding} cannot rewrite ports"
    )]
    PortRewrite {
        /// The backend's port.
        backend: Port,
        /// The frontend's port.
        frontend: Port,
        /// How it is forwarded.
        forwarding: Forwarding,
    },
    /// Anything said only once.
    #[error("{0}")]
    Other(String),
}
