//! Tables that are there: little changes, nothing changes, much goes and comes back.

use std::time::Instant;

use anyhow::{Context, Result};
use weir_integration::program;

use crate::loads::verify;
use crate::row::{Row, Rows};
use crate::table::{self, Size};
use crate::{RUNS, floor, fresh, median, ours};

/// Services in the table in which one backend is changed, with ten backends each.
const CHANGED: [usize; 4] = [100, 1_000, 10_000, 30_000];
/// More than elsewhere: a change takes a tenth of a millisecond.
const CHANGES: usize = 21;
const AUDITED: Size = Size {
    services: 10_000,
    backends: 10,
};
const LEFT: Size = Size {
    services: 2_000,
    backends: 10,
};
/// Backends that go and come back, each of another service: those of a node that is rebooted.
const AWAY: usize = 1_000;

/// One backend of a larger and larger table.
pub(crate) fn one_change(rows: &mut Rows) -> Result<()> {
    let mut growth = Vec::new();
    for services in CHANGED {
        let size = Size {
            services,
            backends: 10,
        };
        let netns = fresh()?;
        ours::cold_load(&netns, &table::wanted(size))?;
        let mut theirs = Vec::new();
        let changes = ours::one_change(&netns, size, CHANGES, |run| {
            let begun = Instant::now();
            program::run(netns.command("ipvsadm").args(table::one_more(run)), "")?;
            theirs.push(begun.elapsed());
            Ok(())
        })?;
        let case = format!("1 backend of {size}");
        rows.note(&format!(
            "one-change, {case}: {} request, {} dumps of all services",
            changes.requests, changes.full_dumps
        ));
        growth.push((services, median(&changes.times)));
        let beside = (&case[..], "ipvsadm -a");
        rows.add(Row::new("one-change", beside, &changes.times, &theirs));
    }
    rows.add(Row::growth("one-change", &growth, CHANGES));
    Ok(())
}

/// Everything is read, and nothing is to do.
pub(crate) fn audit(rows: &mut Rows) -> Result<()> {
    let netns = fresh()?;
    let wanted = table::wanted(AUDITED);
    ours::cold_load(&netns, &wanted)?;
    ours::audit(&netns, &wanted)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        ours.push(ours::audit(&netns, &wanted)?);
        let begun = Instant::now();
        program::run(netns.command("ipvsadm").arg("-Sn"), "").context("the audit's peer")?;
        theirs.push(begun.elapsed());
    }
    let case = AUDITED.to_string();
    rows.add(Row::new("audit", (&case, "ipvsadm -Sn"), &ours, &theirs));
    Ok(())
}

/// Backends that are removed and brought back at once, while the kernel still has each in its trash.
pub(crate) fn away_and_back(rows: &mut Rows) -> Result<()> {
    let wanted = table::wanted(LEFT);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for run in 0..=RUNS {
        let netns = fresh()?;
        ours::cold_load(&netns, &wanted)?;
        let took = ours::away_and_back(&netns, AWAY)?;
        verify(&netns, LEFT)?;
        drop(netns);

        let netns = fresh()?;
        floor::cold_load(&netns, LEFT)?;
        let floor = floor::away_and_back(&netns, AWAY)?;
        verify(&netns, LEFT)?;
        if run > 0 {
            ours.push(took);
            theirs.push(floor);
        }
    }
    let case = format!("{AWAY} of {LEFT}");
    rows.add(Row::new("return", (&case, floor::NAME), &ours, &theirs));
    Ok(())
}
