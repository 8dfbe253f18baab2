//! An OpenTelemetry collector that keeps what it is sent, and some that are none.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// A span, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    /// What is known of who sent it.
    pub(crate) resource: BTreeMap<String, String>,
    pub(crate) name: String,
    /// As OTLP numbers them: 1 internal, 2 server, 3 client.
    pub(crate) kind: i32,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty: none.
    pub(crate) parent: String,
    /// Why it failed, where it did.
    pub(crate) failed: Option<String>,
}

/// One that keeps them. It ends with the test.
pub(crate) struct Collector {
    address: SocketAddr,
    kept: Kept,
    _runtime: Runtime,
}

#[derive(Debug, Clone, Default)]
struct Kept {
    spans: Arc<Mutex<Vec<Span>>>,
    /// What `authorization` said of each batch.
    authorized: Arc<Mutex<Vec<String>>>,
}

impl Collector {
    pub(crate) fn start() -> Result<Collector> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let kept = Kept::default();
        let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        let served = Server::builder()
            .add_service(TraceServiceServer::new(kept.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(served);
        Ok(Collector {
            address,
            kept,
            _runtime: runtime,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn spans(&self) -> Vec<Span> {
        let spans = self.kept.spans.lock();
        spans.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn authorized(&self) -> Vec<String> {
        let said = self.kept.authorized.lock();
        said.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let said = request.metadata().get("authorization");
        let said = said.and_then(|said| said.to_str().ok()).unwrap_or_default();
        let authorized = self.authorized.lock();
        let mut authorized = authorized.unwrap_or_else(PoisonError::into_inner);
        authorized.push(said.to_owned());
        let came = request.into_inner().resource_spans;
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        spans.extend(came.into_iter().flat_map(read));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn read(of: ResourceSpans) -> impl Iterator<Item = Span> {
    let resource = of.resource.unwrap_or_default().attributes;
    let resource: BTreeMap<String, String> = resource.into_iter().filter_map(text).collect();
    let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
    spans.map(move |span| {
        // 2: error (opentelemetry/proto/trace/v1/trace.proto, Status.StatusCode)
        let status = span.status.filter(|status| status.code == 2);
        Span {
            resource: resource.clone(),
            name: span.name,
            kind: span.kind,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            failed: status.map(|status| status.message),
        }
    })
}

fn text(pair: KeyValue) -> Option<(String, String)> {
    match pair.value?.value? {
        Value::StringValue(text) => Some((pair.key, text)),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is no collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Nobody listens there.
    Absent,
    /// Somebody takes connections, reads all that is said, and never answers.
    Silent,
    /// Somebody takes connections, and neither reads nor answers.
    Deaf,
}

impl Broken {
    /// Gives where it is, for as long as the test runs.
    pub(crate) fn url(self) -> Result<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a port")?;
        let url = format!("http://{}", listener.local_addr()?);
        match self {
            // nobody listens there any more
            Self::Absent => {}
            Self::Silent => serve(listener, |mut stream| {
                let mut ignored = [0; 4096];
                while let Ok(1..) = stream.read(&mut ignored) {}
            }),
            Self::Deaf => serve(listener, |stream| {
                // until the process ends
                std::mem::forget(stream);
            }),
        }
        Ok(url)
    }
}

/// Gives each connection to a thread of its own. They end with the process.
fn serve(listener: TcpListener, with: fn(TcpStream)) {
    thread::spawn(move || {
        for stream in listener.incoming().map_while(io::Result::ok) {
            thread::spawn(move || with(stream));
        }
    });
}
