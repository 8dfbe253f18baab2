//! Waits until nodes hold what a change brings them.
//!
//! `judge` decides from what the nodes say; this room asks and keeps the time.

mod judge;

use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Status};
use weir_proto::wire;

pub(crate) use judge::Wait;
use judge::{Progress, Refusal, part, progress_line};

use super::connect::Controller;
use super::outcome::{Trouble, print, tell};
use super::render::{counted, human};

/// How long to leave a controller alone that went away during the wait: it restarts in about a second.
const AGAIN: Duration = Duration::from_millis(500);
/// How long a rejection must stand to count: an agent takes a snapshot, or what repairs the generation it
/// rejected before, within milliseconds.
const STANDS: Duration = Duration::from_secs(3);

impl Wait {
    /// Follows the nodes until they converged, one refuses, or the time is over.
    pub(crate) async fn until_converged(&self, of: &Controller, longest: Duration) -> Result<()> {
        let all = self.targets.len();
        if all == 0 {
            return print("no node is touched\n");
        }
        let end = Instant::now() + longest;
        let unheard = |node: &String| format!("{node}: no word from the controller");
        let mut last = Progress::Waiting(self.targets.keys().map(unheard).collect());
        loop {
            match timeout_at(end, self.follow(of, &mut last)).await {
                Ok(Ended::Decided) | Err(_) => return conclusion(last, all, longest),
                Ok(Ended::Failed(status)) if !passes(&status) => return Err(of.refusal(&status)),
                Ok(Ended::Failed(_)) => sleep(AGAIN).await,
            }
        }
    }

    /// Follows the nodes as long as the controller speaks of them. `last` is what was found so far; it
    /// outlives a call that is cut short.
    async fn follow(&self, of: &Controller, last: &mut Progress) -> Ended {
        let request = wire::NodeStatusRequest {
            names: self.targets.keys().cloned().collect(),
            watch: true,
        };
        let mut client = of.client.clone();
        let mut stream = match of.attempt(client.node_status(request)).await {
            Ok(stream) => stream,
            Err(status) => return Ended::Failed(status),
        };
        let mut rejected_since = None;
        loop {
            let answer = match rejected_since {
                None => stream.message().await,
                Some(since) => match timeout_at(since + STANDS, stream.message()).await {
                    Ok(answer) => answer,
                    Err(_) => return Ended::Decided,
                },
            };
            let states = match answer {
                Ok(Some(answer)) => answer.nodes,
                Ok(None) => return Ended::Failed(Status::unavailable("the stream ended")),
                Err(status) => return Ended::Failed(status),
            };
            let progress = self.judge(&states);
            let changed = progress != *last;
            *last = progress;
            match last {
                Progress::Done | Progress::Refused(_) => return Ended::Decided,
                Progress::Rejected(_) => {
                    rejected_since = rejected_since.or_else(|| Some(Instant::now()));
                }
                Progress::Waiting(missing) => {
                    rejected_since = None;
                    if changed && io::stderr().is_terminal() {
                        tell(&progress_line(missing, self.targets.len()));
                    }
                }
            }
        }
    }
}

/// Says how the wait ended.
fn conclusion(last: Progress, all: usize, waited: Duration) -> Result<()> {
    let (details, summary) = match last {
        Progress::Done => return print(&format!("converged on {}\n", counted(all, "node"))),
        Progress::Refused(Refusal { nodes, reasons })
        | Progress::Rejected(Refusal { nodes, reasons }) => {
            (reasons, format!("refused by {}", part(nodes, all)))
        }
        Progress::Waiting(missing) => {
            let nodes = part(missing.len(), all);
            let waited = human(waited);
            (
                missing,
                format!("timed out after {waited}: {nodes} did not converge"),
            )
        }
    };
    Err(Trouble::Detailed { details, summary }.into())
}

/// Why following ended.
enum Ended {
    Decided,
    Failed(Status),
}

/// Whether it may be better the next time: the controller restarts, or the way to it is cut.
fn passes(status: &Status) -> bool {
    let transport = std::error::Error::source(status).is_some();
    transport || matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}
