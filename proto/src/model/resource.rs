//! Any of the resources, and how they are named.

use std::fmt;

use super::{BackendSet, Node, Service};

/// The kinds of resource, in the order they are written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A node.
    Node,
    /// A service.
    Service,
    /// A backend set.
    BackendSet,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Node, Self::Service, Self::BackendSet];

    /// Gives the name of the field that would hold all of them: the start of each field path.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Node => "nodes",
            Self::Service => "services",
            Self::BackendSet => "backend_sets",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node",
            Self::Service => "service",
            Self::BackendSet => "backend set",
        })
    }
}

/// A resource by its kind and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceRef {
    /// Its kind.
    pub kind: Kind,
    /// Its name, unique in its kind.
    pub name: String,
}

impl fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.kind.plural(), self.name)
    }
}

/// Any of the resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// A machine.
    Node(Node),
    /// A load-balanced service.
    Service(Service),
    /// Some of a service's backends.
    BackendSet(BackendSet),
}

impl Resource {
    /// Gives its kind and name.
    pub fn reference(&self) -> ResourceRef {
        let (kind, name) = match self {
            Self::Node(node) => (Kind::Node, node.name.as_str()),
            Self::Service(service) => (Kind::Service, service.name.as_str()),
            Self::BackendSet(set) => (Kind::BackendSet, set.name.as_str()),
        };
        ResourceRef {
            kind,
            name: name.to_owned(),
        }
    }
}
