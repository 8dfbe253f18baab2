//! An element of a `hash:ip`, `hash:ip,port` or `hash:ip,port,net` set. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use super::element::{read_ip, write_ip};
use super::{
    DecodeError, Header, IPSET_ATTR_ADT, IPSET_ATTR_CIDR2, IPSET_ATTR_DATA, IPSET_ATTR_IP,
    IPSET_ATTR_IP2, IPSET_ATTR_PORT, IPSET_ATTR_PROTO, IPSET_ATTR_TYPENAME,
};
use crate::kernel::linux::netlink::{Attrs, Request, wire::NLA_F_NET_BYTEORDER};

/// One entry: an address, and as the type of the set has it a port, and a range of the same family.
///
/// A set with ranges takes none of prefix 0 (`hash_ipportnet4_uadt` and its like). Asked for a range as long as an
/// address it says whether any range of it has that address in it (`mtype_test` in `ip_set_hash_gen.h`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The first dimension.
    pub ip: IpAddr,
    /// The second dimension: a protocol's number (`IPPROTO_*`) and its port.
    pub port: Option<(u8, u16)>,
    /// The third dimension.
    pub net: Option<IpNet>,
}

/// One message of a dump of such a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// What the set is, in its first message.
    pub header: Option<Header>,
    /// Its elements in this message.
    pub members: Vec<Member>,
}

impl Member {
    /// Writes the attributes inside `IPSET_ATTR_DATA`.
    pub(super) fn write(&self, out: &mut Request) {
        let Self { ip, port, net } = self;
        write_ip(out, IPSET_ATTR_IP, *ip);
        if let Some((proto, port)) = port {
            out.be16(IPSET_ATTR_PORT | NLA_F_NET_BYTEORDER, *port)
                .u8(IPSET_ATTR_PROTO, *proto);
        }
        if let Some(net) = net {
            write_ip(out, IPSET_ATTR_IP2, net.addr());
            out.u8(IPSET_ATTR_CIDR2, net.prefix_len());
        }
    }

    /// Reads the attributes inside `IPSET_ATTR_DATA`; what has no name here is passed over.
    pub fn decode(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        let (mut ip, mut proto, mut port, mut ip2, mut cidr) = (None, None, None, None, None);
        for attr in attrs {
            match attr.kind {
                IPSET_ATTR_IP => ip = Some(DecodeError::read("IP", read_ip(&attr))?),
                IPSET_ATTR_IP2 => ip2 = Some(DecodeError::read("IP2", read_ip(&attr))?),
                IPSET_ATTR_PORT => port = Some(DecodeError::read("PORT", attr.be16())?),
                IPSET_ATTR_PROTO => proto = Some(DecodeError::read("PROTO", attr.u8())?),
                IPSET_ATTR_CIDR2 => cidr = Some(DecodeError::read("CIDR2", attr.u8())?),
                _ => {}
            }
        }
        let port = match port {
            Some(port) => Some((DecodeError::need("PROTO", proto)?, port)),
            None => None,
        };
        let net = match (ip2, cidr) {
            (Some(address), Some(cidr)) => {
                let net = IpNet::new(address, cidr).ok();
                Some(DecodeError::read("CIDR2", net)?)
            }
            (Some(address), None) => Some(address.into()),
            (None, _) => None,
        };
        let ip = DecodeError::need("IP", ip)?;
        Ok(Self { ip, port, net })
    }
}

impl Members {
    /// Reads the attributes behind the `nfgenmsg`.
    pub fn decode(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        let header = match attrs.get(IPSET_ATTR_TYPENAME) {
            Some(_) => Some(Header::decode(attrs)?),
            None => None,
        };
        let mut members = Vec::new();
        for list in attrs.filter(|attr| attr.kind == IPSET_ATTR_ADT) {
            for data in list.attrs().filter(|attr| attr.kind == IPSET_ATTR_DATA) {
                members.push(Member::decode(data.attrs())?);
            }
        }
        Ok(Self { header, members })
    }
}

#[cfg(all(test, target_endian = "little"))]
mod tests;
