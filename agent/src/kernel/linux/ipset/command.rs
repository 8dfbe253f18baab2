//! Every command of ipset as a message. Pure.

use super::{
    Element, Family, IPSET_ATTR_ADT, IPSET_ATTR_BUCKETSIZE, IPSET_ATTR_DATA, IPSET_ATTR_FAMILY,
    IPSET_ATTR_FLAGS, IPSET_ATTR_HASHSIZE, IPSET_ATTR_LINENO, IPSET_ATTR_MAXELEM,
    IPSET_ATTR_PROTOCOL, IPSET_ATTR_REVISION, IPSET_ATTR_SETNAME, IPSET_ATTR_SETNAME2,
    IPSET_ATTR_TYPENAME, IPSET_FLAG_LIST_HEADER,
};
use crate::kernel::linux::netlink::{
    Request,
    wire::{NLA_F_NET_BYTEORDER, NLM_F_CREATE, NLM_F_EXCL},
};

/// The type of set for an address, a port and an address.
pub const HASH_IP_PORT_IP: &str = "hash:ip,port,ip";

/// Most elements of one message. An IPv6 element takes 68 bytes and a nest at most 65,535, so 963 would fit; two
/// messages of so many IPv4 elements, of 52 bytes, fill one send of 64 KiB. Measured with IPv4: 500 or 1600 to a
/// message make no difference.
pub const ELEMENTS_PER_MESSAGE: usize = 600;

const IPSET_PROTOCOL: u8 = 7;
const NFNL_SUBSYS_IPSET: u8 = 6;
/// What `ipset` itself puts into every `nfgenmsg`; the kernel does not look at it.
const NFGEN_FAMILY: u8 = 2;

pub(super) const IPSET_CMD_PROTOCOL: u8 = 1;
pub(super) const IPSET_CMD_CREATE: u8 = 2;
pub(super) const IPSET_CMD_DESTROY: u8 = 3;
pub(super) const IPSET_CMD_FLUSH: u8 = 4;
pub(super) const IPSET_CMD_RENAME: u8 = 5;
pub(super) const IPSET_CMD_SWAP: u8 = 6;
pub(super) const IPSET_CMD_LIST: u8 = 7;
pub(super) const IPSET_CMD_ADD: u8 = 9;
pub(super) const IPSET_CMD_DEL: u8 = 10;
pub(super) const IPSET_CMD_TEST: u8 = 11;
pub(super) const IPSET_CMD_HEADER: u8 = 12;
pub(super) const IPSET_CMD_TYPE: u8 = 13;
pub(super) const IPSET_CMD_GET_BYNAME: u8 = 14;

/// A set to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    /// Its name, at most 31 bytes.
    pub name: String,
    /// Its type, [`HASH_IP_PORT_IP`] here.
    pub type_name: String,
    /// The revision of the type; tools older than it refuse to show the set.
    pub revision: u8,
    /// The family of its addresses.
    pub family: Family,
    /// Buckets to begin with, rounded up to a power of two; `None` is 1024. It grows by itself.
    pub hash_size: Option<u32>,
    /// Most elements; `None` is 65,536. It does not grow.
    ///
    /// Not exact: beyond 1024 buckets the kernel counts by regions of the table (`mtype_add` in
    /// `ip_set_hash_gen.h`), and a set for 5000 was seen to take 5001.
    pub max_elements: Option<u32>,
    /// Elements of a bucket, from revision 6 on; `None` is 12.
    pub bucket_size: Option<u8>,
}

/// One thing to ask of ipset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Shows the newest and oldest protocol version.
    Protocol,
    /// Shows the revisions of a type; may load its module.
    Type(&'a str, Family),
    /// Creates a set; refused with `EEXIST` when one by its name exists.
    Create(&'a Create),
    /// Destroys a set.
    Destroy(&'a str),
    /// Empties a set.
    Flush(&'a str),
    /// Renames a set.
    Rename(&'a str, &'a str),
    /// Swaps the contents of two sets of the same type at once; rules stay with the name.
    Swap(&'a str, &'a str),
    /// Adds elements, at most [`ELEMENTS_PER_MESSAGE`]; those that are there stay.
    Add(&'a str, &'a [Element]),
    /// Deletes elements, at most [`ELEMENTS_PER_MESSAGE`]; those that are not there are passed over.
    Del(&'a str, &'a [Element]),
    /// Tests for an element: refused with `IPSET_ERR_EXIST` when it is not in the set.
    Test(&'a str, &'a Element),
    /// Shows a set with its elements; only as a dump.
    List(&'a str),
    /// Shows what a set is, its size included; only as a dump.
    Details(&'a str),
    /// Shows what all sets are; only as a dump.
    Headers,
    /// Shows the type of a set.
    Header(&'a str),
    /// Shows the index by which a rule refers to a set.
    GetByName(&'a str),
}

impl Command<'_> {
    /// Writes the command.
    pub fn encode(&self) -> Request {
        let (number, flags) = self.number();
        let mut out = Request::netfilter(NFNL_SUBSYS_IPSET, number, NFGEN_FAMILY, flags);
        out.u8(IPSET_ATTR_PROTOCOL, IPSET_PROTOCOL);
        match self {
            Self::Protocol => {}
            Self::Type(name, family) => {
                out.string(IPSET_ATTR_TYPENAME, name)
                    .u8(IPSET_ATTR_FAMILY, family.number());
            }
            Self::Create(create) => create.write(&mut out),
            Self::Destroy(set)
            | Self::Flush(set)
            | Self::List(set)
            | Self::Header(set)
            | Self::GetByName(set) => {
                out.string(IPSET_ATTR_SETNAME, set);
            }
            Self::Rename(set, other) | Self::Swap(set, other) => {
                out.string(IPSET_ATTR_SETNAME, set)
                    .string(IPSET_ATTR_SETNAME2, other);
            }
            Self::Add(set, elements) | Self::Del(set, elements) => {
                // ip_set_ad refuses many elements without a line number, though it may be zero
                out.string(IPSET_ATTR_SETNAME, set)
                    .be32(IPSET_ATTR_LINENO | NLA_F_NET_BYTEORDER, 0)
                    .nest(IPSET_ATTR_ADT, |out| {
                        for element in *elements {
                            out.nest(IPSET_ATTR_DATA, |out| element.write(out));
                        }
                    });
            }
            Self::Test(set, element) => {
                out.string(IPSET_ATTR_SETNAME, set)
                    .nest(IPSET_ATTR_DATA, |out| element.write(out));
            }
            Self::Details(set) => {
                out.string(IPSET_ATTR_SETNAME, set).be32(
                    IPSET_ATTR_FLAGS | NLA_F_NET_BYTEORDER,
                    IPSET_FLAG_LIST_HEADER,
                );
            }
            Self::Headers => {
                out.be32(
                    IPSET_ATTR_FLAGS | NLA_F_NET_BYTEORDER,
                    IPSET_FLAG_LIST_HEADER,
                );
            }
        }
        out
    }

    fn number(&self) -> (u8, u16) {
        match self {
            Self::Protocol => (IPSET_CMD_PROTOCOL, 0),
            Self::Type(..) => (IPSET_CMD_TYPE, 0),
            Self::Create(_) => (IPSET_CMD_CREATE, NLM_F_CREATE | NLM_F_EXCL),
            Self::Destroy(_) => (IPSET_CMD_DESTROY, 0),
            Self::Flush(_) => (IPSET_CMD_FLUSH, 0),
            Self::Rename(..) => (IPSET_CMD_RENAME, 0),
            Self::Swap(..) => (IPSET_CMD_SWAP, 0),
            Self::Add(..) => (IPSET_CMD_ADD, 0),
            Self::Del(..) => (IPSET_CMD_DEL, 0),
            Self::Test(..) => (IPSET_CMD_TEST, 0),
            Self::List(_) | Self::Details(_) | Self::Headers => (IPSET_CMD_LIST, 0),
            Self::Header(_) => (IPSET_CMD_HEADER, 0),
            Self::GetByName(_) => (IPSET_CMD_GET_BYNAME, 0),
        }
    }
}

impl Create {
    fn write(&self, out: &mut Request) {
        let Self {
            name,
            type_name,
            revision,
            family,
            hash_size,
            max_elements,
            bucket_size,
        } = self;
        out.string(IPSET_ATTR_SETNAME, name)
            .string(IPSET_ATTR_TYPENAME, type_name)
            .u8(IPSET_ATTR_REVISION, *revision)
            .u8(IPSET_ATTR_FAMILY, family.number())
            .nest(IPSET_ATTR_DATA, |out| {
                if let Some(size) = hash_size {
                    out.be32(IPSET_ATTR_HASHSIZE | NLA_F_NET_BYTEORDER, *size);
                }
                if let Some(most) = max_elements {
                    out.be32(IPSET_ATTR_MAXELEM | NLA_F_NET_BYTEORDER, *most);
                }
                if let Some(size) = bucket_size {
                    out.u8(IPSET_ATTR_BUCKETSIZE, *size);
                }
            });
    }
}
