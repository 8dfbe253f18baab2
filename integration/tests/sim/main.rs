//! A whole fleet in one seeded run: controller, five agents and an operator in one thread, on a network, disks, kernels and
//! clocks that are simulated and fail. A seed decides everything; the same seed is the same run.
//!
//! `WEIR_SEED=N` runs that seed alone and prints its trace; `WEIR_SEEDS=N` sets how many there are, and `WEIR_PLANT=BUG`
//! plants a bug.

mod judge;
mod model;
mod net;
mod operator;
mod scenario;
mod watched;
mod world;

use std::env;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use judge::Ended;
use weir_proto::faults::Bug;
use world::Run;

/// The test of all seeds, by the name a child runs it by.
const ALL: &str = "what_was_accepted_is_what_every_kernel_holds_whatever_fails_meanwhile";
/// Bugs that a run of all seeds must catch. For the first seven there is no cheaper test.
const CAUGHT: [Bug; 8] = [
    Bug::ReorderedDelta,
    Bug::DoubleApply,
    Bug::AckOtherGeneration,
    Bug::GenerationReset,
    Bug::HelloIgnored,
    Bug::WrongBase,
    Bug::StaleSnapshot,
    Bug::AckBeforeJournal,
];
/// How many seeds there are where nothing else is said.
const SEEDS: u64 = 500;
/// How many of them are run twice.
const REPLAYED: u64 = 10;
/// Lines of a trace that tell how it came to a violation.
const TOLD: usize = 400;

fn number(variable: &str) -> Result<Option<u64>> {
    let Ok(text) = env::var(variable) else {
        return Ok(None);
    };
    let number = text.parse();
    number
        .map(Some)
        .with_context(|| format!("{variable}={text} is no number"))
}

fn run(seed: u64, tag: &str, keep: bool) -> Ended {
    Run { seed, tag, keep }.run()
}

/// Runs seeds on every core until one fails; gives that, how many were run to their end, and how many updates followed others
/// that had no answer yet.
fn search(seeds: u64, tag: &str) -> (Option<(u64, Ended)>, u64, u64) {
    let (next, ran, followed) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let failed = Mutex::new(None);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let ended = run(seed, tag, false);
                    ran.fetch_add(1, Ordering::Relaxed);
                    followed.fetch_add(ended.followed, Ordering::Relaxed);
                    if ended.violation.is_some() {
                        let mut failed = failed.lock().expect("no panic");
                        failed.get_or_insert((seed, ended));
                        next.store(seeds, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("no panic");
    (failed, ran.into_inner(), followed.into_inner())
}

/// Tells of a seed that failed, and how it came to that.
fn tell(seed: u64, most: usize) -> String {
    let Ended {
        violation,
        trace,
        hash,
        lines,
        followed: _,
    } = run(seed, "tell", true);
    let last = trace.len().saturating_sub(most);
    let last = trace[last..].join("\n");
    let violation = violation.unwrap_or_else(|| "none, this time".to_owned());
    format!(
        "{last}\n\nWEIR_SEED={seed} (trace {hash:016x}, {lines} lines): {violation}\n\
         again: WEIR_SEED={seed} integration/run test sim"
    )
}

#[test]
fn what_was_accepted_is_what_every_kernel_holds_whatever_fails_meanwhile() -> Result<()> {
    if let Some(seed) = number("WEIR_SEED")? {
        println!("{}", tell(seed, usize::MAX));
        let violation = run(seed, "one", false).violation;
        ensure!(violation.is_none(), "seed {seed} fails");
        return Ok(());
    }
    let seeds = number("WEIR_SEEDS")?.unwrap_or(SEEDS);
    let begun = Instant::now();
    let (failed, ran, followed) = search(seeds, "seeds");
    let took = begun.elapsed();
    println!("{ran} seeds in {took:.1?}; {followed} updates followed one without an answer");
    if let Some((seed, _)) = failed {
        bail!("{}", tell(seed, TOLD));
    }
    // in two of three seeds the fleet is taken as large
    ensure!(followed > ran, "updates wait for answers that may wait");
    Ok(())
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..REPLAYED {
        let (first, again) = (run(seed, "replay", true), run(seed, "replay", true));
        let pairs = first.trace.iter().zip(&again.trace);
        let differs = pairs.enumerate().find(|(_, (first, again))| first != again);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(
            (first.hash, first.lines),
            (again.hash, again.lines),
            "seed {seed}"
        );
    }
}

#[test]
fn each_bug_of_the_stream_makes_a_seed_fail() -> Result<()> {
    for bug in CAUGHT {
        let output = Command::new(env::current_exe()?)
            .args(["--exact", ALL, "--nocapture"])
            .env("WEIR_PLANT", bug.name())
            .env_remove("WEIR_SEED")
            .env("WEIR_SEEDS", SEEDS.to_string())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        let mut told = text.lines().chain(errors.lines());
        let seed = told.find(|line| line.starts_with("WEIR_SEED="));
        ensure!(
            output.status.code() == Some(101) && seed.is_some(),
            "{bug} is there, and no seed of {SEEDS} fails ({})",
            output.status
        );
        println!("{bug}: {}", seed.unwrap_or_default());
    }
    Ok(())
}
