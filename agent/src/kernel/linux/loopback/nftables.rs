//! nf_tables over netlink: a table of family `inet` with sets of address, port and address, and rules that look them
//! up.
//!
//! A codec for any program: it knows `include/uapi/linux/netfilter/nf_tables.h` and nothing of weir. Only `socket`
//! talks to the kernel.
//!
//! Facts that the codec rests on:
//! - Every number is in network byte order, and says so by nothing.
//! - All that is sent between the brackets of one batch happens or nothing of it does
//!   (`nf_tables_commit` in `net/netfilter/nf_tables_api.c`), so a set can be replaced under the rule that uses it.
//! - A table of family `inet` can hold a nat chain since Linux 5.2 (`nft_chain_nat`). One table serves both families of
//!   addresses, in one batch, and has a name of its own beside tables `ip` and `ip6`.
//! - A key of several fields has each of them padded with zeros to four bytes; in the registers it lies the same.
//! - Without `NLM_F_EXCL` an element that is there can be added again; one that is not there cannot be deleted.

mod command;
mod element;
mod expression;
mod listing;
mod socket;
#[cfg(all(test, target_endian = "little"))]
mod tests;

pub use command::{
    Command, ELEMENTS_PER_MESSAGE, Field, KeySet, NewSet, Place, comment_of_rule, comment_of_set,
};
pub use element::{decode_key, encode_key};
pub use expression::{Expression, masquerade_of_set};
pub use listing::{BaseChain, Chain, Hook, Rule, Set, Table, keys};
pub use socket::Nftables;

pub use crate::kernel::linux::ipset::Element;
pub use crate::kernel::linux::netlink::{DecodeError, Family, Refused};

/// Length of the `nfgenmsg` in front of the attributes.
const NFGEN_HEADER_LEN: usize = 4;
/// `NFNL_SUBSYS_NFTABLES`
const NFNL_SUBSYS_NFTABLES: u8 = 10;
/// `NFPROTO_UNSPEC`: every family, where one lists.
const NFPROTO_UNSPEC: u8 = 0;
/// `NFPROTO_INET`: both IPv4 and IPv6.
const NFPROTO_INET: u8 = 1;

const NFT_MSG_NEWTABLE: u8 = 0;
const NFT_MSG_GETTABLE: u8 = 1;
const NFT_MSG_DELTABLE: u8 = 2;
const NFT_MSG_NEWCHAIN: u8 = 3;
const NFT_MSG_GETCHAIN: u8 = 4;
const NFT_MSG_DELCHAIN: u8 = 5;
const NFT_MSG_NEWRULE: u8 = 6;
const NFT_MSG_GETRULE: u8 = 7;
const NFT_MSG_DELRULE: u8 = 8;
const NFT_MSG_NEWSET: u8 = 9;
const NFT_MSG_GETSET: u8 = 10;
const NFT_MSG_DELSET: u8 = 11;
const NFT_MSG_NEWSETELEM: u8 = 12;
const NFT_MSG_GETSETELEM: u8 = 13;
const NFT_MSG_DELSETELEM: u8 = 14;

const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_FLAGS: u16 = 2;
const NFTA_TABLE_USE: u16 = 3;
const NFTA_TABLE_USERDATA: u16 = 6;

const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_USE: u16 = 6;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;

const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;

const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_USERDATA: u16 = 13;

const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_KEY: u16 = 1;

/// `NFTA_LIST_ELEM`: what stands in a list has this type.
const NFTA_LIST_ELEM: u16 = 1;
/// `NFTA_DATA_VALUE`: bytes that registers hold.
const NFTA_DATA_VALUE: u16 = 1;
