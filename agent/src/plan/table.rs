//! What a kernel holds, as plain values.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use weir_proto::model::{
    BackendKey, Endpoint, Family, Forwarding, Frontend, ItemKey, LoopbackEntry, Port,
};

/// A kernel setting that weir needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sysctl {
    /// Masquerading needs IPVS flows in conntrack (`net/netfilter/ipvs/ip_vs_nfct.c`).
    Conntrack,
    /// A flow whose backend is gone ends at its next packet instead of vanishing into nothing
    /// (`ip_vs_core.c`, `sysctl_expire_nodest_conn`).
    ExpireNodestConn,
    /// An affinity template does not hold a client to a backend of weight 0
    /// (`ip_vs_conn.c`, `ip_vs_check_template`).
    ExpireQuiescentTemplate,
    /// Packets are forwarded at all.
    ForwardV4,
    /// The same for IPv6.
    ForwardV6,
    /// Frames that a bridge switches pass iptables, so that a reply between two pods of one bridge
    /// is translated back. Only where br_netfilter is loaded.
    BridgeV4,
    /// The same for IPv6.
    BridgeV6,
}

impl Sysctl {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::Conntrack,
        Self::ExpireNodestConn,
        Self::ExpireQuiescentTemplate,
        Self::ForwardV4,
        Self::ForwardV6,
        Self::BridgeV4,
        Self::BridgeV6,
    ];

    /// Gives its dotted name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conntrack => "net.ipv4.vs.conntrack",
            Self::ExpireNodestConn => "net.ipv4.vs.expire_nodest_conn",
            Self::ExpireQuiescentTemplate => "net.ipv4.vs.expire_quiescent_template",
            Self::ForwardV4 => "net.ipv4.ip_forward",
            Self::ForwardV6 => "net.ipv6.conf.all.forwarding",
            Self::BridgeV4 => "net.bridge.bridge-nf-call-iptables",
            Self::BridgeV6 => "net.bridge.bridge-nf-call-ip6tables",
        }
    }

    /// Finds one by its dotted name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sysctl| sysctl.name() == name)
    }

    /// Gives the value weir needs.
    pub fn value(self) -> &'static str {
        "1"
    }

    /// Says whether a kernel may lack it with nothing lost.
    pub fn optional(self) -> bool {
        matches!(self, Self::BridgeV4 | Self::BridgeV6)
    }

    /// Gives the family it matters to; none: both.
    pub fn family(self) -> Option<Family> {
        match self {
            Self::ForwardV4 | Self::BridgeV4 => Some(Family::V4),
            Self::ForwardV6 | Self::BridgeV6 => Some(Family::V6),
            Self::Conntrack | Self::ExpireNodestConn | Self::ExpireQuiescentTemplate => None,
        }
    }
}

/// An object of the kernel by its key. The order of keys is the order in which objects are put up; they are
/// taken down the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A setting.
    Sysctl(Sysctl),
    /// The dummy link that holds the VIPs.
    Link,
    /// The set of loopback entries of a family.
    LoopbackSet(Family),
    /// The one rule that masquerades what the set matches.
    LoopbackRule(Family),
    /// What the controller speaks of.
    Item(ItemKey),
}

/// What a key has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// It is there; there is nothing more to say.
    Present,
    /// Whether it is there cannot be told; why not. Never wanted.
    Unreadable(String),
    /// A setting has this value.
    Value(String),
    /// A virtual service is like this.
    Service(ServiceSpec),
    /// A backend is like this.
    Backend(BackendSpec),
}

/// A virtual service but for its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// The kernel's name; it may be one that weir does not know.
    pub scheduler: String,
    /// Seconds; 0: none.
    pub affinity_seconds: u32,
    /// Flags of the scheduler (`IP_VS_SVC_F_SCHED1` and following, `include/uapi/linux/ip_vs.h`).
    pub scheduler_flags: u32,
}

/// A backend but for its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackendSpec {
    /// 0-65535 for ours; the kernel takes any non-negative one.
    pub weight: u32,
    /// None: a way that weir never asks for (local, bypass).
    pub forwarding: Option<Forwarding>,
}

/// What a kernel holds, or should hold.
pub type Table = BTreeMap<Key, Object>;

/// The parts of a table that are read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// Settings, link, sets and rules.
    Base,
    /// One loopback entry.
    Entry(LoopbackEntry),
    /// One virtual service with all its backends.
    Service(Frontend),
    /// One VIP.
    Vip(IpAddr),
}

/// Which part of a table is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    All,
    /// These.
    Units(BTreeSet<Unit>),
}

impl Key {
    /// Gives the part of the table it belongs to.
    pub fn unit(self) -> Unit {
        match self {
            Self::Sysctl(_) | Self::Link | Self::LoopbackSet(_) | Self::LoopbackRule(_) => {
                Unit::Base
            }
            Self::Item(ItemKey::LoopbackEntry(entry)) => Unit::Entry(entry),
            Self::Item(ItemKey::VirtualService(frontend)) => Unit::Service(frontend),
            Self::Item(ItemKey::Backend(backend)) => Unit::Service(backend.frontend),
            Self::Item(ItemKey::Vip(address)) => Unit::Vip(address),
        }
    }

    /// Gives the object it lives and dies with: a backend with its virtual service, a loopback entry with its set.
    pub fn container(self) -> Option<Self> {
        match self {
            Self::Item(ItemKey::LoopbackEntry(entry)) => {
                Some(Self::LoopbackSet(Family::of(entry.address)))
            }
            Self::Item(ItemKey::Backend(backend)) => {
                Some(Self::Item(ItemKey::VirtualService(backend.frontend)))
            }
            _ => None,
        }
    }
}

impl Unit {
    /// Gives the keys in it that a ledger can have: what lives in something else is not among them.
    pub(crate) fn owned_keys(self) -> Vec<Key> {
        match self {
            Self::Base => {
                let families = Family::ALL.into_iter();
                let each = |family| [Key::LoopbackSet(family), Key::LoopbackRule(family)];
                families.flat_map(each).chain([Key::Link]).collect()
            }
            Self::Entry(_) => Vec::new(),
            Self::Service(frontend) => vec![Key::Item(ItemKey::VirtualService(frontend))],
            Self::Vip(address) => vec![Key::Item(ItemKey::Vip(address))],
        }
    }
}

impl Scope {
    /// Says whether a key is in it.
    pub fn has(&self, key: Key) -> bool {
        match self {
            Self::All => true,
            Self::Units(units) => units.contains(&key.unit()),
        }
    }
}

/// Gives the keys that the backends of a virtual service lie between.
pub(crate) fn backends_of(frontend: Frontend) -> std::ops::RangeInclusive<ItemKey> {
    let bound = |address: IpAddr, port: u32| {
        ItemKey::Backend(BackendKey {
            frontend,
            endpoint: Endpoint {
                address,
                // both bounds are ports
                port: Port::new(port).unwrap_or_else(|_| unreachable!("1 and 65535 are ports")),
            },
        })
    };
    bound(IpAddr::from([0u8; 4]), 1)..=bound(IpAddr::from([0xffu8; 16]), 65_535)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sysctl(sysctl) => write!(f, "sysctl {}", sysctl.name()),
            Self::Link => f.write_str("link weir0"),
            Self::LoopbackSet(family) => write!(f, "{family} loopback set"),
            Self::LoopbackRule(family) => write!(f, "{family} loopback rule"),
            Self::Item(key) => key.fmt(f),
        }
    }
}
