//! Nodes, and how far they are.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::{ConnectionTimeouts, ItemKey, Labels, NodeName, SyncDaemon, SyncRole};

macro_rules! counter {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $type(pub u64);

        impl $type {
            /// Gives the one after.
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter!(
    /// Counts the writes of the cluster; 0: nothing was ever written.
    Revision
);
counter!(
    /// Counts the changes of one node's state; 0: it never had any.
    Generation
);

/// A machine on which an agent programs the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Unique among nodes.
    pub name: NodeName,
    /// What services select it by.
    pub labels: Labels,
    /// The addresses it is reached at.
    pub addresses: Vec<IpAddr>,
    /// Whether it answers ARP for the addresses of the link that is asked at alone.
    pub strict_arp: bool,
    /// How long it remembers connections; none: as the kernel has it.
    pub connection_timeouts: Option<ConnectionTimeouts>,
    /// How it shares connections with other nodes.
    pub sync_daemons: BTreeMap<SyncRole, SyncDaemon>,
    /// Whether backends that run on it take no new connection anywhere.
    pub cordoned: bool,
}

impl Node {
    /// Makes a node on which nothing is set.
    pub fn new(name: NodeName, labels: Labels, addresses: Vec<IpAddr>) -> Self {
        Self {
            name,
            labels,
            addresses,
            strict_arp: false,
            connection_timeouts: None,
            sync_daemons: BTreeMap::new(),
            cordoned: false,
        }
    }
}

/// One ability of a node's kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// For example "ip_vs"; see [`Ability`](super::Ability) for those that a service may need.
    pub name: String,
    /// Whether the kernel has it.
    pub available: bool,
    /// What is missing and how to get it, or what was found.
    pub detail: String,
    /// Whether only some services need it.
    pub optional: bool,
}

/// Why a node does not hold an item as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemFailure {
    /// Which item.
    pub key: ItemKey,
    /// The kernel's error number; 0 when it was not the kernel that refused.
    pub errno: i32,
    /// One sentence for people.
    pub cause: String,
    /// The field of the item at fault; empty: the item as a whole.
    pub field: String,
}
