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
//! All calls but the writer's block; callers put them on a thread that may.

mod database;
mod directory;
pub mod envelope;
mod error;
mod live;
mod mark;
mod pieces;
mod recovery;
pub mod snapshot;
mod writer;

use std::collections::BTreeMap;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use self::directory::Directory;
use self::live::Live;

pub use self::error::DiskError;
use self::recovery::Note;
pub use self::recovery::{Recovered, rebuild, recover};
pub use self::writer::{Counts, Writer};

/// Records on disk. One process at a time: a second one that opens the same directory is refused.
#[derive(Debug)]
pub struct Disk {
    state: Mutex<State>,
    // after the database: who comes next finds it closed
    directory: Directory,
    schema: u8,
}

#[derive(Debug)]
enum State {
    // boxed: one of the two is as large as a database is
    Live(Box<Live>),
    /// After the first error; with it.
    Failed(Arc<DiskError>),
}

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
        self.0.extend(later.0);
    }
}

impl Disk {
    /// Opens the database in `path`, made if it is not there, and gives every record in it by key. Records of
    /// another schema than `schema` are refused.
    pub fn open(path: &Path, schema: u8) -> Result<(Self, Records), DiskError> {
        let directory = Directory::open(path)?;
        let (live, records, _) = open_live(&directory, schema)?;
        Ok((Self::over(directory, live, schema), records))
    }

    fn over(directory: Directory, live: Live, schema: u8) -> Self {
        Self {
            state: Mutex::new(State::Live(Box::new(live))),
            directory,
            schema,
        }
    }

    /// Writes a batch: when this returns, all of it survives a power cut. After an error none of it counts,
    /// and nothing more is taken.
    pub fn commit(&self, batch: &Batch) -> Result<(), DiskError> {
        self.write(batch)?;
        self.tend();
        Ok(())
    }

    /// Does the first half of a commit: what its caller waits for.
    fn write(&self, batch: &Batch) -> Result<(), DiskError> {
        self.with(|live| {
            if batch.is_empty() {
                return Ok(());
            }
            live.write(&self.directory, self.schema, batch)
        })
    }

    /// Does the second half of a commit: exports a snapshot and shrinks the database, where it is time. A failure
    /// of the first is a warning, one of the second is told to whoever commits next.
    fn tend(&self) -> Tended {
        let mut tended = Tended::default();
        // told by what comes next
        let _ = self.with(|live| {
            tended.exported = live.export_if_due(&self.directory, self.schema);
            tended.shrunk = live.shrink_if_due(&self.directory, self.schema)?;
            Ok(())
        });
        tended
    }

    /// Does something with the database; an error is the last thing that is done with it.
    fn with(&self, act: impl FnOnce(&mut Live) -> Result<(), DiskError>) -> Result<(), DiskError> {
        let mut state = self.state();
        let live = match &mut *state {
            State::Live(live) => live,
            State::Failed(source) => {
                return Err(DiskError::Failed {
                    path: self.directory.path().to_owned(),
                    source: Arc::clone(source),
                });
            }
        };
        let done = unpanicked(&self.directory, || act(live));
        if let Err(error) = &done {
            let before = mem::replace(&mut *state, State::Failed(Arc::new(error.clone())));
            // sled writes what it still has when it is closed, and may panic over that as well
            let _ = catch_unwind(AssertUnwindSafe(|| drop(before)));
        }
        done
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|held| held.into_inner())
    }
}

/// What was done after a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tended {
    exported: bool,
    shrunk: bool,
}

fn open_live(
    directory: &Directory,
    schema: u8,
) -> Result<(Live, Records, Option<Note>), DiskError> {
    let (live, pieces, note) = unpanicked(directory, || Live::open(directory, schema))?;
    let records = pieces::join(pieces)
        .ok_or_else(|| DiskError::damaged(directory.path(), "a record in it has no beginning"))?;
    Ok((live, records, note))
}

/// Makes an error of a panic: of sled, on content that makes no sense to it.
fn unpanicked<T>(
    directory: &Directory,
    act: impl FnOnce() -> Result<T, DiskError>,
) -> Result<T, DiskError> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        let message = panic_message(panic.as_ref());
        Err(DiskError::damaged(directory.path(), message))
    })
}

fn text(key: &[u8]) -> String {
    key.escape_ascii().to_string()
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    message.unwrap_or("sled panicked").to_owned()
}

#[cfg(test)]
mod tests;
