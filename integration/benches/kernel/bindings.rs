//! What is beside the table: the loopback set and the VIPs.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Result;
use weir_integration::program;

use crate::row::{Row, Rows};
use crate::{RUNS, fresh, median, ours, table};

const ENTRIES: [usize; 2] = [10_000, 50_000];
const VIPS: [usize; 3] = [1_000, 4_000, 8_000];

/// A set and all its entries.
pub(crate) fn loopback_set(rows: &mut Rows) -> Result<()> {
    for entries in ENTRIES {
        let wanted = table::loopback(entries);
        let text = table::as_ipset(entries);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for run in 0..=RUNS {
            let netns = fresh()?;
            let took = ours::cold_load(&netns, &wanted)?;
            let listed = program::run(netns.command("ipset").args(["list", "-t"]), "")?;
            let there = format!("Number of entries: {entries}");
            anyhow::ensure!(
                listed.contains(&there),
                "not all entries are there: {listed}"
            );
            drop(netns);
            // the first is for the memory
            if run == 0 {
                continue;
            }
            ours.push(took);
            let netns = fresh()?;
            let begun = Instant::now();
            program::run(netns.command("ipset").arg("restore"), &text)?;
            theirs.push(begun.elapsed());
        }
        let case = format!("{entries} entries");
        let beside = (&case[..], "ipset restore");
        rows.add(Row::new("loopback-set", beside, &ours, &theirs));
    }
    Ok(())
}

/// The link and all its VIPs.
pub(crate) fn vips(rows: &mut Rows) -> Result<()> {
    let mut growth = Vec::new();
    for vips in VIPS {
        let wanted = table::vips(vips);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for run in 0..=RUNS {
            let netns = fresh()?;
            let took = ours::cold_load(&netns, &wanted)?;
            let shown = ["-4", "route", "show", "table", "local", "dev", "weir0"];
            let listed = program::run(netns.command("ip").args(shown), "")?;
            // one more is what keeps IPv4 on the link
            let there = listed.lines().filter(|line| line.starts_with("local 10."));
            anyhow::ensure!(there.count() == vips, "not all VIPs are there");
            drop(netns);
            if run == 0 {
                continue;
            }
            ours.push(took);
            let netns = fresh()?;
            netns.ip("link add dummy0 type dummy\nlink set dummy0 up")?;
            let mut batch = String::new();
            for vip in 0..vips {
                // writing to a String cannot fail
                let _ = writeln!(batch, "addr add {}/32 dev dummy0", table::vip(vip).ip());
            }
            let begun = Instant::now();
            netns.ip(&batch)?;
            theirs.push(begun.elapsed());
        }
        growth.push((vips, median(&ours)));
        let case = format!("{vips} VIPs");
        let beside = (&case[..], "ip -batch addr add");
        rows.add(Row::new("vips", beside, &ours, &theirs));
    }
    rows.add(Row::growth("vips", &growth, RUNS));
    Ok(())
}
