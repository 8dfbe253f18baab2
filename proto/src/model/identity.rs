//! Who somebody is, as the certificate says, and what that allows.

use std::fmt;

use super::{NodeName, Refused};

const SCHEME: &str = "spiffe://";

/// The names that one authority gives: the host part of a SPIFFE ID, 1-63 characters as in other names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrustDomain(NodeName);

/// What an operator may do; each may what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Applies, deletes, drains, and steers rollouts.
    Operator,
    /// Does what may take much away.
    Admin,
}

/// Who somebody is.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// No certificate was asked for: whoever reaches the controller may do anything.
    #[default]
    Anonymous,
    /// The controller.
    Controller,
    /// The agent of a node.
    Node(NodeName),
    /// A person or a program that operates the cluster.
    Operator {
        /// What it may do.
        role: Role,
        /// Its name.
        name: NodeName,
    },
}

impl TrustDomain {
    /// Takes 1-63 characters of a-z, 0-9, "-" and "." with a letter or digit at both ends.
    pub fn new(text: &str) -> Result<Self, Refused> {
        NodeName::new(text).map(Self)
    }

    /// Gives the domain as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Role {
    /// Every role, the one that may least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// Gives the role as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Reads a role.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Identity {
    /// Reads a SPIFFE ID of a trust domain: `spiffe://DOMAIN/node/NAME`, `spiffe://DOMAIN/ROLE/NAME` or
    /// `spiffe://DOMAIN/controller`. None: it is of another domain, or names nobody.
    pub fn from_spiffe(id: &str, domain: &TrustDomain) -> Option<Self> {
        let path = id.strip_prefix(SCHEME)?.strip_prefix(domain.as_str())?;
        let path = path.strip_prefix('/')?;
        if path == "controller" {
            return Some(Self::Controller);
        }
        let (kind, name) = path.split_once('/')?;
        let name = NodeName::new(name).ok()?;
        match kind {
            "node" => Some(Self::Node(name)),
            role => Some(Self::Operator {
                role: Role::parse(role)?,
                name,
            }),
        }
    }

    /// Gives the SPIFFE ID in a trust domain; none: nobody is named.
    pub fn to_spiffe(&self, domain: &TrustDomain) -> Option<String> {
        match self {
            Self::Anonymous => None,
            named => Some(format!("{SCHEME}{domain}/{named}")),
        }
    }

    /// Says whether it may do what takes a role.
    pub fn has(&self, needed: Role) -> bool {
        match self {
            Self::Anonymous => true,
            Self::Controller | Self::Node(_) => false,
            Self::Operator { role, .. } => *role >= needed,
        }
    }

    /// Says whether it may speak for a node.
    pub fn is_node(&self, name: &NodeName) -> bool {
        match self {
            Self::Anonymous => true,
            Self::Node(own) => own == name,
            Self::Controller | Self::Operator { .. } => false,
        }
    }
}

/// As history and logs have it: `admin/alice`, `node/a`, `controller`, `anonymous`.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::Controller => f.write_str("controller"),
            Self::Node(name) => write!(f, "node/{name}"),
            Self::Operator { role, name } => write!(f, "{role}/{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::new(text).expect("a name")
    }

    #[test]
    fn what_a_certificate_names_is_read_as_it_was_written() {
        let domain = TrustDomain::new("weir.example").expect("a domain");
        let operators = Role::ALL.map(|role| Identity::Operator {
            role,
            name: name("alice"),
        });
        let named = [Identity::Controller, Identity::Node(name("node-a"))];
        for identity in named.into_iter().chain(operators) {
            let id = identity.to_spiffe(&domain).expect("an id");
            assert_eq!(Identity::from_spiffe(&id, &domain), Some(identity), "{id}");
        }
        assert_eq!(Identity::Anonymous.to_spiffe(&domain), None);
    }

    #[test]
    fn who_is_of_another_domain_or_no_kind_is_nobody() {
        let domain = TrustDomain::new("weir").expect("a domain");
        for id in [
            "spiffe://weir.example/node/a",
            "spiffe://weird/node/a",
            "spiffe://other/node/a",
            "spiffe://weir",
            "spiffe://weir/",
            "spiffe://weir/node",
            "spiffe://weir/node/",
            "spiffe://weir/node/a/b",
            "spiffe://weir/node/A",
            "spiffe://weir/chief/a",
            "spiffe://weir/controller/a",
            "spiffe://weir/anonymous",
            "https://weir/node/a",
            "",
        ] {
            assert_eq!(Identity::from_spiffe(id, &domain), None, "{id}");
        }
    }

    #[test]
    fn a_role_may_what_lesser_ones_may_and_a_node_speaks_for_itself_alone() {
        let may = |identity: &Identity| Role::ALL.map(|role| identity.has(role));
        let operator = |role| Identity::Operator {
            role,
            name: name("alice"),
        };
        assert_eq!(may(&operator(Role::Viewer)), [true, false, false]);
        assert_eq!(may(&operator(Role::Operator)), [true, true, false]);
        assert_eq!(may(&operator(Role::Admin)), [true; 3]);
        assert_eq!(may(&Identity::Anonymous), [true; 3]);
        assert_eq!(may(&Identity::Controller), [false; 3]);
        let node = Identity::Node(name("a"));
        assert_eq!(may(&node), [false; 3]);
        assert!(node.is_node(&name("a")) && !node.is_node(&name("b")));
        assert!(Identity::Anonymous.is_node(&name("b")));
        assert!(!operator(Role::Admin).is_node(&name("alice")));
    }
}
