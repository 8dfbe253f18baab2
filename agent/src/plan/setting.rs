//! What a kernel has one of, and what weir may set it to. Nobody owns a setting: what it was before us is remembered and
//! put back.

use std::fmt;

use weir_proto::model::Family;

/// A setting of the kernel that weir needs, in the order they are set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
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
    /// For which addresses ARP is answered (`arp_ignore` in `net/ipv4/arp.c`).
    ArpIgnore,
    /// Which address asks for others by ARP (`arp_solicit` in `net/ipv4/arp.c`).
    ArpAnnounce,
    /// How long established TCP connections are remembered (`ip_vs_set_timeout` in `ip_vs_ctl.c`).
    TimeoutTcp,
    /// The same after a FIN.
    TimeoutTcpFin,
    /// The same of UDP.
    TimeoutUdp,
    /// The link that unwraps IPv4 in IPv4 (`net/ipv4/ipip.c`).
    Tunl0,
    /// The link that unwraps IPv6 in IPv4 (`net/ipv6/sit.c`).
    Sit0,
    /// The link that unwraps either in IPv6 (`net/ipv6/ip6_tunnel.c`).
    Ip6tnl0,
    /// A packet unwrapped comes from a client that no route leads to through the tunnel (`fib_validate_source` in
    /// `net/ipv4/fib_frontend.c`): 2 asks only that some route leads there.
    Tunl0RpFilter,
    /// The same of the other link that IPv4 may come out of.
    Ip6tnl0RpFilter,
}

/// Where a setting is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Under `/proc/sys`, by its dotted name.
    Sysctl(&'static str),
    /// In IPVS, in seconds.
    Timeout,
    /// The state of a link by its name, "up" or "down". One that is not there is down.
    Link(&'static str),
}

impl Setting {
    /// Every one.
    pub const ALL: [Self; 17] = [
        Self::Conntrack,
        Self::ExpireNodestConn,
        Self::ExpireQuiescentTemplate,
        Self::ForwardV4,
        Self::ForwardV6,
        Self::BridgeV4,
        Self::BridgeV6,
        Self::ArpIgnore,
        Self::ArpAnnounce,
        Self::TimeoutTcp,
        Self::TimeoutTcpFin,
        Self::TimeoutUdp,
        Self::Tunl0,
        Self::Sit0,
        Self::Ip6tnl0,
        Self::Tunl0RpFilter,
        Self::Ip6tnl0RpFilter,
    ];
    /// Those that a node with a VIP needs at 1.
    pub(super) const SERVING: [Self; 7] = [
        Self::Conntrack,
        Self::ExpireNodestConn,
        Self::ExpireQuiescentTemplate,
        Self::ForwardV4,
        Self::ForwardV6,
        Self::BridgeV4,
        Self::BridgeV6,
    ];

    /// Gives its name, by which the journal knows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Conntrack => "net.ipv4.vs.conntrack",
            Self::ExpireNodestConn => "net.ipv4.vs.expire_nodest_conn",
            Self::ExpireQuiescentTemplate => "net.ipv4.vs.expire_quiescent_template",
            Self::ForwardV4 => "net.ipv4.ip_forward",
            Self::ForwardV6 => "net.ipv6.conf.all.forwarding",
            Self::BridgeV4 => "net.bridge.bridge-nf-call-iptables",
            Self::BridgeV6 => "net.bridge.bridge-nf-call-ip6tables",
            Self::ArpIgnore => "net.ipv4.conf.all.arp_ignore",
            Self::ArpAnnounce => "net.ipv4.conf.all.arp_announce",
            Self::TimeoutTcp => "tcp",
            Self::TimeoutTcpFin => "tcpfin",
            Self::TimeoutUdp => "udp",
            Self::Tunl0 => "tunl0",
            Self::Sit0 => "sit0",
            Self::Ip6tnl0 => "ip6tnl0",
            Self::Tunl0RpFilter => "net.ipv4.conf.tunl0.rp_filter",
            Self::Ip6tnl0RpFilter => "net.ipv4.conf.ip6tnl0.rp_filter",
        }
    }

    /// Finds one by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|setting| setting.name() == name)
    }

    /// Gives where it is kept.
    pub fn place(self) -> Place {
        match self {
            Self::TimeoutTcp | Self::TimeoutTcpFin | Self::TimeoutUdp => Place::Timeout,
            Self::Tunl0 | Self::Sit0 | Self::Ip6tnl0 => Place::Link(self.name()),
            Self::Conntrack
            | Self::ExpireNodestConn
            | Self::ExpireQuiescentTemplate
            | Self::ForwardV4
            | Self::ForwardV6
            | Self::BridgeV4
            | Self::BridgeV6
            | Self::ArpIgnore
            | Self::ArpAnnounce
            | Self::Tunl0RpFilter
            | Self::Ip6tnl0RpFilter => Place::Sysctl(self.name()),
        }
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
            _ => None,
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place() {
            Place::Sysctl(name) => write!(f, "sysctl {name}"),
            Place::Timeout => write!(f, "IPVS time-out {}", self.name()),
            Place::Link(name) => write!(f, "link {name}"),
        }
    }
}
