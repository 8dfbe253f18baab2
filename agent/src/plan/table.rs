//! What a kernel holds, as plain values.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use weir_proto::model::{
    BackendKey, Endpoint, Family, Forwarding, Frontend, ItemKey, LoopbackEntry, Port, SyncRole,
    VipBinding,
};

use super::{Guard, Setting};

/// An object of the kernel by its key. The order of keys is the order in which objects are put up; they are
/// taken down the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A setting.
    Setting(Setting),
    /// The dummy link that holds the VIPs.
    Link,
    /// The set of loopback entries of a family.
    LoopbackSet(Family),
    /// The one rule that masquerades what the set matches.
    LoopbackRule(Family),
    /// The sets and rules by which a family's packets to VIPs are let in or rejected, made and removed together.
    Lockdown(Family),
    /// An entry of a lockdown.
    Guard(Guard),
    /// What the controller speaks of: a loopback entry, a virtual service, a backend, a VIP or a sync daemon. A silent VIP
    /// stands under the key of a VIP, and the rest is settings.
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
    /// An address is bound like this.
    Vip(VipSpec),
    /// A sync daemon is like this.
    SyncDaemon(SyncDaemonSpec),
}

/// A virtual service but for its key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceSpec {
    /// The kernel's name; it may be one that weir does not know.
    pub scheduler: String,
    /// Seconds; 0: none.
    pub affinity_seconds: u32,
    /// How many bits of a client's address count; 0 without affinity.
    pub affinity_prefix: u8,
    /// The kernel's name of the persistence engine; empty: none.
    pub engine: String,
    /// `IP_VS_SVC_F_ONEPACKET`, `IP_VS_SVC_F_SCHED1` and following (`include/uapi/linux/ip_vs.h`).
    pub flags: u32,
}

/// A backend but for its key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackendSpec {
    /// 0-65535 for ours; the kernel takes any non-negative one.
    pub weight: u32,
    /// None: a way that weir never asks for (local, bypass, another tunnel).
    pub forwarding: Option<Forwarding>,
    /// Connections above which no new one is taken; 0: no limit.
    pub upper_threshold: u32,
    /// Connections below which they are taken again.
    pub lower_threshold: u32,
}

/// A VIP but for its key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VipSpec {
    /// As an address or a route.
    pub binding: VipBinding,
    /// Whether ARP is answered for it. Always false of IPv6, which finds neighbours otherwise, and of a route.
    pub silent: bool,
}

/// A sync daemon but for its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncDaemonSpec {
    /// The link it speaks on.
    pub interface: String,
    /// Daemons of one id hear each other.
    pub sync_id: u8,
    /// The multicast group.
    pub group: IpAddr,
    /// The UDP port.
    pub port: u16,
    /// Hops.
    pub ttl: u8,
    /// Most bytes of a packet; 0, where wanted: whatever the link's MTU allows.
    pub max_length: u16,
}

impl Object {
    /// Says whether an object that was found is as wanted.
    pub(crate) fn is_as(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::SyncDaemon(found), Self::SyncDaemon(wanted)) if wanted.max_length == 0 => {
                let found = SyncDaemonSpec {
                    max_length: 0,
                    ..found.clone()
                };
                found == *wanted
            }
            _ => self == wanted,
        }
    }
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
    /// One entry of a lockdown.
    Guard(Guard),
    /// One virtual service with all its backends.
    Service(Frontend),
    /// One VIP.
    Vip(IpAddr),
    /// One sync daemon.
    SyncDaemon(SyncRole),
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
            Self::Setting(_)
            | Self::Link
            | Self::LoopbackSet(_)
            | Self::LoopbackRule(_)
            | Self::Lockdown(_) => Unit::Base,
            Self::Guard(guard) => Unit::Guard(guard),
            Self::Item(
                ItemKey::StrictArp
                | ItemKey::ConnectionTimeouts
                | ItemKey::TunnelEnd(_)
                | ItemKey::NodeDrain
                | ItemKey::Unread(_),
            ) => Unit::Base,
            Self::Item(ItemKey::LoopbackEntry(entry)) => Unit::Entry(entry),
            Self::Item(ItemKey::VirtualService(frontend)) => Unit::Service(frontend),
            Self::Item(ItemKey::Backend(backend)) => Unit::Service(backend.frontend),
            Self::Item(ItemKey::Vip(address) | ItemKey::SilentVip(address)) => Unit::Vip(address),
            Self::Item(ItemKey::SyncDaemon(role)) => Unit::SyncDaemon(role),
        }
    }

    /// Gives the name of its kind, by which repairs are counted and what is ours is summed up.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Setting(_) => "setting",
            Self::Link => "link",
            Self::LoopbackSet(_) => "loopback_set",
            Self::LoopbackRule(_) => "loopback_rule",
            Self::Lockdown(_) => "lockdown",
            Self::Guard(_) => "guard",
            Self::Item(ItemKey::LoopbackEntry(_)) => "loopback_entry",
            Self::Item(ItemKey::VirtualService(_)) => "virtual_service",
            Self::Item(ItemKey::Backend(_)) => "backend",
            Self::Item(ItemKey::Vip(_) | ItemKey::SilentVip(_)) => "vip",
            Self::Item(ItemKey::SyncDaemon(_)) => "sync_daemon",
            // in the kernel they are settings, or nothing
            Self::Item(
                ItemKey::StrictArp
                | ItemKey::ConnectionTimeouts
                | ItemKey::TunnelEnd(_)
                | ItemKey::NodeDrain
                | ItemKey::Unread(_),
            ) => "setting",
        }
    }

    /// Gives the object it lives and dies with: a backend with its virtual service, a loopback entry with its
    /// set, a guard with its lockdown.
    pub fn container(self) -> Option<Self> {
        match self {
            Self::Guard(guard) => Some(Self::Lockdown(guard.family())),
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
                let each = |family| {
                    let rule = Key::LoopbackRule(family);
                    [Key::LoopbackSet(family), rule, Key::Lockdown(family)]
                };
                families.flat_map(each).chain([Key::Link]).collect()
            }
            Self::Entry(_) | Self::Guard(_) => Vec::new(),
            Self::Service(frontend) => vec![Key::Item(ItemKey::VirtualService(frontend))],
            Self::Vip(address) => vec![Key::Item(ItemKey::Vip(address))],
            Self::SyncDaemon(role) => vec![Key::Item(ItemKey::SyncDaemon(role))],
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
    let bound = |address: IpAddr, port: Port| {
        ItemKey::Backend(BackendKey {
            frontend,
            endpoint: Endpoint { address, port },
        })
    };
    bound(IpAddr::from([0u8; 4]), Port::LEAST)..=bound(IpAddr::from([0xffu8; 16]), Port::GREATEST)
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setting(setting) => setting.fmt(f),
            Self::Link => f.write_str("link weir0"),
            Self::LoopbackSet(family) => write!(f, "{family} loopback set"),
            Self::LoopbackRule(family) => write!(f, "{family} loopback rule"),
            Self::Lockdown(family) => write!(f, "{family} lockdown"),
            Self::Guard(guard) => guard.fmt(f),
            Self::Item(key) => key.fmt(f),
        }
    }
}
