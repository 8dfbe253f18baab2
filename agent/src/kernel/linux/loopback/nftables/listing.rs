//! What the kernel says of its tables, chains, rules and sets. Pure.

use super::{
    DecodeError, Expression, NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME, NFTA_CHAIN_POLICY, NFTA_CHAIN_TABLE,
    NFTA_CHAIN_USE, NFTA_DATA_VALUE, NFTA_HOOK_HOOKNUM, NFTA_LIST_ELEM, NFTA_RULE_CHAIN,
    NFTA_RULE_EXPRESSIONS, NFTA_RULE_HANDLE, NFTA_RULE_TABLE, NFTA_RULE_USERDATA,
    NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_FLAGS, NFTA_SET_KEY_LEN,
    NFTA_SET_KEY_TYPE, NFTA_SET_NAME, NFTA_SET_USERDATA, NFTA_TABLE_NAME, NFTA_TABLE_USE,
    NFTA_TABLE_USERDATA,
};
use crate::kernel::linux::netlink::{Attr, Attrs};

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Chains, sets and other objects in it.
    pub uses: u32,
    /// What was kept with it; kernels before 5.10 keep nothing.
    pub userdata: Vec<u8>,
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Rules in it, and jumps to it.
    pub uses: u32,
}

/// A chain that hangs at a hook, of a table of any family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseChain {
    /// `NFPROTO_*`.
    pub family: u8,
    /// The table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Where it hangs.
    pub hook: Hook,
    /// Whether it drops what no rule accepts.
    pub drops: bool,
    /// Rules in it, and jumps to it.
    pub uses: u32,
}

/// Where a chain hangs (`enum nf_inet_hooks` in `include/uapi/linux/netfilter.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// On the way from one link to another.
    Forward,
    /// Elsewhere, by its number.
    Other(u32),
}

/// `NF_INET_FORWARD`
const NF_INET_FORWARD: u32 = 2;
/// `NF_DROP` (`include/uapi/linux/netfilter.h`)
const NF_DROP: u32 = 0;

/// A set, without its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// `NFT_SET_*`: intervals, time-outs, a map.
    pub flags: u32,
    /// What `nft` makes of its key.
    pub key_type: u32,
    /// Bytes of its key.
    pub key_length: u32,
    /// What was kept with it.
    pub userdata: Vec<u8>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// By what it is deleted.
    pub handle: u64,
    /// What it does.
    pub expressions: Vec<Expression>,
    /// What was kept with it.
    pub userdata: Vec<u8>,
}

impl Table {
    /// Reads the attributes behind the `nfgenmsg`.
    pub fn decode(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            name: string("NFTA_TABLE_NAME", attrs.get(NFTA_TABLE_NAME))?,
            uses: number("NFTA_TABLE_USE", attrs.get(NFTA_TABLE_USE))?,
            userdata: bytes(attrs.get(NFTA_TABLE_USERDATA)),
        })
    }
}

impl Chain {
    /// Reads the attributes behind the `nfgenmsg`.
    pub fn decode(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            name: string("NFTA_CHAIN_NAME", attrs.get(NFTA_CHAIN_NAME))?,
            uses: number("NFTA_CHAIN_USE", attrs.get(NFTA_CHAIN_USE))?,
        })
    }
}

impl BaseChain {
    /// Reads the first byte of the `nfgenmsg` and the attributes behind it; none: a chain that only rules lead to.
    pub fn decode(family: u8, attrs: Attrs<'_>) -> Result<Option<Self>, DecodeError> {
        let Some(hook) = attrs.get(NFTA_CHAIN_HOOK) else {
            return Ok(None);
        };
        let hook = number("NFTA_HOOK_HOOKNUM", hook.attrs().get(NFTA_HOOK_HOOKNUM))?;
        let policy = attrs.get(NFTA_CHAIN_POLICY).and_then(|attr| attr.be32());
        Ok(Some(Self {
            family,
            table: string("NFTA_CHAIN_TABLE", attrs.get(NFTA_CHAIN_TABLE))?,
            name: string("NFTA_CHAIN_NAME", attrs.get(NFTA_CHAIN_NAME))?,
            hook: match hook {
                NF_INET_FORWARD => Hook::Forward,
                other => Hook::Other(other),
            },
            drops: policy == Some(NF_DROP),
            uses: number("NFTA_CHAIN_USE", attrs.get(NFTA_CHAIN_USE))?,
        }))
    }
}

impl Set {
    /// Reads the attributes behind the `nfgenmsg`.
    pub fn decode(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        let flags = attrs.get(NFTA_SET_FLAGS).and_then(|attr| attr.be32());
        Ok(Self {
            name: string("NFTA_SET_NAME", attrs.get(NFTA_SET_NAME))?,
            flags: flags.unwrap_or_default(),
            key_type: number("NFTA_SET_KEY_TYPE", attrs.get(NFTA_SET_KEY_TYPE))?,
            key_length: number("NFTA_SET_KEY_LEN", attrs.get(NFTA_SET_KEY_LEN))?,
            userdata: bytes(attrs.get(NFTA_SET_USERDATA)),
        })
    }
}

impl Rule {
    /// Reads the attributes behind the `nfgenmsg`.
    pub fn decode(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        let handle = DecodeError::need("NFTA_RULE_HANDLE", attrs.get(NFTA_RULE_HANDLE))?;
        let list = attrs.get(NFTA_RULE_EXPRESSIONS);
        let items = list.iter().flat_map(Attr::attrs);
        let expressions = items
            .filter(|attr| attr.kind == NFTA_LIST_ELEM)
            .map(|attr| DecodeError::read("NFTA_EXPR_NAME", Expression::decode(attr.attrs())));
        Ok(Self {
            table: string("NFTA_RULE_TABLE", attrs.get(NFTA_RULE_TABLE))?,
            chain: string("NFTA_RULE_CHAIN", attrs.get(NFTA_RULE_CHAIN))?,
            handle: DecodeError::read("NFTA_RULE_HANDLE", handle.be64())?,
            expressions: expressions.collect::<Result<_, _>>()?,
            userdata: bytes(attrs.get(NFTA_RULE_USERDATA)),
        })
    }
}

/// Gives the keys of one message of a set's dump: the attributes behind the `nfgenmsg`.
pub fn keys(attrs: Attrs<'_>) -> Vec<Vec<u8>> {
    let list = attrs.get(NFTA_SET_ELEM_LIST_ELEMENTS);
    let items = list.iter().flat_map(Attr::attrs);
    let values = items
        .filter(|attr| attr.kind == NFTA_LIST_ELEM)
        .filter_map(|item| item.attrs().get(NFTA_SET_ELEM_KEY))
        .filter_map(|key| key.attrs().get(NFTA_DATA_VALUE));
    values.map(|value| value.payload.to_vec()).collect()
}

fn string(name: &'static str, attr: Option<Attr<'_>>) -> Result<String, DecodeError> {
    let attr = DecodeError::need(name, attr)?;
    Ok(DecodeError::read(name, attr.str())?.to_owned())
}

fn number(name: &'static str, attr: Option<Attr<'_>>) -> Result<u32, DecodeError> {
    DecodeError::read(name, DecodeError::need(name, attr)?.be32())
}

fn bytes(attr: Option<Attr<'_>>) -> Vec<u8> {
    attr.map_or_else(Vec::new, |attr| attr.payload.to_vec())
}
