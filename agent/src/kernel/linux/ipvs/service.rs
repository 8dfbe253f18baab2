//! A virtual service: its key, how it schedules, and its counters. Pure.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::{DecodeError, Other, Stats};
use crate::kernel::linux::netlink::{Attr, Attrs, Family, Request};

pub(super) const IPVS_SVC_ATTR_AF: u16 = 1;
pub(super) const IPVS_SVC_ATTR_PROTOCOL: u16 = 2;
pub(super) const IPVS_SVC_ATTR_ADDR: u16 = 3;
pub(super) const IPVS_SVC_ATTR_PORT: u16 = 4;
pub(super) const IPVS_SVC_ATTR_FWMARK: u16 = 5;
pub(super) const IPVS_SVC_ATTR_SCHED_NAME: u16 = 6;
pub(super) const IPVS_SVC_ATTR_FLAGS: u16 = 7;
pub(super) const IPVS_SVC_ATTR_TIMEOUT: u16 = 8;
pub(super) const IPVS_SVC_ATTR_NETMASK: u16 = 9;
pub(super) const IPVS_SVC_ATTR_STATS: u16 = 10;
pub(super) const IPVS_SVC_ATTR_PE_NAME: u16 = 11;
pub(super) const IPVS_SVC_ATTR_STATS64: u16 = 12;

/// Reads the 16 bytes of a `union nf_inet_addr`.
pub(super) fn address_of(family: Family, bytes: [u8; 16]) -> IpAddr {
    let [a, b, c, d, ..] = bytes;
    match family {
        Family::Inet => Ipv4Addr::new(a, b, c, d).into(),
        Family::Inet6 => Ipv6Addr::from(bytes).into(),
    }
}

/// Writes an address as the 16 bytes of a `union nf_inet_addr`.
pub(super) fn union_of(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&v4.octets());
            bytes
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// A transport protocol by its number (`IPPROTO_*`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Proto(pub u16);

impl Proto {
    /// `IPPROTO_TCP`
    pub const TCP: Self = Self(6);
    /// `IPPROTO_UDP`
    pub const UDP: Self = Self(17);
    /// `IPPROTO_SCTP`
    pub const SCTP: Self = Self(132);
}

impl fmt::Debug for Proto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::TCP => f.write_str("TCP"),
            Self::UDP => f.write_str("UDP"),
            Self::SCTP => f.write_str("SCTP"),
            Self(number) => write!(f, "Proto({number})"),
        }
    }
}

/// What tells one service from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceKey {
    /// Packets to one address and port. Port zero means every port, of a persistent service only.
    Address {
        /// The transport protocol.
        proto: Proto,
        /// The virtual address.
        address: IpAddr,
        /// The virtual port.
        port: u16,
    },
    /// Packets that carry a firewall mark.
    Fwmark {
        /// The family; one mark may have a service in each.
        family: Family,
        /// The mark, never zero.
        mark: u32,
    },
}

impl ServiceKey {
    /// Gives the family of the virtual address or of the marked packets.
    pub fn family(&self) -> Family {
        match self {
            Self::Address { address, .. } => Family::of(*address),
            Self::Fwmark { family, .. } => *family,
        }
    }

    /// Writes the attributes that `ip_vs_genl_parse_service` finds a service by.
    pub(super) fn write(&self, out: &mut Request) {
        out.u16(IPVS_SVC_ATTR_AF, self.family().number().into());
        match *self {
            Self::Address {
                proto,
                address,
                port,
            } => out
                .u16(IPVS_SVC_ATTR_PROTOCOL, proto.0)
                .bytes(IPVS_SVC_ATTR_ADDR, &union_of(address))
                .be16(IPVS_SVC_ATTR_PORT, port),
            Self::Fwmark { mark, .. } => out.u32(IPVS_SVC_ATTR_FWMARK, mark),
        };
    }
}

/// `struct ip_vs_flags`: the kernel takes the bits under the mask and leaves the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    /// The bits (`IP_VS_SVC_F_*`).
    pub bits: u32,
    /// Which of them are meant. The kernel answers with all.
    pub mask: u32,
}

impl Flags {
    /// `IP_VS_SVC_F_PERSISTENT`: a client stays with its destination.
    pub const PERSISTENT: u32 = 0x01;
    /// `IP_VS_SVC_F_HASHED`: the kernel's own mark on a service in its table; set in every answer.
    pub const HASHED: u32 = 0x02;
    /// `IP_VS_SVC_F_ONEPACKET`: each UDP packet is scheduled anew.
    pub const ONEPACKET: u32 = 0x04;
    /// `IP_VS_SVC_F_SCHED1`: `sh-fallback` and `mh-fallback`.
    pub const SCHED1: u32 = 0x08;
    /// `IP_VS_SVC_F_SCHED2`: `sh-port` and `mh-port`.
    pub const SCHED2: u32 = 0x10;
    /// `IP_VS_SVC_F_SCHED3`: no scheduler uses it yet.
    pub const SCHED3: u32 = 0x20;

    /// Means exactly these bits, and all others unset.
    pub fn exactly(bits: u32) -> Self {
        Self {
            bits,
            mask: u32::MAX,
        }
    }
}

/// How many leading bits of a client's address choose its persistence entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Netmask {
    /// A mask, in network byte order on the wire.
    Inet(Ipv4Addr),
    /// A prefix length, 1 to 128, in the machine's byte order on the wire.
    Inet6(u32),
}

impl Netmask {
    /// The mask that tells every client from every other: what a service has unless told otherwise.
    pub fn host(family: Family) -> Self {
        match family {
            Family::Inet => Self::Inet(Ipv4Addr::BROADCAST),
            Family::Inet6 => Self::Inet6(128),
        }
    }
}

/// A service as one sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Which one.
    pub key: ServiceKey,
    /// The scheduler's name, at most 15 bytes; `none` is a service without one.
    pub scheduler: String,
    /// Its flags.
    pub flags: Flags,
    /// Seconds that a client stays with its destination; zero unless persistent.
    pub timeout: u32,
    /// Which clients persist together.
    pub netmask: Netmask,
    /// Persistence engine, for example `sip`. Absent in an edit, the kernel takes the present one away.
    pub persistence_engine: Option<String>,
    /// Attributes without a name here.
    pub other: Vec<Other>,
}

impl Service {
    /// Makes a service with no flags, no persistence and a full netmask.
    pub fn new(key: ServiceKey, scheduler: impl Into<String>) -> Self {
        Self {
            key,
            scheduler: scheduler.into(),
            flags: Flags::exactly(0),
            timeout: 0,
            netmask: Netmask::host(key.family()),
            persistence_engine: None,
            other: Vec::new(),
        }
    }

    /// Writes the attributes inside `IPVS_CMD_ATTR_SERVICE`.
    pub(super) fn write(&self, out: &mut Request) {
        let Self {
            key,
            scheduler,
            flags,
            timeout,
            netmask,
            persistence_engine,
            other,
        } = self;
        key.write(out);
        out.string(IPVS_SVC_ATTR_SCHED_NAME, scheduler);
        if let Some(engine) = persistence_engine {
            out.string(IPVS_SVC_ATTR_PE_NAME, engine);
        }
        let words = [flags.bits.to_ne_bytes(), flags.mask.to_ne_bytes()];
        out.bytes(IPVS_SVC_ATTR_FLAGS, words.as_flattened());
        out.u32(IPVS_SVC_ATTR_TIMEOUT, *timeout);
        match netmask {
            Netmask::Inet(mask) => out.bytes(IPVS_SVC_ATTR_NETMASK, &mask.octets()),
            Netmask::Inet6(prefix) => out.u32(IPVS_SVC_ATTR_NETMASK, *prefix),
        };
        for attr in other {
            attr.write(out);
        }
    }
}

/// A service as the kernel shows it (`ip_vs_genl_fill_service`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceStatus {
    /// What was set. [`Flags::HASHED`] is among its flags and the mask is full.
    pub service: Service,
    /// Its counters.
    pub stats: Stats,
    /// Whether they came 64 bits wide (`STATS64`).
    pub stats64: bool,
}

impl ServiceStatus {
    /// Reads the attributes inside `IPVS_CMD_ATTR_SERVICE`, in any order.
    pub fn decode(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        let mut family = None;
        let (mut proto, mut address, mut port, mut mark) = (None, None, None, None);
        let (mut scheduler, mut flags, mut timeout, mut netmask) = (None, None, None, None);
        let (mut stats, mut stats64, mut persistence_engine) = (None, None, None);
        let mut other = Vec::new();
        for attr in attrs {
            match attr.kind {
                IPVS_SVC_ATTR_AF => {
                    family = Some(DecodeError::read("AF", read_family(&attr))?);
                }
                IPVS_SVC_ATTR_PROTOCOL => {
                    proto = Some(Proto(DecodeError::read("PROTOCOL", attr.u16())?))
                }
                IPVS_SVC_ATTR_ADDR => {
                    address = Some(DecodeError::read("ADDR", attr.array::<16>())?)
                }
                IPVS_SVC_ATTR_PORT => port = Some(DecodeError::read("PORT", attr.be16())?),
                IPVS_SVC_ATTR_FWMARK => mark = Some(DecodeError::read("FWMARK", attr.u32())?),
                IPVS_SVC_ATTR_SCHED_NAME => {
                    scheduler = Some(DecodeError::read("SCHED_NAME", attr.str())?)
                }
                IPVS_SVC_ATTR_FLAGS => flags = Some(DecodeError::read("FLAGS", read_flags(&attr))?),
                IPVS_SVC_ATTR_TIMEOUT => timeout = Some(DecodeError::read("TIMEOUT", attr.u32())?),
                IPVS_SVC_ATTR_NETMASK => {
                    netmask = Some(DecodeError::read("NETMASK", attr.array::<4>())?)
                }
                IPVS_SVC_ATTR_PE_NAME => {
                    persistence_engine = Some(DecodeError::read("PE_NAME", attr.str())?.to_owned());
                }
                IPVS_SVC_ATTR_STATS => stats = Some(Stats::decode32(attr.attrs())?),
                IPVS_SVC_ATTR_STATS64 => stats64 = Some(Stats::decode64(attr.attrs())?),
                _ => other.push(Other::read(&attr)),
            }
        }
        let family = DecodeError::need("AF", family)?;
        let key = match mark {
            Some(mark) => ServiceKey::Fwmark { family, mark },
            None => ServiceKey::Address {
                proto: DecodeError::need("PROTOCOL", proto)?,
                address: address_of(family, DecodeError::need("ADDR", address)?),
                port: DecodeError::need("PORT", port)?,
            },
        };
        let netmask = DecodeError::need("NETMASK", netmask)?;
        let service = Service {
            key,
            scheduler: DecodeError::need("SCHED_NAME", scheduler)?.to_owned(),
            flags: DecodeError::need("FLAGS", flags)?,
            timeout: DecodeError::need("TIMEOUT", timeout)?,
            netmask: match family {
                Family::Inet => Netmask::Inet(netmask.into()),
                Family::Inet6 => Netmask::Inet6(u32::from_ne_bytes(netmask)),
            },
            persistence_engine,
            other,
        };
        Ok(Self {
            service,
            stats: stats64.or(stats).unwrap_or_default(),
            stats64: stats64.is_some(),
        })
    }
}

/// Reads an address family, which IPVS writes in 16 bits.
pub(super) fn read_family(attr: &Attr<'_>) -> Option<Family> {
    Family::from_number(attr.u16()?.try_into().ok()?)
}

fn read_flags(attr: &Attr<'_>) -> Option<Flags> {
    let [b0, b1, b2, b3, m0, m1, m2, m3] = attr.array()?;
    Some(Flags {
        bits: u32::from_ne_bytes([b0, b1, b2, b3]),
        mask: u32::from_ne_bytes([m0, m1, m2, m3]),
    })
}
