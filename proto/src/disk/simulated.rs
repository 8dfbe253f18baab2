//! A disk in memory, for simulations and for fleets within one process: it is opened by its path as a directory is, takes
//! a while to sync, and loses or tears what was not synced when whoever wrote it is gone.
//!
//! Envelopes, marks, the watermark and the choice of what is left of damage are those of the real one; what is simulated is
//! where bytes are kept. Rules:
//! - only behind the feature `simulated`, which no program that is shipped is built with;
//! - a path is simulated while its [`Medium`] lives, which outlives any number of openings;
//! - nothing blocks and no thread is used: a commit is a task that waits for as long as the sync takes;
//! - what becomes of a batch that was cut is drawn from the medium's own seed when it is opened again.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, Weak};
use std::time::Duration;

use super::changes::Changes;
use super::database::Content;
use super::envelope::seal;
use super::mark::{MARK_KEY, Mark};
use super::recovery::{Known, Note};
use super::{Batch, DiskError, Records, Recovered, Tended, pieces};
use crate::machine::Lot;

/// All that live, by their path.
static MEDIA: LazyLock<Mutex<BTreeMap<PathBuf, Weak<Shared>>>> = LazyLock::new(Mutex::default);

/// How a medium behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    /// What everything that is left to chance is drawn from.
    pub seed: u64,
    /// How long a sync takes at most; zero: a commit is done when it is asked for.
    pub sync: Duration,
    /// Whether a batch that was cut may be there in part. Otherwise it is there or it is not, as where the database
    /// finds the end of its log by itself.
    pub tears: bool,
    /// How many bytes are committed between two snapshots, at least; none: there are no snapshots.
    pub snapshots: Option<u64>,
}

/// A disk that is simulated. Clones share it.
#[derive(Debug, Clone)]
pub struct Medium(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    behaviour: Behaviour,
    inside: Mutex<Inside>,
}

/// What is on it.
#[derive(Debug)]
struct Inside {
    lot: Lot,
    /// Sealed, the mark among them. None: there is no database.
    records: Option<Records>,
    watermark: Option<Mark>,
    snapshots: BTreeMap<u64, (Mark, Records)>,
    /// What is being written, and not synced.
    unsynced: Option<(u8, Batch)>,
    held: bool,
    failing: u32,
    cuts: Cuts,
}

/// What became of batches that were cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cuts {
    /// Batches of which nothing was left.
    pub lost: u64,
    /// Batches that were there whole though nobody had heard so.
    pub whole: u64,
    /// Batches that were there in part.
    pub torn: u64,
}

/// A medium that is open.
#[derive(Debug)]
pub(super) struct Memory {
    medium: Medium,
    schema: u8,
    live: Mutex<Live>,
}

/// What is known of it while it is open.
#[derive(Debug)]
struct Live {
    mark: Mark,
    bytes: u64,
    unexported: u64,
    failed: Option<Arc<DiskError>>,
}

/// Gives the medium that a path is simulated by.
pub(super) fn at(path: &Path) -> Option<Medium> {
    let media = MEDIA.lock().unwrap_or_else(|held| held.into_inner());
    media.get(path)?.upgrade().map(Medium)
}

impl Medium {
    /// Makes an empty disk at a path, in the place of the one that was simulated there.
    pub fn new(path: impl Into<PathBuf>, behaviour: Behaviour) -> Self {
        let path = path.into();
        let shared = Arc::new(Shared {
            path: path.clone(),
            behaviour,
            inside: Mutex::new(Inside {
                lot: Lot::new(behaviour.seed),
                records: None,
                watermark: None,
                snapshots: BTreeMap::new(),
                unsynced: None,
                held: false,
                failing: 0,
                cuts: Cuts::default(),
            }),
        });
        let mut media = MEDIA.lock().unwrap_or_else(|held| held.into_inner());
        media.retain(|_, medium| medium.strong_count() > 0);
        media.insert(path, Arc::downgrade(&shared));
        Self(shared)
    }

    /// Makes an empty disk that syncs at once, never tears and keeps no snapshots: the cheapest there is.
    pub fn instant(path: impl Into<PathBuf>) -> Self {
        let behaviour = Behaviour {
            seed: 0,
            sync: Duration::ZERO,
            tears: false,
            snapshots: None,
        };
        Self::new(path, behaviour)
    }

    /// Gives the path it is opened by.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Takes everything off it, as a new disk in a machine has nothing.
    pub fn erase(&self) {
        let mut inside = self.lock();
        (inside.records, inside.watermark, inside.unsynced) = (None, None, None);
        inside.snapshots.clear();
    }

    /// Makes the next syncs fail.
    pub fn fail_syncs(&self, count: u32) {
        self.lock().failing = count;
    }

    /// Gives what became of batches that were cut.
    pub fn cuts(&self) -> Cuts {
        self.lock().cuts
    }

    /// Says whether a commit is done when it is asked for.
    pub(super) fn is_instant(&self) -> bool {
        self.0.behaviour.sync.is_zero()
    }

    /// Draws how long the next sync takes.
    fn delay(&self) -> Duration {
        let most = self.0.behaviour.sync.as_micros() as u64;
        if most == 0 {
            return Duration::ZERO;
        }
        Duration::from_micros(1 + self.lock().lot.below(most))
    }

    /// Waits for as long as a disk takes for a few syncs, which opening one needs.
    pub(super) async fn turn(&self) {
        let delay = self.delay();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    /// Hands a batch over that is not synced yet.
    pub(super) fn begin(&self, schema: u8, batch: &Batch) {
        self.lock().unsynced = Some((schema, batch.clone()));
    }

    pub(super) fn open(&self, schema: u8) -> Result<(Memory, Records), DiskError> {
        let mut inside = self.hold()?;
        let opened = inside.open(self.path(), schema);
        let (live, records, _) = opened.inspect_err(|_| inside.held = false)?;
        drop(inside);
        Ok((self.over(schema, live), records))
    }

    pub(super) fn recover(
        &self,
        schema: u8,
    ) -> Result<(Memory, Records, Option<Recovered>), DiskError> {
        let mut inside = self.hold()?;
        let opened = match inside.open(self.path(), schema) {
            Err(why) if why.is_damage() => {
                let again = inside.start_again(self.path(), schema, &why);
                again.and_then(|()| inside.open(self.path(), schema))
            }
            opened => opened,
        };
        let (live, records, note) = opened.inspect_err(|_| inside.held = false)?;
        drop(inside);
        let aside = self.path().with_extension("damaged-1");
        let recovered = note.map(|note| note.told(aside));
        Ok((self.over(schema, live), records, recovered))
    }

    pub(super) fn rebuild(&self, schema: u8, records: &Records) -> Result<Memory, DiskError> {
        let mut inside = self.hold()?;
        if inside.fails() {
            inside.held = false;
            return Err(unsynced(self.path()));
        }
        inside.unsynced = None;
        let known = inside.known(self.path(), schema);
        let rebuilt = known.and_then(|known| {
            let pieces = pieces::split_all(records);
            inside.take_place(schema, &pieces, known.last + 1, None);
            inside.open(self.path(), schema)
        });
        let (live, _, _) = rebuilt.inspect_err(|_| inside.held = false)?;
        drop(inside);
        Ok(self.over(schema, live))
    }

    fn over(&self, schema: u8, live: Live) -> Memory {
        Memory {
            medium: self.clone(),
            schema,
            live: Mutex::new(live),
        }
    }

    /// Takes it, unless somebody has it.
    fn hold(&self) -> Result<MutexGuard<'_, Inside>, DiskError> {
        let mut inside = self.lock();
        if inside.held {
            return Err(DiskError::Held {
                path: self.path().to_owned(),
            });
        }
        inside.held = true;
        if let Some((schema, batch)) = inside.unsynced.take() {
            inside.cut(self.path(), schema, &batch, self.0.behaviour.tears);
        }
        Ok(inside)
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0
            .inside
            .lock()
            .unwrap_or_else(|held| held.into_inner())
    }
}

impl Inside {
    /// Opens what is there, or makes it, and judges it as the real one is judged.
    fn open(
        &mut self,
        path: &Path,
        schema: u8,
    ) -> Result<(Live, Records, Option<Note>), DiskError> {
        if self.records.is_none() {
            self.take_place(schema, &Records::new(), 0, None);
        }
        let Content {
            records,
            mark,
            note,
            bytes,
        } = self.content(path, schema)?;
        if let Some(watermark) = self.watermark {
            mark.compare(path, watermark)?;
        }
        self.watermark = Some(mark);
        let records = pieces::join(records)
            .ok_or_else(|| DiskError::damaged(path, "a record in it has no beginning"))?;
        let newest = self.snapshots.last_key_value();
        let exported = newest.is_some_and(|(commits, _)| *commits == mark.commits);
        let live = Live {
            mark,
            bytes,
            unexported: if exported { 0 } else { u64::MAX },
            failed: None,
        };
        Ok((live, records, note))
    }

    fn content(&self, path: &Path, schema: u8) -> Result<Content, DiskError> {
        let entries = self.records.iter().flatten();
        Content::of(path, schema, entries.map(Ok))
    }

    fn known(&self, path: &Path, schema: u8) -> Result<Known, DiskError> {
        let own = self.content(path, schema).ok();
        let own = own.map(|content| (content.mark, content.records));
        let snapshots = self.snapshots.iter();
        let snapshots = snapshots.map(|(commits, whole)| (*commits, || Ok(Some(whole.clone()))));
        Known::among(own, self.watermark, snapshots)
    }

    fn start_again(&mut self, path: &Path, schema: u8, why: &DiskError) -> Result<(), DiskError> {
        let known = self.known(path, schema)?;
        let (note, commits) = (known.note(why), known.last + 1);
        self.take_place(schema, &known.into_pieces(), commits, Some(&note));
        Ok(())
    }

    /// Makes a new database of records in pieces.
    fn take_place(&mut self, schema: u8, pieces: &Records, commits: u64, note: Option<&Note>) {
        let mut mark = Mark {
            commits,
            ..Mark::default()
        };
        let mut sealed = Records::new();
        for (key, payload) in pieces {
            let record = seal(schema, key, payload);
            mark.count(key, &record);
            sealed.insert(key.clone(), record);
        }
        sealed.insert(MARK_KEY.to_vec(), mark.to_record(schema, note));
        self.records = Some(sealed);
        self.watermark = Some(mark);
    }

    /// Works out what a batch changes.
    fn changes(&self, schema: u8, before: (Mark, u64), batch: &Batch) -> Changes {
        let get = |key: &[u8]| {
            let records = self.records.as_ref();
            Ok::<_, std::convert::Infallible>(records.and_then(|records| records.get(key)))
        };
        match Changes::of(batch, schema, before, get) {
            Ok(changes) => changes,
            Err(never) => match never {},
        }
    }

    fn put(&mut self, changes: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) {
        let records = self.records.get_or_insert_default();
        for (key, record) in changes {
            match record {
                Some(record) => records.insert(key, record),
                None => records.remove(&key),
            };
        }
    }

    /// Draws what is left of a batch that nobody synced: nothing, all of it, or a part.
    fn cut(&mut self, path: &Path, schema: u8, batch: &Batch, tears: bool) {
        let Ok(content) = self.content(path, schema) else {
            return;
        };
        let changes = self.changes(schema, (content.mark, content.bytes), batch);
        match self.lot.below(if tears { 3 } else { 2 }) {
            0 => self.cuts.lost += 1,
            1 => {
                self.cuts.whole += 1;
                self.put(changes.records);
            }
            _ => {
                self.cuts.torn += 1;
                for (key, mut record) in changes.records {
                    let half = self.lot.below(4) == 0;
                    if let (true, Some(record)) = (half, &mut record) {
                        record.truncate(record.len() / 2);
                    }
                    if self.lot.below(2) == 0 {
                        self.put([(key, record)]);
                    }
                }
            }
        }
    }

    fn fails(&mut self) -> bool {
        let fails = self.failing > 0;
        self.failing = self.failing.saturating_sub(1);
        fails
    }
}

impl Memory {
    pub(super) fn path(&self) -> &Path {
        self.medium.path()
    }

    /// Gives what it is on.
    pub(super) fn medium(&self) -> &Medium {
        &self.medium
    }

    pub(super) fn schema(&self) -> u8 {
        self.schema
    }

    pub(super) fn write(&self, batch: &Batch) -> Result<(), DiskError> {
        let mut live = self.live();
        if let Some(source) = &live.failed {
            return Err(DiskError::Failed {
                path: self.path().to_owned(),
                source: Arc::clone(source),
            });
        }
        if batch.is_empty() {
            return Ok(());
        }
        let mut inside = self.medium.lock();
        if inside.fails() {
            // what is on the disk nobody knows
            inside.unsynced = Some((self.schema, batch.clone()));
            let error = unsynced(self.path());
            live.failed = Some(Arc::new(error.clone()));
            return Err(error);
        }
        let Changes {
            records,
            mark,
            bytes,
            written,
        } = inside.changes(self.schema, (live.mark, live.bytes), batch);
        inside.put(records);
        (inside.watermark, inside.unsynced) = (Some(mark), None);
        (live.mark, live.bytes) = (mark, bytes);
        live.unexported = live.unexported.saturating_add(written);
        Ok(())
    }

    pub(super) fn tend(&self) -> Tended {
        let mut live = self.live();
        let after = self.medium.0.behaviour.snapshots;
        let due = after.is_some_and(|after| live.unexported > after.max(live.bytes));
        if !due || live.failed.is_some() {
            return Tended::default();
        }
        live.unexported = 0;
        let mut inside = self.medium.lock();
        let content = inside.content(self.path(), self.schema);
        let Ok(Content { mark, records, .. }) = content else {
            return Tended::default();
        };
        inside.snapshots.insert(mark.commits, (mark, records));
        while inside.snapshots.len() > 2 {
            inside.snapshots.pop_first();
        }
        Tended {
            exported: true,
            shrunk: false,
        }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(|held| held.into_inner())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.medium.lock().held = false;
    }
}

fn unsynced(path: &Path) -> DiskError {
    DiskError::sync(path, io::Error::other("a fault was asked for"))
}

#[cfg(test)]
mod tests;
