//! All records in one file, to start again from when the database is lost.
//!
//! Layout: `weirsnp1`, then parts of a length (4 bytes, big-endian) and so many bytes: first the head, which is
//! a mark in an envelope, then key and sealed record of each record in ascending order of the keys. The head's
//! envelope has the schema and a checksum, so has each record, and the mark's digest is that of all of them:
//! a file is whole or it is none.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::directory::{Directory, numbered, remove_file};
use super::envelope::{seal, unseal};
use super::mark::Mark;
use super::{Records, database};

const MAGIC: &[u8; 8] = b"weirsnp1";
/// The key that the head's checksum is over; a head is no record.
const HEAD_KEY: &[u8] = b"\0head";
const PREFIX: &str = "snapshot-";

/// How many snapshots stay. The second is for when the newest is what got damaged; a third would not fit: the
/// database is let grow to 4.5 times the content, and some before that is noticed, each snapshot is once its size,
/// and all that should not pass 8 times.
const KEPT: usize = 2;

/// Writes records, sealed, as a snapshot.
pub fn encode<'a>(
    schema: u8,
    commits: u64,
    sealed: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Vec<u8> {
    let mut mark = Mark {
        commits,
        ..Mark::default()
    };
    let mut body = Vec::new();
    for (key, record) in sealed {
        mark.count(key, record);
        put(&mut body, key);
        put(&mut body, record);
    }
    let mut bytes = head(schema, mark);
    bytes.extend(body);
    bytes
}

/// Reads a snapshot of a schema: the number of the commit, and the records without their envelopes. None where
/// anything at all is not as it was written.
pub fn decode(schema: u8, bytes: &[u8]) -> Option<(u64, Records)> {
    let (mark, records) = read_whole(schema, bytes)?;
    Some((mark.commits, records))
}

fn read_whole(schema: u8, bytes: &[u8]) -> Option<(Mark, Records)> {
    let mut rest = bytes.strip_prefix(MAGIC)?;
    let head = unseal(schema, HEAD_KEY, take(&mut rest)?).ok()?;
    let (mark, []) = Mark::from_bytes(head)? else {
        return None;
    };
    let mut found = Mark::default();
    let mut records = Records::new();
    while !rest.is_empty() {
        let key = take(&mut rest)?;
        let record = take(&mut rest)?;
        if records
            .last_key_value()
            .is_some_and(|(last, _)| last.as_slice() >= key)
        {
            return None;
        }
        found.count(key, record);
        records.insert(key.to_vec(), unseal(schema, key, record).ok()?.to_vec());
    }
    found.same_content(&mark).then_some((mark, records))
}

/// Writes what is in a database to a file of its own; when this returns, that survives a power cut.
pub(super) fn export(
    directory: &Directory,
    schema: u8,
    db: &sled::Db,
    mark: Mark,
) -> io::Result<()> {
    let next = directory.path().join("snapshot.next");
    // record by record: all of them in memory would be as much as the node's whole state
    let mut file = BufWriter::new(File::create(&next)?);
    file.write_all(&head(schema, mark))?;
    let mut found = Mark::default();
    for entry in database::sealed(db) {
        let (key, record) = entry.map_err(io::Error::other)?;
        found.count(&key, &record);
        for part in [&key, &record] {
            file.write_all(&len(part))?;
            file.write_all(part)?;
        }
    }
    if !found.same_content(&mark) {
        return Err(io::Error::other("its records are not the ones committed"));
    }
    file.into_inner()?.sync_all()?;
    let name = format!("{PREFIX}{}", mark.commits);
    fs::rename(next, directory.path().join(name))?;
    directory.sync_entries()?;
    let mut all = list(directory)?;
    let surplus = all.len().saturating_sub(KEPT);
    for (_, path) in all.drain(..surplus) {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Removes what an export leaves that was not finished.
pub(super) fn tidy(directory: &Directory) -> io::Result<()> {
    remove_file(&directory.path().join("snapshot.next"))
}

/// Lists the snapshots by the number of their commit, the newest last.
pub(super) fn list(directory: &Directory) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut all = numbered(directory.path(), PREFIX)?;
    all.sort();
    Ok(all)
}

/// Reads the snapshot in a file, if it is whole.
pub(super) fn read(path: &Path, schema: u8) -> io::Result<Option<(Mark, Records)>> {
    match fs::read(path) {
        Ok(bytes) => Ok(read_whole(schema, &bytes)),
        // the medium lost it
        Err(error) if error.raw_os_error() == Some(nix::libc::EIO) => Ok(None),
        Err(error) => Err(error),
    }
}

fn head(schema: u8, mark: Mark) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    put(&mut bytes, &seal(schema, HEAD_KEY, &mark.to_bytes()));
    bytes
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    bytes.extend(len(part));
    bytes.extend(part);
}

fn len(part: &[u8]) -> [u8; 4] {
    // sled itself takes no value of 4 GiB
    u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes()
}

fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (part, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    *bytes = rest;
    Some(part)
}

#[cfg(test)]
mod tests;
