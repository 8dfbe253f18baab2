//! A flow as far as it takes to count it: a million of them are read to count them. Pure.

use std::net::IpAddr;

use super::{
    CTA_FILTER, CTA_FILTER_ORIG_FLAGS, CTA_FILTER_REPLY_FLAGS, CTA_IP_V4_DST, CTA_IP_V6_DST,
    CTA_PROTO_NUM, CTA_PROTOINFO, CTA_TUPLE_IP, CTA_TUPLE_ORIG, CTA_TUPLE_PROTO, DecodeError,
};
use crate::kernel::linux::conntrack::filter::CTA_FILTER_F_CTA_IP_DST;
use crate::kernel::linux::netlink::{Attrs, Request};

// Inside what a protocol knows of a flow (`enum ctattr_protoinfo`), and in each the state (`enum ctattr_protoinfo_tcp`,
// `_sctp`).
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_SCTP: u16 = 3;
const CTA_PROTOINFO_STATE: u16 = 1;

/// Who was spoken to, how, and how far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// What its client speaks to.
    pub destination: IpAddr,
    /// The protocol's number in an IP header.
    pub protocol: u8,
    /// The state by its protocol's own numbers; none of protocols without.
    pub state: Option<u8>,
}

impl Tracked {
    /// Reads the attributes of a flow; what is not needed is skipped.
    pub fn decode(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        let (mut destination, mut protocol, mut state) = (None, None, None);
        for attr in attrs {
            match attr.kind {
                CTA_TUPLE_ORIG => {
                    for attr in attr.attrs() {
                        match attr.kind {
                            CTA_TUPLE_IP => {
                                let found = attr.attrs().find_map(|attr| match attr.kind {
                                    CTA_IP_V4_DST => Some(attr.array::<4>().map(IpAddr::from)),
                                    CTA_IP_V6_DST => Some(attr.array::<16>().map(IpAddr::from)),
                                    _ => None,
                                });
                                if let Some(found) = found {
                                    destination = Some(DecodeError::read("IP_DST", found)?);
                                }
                            }
                            CTA_TUPLE_PROTO => {
                                if let Some(number) = attr.attrs().get(CTA_PROTO_NUM) {
                                    protocol = Some(DecodeError::read("PROTO_NUM", number.u8())?);
                                }
                            }
                            _ => {}
                        }
                    }
                }
                CTA_PROTOINFO => {
                    let known = |kind: &u16| [CTA_PROTOINFO_TCP, CTA_PROTOINFO_SCTP].contains(kind);
                    let mut infos = attr.attrs().filter(|attr| known(&attr.kind));
                    let number = infos.find_map(|info| info.attrs().get(CTA_PROTOINFO_STATE));
                    if let Some(number) = number {
                        state = Some(DecodeError::read("PROTOINFO_STATE", number.u8())?);
                    }
                }
                _ => {}
            }
        }
        Ok(Self {
            destination: DecodeError::need("IP_DST", destination)?,
            protocol: DecodeError::need("PROTO_NUM", protocol)?,
            state,
        })
    }
}

/// Writes the attributes of a dump of what was sent to an IPv4 address, whatever the protocol.
pub(super) fn write_to(address: std::net::Ipv4Addr, out: &mut Request) {
    out.nest(CTA_TUPLE_ORIG, |out| {
        out.nest(CTA_TUPLE_IP, |out| {
            out.ip(CTA_IP_V4_DST, address.into());
        });
    });
    out.nest(CTA_FILTER, |out| {
        out.u32(CTA_FILTER_ORIG_FLAGS, CTA_FILTER_F_CTA_IP_DST)
            .u32(CTA_FILTER_REPLY_FLAGS, 0);
    });
}
