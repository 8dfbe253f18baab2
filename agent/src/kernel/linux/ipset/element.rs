//! An element of a `hash:ip,port,ip` set. Pure.

use std::net::IpAddr;

use super::{
    DecodeError, IPSET_ATTR_IP, IPSET_ATTR_IP2, IPSET_ATTR_IPADDR_IPV4, IPSET_ATTR_IPADDR_IPV6,
    IPSET_ATTR_LINENO, IPSET_ATTR_PORT, IPSET_ATTR_PROTO, Other,
};
use crate::kernel::linux::netlink::{Attr, Attrs, Request, wire::NLA_F_NET_BYTEORDER};

/// One entry: an address, a protocol with a port, and another address of the same family.
///
/// Which end of a packet each stands for is up to the rule that looks the set up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// The first dimension.
    pub ip: IpAddr,
    /// The protocol's number (`IPPROTO_*`); the port means nothing without it.
    pub proto: u8,
    /// The second dimension.
    pub port: u16,
    /// The third dimension.
    pub ip2: IpAddr,
}

impl Element {
    /// Writes the attributes inside `IPSET_ATTR_DATA`.
    pub(super) fn write(&self, out: &mut Request) {
        let Self {
            ip,
            proto,
            port,
            ip2,
        } = self;
        write_ip(out, IPSET_ATTR_IP, *ip);
        out.be16(IPSET_ATTR_PORT | NLA_F_NET_BYTEORDER, *port)
            .u8(IPSET_ATTR_PROTO, *proto);
        write_ip(out, IPSET_ATTR_IP2, *ip2);
    }

    /// Reads the attributes inside `IPSET_ATTR_DATA` and gives what has no name here beside it.
    pub fn decode(attrs: Attrs<'_>) -> Result<(Self, Vec<Other>), DecodeError> {
        let (mut ip, mut proto, mut port, mut ip2) = (None, None, None, None);
        let mut other = Vec::new();
        for attr in attrs {
            match attr.kind {
                IPSET_ATTR_IP => ip = Some(DecodeError::read("IP", read_ip(&attr))?),
                IPSET_ATTR_IP2 => ip2 = Some(DecodeError::read("IP2", read_ip(&attr))?),
                IPSET_ATTR_PORT => port = Some(DecodeError::read("PORT", attr.be16())?),
                IPSET_ATTR_PROTO => proto = Some(DecodeError::read("PROTO", attr.u8())?),
                IPSET_ATTR_LINENO => {}
                _ => other.push(Other::read(&attr)),
            }
        }
        let element = Self {
            ip: DecodeError::need("IP", ip)?,
            proto: DecodeError::need("PROTO", proto)?,
            port: DecodeError::need("PORT", port)?,
            ip2: DecodeError::need("IP2", ip2)?,
        };
        Ok((element, other))
    }
}

pub(super) fn write_ip(out: &mut Request, kind: u16, ip: IpAddr) {
    let inner = match ip {
        IpAddr::V4(_) => IPSET_ATTR_IPADDR_IPV4,
        IpAddr::V6(_) => IPSET_ATTR_IPADDR_IPV6,
    };
    out.nest(kind, |out| {
        out.ip(inner | NLA_F_NET_BYTEORDER, ip);
    });
}

pub(super) fn read_ip(attr: &Attr<'_>) -> Option<IpAddr> {
    let ip = attr
        .attrs()
        .find(|inner| matches!(inner.kind, IPSET_ATTR_IPADDR_IPV4 | IPSET_ATTR_IPADDR_IPV6))?;
    ip.ip()
}
