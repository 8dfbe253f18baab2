//! What the kernel tells everybody of links, and of addresses and local routes that go.

use std::net::IpAddr;

use super::tunnel::{HEADER, IFF_UP, IFLA_IFNAME, RTM_NEWLINK};
use super::{
    Address, RT_TABLE_LOCAL, RTM_DELADDR, RTM_DELROUTE, RTM_NEWADDR, RTM_NEWROUTE, RTN_LOCAL,
    RTPROT_KERNEL, Route, bits_of,
};
use crate::kernel::linux::netlink::{Heed, Message};

const RTM_DELLINK: u16 = 17;

const AF_UNSPEC: u8 = 0;

/// The multicast groups that tell of it (`enum rtnetlink_groups`): links, and addresses and routes of both families.
pub const GROUPS: [u32; 5] = [
    RTNLGRP_LINK,
    RTNLGRP_IPV4_IFADDR,
    RTNLGRP_IPV4_ROUTE,
    RTNLGRP_IPV6_IFADDR,
    RTNLGRP_IPV6_ROUTE,
];
/// What of it is a notice. Of routes those to this host: others come and go by the thousand where a routing daemon runs.
pub const HEED: [Heed; 4] = [
    every(RTM_NEWLINK),
    every(RTM_DELLINK),
    every(RTM_DELADDR),
    Heed {
        kind: RTM_DELROUTE,
        byte: Some((RTM_TYPE_AT, RTN_LOCAL)),
    },
];
/// Where `rtm_type` stands in a `struct rtmsg`.
const RTM_TYPE_AT: u8 = 7;
const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV4_ROUTE: u32 = 7;
const RTNLGRP_IPV6_IFADDR: u32 = 9;
const RTNLGRP_IPV6_ROUTE: u32 = 11;

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A link is new or has changed.
    Link {
        /// Its number.
        index: u32,
        /// Its name.
        name: String,
        /// Whether it is set up.
        up: bool,
    },
    /// A link is gone, from this network namespace at least.
    LinkGone {
        /// Its number.
        index: u32,
    },
    /// An address that is a host of its own, `/32` or `/128`, is gone from its link.
    AddressGone {
        /// The link's number.
        link: u32,
        /// Which.
        address: IpAddr,
    },
    /// A route by which packets to one address ended here is gone.
    LocalRouteGone {
        /// The number of the link it led to.
        link: u32,
        /// Which address.
        address: IpAddr,
        /// Whether the kernel had made it, for an address.
        kernel: bool,
    },
}

const fn every(kind: u16) -> Heed {
    Heed { kind, byte: None }
}

impl Notice {
    /// Reads a notice; none of what is new, of other routes and addresses, and of bridges' ports.
    pub fn decode(message: &Message<'_>) -> Option<Self> {
        match message.kind {
            RTM_NEWLINK | RTM_DELLINK => {
                let header = message.payload.first_chunk::<HEADER>()?;
                let [family, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, ..] = *header;
                let index = u32::from_ne_bytes([i0, i1, i2, i3]);
                match message.kind {
                    // a port that leaves its bridge is told of as a link of AF_BRIDGE
                    _ if family != AF_UNSPEC => None,
                    RTM_DELLINK => Some(Self::LinkGone { index }),
                    _ => Some(Self::Link {
                        index,
                        name: message.attrs(HEADER).get(IFLA_IFNAME)?.str()?.to_owned(),
                        up: u32::from_ne_bytes([f0, f1, f2, f3]) & IFF_UP != 0,
                    }),
                }
            }
            RTM_DELADDR => {
                let gone = Address::decode(&Message {
                    kind: RTM_NEWADDR,
                    ..*message
                })?;
                let Address { link, address, .. } = gone;
                (gone.prefix == bits_of(address)).then_some(Self::AddressGone { link, address })
            }
            RTM_DELROUTE => {
                let gone = Route::decode(&Message {
                    kind: RTM_NEWROUTE,
                    ..*message
                })?;
                if !gone.is_host() || gone.table != RT_TABLE_LOCAL {
                    return None;
                }
                Some(Self::LocalRouteGone {
                    link: gone.link?,
                    address: gone.destination,
                    kernel: gone.protocol == RTPROT_KERNEL,
                })
            }
            _ => None,
        }
    }
}
