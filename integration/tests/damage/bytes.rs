//! Bytes that are other ones, files that are shorter, and files that are not there.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use weir_integration::scribe::{self, SCHEMA, Size};
use weir_proto::disk::{Disk, recover};

use crate::{Files, MEMORY, generation_of, read_files, unpanicked, write, write_files};

/// The last generation of the journal that is damaged.
const LAST: u64 = 30;

/// How often a byte of what sled fills up its file with is flipped: all of that is zeros.
const PADDING: usize = 16;

const SECTOR: usize = 512;
/// Files below this are cut at each byte.
const SHORT: usize = 4096;

/// What is done to one file.
#[derive(Debug, Clone)]
enum Damage {
    Flip { file: PathBuf, at: usize },
    Cut { file: PathBuf, len: usize },
    Missing(PathBuf),
}

/// What damage came to.
#[derive(Debug, Default)]
struct Outcome {
    unharmed: AtomicUsize,
    refused: AtomicUsize,
    /// Of those, without the loss of a generation.
    complete: AtomicUsize,
}

/// A small journal, and how much of its largest file sled has written; the rest is zeros.
fn journal() -> Result<(Files, usize)> {
    let dir = tempfile::tempdir_in(MEMORY)?;
    let path = dir.path().join("journal");
    write(&path, 1..=LAST)?;
    // opened again, sled has looked through its file and has a snapshot of its own
    drop(Disk::open(&path, SCHEMA)?);
    let files = read_files(&path)?;
    let log = files.get(&PathBuf::from("db/db")).cloned().flatten();
    let written = log.context("no file of sled's")?;
    let written = written.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
    Ok((files, written))
}

fn damaged(files: &Files, damage: &Damage) -> Result<Files> {
    let mut files = files.clone();
    let bytes = |files: &mut Files, file: &PathBuf, act: &dyn Fn(&mut Vec<u8>)| -> Result<()> {
        let bytes = files.get_mut(file).and_then(Option::as_mut);
        act(bytes.context("no such file")?);
        Ok(())
    };
    match damage {
        Damage::Flip { file, at } => bytes(&mut files, file, &|bytes| bytes[*at] ^= 1 << (at % 8))?,
        Damage::Cut { file, len } => bytes(&mut files, file, &|bytes| bytes.truncate(*len))?,
        Damage::Missing(gone) => files.retain(|name, _| !name.starts_with(gone)),
    }
    Ok(files)
}

fn try_one(files: &Files, outcome: &Outcome) -> Result<()> {
    let dir = tempfile::tempdir_in(MEMORY)?;
    let path = dir.path().join("journal");
    write_files(&path, files)?;
    match unpanicked(|| Disk::open(&path, SCHEMA))? {
        Ok((disk, records)) => {
            drop(disk);
            let found = generation_of(&records)?;
            ensure!(found == LAST, "opened with {found} and no word");
            outcome.unharmed.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        Err(error) => ensure!(error.is_damage(), "no damage: {error}"),
    }
    outcome.refused.fetch_add(1, Ordering::Relaxed);
    let (disk, records, recovered) = unpanicked(|| recover(&path, SCHEMA))??;
    let found = generation_of(&records)?;
    let recovered = recovered.context("nobody is told")?;
    ensure!(
        !recovered.why.is_empty() && recovered.aside.is_dir(),
        "{recovered:?}"
    );
    ensure!(
        !recovered.complete || found == LAST,
        "{found} is not all: {recovered:?}"
    );
    if recovered.complete {
        outcome.complete.fetch_add(1, Ordering::Relaxed);
    }
    disk.commit(&scribe::batch(found + 1, Size::Small))?;
    Ok(())
}

/// Tries each kind of damage, on two threads.
fn try_all(files: &Files, all: &[Damage]) -> Result<Outcome> {
    let outcome = Outcome::default();
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        while let Some(damage) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
            let files = damaged(files, damage)?;
            try_one(&files, &outcome).with_context(|| format!("{damage:?}"))?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let other = scope.spawn(work);
        let mine = work();
        mine.and(other.join().map_err(|_| anyhow!("a thread panicked"))?)
    })?;
    println!("{} of them: {outcome:?}", all.len());
    Ok(outcome)
}

#[test]
fn a_journal_with_any_byte_flipped_is_whole_or_refused() -> Result<()> {
    let (mut files, written) = journal()?;
    let log = PathBuf::from("db/db");
    let padding: Vec<Damage> = (written..files[&log].as_ref().map_or(0, Vec::len))
        .step_by(PADDING)
        .map(|at| Damage::Flip {
            file: log.clone(),
            at,
        })
        .collect();
    try_all(&files, &padding)?;
    // as the file is before sled fills it up
    if let Some(Some(bytes)) = files.get_mut(&log) {
        bytes.truncate(written);
    }
    let mut all = Vec::new();
    for (file, bytes) in &files {
        let len = bytes.as_ref().map_or(0, Vec::len);
        all.extend((0..len).map(|at| Damage::Flip {
            file: file.clone(),
            at,
        }));
    }
    ensure!(all.len() > 1000, "only {} bytes", all.len());
    let outcome = try_all(&files, &all)?;
    ensure!(
        outcome.refused.into_inner() > 500,
        "hardly anything is noticed"
    );
    Ok(())
}

#[test]
fn a_journal_with_a_file_cut_short_is_whole_or_refused() -> Result<()> {
    let (files, _) = journal()?;
    let mut all = Vec::new();
    for (file, bytes) in &files {
        let len = bytes.as_ref().map_or(0, Vec::len);
        let step = if len < SHORT { 1 } else { SECTOR };
        all.extend((0..len).step_by(step).map(|len| Damage::Cut {
            file: file.clone(),
            len,
        }));
    }
    let outcome = try_all(&files, &all)?;
    ensure!(
        outcome.refused.into_inner() > 50,
        "hardly anything is noticed"
    );
    Ok(())
}

#[test]
fn a_journal_with_a_file_missing_is_whole_or_refused() -> Result<()> {
    let (files, _) = journal()?;
    let all: Vec<Damage> = files.keys().cloned().map(Damage::Missing).collect();
    let outcome = try_all(&files, &all)?;
    // the database as a whole, sled's log, and the watermark
    ensure!(
        outcome.refused.into_inner() >= 3,
        "hardly anything is noticed"
    );
    Ok(())
}
