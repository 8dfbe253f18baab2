//! What is asked of nf_tables, as messages. Pure.

use super::{
    Element, Expression, Family, NFNL_SUBSYS_NFTABLES, NFPROTO_INET, NFPROTO_UNSPEC,
    NFT_MSG_DELCHAIN, NFT_MSG_DELRULE, NFT_MSG_DELSET, NFT_MSG_DELSETELEM, NFT_MSG_DELTABLE,
    NFT_MSG_GETCHAIN, NFT_MSG_GETRULE, NFT_MSG_GETSET, NFT_MSG_GETSETELEM, NFT_MSG_GETTABLE,
    NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWSET, NFT_MSG_NEWSETELEM, NFT_MSG_NEWTABLE,
    NFTA_CHAIN_HOOK, NFTA_CHAIN_NAME, NFTA_CHAIN_TABLE, NFTA_CHAIN_TYPE, NFTA_DATA_VALUE,
    NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY, NFTA_LIST_ELEM, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS,
    NFTA_RULE_HANDLE, NFTA_RULE_TABLE, NFTA_RULE_USERDATA, NFTA_SET_ELEM_KEY,
    NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET, NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_FLAGS,
    NFTA_SET_ID, NFTA_SET_KEY_LEN, NFTA_SET_KEY_TYPE, NFTA_SET_NAME, NFTA_SET_TABLE,
    NFTA_SET_USERDATA, NFTA_TABLE_FLAGS, NFTA_TABLE_NAME, NFTA_TABLE_USERDATA, encode_key,
};
use crate::kernel::linux::netlink::{
    Request,
    wire::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL},
};

/// Most elements of one message. One of IPv6 takes 52 bytes and a nest at most 65,535, so 1,260 fit; the rest is
/// margin, and room for the refusal, which comes with the whole message, in one receive.
pub const ELEMENTS_PER_MESSAGE: usize = 1000;

const NF_INET_LOCAL_IN: u32 = 1;
const NF_INET_POST_ROUTING: u32 = 4;
/// `NF_IP_PRI_FILTER`, which `nft` calls `filter`.
const NF_IP_PRI_FILTER: u32 = 0;
/// `NF_IP_PRI_NAT_SRC`, which `nft` calls `srcnat`.
const NF_IP_PRI_NAT_SRC: u32 = 100;

/// `NFTNL_UDATA_RULE_COMMENT` and `NFTNL_UDATA_TABLE_COMMENT` (`libnftnl/udata.h`).
const COMMENT_OF_RULE: u8 = 0;
/// `NFTNL_UDATA_SET_COMMENT`
const COMMENT_OF_SET: u8 = 7;

/// What `nft` numbers the types of a set's fields (`enum datatypes` in its `datatype.h`); the kernel only keeps it.
const TYPE_IPADDR: u32 = 7;
const TYPE_IP6ADDR: u32 = 8;
const TYPE_INET_PROTOCOL: u32 = 12;
const TYPE_INET_SERVICE: u32 = 13;
/// Bits that each field's type takes in the type of a key of several (`TYPE_BITS` there).
const TYPE_BITS: u32 = 6;

/// Where something is: a table, and the chain or set in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The table, of family `inet`.
    pub table: &'a str,
    /// The chain or the set.
    pub name: &'a str,
}

/// A set to make, of address, protocol, port and address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewSet<'a> {
    /// Where.
    pub place: Place<'a>,
    /// The family of its addresses.
    pub family: Family,
    /// Another one for each set that is made in a batch.
    pub id: u32,
    /// What the kernel keeps for us, see [`comment_of_set`].
    pub userdata: &'a [u8],
}

/// A set to make, of keys of any fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySet<'a> {
    /// Where.
    pub place: Place<'a>,
    /// The fields in their order.
    pub fields: &'a [Field],
    /// Another one for each set that is made in a batch.
    pub id: u32,
    /// What the kernel keeps for us, see [`comment_of_set`].
    pub userdata: &'a [u8],
}

/// A field of a key: what `nft` takes it for, and how many bytes it has, a multiple of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// An address of this family.
    Address(Family),
    /// A protocol's number.
    Protocol,
    /// A port, or another number of two bytes.
    Port,
}

impl Field {
    fn shape(self) -> (u32, u32) {
        match self {
            Self::Address(Family::Inet) => (TYPE_IPADDR, 4),
            Self::Address(Family::Inet6) => (TYPE_IP6ADDR, 16),
            Self::Protocol => (TYPE_INET_PROTOCOL, 4),
            Self::Port => (TYPE_INET_SERVICE, 4),
        }
    }

    /// Gives how many bytes a key of these fields has.
    pub fn length(fields: &[Self]) -> u32 {
        fields.iter().map(|field| field.shape().1).sum()
    }
}

/// One thing to ask of nf_tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Makes a table with this user data; refused when it is there.
    NewTable(&'a str, &'a [u8]),
    /// Shows a table.
    GetTable(&'a str),
    /// Deletes a table with all that is in it.
    DelTable(&'a str),
    /// Makes a nat chain behind routing, at the priority of source address translation; one that is there stays.
    NewChain(Place<'a>),
    /// Makes a filter chain where packets come in; one that is there stays.
    NewInputChain(Place<'a>),
    /// Makes a chain that rules jump to; one that is there stays.
    NewPlainChain(Place<'a>),
    /// Makes a set of any keys; refused when it is there.
    NewKeySet(KeySet<'a>),
    /// Adds keys like [`Self::Add`] does elements.
    AddKeys(Place<'a>, &'a [Vec<u8>]),
    /// Deletes keys like [`Self::Del`] does elements.
    DelKeys(Place<'a>, &'a [Vec<u8>]),
    /// Shows a key; refused with `ENOENT` when it is not there.
    GetKey(Place<'a>, &'a [u8]),
    /// Shows a chain.
    GetChain(Place<'a>),
    /// Shows the chains of every table, of every family; only as a dump.
    GetChains,
    /// Deletes an empty chain.
    DelChain(Place<'a>),
    /// Makes a set; refused when it is there.
    NewSet(NewSet<'a>),
    /// Shows what a set is.
    GetSet(Place<'a>),
    /// Deletes a set; refused with `EBUSY` while a rule looks it up.
    DelSet(Place<'a>),
    /// Puts a rule behind those of a chain, with this user data (see [`comment_of_rule`]).
    NewRule(Place<'a>, &'a [Expression], &'a [u8]),
    /// Shows the rules of a chain; only as a dump.
    GetRules(Place<'a>),
    /// Deletes a rule by its handle.
    DelRule(Place<'a>, u64),
    /// Adds elements to a set, at most [`ELEMENTS_PER_MESSAGE`]; those that are there stay.
    Add(Place<'a>, &'a [Element]),
    /// Deletes elements from a set, at most [`ELEMENTS_PER_MESSAGE`]; refused with `ENOENT` when one is not there.
    Del(Place<'a>, &'a [Element]),
    /// Shows an element; refused with `ENOENT` when it is not there.
    Get(Place<'a>, &'a Element),
    /// Shows the elements of a set; only as a dump.
    List(Place<'a>),
}

impl<'a> Command<'a> {
    /// Gives the set whose elements it changes.
    pub fn changes(&self) -> Option<Place<'a>> {
        match self {
            Self::Add(place, _)
            | Self::Del(place, _)
            | Self::AddKeys(place, _)
            | Self::DelKeys(place, _) => Some(*place),
            _ => None,
        }
    }

    /// Writes the command.
    pub fn encode(&self) -> Request {
        let (number, flags) = self.number();
        let family = match self {
            Self::GetChains => NFPROTO_UNSPEC,
            _ => NFPROTO_INET,
        };
        let mut out = Request::netfilter(NFNL_SUBSYS_NFTABLES, number, family, flags);
        match self {
            Self::NewTable(table, userdata) => {
                out.string(NFTA_TABLE_NAME, table)
                    .be32(NFTA_TABLE_FLAGS, 0)
                    .bytes(NFTA_TABLE_USERDATA, userdata);
            }
            Self::GetTable(table) | Self::DelTable(table) => {
                out.string(NFTA_TABLE_NAME, table);
            }
            Self::NewChain(place) => {
                chain(&mut out, place).string(NFTA_CHAIN_TYPE, "nat").nest(
                    NFTA_CHAIN_HOOK,
                    |out| {
                        out.be32(NFTA_HOOK_HOOKNUM, NF_INET_POST_ROUTING)
                            .be32(NFTA_HOOK_PRIORITY, NF_IP_PRI_NAT_SRC);
                    },
                );
            }
            Self::NewInputChain(place) => {
                chain(&mut out, place)
                    .string(NFTA_CHAIN_TYPE, "filter")
                    .nest(NFTA_CHAIN_HOOK, |out| {
                        out.be32(NFTA_HOOK_HOOKNUM, NF_INET_LOCAL_IN)
                            .be32(NFTA_HOOK_PRIORITY, NF_IP_PRI_FILTER);
                    });
            }
            Self::NewKeySet(new) => new.write(&mut out),
            Self::AddKeys(place, some) | Self::DelKeys(place, some) => {
                keys(&mut out, place, some.iter().map(Vec::as_slice));
            }
            Self::GetKey(place, one) => keys(&mut out, place, [*one].into_iter()),
            Self::NewPlainChain(place) | Self::GetChain(place) | Self::DelChain(place) => {
                chain(&mut out, place);
            }
            Self::GetChains => {}
            Self::NewSet(new) => new.write(&mut out),
            Self::GetSet(place) | Self::DelSet(place) => {
                out.string(NFTA_SET_TABLE, place.table)
                    .string(NFTA_SET_NAME, place.name);
            }
            Self::NewRule(place, expressions, userdata) => {
                rule(&mut out, place)
                    .nest(NFTA_RULE_EXPRESSIONS, |out| {
                        for expression in *expressions {
                            out.nest(NFTA_LIST_ELEM, |out| expression.write(out));
                        }
                    })
                    .bytes(NFTA_RULE_USERDATA, userdata);
            }
            Self::GetRules(place) => {
                rule(&mut out, place);
            }
            Self::DelRule(place, handle) => {
                rule(&mut out, place).bytes(NFTA_RULE_HANDLE, &handle.to_be_bytes());
            }
            Self::Add(place, some) | Self::Del(place, some) => elements(&mut out, place, some),
            Self::Get(place, one) => elements(&mut out, place, std::slice::from_ref(one)),
            Self::List(place) => elements(&mut out, place, &[]),
        }
        out
    }

    fn number(&self) -> (u8, u16) {
        match self {
            Self::NewTable(..) => (NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL),
            Self::GetTable(_) => (NFT_MSG_GETTABLE, 0),
            Self::DelTable(_) => (NFT_MSG_DELTABLE, 0),
            Self::NewChain(_) | Self::NewInputChain(_) | Self::NewPlainChain(_) => {
                (NFT_MSG_NEWCHAIN, NLM_F_CREATE)
            }
            Self::NewKeySet(_) => (NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL),
            Self::AddKeys(..) => (NFT_MSG_NEWSETELEM, NLM_F_CREATE),
            Self::DelKeys(..) => (NFT_MSG_DELSETELEM, 0),
            Self::GetKey(..) => (NFT_MSG_GETSETELEM, 0),
            Self::GetChain(_) | Self::GetChains => (NFT_MSG_GETCHAIN, 0),
            Self::DelChain(_) => (NFT_MSG_DELCHAIN, 0),
            Self::NewSet(_) => (NFT_MSG_NEWSET, NLM_F_CREATE | NLM_F_EXCL),
            Self::GetSet(_) => (NFT_MSG_GETSET, 0),
            Self::DelSet(_) => (NFT_MSG_DELSET, 0),
            Self::NewRule(..) => (NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND),
            Self::GetRules(_) => (NFT_MSG_GETRULE, 0),
            Self::DelRule(..) => (NFT_MSG_DELRULE, 0),
            Self::Add(..) => (NFT_MSG_NEWSETELEM, NLM_F_CREATE),
            Self::Del(..) => (NFT_MSG_DELSETELEM, 0),
            Self::Get(..) | Self::List(_) => (NFT_MSG_GETSETELEM, 0),
        }
    }
}

impl KeySet<'_> {
    fn write(&self, out: &mut Request) {
        let Self {
            place,
            fields,
            id,
            userdata,
        } = self;
        let types = fields.iter().map(|field| field.shape().0);
        let key_type = types.fold(0, |all, one| all << TYPE_BITS | one);
        out.string(NFTA_SET_TABLE, place.table)
            .string(NFTA_SET_NAME, place.name)
            .be32(NFTA_SET_FLAGS, 0)
            .be32(NFTA_SET_KEY_TYPE, key_type)
            .be32(NFTA_SET_KEY_LEN, Field::length(fields))
            .be32(NFTA_SET_ID, *id)
            .bytes(NFTA_SET_USERDATA, userdata);
    }
}

impl NewSet<'_> {
    fn write(&self, out: &mut Request) {
        let Self {
            place,
            family,
            id,
            userdata,
        } = self;
        let (address, length) = match family {
            Family::Inet => (TYPE_IPADDR, 16),
            Family::Inet6 => (TYPE_IP6ADDR, 40),
        };
        let fields = [address, TYPE_INET_PROTOCOL, TYPE_INET_SERVICE, address];
        let key_type = fields.iter().fold(0, |all, one| all << TYPE_BITS | one);
        out.string(NFTA_SET_TABLE, place.table)
            .string(NFTA_SET_NAME, place.name)
            .be32(NFTA_SET_FLAGS, 0)
            .be32(NFTA_SET_KEY_TYPE, key_type)
            .be32(NFTA_SET_KEY_LEN, length)
            .be32(NFTA_SET_ID, *id)
            .bytes(NFTA_SET_USERDATA, userdata);
    }
}

/// Gives the user data that `nft` shows as the comment of a rule or a table; at most 253 bytes of it.
pub fn comment_of_rule(text: &str) -> Vec<u8> {
    comment(COMMENT_OF_RULE, text)
}

/// Gives the user data that `nft` shows as the comment of a set; at most 253 bytes of it.
pub fn comment_of_set(text: &str) -> Vec<u8> {
    comment(COMMENT_OF_SET, text)
}

/// Writes a type, a length, and a string that ends in zero (`struct nftnl_udata`).
fn comment(kind: u8, text: &str) -> Vec<u8> {
    let text: Vec<u8> = text.bytes().take(253).chain([0]).collect();
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    [&[kind, length], text.as_slice()].concat()
}

fn chain<'o>(out: &'o mut Request, place: &Place<'_>) -> &'o mut Request {
    out.string(NFTA_CHAIN_TABLE, place.table)
        .string(NFTA_CHAIN_NAME, place.name)
}

fn rule<'o>(out: &'o mut Request, place: &Place<'_>) -> &'o mut Request {
    out.string(NFTA_RULE_TABLE, place.table)
        .string(NFTA_RULE_CHAIN, place.name)
}

fn elements(out: &mut Request, place: &Place<'_>, some: &[Element]) {
    if some.is_empty() {
        out.string(NFTA_SET_ELEM_LIST_TABLE, place.table)
            .string(NFTA_SET_ELEM_LIST_SET, place.name);
        return;
    }
    keys(out, place, some.iter().map(encode_key));
}

fn keys(out: &mut Request, place: &Place<'_>, some: impl Iterator<Item = impl AsRef<[u8]>>) {
    out.string(NFTA_SET_ELEM_LIST_TABLE, place.table)
        .string(NFTA_SET_ELEM_LIST_SET, place.name)
        .nest(NFTA_SET_ELEM_LIST_ELEMENTS, |out| {
            for key in some {
                out.nest(NFTA_LIST_ELEM, |out| {
                    out.nest(NFTA_SET_ELEM_KEY, |out| {
                        out.bytes(NFTA_DATA_VALUE, key.as_ref());
                    });
                });
            }
        });
}
