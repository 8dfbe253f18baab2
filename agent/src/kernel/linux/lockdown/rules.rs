//! The rules of a lockdown as nf_tables expressions. Pure.
//!
//! A key begins in the first register of four bytes: destination address, protocol, destination port, and of a range the
//! source address under its mask and the length of the mask. Ranges of every length are looked up one after the other, so
//! that ranges that lie in each other can stand in one set and each be found by its key; only what would be rejected
//! otherwise gets that far.

use weir_proto::model::Family;

use crate::kernel::linux::loopback::netlink_family;
use crate::kernel::linux::loopback::nftables::Expression;

/// The sets, by the names they have in the table.
pub const OPEN: &str = "open";
/// See [`OPEN`].
pub const ALLOW: &str = "allow";
/// See [`OPEN`].
pub const GUARDED: &str = "guarded";
/// See [`OPEN`].
pub const LOCKED: &str = "locked";
/// The chain of rules that look ranges up.
pub const RANGES: &str = "ranges";

const NFT_META_NFPROTO: u32 = 15;
const NFT_META_L4PROTO: u32 = 16;
const NFT_CT_STATE: u32 = 0;
const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;
const NFT_CMP_NEQ: u32 = 1;
const NFT_REG_VERDICT: u32 = 0;
const NFT_REG32_00: u32 = 8;
const NF_ACCEPT: u32 = 1;
/// `NFT_JUMP`, which is -3.
const NFT_JUMP: u32 = u32::MAX - 2;
const NFT_REJECT_TCP_RST: u32 = 1;
const NFT_REJECT_ICMPX_UNREACH: u32 = 2;
const NFT_REJECT_ICMPX_PORT_UNREACH: u8 = 1;
/// `NF_CT_STATE_BIT` of `IP_CT_ESTABLISHED` and `IP_CT_RELATED` (`nf_conntrack_common.h`).
const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
const TCP: u8 = 6;

/// A rule: what it is called, and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// By what it is known again.
    pub name: String,
    /// What it does.
    pub expressions: Vec<Expression>,
}

/// Gives the rules of the chain at the input hook, in their order.
pub fn input(family: Family) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut rule = |name: &str, parts: Vec<Vec<Expression>>| {
        rules.push(Rule {
            name: name.to_owned(),
            expressions: parts.concat(),
        });
    };
    let other_family = vec![
        meta(NFT_META_NFPROTO, NFT_REG32_00),
        differs(&[netlink_family(family).number()]),
    ];
    rule("other-family", vec![other_family, accept()]);
    // only a SYN alone begins a connection (tcp_rcv_state_process in net/ipv4/tcp_input.c). Conntrack cannot tell: a flow
    // whose backend answers its client directly is never seen to be answered, and stays new to it
    let flags = vec![
        payload(NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1, NFT_REG32_00),
        masked(NFT_REG32_00, &[0x17]),
        differs(&[0x02]),
    ];
    rule("tcp-under-way", vec![protocol(TCP), flags, accept()]);
    // not all that is not new: what conntrack was told not to look at, or cannot make sense of, would come in
    let known = vec![
        other(
            "ct",
            &[
                (1, &NFT_REG32_00.to_be_bytes()),
                (2, &NFT_CT_STATE.to_be_bytes()),
            ],
        ),
        masked(NFT_REG32_00, &ESTABLISHED_OR_RELATED.to_ne_bytes()),
        differs(&[0; 4]),
    ];
    rule("known-flow", vec![known, accept()]);
    rule(OPEN, vec![listener(family), lookup(OPEN), accept()]);
    let (icmp, types): (u8, &[u8]) = match family {
        Family::V4 => (1, &[8, 3, 11, 12]),
        Family::V6 => (58, &[128, 1, 2, 3, 4, 135, 136]),
    };
    for number in types {
        let kind = vec![
            payload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, NFT_REG32_00),
            equals(&[*number]),
        ];
        rule(
            &format!("icmp-{number}"),
            vec![protocol(icmp), kind, accept()],
        );
    }
    let ranges = vec![verdict(NFT_JUMP, Some(RANGES))];
    rule("allowed", vec![listener(family), lookup(GUARDED), ranges]);
    let address = || vec![destination(family)];
    for (set, key) in [(GUARDED, listener(family)), (LOCKED, address())] {
        let reset = reject(NFT_REJECT_TCP_RST, None);
        rule(
            &format!("{set}-tcp"),
            vec![key.clone(), lookup(set), protocol(TCP), reset],
        );
        let unreachable = reject(
            NFT_REJECT_ICMPX_UNREACH,
            Some(NFT_REJECT_ICMPX_PORT_UNREACH),
        );
        rule(set, vec![key, lookup(set), unreachable]);
    }
    rules
}

/// Gives the rules that look ranges up, the longest first.
pub fn ranges(family: Family) -> Vec<Rule> {
    let (bits, length, offset) = match family {
        Family::V4 => (32u8, 4, 12),
        Family::V6 => (128, 16, 8),
    };
    let source = NFT_REG32_00 + length / 4 + 2;
    let by_length = |prefix: u8| {
        let mut key = listener(family);
        key.push(payload(NFT_PAYLOAD_NETWORK_HEADER, offset, length, source));
        key.push(masked(source, &mask(prefix, bits)));
        let value = nest(2, &attr(1, &[0, prefix, 0, 0]));
        let register = (source + length / 4).to_be_bytes();
        key.push(Expression::Other {
            name: "immediate".to_owned(),
            data: [attr(1, &register), value].concat(),
        });
        Rule {
            name: format!("range-{prefix}"),
            expressions: [key, lookup(ALLOW), accept()].concat(),
        }
    };
    (1..=bits).rev().map(by_length).collect()
}

/// Gives so many ones and then zeros.
fn mask(prefix: u8, bits: u8) -> Vec<u8> {
    let byte = |place: u8| {
        let ones = prefix.saturating_sub(place * 8).min(8);
        u8::MAX.checked_shl(u32::from(8 - ones)).unwrap_or(0)
    };
    (0..bits / 8).map(byte).collect()
}

fn destination(family: Family) -> Expression {
    let (offset, length) = match family {
        Family::V4 => (16, 4),
        Family::V6 => (24, 16),
    };
    payload(NFT_PAYLOAD_NETWORK_HEADER, offset, length, NFT_REG32_00)
}

/// Loads destination address, protocol and port.
fn listener(family: Family) -> Vec<Expression> {
    let behind = NFT_REG32_00
        + match family {
            Family::V4 => 1,
            Family::V6 => 4,
        };
    vec![
        destination(family),
        meta(NFT_META_L4PROTO, behind),
        payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, behind + 1),
    ]
}

fn protocol(number: u8) -> Vec<Expression> {
    vec![meta(NFT_META_L4PROTO, NFT_REG32_00), equals(&[number])]
}

fn accept() -> Vec<Expression> {
    vec![verdict(NF_ACCEPT, None)]
}

fn lookup(set: &str) -> Vec<Expression> {
    vec![Expression::Lookup {
        set: set.to_owned(),
        set_id: None,
        register: NFT_REG32_00,
    }]
}

fn meta(key: u32, register: u32) -> Expression {
    Expression::Meta { key, register }
}

fn payload(base: u32, offset: u32, length: u32, register: u32) -> Expression {
    Expression::Payload {
        base,
        offset,
        length,
        register,
    }
}

fn equals(to: &[u8]) -> Expression {
    Expression::Equal {
        register: NFT_REG32_00,
        to: to.to_vec(),
    }
}

fn differs(from: &[u8]) -> Expression {
    let value = nest(3, &attr(1, from));
    let ends = [
        attr(1, &NFT_REG32_00.to_be_bytes()),
        attr(2, &NFT_CMP_NEQ.to_be_bytes()),
    ];
    Expression::Other {
        name: "cmp".to_owned(),
        data: [ends.concat(), value].concat(),
    }
}

/// Keeps the bits of a mask in a register.
fn masked(register: u32, mask: &[u8]) -> Expression {
    let length = u32::try_from(mask.len()).unwrap_or(u32::MAX);
    let register = register.to_be_bytes();
    let parts = [
        attr(1, &register),
        attr(2, &register),
        attr(3, &length.to_be_bytes()),
        nest(4, &attr(1, mask)),
        nest(5, &attr(1, &vec![0; mask.len()])),
    ];
    Expression::Other {
        name: "bitwise".to_owned(),
        data: parts.concat(),
    }
}

fn verdict(code: u32, chain: Option<&str>) -> Expression {
    let mut inside = attr(1, &code.to_be_bytes());
    if let Some(chain) = chain {
        inside.extend(attr(2, &[chain.as_bytes(), &[0]].concat()));
    }
    let data = nest(2, &nest(2, &inside));
    Expression::Other {
        name: "immediate".to_owned(),
        data: [attr(1, &NFT_REG_VERDICT.to_be_bytes()), data].concat(),
    }
}

/// Counts and rejects.
fn reject(kind: u32, code: Option<u8>) -> Vec<Expression> {
    let kind = kind.to_be_bytes();
    let reject = match code {
        Some(code) => other("reject", &[(1, &kind), (2, &[code])]),
        None => other("reject", &[(1, &kind)]),
    };
    let (packets, bytes) = (0, 0);
    vec![Expression::Counter { packets, bytes }, reject]
}

fn other(name: &str, attrs: &[(u16, &[u8])]) -> Expression {
    let data = attrs
        .iter()
        .flat_map(|(kind, payload)| attr(*kind, payload));
    Expression::Other {
        name: name.to_owned(),
        data: data.collect(),
    }
}

/// Writes an attribute (`struct nlattr`), padded to four bytes.
fn attr(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 4).unwrap_or(u16::MAX);
    let mut out = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    out.extend(payload);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// Writes an attribute of attributes (`NLA_F_NESTED`).
fn nest(kind: u16, inside: &[u8]) -> Vec<u8> {
    attr(kind | 0x8000, inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_has_as_many_ones_as_its_prefix() {
        assert_eq!(mask(1, 32), [0x80, 0, 0, 0]);
        assert_eq!(mask(12, 32), [0xff, 0xf0, 0, 0]);
        assert_eq!(mask(32, 32), [0xff; 4]);
        assert_eq!(mask(64, 128), [[0xff; 8], [0; 8]].concat());
    }

    #[test]
    fn the_longest_range_is_looked_up_first_and_none_is_left_out() {
        for (family, bits) in [(Family::V4, 32), (Family::V6, 128)] {
            let names: Vec<String> = ranges(family).into_iter().map(|rule| rule.name).collect();
            let wanted: Vec<String> = (1..=bits)
                .rev()
                .map(|bits| format!("range-{bits}"))
                .collect();
            assert_eq!(names, wanted);
        }
    }

    #[test]
    fn what_counts_rejects_and_stands_last() {
        for family in Family::ALL {
            let counts = |rule: &Rule| {
                let mut all = rule.expressions.iter();
                all.any(|one| matches!(one, Expression::Counter { .. }))
            };
            let rules = input(family);
            assert!(rules.is_sorted_by_key(counts));
            let counting = rules.iter().filter(|rule| counts(rule));
            let names: Vec<&str> = counting.map(|rule| rule.name.as_str()).collect();
            assert_eq!(names, ["guarded-tcp", "guarded", "locked-tcp", "locked"]);
        }
    }
}
