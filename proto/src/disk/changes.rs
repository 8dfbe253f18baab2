//! What a batch changes of records that are there: each in its envelope, and the mark of what comes of it.

use super::envelope::seal;
use super::mark::{MARK_KEY, Mark};
use super::{Batch, pieces};

/// What one commit writes.
#[derive(Debug)]
pub(super) struct Changes {
    /// The record of the mark among them. None: it goes.
    pub(super) records: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(super) mark: Mark,
    /// Of all keys and sealed records, after it.
    pub(super) bytes: u64,
    /// Of what is written.
    pub(super) written: u64,
}

impl Changes {
    /// Works out what a batch changes. `before` is the mark of what is there, and its bytes; `get` gives the sealed record
    /// under a key.
    pub(super) fn of<B: AsRef<[u8]>, E>(
        batch: &Batch,
        schema: u8,
        before: (Mark, u64),
        get: impl Fn(&[u8]) -> Result<Option<B>, E>,
    ) -> Result<Self, E> {
        let batch = pieces::split(batch, |key| get(key).map(|record| record.is_some()))?;
        let (mark, bytes) = before;
        let mut changes = Self {
            records: Vec::with_capacity(batch.len() + 1),
            mark: Mark {
                commits: mark.commits + 1,
                ..mark
            },
            bytes,
            written: 0,
        };
        for (key, payload) in batch.0 {
            if let Some(old) = get(&key)? {
                let old = old.as_ref();
                changes.mark.forget(&key, old);
                changes.bytes -= (key.len() + old.len()) as u64;
            }
            let record = payload.map(|payload| seal(schema, &key, &payload));
            changes.written += key.len() as u64;
            if let Some(record) = &record {
                changes.mark.count(&key, record);
                changes.bytes += (key.len() + record.len()) as u64;
                changes.written += record.len() as u64;
            }
            changes.records.push((key, record));
        }
        let mark = changes.mark.to_record(schema, None);
        changes.records.push((MARK_KEY.to_vec(), Some(mark)));
        Ok(changes)
    }
}
