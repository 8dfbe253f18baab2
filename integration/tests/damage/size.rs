//! How much a journal takes on disk.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use weir_integration::eventually::eventually;
use weir_integration::random::Random;
use weir_proto::disk::{Batch, Disk, Records, Writer};

use crate::MEMORY;

const CHANGES: usize = 1_000_000;
/// Commits of one change each that are under way together, as in a burst.
const TOGETHER: usize = 500;
/// How long the writer may take to let go of the directory after the last commit.
const CLOSED: Duration = Duration::from_secs(60);

fn change(random: &mut Random, services: usize, backends: usize) -> Batch {
    let service = random.below(services);
    let key = match random.below(backends + 1) {
        0 => format!("service/10.1.{}.{}:80/tcp", service / 256, service % 256),
        backend => format!(
            "backend/10.1.{}.{}:80/tcp/10.0.0.{backend}:8080",
            service / 256,
            service % 256
        ),
    };
    let mut batch = Batch::default();
    let payload = vec![random.byte(); 150];
    batch.put(key.into_bytes(), payload);
    batch
}

/// Adds up the lengths of all files below a directory; meanwhile the writer renames and removes some.
fn size(path: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut sum = 0;
    for entry in entries {
        let entry = entry?;
        sum += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path())?,
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
    }
    Ok(sum)
}

/// Does so many changes to services with so many backends each, and measures what they leave.
async fn changed(services: usize, backends: usize, changes: usize) -> Result<()> {
    let dir = tempfile::tempdir_in(MEMORY)?;
    let path = dir.path().join("journal");
    let (disk, _) = Disk::open(&path, 1)?;
    let writer = Writer::new(disk);
    let mut random = Random::new(7);
    let mut state = Records::new();
    let mut largest = 0;
    for round in 0..changes / TOGETHER {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..TOGETHER {
            let batch = change(&mut random, services, backends);
            batch.clone().write_into(&mut state);
            let writer = writer.clone();
            tasks.spawn(async move { writer.commit(batch).await });
        }
        for done in tasks.join_all().await {
            done?;
        }
        if round % 50 == 49 {
            largest = largest.max(size(&path)?);
        }
    }
    let counts = writer.counts();
    drop(writer);
    // after the last verdict it tends the directory, and holds it
    let (disk, records) = eventually("the journal is closed", CLOSED, || {
        Ok(Disk::open(&path, 1)?)
    })?;
    ensure!(records == state, "other records");
    drop(disk);
    let bytes = state.iter().map(|(key, payload)| key.len() + payload.len());
    let bytes = bytes.sum::<usize>() as u64;
    let size = size(&path)?;
    println!(
        "{services} x {backends}: {bytes} bytes take {size}, {:.2} times as much, {:.2} at most; {counts:?}",
        size as f64 / bytes as f64,
        largest as f64 / bytes as f64,
    );
    ensure!(counts.batches == changes as u64, "{counts:?}");
    ensure!(size <= 8 * bytes, "more than 8 times as much");
    Ok(())
}

#[tokio::test]
async fn a_million_changes_leave_eight_times_the_state_at_most() -> Result<()> {
    changed(1000, 10, CHANGES).await
}

#[tokio::test]
async fn a_small_state_with_many_changes_stays_small() -> Result<()> {
    changed(1000, 1, CHANGES / 5).await
}
