//! The gRPC server of NodeSync, as tonic would generate it, with a response of its own: what several agents are sent alike is
//! encoded once, and goes to each of them from where it is.
//!
//! tonic's own response has a buffer for each stream, which stays as large as the largest message that went through it: for
//! an agent, the whole state that it began with. Here a message is gone once it is written.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use prost::Message as _;
use prost::bytes::{BufMut as _, Bytes};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};
use tokio_stream::Stream;
use tonic::body::Body;
use tonic::codegen::http::header::CONTENT_TYPE;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::codegen::{Body as HttpBody, BoxFuture};
use tonic::metadata::GRPC_CONTENT_TYPE;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::Service;
use weir_proto::wire;
use weir_proto::wire::ErrorReason;

use super::chunks::Chunk;
use super::heard::Heard;
use super::node_sync::NodeSyncService;
use super::status::{status, unknown_call};

/// The number of SyncResponse.update.
const UPDATE: u32 = 1;
/// How much of what is common is copied behind what is an agent's own. More goes in a frame of its own, which costs 9 bytes
/// and some hundred instructions, and takes no memory until it is written.
const COPIED: usize = 2 << 10;
/// Before each message of gRPC: that it is not compressed, and how long it is.
const PREFIX: usize = 5;

/// What an agent is sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Frame {
    Update(Chunk),
    Release(wire::Release),
    Question(wire::Question),
}

/// Serves NodeSync.
#[derive(Debug, Clone)]
pub(super) struct SyncServer {
    service: Arc<NodeSyncService>,
    largest: usize,
}

/// The body of a response: messages as they come, and at last how the stream ended.
#[derive(Debug)]
struct Messages<S> {
    frames: S,
    /// What belongs behind that which went last.
    rest: Option<Bytes>,
    ended: bool,
}

impl SyncServer {
    /// Serves agents that send messages of at most `largest` bytes.
    pub(super) fn new(service: NodeSyncService, largest: usize) -> Self {
        Self {
            service: Arc::new(service),
            largest,
        }
    }
}

impl NamedService for SyncServer {
    const NAME: &'static str = wire::node_sync_server::SERVICE_NAME;
}

impl Service<Request<Body>> for SyncServer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path() != "/weir.v1.NodeSync/Sync" {
            let unknown = unknown_call(request.uri().path());
            return Box::pin(async { Ok(unknown.into_http()) });
        }
        if let Err(status) = uncompressed(request.headers()) {
            return Box::pin(async { Ok(status.into_http()) });
        }
        let service = Arc::clone(&self.service);
        let largest = self.largest;
        let request = request.map(|body| Heard::new(body, largest));
        Box::pin(async move {
            let response = match service.sync(tonic::Request::from_http(request)).await {
                Ok(response) => response,
                Err(status) => return Ok(status.into_http()),
            };
            let (metadata, frames, extensions) = response.into_parts();
            let mut response = Response::new(Body::new(Messages::new(frames)));
            *response.headers_mut() = metadata.into_headers();
            *response.extensions_mut() = extensions;
            response
                .headers_mut()
                .insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
            Ok(response)
        })
    }
}

impl<S> Messages<S> {
    fn new(frames: S) -> Self {
        Self {
            frames,
            rest: None,
            ended: false,
        }
    }
}

impl<S: Stream<Item = Result<Frame, Status>> + Unpin> HttpBody for Messages<S> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Some(Ok(http_body::Frame::data(rest))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let end = match ready!(Pin::new(&mut self.frames).poll_next(cx)) {
            Some(Ok(frame)) => {
                let (first, rest) = frame.into_message();
                self.rest = rest;
                return Poll::Ready(Some(Ok(http_body::Frame::data(first))));
            }
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.ended = true;
        let mut trailers = HeaderMap::new();
        let told = end.add_header(&mut trailers);
        Poll::Ready(Some(told.map(|()| http_body::Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

impl Frame {
    /// Gives a SyncResponse as gRPC has it on the wire, in one piece, or in two that belong one behind the other.
    fn into_message(self) -> (Bytes, Option<Bytes>) {
        let Chunk { own, common } = match self {
            Self::Update(chunk) => chunk,
            Self::Release(release) => {
                return (whole(wire::sync_response::Message::Release(release)), None);
            }
            Self::Question(question) => {
                return (
                    whole(wire::sync_response::Message::Question(question)),
                    None,
                );
            }
        };
        let behind = common.as_ref().map_or(0, |common| common.len());
        let update = own.len() + behind;
        let head = key_len(UPDATE) + encoded_len_varint(update as u64);
        let copied = if behind > COPIED { 0 } else { behind };
        let mut bytes = prefixed(head + update, behind - copied);
        encode_key(UPDATE, WireType::LengthDelimited, &mut bytes);
        encode_varint(update as u64, &mut bytes);
        bytes.extend_from_slice(&own);
        let Some(common) = common else {
            return (bytes.into(), None);
        };
        if behind > COPIED {
            return (bytes.into(), Some(Bytes::from_owner(common)));
        }
        bytes.extend_from_slice(&common);
        (bytes.into(), None)
    }
}

/// Gives what nobody else is sent, as gRPC has it on the wire.
fn whole(message: wire::sync_response::Message) -> Bytes {
    let message = Some(message);
    let response = wire::SyncResponse { message };
    let mut bytes = prefixed(response.encoded_len(), 0);
    // a Vec has room for whatever comes
    let _ = response.encode(&mut bytes);
    bytes.into()
}

/// Begins a message of so many bytes, with room for all but so many of them.
fn prefixed(message: usize, elsewhere: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PREFIX + message - elsewhere);
    bytes.put_u8(0);
    // a chunk is at most 1 MiB
    bytes.put_u32(u32::try_from(message).unwrap_or(u32::MAX));
    bytes
}

/// Refuses a request whose messages are compressed: none of ours are.
fn uncompressed(headers: &HeaderMap) -> Result<(), Status> {
    match headers
        .get("grpc-encoding")
        .map(|encoding| encoding.as_bytes())
    {
        None | Some(b"identity") => Ok(()),
        Some(other) => {
            let encoding = String::from_utf8_lossy(other);
            let message = format!("messages compressed by {encoding} are not read here");
            let reason = (Code::Unimplemented, ErrorReason::EncodingUnknown);
            Err(status(reason, message, []))
        }
    }
}

#[cfg(test)]
mod tests;
