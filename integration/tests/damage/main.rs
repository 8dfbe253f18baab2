//! A journal's files damaged in every way, and disks that are full, fail or take nothing: it gives the content that
//! was committed or an error that says what is wrong, never other content, and recovers where it can be written.

mod bytes;
mod disks;
mod size;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use weir_integration::scribe::{self, SCHEMA, Size, generation};
use weir_proto::disk::{Disk, Records};

/// Memory is where a journal is written and opened in a millisecond.
const MEMORY: &str = "/dev/shm";

/// Writes generations into a journal.
fn write(path: &Path, generations: std::ops::RangeInclusive<u64>) -> Result<()> {
    let (disk, _) = Disk::open(path, SCHEMA)?;
    for number in generations {
        disk.commit(&scribe::batch(number, Size::Small))?;
    }
    Ok(())
}

/// Says which generation records are of; of none is what must never be.
fn generation_of(records: &Records) -> Result<u64> {
    generation(records, Size::Small).context("content that never was")
}

fn unpanicked<T>(act: impl FnOnce() -> T) -> Result<T> {
    panic::catch_unwind(AssertUnwindSafe(act)).map_err(|_| anyhow!("it panicked"))
}

/// The files of a directory; without bytes: a directory.
type Files = BTreeMap<PathBuf, Option<Vec<u8>>>;

fn read_files(root: &Path) -> Result<Files> {
    let mut files = Files::new();
    let mut left = vec![root.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.strip_prefix(root)?.to_owned();
            if path.is_dir() {
                files.insert(name, None);
                left.push(path);
            } else {
                files.insert(name, Some(fs::read(&path)?));
            }
        }
    }
    Ok(files)
}

fn write_files(root: &Path, files: &Files) -> Result<()> {
    fs::create_dir(root)?;
    for (name, bytes) in files {
        match bytes {
            Some(bytes) => fs::write(root.join(name), bytes)?,
            None => fs::create_dir(root.join(name))?,
        }
    }
    Ok(())
}
