//! `weirctl rollout`, and the wait for the end of one.

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Response, Status, Streaming};
use weir_proto::wire;
use weir_proto::wire::rollout::Phase;
use weir_proto::wire::steer_rollout_request::Action;

use super::args::{RolloutArgs, RolloutCommand, RolloutStatusArgs, SteerArgs, To};
use super::connect::Controller;
use super::now;
use super::outcome::{Trouble, print};
use super::progress::{ProgressLine, awaited};
use super::render::{counted, human, rollout_document, rollout_line, rollout_page};
use super::wait;

/// How long to leave a controller alone that went away during the wait: it restarts in about a second.
const AGAIN: Duration = Duration::from_millis(500);
/// What is true of a rollout that nobody watches.
const GOES_ON: &str =
    "the rollout goes on: weirctl rollout status shows it, weirctl rollout pause stops it";

/// Shows the rollout, or steers it and says so.
pub(super) async fn run(to: &To, args: &RolloutArgs) -> Result<()> {
    match &args.command {
        RolloutCommand::Status(args) if args.watch => awaited(status(to, args), GOES_ON).await,
        RolloutCommand::Status(args) => status(to, args).await,
        RolloutCommand::Pause(args) => steer(to, args, Action::Pause, "paused").await,
        RolloutCommand::Resume(args) => steer(to, args, Action::Resume, "resumed").await,
        RolloutCommand::Undo(args) => steer(to, args, Action::Undo, "undone").await,
    }
}

async fn steer(to: &To, args: &SteerArgs, action: Action, done: &str) -> Result<()> {
    let controller = Controller::connect(to).await?;
    let mut client = controller.client.clone();
    let request = wire::SteerRolloutRequest {
        action: action.into(),
        revision: args.revision,
    };
    let steered = controller.answer(client.steer_rollout(request)).await?;
    let revision = steered.rollout.unwrap_or_default().revision;
    print(&format!("rollout/{revision} {done}\n"))
}

async fn status(to: &To, args: &RolloutStatusArgs) -> Result<()> {
    let controller = Controller::connect(to).await?;
    let refused = |status: Status| controller.refusal(&status);
    let (mut stream, mut answer) = follow(&controller, args.watch).await.map_err(refused)?;
    let mut first = true;
    loop {
        let rollout = answer.rollout.as_ref();
        let form = args.output.document();
        let gap = if first || form.is_some() { "" } else { "\n" };
        let text = match form {
            None => rollout_page(rollout, now()),
            Some(form) => rollout_document(rollout, (form, args.watch))?,
        };
        print(&format!("{gap}{text}"))?;
        let phase = rollout.map(wire::Rollout::phase);
        if phase == Some(Phase::Halted) {
            return Err(Trouble::Shown.into());
        }
        if !args.watch || matches!(phase, None | Some(Phase::Done | Phase::Undone)) {
            return Ok(());
        }
        first = false;
        answer = match stream.message().await {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                return Err(anyhow!(
                    "the controller at {} ended the call",
                    to.controller
                ));
            }
            Err(status) => return Err(refused(status)),
        };
    }
}

/// Gives the answers, and the first of them, which is due at once.
async fn follow(
    of: &Controller,
    watch: bool,
) -> Result<
    (
        Streaming<wire::RolloutStatusResponse>,
        wire::RolloutStatusResponse,
    ),
    Status,
> {
    let mut client = of.client.clone();
    let request = wire::RolloutStatusRequest { watch };
    let mut stream = of.attempt(client.rollout_status(request)).await?;
    let first = of.attempt(async { stream.message().await.map(Response::new) });
    let first = first.await?;
    let first = first.ok_or_else(|| Status::unavailable("the stream ended"))?;
    Ok((stream, first))
}

/// Follows the rollout of a revision until it is over or halts, or the time is over.
pub(super) async fn until_over(of: &Controller, revision: u64, longest: Duration) -> Result<()> {
    awaited(over(of, revision, longest), GOES_ON).await
}

async fn over(of: &Controller, revision: u64, longest: Duration) -> Result<()> {
    let deadline = Instant::now() + longest;
    let mut followed = Followed {
        last: None,
        line: ProgressLine::new(),
    };
    loop {
        match timeout_at(deadline, watch(of, revision, &mut followed)).await {
            Ok(Ok(rollout)) => {
                followed.line.clear();
                return conclusion(&rollout);
            }
            Ok(Err(status)) if wait::passes(&status) => sleep(AGAIN).await,
            Ok(Err(status)) => return Err(of.refusal(&status)),
            Err(_) => {
                let line = followed.last.as_ref().map(rollout_line);
                let line = line.unwrap_or_default();
                return Err(anyhow!("not over after {}: {line}", human(longest)));
            }
        }
    }
}

/// What is known of a rollout across the calls that are made.
struct Followed {
    last: Option<wire::Rollout>,
    line: ProgressLine,
}

/// Gives the rollout as it ends. `followed` outlives a call that is cut short.
async fn watch(
    of: &Controller,
    revision: u64,
    followed: &mut Followed,
) -> Result<wire::Rollout, Status> {
    let (mut stream, mut answer) = follow(of, true).await?;
    loop {
        let rollout = answer.rollout.filter(|it| it.revision == revision);
        let rollout = rollout.ok_or_else(|| {
            Status::not_found(format!("rollout {revision} is no longer the last one"))
        })?;
        if matches!(rollout.phase(), Phase::Done | Phase::Undone | Phase::Halted) {
            return Ok(rollout);
        }
        let line = rollout_line(&rollout);
        if followed.last.as_ref().map(rollout_line).as_ref() != Some(&line) {
            followed.line.show(&line);
        }
        followed.last = Some(rollout);
        answer = stream
            .message()
            .await?
            .ok_or_else(|| Status::unavailable("the stream ended"))?;
    }
}

fn conclusion(rollout: &wire::Rollout) -> Result<()> {
    let revision = rollout.revision;
    match rollout.phase() {
        Phase::Done => print(&format!(
            "rolled out to {}\n",
            counted(rollout.nodes.len(), "node")
        )),
        Phase::Halted => Err(anyhow!(
            "rollout {revision} halted: {}; weirctl rollout resume or undo",
            rollout.reason
        )),
        _ => Err(anyhow!("rollout {revision} was undone")),
    }
}
