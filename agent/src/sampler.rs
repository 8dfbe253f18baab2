//! Counters on a timer, and what came since on a stream to the controller.
//!
//! It reads by a door of its own, writes nothing, and runs only while the session has its stream, on the same connection. What
//! is lost costs accuracy and nothing else: nothing is kept for a controller that does not take it.

mod shared;

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tracing::debug;
use weir_proto::convert::increment_to_wire;
use weir_proto::model::{Increment, NodeName};
use weir_proto::wire;
use weir_proto::wire::node_reports_client::NodeReportsClient;

use crate::kernel::Meter;
use crate::plan::Traffic;
use crate::session::Link;
pub use shared::{Connection, Shared};

/// Between two looks: often enough to see a bad rollout in seconds, seldom enough that a dump of many services costs nothing.
pub const EVERY: Duration = Duration::from_secs(5);
/// How long a controller that does not take reports is left alone: an older one never will.
const AGAIN: Duration = Duration::from_secs(30);
/// How many backends one message tells of: each takes some 100 bytes, and the controller takes 1 MiB.
const MOST_BACKENDS: usize = 4_096;
/// Messages that may wait for the connection; with more it is not looked before there is room.
const OUTGOING: usize = 4;

/// Looks at counters, and tells of them while there is a stream.
#[derive(Debug)]
pub struct Sampler<M> {
    node: NodeName,
    meter: M,
    traffic: Traffic,
    /// Since when what comes is told by the next look.
    since: Instant,
    every: Duration,
}

/// A stream of reports that is open.
struct Stream {
    outgoing: mpsc::Sender<wire::ReportRequest>,
    /// The call; it goes with this.
    call: JoinSet<Result<(), tonic::Status>>,
}

impl<M: Meter> Sampler<M> {
    /// Begins; looks at `meter` every so often.
    pub fn new(node: NodeName, meter: M, every: Duration) -> Self {
        Self {
            node,
            meter,
            traffic: Traffic::default(),
            since: Instant::now(),
            every,
        }
    }

    /// Runs until nobody tells any more whether there is a stream.
    pub async fn run(mut self, mut link: watch::Receiver<Link>, connection: Connection) {
        loop {
            if link.wait_for(|link| link.contact.is_now()).await.is_err() {
                break;
            }
            let channel = connection.take();
            let over = tokio::select! {
                () = self.keep_telling(channel) => false,
                // the session may end while it has a stream
                lost = link.wait_for(|link| !link.contact.is_now()) => lost.is_err(),
            };
            if over {
                break;
            }
        }
    }

    async fn keep_telling(&mut self, channel: Option<Channel>) {
        let Some(channel) = channel else {
            // the session has a stream on a connection that is already gone, which it will see
            return std::future::pending().await;
        };
        loop {
            self.tell(channel.clone()).await;
            sleep(AGAIN).await;
        }
    }

    /// Tells what comes until the controller takes no more. Nothing is sent while nothing passes.
    async fn tell(&mut self, channel: Channel) {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stream: Option<Stream> = None;
        loop {
            ticks.tick().await;
            if stream
                .as_ref()
                .is_some_and(|stream| stream.outgoing.capacity() == 0)
            {
                continue;
            }
            let increments = match self.meter.counters().await {
                Ok(counted) => self.traffic.look(counted),
                Err(error) => {
                    debug!(error = &error as &dyn std::error::Error, "not counted");
                    continue;
                }
            };
            let interval_ms = self.since.elapsed().as_millis();
            self.since = Instant::now();
            if increments.is_empty() {
                continue;
            }
            let interval_ms = u32::try_from(interval_ms).unwrap_or(u32::MAX).max(1);
            let open = stream.get_or_insert_with(|| Stream::open(channel.clone()));
            for some in increments.chunks(MOST_BACKENDS) {
                let report = self.report(interval_ms, some);
                if open.outgoing.send(report).await.is_err() {
                    let ended = open.call.join_next().await;
                    debug!(?ended, "the controller takes no reports");
                    return;
                }
            }
        }
    }

    fn report(&self, interval_ms: u32, increments: &[Increment]) -> wire::ReportRequest {
        wire::ReportRequest {
            node: self.node.to_string(),
            interval_ms,
            backends: increments.iter().map(increment_to_wire).collect(),
            ..wire::ReportRequest::default()
        }
    }
}

impl Stream {
    fn open(channel: Channel) -> Self {
        let (outgoing, reports) = mpsc::channel(OUTGOING);
        let mut call = JoinSet::new();
        call.spawn(async move {
            let mut client = NodeReportsClient::new(channel);
            let answered = client.report(ReceiverStream::new(reports)).await;
            answered.map(|_| ())
        });
        Self { outgoing, call }
    }
}

#[cfg(test)]
mod tests;
