//! kill -9 at random points while a hundred changes a second flow.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use weir_integration::program;
use weir_integration::random::Random;

use crate::rig::Rig;

/// How often, unless `WEIR_CRASH_ROUNDS` says otherwise.
const ROUNDS: usize = 50;
/// Changes before a kill, at most: an agent dies early in its life and late.
const CHANGES: usize = 25;
/// Changes follow each other within this: at which point of one the kill comes is left to chance.
const WITHIN: Duration = Duration::from_millis(12);

#[test]
fn an_agent_killed_at_random_points_while_changes_flow_loses_nothing() -> Result<()> {
    let rounds = match std::env::var("WEIR_CRASH_ROUNDS") {
        Ok(rounds) => rounds.parse().context("WEIR_CRASH_ROUNDS is no number")?,
        Err(_) => ROUNDS,
    };
    let mut rig = Rig::start("weir-agent")?;
    let mut random = Random::new(rig.seed ^ 1);
    let mut longest = Duration::ZERO;
    for round in 1..=rounds {
        let took = once(&mut rig, &mut random)
            .with_context(|| format!("round {round}"))
            .inspect_err(|_| rig.show())?;
        longest = longest.max(took);
    }
    program::line(&format!(
        "{rounds} kills; within {longest:?} of a start, or of the last change after it, the kernel was as wanted"
    ))?;
    rig.finish()
}

/// Kills once and gives how long the kernel took to be as wanted after the start, or after the last change if that came later.
fn once(rig: &mut Rig, random: &mut Random) -> Result<Duration> {
    rig.churn.flow();
    rig.churn.more(1 + random.below(CHANGES))?;
    let micros = random.below(usize::try_from(WITHIN.as_micros())?);
    // not to wait for anything: to kill in the middle of whatever is going on
    thread::sleep(Duration::from_micros(u64::try_from(micros)?));
    rig.kill()?;
    if random.below(2) == 0 {
        // with nobody asking for more meanwhile an agent starts in half the time; else it starts into the flow
        rig.churn.rest()?;
    }
    let started = Instant::now();
    rig.start_agent()?;
    rig.remembers()?;
    let since_change = rig.settles()?;
    Ok(since_change.min(started.elapsed()))
}
