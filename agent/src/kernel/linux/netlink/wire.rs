//! The netlink wire format: messages, their headers and their attributes. Pure.
//!
//! Numbers are in the byte order of the machine unless a name says `be`. Everything is padded to four
//! bytes. Reading never panics, whatever the bytes: what does not fit its own length field ends the
//! iteration. Layouts: `include/uapi/linux/netlink.h` (`nlmsghdr`, `nlattr`),
//! `include/uapi/linux/genetlink.h` (`genlmsghdr`), `include/uapi/linux/netfilter/nfnetlink.h` (`nfgenmsg`).

use std::net::IpAddr;

use thiserror::Error;

/// Marks a message that asks for something; every message to the kernel has it.
pub const NLM_F_REQUEST: u16 = 0x1;
/// Asks for an answer even when all went well.
pub const NLM_F_ACK: u16 = 0x4;
/// Set by the kernel when the table changed while it was dumped.
pub const NLM_F_DUMP_INTR: u16 = 0x10;
/// Asks for the whole table.
pub const NLM_F_DUMP: u16 = 0x300;
/// Refuse to replace what exists (the same bit as half of [`NLM_F_DUMP`], in other commands).
pub const NLM_F_EXCL: u16 = 0x200;
/// Create what does not exist.
pub const NLM_F_CREATE: u16 = 0x400;
/// Put the new object behind the ones there are.
pub const NLM_F_APPEND: u16 = 0x800;

pub(crate) const NLMSG_NOOP: u16 = 1;
pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;
pub(crate) const NLMSG_OVERRUN: u16 = 4;

/// Says that an attribute holds attributes.
pub const NLA_F_NESTED: u16 = 0x8000;
/// Says that an attribute's number is in network byte order.
pub const NLA_F_NET_BYTEORDER: u16 = 0x4000;
const NLA_TYPE_MASK: u16 = !(NLA_F_NESTED | NLA_F_NET_BYTEORDER);

/// Bytes of an `nlmsghdr`: length, type, flags, sequence number, port.
pub const HEADER_LEN: usize = 16;
const ATTR_HEADER_LEN: usize = 4;

/// Rounds a length up to the next multiple of four (`NLMSG_ALIGN`, `NLA_ALIGN`).
pub const fn align(len: usize) -> usize {
    (len + 3) & !3
}

/// What most messages fit in: one allocation for each.
const USUAL_LEN: usize = 256;

/// One message to the kernel, written attribute by attribute.
///
/// The length in its header is right after every call; the sequence number stays zero until a socket
/// sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    bytes: Vec<u8>,
    /// Where the message begins: behind those that a [`Batch`](super::Batch) holds already.
    start: usize,
    oversized: bool,
}

impl Request {
    /// Starts a message of the given type; [`NLM_F_REQUEST`] is added to the flags.
    pub fn new(kind: u16, flags: u16) -> Self {
        let mut request = Self::behind(Vec::with_capacity(USUAL_LEN));
        request.begin(kind, flags, 0);
        request
    }

    /// Makes a writer of messages behind what `bytes` holds; nothing is written before [`Self::begin`].
    pub(super) fn behind(bytes: Vec<u8>) -> Self {
        Self {
            start: bytes.len(),
            bytes,
            oversized: false,
        }
    }

    /// Starts another message behind what was written so far.
    pub(super) fn begin(&mut self, kind: u16, flags: u16, seq: u32) {
        self.start = self.bytes.len();
        self.oversized = false;
        let mut header = [0; HEADER_LEN];
        header[..4].copy_from_slice(&(HEADER_LEN as u32).to_ne_bytes());
        header[4..6].copy_from_slice(&kind.to_ne_bytes());
        header[6..8].copy_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        header[8..12].copy_from_slice(&seq.to_ne_bytes());
        self.bytes.extend_from_slice(&header);
    }

    /// Puts a whole message behind what was written so far.
    pub(super) fn copy(&mut self, request: &Self, seq: u32) {
        self.start = self.bytes.len();
        request.write_to(&mut self.bytes, seq, 0);
        self.oversized = request.oversized;
    }

    /// Takes the message back, as if it had never begun.
    pub(super) fn withdraw(&mut self) {
        self.bytes.truncate(self.start);
        self.oversized = false;
    }

    /// Forgets every message and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
        self.oversized = false;
    }

    /// Gives everything that was written, the messages in front of this one too.
    pub(super) fn written(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes the message ask for an acknowledgement.
    pub(super) fn ask_for_ack(&mut self) {
        if let Some([low, high]) = self.bytes.get_mut(self.start + 6..self.start + 8) {
            let flags = u16::from_ne_bytes([*low, *high]) | NLM_F_ACK;
            [*low, *high] = flags.to_ne_bytes();
        }
    }

    /// Starts a generic netlink message for a family, as [`super::genl::resolve`] numbered it.
    pub fn generic(family: u16, command: u8, version: u8, flags: u16) -> Self {
        let mut request = Self::new(family, flags);
        request.raw(&[command, version, 0, 0]);
        request
    }

    /// Starts a netfilter message: `subsystem` is an `NFNL_SUBSYS_*`, `family` an `NFPROTO_*`.
    pub fn netfilter(subsystem: u8, command: u8, family: u8, flags: u16) -> Self {
        let mut request = Self::new(u16::from(subsystem) << 8 | u16::from(command), flags);
        request.raw(&[family, 0, 0, 0]);
        request
    }

    /// Appends bytes that belong to the fixed part of the message.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self.seal();
        self
    }

    /// Appends an attribute. The type may carry [`NLA_F_NET_BYTEORDER`].
    pub fn bytes(&mut self, kind: u16, payload: &[u8]) -> &mut Self {
        let start = self.open(kind);
        self.bytes.extend_from_slice(payload);
        self.close(start);
        self
    }

    /// Appends an attribute without a payload.
    pub fn flag(&mut self, kind: u16) -> &mut Self {
        self.bytes(kind, &[])
    }

    /// Appends a one-byte number.
    pub fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.bytes(kind, &[value])
    }

    /// Appends a two-byte number in the machine's byte order.
    pub fn u16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Appends a four-byte number in the machine's byte order.
    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Appends an eight-byte number in the machine's byte order.
    pub fn u64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// Appends a two-byte number in network byte order.
    pub fn be16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Appends a four-byte number in network byte order.
    pub fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Appends a string and the zero byte that ends it.
    pub fn string(&mut self, kind: u16, value: &str) -> &mut Self {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.close(start);
        self
    }

    /// Appends the four or sixteen bytes of an address.
    pub fn ip(&mut self, kind: u16, value: IpAddr) -> &mut Self {
        match value {
            IpAddr::V4(v4) => self.bytes(kind, &v4.octets()),
            IpAddr::V6(v6) => self.bytes(kind, &v6.octets()),
        }
    }

    /// Appends an attribute that holds the attributes `fill` writes; its length is patched in behind them.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.open(kind | NLA_F_NESTED);
        fill(self);
        self.close(start);
        self
    }

    /// Gives the whole message, header included.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Says whether an attribute outgrew its 16-bit length, which makes the message unfit to send.
    pub fn oversized(&self) -> bool {
        self.oversized
    }

    /// Writes the message behind `out` under a sequence number and with more flags.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>, seq: u32, more_flags: u16) {
        let start = out.len();
        out.extend_from_slice(self.as_bytes());
        let flags = self.flags() | more_flags;
        out[start + 6..start + 8].copy_from_slice(&flags.to_ne_bytes());
        out[start + 8..start + 12].copy_from_slice(&seq.to_ne_bytes());
    }

    /// Says whether the message itself asks for an acknowledgement.
    pub(crate) fn asks_for_ack(&self) -> bool {
        self.flags() & NLM_F_ACK != 0
    }

    fn flags(&self) -> u16 {
        u16::from_ne_bytes([self.bytes[self.start + 6], self.bytes[self.start + 7]])
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        let [low, high] = kind.to_ne_bytes();
        self.bytes.extend_from_slice(&[0, 0, low, high]);
        start
    }

    fn close(&mut self, start: usize) {
        let len = u16::try_from(self.bytes.len() - start).unwrap_or_else(|_| {
            self.oversized = true;
            u16::MAX
        });
        self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self.pad();
        self.seal();
    }

    /// Pads to four bytes. Each message begins at a multiple of four, so the whole buffer's length tells.
    fn pad(&mut self) {
        const ZEROS: [u8; 3] = [0; 3];
        let missing = align(self.bytes.len()) - self.bytes.len();
        self.bytes.extend_from_slice(&ZEROS[..missing]);
    }

    fn seal(&mut self) {
        let len = u32::try_from(self.bytes.len() - self.start).unwrap_or_else(|_| {
            self.oversized = true;
            u32::MAX
        });
        self.bytes[self.start..self.start + 4].copy_from_slice(&len.to_ne_bytes());
    }
}

/// One message from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`: a family, a netfilter subsystem and command, or a control type below 16.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// The sequence number of the request that this answers.
    pub seq: u32,
    /// Everything behind the `nlmsghdr`.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads the attributes behind a fixed part of `header` bytes (4 for generic netlink and netfilter).
    pub fn attrs(&self, header: usize) -> Attrs<'a> {
        Attrs::new(self.payload.get(align(header)..).unwrap_or_default())
    }

    /// Reads the number that starts an `NLMSG_ERROR` or `NLMSG_DONE`: zero, or an errno made positive.
    ///
    /// A payload too short for it reads as zero: `NLMSG_DONE` may come without one.
    pub(crate) fn errno(&self) -> i32 {
        self.payload
            .first_chunk::<4>()
            .map_or(0, |bytes| i32::from_ne_bytes(*bytes).saturating_neg())
    }
}

/// Why bytes from the kernel are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// A datagram ended inside a message.
    #[error("a message does not fit its datagram")]
    Truncated,
    /// An attribute without which the rest means nothing is not there.
    #[error("attribute {0} is missing")]
    Missing(&'static str),
    /// An attribute holds what its type cannot.
    #[error("attribute {0} cannot be read")]
    Unreadable(&'static str),
}

impl DecodeError {
    /// Takes what an attribute held, or says which one was unreadable.
    pub fn read<T>(name: &'static str, value: Option<T>) -> Result<T, Self> {
        value.ok_or(Self::Unreadable(name))
    }

    /// Takes what must have been there, or says which attribute was not.
    pub fn need<T>(name: &'static str, value: Option<T>) -> Result<T, Self> {
        value.ok_or(Self::Missing(name))
    }
}

/// An attribute that a codec has no name for: kept as it came, and sent again as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// The attribute's type.
    pub kind: u16,
    /// What it holds.
    pub payload: Vec<u8>,
}

impl Other {
    /// Keeps an attribute.
    pub fn read(attr: &Attr<'_>) -> Self {
        Self {
            kind: attr.kind,
            payload: attr.payload.to_vec(),
        }
    }

    /// Writes it again.
    pub fn write(&self, out: &mut Request) {
        out.bytes(self.kind, &self.payload);
    }
}

/// Walks the messages of one datagram; a message that says it is longer than what is left is an error.
#[derive(Clone, Debug)]
pub struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    /// Walks `datagram` from its first byte.
    pub fn new(datagram: &'a [u8]) -> Self {
        Self(datagram)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = std::mem::take(&mut self.0);
        if rest.is_empty() {
            return None;
        }
        let Some(header) = rest.first_chunk::<HEADER_LEN>() else {
            return Some(Err(DecodeError::Truncated));
        };
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
        let len = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
        let Some(payload) = rest.get(HEADER_LEN..len) else {
            return Some(Err(DecodeError::Truncated));
        };
        self.0 = rest.get(align(len)..).unwrap_or_default();
        Some(Ok(Message {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            seq: u32::from_ne_bytes([s0, s1, s2, s3]),
            payload,
        }))
    }
}

/// Walks attributes; stops at the first one whose length cannot be right.
#[derive(Clone, Copy, Debug)]
pub struct Attrs<'a>(&'a [u8]);

impl<'a> Attrs<'a> {
    /// Walks `bytes` from the first attribute header.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Finds the first attribute of a type.
    pub fn get(mut self, kind: u16) -> Option<Attr<'a>> {
        self.find(|attr| attr.kind == kind)
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = Attr<'a>;

    fn next(&mut self) -> Option<Attr<'a>> {
        let rest = std::mem::take(&mut self.0);
        let [l0, l1, k0, k1] = *rest.first_chunk::<ATTR_HEADER_LEN>()?;
        let len = usize::from(u16::from_ne_bytes([l0, l1]));
        let payload = rest.get(ATTR_HEADER_LEN..len)?;
        self.0 = rest.get(align(len)..).unwrap_or_default();
        Some(Attr {
            kind: u16::from_ne_bytes([k0, k1]) & NLA_TYPE_MASK,
            payload,
        })
    }
}

/// One attribute; its type has lost the two flag bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr<'a> {
    /// `nla_type` without [`NLA_F_NESTED`] and [`NLA_F_NET_BYTEORDER`].
    pub kind: u16,
    /// What it holds, without padding.
    pub payload: &'a [u8],
}

impl<'a> Attr<'a> {
    /// Reads one byte; `None` when the payload has another size. So do the other numbers.
    pub fn u8(&self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// Reads a two-byte number in the machine's byte order.
    pub fn u16(&self) -> Option<u16> {
        self.array().map(u16::from_ne_bytes)
    }

    /// Reads a four-byte number in the machine's byte order.
    pub fn u32(&self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    /// Reads an eight-byte number in the machine's byte order.
    pub fn u64(&self) -> Option<u64> {
        self.array().map(u64::from_ne_bytes)
    }

    /// Reads a two-byte number in network byte order.
    pub fn be16(&self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Reads a four-byte number in network byte order.
    pub fn be32(&self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Reads an eight-byte number in network byte order.
    pub fn be64(&self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Reads an address of four or sixteen bytes.
    pub fn ip(&self) -> Option<IpAddr> {
        self.array::<4>()
            .map(IpAddr::from)
            .or_else(|| self.array::<16>().map(IpAddr::from))
    }

    /// Reads a string up to its first zero byte or its end; `None` when it is not UTF-8.
    pub fn str(&self) -> Option<&'a str> {
        let end = self
            .payload
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(self.payload.len());
        std::str::from_utf8(&self.payload[..end]).ok()
    }

    /// Walks the attributes inside.
    pub fn attrs(&self) -> Attrs<'a> {
        Attrs::new(self.payload)
    }

    /// Reads a payload of exactly `N` bytes.
    pub fn array<const N: usize>(&self) -> Option<[u8; N]> {
        self.payload.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_nest_knows_its_length_and_every_attribute_is_padded() {
        let mut request = Request::generic(0x20, 4, 1, NLM_F_ACK);
        request.nest(1, |inner| {
            inner.u16(2, 0x0102).string(3, "wlc");
        });
        let mut expected = Vec::new();
        expected.extend(40u32.to_ne_bytes());
        expected.extend(0x20u16.to_ne_bytes());
        expected.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        expected.extend([0; 8]);
        expected.extend([4, 1, 0, 0]);
        expected.extend(20u16.to_ne_bytes());
        expected.extend((NLA_F_NESTED | 1).to_ne_bytes());
        expected.extend(
            [
                &6u16.to_ne_bytes()[..],
                &2u16.to_ne_bytes(),
                &0x0102u16.to_ne_bytes(),
                &[0, 0],
            ]
            .concat(),
        );
        expected.extend([&8u16.to_ne_bytes()[..], &3u16.to_ne_bytes(), b"wlc\0"].concat());
        assert_eq!(request.as_bytes(), expected);
    }

    #[test]
    fn an_attribute_too_long_for_its_length_field_marks_the_message() {
        let mut request = Request::new(16, 0);
        request.bytes(1, &vec![0; 65_531]);
        assert!(!request.oversized());
        request.bytes(1, &vec![0; 65_532]);
        assert!(request.oversized());
    }

    #[test]
    fn sending_sets_the_sequence_number_and_leaves_the_rest() {
        let mut out = vec![9; 4];
        Request::new(16, NLM_F_DUMP).write_to(&mut out, 7, NLM_F_ACK);
        let sent = Messages::new(&out[4..]).next();
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_DUMP;
        assert_eq!(
            sent,
            Some(Ok(Message {
                kind: 16,
                flags,
                seq: 7,
                payload: &[]
            }))
        );
    }

    #[test]
    fn a_message_longer_than_its_datagram_is_reported_once() {
        let request = Request::generic(16, 3, 1, 0);
        let mut cut = Messages::new(&request.as_bytes()[..18]);
        assert_eq!(cut.next(), Some(Err(DecodeError::Truncated)));
        assert_eq!(cut.next(), None);
    }

    proptest! {
        #[test]
        fn reading_survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for message in Messages::new(&bytes).flatten() {
                let _ = message.errno();
                for attr in message.attrs(4) {
                    let _ = (attr.str(), attr.u8(), attr.be64(), attr.ip(), attr.attrs().count());
                }
            }
            prop_assert!(Attrs::new(&bytes).count() <= bytes.len() / ATTR_HEADER_LEN);
        }

        #[test]
        fn what_is_written_is_read_back(items in proptest::collection::vec((0u16..0x4000, proptest::collection::vec(any::<u8>(), 0..20)), 0..20)) {
            let mut request = Request::generic(16, 3, 1, 0);
            for (kind, payload) in &items {
                request.bytes(*kind, payload);
            }
            let messages: Result<Vec<_>, _> = Messages::new(request.as_bytes()).collect();
            let messages = messages?;
            prop_assert_eq!(messages.len(), 1);
            let read: Vec<_> = messages[0].attrs(4).map(|attr| (attr.kind, attr.payload.to_vec())).collect();
            prop_assert_eq!(read, items);
        }
    }
}
