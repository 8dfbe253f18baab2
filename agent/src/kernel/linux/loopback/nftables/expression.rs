//! The expressions that a rule is made of. Pure.

use super::{Family, NFTA_DATA_VALUE};
use crate::kernel::linux::netlink::{Attr, Attrs, Request};

const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;

const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;

const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFT_CMP_EQ: u32 = 0;

const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;

const NFTA_LOOKUP_SET: u16 = 1;
const NFTA_LOOKUP_SREG: u16 = 2;
const NFTA_LOOKUP_SET_ID: u16 = 4;
const NFTA_LOOKUP_FLAGS: u16 = 5;

const NFTA_COUNTER_BYTES: u16 = 1;
const NFTA_COUNTER_PACKETS: u16 = 2;

const NFTA_MASQ_FLAGS: u16 = 1;

const NFT_META_NFPROTO: u32 = 15;
const NFT_META_L4PROTO: u32 = 16;

const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;

/// The first register of 16 bytes, which is the first four of four bytes.
const NFT_REG_1: u32 = 1;
const NFT_REG_2: u32 = 2;
/// The first register of four bytes.
const NFT_REG32_00: u32 = 8;

/// A source port chosen at random, so that two nodes or two rules do not try the same ones in order.
const NF_NAT_RANGE_PROTO_RANDOM_FULLY: u32 = 1 << 4;

/// One expression of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Loads what the kernel knows of the packet (`NFT_META_*`).
    Meta {
        /// What.
        key: u32,
        /// Where to.
        register: u32,
    },
    /// Goes on when a register holds these bytes.
    Equal {
        /// The register.
        register: u32,
        /// The bytes.
        to: Vec<u8>,
    },
    /// Loads bytes of the packet.
    Payload {
        /// Which header the offset counts from (`NFT_PAYLOAD_*`).
        base: u32,
        /// Bytes before them.
        offset: u32,
        /// How many.
        length: u32,
        /// Where to.
        register: u32,
    },
    /// Goes on when a set has the key in the registers.
    Lookup {
        /// The set's name.
        set: String,
        /// The id of a set made in the same batch; the kernel never shows it.
        set_id: Option<u32>,
        /// Where the key begins.
        register: u32,
    },
    /// Counts.
    Counter {
        /// Packets so far: in a nat chain the first of each connection.
        packets: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// Masquerades (`NF_NAT_RANGE_*`).
    Masquerade {
        /// How the source port is chosen.
        flags: u32,
    },
    /// Anything else, or one of these used otherwise.
    Other {
        /// Its name.
        name: String,
        /// The attributes inside, as they came.
        data: Vec<u8>,
    },
}

impl Expression {
    /// Writes the attributes inside `NFTA_LIST_ELEM`.
    pub(super) fn write(&self, out: &mut Request) {
        out.string(NFTA_EXPR_NAME, self.name());
        match self {
            Self::Other { data, .. } => {
                out.nest(NFTA_EXPR_DATA, |out| {
                    out.raw(data);
                });
            }
            known => {
                out.nest(NFTA_EXPR_DATA, |out| known.write_data(out));
            }
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Meta { .. } => "meta",
            Self::Equal { .. } => "cmp",
            Self::Payload { .. } => "payload",
            Self::Lookup { .. } => "lookup",
            Self::Counter { .. } => "counter",
            Self::Masquerade { .. } => "masq",
            Self::Other { name, .. } => name,
        }
    }

    fn write_data(&self, out: &mut Request) {
        match self {
            Self::Meta { key, register } => {
                out.be32(NFTA_META_KEY, *key)
                    .be32(NFTA_META_DREG, *register);
            }
            Self::Equal { register, to } => {
                out.be32(NFTA_CMP_SREG, *register)
                    .be32(NFTA_CMP_OP, NFT_CMP_EQ)
                    .nest(NFTA_CMP_DATA, |out| {
                        out.bytes(NFTA_DATA_VALUE, to);
                    });
            }
            Self::Payload {
                base,
                offset,
                length,
                register,
            } => {
                out.be32(NFTA_PAYLOAD_DREG, *register)
                    .be32(NFTA_PAYLOAD_BASE, *base)
                    .be32(NFTA_PAYLOAD_OFFSET, *offset)
                    .be32(NFTA_PAYLOAD_LEN, *length);
            }
            Self::Lookup {
                set,
                set_id,
                register,
            } => {
                out.be32(NFTA_LOOKUP_SREG, *register)
                    .string(NFTA_LOOKUP_SET, set);
                if let Some(id) = set_id {
                    out.be32(NFTA_LOOKUP_SET_ID, *id);
                }
            }
            Self::Counter {
                packets: 0,
                bytes: 0,
            } => {}
            Self::Counter { packets, bytes } => {
                out.bytes(NFTA_COUNTER_BYTES, &bytes.to_be_bytes())
                    .bytes(NFTA_COUNTER_PACKETS, &packets.to_be_bytes());
            }
            Self::Masquerade { flags } => {
                out.be32(NFTA_MASQ_FLAGS, *flags);
            }
            Self::Other { .. } => {}
        }
    }

    /// Reads the attributes inside `NFTA_LIST_ELEM`; `None` when there is no name.
    pub fn decode(attrs: Attrs<'_>) -> Option<Self> {
        let name = attrs.get(NFTA_EXPR_NAME)?.str()?;
        let data = attrs.get(NFTA_EXPR_DATA);
        let payload = data.map_or(&[][..], |data| data.payload);
        let known = match name {
            "meta" => meta(payload),
            "cmp" => equal(payload),
            "payload" => bytes(payload),
            "lookup" => lookup(payload),
            "counter" => Some(counter(payload)),
            "masq" => masquerade(payload),
            _ => None,
        };
        Some(known.unwrap_or_else(|| Self::Other {
            name: name.to_owned(),
            data: payload.to_vec(),
        }))
    }
}

fn number(payload: &[u8], kind: u16) -> Option<u32> {
    Attrs::new(payload).get(kind)?.be32()
}

/// Says whether all attributes are of these types: another one would change what the expression does.
fn only(payload: &[u8], kinds: &[u16]) -> bool {
    Attrs::new(payload).all(|attr| kinds.contains(&attr.kind))
}

fn meta(payload: &[u8]) -> Option<Expression> {
    only(payload, &[NFTA_META_KEY, NFTA_META_DREG]).then_some(())?;
    Some(Expression::Meta {
        key: number(payload, NFTA_META_KEY)?,
        register: number(payload, NFTA_META_DREG)?,
    })
}

fn equal(payload: &[u8]) -> Option<Expression> {
    (number(payload, NFTA_CMP_OP)? == NFT_CMP_EQ).then_some(())?;
    let data = Attrs::new(payload).get(NFTA_CMP_DATA)?;
    Some(Expression::Equal {
        register: number(payload, NFTA_CMP_SREG)?,
        to: data.attrs().get(NFTA_DATA_VALUE)?.payload.to_vec(),
    })
}

fn bytes(payload: &[u8]) -> Option<Expression> {
    let kinds = [
        NFTA_PAYLOAD_DREG,
        NFTA_PAYLOAD_BASE,
        NFTA_PAYLOAD_OFFSET,
        NFTA_PAYLOAD_LEN,
    ];
    only(payload, &kinds).then_some(())?;
    Some(Expression::Payload {
        base: number(payload, NFTA_PAYLOAD_BASE)?,
        offset: number(payload, NFTA_PAYLOAD_OFFSET)?,
        length: number(payload, NFTA_PAYLOAD_LEN)?,
        register: number(payload, NFTA_PAYLOAD_DREG)?,
    })
}

fn lookup(payload: &[u8]) -> Option<Expression> {
    let kinds = [
        NFTA_LOOKUP_SET,
        NFTA_LOOKUP_SREG,
        NFTA_LOOKUP_SET_ID,
        NFTA_LOOKUP_FLAGS,
    ];
    let inverted = number(payload, NFTA_LOOKUP_FLAGS).is_some_and(|flags| flags != 0);
    (only(payload, &kinds) && !inverted).then_some(())?;
    Some(Expression::Lookup {
        set: Attrs::new(payload).get(NFTA_LOOKUP_SET)?.str()?.to_owned(),
        set_id: number(payload, NFTA_LOOKUP_SET_ID),
        register: number(payload, NFTA_LOOKUP_SREG)?,
    })
}

fn counter(payload: &[u8]) -> Expression {
    let number = |kind| {
        let attr: Option<Attr<'_>> = Attrs::new(payload).get(kind);
        attr.and_then(|attr| attr.be64()).unwrap_or_default()
    };
    Expression::Counter {
        packets: number(NFTA_COUNTER_PACKETS),
        bytes: number(NFTA_COUNTER_BYTES),
    }
}

fn masquerade(payload: &[u8]) -> Option<Expression> {
    only(payload, &[NFTA_MASQ_FLAGS]).then_some(())?;
    Some(Expression::Masquerade {
        flags: number(payload, NFTA_MASQ_FLAGS).unwrap_or_default(),
    })
}

/// Gives the rule that counts and masquerades, with source ports at random, the packets whose destination address,
/// protocol, destination port and source address are an element of `set`.
pub fn masquerade_of_set(family: Family, set: &str) -> Vec<Expression> {
    // the offsets of `struct iphdr` and `struct ipv6hdr`; a key of IPv6 takes the registers after its 16 bytes
    let (length, destination, source, l4proto) = match family {
        Family::Inet => (4, 16, 12, NFT_REG32_00 + 1),
        Family::Inet6 => (16, 24, 8, NFT_REG_2),
    };
    let words = length / 4;
    let address = |offset, register| Expression::Payload {
        base: NFT_PAYLOAD_NETWORK_HEADER,
        offset,
        length,
        register,
    };
    vec![
        Expression::Meta {
            key: NFT_META_NFPROTO,
            register: NFT_REG_1,
        },
        Expression::Equal {
            register: NFT_REG_1,
            to: vec![family.number()],
        },
        address(destination, NFT_REG_1),
        Expression::Meta {
            key: NFT_META_L4PROTO,
            register: l4proto,
        },
        Expression::Payload {
            base: NFT_PAYLOAD_TRANSPORT_HEADER,
            offset: 2,
            length: 2,
            register: NFT_REG32_00 + words + 1,
        },
        address(source, NFT_REG32_00 + words + 2),
        Expression::Lookup {
            set: set.to_owned(),
            set_id: None,
            register: NFT_REG_1,
        },
        Expression::Counter {
            packets: 0,
            bytes: 0,
        },
        Expression::Masquerade {
            flags: NF_NAT_RANGE_PROTO_RANDOM_FULLY,
        },
    ]
}
