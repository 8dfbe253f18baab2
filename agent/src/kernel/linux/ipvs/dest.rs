//! A destination of a service: where packets go, how, and its counters. Pure.

use std::net::{IpAddr, SocketAddr};

use super::service::{address_of, read_family, union_of};
use super::{DecodeError, Other, Stats};
use crate::kernel::linux::netlink::{Attrs, Family, Request};

pub(super) const IPVS_DEST_ATTR_ADDR: u16 = 1;
pub(super) const IPVS_DEST_ATTR_PORT: u16 = 2;
pub(super) const IPVS_DEST_ATTR_FWD_METHOD: u16 = 3;
pub(super) const IPVS_DEST_ATTR_WEIGHT: u16 = 4;
pub(super) const IPVS_DEST_ATTR_U_THRESH: u16 = 5;
pub(super) const IPVS_DEST_ATTR_L_THRESH: u16 = 6;
pub(super) const IPVS_DEST_ATTR_ACTIVE_CONNS: u16 = 7;
pub(super) const IPVS_DEST_ATTR_INACT_CONNS: u16 = 8;
pub(super) const IPVS_DEST_ATTR_PERSIST_CONNS: u16 = 9;
pub(super) const IPVS_DEST_ATTR_STATS: u16 = 10;
pub(super) const IPVS_DEST_ATTR_ADDR_FAMILY: u16 = 11;
pub(super) const IPVS_DEST_ATTR_STATS64: u16 = 12;
pub(super) const IPVS_DEST_ATTR_TUN_TYPE: u16 = 13;
pub(super) const IPVS_DEST_ATTR_TUN_PORT: u16 = 14;
pub(super) const IPVS_DEST_ATTR_TUN_FLAGS: u16 = 15;

/// How packets reach a destination (`IP_VS_CONN_F_*` under `IP_VS_CONN_F_FWD_MASK`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Forward {
    /// Addresses and ports are translated, both ways through this host.
    Masq,
    /// The destination is this host. The kernel picks this itself for an address of its own.
    Local,
    /// Encapsulated, see [`Tunnel`].
    Tunnel,
    /// Sent on unchanged to the destination's link address.
    DirectRoute,
    /// Sent on to where the packet was going.
    Bypass,
    /// A number no kernel uses yet.
    Other(u32),
}

impl Forward {
    fn number(self) -> u32 {
        match self {
            Self::Masq => 0,
            Self::Local => 1,
            Self::Tunnel => 2,
            Self::DirectRoute => 3,
            Self::Bypass => 4,
            Self::Other(number) => number,
        }
    }

    fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Masq,
            1 => Self::Local,
            2 => Self::Tunnel,
            3 => Self::DirectRoute,
            4 => Self::Bypass,
            number => Self::Other(number),
        }
    }
}

/// The shape of an encapsulated packet (`IP_VS_CONN_F_TUNNEL_TYPE_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TunnelKind {
    /// IP in IP.
    #[default]
    Ipip,
    /// Generic UDP encapsulation, to [`Tunnel::port`].
    Gue,
    /// Generic routing encapsulation.
    Gre,
    /// A number no kernel uses yet.
    Other(u8),
}

impl TunnelKind {
    fn number(self) -> u8 {
        match self {
            Self::Ipip => 0,
            Self::Gue => 1,
            Self::Gre => 2,
            Self::Other(number) => number,
        }
    }

    fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Ipip,
            1 => Self::Gue,
            2 => Self::Gre,
            number => Self::Other(number),
        }
    }
}

/// How [`Forward::Tunnel`] wraps a packet. The kernel keeps one for every destination, used or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tunnel {
    /// The shape.
    pub kind: TunnelKind,
    /// The UDP port of GUE; else zero.
    pub port: u16,
    /// [`Tunnel::CSUM`] or [`Tunnel::REMCSUM`], of GUE and GRE.
    pub flags: u16,
}

impl Tunnel {
    /// `IP_VS_TUNNEL_ENCAP_FLAG_CSUM`: the outer packet has a checksum.
    pub const CSUM: u16 = 0x1;
    /// `IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM`: remote checksum offload.
    pub const REMCSUM: u16 = 0x2;
}

/// A destination as one sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dest {
    /// Where: what tells it from the service's others.
    pub address: SocketAddr,
    /// How.
    pub forward: Forward,
    /// Its share; zero takes no new connections. Negative weights are refused with `ERANGE`.
    pub weight: i32,
    /// Connections at which it is overloaded; zero is no limit.
    pub upper_threshold: u32,
    /// Connections below which it no longer is; zero means three quarters of the upper one.
    pub lower_threshold: u32,
    /// How it is encapsulated.
    pub tunnel: Tunnel,
    /// Attributes without a name here.
    pub other: Vec<Other>,
}

impl Dest {
    /// Makes a destination without thresholds.
    pub fn new(address: SocketAddr, forward: Forward, weight: i32) -> Self {
        Self {
            address,
            forward,
            weight,
            upper_threshold: 0,
            lower_threshold: 0,
            tunnel: Tunnel::default(),
            other: Vec::new(),
        }
    }

    /// Writes the attributes that `ip_vs_genl_parse_dest` finds a destination by.
    pub(super) fn write_key(address: SocketAddr, out: &mut Request) {
        out.u16(
            IPVS_DEST_ATTR_ADDR_FAMILY,
            Family::of(address.ip()).number().into(),
        )
        .bytes(IPVS_DEST_ATTR_ADDR, &union_of(address.ip()))
        .be16(IPVS_DEST_ATTR_PORT, address.port());
    }

    /// Writes the attributes inside `IPVS_CMD_ATTR_DEST`.
    pub(super) fn write(&self, out: &mut Request) {
        let Self {
            address,
            forward,
            weight,
            upper_threshold,
            lower_threshold,
            tunnel,
            other,
        } = self;
        Self::write_key(*address, out);
        out.u32(IPVS_DEST_ATTR_FWD_METHOD, forward.number())
            .u32(IPVS_DEST_ATTR_WEIGHT, weight.cast_unsigned())
            .u8(IPVS_DEST_ATTR_TUN_TYPE, tunnel.kind.number())
            .be16(IPVS_DEST_ATTR_TUN_PORT, tunnel.port)
            .u16(IPVS_DEST_ATTR_TUN_FLAGS, tunnel.flags)
            .u32(IPVS_DEST_ATTR_U_THRESH, *upper_threshold)
            .u32(IPVS_DEST_ATTR_L_THRESH, *lower_threshold);
        for attr in other {
            attr.write(out);
        }
    }
}

/// A destination as the kernel shows it (`ip_vs_genl_fill_dest`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestStatus {
    /// What was set.
    pub dest: Dest,
    /// Connections that carry traffic.
    pub active: u32,
    /// Connections that are closing, and all of UDP.
    pub inactive: u32,
    /// Clients bound to it by persistence.
    pub persistent: u32,
    /// Its counters.
    pub stats: Stats,
}

impl DestStatus {
    /// Reads the attributes inside `IPVS_CMD_ATTR_DEST`, in any order.
    ///
    /// A kernel before 3.18 does not say the address family: it is then that of the service.
    pub fn decode(attrs: Attrs<'_>, service: Family) -> Result<Self, DecodeError> {
        let mut family = service;
        let (mut address, mut port, mut forward, mut weight) = (None, None, None, None);
        let (mut upper, mut lower) = (None, None);
        let (mut active, mut inactive, mut persistent) = (None, None, None);
        let (mut stats, mut stats64) = (None, None);
        let mut tunnel = Tunnel::default();
        let mut other = Vec::new();
        for attr in attrs {
            match attr.kind {
                IPVS_DEST_ATTR_ADDR => {
                    address = Some(DecodeError::read("ADDR", attr.array::<16>())?)
                }
                IPVS_DEST_ATTR_PORT => port = Some(DecodeError::read("PORT", attr.be16())?),
                IPVS_DEST_ATTR_FWD_METHOD => {
                    forward = Some(DecodeError::read("FWD_METHOD", attr.u32())?)
                }
                IPVS_DEST_ATTR_WEIGHT => weight = Some(DecodeError::read("WEIGHT", attr.u32())?),
                IPVS_DEST_ATTR_U_THRESH => upper = Some(DecodeError::read("U_THRESH", attr.u32())?),
                IPVS_DEST_ATTR_L_THRESH => lower = Some(DecodeError::read("L_THRESH", attr.u32())?),
                IPVS_DEST_ATTR_ACTIVE_CONNS => {
                    active = Some(DecodeError::read("ACTIVE_CONNS", attr.u32())?)
                }
                IPVS_DEST_ATTR_INACT_CONNS => {
                    inactive = Some(DecodeError::read("INACT_CONNS", attr.u32())?)
                }
                IPVS_DEST_ATTR_PERSIST_CONNS => {
                    persistent = Some(DecodeError::read("PERSIST_CONNS", attr.u32())?);
                }
                IPVS_DEST_ATTR_STATS => stats = Some(Stats::decode32(attr.attrs())?),
                IPVS_DEST_ATTR_STATS64 => stats64 = Some(Stats::decode64(attr.attrs())?),
                IPVS_DEST_ATTR_ADDR_FAMILY => {
                    family = DecodeError::read("ADDR_FAMILY", read_family(&attr))?;
                }
                IPVS_DEST_ATTR_TUN_TYPE => {
                    tunnel.kind =
                        TunnelKind::from_number(DecodeError::read("TUN_TYPE", attr.u8())?);
                }
                IPVS_DEST_ATTR_TUN_PORT => {
                    tunnel.port = DecodeError::read("TUN_PORT", attr.be16())?
                }
                IPVS_DEST_ATTR_TUN_FLAGS => {
                    tunnel.flags = DecodeError::read("TUN_FLAGS", attr.u16())?
                }
                _ => other.push(Other::read(&attr)),
            }
        }
        let ip: IpAddr = address_of(family, DecodeError::need("ADDR", address)?);
        let dest = Dest {
            address: SocketAddr::new(ip, DecodeError::need("PORT", port)?),
            forward: Forward::from_number(DecodeError::need("FWD_METHOD", forward)?),
            weight: DecodeError::need("WEIGHT", weight)?.cast_signed(),
            upper_threshold: upper.unwrap_or_default(),
            lower_threshold: lower.unwrap_or_default(),
            tunnel,
            other,
        };
        Ok(Self {
            dest,
            active: active.unwrap_or_default(),
            inactive: inactive.unwrap_or_default(),
            persistent: persistent.unwrap_or_default(),
            stats: stats64.or(stats).unwrap_or_default(),
        })
    }
}
