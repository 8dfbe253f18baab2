//! Items as they were sent: read from the very bytes that count in the digest.
//!
//! An item is taken only if this version would write it just so: then what is held has the digest of what was sent. One that
//! says what this version does not know, be it a word, a field or the whole kind, is refused alone, its field named.

use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::{FieldError, FieldErrors, item_from_wire, item_to_wire, key_of_item_from_wire};
use crate::digest::Digest;
use crate::model::{Item, ItemKey, Refused, UnreadKey};
use crate::wire;

/// What an item is, as the table of fields has it.
const ITEM: &str = ".weir.v1.Item";

/// An item that is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedSent {
    /// Its key; one that cannot be read is known by its digest.
    pub key: ItemKey,
    /// Of the item as it was sent.
    pub digest: Digest,
    /// What is wrong with it. The path begins with that of the item and its kind; of what is not known it ends with a number.
    pub why: FieldErrors,
}

/// Reads an item as it was sent, that stands at `path`. `written` is room to write it again; what was in it is lost.
pub fn item_from_sent(
    bytes: &[u8],
    path: &str,
    written: &mut Vec<u8>,
) -> Result<Item, Box<RefusedSent>> {
    let digest = || Digest::of_encoded(bytes);
    let refused = |key: ItemKey, why: FieldErrors| {
        let digest = digest();
        Box::new(RefusedSent { key, digest, why })
    };
    let unread = || {
        ItemKey::Unread(UnreadKey {
            kind: kind_of(bytes),
            digest: digest().to_bytes(),
        })
    };
    let one = |path: String, problem: String| {
        let problem = Refused::Other(problem);
        FieldErrors(vec![FieldError { path, problem }])
    };
    let item = match wire::Item::decode(bytes) {
        Ok(item) => item,
        Err(error) => {
            let why = one(path.to_owned(), format!("cannot be read: {error}"));
            return Err(refused(unread(), why));
        }
    };
    let unknown = || unknown_in(ITEM, bytes);
    if item.kind.is_none() {
        let why = match unknown() {
            Some(kind) => one(
                format!("{path}.kind.{kind}"),
                format!("kind {kind} is not known to this version"),
            ),
            None => one(path.to_owned(), Refused::Missing.to_string()),
        };
        return Err(refused(unread(), why));
    }
    let key = |unknown: Option<&str>| match key_of_item_from_wire(&item, path) {
        Ok(key) if !unknown.is_some_and(is_of_key) => key,
        _ => unread(),
    };
    let taken = match item_from_wire(&item, path) {
        Ok(taken) => taken,
        Err(why) => return Err(refused(key(unknown().as_deref()), why)),
    };
    written.clear();
    // a vector takes whatever is written
    let _ = item_to_wire(&taken).encode(written);
    if written == bytes {
        return Ok(taken);
    }
    let unknown = unknown();
    let why = match &unknown {
        Some(field) => {
            let number = field
                .rsplit_once('.')
                .map_or(field.as_str(), |(_, last)| last);
            let problem = format!("field {number} is not known to this version");
            one(format!("{path}.{field}"), problem)
        }
        None => {
            let problem = "it is written otherwise than this version writes it";
            one(path.to_owned(), problem.to_owned())
        }
    };
    Err(refused(key(unknown.as_deref()), why))
}

/// Gives the number of an item's kind; 0: it says none.
fn kind_of(mut bytes: &[u8]) -> u32 {
    decode_key(&mut bytes).map_or(0, |(number, _)| number)
}

/// Finds a field that a message, or one within it, does not have: `backend.tunnel.7`.
fn unknown_in(message: &str, mut bytes: &[u8]) -> Option<String> {
    let (_, fields) = wire::FIELDS.iter().find(|(name, _)| *name == message)?;
    while !bytes.is_empty() {
        let (number, wire_type) = decode_key(&mut bytes).ok()?;
        let Some((_, name, of)) = fields.iter().find(|(known, _, _)| *known == number) else {
            return Some(number.to_string());
        };
        if wire_type == WireType::LengthDelimited {
            let len = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
            let (within, rest) = bytes.split_at_checked(len)?;
            bytes = rest;
            if let Some(unknown) = unknown_in(of, within) {
                return Some(format!("{name}.{unknown}"));
            }
        } else {
            skip_field(wire_type, number, &mut bytes, DecodeContext::default()).ok()?;
        }
    }
    None
}

/// Says whether an unknown field may be part of what names its item: then two items could seem to be one.
fn is_of_key(unknown: &str) -> bool {
    let mut parts = unknown.split('.');
    match parts.next() {
        Some("virtual_service" | "backend") => parts.next() == Some("frontend"),
        Some("loopback_entry" | "silent_vip" | "tunnel_end") => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use prost::encoding::{bytes, uint32};

    use super::*;
    use crate::model::{Frontend, Listener, Protocol, Vip};

    const PATH: &str = "upserted[3]";

    fn vip() -> Item {
        Item::Vip(Vip::new([10, 1, 0, 1].into()))
    }

    fn frontend() -> Frontend {
        Frontend::Address(Listener {
            address: [10, 1, 0, 1].into(),
            port: crate::model::Port::new(80).expect("a port"),
            protocol: Protocol::Tcp,
        })
    }

    /// A backend that says more of itself, and more of its frontend, than this version knows.
    fn backend(more: &[u8], of_frontend: &[u8]) -> Vec<u8> {
        let mut at = super::super::frontend_to_wire(frontend()).encode_to_vec();
        at.extend(of_frontend);
        let rest = wire::item::Backend {
            address: "10.0.0.1".to_owned(),
            port: 80,
            weight: 3,
            forwarding: wire::Forwarding::Masquerade.into(),
            ..wire::item::Backend::default()
        };
        let mut backend = Vec::new();
        bytes::encode(1, &at, &mut backend);
        backend.extend(rest.encode_to_vec());
        backend.extend(more);
        let mut item = Vec::new();
        bytes::encode(3, &backend, &mut item);
        item
    }

    fn field(number: u32) -> Vec<u8> {
        let mut field = Vec::new();
        uint32::encode(number, &5, &mut field);
        field
    }

    /// Gives how an item is refused: its key, the path and the problem.
    fn refused(bytes: &[u8]) -> (String, String, String) {
        let refused = item_from_sent(bytes, PATH, &mut vec![7; 9]);
        let refused = refused.expect_err("it is refused");
        assert_eq!(refused.digest, Digest::of_encoded(bytes));
        let FieldErrors(errors) = &refused.why;
        let [FieldError { path, problem }] = &errors[..] else {
            panic!("{errors:?}");
        };
        let key = match refused.key {
            ItemKey::Unread(UnreadKey { kind, digest }) => {
                assert_eq!(digest, refused.digest.to_bytes());
                format!("unread {kind}")
            }
            key => key.to_string(),
        };
        (key, path.clone(), problem.to_string())
    }

    fn told(key: &str, path: &str, problem: &str) -> (String, String, String) {
        (key.to_owned(), format!("{PATH}{path}"), problem.to_owned())
    }

    #[test]
    fn what_this_version_writes_is_taken() {
        let bytes = item_to_wire(&vip()).encode_to_vec();
        assert_eq!(item_from_sent(&bytes, PATH, &mut vec![7; 9]), Ok(vip()));
        let read = item_from_sent(&backend(&[], &[]), PATH, &mut Vec::new());
        let key = read.expect("read").key().to_string();
        assert_eq!(key, "backend 10.0.0.1:80 of 10.1.0.1:80/TCP");
    }

    #[test]
    fn a_field_that_is_not_known_refuses_its_item_by_number() {
        let key = "backend 10.0.0.1:80 of 10.1.0.1:80/TCP";
        let problem = "field 20 is not known to this version";
        assert_eq!(
            refused(&backend(&field(20), &[])),
            told(key, ".backend.20", problem)
        );
        // beside the kind
        let mut item = backend(&[], &[]);
        item.extend(field(20));
        assert_eq!(refused(&item), told(key, ".20", problem));
        // what names the item may be more than this version reads of it
        assert_eq!(
            refused(&backend(&[], &field(20))),
            told("unread 3", ".backend.frontend.20", problem)
        );
    }

    #[test]
    fn an_item_of_a_kind_that_is_not_known_is_known_by_its_digest() {
        let mut item = Vec::new();
        bytes::encode(14, &vec![1, 2, 3], &mut item);
        assert_eq!(
            refused(&item),
            told(
                "unread 14",
                ".kind.14",
                "kind 14 is not known to this version"
            )
        );
        assert_eq!(
            refused(&[]),
            told("unread 0", "", &Refused::Missing.to_string())
        );
    }

    #[test]
    fn what_is_no_message_or_is_written_otherwise_is_refused_alone() {
        let (key, path, problem) = refused(&[0x1a, 0x7f]);
        assert_eq!((key.as_str(), path.as_str()), ("unread 3", PATH));
        assert!(problem.starts_with("cannot be read: "), "{problem}");
        // a field with the value that its absence means
        let mut zero = Vec::new();
        uint32::encode(7, &0, &mut zero);
        assert_eq!(
            refused(&backend(&zero, &[])),
            told(
                "backend 10.0.0.1:80 of 10.1.0.1:80/TCP",
                "",
                "it is written otherwise than this version writes it"
            )
        );
    }
}
