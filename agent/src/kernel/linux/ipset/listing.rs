//! What the kernel says of its sets. Pure.

use super::{
    DecodeError, Element, Family, IPSET_ATTR_ADT, IPSET_ATTR_BUCKETSIZE, IPSET_ATTR_DATA,
    IPSET_ATTR_ELEMENTS, IPSET_ATTR_FAMILY, IPSET_ATTR_HASHSIZE, IPSET_ATTR_INDEX,
    IPSET_ATTR_INITVAL, IPSET_ATTR_MAXELEM, IPSET_ATTR_MEMSIZE, IPSET_ATTR_REFERENCES,
    IPSET_ATTR_REVISION, IPSET_ATTR_REVISION_MIN, IPSET_ATTR_SETNAME, IPSET_ATTR_TYPENAME, Other,
};
use crate::kernel::linux::netlink::Attrs;

/// The revisions of a type that the kernel can create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revisions {
    /// The oldest.
    pub min: u8,
    /// The newest.
    pub max: u8,
}

impl Revisions {
    /// Reads the answer to `IPSET_CMD_TYPE` (`ip_set_type`).
    pub fn decode(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        let number =
            |name, kind| DecodeError::need(name, attrs.get(kind).and_then(|attr| attr.u8()));
        Ok(Self {
            min: number("REVISION_MIN", IPSET_ATTR_REVISION_MIN)?,
            max: number("REVISION", IPSET_ATTR_REVISION)?,
        })
    }
}

/// What a set is, as `ip_set_dump_do` and the type's `head` show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its type.
    pub type_name: String,
    /// The revision of the type.
    pub revision: u8,
    /// The family of its addresses; `None` for a set of sets, which has none.
    pub family: Option<Family>,
    /// By what rules refer to it; kernels before 5.3 say it only in answer to `IPSET_CMD_GET_BYNAME`.
    pub index: Option<u16>,
    /// Buckets now.
    pub hash_size: Option<u32>,
    /// Most elements it takes.
    pub max_elements: Option<u32>,
    /// Most elements of a bucket.
    pub bucket_size: Option<u8>,
    /// The seed of the hash.
    pub seed: Option<u32>,
    /// Elements now; the count may lag behind concurrent changes.
    pub elements: Option<u32>,
    /// Rules and sets that refer to it.
    pub references: u32,
    /// Bytes it takes.
    pub memory: u32,
    /// What its type says more.
    pub other: Vec<Other>,
}

/// One message of a dump: the start of a set or more of its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The set.
    pub name: String,
    /// What it is, in its first message.
    pub header: Option<Header>,
    /// Its elements in this message.
    pub elements: Vec<Element>,
}

impl Listing {
    /// Reads the attributes behind the `nfgenmsg`.
    ///
    /// Fails for a set that holds something else than an address, a port and an address, unless it was
    /// listed without elements.
    pub fn decode(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        let name = DecodeError::need("SETNAME", attrs.get(IPSET_ATTR_SETNAME))?;
        let name = DecodeError::read("SETNAME", name.str())?.to_owned();
        let header = match attrs.get(IPSET_ATTR_TYPENAME) {
            Some(_) => Some(Header::decode(attrs)?),
            None => None,
        };
        let mut elements = Vec::new();
        for list in attrs.filter(|attr| attr.kind == IPSET_ATTR_ADT) {
            for data in list.attrs().filter(|attr| attr.kind == IPSET_ATTR_DATA) {
                elements.push(Element::decode(data.attrs())?.0);
            }
        }
        Ok(Self {
            name,
            header,
            elements,
        })
    }
}

impl Header {
    /// Reads the attributes behind the `nfgenmsg`; the answer to `IPSET_CMD_HEADER` has no details.
    pub fn decode(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        let type_name = DecodeError::need("TYPENAME", attrs.get(IPSET_ATTR_TYPENAME))?;
        let byte = |name, kind| DecodeError::need(name, attrs.get(kind).and_then(|attr| attr.u8()));
        let mut header = Self {
            type_name: DecodeError::read("TYPENAME", type_name.str())?.to_owned(),
            revision: byte("REVISION", IPSET_ATTR_REVISION)?,
            family: Family::from_number(byte("FAMILY", IPSET_ATTR_FAMILY)?),
            index: attrs.get(IPSET_ATTR_INDEX).and_then(|attr| attr.be16()),
            hash_size: None,
            max_elements: None,
            bucket_size: None,
            seed: None,
            elements: None,
            references: 0,
            memory: 0,
            other: Vec::new(),
        };
        let details = attrs.get(IPSET_ATTR_DATA).map(|data| data.attrs());
        for attr in details.into_iter().flatten() {
            let number = |name| DecodeError::read(name, attr.be32());
            match attr.kind {
                IPSET_ATTR_HASHSIZE => header.hash_size = Some(number("HASHSIZE")?),
                IPSET_ATTR_MAXELEM => header.max_elements = Some(number("MAXELEM")?),
                IPSET_ATTR_INITVAL => header.seed = Some(number("INITVAL")?),
                IPSET_ATTR_ELEMENTS => header.elements = Some(number("ELEMENTS")?),
                IPSET_ATTR_REFERENCES => header.references = number("REFERENCES")?,
                IPSET_ATTR_MEMSIZE => header.memory = number("MEMSIZE")?,
                IPSET_ATTR_BUCKETSIZE => {
                    header.bucket_size = Some(DecodeError::read("BUCKETSIZE", attr.u8())?);
                }
                _ => header.other.push(Other::read(&attr)),
            }
        }
        Ok(header)
    }
}
