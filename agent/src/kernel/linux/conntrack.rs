//! Conntrack over netfilter netlink: the flows whose destination was translated, and their deletion.
//!
//! A codec for any program: it knows `include/uapi/linux/netfilter/nfnetlink_conntrack.h` and
//! `net/netfilter/nf_conntrack_netlink.c` and nothing of weir. Only `socket` talks to the kernel.
//!
//! Facts that the codec rests on:
//! - A flow is two tuples: what its client sends (original) and what is sent back (reply). Of one that IPVS masquerades
//!   the reply comes from the backend (`ip_vs_update_conntrack` in `net/netfilter/ipvs/ip_vs_nfct.c`), and goes to the
//!   client or to whom it was masqueraded as. Where backends are reached otherwise no reply names them.
//! - Addresses, ports, zones and ids are in network byte order; the flags of `CTA_FILTER` in the machine's own.
//! - A deletion without a tuple deletes everything (`ctnetlink_del_conntrack`): it cannot be written here.
//! - A dump shows a flow twice or not at all when flows go under it or the table grows (`ctnetlink_dump_table`), and
//!   gives no sign of it.
//!
//! What a filter is worth depends on the kernel, so every flow that is shown is looked at again:
//! - before Linux 5.8 `CTA_FILTER` is not known, and everything of the family is shown;
//! - for some releases after, the reply tuple was read by the flags of the original one (`ctnetlink_alloc_filter` handed
//!   `orig_flags` to `ctnetlink_parse_tuple_filter`), which refuses a tuple that has only what the reply's flags name;
//! - IPv6 addresses match when they differ (`ctnetlink_filter_match_tuple` says `!ipv6_addr_cmp`; seen with 6.1 and
//!   6.18), so they are not asked for: protocol and ports are;
//! - ports of SCTP are not compared.

mod command;
mod filter;
mod flow;
mod socket;
mod stats;
#[cfg(all(test, target_endian = "little"))]
mod tests;
mod tracked;
mod translation;
mod visits;

pub use command::Command;
pub use filter::Filter;
pub use flow::{Flow, Tuple};
pub use socket::Conntrack;
pub use stats::{CpuStats, GlobalStats};
pub use tracked::Tracked;
pub use translation::{Filters, Translation, questions};
pub use visits::VisitFilter;

pub use crate::kernel::linux::netlink::{DecodeError, Family};

const NFNL_SUBSYS_CTNETLINK: u8 = 1;
/// Length of the `nfgenmsg` in front of the attributes.
const NFGEN_HEADER_LEN: usize = 4;

// Attributes of a flow (`enum ctattr_type`).
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_PROTOINFO: u16 = 4;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;

// Inside a tuple (`enum ctattr_tuple`).
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_TUPLE_ZONE: u16 = 3;

// Inside its addresses (`enum ctattr_ip`).
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;

// Inside its protocol (`enum ctattr_l4proto`).
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;

// Inside a filter (`enum ctattr_filter`).
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
