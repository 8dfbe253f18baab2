//! The stream of reports, while there is a connection for it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tracing::debug;
use weir_proto::wire;
use weir_proto::wire::node_reports_client::NodeReportsClient;

use super::Connection;

/// How long a controller that does not take reports is left alone: an older one never will.
const AGAIN: Duration = Duration::from_secs(30);
/// Messages that may wait for the connection; with more nothing is told before there is room.
const OUTGOING: usize = 4;
/// How long a message waits for room: a controller that reads has it in milliseconds, and the next look waits for it.
const ROOM: Duration = Duration::from_secs(1);

/// Where reports go.
#[derive(Default)]
pub(super) struct Outlet {
    channel: Option<Channel>,
    stream: Option<Stream>,
    /// Something was looked for to be told on this stream, which opens when there is anything.
    begun: bool,
    /// Until when the controller is left alone.
    rests: Option<Instant>,
}

/// A stream of reports that is open.
struct Stream {
    outgoing: mpsc::Sender<wire::ReportRequest>,
    /// The call; it goes with this.
    call: JoinSet<Result<(), tonic::Status>>,
}

impl Outlet {
    /// Lets go of a connection that the session has lost, and takes the newest one that it made.
    pub(super) fn follow(&mut self, connected: bool, connection: &Connection) {
        if !connected {
            *self = Self::default();
        } else if let Some(channel) = connection.take() {
            *self = Self {
                channel: Some(channel),
                ..Self::default()
            };
        }
    }

    /// Says whether a report would be taken, and whether it would be the first of its stream.
    pub(super) fn takes(&mut self) -> Option<bool> {
        self.channel.as_ref()?;
        if self.rests.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let full = |stream: &Stream| stream.outgoing.capacity() == 0;
        if self.stream.as_ref().is_some_and(full) {
            return None;
        }
        Some(!std::mem::replace(&mut self.begun, true))
    }

    /// Sends a report on its way; says whether it is.
    pub(super) async fn send(&mut self, report: wire::ReportRequest) -> bool {
        let Some(channel) = &self.channel else {
            return false;
        };
        let stream = self
            .stream
            .get_or_insert_with(|| Stream::open(channel.clone()));
        match stream.outgoing.send_timeout(report, ROOM).await {
            Ok(()) => true,
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => false,
            Err(mpsc::error::SendTimeoutError::Closed(_)) => {
                let ended = stream.call.join_next().await;
                debug!(?ended, "the controller takes no reports");
                self.stream = None;
                self.begun = false;
                self.rests = Some(Instant::now() + AGAIN);
                false
            }
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
