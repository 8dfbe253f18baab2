//! A flow as conntrack shows it, as far as it takes to know it again and to delete it.

use std::net::{IpAddr, SocketAddr};

use super::{
    CTA_ID, CTA_IP_V4_DST, CTA_IP_V4_SRC, CTA_IP_V6_DST, CTA_IP_V6_SRC, CTA_PROTO_DST_PORT,
    CTA_PROTO_NUM, CTA_PROTO_SRC_PORT, CTA_TUPLE_IP, CTA_TUPLE_ORIG, CTA_TUPLE_PROTO,
    CTA_TUPLE_REPLY, CTA_TUPLE_ZONE, CTA_ZONE, DecodeError, Family,
};
use crate::kernel::linux::netlink::{Attrs, Request};

/// One direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// Who sends.
    pub source: IpAddr,
    /// Who receives; of the source's family.
    pub destination: IpAddr,
    /// The protocol's number in an IP header.
    pub protocol: u8,
    /// None of protocols without ports, whose own marks are left out here.
    pub source_port: Option<u16>,
    /// As the other.
    pub destination_port: Option<u16>,
    /// The zone of this direction alone.
    pub zone: Option<u16>,
}

/// A flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// What its client sends.
    pub original: Tuple,
    /// What is sent back.
    pub reply: Tuple,
    /// The zone of both directions.
    pub zone: Option<u16>,
    /// Tells it from a later one of the same tuples (`nf_ct_get_id` in `net/netfilter/nf_conntrack_core.c`).
    pub id: Option<u32>,
}

impl Tuple {
    /// Reads the attributes inside `CTA_TUPLE_ORIG` or `CTA_TUPLE_REPLY`; what nobody knows is skipped.
    pub fn decode(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        let (mut source, mut destination) = (None, None);
        let (mut protocol, mut source_port, mut destination_port) = (None, None, None);
        let mut zone = None;
        for attr in attrs {
            match attr.kind {
                CTA_TUPLE_IP => {
                    for attr in attr.attrs() {
                        let v4 = || attr.array::<4>().map(IpAddr::from);
                        let v6 = || attr.array::<16>().map(IpAddr::from);
                        match attr.kind {
                            CTA_IP_V4_SRC => source = Some(DecodeError::read("IP_V4_SRC", v4())?),
                            CTA_IP_V4_DST => {
                                destination = Some(DecodeError::read("IP_V4_DST", v4())?);
                            }
                            CTA_IP_V6_SRC => source = Some(DecodeError::read("IP_V6_SRC", v6())?),
                            CTA_IP_V6_DST => {
                                destination = Some(DecodeError::read("IP_V6_DST", v6())?);
                            }
                            _ => {}
                        }
                    }
                }
                CTA_TUPLE_PROTO => {
                    for attr in attr.attrs() {
                        match attr.kind {
                            CTA_PROTO_NUM => {
                                protocol = Some(DecodeError::read("PROTO_NUM", attr.u8())?);
                            }
                            CTA_PROTO_SRC_PORT => {
                                source_port =
                                    Some(DecodeError::read("PROTO_SRC_PORT", attr.be16())?);
                            }
                            CTA_PROTO_DST_PORT => {
                                destination_port =
                                    Some(DecodeError::read("PROTO_DST_PORT", attr.be16())?);
                            }
                            _ => {}
                        }
                    }
                }
                CTA_TUPLE_ZONE => zone = Some(DecodeError::read("TUPLE_ZONE", attr.be16())?),
                _ => {}
            }
        }
        let tuple = Self {
            source: DecodeError::need("IP_SRC", source)?,
            destination: DecodeError::need("IP_DST", destination)?,
            protocol: DecodeError::need("PROTO_NUM", protocol)?,
            source_port,
            destination_port,
            zone,
        };
        match Family::of(tuple.source) == Family::of(tuple.destination) {
            true => Ok(tuple),
            false => Err(DecodeError::Unreadable("TUPLE_IP")),
        }
    }

    /// Writes the attributes inside `CTA_TUPLE_ORIG` or `CTA_TUPLE_REPLY`.
    pub fn write(&self, out: &mut Request) {
        let Self {
            source,
            destination,
            protocol,
            source_port,
            destination_port,
            zone,
        } = *self;
        out.nest(CTA_TUPLE_IP, |out| {
            out.ip(source_kind(source), source)
                .ip(destination_kind(destination), destination);
        });
        out.nest(CTA_TUPLE_PROTO, |out| {
            out.u8(CTA_PROTO_NUM, protocol);
            if let Some(port) = source_port {
                out.be16(CTA_PROTO_SRC_PORT, port);
            }
            if let Some(port) = destination_port {
                out.be16(CTA_PROTO_DST_PORT, port);
            }
        });
        if let Some(zone) = zone {
            out.be16(CTA_TUPLE_ZONE, zone);
        }
    }

    /// Gives who sends, of a protocol with ports.
    pub fn sender(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.source, self.source_port?))
    }

    /// Gives who receives, of a protocol with ports.
    pub fn receiver(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.destination, self.destination_port?))
    }
}

impl Flow {
    /// Reads the attributes of a flow; what nobody knows is skipped.
    pub fn decode(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        let (mut original, mut reply) = (None, None);
        let (mut zone, mut id) = (None, None);
        for attr in attrs {
            match attr.kind {
                CTA_TUPLE_ORIG => original = Some(Tuple::decode(attr.attrs())?),
                CTA_TUPLE_REPLY => reply = Some(Tuple::decode(attr.attrs())?),
                CTA_ZONE => zone = Some(DecodeError::read("ZONE", attr.be16())?),
                CTA_ID => id = Some(DecodeError::read("ID", attr.be32())?),
                _ => {}
            }
        }
        Ok(Self {
            original: DecodeError::need("TUPLE_ORIG", original)?,
            reply: DecodeError::need("TUPLE_REPLY", reply)?,
            zone,
            id,
        })
    }

    /// Writes the attributes that name it: the original tuple, its zone and its id. The reply tuple goes without saying.
    pub fn write(&self, out: &mut Request) {
        let Self {
            original,
            reply: _,
            zone,
            id,
        } = self;
        out.nest(CTA_TUPLE_ORIG, |out| original.write(out));
        if let Some(zone) = *zone {
            out.be16(CTA_ZONE, zone);
        }
        if let Some(id) = *id {
            out.be32(CTA_ID, id);
        }
    }
}

/// Gives the attribute of a source.
pub(super) fn source_kind(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => CTA_IP_V4_SRC,
        IpAddr::V6(_) => CTA_IP_V6_SRC,
    }
}

/// Gives the attribute of a destination.
pub(super) fn destination_kind(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => CTA_IP_V4_DST,
        IpAddr::V6(_) => CTA_IP_V6_DST,
    }
}
