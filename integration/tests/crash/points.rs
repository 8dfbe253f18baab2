//! Every point of failure with every action, one after the other, while changes flow.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use weir_integration::eventually::eventually;
use weir_integration::program;
use weir_integration::random::Random;
use weir_proto::faults::{Action, Point};

use crate::rig::{Rig, SOON};

/// A point is passed some times before its fault comes, so that not only an agent's first change is hit.
const PASSES: usize = 4;
/// What an agent says whose journal takes nothing more.
const JOURNAL_FAILED: &str = "takes nothing more since a write to it failed";

#[test]
fn an_agent_recovers_from_every_fault_at_every_point() -> Result<()> {
    let mut rig = Rig::start("weir-agent-faults")?;
    let mut random = Random::new(rig.seed ^ 2);
    let mut cases = 0;
    for point in Point::ALL {
        for action in Action::ALL {
            suffer(&mut rig, &mut random, point, action)
                .with_context(|| format!("{point} {action}"))
                .inspect_err(|_| rig.show())?;
            cases += 1;
        }
    }
    ensure!(cases >= 40, "only {cases} cases");
    program::line(&format!("{cases} faults"))?;
    rig.finish()
}

/// Orders one fault, sees it come, and waits until all is as if it had not.
fn suffer(rig: &mut Rig, random: &mut Random, point: Point, action: Action) -> Result<()> {
    let first = matches!(
        point,
        Point::JournalOpen | Point::StreamConnect | Point::StreamHello
    );
    let nth = if first { 1 } else { 1 + random.below(PASSES) };
    let accepted = rig.churn.told().node.accepted_generation;
    rig.order(&format!("{point}={action}:{nth}"))?;
    if first {
        // passed only at the beginning, and there is something to catch up with
        rig.kill()?;
        rig.churn.flow();
        rig.churn.more(1)?;
        rig.churn.rest()?;
        rig.start_agent()?;
    } else {
        rig.churn.flow();
    }
    eventually("the fault comes", SOON, || {
        let said = rig.said()?;
        let told = said.contains(&format!("weir fault: {point} {action}"));
        ensure!(told, "{:?}", said.lines().last());
        Ok(())
    })?;
    let ended = ended(rig, point, action)?;
    rig.churn.rest()?;
    if let Some(status) = ended {
        as_expected(action, status)?;
        rig.start_agent()?;
        let remembered = rig.remembered()?;
        ensure!(
            remembered >= accepted,
            "generation {accepted} was accepted, and {remembered} is remembered"
        );
    }
    rig.settles()?;
    Ok(())
}

/// Gives the status of an agent that a fault ends; none of one that goes on.
fn ended(rig: &mut Rig, point: Point, action: Action) -> Result<Option<ExitStatus>> {
    let opening = point == Point::JournalOpen;
    let writing = matches!(
        point,
        Point::JournalBatch
            | Point::JournalApplied
            | Point::JournalFlushed
            | Point::JournalSynced
            | Point::JournalMarked
    );
    match action {
        Action::Delay => Ok(None),
        Action::Error | Action::Panic if writing => {
            // what follows a failed write is not durable, so nothing more is taken: the agent must be started again
            eventually("the journal is said to have failed", SOON, || {
                ensure!(rig.said()?.contains(JOURNAL_FAILED), "not yet");
                Ok(())
            })?;
            let status = rig.terminate()?;
            ensure!(status.success(), "it ended with {status}");
            rig.start_agent()?;
            Ok(None)
        }
        Action::Error if !opening => Ok(None),
        Action::Error | Action::Panic | Action::Kill => rig.ended().map(Some),
    }
}

/// Fails unless the agent ended so that whoever watches over it starts it again.
fn as_expected(action: Action, status: ExitStatus) -> Result<()> {
    let expected = match action {
        Action::Kill => status.signal() == Some(Signal::SIGKILL as i32),
        Action::Error | Action::Panic | Action::Delay => {
            status.code().is_some_and(|code| code != 0)
        }
    };
    ensure!(expected, "it ended with {status}");
    Ok(())
}
