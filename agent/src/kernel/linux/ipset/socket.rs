//! The door to ipset: sends what the codec wrote, reads what came back.

use nix::errno::Errno;

use super::{
    Command, Create, DecodeError, ELEMENTS_PER_MESSAGE, Element, Family, HASH_IP_PORT_IP, Header,
    IPSET_ATTR_INDEX, IPSET_ATTR_PROTOCOL, IPSET_ATTR_PROTOCOL_MIN, Listing, NFGEN_HEADER_LEN,
    Revisions,
};
use crate::kernel::linux::netlink::{
    Attrs, Counts, Message, NetlinkSocket, NlError, Protocol, Request,
};

/// The newest revision of `hash:ip,port,ip` that weir creates: `ipset` 7.17 of Debian 12 shows it, and what
/// came later (bucket size, bit mask) is of no use here.
pub const MAX_REVISION: u8 = 5;

/// Messages of IPv4 elements that the 64 KiB of a send take.
const MESSAGES_PER_SEND: usize = 2;

const IPSET_ERR_EXIST: i32 = 4103;

/// A set and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// What it is.
    pub header: Header,
    /// What is in it, in no order.
    pub elements: Vec<Element>,
}

/// The sets of one network namespace.
pub struct Ipset {
    socket: NetlinkSocket,
}

impl Ipset {
    /// Opens a socket in this thread's network namespace.
    pub fn open() -> Result<Self, NlError> {
        Ok(Self {
            socket: NetlinkSocket::open(Protocol::Netfilter)?,
        })
    }

    /// Gives what was sent and received so far.
    pub fn counts(&self) -> Counts {
        self.socket.counts()
    }

    /// Asks for the oldest and the newest protocol version; weir speaks 7.
    pub async fn protocol(&mut self) -> Result<(u8, u8), NlError> {
        self.show(&Command::Protocol, |attrs| {
            let version =
                |name, kind| DecodeError::need(name, attrs.get(kind).and_then(|attr| attr.u8()));
            let newest = version("PROTOCOL", IPSET_ATTR_PROTOCOL)?;
            Ok((
                version("PROTOCOL_MIN", IPSET_ATTR_PROTOCOL_MIN).unwrap_or(newest),
                newest,
            ))
        })
        .await
    }

    /// Asks which revisions of a type the kernel has; `IPSET_ERR_FIND_TYPE` when none. May load its module.
    pub async fn revisions(
        &mut self,
        type_name: &str,
        family: Family,
    ) -> Result<Revisions, NlError> {
        self.show(&Command::Type(type_name, family), Revisions::decode)
            .await
    }

    /// Creates an empty `hash:ip,port,ip` set in the newest revision that tools of this generation show.
    pub async fn create(
        &mut self,
        name: &str,
        family: Family,
        max_elements: u32,
    ) -> Result<(), NlError> {
        self.create_of(name, family, None, max_elements).await
    }

    /// Creates an empty set like [`Self::create`] does, with so many buckets and room for so many elements.
    pub async fn create_sized(
        &mut self,
        name: &str,
        family: Family,
        [hash_size, max_elements]: [u32; 2],
    ) -> Result<(), NlError> {
        self.create_of(name, family, Some(hash_size), max_elements)
            .await
    }

    async fn create_of(
        &mut self,
        name: &str,
        family: Family,
        hash_size: Option<u32>,
        max_elements: u32,
    ) -> Result<(), NlError> {
        let revisions = self.revisions(HASH_IP_PORT_IP, family).await?;
        let create = Create {
            name: name.to_owned(),
            type_name: HASH_IP_PORT_IP.to_owned(),
            revision: MAX_REVISION.clamp(revisions.min, revisions.max),
            family,
            hash_size,
            max_elements: Some(max_elements),
            bucket_size: None,
        };
        self.run(&Command::Create(&create)).await
    }

    /// Carries out a command that shows nothing.
    pub async fn run(&mut self, command: &Command<'_>) -> Result<(), NlError> {
        self.socket.request(&command.encode(), |_| {}).await
    }

    /// Adds elements and gives the verdict on each. What is there already is well.
    pub async fn add(&mut self, set: &str, elements: &[Element]) -> Vec<Result<(), NlError>> {
        self.many(elements, |some| Command::Add(set, some).encode())
            .await
    }

    /// Deletes elements and gives the verdict on each. What is not there is well.
    pub async fn del(&mut self, set: &str, elements: &[Element]) -> Vec<Result<(), NlError>> {
        self.many(elements, |some| Command::Del(set, some).encode())
            .await
    }

    /// Says whether an element is in a set.
    pub async fn test(&mut self, set: &str, element: &Element) -> Result<bool, NlError> {
        match self.run(&Command::Test(set, element)).await {
            Ok(()) => Ok(true),
            Err(NlError::Errno(IPSET_ERR_EXIST)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads a set; `None` when it does not exist.
    pub async fn list(&mut self, set: &str) -> Result<Option<Set>, NlError> {
        let (mut header, mut elements, mut fault) = (None, Vec::new(), None);
        let take = |message: Message<'_>| match Listing::decode(message.attrs(NFGEN_HEADER_LEN)) {
            Ok(listing) => {
                header = header.take().or(listing.header);
                elements.extend(listing.elements);
            }
            Err(error) => fault = Some(error),
        };
        match self.socket.dump(&Command::List(set).encode(), take).await {
            Ok(()) => {}
            Err(NlError::Errno(errno)) if errno == Errno::ENOENT as i32 => return Ok(None),
            Err(error) => return Err(error),
        }
        match fault {
            Some(error) => Err(error.into()),
            None => Ok(Some(Set {
                header: DecodeError::need("TYPENAME", header)?,
                elements,
            })),
        }
    }

    /// Reads what a set is, without its elements; `None` when it does not exist.
    pub async fn details(&mut self, set: &str) -> Result<Option<Header>, NlError> {
        let mut shown = None;
        let take = |message: Message<'_>| {
            shown = Some(Listing::decode(message.attrs(NFGEN_HEADER_LEN)));
        };
        let listed = self
            .socket
            .dump(&Command::Details(set).encode(), take)
            .await;
        if absent_is_none(listed)?.is_none() {
            return Ok(None);
        }
        let listing = DecodeError::need("SETNAME", shown)??;
        Ok(Some(DecodeError::need("TYPENAME", listing.header)?))
    }

    /// Reads what every set is, whoever made it, without elements.
    pub async fn headers(&mut self) -> Result<Vec<(String, Header)>, NlError> {
        let mut listings = Vec::new();
        let take = |message: Message<'_>| {
            listings.push(Listing::decode(message.attrs(NFGEN_HEADER_LEN)));
        };
        self.socket.dump(&Command::Headers.encode(), take).await?;
        let listings = listings.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(listings
            .into_iter()
            .filter_map(|set| Some((set.name, set.header?)))
            .collect())
    }

    /// Asks for the type of a set; `None` when it does not exist.
    pub async fn header(&mut self, set: &str) -> Result<Option<Header>, NlError> {
        absent_is_none(self.show(&Command::Header(set), Header::decode).await)
    }

    /// Asks for the index by which a rule refers to a set; `None` when it does not exist.
    pub async fn index(&mut self, set: &str) -> Result<Option<u16>, NlError> {
        let read = |attrs: Attrs<'_>| {
            let index = attrs.get(IPSET_ATTR_INDEX).and_then(|attr| attr.be16());
            DecodeError::need("INDEX", index)
        };
        absent_is_none(self.show(&Command::GetByName(set), read).await)
    }

    /// Sends elements many to a message. Those of a refused message are sent again one by one, so that
    /// each gets its own verdict: a message is not atomic, and to repeat an element is harmless.
    async fn many(
        &mut self,
        elements: &[Element],
        encode: impl Fn(&[Element]) -> Request + Send + Sync,
    ) -> Vec<Result<(), NlError>> {
        let mut verdicts = Vec::with_capacity(elements.len());
        // a send full at a time, so that the memory for one serves the next
        for lot in elements.chunks(MESSAGES_PER_SEND * ELEMENTS_PER_MESSAGE) {
            let chunks = lot.chunks(ELEMENTS_PER_MESSAGE);
            let requests: Vec<_> = chunks.clone().map(&encode).collect();
            for (chunk, verdict) in chunks.zip(self.socket.batch(&requests).await) {
                match verdict {
                    Err(NlError::Errno(_)) if chunk.len() > 1 => {
                        let single: Vec<_> = chunk.chunks(1).map(&encode).collect();
                        verdicts.extend(self.socket.batch(&single).await);
                    }
                    verdict => verdicts.resize(verdicts.len() + chunk.len(), verdict),
                }
            }
        }
        verdicts
    }

    async fn show<T: Send>(
        &mut self,
        command: &Command<'_>,
        decode: fn(Attrs<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, NlError> {
        let mut shown = None;
        let take = |message: Message<'_>| shown = Some(decode(message.attrs(NFGEN_HEADER_LEN)));
        self.socket.request(&command.encode(), take).await?;
        Ok(DecodeError::need("IPSET_ATTR", shown)??)
    }
}

fn absent_is_none<T>(answer: Result<T, NlError>) -> Result<Option<T>, NlError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(NlError::Errno(errno)) if errno == Errno::ENOENT as i32 => Ok(None),
        Err(error) => Err(error),
    }
}
