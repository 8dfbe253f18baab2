//! sled's side: opening, reading, filling and closing a database.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::mem;
use std::ops::Deref;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::changes::Changes;
use super::directory::{
    Directory, LOCK_PATIENCE, LOCK_RETRY, exists, lock_soon, remove_dir, remove_file,
};
use super::envelope::{seal, unseal};
use super::mark::{MARK_KEY, Mark};
use super::{DiskError, Note, Records, text};
use crate::faults::{self, Point};

/// How much of its file sled frees or takes up at once. Its own 512 KiB are as much as all records of a small
/// node, and it leaves several half empty. A quarter of this is the most that a node takes before it goes to a file
/// of its own: the 256 keys of an inner one have 128 bytes each, of a leaf see `pieces`.
pub(super) const SEGMENT: usize = 128 * 1024;

/// Records that are put into a new database at once: with as many as fit, sled writes each of its nodes twice.
const FILLED_AT_ONCE: usize = 64;

/// Writes for which sled's garbage is collected once: one leaves some four objects behind, a collection takes 512
/// (crossbeam-epoch 0.9, src/internal.rs, `MAX_OBJECTS` and `COLLECT_STEPS`).
const COLLECTED_AT_ONCE: u64 = 64;
/// Collections until what was left last is old enough to go (crossbeam-epoch 0.9, src/internal.rs, `is_expired`).
const COLLECTED_LATE: u64 = 3;

/// How often a flush that is under way is looked after.
const LOOKED_AFTER: Duration = Duration::from_millis(200);

/// A database of sled's that is open.
#[derive(Debug)]
pub(super) struct Database {
    db: sled::Db,
    /// Knows of writes that failed on sled's own threads.
    config: sled::Config,
}

/// All that is in a database.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) records: Records,
    pub(super) mark: Mark,
    /// What a recovery wrote, until the first commit after it.
    pub(super) note: Option<Note>,
    /// Of all keys and sealed records.
    pub(super) bytes: u64,
}

/// Opens the database in `at`; waits a while for another holder of its lock, which may be on its way out: sled
/// lets go of it on a thread of its own.
fn open_at(at: &Path) -> Result<Database, sled::Error> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    drop_half_snapshots(at).map_err(sled::Error::Io)?;
    let config = sled::Config::new()
        .path(at)
        .segment_size(SEGMENT)
        // commits flush; a timer beside them would only write twice
        .flush_every_ms(None);
    loop {
        match config.open() {
            Err(error) if is_held(&error) && Instant::now() < deadline => {
                thread::sleep(LOCK_RETRY);
            }
            opened => return opened.map(|db| Database { db, config }),
        }
    }
}

impl Deref for Database {
    type Target = sled::Db;

    fn deref(&self) -> &sled::Db {
        &self.db
    }
}

impl Database {
    /// Flushes what was written. Where a write fails while sled waits for it, one of sled's two ways to write wakes nobody
    /// (sled 0.34.7, src/pagecache/logger.rs, `exit_reservation`), and it would wait for ever. A second flush meets the
    /// failure and wakes the first (src/pagecache/iobuf.rs, `make_stable_inner`).
    pub(super) fn flush(&self) -> Result<(), sled::Error> {
        thread::scope(|scope| {
            let (flushing, ended) = channel::<()>();
            let waken = move || {
                while ended.recv_timeout(LOOKED_AFTER) == Err(RecvTimeoutError::Timeout) {
                    if self.config.global_error().is_err() {
                        // the first gives the same error
                        let _ = self.db.flush();
                    }
                }
            };
            thread::Builder::new()
                .name("weir-flush".to_owned())
                .spawn_scoped(scope, waken)
                .map_err(sled::Error::Io)?;
            let flushed = self.db.flush();
            drop(flushing);
            flushed.map(drop)
        })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // sled flushes what is left when it is dropped, and would wait there as well
        if !thread::panicking() {
            let _ = self.flush();
        }
    }
}

/// Removes a snapshot that sled had begun to write when it was cut: it would read that as if it were whole
/// (sled 0.34.7, src/config.rs, `get_snapshot_files`), and call the database corrupt. The one before is still there.
fn drop_half_snapshots(at: &Path) -> io::Result<()> {
    if !exists(at)? {
        return Ok(());
    }
    for entry in fs::read_dir(at)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "generating") {
            remove_file(&path)?;
        }
    }
    Ok(())
}

/// Says whether somebody else has the lock: sled has no kind of error for that but "other", which it has for a
/// file that makes no sense as well, and so many words (sled 0.34.7, src/config.rs, `try_lock`).
fn is_held(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error)
        if error.kind() == io::ErrorKind::Other && error.to_string().contains("acquire lock"))
}

/// Opens the database of a directory, which is made if it is not there.
pub(super) fn open(directory: &Directory) -> Result<Database, DiskError> {
    faults::pass(Point::JournalOpen)
        .map_err(|fault| DiskError::directory(directory.path(), fault.into()))?;
    open_at(&directory.db()).map_err(|error| {
        let path = directory.path();
        if is_held(&error) {
            let path = path.to_owned();
            DiskError::Held { path }
        } else {
            DiskError::open(path, error)
        }
    })
}

/// Reads everything and compares it with its mark. Records of another schema than `schema` are refused.
pub(super) fn read(directory: &Directory, db: &sled::Db, schema: u8) -> Result<Content, DiskError> {
    let path = directory.path();
    let entries = db.iter();
    let entries = entries.map(|entry| entry.map_err(|error| DiskError::open(path, error)));
    Content::of(path, schema, entries)
}

impl Content {
    /// Compares records with their mark, which is among them. Those of another schema than `schema` are refused.
    pub(super) fn of<B: AsRef<[u8]>>(
        path: &Path,
        schema: u8,
        entries: impl Iterator<Item = Result<(B, B), DiskError>>,
    ) -> Result<Self, DiskError> {
        let damaged = |message: &str| DiskError::damaged(path, message);
        let mut content = Self {
            records: Records::new(),
            mark: Mark::default(),
            note: None,
            bytes: 0,
        };
        let mut found = Mark::default();
        for entry in entries {
            let (key, record) = entry?;
            let (key, record) = (key.as_ref(), record.as_ref());
            let payload = unseal(schema, key, record).map_err(|why| {
                why.unwrap_or_else(|| {
                    damaged(&format!("record {} has another checksum", text(key)))
                })
            })?;
            if *key == *MARK_KEY {
                let read = Mark::from_bytes(payload).and_then(|(mark, note)| {
                    let note = (!note.is_empty()).then(|| Note::from_bytes(note));
                    Some((mark, note.map_or(Some(None), |note| note.map(Some))?))
                });
                (content.mark, content.note) =
                    read.ok_or_else(|| damaged("its mark is too short"))?;
            } else {
                found.count(key, record);
                content.bytes += (key.len() + record.len()) as u64;
                content.records.insert(key.to_vec(), payload.to_vec());
            }
        }
        if !found.same_content(&content.mark) {
            return Err(damaged("its records are not the ones last committed"));
        }
        Ok(content)
    }
}

/// Gives every record but the mark, in its envelope, in the order of the keys.
pub(super) fn sealed(
    db: &sled::Db,
) -> impl Iterator<Item = Result<(sled::IVec, sled::IVec), sled::Error>> {
    db.iter()
        .filter(|entry| !matches!(entry, Ok((key, _)) if **key == *MARK_KEY))
}

/// Makes `db.next/` with the records of a database, which must be those of its mark. Everything in it is durable
/// when this returns, and it is closed.
pub(super) fn copy(
    directory: &Directory,
    db: &sled::Db,
    mark: Mark,
    mark_record: Vec<u8>,
) -> Result<(), DiskError> {
    let path = directory.path();
    let mut found = Mark::default();
    let sealed = sealed(db).map(|entry| {
        let (key, record) = entry.map_err(|error| DiskError::open(path, error))?;
        found.count(&key, &record);
        Ok((key, record))
    });
    let next = fill(directory, sealed)?;
    if !found.same_content(&mark) {
        let message = "its records are not the ones committed";
        return Err(DiskError::damaged(path, message));
    }
    finish(directory, next, mark_record)
}

/// Makes `db.next/` with records that are not sealed yet, and gives their mark. Everything in it is durable when
/// this returns, and it is closed.
pub(super) fn make(
    directory: &Directory,
    schema: u8,
    records: &Records,
    commits: u64,
    note: Option<&Note>,
) -> Result<Mark, DiskError> {
    let mut mark = Mark {
        commits,
        ..Mark::default()
    };
    let sealed = records.iter().map(|(key, payload)| {
        let record = seal(schema, key, payload);
        mark.count(key, &record);
        Ok((key.as_slice().into(), record.into()))
    });
    let next = fill(directory, sealed)?;
    finish(directory, next, mark.to_record(schema, note))?;
    Ok(mark)
}

/// Frees what so many writes of this thread replaced. sled copies a node for each write to it, keeps the old one for who
/// may still read it, and lets go of a little with every 128th call of a thread (crossbeam-epoch 0.9, src/internal.rs,
/// `PINNINGS_BETWEEN_COLLECT`): after a large commit that could be many times what is kept, and last for hours.
pub(super) fn collect_garbage(writes: u64) {
    for _ in 0..writes.div_ceil(COLLECTED_AT_ONCE) + COLLECTED_LATE {
        crossbeam_epoch::pin().flush();
    }
}

/// Makes `db.next/` with the records of a database as changes leave them. Everything in it is durable when this returns,
/// and it is closed.
pub(super) fn copy_changed(
    directory: &Directory,
    db: &sled::Db,
    changes: &Changes,
    mark_record: Vec<u8>,
) -> Result<(), DiskError> {
    let path = directory.path();
    let changed: BTreeMap<&[u8], Option<&[u8]>> = changes
        .records
        .iter()
        .map(|(key, record)| (key.as_slice(), record.as_deref()))
        .filter(|(key, _)| *key != MARK_KEY)
        .collect();
    let kept = sealed(db)
        .filter(|entry| !matches!(entry, Ok((key, _)) if changed.contains_key(key.as_ref())))
        .map(|entry| entry.map_err(|error| DiskError::open(path, error)));
    let put = changed
        .iter()
        .filter_map(|(key, record)| Some(Ok(((*key).into(), (*record)?.into()))));
    let mut found = Mark::default();
    let all = kept.chain(put).inspect(|entry| {
        if let Ok((key, record)) = entry {
            found.count(key, record);
        }
    });
    let next = fill(directory, all)?;
    if !found.same_content(&changes.mark) {
        let message = "its records are not the ones committed";
        return Err(DiskError::damaged(path, message));
    }
    finish(directory, next, mark_record)
}

fn fill(
    directory: &Directory,
    sealed: impl Iterator<Item = Result<(sled::IVec, sled::IVec), DiskError>>,
) -> Result<Database, DiskError> {
    let failed = |error| DiskError::write(directory.path(), error);
    remove_dir(&directory.next()).map_err(|error| DiskError::directory(directory.path(), error))?;
    let db = open_at(&directory.next()).map_err(failed)?;
    let mut batch = sled::Batch::default();
    for (place, entry) in sealed.enumerate() {
        let (key, record) = entry?;
        batch.insert(key, record);
        if place % FILLED_AT_ONCE == FILLED_AT_ONCE - 1 {
            db.apply_batch(mem::take(&mut batch)).map_err(failed)?;
            collect_garbage(FILLED_AT_ONCE as u64);
        }
    }
    db.apply_batch(batch).map_err(failed)?;
    Ok(db)
}

fn finish(directory: &Directory, db: Database, mark_record: Vec<u8>) -> Result<(), DiskError> {
    db.insert(MARK_KEY, mark_record)
        .map_err(|error| DiskError::write(directory.path(), error))?;
    close(db, directory, &directory.next())?;
    directory
        .sync()
        .map_err(|error| DiskError::sync(directory.path(), error))
}

/// Closes a database and waits until sled's threads have let go of it: they know its files by their names.
pub(super) fn close(db: Database, directory: &Directory, at: &Path) -> Result<(), DiskError> {
    db.flush()
        .map_err(|error| DiskError::write(directory.path(), error))?;
    drop(db);
    let unlocked = || lock_soon(&File::open(at.join("db"))?);
    match unlocked().map_err(|error| DiskError::directory(directory.path(), error))? {
        true => Ok(()),
        false => Err(DiskError::Held {
            path: directory.path().to_owned(),
        }),
    }
}
