//! One controller and its fleet, measured: `integration/run bench fleet`.
//!
//! The controller is the program that is shipped, on one core. The agents are all in this process, on the other core, each
//! with a session over TLS on a connection of its own, a journal in memory, and a kernel in memory that tells when it holds a
//! change. Times are taken where the change arrives: in the kernels. With `--real` the one agent is on the kernel at hand.

mod agents;
mod board;
mod changes;
mod cluster;
mod compile;
mod controller;
mod etcd;
mod fleet;
mod flood;
mod pki;
mod process;
mod real;
mod row;
mod seat;
mod stub;
mod weight;
mod wire;

use anyhow::{Result, bail};

use crate::process::Cores;
use crate::row::Rows;

/// What there is to measure on kernels in memory, in the order in which it runs.
const FLEET: [&str; 10] = [
    "agents-100",
    "encodes",
    "bytes",
    "stalled",
    "flood",
    "agents-1000",
    "memory",
    "cpu",
    "compile",
    "seat",
];
/// What there is to measure on the kernel at hand.
const REAL: [&str; 2] = ["agent-1", "agent-memory"];

/// What was asked for.
struct Asked(Vec<String>);

impl Asked {
    fn for_any(&self, names: &[&str]) -> bool {
        self.0.is_empty()
            || names
                .iter()
                .any(|name| self.0.iter().any(|one| one == name))
    }
}

/// Runs the benches that are named, or all that need no kernel; with `--real` those that do.
fn main() -> Result<()> {
    // cargo itself says --bench
    let (options, named): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with('-'));
    let option = |name: &str| options.iter().any(|option| option == name);
    let (real, json) = (option("--real"), option("--json"));
    if let Some(unknown) = named
        .iter()
        .find(|name| !FLEET.iter().chain(&REAL).any(|bench| bench == name))
    {
        let all: Vec<&str> = FLEET.into_iter().chain(REAL).collect();
        bail!("no bench {unknown}; there are: {}", all.join(", "));
    }
    let asked = Asked(named);
    process::open_many_files()?;
    let mut rows = Rows::new(json);
    if real {
        real::run(&asked, &mut rows)?;
    } else {
        on_kernels_in_memory(&asked, &mut rows)?;
    }
    let missed = rows.missed();
    if !missed.is_empty() {
        bail!("not as good as it must be: {}", missed.join("; "));
    }
    Ok(())
}

fn on_kernels_in_memory(asked: &Asked, rows: &mut Rows) -> Result<()> {
    let cores = Cores::take()?;
    if !cores.are_two() {
        rows.note("one core for all: what is measured and what measures are in each other's way");
    }
    if asked.for_any(&["agents-100", "encodes", "bytes", "stalled", "flood"]) {
        changes::hundred(cores, asked, rows)?;
    }
    if asked.for_any(&["agents-1000", "memory", "cpu"]) {
        changes::thousand(cores, asked, rows)?;
    }
    if asked.for_any(&["compile"]) {
        compile::run(rows)?;
    }
    if asked.for_any(&["seat"]) {
        seat::run(rows)?;
    }
    Ok(())
}
