//! The kernel room beside the tools people use, on the kernel at hand: `integration/run bench kernel`.
//!
//! Each run has a network namespace of its own: a table that was emptied is not as fast as one that was never
//! filled, since the kernel keeps deleted backends for minutes and looks through them (`ip_vs_trash_get_dest` in
//! `net/netfilter/ipvs/ip_vs_ctl.c`). Ours and theirs take turns, so that a machine that changes its pace changes it
//! for both.

mod floor;
mod ours;
mod row;
mod table;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use weir_integration::netns::Netns;
use weir_integration::program;

use row::{Row, Rows};
use table::Size;

/// Medians of so many: enough that one run that was disturbed does not count.
const RUNS: usize = 5;
/// Services x backends of each.
const LOADS: [Size; 3] = [
    Size {
        services: 1_000,
        backends: 10,
    },
    Size {
        services: 5_000,
        backends: 10,
    },
    Size {
        services: 100,
        backends: 1_000,
    },
];
/// Services in the table in which one backend is changed, with ten backends each.
const CHANGED: [usize; 3] = [100, 1_000, 10_000];
const AUDITED: Size = Size {
    services: 10_000,
    backends: 10,
};

fn main() -> Result<ExitCode> {
    let json = std::env::args().any(|argument| argument == "--json");
    let mut rows = Rows::new(json);
    for size in LOADS {
        cold_load(size, &mut rows)?;
    }
    for services in CHANGED {
        one_change(services, &mut rows)?;
    }
    audit(&mut rows)?;
    Ok(ExitCode::SUCCESS)
}

/// A namespace that nothing was ever in.
fn fresh() -> Result<Netns> {
    Netns::create("bench")
}

fn cold_load(size: Size, rows: &mut Rows) -> Result<()> {
    let wanted = table::wanted(size);
    let text = table::as_ipvsadm(size);
    let (mut ours, mut theirs, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let netns = fresh()?;
        ours.push(ours::cold_load(&netns, &wanted)?);
        verify(&netns, size)?;
        drop(netns);

        let netns = fresh()?;
        floor.push(floor::cold_load(&netns, size)?);
        verify(&netns, size)?;
        drop(netns);

        let netns = fresh()?;
        let begun = Instant::now();
        program::run(netns.command("ipvsadm").arg("-R"), &text)?;
        theirs.push(begun.elapsed());
    }
    rows.add(Row::new(
        "cold-load",
        &size.to_string(),
        "ipvsadm -R",
        &ours,
        &theirs,
    ));
    rows.add(Row::new(
        "cold-load-floor",
        &size.to_string(),
        "pre-encoded, 64 KiB a send",
        &ours,
        &floor,
    ));
    Ok(())
}

/// The whole table must be there, by somebody else's reading.
fn verify(netns: &Netns, size: Size) -> Result<()> {
    let text = program::run(netns.command("ipvsadm").arg("-Sn"), "")?;
    let count = |prefix: &str| text.lines().filter(|line| line.starts_with(prefix)).count();
    let found = (count("-A"), count("-a"));
    let wanted = (size.services, size.services * size.backends);
    anyhow::ensure!(found == wanted, "{found:?} is there of {wanted:?}");
    Ok(())
}

fn one_change(services: usize, rows: &mut Rows) -> Result<()> {
    let size = Size {
        services,
        backends: 10,
    };
    let netns = fresh()?;
    let wanted = table::wanted(size);
    ours::cold_load(&netns, &wanted)?;
    let changes = ours::one_change(&netns, size, RUNS)?;
    let mut theirs = Vec::new();
    for run in 0..RUNS {
        let begun = Instant::now();
        program::run(netns.command("ipvsadm").args(table::one_more(run)), "")?;
        theirs.push(begun.elapsed());
    }
    let case = format!("1 backend of {services} x 10");
    rows.add(Row::new(
        "one-change",
        &case,
        "ipvsadm -a",
        &changes.times,
        &theirs,
    ));
    rows.note(&format!(
        "one-change, {case}: {} request, {} dumps of all services",
        changes.requests, changes.full_dumps
    ));
    Ok(())
}

fn audit(rows: &mut Rows) -> Result<()> {
    let netns = fresh()?;
    let wanted = table::wanted(AUDITED);
    ours::cold_load(&netns, &wanted)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        ours.push(ours::audit(&netns, &wanted)?);
        let begun = Instant::now();
        program::run(netns.command("ipvsadm").arg("-Sn"), "").context("the audit's peer")?;
        theirs.push(begun.elapsed());
    }
    rows.add(Row::new(
        "audit",
        &AUDITED.to_string(),
        "ipvsadm -Sn",
        &ours,
        &theirs,
    ));
    Ok(())
}

/// The middle one of some times.
fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
