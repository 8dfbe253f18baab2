//! Waits until nodes hold what a change brings them.
//!
//! `about` and `judge` decide from what the nodes say; this room asks and keeps the time.

mod about;
mod judge;

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tonic::{Code, Status};
use weir_proto::wire;

pub(crate) use about::About;
pub(crate) use judge::Wait;
use judge::{Progress, progress_line};

use super::connect::Controller;
use super::outcome::{Trouble, print, tell};
use super::progress::{ProgressLine, awaited};
use super::render::{counted, human};

/// How long to leave a controller alone that went away during the wait: it restarts in about a second.
const AGAIN: Duration = Duration::from_millis(500);
/// How long a rejection must stand to count: an agent takes a snapshot, or what repairs the generation it
/// rejected before, within milliseconds.
const STANDS: Duration = Duration::from_secs(3);
/// How long nodes that are not connected are waited for in silence, and at most half of the wait: an agent
/// that restarts is back sooner, and whoever waits for another should know before the time is over.
const SILENCE: Duration = Duration::from_secs(5);

/// What a wait knows across the calls it makes.
struct Watched {
    last: Progress,
    /// Since when the rejections are what they are.
    rejected_since: Option<Instant>,
    /// When to name the nodes that are not connected; none: they were.
    remind_at: Option<Instant>,
    line: ProgressLine,
}

impl Wait {
    /// Follows the nodes until each converged or refuses what a revision brings it, or the time is over.
    pub(crate) async fn until_converged(
        self,
        of: &Controller,
        revision: u64,
        longest: Duration,
    ) -> Result<()> {
        let goes_on = format!(
            "revision {revision} is taken and goes on to the nodes: weirctl status shows how far they are"
        );
        awaited(self.converge(of, longest), &goes_on).await
    }

    async fn converge(self, of: &Controller, longest: Duration) -> Result<()> {
        let all = self.targets.len();
        if all == 0 {
            return print("no node is touched\n");
        }
        let start = Instant::now();
        let mut watched = Watched {
            last: self.before(),
            rejected_since: None,
            remind_at: Some(start + SILENCE.min(longest / 2)),
            line: ProgressLine::new(),
        };
        loop {
            match timeout_at(start + longest, self.follow(of, &mut watched)).await {
                Ok(Ended::Decided) | Err(_) => {
                    watched.line.clear();
                    return conclusion(watched.last, all, longest);
                }
                Ok(Ended::Failed(status)) if !passes(&status) => return Err(of.refusal(&status)),
                Ok(Ended::Failed(_)) => sleep(AGAIN).await,
            }
        }
    }

    /// Follows the nodes as long as the controller speaks of them. `watched` outlives a call that is cut
    /// short.
    async fn follow(&self, of: &Controller, watched: &mut Watched) -> Ended {
        // a rejection stands only while it can be seen to
        watched.rejected_since = None;
        let request = wire::NodeStatusRequest {
            names: self.targets.keys().cloned().collect(),
            watch: true,
        };
        let mut client = of.client.clone();
        let mut stream = match of.attempt(client.node_status(request)).await {
            Ok(stream) => stream,
            Err(status) => return Ended::Failed(status),
        };
        loop {
            let stands = watched.rejected_since.filter(|_| watched.last.is_heard());
            let reminder = watched.last.reminder().zip(watched.remind_at);
            let reminds_at = reminder.as_ref().map(|(_, at)| *at);
            let answer = tokio::select! {
                answer = stream.message() => answer,
                () = at(stands.map(|since| since + STANDS)) => return Ended::Decided,
                () = at(reminds_at) => {
                    watched.remind_at = None;
                    if let Some((text, _)) = reminder {
                        watched.line.clear();
                        tell(&text);
                    }
                    continue;
                }
            };
            let states = match answer {
                Ok(Some(answer)) => answer.nodes,
                Ok(None) => return Ended::Failed(Status::unavailable("the stream ended")),
                Err(status) => return Ended::Failed(status),
            };
            if self.take(&states, watched) {
                return Ended::Decided;
            }
        }
    }

    /// Takes note of what the nodes say. Says whether that decides.
    fn take(&self, states: &[wire::NodeState], watched: &mut Watched) -> bool {
        let progress = self.judge(states);
        let last = std::mem::replace(&mut watched.last, progress);
        let progress = &watched.last;
        if progress.rejecting.is_empty() {
            watched.rejected_since = None;
        } else if watched.rejected_since.is_none() || progress.rejecting != last.rejecting {
            watched.rejected_since = Some(Instant::now());
        }
        let changed = progress.waiting != last.waiting && !progress.is_heard();
        if changed {
            let line = progress_line(&progress.waiting, self.targets.len());
            watched.line.show(&line);
        }
        progress.is_heard() && progress.rejecting.is_empty()
    }
}

/// Sleeps until then; for ever without a then.
async fn at(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then).await,
        None => std::future::pending().await,
    }
}

/// Says how the wait ended.
fn conclusion(last: Progress, all: usize, waited: Duration) -> Result<()> {
    for other in &last.others {
        tell(other);
    }
    match last.verdict(all, &human(waited)) {
        None => print(&format!("converged on {}\n", counted(all, "node"))),
        Some(summary) => Err(Trouble::Detailed {
            details: last.details(),
            summary,
        }
        .into()),
    }
}

/// Why following ended.
enum Ended {
    Decided,
    Failed(Status),
}

/// Whether it may be better the next time: the controller restarts, or the way to it is cut.
pub(crate) fn passes(status: &Status) -> bool {
    let transport = std::error::Error::source(status).is_some();
    transport || matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}
