//! What nf_tables lists.

use weir_agent::kernel::linux::loopback::nftables::{
    Chain, Rule, Set, Table, decode_key, encode_key, keys,
};
use weir_agent::kernel::linux::netlink::Attrs;

use super::netlink::with_unknown;

/// Says whether attributes can be decoded; what nobody knows must change nothing.
fn same<T: PartialEq + std::fmt::Debug>(bytes: &[u8], decode: fn(Attrs<'_>) -> Option<T>) -> bool {
    let read = decode(Attrs::new(bytes));
    let more = with_unknown(bytes);
    assert_eq!(decode(Attrs::new(&more)), read);
    read.is_some()
}

pub(super) fn table(bytes: &[u8]) -> bool {
    same(bytes, |attrs| Table::decode(attrs).ok())
}

pub(super) fn chain(bytes: &[u8]) -> bool {
    same(bytes, |attrs| Chain::decode(attrs).ok())
}

pub(super) fn set(bytes: &[u8]) -> bool {
    same(bytes, |attrs| Set::decode(attrs).ok())
}

pub(super) fn rule(bytes: &[u8]) -> bool {
    same(bytes, |attrs| Rule::decode(attrs).ok())
}

pub(super) fn elements(bytes: &[u8]) -> bool {
    same(bytes, |attrs| {
        let read = keys(attrs);
        (!read.is_empty()).then_some(read)
    })
}

pub(super) fn key(bytes: &[u8]) -> bool {
    let read = decode_key(bytes);
    if let Some(element) = &read {
        assert_eq!(encode_key(element), bytes, "a key is written one way");
    }
    read.is_some()
}
