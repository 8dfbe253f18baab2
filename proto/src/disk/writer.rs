//! The one writer of a database: batches that arrive while a commit is under way are made durable together by
//! the next one, since the price of a commit is its syncs, however much is in it.
//!
//! The group is one batch, in the order of arrival: the last that writes a key decides. Everyone in it gets the
//! verdict on all of it. After a failed commit everyone gets an error, and the directory is let go, so that it can
//! be opened again, recovered or rebuilt while there are still handles.

use std::mem;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::{Batch, Disk, DiskError, Tended};
use crate::machine;

/// A commit of more records leaves some MiB free that it needed, and the allocator would keep them.
const LARGE: usize = 1_000;

/// A handle on the one that writes. Clones share it; the directory is let go after the last of them.
#[derive(Debug, Clone)]
pub struct Writer(Arc<Shared>);

/// How much the writer has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Batches that are durable.
    pub batches: u64,
    /// Commits that made them so, each with one sync of the file system.
    pub commits: u64,
    /// Snapshots written.
    pub snapshots: u64,
    /// How often the database was written anew for its size.
    pub shrinks: u64,
}

#[derive(Debug)]
struct Shared {
    path: Box<Path>,
    /// What the disk is simulated by, if it is, and with which schema.
    #[cfg(feature = "simulated")]
    simulated: Option<(super::simulated::Medium, u8)>,
    queue: Mutex<Queue>,
    /// A disk until its first error, which stays.
    disk: Mutex<Result<Disk, Arc<DiskError>>>,
    /// Whether that is an error, for who must not wait for a commit to know.
    failed: AtomicBool,
    tally: Tally,
}

/// Who waits; each caller has one batch in it at most.
#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Whether somebody writes, and will look here again.
    writing: bool,
}

#[derive(Debug)]
struct Waiting {
    batch: Batch,
    verdict: oneshot::Sender<Result<(), DiskError>>,
}

/// Batches that one commit makes durable, in their order.
#[derive(Debug, Default)]
struct Group {
    batch: Batch,
    verdicts: Vec<oneshot::Sender<Result<(), DiskError>>>,
}

#[derive(Debug, Default)]
struct Tally {
    batches: AtomicU64,
    commits: AtomicU64,
    snapshots: AtomicU64,
    shrinks: AtomicU64,
}

/// The right to write, which one at a time has.
struct Turn {
    shared: Arc<Shared>,
    /// Whether it went to its end, when somebody else may have the next already.
    over: bool,
}

impl Writer {
    /// Takes a disk over.
    pub fn new(disk: Disk) -> Self {
        Self(Arc::new(Shared {
            path: disk.0.path().into(),
            #[cfg(feature = "simulated")]
            simulated: disk.0.simulated(),
            queue: Mutex::default(),
            disk: Mutex::new(Ok(disk)),
            failed: AtomicBool::new(false),
            tally: Tally::default(),
        }))
    }

    /// Writes a batch: when this returns, all of it survives a power cut. After an error none of it counts, and
    /// nothing more is taken. A batch is written also when its caller waits no more.
    pub async fn commit(&self, batch: Batch) -> Result<(), DiskError> {
        let (verdict, told) = oneshot::channel();
        let first = {
            let mut queue = lock(&self.0.queue);
            queue.waiting.push(Waiting { batch, verdict });
            !mem::replace(&mut queue.writing, true)
        };
        if first {
            let turn = Turn {
                shared: Arc::clone(&self.0),
                over: false,
            };
            turn.begin();
        }
        let lost = |_| DiskError::damaged(&self.0.path, "nobody is left to write to it");
        told.await.map_err(lost)?
    }

    /// Says whether a commit failed, after which nothing more is taken.
    pub fn has_failed(&self) -> bool {
        self.0.failed.load(Ordering::Relaxed)
    }

    /// Reads how much was done.
    pub fn counts(&self) -> Counts {
        let Tally {
            batches,
            commits,
            snapshots,
            shrinks,
        } = &self.0.tally;
        Counts {
            batches: batches.load(Ordering::Relaxed),
            commits: commits.load(Ordering::Relaxed),
            snapshots: snapshots.load(Ordering::Relaxed),
            shrinks: shrinks.load(Ordering::Relaxed),
        }
    }
}

impl Turn {
    /// Writes on a thread that may block.
    #[cfg(not(feature = "simulated"))]
    fn begin(self) {
        spawn_blocking(move || self.write());
    }

    /// Writes on a thread that may block, or where the disk is simulated as a task that takes its time.
    #[cfg(feature = "simulated")]
    fn begin(self) {
        match self.shared.simulated.clone() {
            None => drop(spawn_blocking(move || self.write())),
            Some((medium, _)) if medium.is_instant() => self.write(),
            Some((medium, schema)) => drop(tokio::spawn(self.write_slowly(medium, schema))),
        }
    }

    /// Writes until nobody waits.
    fn write(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut disk = lock(&shared.disk);
        while let Some(group) = shared.next() {
            shared.settle(&mut disk, group);
        }
        self.over = true;
    }

    /// Writes until nobody waits; whoever ends the task meanwhile cuts a commit.
    #[cfg(feature = "simulated")]
    async fn write_slowly(mut self, medium: super::simulated::Medium, schema: u8) {
        let shared = Arc::clone(&self.shared);
        while let Some(group) = shared.next() {
            medium.begin(schema, &group.batch);
            medium.turn().await;
            shared.settle(&mut lock(&shared.disk), group);
        }
        self.over = true;
    }
}

impl Drop for Turn {
    /// Where it was never taken, as in a runtime that shuts down, nobody waits for ever.
    fn drop(&mut self) {
        if !self.over {
            *lock(&self.shared.queue) = Queue::default();
        }
    }
}

impl Shared {
    /// Takes all that wait; none: nobody does, and whoever asks first has the next turn.
    fn next(&self) -> Option<Group> {
        let waiting = {
            let mut queue = lock(&self.queue);
            queue.writing = !queue.waiting.is_empty();
            mem::take(&mut queue.waiting)
        };
        if waiting.is_empty() {
            return None;
        }
        let mut group = Group::default();
        for Waiting { batch, verdict } in waiting {
            group.batch.extend(batch);
            group.verdicts.push(verdict);
        }
        Some(group)
    }

    /// Commits a group and tells everyone in it.
    fn settle(&self, disk: &mut Result<Disk, Arc<DiskError>>, group: Group) {
        let tally = &self.tally;
        let Group { batch, verdicts } = group;
        let large = batch.len() > LARGE;
        let verdict = commit(disk, &self.path, &batch);
        drop(batch);
        // before anybody hears of it
        self.failed.store(disk.is_err(), Ordering::Relaxed);
        if verdict.is_ok() {
            let batches = verdicts.len() as u64;
            tally.batches.fetch_add(batches, Ordering::Relaxed);
            tally.commits.fetch_add(1, Ordering::Relaxed);
        }
        for waits in verdicts {
            // who waits no more needs no verdict
            let _ = waits.send(verdict.clone());
        }
        // nobody waits for this
        let tended = disk.as_ref().map(|disk| disk.0.tend());
        let Tended { exported, shrunk } = tended.unwrap_or_default();
        tally
            .snapshots
            .fetch_add(exported.into(), Ordering::Relaxed);
        tally.shrinks.fetch_add(shrunk.into(), Ordering::Relaxed);
        if large {
            machine::give_back();
        }
    }
}

fn commit(
    disk: &mut Result<Disk, Arc<DiskError>>,
    path: &Path,
    group: &Batch,
) -> Result<(), DiskError> {
    let done = match disk {
        Ok(disk) => disk.0.write(group),
        Err(source) => {
            return Err(DiskError::Failed {
                path: path.to_owned(),
                source: Arc::clone(source),
            });
        }
    };
    if let Err(error) = &done {
        *disk = Err(Arc::new(error.clone()));
    }
    done
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|held| held.into_inner())
}

#[cfg(test)]
mod tests;
