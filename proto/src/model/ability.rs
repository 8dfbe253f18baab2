//! What a service may need of a node's kernel.

use std::fmt;

use super::{Protocol, Scheduler};

/// Something that not every kernel can do. Its text is the name of the [`Capability`](super::Capability) that an
/// agent reports of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ability {
    /// IPVS at all.
    IpVs,
    /// To pick backends by this scheduler.
    Scheduler(Scheduler),
    /// To balance this protocol.
    Protocol(Protocol),
    /// Virtual services on IPv6 addresses.
    Ipv6,
    /// To reach backends through IP in IP.
    TunnelIpip,
    /// To reach backends through generic UDP encapsulation.
    TunnelGue,
    /// To reach backends through generic routing encapsulation.
    TunnelGre,
    /// To keep the calls of one SIP dialogue together.
    PersistenceSip,
    /// To count in 64 bits.
    Stats64,
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheduler(scheduler) => return write!(f, "scheduler_{scheduler}"),
            Self::IpVs => "ip_vs",
            Self::Protocol(Protocol::Tcp) => "protocol_tcp",
            Self::Protocol(Protocol::Udp) => "protocol_udp",
            Self::Protocol(Protocol::Sctp) => "protocol_sctp",
            Self::Ipv6 => "ipv6",
            Self::TunnelIpip => "tunnel_ipip",
            Self::TunnelGue => "tunnel_gue",
            Self::TunnelGre => "tunnel_gre",
            Self::PersistenceSip => "persistence_sip",
            Self::Stats64 => "stats64",
        })
    }
}
