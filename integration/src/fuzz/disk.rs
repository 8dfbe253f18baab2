//! What is kept on disk.

use weir_agent::journal::Remembered;
use weir_proto::disk::Records;
use weir_proto::disk::envelope::{seal, unseal};
use weir_proto::disk::snapshot::{decode, encode};

/// Writes records one behind the other: a length of two bytes, the key, a length, the payload.
pub(super) fn lay_out(records: &Records) -> Vec<u8> {
    let mut out = Vec::new();
    for part in records.iter().flat_map(|(key, payload)| [key, payload]) {
        let len = u16::try_from(part.len()).expect("a small record");
        out.extend(len.to_le_bytes());
        out.extend(part);
    }
    out
}

/// Reads records as far as they go.
fn records(mut bytes: &[u8]) -> Records {
    let mut records = Records::new();
    let mut part = || {
        let (len, rest) = bytes.split_first_chunk()?;
        let (part, rest) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
        bytes = rest;
        Some(part.to_vec())
    };
    while let Some((key, payload)) = part().zip(part()) {
        records.insert(key, payload);
    }
    records
}

pub(super) fn journal(bytes: &[u8]) -> bool {
    let records = records(bytes);
    let Ok(remembered) = Remembered::from_records(&records) else {
        return false;
    };
    let again = Remembered::from_records(&remembered.to_records());
    let again = again.unwrap_or_else(|error| panic!("what was written is refused: {error}"));
    assert_eq!(again, remembered);
    !records.is_empty()
}

/// A schema, the length of a key, the key, and an envelope, which is as good as any payload too.
pub(super) fn envelope(bytes: &[u8]) -> bool {
    let [schema, len, rest @ ..] = bytes else {
        return false;
    };
    let Some((key, record)) = rest.split_at_checked((*len).into()) else {
        return false;
    };
    let opened = unseal(*schema, key, record).ok();
    if let Some(payload) = opened {
        assert_eq!(seal(*schema, key, payload), record);
    }
    let sealed = seal(*schema, key, record);
    assert_eq!(unseal(*schema, key, &sealed).ok(), Some(record));
    // one bit somewhere, and it is not taken any more
    let mut damaged = sealed;
    let at = (record.len() * 7 + key.len()) % damaged.len();
    damaged[at] ^= 1 << (record.len() % 8);
    assert!(
        unseal(*schema, key, &damaged).is_err(),
        "byte {at} is changed"
    );
    opened.is_some()
}

/// A schema and a snapshot; or a schema and records one behind the other, which are as good as any.
pub(super) fn snapshot(bytes: &[u8]) -> bool {
    let [schema, rest @ ..] = bytes else {
        return false;
    };
    if let Some((commits, records)) = decode(*schema, rest) {
        assert_eq!(sealed(*schema, commits, &records), rest);
        return true;
    }
    let records = records(rest);
    let whole = sealed(*schema, records.len() as u64, &records);
    let expected = (records.len() as u64, records);
    assert_eq!(decode(*schema, &whole).as_ref(), Some(&expected));
    // one bit somewhere, and it is not taken any more
    let mut damaged = whole;
    let at = bytes.len() * 31 % damaged.len();
    damaged[at] ^= 1 << (bytes.len() % 8);
    assert_eq!(decode(*schema, &damaged), None, "byte {at} is changed");
    !expected.1.is_empty()
}

/// Writes a snapshot of records.
pub(super) fn sealed(schema: u8, commits: u64, records: &Records) -> Vec<u8> {
    let sealed: Vec<_> = records
        .iter()
        .map(|(key, payload)| (key, seal(schema, key, payload)))
        .collect();
    let sealed = sealed
        .iter()
        .map(|(key, record)| (key.as_slice(), record.as_slice()));
    encode(schema, commits, sealed)
}
