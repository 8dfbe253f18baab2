//! `weirctl drain` and `undrain`.
//!
//! `judge` decides from what the nodes say; this room asks and keeps the time.

mod judge;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::sleep;
use tonic::Status;
use weir_proto::model::DrainDeadline;
use weir_proto::wire;

use super::args::{DrainArgs, To, UndrainArgs};
use super::connect::Controller;
use super::names::drain_targets;
use super::outcome::{Trouble, print};
use super::progress::{ProgressLine, awaited};
use super::render::{drain_target, human};
use super::{now, wait};
use judge::{Asked, Told};

/// How often the nodes are asked for: they tell once a second.
const EVERY: Duration = Duration::from_millis(500);

/// Drains what is named, and says so.
pub(super) async fn run(to: &To, args: &DrainArgs) -> Result<()> {
    let targets = drain_targets(&args.what).map_err(Trouble::Usage)?;
    let request = wire::DrainRequest {
        targets: targets.clone(),
        drain: Some(wire::Drain {
            deadline_seconds: args.deadline,
            on_deadline: args
                .on_deadline
                .map_or(0, |end| wire::OnDeadline::from(end).into()),
        }),
    };
    let controller = Controller::connect(to).await?;
    let mut client = controller.client.clone();
    let answer = controller.answer(client.drain(request)).await?;
    print(&lines(&targets, "draining"))?;
    if !args.wait {
        return Ok(());
    }
    if answer.targets.is_empty() {
        return print("no node is touched\n");
    }
    let nodes = answer.targets.into_iter();
    let waiting = Waiting {
        asked: Asked {
            targets,
            nodes: nodes
                .map(|target| (target.node, target.generation))
                .collect(),
            since_unix_ms: now(),
        },
        patience: args.wait_timeout,
    };
    let goes_on = "the drain goes on: weirctl get drains shows it, weirctl undrain ends it";
    awaited(waiting.until_over(&controller), goes_on).await
}

/// Ends drains, and says so.
pub(super) async fn undo(to: &To, args: &UndrainArgs) -> Result<()> {
    let targets = drain_targets(&args.what).map_err(Trouble::Usage)?;
    let request = wire::UndrainRequest {
        targets: targets.clone(),
    };
    let controller = Controller::connect(to).await?;
    let mut client = controller.client.clone();
    controller.answer(client.undrain(request)).await?;
    print(&lines(&targets, "undrained"))
}

/// Says what became of each target.
fn lines(targets: &[wire::DrainTarget], outcome: &str) -> String {
    let targets = targets.iter().map(drain_target);
    targets
        .map(|(kind, target)| format!("{kind}/{target} {outcome}\n"))
        .collect()
}

/// A wait for the end of drains.
struct Waiting {
    asked: Asked,
    /// How long the nodes are waited for beyond the deadline.
    patience: Duration,
}

impl Waiting {
    /// Asks until every node says that it is over, or the time is.
    async fn until_over(self, of: &Controller) -> Result<()> {
        let mut last = Told::default();
        let mut line = ProgressLine::new();
        let since = self.asked.since_unix_ms;
        // until it is known how long the drains last, they last as long as one whose service says nothing
        let mut until = since + u64::from(DrainDeadline::default().seconds()) * 1_000;
        loop {
            match self.ask(of).await {
                Ok((states, drains)) => {
                    let told = self.asked.judge(&states, &drains, now());
                    if let Some(ended) = &told.undrained {
                        return Err(anyhow!("{ended} is drained no longer"));
                    }
                    if told.waiting.is_empty() {
                        line.clear();
                        return conclusion(&told, self.asked.nodes.len());
                    }
                    if told.waiting != last.waiting {
                        line.show(&told.progress_line());
                    }
                    until = told.until_unix_ms;
                    last = told;
                }
                Err(status) if wait::passes(&status) => {}
                Err(status) => return Err(of.refusal(&status)),
            }
            let now = now();
            let patience = u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX);
            if now >= until.saturating_add(patience) {
                let waited = Duration::from_millis(now.saturating_sub(since));
                return Err(last
                    .timed_out(self.asked.nodes.len(), &human(waited))
                    .into());
            }
            sleep(EVERY).await;
        }
    }

    async fn ask(
        &self,
        of: &Controller,
    ) -> Result<(Vec<wire::NodeState>, Vec<wire::DrainState>), Status> {
        let names = self.asked.nodes.keys().cloned().collect();
        let states = of.attempt_node_states(names).await?;
        let mut client = of.client.clone();
        let listed = of.attempt(client.list_drains(wire::ListDrainsRequest {}));
        Ok((states, listed.await?.drains))
    }
}

/// Says how the wait ended.
fn conclusion(told: &Told, all: usize) -> Result<()> {
    match told.verdict(all) {
        Ok(text) => print(&text),
        Err(trouble) => Err(trouble.into()),
    }
}

/// The nodes that a drain touches, with the generation that brings it to each.
type Nodes = BTreeMap<String, u64>;
