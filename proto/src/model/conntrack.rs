//! What a node's connection tracking holds.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::{Protocol, Refused};

/// How full a node's connection tracking is, and what it lost between two looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conntrack {
    /// Entries at the second look.
    pub entries: u64,
    /// How many there may be.
    pub max_entries: u64,
    /// Packets dropped because there was no room, or no memory, for an entry.
    pub dropped: u64,
    /// Entries that could not be inserted: another had the same tuples.
    pub insert_failed: u64,
    /// Entries thrown out early to make room for others.
    pub early_dropped: u64,
}

/// How many connections to a VIP a node's connection tracking holds in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VipConnections {
    /// The VIP.
    pub address: IpAddr,
    /// By which clients speak to it.
    pub protocol: Protocol,
    /// The state.
    pub state: ConnectionState,
    /// How many.
    pub connections: u64,
}

/// A state of a tracked connection: those of TCP (`enum tcp_conntrack` in
/// `include/uapi/linux/netfilter/nf_conntrack_tcp.h`) and of SCTP (`enum sctp_conntrack` in `nf_conntrack_sctp.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionState {
    /// Of a protocol without states, or before the first.
    None,
    /// TCP: opened by the client, not answered.
    SynSent,
    /// TCP: answered.
    SynRecv,
    /// TCP and SCTP: open.
    Established,
    /// TCP: closed by one side.
    FinWait,
    /// TCP: the other side knows.
    CloseWait,
    /// TCP: closed by both.
    LastAck,
    /// TCP: over, kept for stray packets.
    TimeWait,
    /// TCP: reset.
    Close,
    /// TCP: both sides opened at once.
    SynSent2,
    /// SCTP: over.
    Closed,
    /// SCTP: opened by the client.
    CookieWait,
    /// SCTP: the cookie went back.
    CookieEchoed,
    /// SCTP: the client closes.
    ShutdownSent,
    /// SCTP: the backend closes.
    ShutdownRecd,
    /// SCTP: closed by both.
    ShutdownAckSent,
    /// SCTP: known by a heartbeat of another path.
    HeartbeatSent,
    /// SCTP: that heartbeat was answered (before Linux 6.3).
    HeartbeatAcked,
    /// One that this version does not know.
    Other,
}

impl ConnectionState {
    /// All there are.
    pub const ALL: [Self; 19] = [
        Self::None,
        Self::SynSent,
        Self::SynRecv,
        Self::Established,
        Self::FinWait,
        Self::CloseWait,
        Self::LastAck,
        Self::TimeWait,
        Self::Close,
        Self::SynSent2,
        Self::Closed,
        Self::CookieWait,
        Self::CookieEchoed,
        Self::ShutdownSent,
        Self::ShutdownRecd,
        Self::ShutdownAckSent,
        Self::HeartbeatSent,
        Self::HeartbeatAcked,
        Self::Other,
    ];

    /// Gives its name as conntrack has it (`tcp_conntrack_names` in `net/netfilter/nf_conntrack_proto_tcp.c` and
    /// `sctp_conntrack_names` in `nf_conntrack_proto_sctp.c`).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinWait => "FIN_WAIT",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::SynSent2 => "SYN_SENT2",
            Self::Closed => "CLOSED",
            Self::CookieWait => "COOKIE_WAIT",
            Self::CookieEchoed => "COOKIE_ECHOED",
            Self::ShutdownSent => "SHUTDOWN_SENT",
            Self::ShutdownRecd => "SHUTDOWN_RECD",
            Self::ShutdownAckSent => "SHUTDOWN_ACK_SENT",
            Self::HeartbeatSent => "HEARTBEAT_SENT",
            Self::HeartbeatAcked => "HEARTBEAT_ACKED",
            Self::Other => "OTHER",
        }
    }
}

impl fmt::Display for ConnectionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ConnectionState {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let named = Self::ALL.into_iter().find(|state| state.as_str() == text);
        named.ok_or_else(|| match text {
            "" => Refused::Missing,
            text => Refused::Other(format!("{text:?} is not a state of a connection")),
        })
    }
}
