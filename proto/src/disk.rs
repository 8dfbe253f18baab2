//! Keeps records so that no crash loses or invents one: the room of sled, for the controller's store and
//! the agent's journal alike.
//!
//! sled 0.34 alone is not durable on Linux: its `flush` ends in `sync_file_range(2)`, which does not reach the
//! disk's own cache nor the directory, and damage can open silently as older or empty data. So:
//! - a commit is one atomic batch, flushed, then `syncfs(2)` on the directory, then the watermark;
//! - each record carries a schema number and a checksum over that, its key and its bytes;
//! - the database holds a mark {commits, records, digest} of its whole content, and so does the file
//!   `watermark` beside it: at open the content must have the mark, and must not be older than the watermark;
//! - sled may panic on damage, so opening happens inside `catch_unwind`;
//! - after a failed sync nothing more is written: what a second try would report as durable may not be.
//!
//! All calls block; callers put them on a thread that may.

pub mod envelope;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_128;

use self::envelope::{seal, unseal};
use crate::faults::{self, Bug, Point};

/// Where the mark of the content is kept in the database. No caller's key begins with a zero byte.
const MARK_KEY: &[u8] = b"\0mark";
/// A holder that is going needs milliseconds; one that stays is an error worth a second's wait.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// Records on disk. One process at a time: a second one that opens the same directory is refused.
#[derive(Debug)]
pub struct Disk {
    db: sled::Db,
    path: PathBuf,
    directory: File,
    schema: u8,
    /// The mark of what is on disk; none after a failed commit.
    mark: Mutex<Option<Mark>>,
}

/// Records by key.
pub type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// What changes in one commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch(BTreeMap<Vec<u8>, Option<Vec<u8>>>);

/// What went wrong with the records in `path`, or `key`.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum DiskError {
    #[error("cannot use {path} as a data directory")]
    Directory { path: PathBuf, source: io::Error },
    #[error("cannot open the database in {path}")]
    Open { path: PathBuf, source: sled::Error },
    #[error("the database in {path} is in use by a program that runs")]
    Held { path: PathBuf },
    #[error("the database in {path} is damaged: {message}")]
    Damaged { path: PathBuf, message: String },
    #[error("record {key:?} has schema {found}, and this version reads {known}")]
    Schema { key: String, found: u8, known: u8 },
    #[error(
        "the database in {path} is older than its watermark: it has {found} commits of {wanted}"
    )]
    RolledBack {
        path: PathBuf,
        found: u64,
        wanted: u64,
    },
    #[error("cannot write to the database in {path}")]
    Write { path: PathBuf, source: sled::Error },
    #[error("cannot make what was written to {path} durable")]
    Sync { path: PathBuf, source: io::Error },
    #[error("the database in {path} takes nothing more since a write to it failed")]
    Failed { path: PathBuf },
}

/// What identifies the whole content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mark {
    commits: u64,
    records: u64,
    digest: u128,
}

impl Batch {
    /// Writes a record over the one that has its key.
    pub fn put(&mut self, key: Vec<u8>, payload: Vec<u8>) {
        debug_assert!(key.first().is_some_and(|byte| *byte != 0));
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
}

impl Disk {
    /// Opens the database in `path`, made if it is not there, and gives every record in it by key. Records of
    /// another schema than `schema` are refused.
    pub fn open(path: &Path, schema: u8) -> Result<(Self, Records), DiskError> {
        let at = |source| DiskError::Directory {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(path).map_err(at)?;
        let directory = File::open(path).map_err(at)?;
        let opened = catch_unwind(AssertUnwindSafe(|| read_all(path, schema)));
        let (db, records, mark) = opened.unwrap_or_else(|panic| {
            Err(DiskError::Damaged {
                path: path.to_owned(),
                message: panic_message(panic.as_ref()),
            })
        })?;
        if let Some(watermark) = read_watermark(path)?
            && mark.commits < watermark.commits
            && !faults::planted(Bug::WatermarkUnchecked)
        {
            return Err(DiskError::RolledBack {
                path: path.to_owned(),
                found: mark.commits,
                wanted: watermark.commits,
            });
        }
        let disk = Self {
            db,
            path: path.to_owned(),
            directory,
            schema,
            mark: Mutex::new(Some(mark)),
        };
        Ok((disk, records))
    }

    /// Writes a batch: when this returns, all of it survives a power cut. After an error none of it counts,
    /// and nothing more is taken.
    pub fn commit(&self, batch: &Batch) -> Result<(), DiskError> {
        let mut held = self.mark.lock().unwrap_or_else(|held| held.into_inner());
        let Some(before) = held.take() else {
            return Err(DiskError::Failed {
                path: self.path.clone(),
            });
        };
        if batch.is_empty() {
            *held = Some(before);
            return Ok(());
        }
        let after = self.write(batch, before)?;
        *held = Some(after);
        Ok(())
    }

    fn write(&self, batch: &Batch, before: Mark) -> Result<Mark, DiskError> {
        let failed = |source| DiskError::Write {
            path: self.path.clone(),
            source,
        };
        let unsynced = |source| DiskError::Sync {
            path: self.path.clone(),
            source,
        };
        faults::pass(Point::JournalBatch).map_err(|fault| unsynced(fault.into()))?;
        let mut mark = Mark {
            commits: before.commits + 1,
            ..before
        };
        let mut changes = sled::Batch::default();
        for (key, payload) in &batch.0 {
            if let Some(old) = self.db.get(key).map_err(failed)? {
                mark.forget(key, &old);
            }
            match payload {
                Some(payload) => {
                    let record = seal(self.schema, key, payload);
                    mark.count(key, &record);
                    changes.insert(key.as_slice(), record);
                }
                None => changes.remove(key.as_slice()),
            }
        }
        changes.insert(MARK_KEY, seal(self.schema, MARK_KEY, &mark.to_bytes()));
        self.db.apply_batch(changes).map_err(failed)?;
        faults::pass(Point::JournalApplied).map_err(|fault| unsynced(fault.into()))?;
        self.db.flush().map_err(failed)?;
        faults::pass(Point::JournalFlushed).map_err(|fault| unsynced(fault.into()))?;
        let synced = self.sync(mark).map_err(unsynced);
        if !faults::planted(Bug::FailedSyncTaken) {
            synced?;
        }
        faults::pass(Point::JournalMarked).map_err(|fault| unsynced(fault.into()))?;
        Ok(mark)
    }

    fn sync(&self, mark: Mark) -> io::Result<()> {
        nix::unistd::syncfs(&self.directory)?;
        faults::pass(Point::JournalSynced)?;
        self.write_watermark(mark)
    }

    fn write_watermark(&self, mark: Mark) -> io::Result<()> {
        let next = self.path.join("watermark.next");
        let mut file = File::create(&next)?;
        file.write_all(&seal(self.schema, MARK_KEY, &mark.to_bytes()))?;
        file.sync_all()?;
        fs::rename(next, self.path.join("watermark"))?;
        self.directory.sync_all()
    }
}

type Content = (sled::Db, Records, Mark);

fn read_all(path: &Path, schema: u8) -> Result<Content, DiskError> {
    let failed = |source| DiskError::Open {
        path: path.to_owned(),
        source,
    };
    let damaged = |message: &str| DiskError::Damaged {
        path: path.to_owned(),
        message: message.to_owned(),
    };
    faults::pass(Point::JournalOpen).map_err(|fault| failed(io::Error::from(fault).into()))?;
    let db = open_db(path).map_err(|error| match error {
        error if is_held(&error) => DiskError::Held {
            path: path.to_owned(),
        },
        // it says so of a head that it cannot read
        sled::Error::Unsupported(message) => damaged(&message),
        error => failed(error),
    })?;
    let mut records = Records::new();
    let mut found = Mark::default();
    let mut mark = Mark::default();
    for entry in db.iter() {
        let (key, record) = entry.map_err(failed)?;
        let payload = unseal(schema, &key, &record).map_err(|why| {
            why.unwrap_or_else(|| damaged(&format!("record {} has another checksum", text(&key))))
        })?;
        if *key == *MARK_KEY {
            mark = Mark::from_bytes(payload).ok_or_else(|| damaged("its mark is too short"))?;
        } else {
            found.count(&key, &record);
            records.insert(key.to_vec(), payload.to_vec());
        }
    }
    if (found.records, found.digest) != (mark.records, mark.digest) {
        return Err(damaged("its records are not the ones last committed"));
    }
    Ok((db, records, mark))
}

/// Opens the database; waits a while for another holder of its lock, which may be on its way out: sled lets
/// go of it on a thread of its own.
fn open_db(path: &Path) -> Result<sled::Db, sled::Error> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        let opened = sled::Config::new()
            .path(path.join("db"))
            // commits flush; a timer beside them would only write twice
            .flush_every_ms(None)
            .open();
        match opened {
            Err(error) if is_held(&error) && Instant::now() < deadline => {
                thread::sleep(LOCK_PATIENCE / 40);
            }
            opened => return opened,
        }
    }
}

/// Says whether somebody else has the lock: sled has no kind of error for that but "other".
fn is_held(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.kind() == io::ErrorKind::Other)
}

fn read_watermark(path: &Path) -> Result<Option<Mark>, DiskError> {
    let bytes = match fs::read(path.join("watermark")) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(DiskError::Directory {
                path: path.to_owned(),
                source,
            });
        }
    };
    let damaged = || DiskError::Damaged {
        path: path.to_owned(),
        message: "its watermark has another checksum".to_owned(),
    };
    // the schema of the watermark is whatever wrote it last: only the count matters
    let schema = bytes.first().copied().unwrap_or_default();
    let payload = unseal(schema, MARK_KEY, &bytes).map_err(|_| damaged())?;
    Mark::from_bytes(payload).map(Some).ok_or_else(damaged)
}

impl Mark {
    fn count(&mut self, key: &[u8], record: &[u8]) {
        self.records += 1;
        self.digest = self.digest.wrapping_add(hash(key, record));
    }

    fn forget(&mut self, key: &[u8], record: &[u8]) {
        self.records -= 1;
        self.digest = self.digest.wrapping_sub(hash(key, record));
    }

    fn to_bytes(self) -> Vec<u8> {
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

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (commits, rest) = bytes.split_first_chunk()?;
        let (records, rest) = rest.split_first_chunk()?;
        let (digest, _) = rest.split_first_chunk()?;
        Some(Self {
            commits: u64::from_be_bytes(*commits),
            records: u64::from_be_bytes(*records),
            digest: u128::from_be_bytes(*digest),
        })
    }
}

fn hash(key: &[u8], record: &[u8]) -> u128 {
    // the key's length keeps (ab, c) and (a, bc) apart
    let mut bytes = Vec::with_capacity(8 + key.len() + record.len());
    bytes.extend((key.len() as u64).to_be_bytes());
    bytes.extend(key);
    bytes.extend(record);
    xxh3_128(&bytes)
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
