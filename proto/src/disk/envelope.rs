//! What each record stands in: a schema number and a checksum over that, its key and its bytes.

use super::DiskError;
use crate::faults::{self, Bug};

/// schema, crc32.
pub(super) const HEAD: usize = 1 + 4;

fn checksum(schema: u8, key: &[u8], payload: &[u8]) -> [u8; 4] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[schema]);
    crc.update(key);
    crc.update(payload);
    crc.finalize().to_be_bytes()
}

/// Puts a payload into the envelope of a schema: that, a checksum, and the payload.
pub fn seal(schema: u8, key: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEAD + payload.len());
    record.push(schema);
    record.extend(checksum(schema, key, payload));
    record.extend(payload);
    record
}

/// Gives the payload of an envelope of the schema `known`, or why not; `None`: the checksum is another.
pub fn unseal<'a>(known: u8, key: &[u8], record: &'a [u8]) -> Result<&'a [u8], Option<DiskError>> {
    let (schema, rest) = record.split_first().ok_or(None)?;
    let (crc, payload) = rest.split_first_chunk::<4>().ok_or(None)?;
    if *crc != checksum(*schema, key, payload) && !faults::planted(Bug::ChecksumUnchecked) {
        return Err(None);
    }
    if *schema != known {
        return Err(Some(DiskError::Schema {
            key: super::text(key),
            found: *schema,
            known,
        }));
    }
    Ok(payload)
}
