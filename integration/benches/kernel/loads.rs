//! Whole tables into an empty kernel.

use std::time::Instant;

use anyhow::Result;
use weir_agent::plan::Table;
use weir_integration::netns::Netns;
use weir_integration::program;

use crate::row::{Row, Rows};
use crate::table::{self, Size};
use crate::{RUNS, floor, fresh, ours};

/// Services x backends of each; the largest first, so that the memory it took serves the others.
const LOADS: [Size; 3] = [
    Size {
        services: 100,
        backends: 1_000,
    },
    Size {
        services: 5_000,
        backends: 10,
    },
    Size {
        services: 1_000,
        backends: 10,
    },
];

/// Beside the tool that people restore tables with.
pub(crate) fn beside_ipvsadm(rows: &mut Rows) -> Result<()> {
    for size in LOADS {
        if !rows.asked(&size.to_string()) {
            continue;
        }
        let wanted = table::wanted(size);
        let text = table::as_ipvsadm(size);
        warm(&wanted)?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let netns = fresh()?;
            ours.push(ours::cold_load(&netns, &wanted)?);
            verify(&netns, size)?;
            drop(netns);

            let netns = fresh()?;
            let begun = Instant::now();
            program::run(netns.command("ipvsadm").arg("-R"), &text)?;
            theirs.push(begun.elapsed());
        }
        let case = size.to_string();
        rows.add(Row::new("cold-load", (&case, "ipvsadm -R"), &ours, &theirs));
    }
    Ok(())
}

/// Beside the least that a program can do.
pub(crate) fn beside_the_floor(rows: &mut Rows) -> Result<()> {
    for size in LOADS {
        if !rows.asked(&size.to_string()) {
            continue;
        }
        let wanted = table::wanted(size);
        warm(&wanted)?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let netns = fresh()?;
            ours.push(ours::cold_load(&netns, &wanted)?);
            verify(&netns, size)?;
            drop(netns);

            let netns = fresh()?;
            theirs.push(floor::cold_load(&netns, size)?);
            verify(&netns, size)?;
        }
        let case = size.to_string();
        rows.add(Row::new(
            "cold-load-floor",
            (&case, floor::NAME),
            &ours,
            &theirs,
        ));
    }
    Ok(())
}

/// Loads it once, so that the memory it takes is there.
fn warm(wanted: &Table) -> Result<()> {
    ours::cold_load(&fresh()?, wanted)?;
    Ok(())
}

/// The whole table must be there, by somebody else's reading.
pub(crate) fn verify(netns: &Netns, size: Size) -> Result<()> {
    let text = program::run(netns.command("ipvsadm").arg("-Sn"), "")?;
    let count = |prefix: &str| text.lines().filter(|line| line.starts_with(prefix)).count();
    let found = (count("-A"), count("-a"));
    let wanted = (size.services, size.services * size.backends);
    anyhow::ensure!(found == wanted, "{found:?} is there of {wanted:?}");
    Ok(())
}
