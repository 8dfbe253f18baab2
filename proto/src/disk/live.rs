//! A database that is open: its commits, and what is done between them.

use std::mem;

use super::changes::Changes;
use super::database::{self, Database};
use super::directory::{self, Directory};
use super::mark::{Mark, read_watermark, write_watermark};
use super::{Batch, DiskError, Note, Records, snapshot};
use crate::faults::{self, Bug, Point};

/// A snapshot is written when as much was committed as all records take, so that it costs as much as commits
/// do; not more often than for each MiB.
const EXPORT_AFTER: u64 = 1024 * 1024;
/// A database is shrunk above so many halves of its content: a new one has 3 times that (sled's nodes are written
/// once when they are filled and again when they are split), and sled lets it grow to 5 or 6 times.
const GROWTH: u64 = 9;
/// Below this nothing is shrunk: it is 6 segments, the least that sled does with.
const SHRUNK_ABOVE: u64 = 6 * database::SEGMENT as u64;
/// A commit of more records than these, and than half of those that are kept, goes into a new database that takes the place of
/// the old one, which costs about as much: sled keeps all that a batch replaces until the batch is over, some 5 kB for each
/// record in it.
const LARGE: u64 = 1024;
/// Committed bytes between two looks at the files; for more content, an eighth of that.
const MEASURED_AFTER: u64 = 64 * 1024;

/// The database and what is known of it.
#[derive(Debug)]
pub(super) struct Live {
    /// None only while it is replaced, and after that failed.
    db: Option<Database>,
    mark: Mark,
    /// What the keys and sealed records take.
    bytes: u64,
    /// What was committed since the last snapshot.
    unexported: u64,
    /// What was committed since the files were measured.
    unmeasured: u64,
    /// How many records were written since sled's garbage was collected.
    uncollected: u64,
    /// The files are left alone below this.
    shrunk_above: u64,
}

impl Live {
    /// Opens what is in a directory, or makes it.
    pub(super) fn open(
        directory: &Directory,
        schema: u8,
    ) -> Result<(Self, Records, Option<Note>), DiskError> {
        let path = directory.path();
        let at = |error| DiskError::directory(path, error);
        directory.put_back().map_err(at)?;
        snapshot::tidy(directory).map_err(at)?;
        let watermark = read_watermark(directory);
        if !directory::exists(&directory.db()).map_err(at)? {
            may_be_new(directory, watermark.clone()?)?;
            database::make(directory, schema, &Records::new(), 0, None)?;
            directory.switch().map_err(at)?;
        }
        let db = database::open(directory)?;
        let database::Content {
            records,
            mark,
            note,
            bytes,
        } = database::read(directory, &db, schema)?;
        let newest = snapshot::list(directory).map_err(at)?.pop();
        let exported = newest.is_some_and(|(commits, _)| commits == mark.commits);
        let mut live = Self {
            db: Some(db),
            mark,
            bytes,
            // how much was committed since then nobody knows
            unexported: if exported { 0 } else { u64::MAX },
            unmeasured: u64::MAX,
            uncollected: 0,
            shrunk_above: 0,
        };
        let watermark = match watermark {
            // a new database, or that of a recovery, was durable before it got its place; its watermark comes after
            Ok(None) | Err(_) if note.is_some() => None,
            Ok(None) if mark.commits == 0 => None,
            Ok(None) => return Err(DiskError::damaged(path, "its watermark is missing")),
            watermark => watermark?,
        };
        if let Some(watermark) = watermark {
            mark.compare(path, watermark)?;
            if mark != watermark && note.is_none() {
                live.replace(directory, schema)?;
            }
        }
        if watermark != Some(mark) {
            write_watermark(directory, schema, mark)
                .map_err(|error| DiskError::sync(path, error))?;
        }
        // sled writes when it opens, and what it wrote is the ground of what comes next
        directory
            .sync()
            .map_err(|error| DiskError::sync(path, error))?;
        directory.drop_old().map_err(at)?;
        Ok((live, records, note))
    }

    /// Makes a batch durable.
    pub(super) fn write(
        &mut self,
        directory: &Directory,
        schema: u8,
        batch: &Batch,
    ) -> Result<(), DiskError> {
        let path = directory.path();
        let failed = |error| DiskError::write(path, error);
        let unsynced = |error| DiskError::sync(path, error);
        let pass = |point| faults::pass(point).map_err(|fault| unsynced(fault.into()));
        pass(Point::JournalBatch)?;
        let db = self.db(directory)?;
        let get = |key: &[u8]| db.get(key).map_err(failed);
        let changes = Changes::of(batch, schema, (self.mark, self.bytes), get)?;
        let count = changes.records.len() as u64;
        let Changes {
            mark,
            bytes,
            written,
            ..
        } = changes;
        if count > LARGE.max(self.mark.records / 2) {
            let mark_record = mark.to_record(schema, None);
            database::copy_changed(directory, db, &changes, mark_record)?;
            drop(changes);
            pass(Point::JournalApplied)?;
            self.switch(directory)?;
            pass(Point::JournalFlushed)?;
        } else {
            let mut batch = sled::Batch::default();
            for (key, record) in changes.records {
                match record {
                    Some(record) => batch.insert(key, record),
                    None => batch.remove(key),
                }
            }
            db.apply_batch(batch).map_err(failed)?;
            pass(Point::JournalApplied)?;
            db.flush().map_err(failed)?;
            pass(Point::JournalFlushed)?;
        }
        let synced = sync(directory, schema, mark).map_err(unsynced);
        if !faults::planted(Bug::FailedSyncTaken) {
            synced?;
        }
        pass(Point::JournalMarked)?;

        self.mark = mark;
        self.bytes = bytes;
        self.unexported = self.unexported.saturating_add(written);
        self.unmeasured = self.unmeasured.saturating_add(written);
        self.uncollected += count;
        Ok(())
    }

    /// Frees what commits since the last time replaced in memory.
    pub(super) fn collect_garbage(&mut self) {
        database::collect_garbage(mem::take(&mut self.uncollected));
    }

    /// Writes a snapshot when there is enough new in it. No snapshot is no loss: it is tried again when as much
    /// was committed once more.
    pub(super) fn export_if_due(&mut self, directory: &Directory, schema: u8) -> bool {
        let Some(db) = &self.db else { return false };
        if self.unexported <= self.bytes.max(EXPORT_AFTER) {
            return false;
        }
        self.unexported = 0;
        let exported = snapshot::export(directory, schema, db, self.mark);
        if let Err(error) = &exported {
            let path = directory.path().display();
            tracing::warn!(%path, %error, "no snapshot could be written");
        }
        exported.is_ok()
    }

    /// Writes the database anew when it is large for what is in it.
    pub(super) fn shrink_if_due(
        &mut self,
        directory: &Directory,
        schema: u8,
    ) -> Result<bool, DiskError> {
        if self.unmeasured <= (self.bytes / 8).max(MEASURED_AFTER) {
            return Ok(false);
        }
        self.unmeasured = 0;
        let path = directory.path();
        let size =
            directory::size(&directory.db()).map_err(|error| DiskError::directory(path, error))?;
        let bound = (self.bytes * GROWTH / 2).max(SHRUNK_ABOVE);
        if size <= bound.max(self.shrunk_above) {
            return Ok(false);
        }
        let mark_record = self.mark.to_record(schema, None);
        if let Err(error) = database::copy(directory, self.db(directory)?, self.mark, mark_record) {
            // no room for both, most likely: the one that is there goes on, and grows before it is tried again
            tracing::warn!(path = %path.display(), %error, "the database could not be written anew");
            // what there is of it takes the room that the one that goes on needs; if it stays, so does that
            let _ = directory.drop_next();
            self.shrunk_above = size + size / 2;
            return Ok(false);
        }
        self.switch(directory)?;
        // a content of which even a new database is that large would be written anew again and again
        let size =
            directory::size(&directory.db()).map_err(|error| DiskError::directory(path, error))?;
        self.shrunk_above = size + (size / 8).max(2 * database::SEGMENT as u64);
        Ok(true)
    }

    /// Writes the same records into a new database, which takes the place of this one.
    fn replace(&mut self, directory: &Directory, schema: u8) -> Result<(), DiskError> {
        let mark_record = self.mark.to_record(schema, None);
        database::copy(directory, self.db(directory)?, self.mark, mark_record)?;
        self.switch(directory)
    }

    fn switch(&mut self, directory: &Directory) -> Result<(), DiskError> {
        if let Some(db) = mem::take(&mut self.db) {
            database::close(db, directory, &directory.db())?;
        }
        let unsynced = |error| DiskError::sync(directory.path(), error);
        directory.switch().map_err(unsynced)?;
        self.db = Some(database::open(directory)?);
        directory.drop_old().map_err(unsynced)
    }

    fn db(&self, directory: &Directory) -> Result<&Database, DiskError> {
        let closed = || DiskError::damaged(directory.path(), "its database is closed");
        self.db.as_ref().ok_or_else(closed)
    }

    #[cfg(test)]
    pub(super) fn tampered(&self) -> &sled::Db {
        self.db.as_ref().expect("open")
    }
}

/// Says that a database that is not there never was; or what speaks against that.
fn may_be_new(directory: &Directory, watermark: Option<Mark>) -> Result<(), DiskError> {
    let path = directory.path();
    let snapshots = snapshot::list(directory).map_err(|error| DiskError::directory(path, error))?;
    match watermark {
        Some(watermark) if watermark.commits > 0 => Err(DiskError::RolledBack {
            path: path.to_owned(),
            found: 0,
            wanted: watermark.commits,
        }),
        _ if snapshots.is_empty() => Ok(()),
        _ => Err(DiskError::damaged(path, "its database is missing")),
    }
}

/// Makes what was written durable, and says so beside it.
fn sync(directory: &Directory, schema: u8, mark: Mark) -> std::io::Result<()> {
    directory.sync()?;
    faults::pass(Point::JournalSynced)?;
    write_watermark(directory, schema, mark)
}
