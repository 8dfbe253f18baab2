//! What identifies the whole content: the mark in the database, and the watermark beside it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use super::directory::Directory;
use super::envelope::{seal, unseal};
use super::{DiskError, Note};
use crate::faults::{self, Bug};

/// Where the mark of the content is kept in the database. No caller's key begins with a zero byte.
pub(super) const MARK_KEY: &[u8] = b"\0mark";
const WATERMARK: &str = "watermark";
const NEXT_WATERMARK: &str = "watermark.next";

/// What identifies the whole content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) commits: u64,
    pub(super) records: u64,
    pub(super) digest: u128,
}

impl Mark {
    /// Takes a sealed record into the content.
    pub(super) fn count(&mut self, key: &[u8], record: &[u8]) {
        self.records += 1;
        self.digest = self.digest.wrapping_add(hash(key, record));
    }

    /// Takes a sealed record out of the content.
    pub(super) fn forget(&mut self, key: &[u8], record: &[u8]) {
        self.records -= 1;
        self.digest = self.digest.wrapping_sub(hash(key, record));
    }

    /// Says whether this content is the same as another, whatever led to it.
    pub(super) fn same_content(&self, other: &Self) -> bool {
        (self.records, self.digest) == (other.records, other.digest)
    }

    /// Says what is wrong with content that is neither what its watermark says nor newer.
    pub(super) fn compare(&self, path: &Path, watermark: Self) -> Result<(), DiskError> {
        if faults::planted(Bug::WatermarkUnchecked) {
            return Ok(());
        }
        if self.commits < watermark.commits {
            return Err(DiskError::RolledBack {
                path: path.to_owned(),
                found: self.commits,
                wanted: watermark.commits,
            });
        }
        if self.commits == watermark.commits && *self != watermark {
            let message = "its records are not the ones of its watermark";
            return Err(DiskError::damaged(path, message));
        }
        Ok(())
    }

    pub(super) fn to_bytes(self) -> Vec<u8> {
        let Self {
            commits,
            records,
            digest,
        } = self;
        let mut bytes = Vec::with_capacity(32);
        bytes.extend(commits.to_be_bytes());
        bytes.extend(records.to_be_bytes());
        bytes.extend(digest.to_be_bytes());
        bytes
    }

    /// Reads a mark; what is behind it comes back too.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (commits, rest) = bytes.split_first_chunk()?;
        let (records, rest) = rest.split_first_chunk()?;
        let (digest, rest) = rest.split_first_chunk()?;
        let mark = Self {
            commits: u64::from_be_bytes(*commits),
            records: u64::from_be_bytes(*records),
            digest: u128::from_be_bytes(*digest),
        };
        Some((mark, rest))
    }

    /// Writes the record that stands in the database: the mark, and after a recovery what happened.
    pub(super) fn to_record(self, schema: u8, note: Option<&Note>) -> Vec<u8> {
        let mut payload = self.to_bytes();
        if let Some(note) = note {
            payload.extend(note.to_bytes());
        }
        seal(schema, MARK_KEY, &payload)
    }
}

/// Replaces the watermark: when this returns, the new one survives a power cut.
pub(super) fn write_watermark(directory: &Directory, schema: u8, mark: Mark) -> io::Result<()> {
    let next = directory.path().join(NEXT_WATERMARK);
    let mut file = File::create(&next)?;
    file.write_all(&seal(schema, MARK_KEY, &mark.to_bytes()))?;
    file.sync_all()?;
    fs::rename(next, directory.path().join(WATERMARK))?;
    directory.sync_entries()
}

/// Reads the watermark, if there is one.
pub(super) fn read_watermark(directory: &Directory) -> Result<Option<Mark>, DiskError> {
    let path = directory.path();
    let bytes = match fs::read(path.join(WATERMARK)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(DiskError::directory(path, source)),
    };
    let damaged = || DiskError::damaged(path, "its watermark has another checksum");
    // the schema of the watermark is whatever wrote it last: only the mark matters
    let schema = bytes.first().copied().unwrap_or_default();
    let payload = unseal(schema, MARK_KEY, &bytes).map_err(|_| damaged())?;
    match Mark::from_bytes(payload) {
        Some((mark, [])) => Ok(Some(mark)),
        _ => Err(damaged()),
    }
}

/// Removes what a watermark leaves that was not finished, and gives where the finished one is.
pub(super) fn watermark(directory: &Directory) -> io::Result<std::path::PathBuf> {
    super::directory::remove_file(&directory.path().join(NEXT_WATERMARK))?;
    Ok(directory.path().join(WATERMARK))
}

fn hash(key: &[u8], record: &[u8]) -> u128 {
    // the key's length keeps (ab, c) and (a, bc) apart
    let mut bytes = Vec::with_capacity(8 + key.len() + record.len());
    bytes.extend((key.len() as u64).to_be_bytes());
    bytes.extend(key);
    bytes.extend(record);
    xxh3_128(&bytes)
}
