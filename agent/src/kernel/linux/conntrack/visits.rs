//! The flows of one client to one destination, as far as the kernel can leave the others out. Pure.

use std::net::{IpAddr, SocketAddr};

use super::filter::{
    CTA_FILTER_F_CTA_IP_DST, CTA_FILTER_F_CTA_IP_SRC, CTA_FILTER_F_CTA_PROTO_DST_PORT,
    CTA_FILTER_F_CTA_PROTO_NUM,
};
use super::flow::{destination_kind, source_kind};
use super::{
    CTA_FILTER, CTA_FILTER_ORIG_FLAGS, CTA_FILTER_REPLY_FLAGS, CTA_PROTO_DST_PORT, CTA_PROTO_NUM,
    CTA_TUPLE_IP, CTA_TUPLE_ORIG, CTA_TUPLE_PROTO, Family, Flow,
};
use crate::kernel::linux::netlink::Request;

/// Flows of one protocol from one client to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VisitFilter {
    /// The protocol's number in an IP header.
    pub protocol: u8,
    /// What is spoken to.
    pub destination: SocketAddr,
    /// Who speaks, from any port; of the destination's family.
    pub client: IpAddr,
}

impl VisitFilter {
    /// Gives the family of the flows.
    pub fn family(&self) -> Family {
        Family::of(self.destination.ip())
    }

    /// Writes the attributes of a dump. The tuple has what its flags name and nothing more.
    pub(super) fn write(&self, out: &mut Request) {
        let Self {
            protocol,
            destination,
            client,
        } = *self;
        let mut flags = CTA_FILTER_F_CTA_PROTO_NUM | CTA_FILTER_F_CTA_PROTO_DST_PORT;
        out.nest(CTA_TUPLE_ORIG, |out| {
            // of IPv6 those match that differ
            if destination.is_ipv4() {
                flags |= CTA_FILTER_F_CTA_IP_SRC | CTA_FILTER_F_CTA_IP_DST;
                let address = destination.ip();
                out.nest(CTA_TUPLE_IP, |out| {
                    out.ip(source_kind(client), client)
                        .ip(destination_kind(address), address);
                });
            }
            out.nest(CTA_TUPLE_PROTO, |out| {
                out.u8(CTA_PROTO_NUM, protocol)
                    .be16(CTA_PROTO_DST_PORT, destination.port());
            });
        });
        out.nest(CTA_FILTER, |out| {
            out.u32(CTA_FILTER_ORIG_FLAGS, flags)
                .u32(CTA_FILTER_REPLY_FLAGS, 0);
        });
    }

    /// Says whether a flow is one of these, whatever the kernel left in.
    pub fn has(&self, flow: &Flow) -> bool {
        let original = &flow.original;
        original.protocol == self.protocol
            && original.source == self.client
            && original.destination == self.destination.ip()
            && original.destination_port == Some(self.destination.port())
    }
}
