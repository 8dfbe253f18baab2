//! Kernel IP sets, protocol 7, over netfilter netlink: sets of address, port and address, and their like.
//!
//! A codec for any program: it knows `include/uapi/linux/netfilter/ipset/ip_set.h` and
//! `net/netfilter/ipset/` and nothing of weir. Only `socket` talks to the kernel.
//!
//! Facts that the codec rests on:
//! - Every number of more than one byte inside `IPSET_ATTR_DATA` is in network byte order and says so in
//!   its type (`NLA_F_NET_BYTEORDER`).
//! - Elements go many to a message, but a nest's length has 16 bits. A message is not atomic: the elements
//!   before a refused one stay in the set. What must change at once is built beside it and swapped in.
//! - Without `NLM_F_EXCL`, adding what is there and deleting what is not both succeed.
//! - A set that a rule refers to can be filled, flushed and swapped, not destroyed or renamed.
//! - A dump gives no sign when elements are added or deleted under it (`ip_set_dump_do`).

mod command;
mod element;
mod errors;
mod listing;
mod member;
mod socket;
#[cfg(all(test, target_endian = "little"))]
mod tests;

pub use command::{
    Command, Create, ELEMENTS_PER_MESSAGE, HASH_IP, HASH_IP_PORT, HASH_IP_PORT_IP, HASH_IP_PORT_NET,
};
pub use element::Element;
pub use errors::{Explanation, explain};
pub use listing::{Header, Listing, Revisions};
pub use member::{Member, Members};
pub use socket::{Ipset, MAX_REVISION, Set};

pub use crate::kernel::linux::netlink::{DecodeError, Family, Other};

/// Length of the `nfgenmsg` in front of the attributes.
const NFGEN_HEADER_LEN: usize = 4;

// Attributes of a command.
const IPSET_ATTR_PROTOCOL: u16 = 1;
const IPSET_ATTR_SETNAME: u16 = 2;
const IPSET_ATTR_TYPENAME: u16 = 3;
/// The second name of `RENAME` and `SWAP` has the number of the type's name.
const IPSET_ATTR_SETNAME2: u16 = 3;
const IPSET_ATTR_REVISION: u16 = 4;
const IPSET_ATTR_FAMILY: u16 = 5;
const IPSET_ATTR_FLAGS: u16 = 6;
const IPSET_ATTR_DATA: u16 = 7;
const IPSET_ATTR_ADT: u16 = 8;
const IPSET_ATTR_LINENO: u16 = 9;
const IPSET_ATTR_PROTOCOL_MIN: u16 = 10;
const IPSET_ATTR_REVISION_MIN: u16 = 10;
const IPSET_ATTR_INDEX: u16 = 11;

// Attributes inside IPSET_ATTR_DATA.
const IPSET_ATTR_IP: u16 = 1;
const IPSET_ATTR_PORT: u16 = 4;
const IPSET_ATTR_PROTO: u16 = 7;
const IPSET_ATTR_INITVAL: u16 = 17;
const IPSET_ATTR_HASHSIZE: u16 = 18;
const IPSET_ATTR_MAXELEM: u16 = 19;
const IPSET_ATTR_IP2: u16 = 20;
const IPSET_ATTR_BUCKETSIZE: u16 = 21;
/// The prefix of a range has the number of the bucket size of a set.
const IPSET_ATTR_CIDR2: u16 = 21;
const IPSET_ATTR_ELEMENTS: u16 = 24;
const IPSET_ATTR_REFERENCES: u16 = 25;
const IPSET_ATTR_MEMSIZE: u16 = 26;

// Inside an address.
const IPSET_ATTR_IPADDR_IPV4: u16 = 1;
const IPSET_ATTR_IPADDR_IPV6: u16 = 2;

/// `IPSET_FLAG_LIST_HEADER`: a listing without its elements.
const IPSET_FLAG_LIST_HEADER: u32 = 1 << 2;
