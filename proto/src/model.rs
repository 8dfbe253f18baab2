//! Validated types: what exists here makes sense. Constructors refuse nonsense, so nothing past
//! `convert` checks again.

mod ability;
mod item;
mod name;
mod net;
mod node;
mod resource;
mod service;

pub use ability::Ability;
pub use item::{BackendKey, Item, ItemKey, LoopbackEntry, NodeBackend, VirtualService};
pub use name::{BackendSetName, Labels, NodeName, ServiceName};
pub use net::{Endpoint, Family, Forwarding, Frontend, Port, Protocol, Scheduler, Weight, unicast};
pub use node::{Capability, Generation, ItemFailure, Node, Revision};
pub use resource::{Kind, Resource, ResourceRef};
pub use service::{AffinityTimeout, Backend, BackendSet, Service};

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
        /// The frontend's address.
        frontend: std::net::IpAddr,
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
