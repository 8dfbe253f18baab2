//! Tries damaged inputs on a decoder for a time, without a fuzzer: what `integration/run fuzz` does where there is
//! no cargo-fuzz.
//!
//! `fuzz` lists the decoders; `fuzz TARGET seeds DIRECTORY` writes a file for each seed; `fuzz TARGET SECONDS` tries.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use weir_integration::fuzz::{Mutator, TARGETS, Target, hex};
use weir_integration::program;

/// Inputs between two looks at the clock.
const AT_ONCE: u64 = 1000;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => TARGETS
            .iter()
            .try_for_each(|target| program::line(target.name)),
        [name, "seeds", directory] => write_seeds(named(name)?, Path::new(directory)),
        [name, seconds] => {
            let seconds = seconds.parse().context("how many seconds?")?;
            search(named(name)?, Duration::from_secs(seconds))
        }
        _ => bail!("usage: fuzz [TARGET (SECONDS | seeds DIRECTORY)]"),
    }
}

fn named(name: &str) -> Result<&'static Target> {
    Target::named(name).with_context(|| format!("no target {name}"))
}

fn write_seeds(target: &Target, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    for (number, seed) in (target.seeds)().into_iter().enumerate() {
        fs::write(directory.join(format!("seed-{number}")), seed)?;
    }
    Ok(())
}

fn search(target: &Target, time: Duration) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let number = u64::try_from(now.as_nanos() & u128::from(u32::MAX))?;
    let mut mutator = Mutator::new((target.seeds)(), number);
    let (mut inputs, mut decoded) = (0u64, 0u64);
    let begun = Instant::now();
    while begun.elapsed() < time {
        for _ in 0..AT_ONCE {
            let bytes = mutator.damaged();
            inputs += 1;
            let held = panic::catch_unwind(AssertUnwindSafe(|| (target.check)(&bytes)));
            match held {
                Ok(true) => {
                    decoded += 1;
                    mutator.keep(bytes);
                }
                Ok(false) => {}
                Err(_) => bail!("{} does not hold for {}", target.name, hex(&bytes)),
            }
        }
    }
    program::line(&format!(
        "{}: {inputs} inputs in {:.0?}, {decoded} of them decoded; begun with {number}",
        target.name,
        begun.elapsed()
    ))
}
