//! Disks that are full, fail, or take nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use weir_integration::program;
use weir_integration::scribe::{self, SCHEMA, Size};
use weir_proto::disk::{Disk, DiskError, rebuild, recover};

use crate::{generation_of, unpanicked};

/// A file system in memory of a size of its own; it goes with this.
struct Mounted {
    dir: tempfile::TempDir,
}

impl Mounted {
    fn new(options: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(dir.path());
        program::run(&mut mount, "")?;
        Ok(Self { dir })
    }

    fn journal(&self) -> PathBuf {
        self.dir.path().join("state").join("journal")
    }

    fn remount(&self, options: &str) -> Result<()> {
        let mut mount = Command::new("mount");
        mount
            .arg("-o")
            .arg(format!("remount,{options}"))
            .arg(self.dir.path());
        program::run(&mut mount, "").map(drop)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // else the directory cannot be removed
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.dir.path())
            .status();
    }
}

/// Commits until that is refused: the last generation accepted, and why the next was not.
fn fill(disk: &Disk, found: u64) -> Result<(u64, DiskError)> {
    for number in found + 1..5000 {
        if let Err(error) = unpanicked(|| disk.commit(&scribe::batch(number, Size::Small)))? {
            return Ok((number - 1, error));
        }
    }
    bail!("nothing is refused")
}

fn generation_at(path: &Path) -> Result<u64> {
    let (_, records) = Disk::open(path, SCHEMA)?;
    generation_of(&records)
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() -> Result<()> {
    let disk = Mounted::new("size=320k")?;
    let path = disk.journal();
    let (full, _) = Disk::open(&path, SCHEMA)?;
    let ballast = disk.dir.path().join("ballast");
    // whatever is free
    let _ = fs::write(&ballast, vec![1; 1024 * 1024]);
    let (accepted, error) = fill(&full, 0)?;
    ensure!(!error.is_damage(), "{error}");
    let again = full.commit(&scribe::batch(accepted + 1, Size::Small));
    ensure!(matches!(again, Err(DiskError::Failed { .. })), "{again:?}");
    drop(full);
    for opened in [
        unpanicked(|| Disk::open(&path, SCHEMA).map(drop))?,
        unpanicked(|| recover(&path, SCHEMA).map(drop))?,
    ] {
        // sled may need no room to open; what it says must be no damage
        if let Err(error) = opened {
            ensure!(!error.is_damage(), "{error}");
        }
    }
    disk.remount("size=8m")?;
    let (found, recovered) = {
        let (_, records, recovered) = recover(&path, SCHEMA)?;
        (generation_of(&records)?, recovered)
    };
    ensure!(recovered.is_none(), "{recovered:?}");
    ensure!(
        (accepted..=accepted + 1).contains(&found),
        "{found} after {accepted}"
    );
    let memory = scribe::records(accepted + 1, Size::Small);
    drop(rebuild(&path, SCHEMA, &memory)?);
    ensure!(
        generation_at(&path)? == accepted + 1,
        "not what was in memory"
    );
    Ok(())
}

#[test]
fn a_read_only_disk_is_told_and_left_alone() -> Result<()> {
    let disk = Mounted::new("size=8m")?;
    let path = disk.journal();
    crate::write(&path, 1..=5)?;
    // nobody holds it, or it could not be made read-only
    ensure!(generation_at(&path)? == 5);
    let writable = |options| disk.remount(options);
    weir_integration::eventually::eventually("closed", std::time::Duration::from_secs(5), || {
        writable("ro")
    })?;
    for opened in [
        unpanicked(|| Disk::open(&path, SCHEMA).map(drop))?,
        unpanicked(|| recover(&path, SCHEMA).map(drop))?,
        unpanicked(|| rebuild(&path, SCHEMA, &scribe::records(6, Size::Small)).map(drop))?,
    ] {
        let error = opened.err().context("opened")?;
        ensure!(!error.is_damage(), "{error}");
        let chain = format!("{:#}", anyhow::Error::from(error));
        ensure!(chain.contains("Read-only file system"), "{chain}");
    }
    writable("rw")?;
    ensure!(generation_at(&path)? == 5);
    Ok(())
}

/// What the scribe said of a run in which a call failed.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    sent: u64,
    accepted: u64,
    refused: Vec<String>,
}

/// Seconds after which a scribe will not end any more: it takes less than one.
const PATIENCE: &str = "60";

/// Runs the scribe under strace(1), which lets a call fail.
fn failing(path: &Path, until: u64, inject: &str) -> Result<Run> {
    let log = tempfile::NamedTempFile::new()?;
    let mut command = Command::new("timeout");
    command
        .args(["--kill-after=5", PATIENCE, "strace", "-f", "-qq"])
        .args(["-e", &format!("inject={inject}"), "-o"])
        .arg(log.path())
        .arg(program::ours("scribe")?)
        .arg(path)
        .args([&until.to_string(), "small"]);
    // a scribe that could not open, or was killed, has said what it has said
    let output = command.output().context("strace")?;
    // timeout(1)
    ensure!(output.status.code() != Some(124), "it hangs");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!errors.contains("panicked at integration"), "{errors}");
    let mut run = Run {
        sent: 0,
        accepted: 0,
        refused: Vec::new(),
    };
    for line in String::from_utf8(output.stdout)?.lines() {
        match line.split_once(' ') {
            Some(("sent", number)) => run.sent = number.parse()?,
            Some(("accepted", number)) => run.accepted = number.parse()?,
            Some(("refused", why)) => run.refused.push(why.to_owned()),
            _ => {}
        }
    }
    Ok(run)
}

/// Lets one call fail for each of its turns, and checks what is left.
fn each_turn(call: &str, how: &str, turns: u64) -> Result<usize> {
    let mut refusals = 0;
    for turn in 1..=turns {
        let dir = tempfile::tempdir_in(crate::MEMORY)?;
        let path = dir.path().join("journal");
        let inject = format!("{call}:{how}:when={turn}");
        let checked = || -> Result<usize> {
            let run = failing(&path, 6, &inject)?;
            // after the first refusal there are only refusals
            ensure!(
                run.refused.len() as u64 + run.accepted == run.sent || how.starts_with("signal"),
                "{run:?}"
            );
            let (_, records, recovered) = recover(&path, SCHEMA)?;
            ensure!(recovered.is_none(), "{recovered:?}");
            let found = generation_of(&records)?;
            // what failed first may be there, of what came after nothing
            ensure!(
                (run.accepted..=run.accepted + 1).contains(&found) && found <= run.sent,
                "{found} after {run:?}"
            );
            Ok(run.refused.len())
        };
        refusals += checked().with_context(|| inject.clone())?;
    }
    Ok(refusals)
}

#[test]
fn a_sync_that_fails_refuses_that_generation_and_all_after() -> Result<()> {
    let refusals = each_turn("syncfs", "error=EIO", 10)? + each_turn("fsync", "error=EIO", 18)?;
    ensure!(refusals > 20, "only {refusals}");
    Ok(())
}

#[test]
fn a_write_that_fails_refuses_that_generation_and_all_after() -> Result<()> {
    let refusals = each_turn("pwrite64", "error=ENOSPC", 14)?
        + each_turn("pwrite64", "error=EIO", 14)?
        + each_turn("rename", "error=EIO", 10)?;
    ensure!(refusals > 10, "only {refusals}");
    Ok(())
}

#[test]
fn a_write_that_fails_late_is_told_as_well() -> Result<()> {
    // a disk that fails takes its time, and sled waits for it by then
    let refusals = each_turn("pwrite64", "error=EIO:delay_exit=200000", 8)?;
    ensure!(refusals > 0, "nothing failed");
    Ok(())
}

#[test]
fn a_scribe_killed_at_any_call_loses_nothing() -> Result<()> {
    for (call, turns) in [
        ("pwrite64", 14),
        ("syncfs", 8),
        ("fsync", 16),
        ("rename", 10),
        ("mkdir", 5),
    ] {
        each_turn(call, "signal=KILL", turns)?;
    }
    Ok(())
}
