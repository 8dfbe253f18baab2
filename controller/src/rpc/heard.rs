//! What an agent says, message by message, read where it lies in what came over its connection: nothing is kept for a stream
//! of which no message is half there.

use std::future::poll_fn;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use prost::Message as _;
use prost::bytes::{Buf as _, Bytes};
use tonic::body::Body;
use tonic::codegen::Body as _;
use tonic::{Code, Status};
use weir_proto::wire;
use weir_proto::wire::ErrorReason;

use super::status::status;

/// Before each message of gRPC: that it is not compressed, and how long it is.
const PREFIX: usize = 5;

/// The messages of a request.
#[derive(Debug)]
pub(super) struct Heard {
    body: Body,
    largest: usize,
    /// What came and is not read.
    here: Bytes,
    /// The beginning of a message whose rest has yet to come.
    begun: Vec<u8>,
    ended: bool,
}

impl Heard {
    /// Reads messages of at most `largest` bytes.
    pub(super) fn new(body: Body, largest: usize) -> Self {
        Self {
            body,
            largest,
            here: Bytes::new(),
            begun: Vec::new(),
            ended: false,
        }
    }

    /// Gives the next message; none: that was all.
    pub(super) async fn next(&mut self) -> Result<Option<wire::SyncRequest>, Status> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<wire::SyncRequest>, Status>> {
        while !self.ended {
            let taken = self.take();
            if let Some(taken) = taken.transpose() {
                self.ended = taken.is_err();
                return Poll::Ready(taken.map(Some));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // a request has no trailers that mean anything
                    if let Ok(bytes) = frame.into_data() {
                        self.came(bytes);
                    }
                }
                Some(Err(status)) => {
                    self.ended = true;
                    // who goes away ends it as well
                    if status.code() != Code::Cancelled {
                        return Poll::Ready(Err(status));
                    }
                }
                None => {
                    self.ended = true;
                    if !self.begun.is_empty() {
                        return Poll::Ready(Err(unreadable("it ends within a message")));
                    }
                }
            }
        }
        Poll::Ready(Ok(None))
    }

    fn came(&mut self, bytes: Bytes) {
        if self.begun.is_empty() {
            self.here = bytes;
        } else {
            self.begun.extend_from_slice(&bytes);
            self.here = mem::take(&mut self.begun).into();
        }
    }

    /// Takes a message out of what is here; none: there is none, or not all of it.
    fn take(&mut self) -> Result<Option<wire::SyncRequest>, Status> {
        if let Some(length) = self.length()?
            && let Some(whole) = length.checked_add(PREFIX)
            && self.here.len() >= whole
        {
            let mut message = self.here.split_to(whole);
            message.advance(PREFIX);
            if self.here.is_empty() {
                // what it lay in is free for what comes next
                self.here = Bytes::new();
            }
            let message = wire::SyncRequest::decode(message);
            return message.map(Some).map_err(|why| unreadable(why.to_string()));
        }
        self.begun = mem::take(&mut self.here).into();
        Ok(None)
    }

    /// Gives the length of the message that begins here; none: not even that is here.
    fn length(&self) -> Result<Option<usize>, Status> {
        let Some((compressed, rest)) = self.here.split_first() else {
            return Ok(None);
        };
        if *compressed != 0 {
            let reason = (Code::Unimplemented, ErrorReason::EncodingUnknown);
            return Err(status(reason, "compressed messages are not read here", []));
        }
        let Some(length) = rest.first_chunk() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > self.largest {
            let message = format!("a message of {length} bytes: at most {}", self.largest);
            let reason = (Code::OutOfRange, ErrorReason::MessageInvalid);
            return Err(status(reason, message, []));
        }
        Ok(Some(length))
    }
}

fn unreadable(message: impl Into<String>) -> Status {
    let reason = (Code::InvalidArgument, ErrorReason::MessageInvalid);
    status(reason, message, [])
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body::Frame;
    use weir_proto::wire::sync_request::Message;

    use super::*;

    fn said(generation: u64) -> wire::SyncRequest {
        let accepted = wire::Accepted {
            generation,
            ..wire::Accepted::default()
        };
        wire::SyncRequest {
            message: Some(Message::Accepted(accepted)),
        }
    }

    fn sent(request: &wire::SyncRequest) -> Vec<u8> {
        let message = request.encode_to_vec();
        let length = u32::try_from(message.len()).expect("short").to_be_bytes();
        [[0].as_slice(), &length, &message].concat()
    }

    struct Pieces(VecDeque<Vec<u8>>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            let piece = self.0.pop_front();
            Poll::Ready(piece.map(|piece| Ok(Frame::data(piece.into()))))
        }
    }

    /// A request that comes in pieces.
    fn coming(pieces: Vec<Vec<u8>>, largest: usize) -> Heard {
        Heard::new(Body::new(Pieces(pieces.into())), largest)
    }

    async fn all(mut heard: Heard) -> (Vec<wire::SyncRequest>, Option<Code>) {
        let mut all = Vec::new();
        loop {
            match heard.next().await {
                Ok(Some(request)) => all.push(request),
                Ok(None) => return (all, None),
                Err(status) => return (all, Some(status.code())),
            }
        }
    }

    #[tokio::test]
    async fn messages_are_read_wherever_they_are_cut() {
        let (first, second) = (said(1), said(1 << 40));
        let bytes = [sent(&first), sent(&second)].concat();
        let both = (vec![first, second], None);
        for cut in 0..bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            let heard = coming(vec![head.to_vec(), tail.to_vec()], 100);
            assert_eq!(all(heard).await, both, "cut at {cut}");
        }
        let one_by_one = bytes.iter().map(|byte| vec![*byte]).collect();
        assert_eq!(all(coming(one_by_one, 100)).await, both);
    }

    #[tokio::test]
    async fn what_cannot_be_read_ends_it() {
        let good = sent(&said(1));
        for (bad, code) in [
            (vec![1, 0, 0, 0, 0], Code::Unimplemented),
            (vec![0, 0, 0, 0, 101], Code::OutOfRange),
            (vec![0, 0, 0, 0, 1, 0xff], Code::InvalidArgument),
            (vec![0, 0, 0, 0, 2, 0], Code::InvalidArgument),
        ] {
            let heard = coming(vec![good.clone(), bad], 100);
            assert_eq!(all(heard).await, (vec![said(1)], Some(code)));
        }
    }
}
