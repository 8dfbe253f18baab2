//! Keeps records so that no crash loses or invents one: the room of sled, for the controller's store and
//! the agent's journal alike.
//!
//! sled 0.34 alone is not durable on Linux: its `flush` ends in `sync_file_range(2)`, which does not reach the
//! disk's own cache nor the directory, and damage can open silently as older or empty data. So:
//! - a commit is one atomic batch, flushed, then `syncfs(2)` on the directory, then the watermark; a [`Writer`]
//!   makes one commit of all batches that came while the last one was under way;
//! - each record carries a schema number and a checksum over that, its key and its bytes;
//! - the database holds a mark {commits, records, digest} of its whole content, and so does the file
//!   `watermark` beside it, from before the first commit: at open the content must have the mark, and must not
//!   be older than the watermark, which must be there;
//! - content that is newer than its watermark is from a commit that was cut or failed, and may be in memory
//!   alone though a later sync reports success: it is written anew before anybody hears of it;
//! - beside the database the last two `snapshot-<commits>` have everything in one file each; [`recover`] starts
//!   again from the newest of those that are whole, and sets what was damaged aside;
//! - a large record is kept in pieces, see `pieces`: a large node of sled's is damaged by a power cut;
//! - sled frees space late: a database of more than 4.5 times its content is written anew;
//! - sled may panic on damage, so it is called inside `catch_unwind`;
//! - after a failed sync nothing more is written: what a second try would report as durable may not be.
//!
//! All calls but the writer's and [`aside`] block; callers put them on a thread that may.

mod changes;
mod database;
mod directory;
pub mod envelope;
mod error;
mod files;
mod live;
mod mark;
mod medium;
mod pieces;
mod recovery;
#[cfg(feature = "simulated")]
pub mod simulated;
pub mod snapshot;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;

use tokio::task::{JoinError, spawn_blocking};

pub use self::error::DiskError;
#[cfg(test)]
use self::files::Files;
use self::files::{open_live, unpanicked};
use self::medium::Medium;
use self::recovery::Note;
pub use self::recovery::{Recovered, rebuild, recover};
pub use self::writer::{Counts, Writer};

/// Records on disk. One process at a time: a second one that opens the same directory is refused.
#[derive(Debug)]
pub struct Disk(Medium);

/// Records by key.
pub type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// What changes in one commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch(BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl Batch {
    /// Writes a record over the one that has its key.
    pub fn put(&mut self, key: Vec<u8>, payload: Vec<u8>) {
        debug_assert!(key.first().is_some_and(|byte| *byte != 0));
        self.put_any(key, payload);
    }

    fn put_any(&mut self, key: Vec<u8>, payload: Vec<u8>) {
        self.0.insert(key, Some(payload));
    }

    /// Removes a record, if it is there.
    pub fn delete(&mut self, key: Vec<u8>) {
        self.0.insert(key, None);
    }

    /// Says whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Changes records as a commit does.
    pub fn write_into(self, records: &mut Records) {
        for (key, payload) in self.0 {
            match payload {
                Some(payload) => records.insert(key, payload),
                None => records.remove(&key),
            };
        }
    }

    /// Gives how many records change.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes in a batch that comes after this one.
    pub fn extend(&mut self, later: Self) {
        if self.is_empty() {
            // most often: as it is, not one by one beside it
            *self = later;
        } else {
            self.0.extend(later.0);
        }
    }
}

impl Disk {
    /// Opens the database in `path`, made if it is not there, and gives every record in it by key. Records of
    /// another schema than `schema` are refused.
    pub fn open(path: &Path, schema: u8) -> Result<(Self, Records), DiskError> {
        let (medium, records) = Medium::open(path, schema)?;
        Ok((Self(medium), records))
    }

    /// Writes a batch: when this returns, all of it survives a power cut. After an error none of it counts,
    /// and nothing more is taken.
    pub fn commit(&self, batch: &Batch) -> Result<(), DiskError> {
        self.0.write(batch)?;
        self.0.tend();
        Ok(())
    }

    #[cfg(test)]
    fn files(&self) -> &Files {
        match &self.0 {
            Medium::Files(files) => files,
            #[cfg(feature = "simulated")]
            Medium::Memory(_) => panic!("it has no files"),
        }
    }
}

/// Does what blocks on a thread that may. A disk that is only simulated blocks nobody.
pub async fn aside<T: Send + 'static>(
    path: &Path,
    act: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    #[cfg(feature = "simulated")]
    if let Some(medium) = simulated::at(path) {
        medium.turn().await;
        return Ok(act());
    }
    let _ = path;
    spawn_blocking(act).await
}

/// What was done after a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tended {
    exported: bool,
    shrunk: bool,
}

fn text(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}

#[cfg(test)]
mod tests;
