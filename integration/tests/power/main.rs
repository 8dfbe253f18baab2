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
const LEFTOVERS: [Unsynced; 14] = [
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
    Unsynced::Some(4),
    Unsynced::Some(5),
    Unsynced::Some(6),
    Unsynced::Some(7),
];

/// Memory is where a state is made and opened in a millisecond.
const MEMORY: &str = "/dev/shm";

/// What the states of a film came to.
#[derive(Debug, Default)]
struct Outcome {
    /// Distinct ones.
    states: usize,
    /// Cuts right behind a sync.
    at_syncs: usize,
    /// Those with something unsynced.
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
    fn film(&self, until: u64, size: Size, syncs: Syncs) -> Result<Film> {
        let root = self.root();
        let base = Tree::read(&root)?;
        let named = match size {
            Size::Small => "small",
            Size::Large => "large",
            Size::Many => "many",
        };
        let events = recording::record(&root, &journal(&root), until, named)?;
        Film::new(base, events, syncs)
    }
}

fn journal(root: &Path) -> PathBuf {
    root.join("journal")
}

/// What must hold of a state.
struct Check<'a> {
    film: &'a Film,
    root: &'a Path,
    size: Size,
    /// Accepted before the film began.
    before: u64,
    /// Sent before the film began.
    sent: u64,
    /// What a recovery goes back to, which has to tell so until something is sent; none: a cut may lose nothing.
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
                if self.film.syncs.contains(&cut) {
                    outcome.lock().map_err(|_| anyhow!("poisoned"))?.at_syncs += 1;
                }
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
        let sent = said("sent").unwrap_or(self.sent);
        // before something is sent, what was opened is what there is
        let opened = said("opened").unwrap_or(self.before);
        (said("accepted").unwrap_or(opened), sent.max(opened))
    }

    fn generation(&self, records: &Records) -> Result<u64> {
        scribe::generation(records, self.size).context("content that never was")
    }

    fn one(&self, cut: usize, tree: &Tree) -> Result<Outcome> {
        let (accepted, sent) = self.promised(cut);
        let dir = tempfile::tempdir_in(MEMORY)?;
        let root = dir.path().join("root");
        tree.write(self.root, &root)?;
        let mut outcome = Outcome {
            states: 1,
            between_syncs: usize::from(!self.film.is_settled(cut)),
            ..Outcome::default()
        };
        let path = journal(&root);
        let opened = unpanicked(|| Disk::open(&path, SCHEMA))?;
        let accepted = self.back_to.unwrap_or(accepted).min(accepted);
        match opened {
            Ok((disk, records)) => {
                drop(disk);
                let found = self.generation(&records)?;
                ensure!(found <= sent, "{found} of {sent} that were sent");
                outcome.lost = usize::from(found < accepted);
            }
            Err(error) if error.is_damage() => outcome.damaged = 1,
            Err(error) => return Err(error.into()),
        }
        let (disk, records, recovered) = unpanicked(|| recover(&path, SCHEMA))??;
        let found = self.generation(&records)?;
        ensure!(found <= sent, "recovered {found} of {sent} that were sent");
        outcome.recovered = usize::from(recovered.is_some());
        if let Some(back) = self.back_to
            && self.film.last_said("sent", cut).is_none()
        {
            ensure!(found == back, "recovered {found} where there is {back}");
            ensure!(recovered.is_some(), "nobody is told of the recovery");
        }
        let complete = recovered.is_none_or(|Recovered { complete, .. }| complete);
        if complete && found < accepted {
            outcome.lost = 1;
        }
        // and it goes on from there
        disk.commit(&scribe::batch(found + 1, self.size))?;
        drop(disk);
        let (_, records, recovered) = recover(&path, SCHEMA)?;
        ensure!(recovered.is_none(), "recovered twice: {recovered:?}");
        let after = self.generation(&records)?;
        ensure!(after == found + 1, "{after} after {found}");
        Ok(outcome)
    }
}

impl Outcome {
    fn add(&mut self, other: &Self) {
        self.states += other.states;
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
    let film = stage.film(90, Size::Large, Syncs::Kept)?;
    let check = Check {
        film: &film,
        root: &stage.root(),
        size: Size::Large,
        before: 0,
        sent: 0,
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
fn a_commit_of_much_cut_anywhere_has_what_was_accepted() -> Result<()> {
    let stage = Stage::new()?;
    let film = stage.film(5, Size::Many, Syncs::Kept)?;
    ensure!(
        film.replaces("db.next") >= 3,
        "the first database, and one for each second generation"
    );
    let check = Check {
        film: &film,
        root: &stage.root(),
        size: Size::Many,
        before: 0,
        sent: 0,
        back_to: None,
    };
    let outcome = check.all()?;
    ensure!(outcome.states >= 200, "{outcome:?}");
    ensure!(outcome.at_syncs >= 20, "{outcome:?}");
    ensure!(outcome.lost == 0, "{outcome:?}");
    ensure!(
        (outcome.damaged, outcome.recovered) == (0, 0),
        "{outcome:?}"
    );
    Ok(())
}

#[test]
fn a_journal_cut_while_it_goes_on_after_a_cut_has_what_was_accepted() -> Result<()> {
    let first = Stage::new()?;
    let film = first.film(6, Size::Large, Syncs::Kept)?;
    // a commit that is in the database and not in the watermark is written anew first
    let sixth = film.cuts.iter().copied().filter(|cut| {
        let said = |word| film.last_said(word, *cut);
        said("sent") == Some(6) && said("accepted") == Some(5)
    });
    let cut = sixth.max().context("a cut in the sixth commit")?;
    // before the watermark is given its name
    let states = film.cuts.range(..=cut).rev();
    let uncertain = states
        .map(|cut| film.state(*cut, Unsynced::There))
        .find(|tree| tree.has("watermark.next"))
        .context("an unfinished commit")?;
    let stage = Stage::new()?;
    std::fs::remove_dir(stage.root())?;
    uncertain.write(&first.root(), &stage.root())?;
    let film = stage.film(9, Size::Large, Syncs::Kept)?;
    ensure!(film.replaces("db.next") > 0, "nothing was written anew");
    let check = Check {
        film: &film,
        root: &stage.root(),
        size: Size::Large,
        before: 5,
        sent: 6,
        back_to: None,
    };
    let outcome = check.all()?;
    ensure!(outcome.states >= 100, "{outcome:?}");
    ensure!(outcome.lost == 0, "{outcome:?}");
    ensure!(
        (outcome.damaged, outcome.recovered) == (0, 0),
        "{outcome:?}"
    );
    Ok(())
}

#[test]
fn a_recovery_cut_anywhere_is_done_again_and_told() -> Result<()> {
    let stage = Stage::new()?;
    stage.film(6, Size::Large, Syncs::Kept)?;
    let path = journal(&stage.root());
    std::fs::write(path.join("db/conf"), "nothing that makes sense")?;
    std::fs::write(path.join("db/db"), [0xa5; 8192])?;
    let film = stage.film(9, Size::Large, Syncs::Kept)?;
    ensure!(
        film.last_said("opened", usize::MAX) == Some(1),
        "not from the snapshot"
    );
    let check = Check {
        film: &film,
        root: &stage.root(),
        size: Size::Large,
        before: 6,
        sent: 6,
        back_to: Some(1),
    };
    let outcome = check.all()?;
    ensure!(outcome.states >= 100, "{outcome:?}");
    ensure!(outcome.lost == 0, "{outcome:?}");
    ensure!(outcome.damaged > 0, "{outcome:?}");
    Ok(())
}

#[test]
fn without_the_sync_of_everything_accepted_generations_are_lost() -> Result<()> {
    let stage = Stage::new()?;
    let film = stage.film(8, Size::Large, Syncs::FilesAlone)?;
    let check = Check {
        film: &film,
        root: &stage.root(),
        size: Size::Large,
        before: 0,
        sent: 0,
        back_to: None,
    };
    let outcome = check.all()?;
    ensure!(outcome.lost + outcome.damaged > 0, "{outcome:?}");
    ensure!(outcome.lost > 0, "{outcome:?}");
    Ok(())
}
