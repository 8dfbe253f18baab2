//! The power goes at every moment of a journal's life: what the journal's program did to its files is recorded
//! (strace(1) between it and the kernel), and from the recording every state is made that a disk may have after a
//! cut. Each must open to a generation between the last accepted and the last sent, or be reported damaged, and
//! then recover.

mod cut;
mod recording;

use std::collections::BTreeSet;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use weir_integration::scribe::{self, SCHEMA, Size};
use weir_proto::disk::{Disk, Records, Recovered, recover};

use crate::cut::{Film, Syncs, Tree, Unsynced};

/// What is left of what was not synced, at each cut.
const LEFTOVERS: [Unsynced; 10] = [
    Unsynced::Dropped,
    Unsynced::There,
    Unsynced::NamesAlone,
    Unsynced::BytesAlone,
    Unsynced::Torn(2),
    Unsynced::Torn(4),
    Unsynced::Torn(6),
    Unsynced::Some(1),
    Unsynced::Some(2),
    Unsynced::Some(3),
];

/// Memory is where a state is made and opened in a millisecond.
const MEMORY: &str = "/dev/shm";

/// What the states of a film came to.
#[derive(Debug, Default)]
struct Outcome {
    states: usize,
    /// Right behind a sync.
    at_syncs: usize,
    /// With something unsynced.
    between_syncs: usize,
    damaged: usize,
    /// Opened with less than was accepted.
    lost: usize,
    /// Told of a recovery, by an earlier run of it.
    recovered: usize,
}

/// A journal below a directory of its own.
struct Stage {
    dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Result<Self> {
        let dir = tempfile::tempdir_in(MEMORY)?;
        std::fs::create_dir(dir.path().join("root"))?;
        Ok(Self { dir })
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Records the scribe going on from what is there.
    fn film(&self, until: u64, syncs: Syncs) -> Result<Film> {
        let root = self.root();
        let base = Tree::read(&root)?;
        let events = recording::record(&root, &journal(&root), until, "large")?;
        Film::new(base, events, syncs)
    }
}

fn journal(root: &Path) -> PathBuf {
    root.join("journal")
}

fn records_of(records: &Records) -> Result<u64> {
    scribe::generation(records, Size::Large).context("content that never was")
}

/// What must hold of a state.
struct Check<'a> {
    film: &'a Film,
    root: &'a Path,
    /// Accepted before the film began.
    before: u64,
    /// Generations that a recovery may go back to before anything is sent; none: a cut may lose nothing.
    back_to: Option<u64>,
}

impl Check<'_> {
    /// Makes, opens and recovers every distinct state.
    fn all(&self) -> Result<Outcome> {
        let seen = Mutex::new(BTreeSet::new());
        let outcome = Mutex::new(Outcome::default());
        let cuts: Vec<usize> = self.film.cuts.iter().copied().collect();
        let next = Mutex::new(cuts.into_iter());
        let work = || -> Result<()> {
            loop {
                let cut = next.lock().map_err(|_| anyhow!("poisoned"))?.next();
                let Some(cut) = cut else { return Ok(()) };
                for unsynced in LEFTOVERS {
                    let tree = self.film.state(cut, unsynced);
                    let digest = (tree.digest(), self.promised(cut));
                    if !seen.lock().map_err(|_| anyhow!("poisoned"))?.insert(digest) {
                        continue;
                    }
                    let one = self
                        .one(cut, &tree)
                        .with_context(|| format!("cut before line {cut}, {unsynced:?}"))?;
                    let mut all = outcome.lock().map_err(|_| anyhow!("poisoned"))?;
                    all.add(&one);
                }
            }
        };
        thread::scope(|scope| {
            // two cores are what everybody has
            let other = scope.spawn(work);
            let mine = work();
            mine.and(other.join().map_err(|_| anyhow!("a thread panicked"))?)
        })?;
        let outcome = outcome.into_inner().map_err(|_| anyhow!("poisoned"))?;
        println!("{outcome:?}");
        Ok(outcome)
    }

    /// The last generation accepted, and the last sent, at a cut.
    fn promised(&self, cut: usize) -> (u64, u64) {
        let said = |word| self.film.last_said(word, cut);
        let sent = said("sent").unwrap_or(self.before);
        // before something is sent, what was opened is what there is
        let opened = said("opened").unwrap_or(self.before);
        (said("accepted").unwrap_or(opened), sent.max(opened))
    }

    fn one(&self, cut: usize, tree: &Tree) -> Result<Outcome> {
        let (accepted, sent) = self.promised(cut);
        let dir = tempfile::tempdir_in(MEMORY)?;
        let root = dir.path().join("root");
        tree.write(self.root, &root)?;
        let mut outcome = Outcome {
            states: 1,
            at_syncs: usize::from(self.film.syncs.contains(&cut)),
            between_syncs: usize::from(!self.film.is_settled(cut)),
            ..Outcome::default()
        };
        let path = journal(&root);
        let opened = unpanicked(|| Disk::open(&path, SCHEMA))?;
        match opened {
            Ok((disk, records)) => {
                drop(disk);
                let found = records_of(&records)?;
                ensure!(found <= sent, "{found} of {sent} that were sent");
                outcome.lost = usize::from(found < accepted.min(self.back_to.unwrap_or(accepted)));
            }
            Err(error) if error.is_damage() => outcome.damaged = 1,
            Err(error) => return Err(error.into()),
        }
        let (disk, records, recovered) = unpanicked(|| recover(&path, SCHEMA))??;
        let found = records_of(&records)?;
        ensure!(found <= sent, "recovered {found} of {sent} that were sent");
        outcome.recovered = usize::from(recovered.is_some());
        let complete = recovered.is_none_or(|Recovered { complete, .. }| complete);
        if complete && found < accepted && self.back_to.is_none_or(|back| found < back) {
            outcome.lost = 1;
        }
        // and it goes on from there
        disk.commit(&scribe::batch(found + 1, Size::Large))?;
        drop(disk);
        let (_, records, recovered) = recover(&path, SCHEMA)?;
        ensure!(recovered.is_none(), "recovered twice: {recovered:?}");
        let after = records_of(&records)?;
        ensure!(after == found + 1, "{after} after {found}");
        Ok(outcome)
    }
}

impl Outcome {
    fn add(&mut self, other: &Self) {
        self.states += other.states;
        self.at_syncs += other.at_syncs;
        self.between_syncs += other.between_syncs;
        self.damaged += other.damaged;
        self.lost += other.lost;
        self.recovered += other.recovered;
    }
}

fn unpanicked<T>(act: impl FnOnce() -> T) -> Result<T> {
    panic::catch_unwind(AssertUnwindSafe(act)).map_err(|_| anyhow!("it panicked"))
}

#[test]
fn a_journal_cut_anywhere_has_what_was_accepted() -> Result<()> {
    let stage = Stage::new()?;
    let film = stage.film(40, Syncs::Kept)?;
    let check = Check {
        film: &film,
        root: &stage.root(),
        before: 0,
        back_to: None,
    };
    let outcome = check.all()?;
    ensure!(outcome.states >= 1000, "{outcome:?}");
    ensure!(outcome.at_syncs >= 100, "{outcome:?}");
    ensure!(outcome.between_syncs >= 100, "{outcome:?}");
    ensure!(outcome.lost == 0, "{outcome:?}");
    // no damage, no recovery: a cut alone is what the journal is made for
    ensure!(
        (outcome.damaged, outcome.recovered) == (0, 0),
        "{outcome:?}"
    );
    Ok(())
}

#[test]
fn without_the_sync_of_everything_accepted_generations_are_lost() -> Result<()> {
    let stage = Stage::new()?;
    let film = stage.film(8, Syncs::FilesAlone)?;
    let check = Check {
        film: &film,
        root: &stage.root(),
        before: 0,
        back_to: None,
    };
    let outcome = check.all()?;
    ensure!(outcome.lost + outcome.damaged > 0, "{outcome:?}");
    ensure!(outcome.lost > 0, "{outcome:?}");
    Ok(())
}
