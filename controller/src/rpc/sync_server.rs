//! The gRPC server of NodeSync, as tonic would generate it, with a codec of its own: what several agents are sent alike is
//! encoded once, and here only copied behind what each is sent alone.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use prost::Message as _;
use prost::bytes::BufMut as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec, EncodeBuf, Encoder};
use tonic::codegen::http::{Request, Response};
use tonic::codegen::{Body as HttpBody, BoxFuture, StdError};
use tonic::server::{Grpc, NamedService};
use tonic::{Code, Status, Streaming};
use tower::Service;
use weir_proto::wire;
use weir_proto::wire::ErrorReason;

use super::chunks::Chunk;
use super::node_sync::NodeSyncService;
use super::status::status;

/// The number of SyncResponse.update.
const UPDATE: u32 = 1;
/// Most messages of a stream take some hundred bytes, either way, and each agent has these two buffers while it is
/// connected; they grow for what needs more.
const BUFFER: usize = 1 << 10;
/// How much is written before it is passed on.
const PASSED_ON: usize = 32 << 10;

/// What an agent is sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Frame {
    Update(Chunk),
    Release(wire::Release),
}

/// Serves NodeSync.
#[derive(Debug, Clone)]
pub(super) struct SyncServer {
    service: Arc<NodeSyncService>,
    largest: usize,
}

/// Writes frames and reads what agents say.
#[derive(Debug, Clone, Copy, Default)]
struct SyncCodec;

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

impl<B> Service<Request<B>> for SyncServer
where
    B: HttpBody + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.uri().path() != "/weir.v1.NodeSync/Sync" {
            let path = request.uri().path();
            let message = format!("there is no {path}");
            let unknown = status((Code::Unimplemented, ErrorReason::CallUnknown), message, []);
            return Box::pin(async { Ok(unknown.into_http()) });
        }
        let service = Arc::clone(&self.service);
        let largest = self.largest;
        Box::pin(async move {
            let sync = tower::service_fn(move |request: tonic::Request<Streaming<_>>| {
                let service = Arc::clone(&service);
                async move { service.sync(request).await }
            });
            let mut grpc = Grpc::new(SyncCodec).apply_max_message_size_config(Some(largest), None);
            Ok(grpc.streaming(sync, request).await)
        })
    }
}

impl Codec for SyncCodec {
    type Encode = Frame;
    type Decode = wire::SyncRequest;
    type Encoder = Self;
    type Decoder = tonic_prost::ProstDecoder<wire::SyncRequest>;

    fn encoder(&mut self) -> Self::Encoder {
        *self
    }

    fn decoder(&mut self) -> Self::Decoder {
        tonic_prost::ProstDecoder::new(BufferSettings::new(BUFFER, PASSED_ON))
    }
}

impl Encoder for SyncCodec {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        match frame {
            Frame::Update(Chunk { own, common }) => {
                let common = common.as_deref().unwrap_or_default();
                encode_key(UPDATE, WireType::LengthDelimited, to);
                encode_varint((own.len() + common.len()) as u64, to);
                to.put_slice(&own);
                to.put_slice(common);
                Ok(())
            }
            Frame::Release(release) => {
                let message = Some(wire::sync_response::Message::Release(release));
                let response = wire::SyncResponse { message };
                // as tonic's own codec has it: its buffer grows
                response
                    .encode(to)
                    .map_err(|error| Status::internal(error.to_string()))
            }
        }
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER, PASSED_ON)
    }
}
