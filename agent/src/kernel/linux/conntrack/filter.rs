//! What the kernel is asked to leave out of a dump. Pure.

use std::net::SocketAddr;

use super::flow::{destination_kind, source_kind};
use super::{
    CTA_FILTER, CTA_FILTER_ORIG_FLAGS, CTA_FILTER_REPLY_FLAGS, CTA_PROTO_DST_PORT, CTA_PROTO_NUM,
    CTA_PROTO_SRC_PORT, CTA_TUPLE_IP, CTA_TUPLE_ORIG, CTA_TUPLE_PROTO, CTA_TUPLE_REPLY, Family,
    Flow,
};
use crate::kernel::linux::netlink::Request;

// Which parts of a tuple are compared (`net/netfilter/nf_internals.h`).
pub(super) const CTA_FILTER_F_CTA_IP_SRC: u32 = 1 << 0;
pub(super) const CTA_FILTER_F_CTA_IP_DST: u32 = 1 << 1;
pub(super) const CTA_FILTER_F_CTA_PROTO_NUM: u32 = 1 << 3;
const CTA_FILTER_F_CTA_PROTO_SRC_PORT: u32 = 1 << 4;
pub(super) const CTA_FILTER_F_CTA_PROTO_DST_PORT: u32 = 1 << 5;

/// Ports of these are compared (`ctnetlink_filter_match_tuple`): TCP and UDP.
const COMPARED: [u8; 2] = [6, 17];

/// Flows of one protocol that were sent to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The protocol's number in an IP header.
    pub protocol: u8,
    /// What clients spoke to.
    pub destination: SocketAddr,
    /// Who answers, of the destination's family; anybody without.
    pub replier: Option<SocketAddr>,
}

impl Filter {
    /// Gives the family of the flows.
    pub fn family(&self) -> Family {
        Family::of(self.destination.ip())
    }

    /// Writes the attributes of a dump. Each tuple has what its flags name and nothing more.
    pub(super) fn write(&self, out: &mut Request) {
        let Self {
            protocol,
            destination,
            replier,
        } = *self;
        // of IPv6 those match that differ
        let addresses = destination.is_ipv4();
        let mut flags = CTA_FILTER_F_CTA_PROTO_NUM | CTA_FILTER_F_CTA_PROTO_DST_PORT;
        out.nest(CTA_TUPLE_ORIG, |out| {
            if addresses {
                flags |= CTA_FILTER_F_CTA_IP_DST;
                let address = destination.ip();
                out.nest(CTA_TUPLE_IP, |out| {
                    out.ip(destination_kind(address), address);
                });
            }
            out.nest(CTA_TUPLE_PROTO, |out| {
                out.u8(CTA_PROTO_NUM, protocol)
                    .be16(CTA_PROTO_DST_PORT, destination.port());
            });
        });
        let mut reply_flags = 0;
        if let Some(replier) = replier {
            reply_flags = CTA_FILTER_F_CTA_PROTO_NUM | CTA_FILTER_F_CTA_PROTO_SRC_PORT;
            out.nest(CTA_TUPLE_REPLY, |out| {
                if addresses {
                    reply_flags |= CTA_FILTER_F_CTA_IP_SRC;
                    let address = replier.ip();
                    out.nest(CTA_TUPLE_IP, |out| {
                        out.ip(source_kind(address), address);
                    });
                }
                out.nest(CTA_TUPLE_PROTO, |out| {
                    out.u8(CTA_PROTO_NUM, protocol)
                        .be16(CTA_PROTO_SRC_PORT, replier.port());
                });
            });
        }
        out.nest(CTA_FILTER, |out| {
            out.u32(CTA_FILTER_ORIG_FLAGS, flags)
                .u32(CTA_FILTER_REPLY_FLAGS, reply_flags);
        });
    }

    /// Says whether any kernel that knows filters would have left a flow out.
    pub fn leaves_out(&self, flow: &Flow) -> bool {
        let protocol = flow.original.protocol;
        let port = flow.original.destination_port;
        protocol != self.protocol
            || COMPARED.contains(&protocol) && port != Some(self.destination.port())
    }
}
