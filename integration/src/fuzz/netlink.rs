//! Messages, attributes, and the small answers.

use weir_agent::kernel::linux::loopback::nft_compat::Rule;
use weir_agent::kernel::linux::netlink::wire::{HEADER_LEN, NLM_F_REQUEST, align};
use weir_agent::kernel::linux::netlink::{Attrs, DecodeError, Messages, Other, Request, genl};

const ATTR_HEADER_LEN: usize = 4;
/// A type that no kernel uses, without the two flag bits.
const UNKNOWN: u16 = 0x2fff;
/// Deeper than any kernel nests.
const DEPTH: usize = 8;

/// Gives an attribute that nobody knows.
pub(super) fn unknown() -> Other {
    Other {
        kind: UNKNOWN,
        payload: b"unknown".to_vec(),
    }
}

/// Puts [`unknown`] in front of attributes.
pub(super) fn with_unknown(attrs: &[u8]) -> Vec<u8> {
    let mut out = Request::new(0, 0);
    unknown().write(&mut out);
    [&out.as_bytes()[HEADER_LEN..], attrs].concat()
}

pub(super) fn messages(bytes: &[u8]) -> bool {
    let mut whole = 0;
    let mut cut = false;
    for message in Messages::new(bytes) {
        assert!(!cut, "a message behind the one that was cut");
        let Ok(message) = message else {
            cut = true;
            continue;
        };
        whole += 1;
        let mut again = Request::new(message.kind, message.flags);
        again.raw(message.payload);
        let read = Messages::new(again.as_bytes()).next();
        let read = read.and_then(Result::ok).expect("a message written again");
        assert_eq!(read.kind, message.kind);
        assert_eq!(read.flags, message.flags | NLM_F_REQUEST);
        assert_eq!(read.payload.len(), align(message.payload.len()));
        assert!(read.payload.starts_with(message.payload));
    }
    assert!(whole <= bytes.len() / HEADER_LEN);
    whole > 0
}

pub(super) fn attributes(bytes: &[u8]) -> bool {
    let attrs = Attrs::new(bytes);
    assert!(attrs.count() <= bytes.len() / ATTR_HEADER_LEN);
    let mut again = Request::new(0, 0);
    for attr in attrs {
        assert_eq!(
            attrs.get(attr.kind).map(|first| first.kind),
            Some(attr.kind)
        );
        assert!(attr.str().is_none_or(|text| !text.contains('\0')));
        again.bytes(attr.kind, attr.payload);
    }
    assert!(again.oversized() || Attrs::new(&again.as_bytes()[HEADER_LEN..]).eq(attrs));
    walk(attrs, DEPTH);
    attrs.count() > 0
}

/// Reads every attribute in every way.
fn walk(attrs: Attrs<'_>, depth: usize) {
    for attr in attrs {
        let numbers = [
            attr.u8().map(|_| 1),
            attr.u16().and(attr.be16()).map(|_| 2),
            attr.u32().and(attr.be32()).map(|_| 4),
            attr.u64().and(attr.be64()).map(|_| 8),
            attr.ip().map(|ip| if ip.is_ipv4() { 4 } else { 16 }),
        ];
        for size in numbers.into_iter().flatten() {
            assert_eq!(attr.payload.len(), size, "the size says what it can be");
        }
        if depth > 0 {
            walk(attr.attrs(), depth - 1);
        }
    }
}

pub(super) fn family(bytes: &[u8]) -> bool {
    let read = genl::family_id(Attrs::new(bytes));
    let more = with_unknown(bytes);
    assert_eq!(genl::family_id(Attrs::new(&more)), read);
    if let Ok(id) = read {
        // CTRL_ATTR_FAMILY_ID
        let mut again = Request::new(0, 0);
        again.u16(1, id);
        assert_eq!(
            genl::family_id(Attrs::new(&again.as_bytes()[HEADER_LEN..])),
            Ok(id)
        );
    }
    read.is_ok()
}

pub(super) fn rule(bytes: &[u8]) -> bool {
    let read: Result<Rule, DecodeError> = Rule::decode(Attrs::new(bytes));
    let more = with_unknown(bytes);
    assert_eq!(Rule::decode(Attrs::new(&more)), read);
    read.is_ok()
}
