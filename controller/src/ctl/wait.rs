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
use judge::{Progress, part, progress_line};

use super::connect::Controller;
use super::outcome::{Trouble, print, tell};
use super::render::{counted, human};

/// How long to leave a controller alone that went away during the wait: it restarts in about a second.
const AGAIN: Duration = Duration::from_millis(500);

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
            let ended = match timeout_at(end, self.follow(of, &mut last)).await {
                Ok(ended) => ended,
                Err(_) => Ended::TimeOver,
            };
            match (ended, last) {
                (Ended::Decided, Progress::Done) => {
                    return print(&format!("converged on {}\n", counted(all, "node")));
                }
                (Ended::Decided, Progress::Refused { nodes, reasons }) => {
                    let summary = format!("refused by {}", part(nodes, all));
                    return Err(detailed(reasons, summary));
                }
                (Ended::TimeOver, Progress::Waiting(missing)) => {
                    let nodes = part(missing.len(), all);
                    let waited = human(longest);
                    let summary = format!("after {waited} {nodes} did not converge");
                    return Err(detailed(missing, summary));
                }
                (Ended::Failed(status), _) if !passes(&status) => return Err(of.refusal(&status)),
                (_, progress) => last = progress,
            }
            sleep(AGAIN).await;
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
        loop {
            let states = match stream.message().await {
                Ok(Some(answer)) => answer.nodes,
                Ok(None) => return Ended::Failed(Status::unavailable("the stream ended")),
                Err(status) => return Ended::Failed(status),
            };
            let progress = self.judge(&states);
            let Progress::Waiting(missing) = &progress else {
                *last = progress;
                return Ended::Decided;
            };
            if progress != *last && io::stderr().is_terminal() {
                tell(&progress_line(missing, self.targets.len()));
            }
            *last = progress;
        }
    }
}

/// Why following ended.
enum Ended {
    Decided,
    Failed(Status),
    TimeOver,
}

/// Whether it may be better the next time: the controller restarts, or the way to it is cut.
fn passes(status: &Status) -> bool {
    let transport = std::error::Error::source(status).is_some();
    transport || matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded)
}

fn detailed(details: Vec<String>, summary: String) -> anyhow::Error {
    Trouble::Detailed { details, summary }.into()
}
