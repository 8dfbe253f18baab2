//! The kernel room beside the tools people use, on the kernel at hand: `integration/run bench kernel`.
//!
//! Each run has a network namespace of its own: a table that was emptied is not as fast as one that was never
//! filled, since the kernel keeps deleted backends for minutes and looks through them (`ip_vs_trash_get_dest` in
//! `net/netfilter/ipvs/ip_vs_ctl.c`). Ours and theirs take turns, so that a machine that changes its pace changes it
//! for both. Before the runs that count there is one of ours that does not: a page that is touched for the first time
//! takes some 60 us in User-Mode Linux, and the floor has its memory beforehand too.

mod bindings;
mod changes;
mod floor;
mod loads;
mod ours;
mod restart;
mod row;
mod sampling;
mod table;

use std::time::Duration;

use anyhow::Result;
use weir_integration::netns::Netns;

use row::Rows;

/// Medians of so many: enough that one run that was disturbed does not count.
const RUNS: usize = 5;

/// A bench by its name.
type Bench = (&'static str, fn(&mut Rows) -> Result<()>);

/// In the order in which they run.
const BENCHES: [Bench; 9] = [
    ("cold-load", loads::beside_ipvsadm),
    ("cold-load-floor", loads::beside_the_floor),
    ("one-change", changes::one_change),
    ("audit", changes::audit),
    ("sampling", sampling::sampling),
    ("restart", restart::restart),
    ("return", changes::away_and_back),
    ("loopback-set", bindings::loopback_set),
    ("vips", bindings::vips),
];

/// Runs the benches that are named, or all.
fn main() -> Result<()> {
    // cargo itself says --bench
    let (options, named): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with('-'));
    let known = |name: &String| BENCHES.iter().any(|(bench, _)| bench == name);
    if let Some(unknown) = named.iter().find(|name| !known(name)) {
        let names = BENCHES.map(|(bench, _)| bench);
        anyhow::bail!("no bench {unknown}; there are: {}", names.join(", "));
    }
    let mut rows = Rows::new(&options);
    for (bench, run) in BENCHES {
        if named.is_empty() || named.iter().any(|name| name == bench) {
            run(&mut rows)?;
        }
    }
    Ok(())
}

/// A namespace that nothing was ever in.
fn fresh() -> Result<Netns> {
    Netns::create("bench")
}

/// The middle one of some times.
fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
