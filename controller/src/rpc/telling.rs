//! The half of an agent's stream from which it is sent what it must hold. It is asked for more where the agent's connection is
//! served, whenever there is room, so that an update wakes nobody else on its way.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use prometheus_client::metrics::counter::Counter;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::Stream;
use tonic::{Code, Status};
use weir_proto::model::{Generation, NodeName};
use weir_proto::wire;
use weir_proto::wire::ErrorReason;

use super::chunks::Chunks;
use super::due::Due;
use super::status::status;
use super::sync_server::Frame;
use crate::admin::Metrics;
use crate::cluster::Outgoing;

/// Whom it tells, and what: known once the agent has said hello.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) node: NodeName,
    pub(super) outbox: mpsc::Receiver<Outgoing>,
}

/// What an agent is sent, frame by frame, and at last why its stream ends.
#[derive(Debug)]
pub(super) struct Telling {
    begins: oneshot::Receiver<Begun>,
    begun: Option<Begun>,
    /// The rest of an update.
    chunks: Option<Box<(Generation, Chunks)>>,
    /// Why the stream ends, as the other half knows it.
    ends: oneshot::Receiver<Status>,
    due: Due,
    /// Something was given out, and nobody has asked for more since.
    unread: bool,
    encodings: Counter,
}

/// The other half's ends.
#[derive(Debug)]
pub(super) struct Teller {
    pub(super) begin: oneshot::Sender<Begun>,
    /// It is closed when the agent can be sent nothing any more.
    pub(super) end: oneshot::Sender<Status>,
    pub(super) due: Due,
}

impl Telling {
    /// Makes both.
    pub(super) fn new(metrics: &Metrics) -> (Teller, Self) {
        let (begin, begins) = oneshot::channel();
        let (end, ends) = oneshot::channel();
        let due = Due::default();
        let telling = Self {
            begins,
            begun: None,
            chunks: None,
            ends,
            due: due.clone(),
            unread: false,
            encodings: metrics.encodings(),
        };
        (Teller { begin, end, due }, telling)
    }

    /// Gives the next part of the update that is under way.
    fn next_chunk(&mut self) -> Option<Frame> {
        let (generation, chunks) = &mut **self.chunks.as_mut()?;
        let chunk = chunks.next()?;
        let last_of = chunks.is_done().then_some(*generation);
        self.due.sent(last_of);
        if last_of.is_some() {
            self.chunks = None;
        }
        Some(Frame::Update(chunk))
    }

    fn tell(&mut self, outgoing: Outgoing) -> Result<Option<Frame>, Status> {
        match outgoing {
            Outgoing::Update { update, beside } => {
                let generation = update.generation;
                let (mut chunks, encodings) = Chunks::new(*update, *beside);
                if encodings > 0 {
                    self.encodings.inc_by(encodings);
                }
                let first = chunks.next();
                // mostly it is all of it
                let last_of = chunks.is_done().then_some(generation);
                self.due.sent(last_of);
                if last_of.is_none() {
                    self.chunks = Some(Box::new((generation, chunks)));
                }
                Ok(first.map(Frame::Update))
            }
            Outgoing::Release(Generation(generation)) => {
                self.due.sent(None);
                Ok(Some(Frame::Release(wire::Release { generation })))
            }
            Outgoing::Replaced => Err(self.replaced()),
            Outgoing::Deleted => Err(self.deleted()),
        }
    }

    fn node(&self) -> String {
        let node = self.begun.as_ref().map(|begun| begun.node.to_string());
        node.unwrap_or_default()
    }

    fn replaced(&self) -> Status {
        let node = self.node();
        status(
            (Code::Aborted, ErrorReason::StreamReplaced),
            format!("another stream of {node} took the place of this one"),
            [("node", node)],
        )
    }

    fn deleted(&self) -> Status {
        let node = self.node();
        status(
            (Code::Aborted, ErrorReason::NodeDeleted),
            format!("{node} was deleted; it registers again with its next hello"),
            [("node", node)],
        )
    }
}

/// Tells that the cluster no longer has a stream.
pub(super) fn dropped() -> Status {
    status(
        (Code::Aborted, ErrorReason::StreamDropped),
        "updates were accepted before they were read, or the controller stops",
        [],
    )
}

impl Stream for Telling {
    type Item = Result<Frame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if std::mem::take(&mut this.unread) {
            this.due.read();
        }
        if let Some(frame) = this.next_chunk() {
            this.unread = true;
            return Poll::Ready(Some(Ok(frame)));
        }
        if this.begun.is_none()
            && !this.begins.is_terminated()
            && let Poll::Ready(Ok(begun)) = Pin::new(&mut this.begins).poll(cx)
        {
            this.begun = Some(begun);
        }
        while let Some(begun) = &mut this.begun
            && let Poll::Ready(outgoing) = begun.outbox.poll_recv(cx)
        {
            let told = match outgoing {
                Some(outgoing) => this.tell(outgoing),
                None => Err(dropped()),
            };
            if let Some(told) = told.transpose() {
                this.unread = true;
                return Poll::Ready(Some(told));
            }
        }
        // an error says that the other half ended without a word
        Poll::Ready(ready!(Pin::new(&mut this.ends).poll(cx)).ok().map(Err))
    }
}
