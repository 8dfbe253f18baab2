//! How a backend ends, and what a node tells of it.

use std::fmt;

use super::{Endpoint, Generation, ItemKey, NodeName, Refused, ServiceName};

/// How a backend ends: it gets no new connection, and goes when it has none left or its time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drain {
    /// How long connections are waited for.
    pub deadline: DrainDeadline,
    /// What becomes of those that are left then.
    pub on_deadline: OnDeadline,
}

/// How long connections are waited for, in seconds, 0-604800.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DrainDeadline(u32);

/// What becomes of the connections that are left when the time of a drain is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnDeadline {
    /// They are kept: the backend stays at weight 0 until the last of them has ended by itself.
    #[default]
    Keep,
    /// They are cut.
    Reset,
}

impl DrainDeadline {
    /// A week.
    const MOST: u32 = 7 * 24 * 60 * 60;

    /// Takes 0-604800 seconds.
    pub fn new(seconds: u32) -> Result<Self, Refused> {
        if seconds > Self::MOST {
            return Err(Refused::DrainDeadline(seconds));
        }
        Ok(Self(seconds))
    }

    /// Gives the seconds.
    pub fn seconds(self) -> u32 {
        self.0
    }
}

impl Default for DrainDeadline {
    fn default() -> Self {
        Self(300)
    }
}

impl fmt::Display for OnDeadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "KEEP",
            Self::Reset => "RESET",
        })
    }
}

/// What an operator says of how something ends; what is not said is as elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DrainTerms {
    /// How long connections are waited for.
    pub deadline: Option<DrainDeadline>,
    /// What becomes of those that are left then.
    pub on_deadline: Option<OnDeadline>,
}

impl DrainTerms {
    /// Fills in what is not said.
    pub fn or(self, default: Drain) -> Drain {
        Drain {
            deadline: self.deadline.unwrap_or(default.deadline),
            on_deadline: self.on_deadline.unwrap_or(default.on_deadline),
        }
    }
}

/// What operators drain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum DrainTarget {
    /// A backend of a service, at all of its frontends.
    Backend(ServiceName, Endpoint),
    /// Every backend that runs on a node, and the VIPs on the node itself.
    Node(NodeName),
}

/// A drain that an operator asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskedDrain {
    /// What was said of it.
    pub terms: DrainTerms,
    /// When it was asked for first, in Unix milliseconds.
    pub at_unix_ms: u64,
}

/// As resources are named: "services\[web\].backends\[10.0.0.1:80\]".
impl fmt::Display for DrainTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(service, endpoint) => {
                write!(f, "services[{service}].backends[{endpoint}]")
            }
            Self::Node(name) => write!(f, "nodes[{name}]"),
        }
    }
}

/// How far a drain is on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainProgress {
    /// A backend, or the node's own drain.
    pub key: ItemKey,
    /// Connections in the kernel's state ESTABLISHED.
    pub active: u64,
    /// Connections in any other state.
    pub inactive: u64,
    /// When it began, in Unix milliseconds by the node's clock.
    pub started_unix_ms: u64,
    /// When its time is over.
    pub deadline_unix_ms: u64,
    /// What becomes of connections that are left then.
    pub on_deadline: OnDeadline,
    /// Whether it is over.
    pub done: bool,
}

/// What a node that applies nothing holds back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hold {
    /// The newest generation that is durable and not applied.
    pub generation: Generation,
    /// How many of the virtual services that it serves would go.
    pub dropped: u64,
    /// How many it serves.
    pub served: u64,
    /// Since when, in Unix milliseconds.
    pub since_unix_ms: u64,
    /// Why, for people.
    pub cause: String,
}

/// Why a node cannot make anything durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Degraded {
    /// For people.
    pub reason: String,
    /// Since when, in Unix milliseconds.
    pub since_unix_ms: u64,
}

/// The kinds of object that an agent keeps in a kernel, as it names them.
pub const OBJECT_KINDS: [&str; 11] = [
    "setting",
    "link",
    "loopback_set",
    "loopback_rule",
    "lockdown",
    "guard",
    "loopback_entry",
    "virtual_service",
    "backend",
    "vip",
    "sync_daemon",
];

/// Something that somebody else had changed on a node, and its agent put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// What, as people call it.
    pub object: String,
    /// Its kind: one of [`OBJECT_KINDS`], as far as this version knows them.
    pub kind: String,
    /// How it was found; empty: it was not there.
    pub found: String,
    /// How it is again; empty: not there.
    pub expected: String,
    /// When, in Unix milliseconds by the node's clock.
    pub at_unix_ms: u64,
}
