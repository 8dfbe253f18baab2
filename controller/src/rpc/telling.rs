//! The half of an agent's stream from which it is sent what it must hold, and what it is asked. It is asked for more where the agent's connection is
//! served, whenever there is room, so that an update wakes nobody else on its way.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::Stream;
use tonic::{Code, Status};
use weir_proto::model::{Generation, NodeName};
use weir_proto::wire;
use weir_proto::wire::ErrorReason;

use super::chunks::Chunks;
use super::due::Due;
use super::questions::{Asked, Asks, Questions};
use super::status::status;
use super::sync_server::Frame;
use crate::cluster::{Call, Outgoing};
use crate::metrics::Metrics;

/// Whom it tells, and what: known once the agent has said hello.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) node: NodeName,
    pub(super) outbox: mpsc::Receiver<Outgoing>,
    pub(super) calls: mpsc::Receiver<Call>,
}

/// What an agent is sent, frame by frame, and at last why its stream ends.
#[derive(Debug)]
pub(super) struct Telling {
    begins: oneshot::Receiver<Begun>,
    begun: Option<Begun>,
    /// The rest of an update.
    rest: Option<Box<Rest>>,
    asks: Asks,
    /// The rest of a question, which goes when there is nothing of what the agent must hold.
    asked: Option<Box<Asked>>,
    /// Why the stream ends, as the other half knows it.
    ends: oneshot::Receiver<Status>,
    due: Due,
    /// Something was given out, and nobody has asked for more since.
    unread: bool,
    metrics: Arc<Metrics>,
}

/// An update whose first chunks went.
#[derive(Debug)]
struct Rest {
    generation: Generation,
    chunks: Chunks,
    /// When it was begun to be encoded.
    begun: Instant,
}

/// The other half's ends.
#[derive(Debug)]
pub(super) struct Teller {
    pub(super) begin: oneshot::Sender<Begun>,
    /// It is closed when the agent can be sent nothing any more.
    pub(super) end: oneshot::Sender<Status>,
    pub(super) due: Due,
    pub(super) questions: Questions,
}

impl Telling {
    /// Makes both.
    pub(super) fn new(metrics: &Arc<Metrics>) -> (Teller, Self) {
        let (begin, begins) = oneshot::channel();
        let (end, ends) = oneshot::channel();
        let (due, questions) = (Due::default(), Questions::default());
        let telling = Self {
            begins,
            begun: None,
            rest: None,
            asks: questions.asks(),
            asked: None,
            ends,
            due: due.clone(),
            unread: false,
            metrics: Arc::clone(metrics),
        };
        let teller = Teller {
            begin,
            end,
            due,
            questions,
        };
        (teller, telling)
    }

    /// Gives the next part of the update that is under way.
    fn next_chunk(&mut self) -> Option<Frame> {
        let rest = self.rest.as_mut()?;
        let chunk = rest.chunks.next()?;
        let last_of = rest.chunks.is_done().then_some(rest.generation);
        let (begun, sent) = (rest.begun, self.due.sent(last_of));
        if last_of.is_some() {
            self.metrics.stages().encoded(sent - begun);
            self.rest = None;
        }
        Some(Frame::Update(chunk))
    }

    fn tell(&mut self, outgoing: Outgoing) -> Result<Option<Frame>, Status> {
        match outgoing {
            Outgoing::Update { update, beside } => {
                let (generation, begun) = (update.generation, Instant::now());
                let (mut chunks, encodings) = Chunks::new(*update, *beside);
                if encodings > 0 {
                    self.metrics.encoded(encodings);
                }
                let first = chunks.next();
                // mostly it is all of it
                let last_of = chunks.is_done().then_some(generation);
                let sent = self.due.sent(last_of);
                if last_of.is_some() {
                    self.metrics.stages().encoded(sent - begun);
                } else {
                    let rest = Rest {
                        generation,
                        chunks,
                        begun,
                    };
                    self.rest = Some(Box::new(rest));
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

    /// Gives the next part of what the agent is asked: one question after the other.
    fn next_question(&mut self, cx: &mut Context<'_>) -> Option<Frame> {
        loop {
            if let Some(asked) = &mut self.asked {
                if let Some(question) = self.asks.next(asked) {
                    self.due.sent(None);
                    return Some(Frame::Question(question));
                }
                self.asked = None;
            }
            let calls = &mut self.begun.as_mut()?.calls;
            let Poll::Ready(Some(call)) = calls.poll_recv(cx) else {
                return None;
            };
            self.asked = self.asks.begin(call).map(Box::new);
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
                // also when the other half has ended, which knows why
                None => match Pin::new(&mut this.ends).poll(cx) {
                    Poll::Ready(Ok(why)) => Err(why),
                    Poll::Ready(Err(_)) | Poll::Pending => Err(dropped()),
                },
            };
            if let Some(told) = told.transpose() {
                this.unread = true;
                return Poll::Ready(Some(told));
            }
        }
        if let Some(question) = this.next_question(cx) {
            this.unread = true;
            return Poll::Ready(Some(Ok(question)));
        }
        // an error says that the other half ended without a word
        Poll::Ready(ready!(Pin::new(&mut this.ends).poll(cx)).ok().map(Err))
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use tokio_stream::StreamExt as _;

    use super::*;

    fn call(chunks: usize) -> (Call, mpsc::Receiver<Vec<u8>>) {
        let (answers, answered) = mpsc::channel(1);
        let question = vec![wire::Question::default().encode_to_vec(); chunks];
        (Call { question, answers }, answered)
    }

    fn question(id: u64) -> Frame {
        Frame::Question(wire::Question {
            id,
            ..wire::Question::default()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_agent_must_hold_goes_between_the_chunks_of_what_it_is_asked() {
        let (teller, mut telling) = Telling::new(&Arc::default());
        let (outgoing, outbox) = mpsc::channel(1);
        let (asking, calls) = mpsc::channel(2);
        let begun = Begun {
            node: NodeName::new("node").expect("a name"),
            outbox,
            calls,
        };
        teller.begin.send(begun).expect("it waits for it");
        let ((long, answered), (short, _short)) = (call(3), call(1));
        asking.try_send(long).expect("room");
        asking.try_send(short).expect("room");
        let mut frames = Vec::new();
        frames.push(telling.next().await);
        let release = Outgoing::Release(Generation(7));
        outgoing.try_send(release).expect("room");
        frames.push(telling.next().await);
        frames.push(telling.next().await);
        // who asked is gone: the rest of it stays
        drop(answered);
        frames.push(telling.next().await);
        let frames: Vec<Frame> = frames.into_iter().flatten().flatten().collect();
        let release = Frame::Release(wire::Release { generation: 7 });
        assert_eq!(frames, [question(1), release, question(1), question(2)]);
        assert_eq!(
            teller.due.by(),
            Some(Instant::now() + super::super::due::PATIENCE)
        );
    }
}
