//! What IPVS has one of: connection timeouts, its version, and the daemons that copy connections. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{DecodeError, Other};
use crate::kernel::linux::netlink::{Attrs, Request};

pub(super) const IPVS_CMD_ATTR_TIMEOUT_TCP: u16 = 4;
pub(super) const IPVS_CMD_ATTR_TIMEOUT_TCP_FIN: u16 = 5;
pub(super) const IPVS_CMD_ATTR_TIMEOUT_UDP: u16 = 6;

pub(super) const IPVS_INFO_ATTR_VERSION: u16 = 1;
pub(super) const IPVS_INFO_ATTR_CONN_TAB_SIZE: u16 = 2;

pub(super) const IPVS_DAEMON_ATTR_STATE: u16 = 1;
pub(super) const IPVS_DAEMON_ATTR_MCAST_IFN: u16 = 2;
pub(super) const IPVS_DAEMON_ATTR_SYNC_ID: u16 = 3;
pub(super) const IPVS_DAEMON_ATTR_SYNC_MAXLEN: u16 = 4;
pub(super) const IPVS_DAEMON_ATTR_MCAST_GROUP: u16 = 5;
pub(super) const IPVS_DAEMON_ATTR_MCAST_GROUP6: u16 = 6;
pub(super) const IPVS_DAEMON_ATTR_MCAST_PORT: u16 = 7;
pub(super) const IPVS_DAEMON_ATTR_MCAST_TTL: u16 = 8;

/// How long idle connections are kept, in seconds. Zero in a `SET_CONFIG` leaves the present value
/// (`ip_vs_set_timeout`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Established TCP.
    pub tcp: u32,
    /// TCP after a FIN.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
}

impl Timeouts {
    /// Reads the attributes of a `SET_CONFIG`, which also answers `GET_CONFIG`. A kernel built without TCP
    /// or UDP balancing leaves out the ones it does not have.
    pub fn decode(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        let mut timeouts = Self::default();
        for attr in attrs {
            match attr.kind {
                IPVS_CMD_ATTR_TIMEOUT_TCP => {
                    timeouts.tcp = DecodeError::read("TIMEOUT_TCP", attr.u32())?
                }
                IPVS_CMD_ATTR_TIMEOUT_TCP_FIN => {
                    timeouts.tcp_fin = DecodeError::read("TIMEOUT_TCP_FIN", attr.u32())?;
                }
                IPVS_CMD_ATTR_TIMEOUT_UDP => {
                    timeouts.udp = DecodeError::read("TIMEOUT_UDP", attr.u32())?
                }
                _ => {}
            }
        }
        Ok(timeouts)
    }

    pub(super) fn write(&self, out: &mut Request) {
        out.u32(IPVS_CMD_ATTR_TIMEOUT_TCP, self.tcp)
            .u32(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, self.tcp_fin)
            .u32(IPVS_CMD_ATTR_TIMEOUT_UDP, self.udp);
    }
}

/// What `GET_INFO` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// `IP_VS_VERSION_CODE`: 0x010201 is 1.2.1.
    pub version: u32,
    /// Buckets of the connection table.
    pub connection_table_size: u32,
}

impl Info {
    /// Reads the attributes of a `SET_INFO`, which answers `GET_INFO`.
    pub fn decode(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        let (mut version, mut size) = (None, None);
        for attr in attrs {
            match attr.kind {
                IPVS_INFO_ATTR_VERSION => version = Some(DecodeError::read("VERSION", attr.u32())?),
                IPVS_INFO_ATTR_CONN_TAB_SIZE => {
                    size = Some(DecodeError::read("CONN_TAB_SIZE", attr.u32())?)
                }
                _ => {}
            }
        }
        Ok(Self {
            version: DecodeError::need("VERSION", version)?,
            connection_table_size: DecodeError::need("CONN_TAB_SIZE", size)?,
        })
    }
}

/// Which end of connection copying a daemon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DaemonState {
    /// `IP_VS_STATE_MASTER`: sends.
    Master,
    /// `IP_VS_STATE_BACKUP`: receives.
    Backup,
}

impl DaemonState {
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Master => 1,
            Self::Backup => 2,
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Master),
            2 => Some(Self::Backup),
            _ => None,
        }
    }
}

/// A daemon that copies connections to or from other hosts (`net/netfilter/ipvs/ip_vs_sync.c`).
///
/// Starting one is `EINVAL` while any service has a destination of the other address family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Which end.
    pub state: DaemonState,
    /// The interface it multicasts on.
    pub interface: String,
    /// Hosts with the same number, 0 to 255, belong together.
    pub sync_id: u32,
    /// Longest datagram; zero takes the interface's MTU.
    pub max_len: u16,
    /// The group; `None` is 224.0.0.81.
    pub group: Option<IpAddr>,
    /// The first UDP port; zero is 8848.
    pub port: u16,
    /// The time to live; zero is 1.
    pub ttl: u8,
    /// Attributes without a name here.
    pub other: Vec<Other>,
}

impl Daemon {
    /// Reads the attributes inside `IPVS_CMD_ATTR_DAEMON`.
    pub fn decode(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        let (mut state, mut interface, mut sync_id, mut group) = (None, None, None, None);
        let (mut max_len, mut port, mut ttl) = (0, 0, 0);
        let mut other = Vec::new();
        for attr in attrs {
            match attr.kind {
                IPVS_DAEMON_ATTR_STATE => {
                    state = Some(DecodeError::read(
                        "STATE",
                        attr.u32().and_then(DaemonState::from_number),
                    )?);
                }
                IPVS_DAEMON_ATTR_MCAST_IFN => {
                    interface = Some(DecodeError::read("MCAST_IFN", attr.str())?)
                }
                IPVS_DAEMON_ATTR_SYNC_ID => {
                    sync_id = Some(DecodeError::read("SYNC_ID", attr.u32())?)
                }
                IPVS_DAEMON_ATTR_SYNC_MAXLEN => {
                    max_len = DecodeError::read("SYNC_MAXLEN", attr.u16())?
                }
                IPVS_DAEMON_ATTR_MCAST_GROUP => {
                    let octets = DecodeError::read("MCAST_GROUP", attr.array::<4>())?;
                    group = Some(Ipv4Addr::from(octets).into());
                }
                IPVS_DAEMON_ATTR_MCAST_GROUP6 => {
                    let octets = DecodeError::read("MCAST_GROUP6", attr.array::<16>())?;
                    group = Some(Ipv6Addr::from(octets).into());
                }
                IPVS_DAEMON_ATTR_MCAST_PORT => port = DecodeError::read("MCAST_PORT", attr.u16())?,
                IPVS_DAEMON_ATTR_MCAST_TTL => ttl = DecodeError::read("MCAST_TTL", attr.u8())?,
                _ => other.push(Other::read(&attr)),
            }
        }
        Ok(Self {
            state: DecodeError::need("STATE", state)?,
            interface: DecodeError::need("MCAST_IFN", interface)?.to_owned(),
            sync_id: DecodeError::need("SYNC_ID", sync_id)?,
            max_len,
            group,
            port,
            ttl,
            other,
        })
    }

    /// Writes the attributes inside `IPVS_CMD_ATTR_DAEMON`; what is left to the kernel is left out.
    pub(super) fn write(&self, out: &mut Request) {
        let Self {
            state,
            interface,
            sync_id,
            max_len,
            group,
            port,
            ttl,
            other,
        } = self;
        out.u32(IPVS_DAEMON_ATTR_STATE, state.number())
            .string(IPVS_DAEMON_ATTR_MCAST_IFN, interface)
            .u32(IPVS_DAEMON_ATTR_SYNC_ID, *sync_id);
        if *max_len != 0 {
            out.u16(IPVS_DAEMON_ATTR_SYNC_MAXLEN, *max_len);
        }
        if *port != 0 {
            out.u16(IPVS_DAEMON_ATTR_MCAST_PORT, *port);
        }
        if *ttl != 0 {
            out.u8(IPVS_DAEMON_ATTR_MCAST_TTL, *ttl);
        }
        match group {
            Some(group @ IpAddr::V4(_)) => out.ip(IPVS_DAEMON_ATTR_MCAST_GROUP, *group),
            Some(group @ IpAddr::V6(_)) => out.ip(IPVS_DAEMON_ATTR_MCAST_GROUP6, *group),
            None => out,
        };
        for attr in other {
            attr.write(out);
        }
    }
}
