//! The gRPC server: it decodes, asks the cluster, and encodes. Nothing is decided here.

mod caller;
mod chunks;
mod due;
mod encode;
mod ending;
mod heard;
mod limits;
mod node_reports;
mod node_sync;
mod operator;
mod places;
mod questions;
mod roles;
mod status;
mod sync_server;
mod telling;
mod woken;

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::codegen::http::Request;
use tonic::server::NamedService;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic_health::pb::health_server::SERVICE_NAME as HEALTH;
use tonic_health::server::HealthReporter;
use tonic_reflection::server::Builder;
use tracing::{Span, info_span};
use weir_proto::tls::Peer;
use weir_proto::trace::{is_on, rename, set_parent};
use weir_proto::wire;
use weir_proto::wire::operator_server::{OperatorServer, SERVICE_NAME as OPERATOR};

use crate::cluster::Cluster;
use crate::traffic::Traffic;
use limits::UnaryTimeout;
use node_reports::{NodeReportsService, ReportServer};
use node_sync::NodeSyncService;
use operator::OperatorService;
use roles::Roles;
use sync_server::SyncServer;

/// The largest batch an operator sends, as operator.proto says: what most gRPC clients send at most anyway.
const LARGEST_APPLY: usize = 4 << 20;
/// The largest message of an agent: 1,000 verdicts of some 200 bytes each, and room for long causes.
const LARGEST_FROM_AGENT: usize = 1 << 20;
/// Calls under way on one connection; a well-behaved client has a handful, and what is beyond is refused at
/// once rather than queued.
const MOST_CALLS: usize = 256;
/// One frame of HTTP/2: a chunk of a node's state goes in one, and none takes more than that to be read.
const LARGEST_FRAME: u32 = 1 << 20;
/// A peer that lost its power is found after 10 + 5 seconds: before anybody asks why its node is "connected".
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);
const KEEPALIVE_PATIENCE: Duration = Duration::from_secs(5);
/// The target of the spans of calls that are in no trace; see [`weir_proto::trace::UNTRACED`].
const UNTRACED_CALLS: &str = "weir_controller::rpc::untraced";

type Operators = OperatorServer<OperatorService>;

/// Serves operators and agents until the controller stops.
pub(crate) async fn serve<I>(
    incoming: impl Stream<Item = io::Result<I>>,
    cluster: Cluster,
    traffic: Traffic,
    stopping: watch::Receiver<bool>,
) -> anyhow::Result<()>
where
    // a transport that cannot say who is there is none
    I: AsyncRead + AsyncWrite + Connected<ConnectInfo = Peer> + Unpin + Send + 'static,
{
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<Operators>().await;
    health.set_serving::<SyncServer>().await;
    health.set_serving::<ReportServer>().await;

    let operators = OperatorService::new(cluster.clone(), traffic.clone(), stopping.clone());
    let syncs = NodeSyncService::new(cluster.clone(), stopping.clone());
    let reports = NodeReportsService::new(cluster, traffic, stopping.clone());
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_PATIENCE))
        .max_frame_size(LARGEST_FRAME)
        // as many again: those beyond the limit are refused with a status, those beyond these wait at the client
        .max_concurrent_streams(2 * MOST_CALLS as u32)
        .concurrency_limit_per_connection(MOST_CALLS)
        .load_shed(true)
        .trace_fn(span)
        .layer(Roles)
        .layer(UnaryTimeout)
        .add_service(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(OperatorServer::new(operators).max_decoding_message_size(LARGEST_APPLY))
        .add_service(SyncServer::new(syncs, LARGEST_FROM_AGENT))
        .add_service(ReportServer::new(reports, LARGEST_FROM_AGENT))
        .serve_with_incoming_shutdown(incoming, stop(stopping, health))
        .await?;
    Ok(())
}

fn reflection() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // what is in the details of an error
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        // the calls of an agent's socket are described too, and not served here
        .with_service_name(OPERATOR)
        .with_service_name(<SyncServer as NamedService>::NAME)
        .with_service_name(<ReportServer as NamedService>::NAME)
        .with_service_name(HEALTH)
}

/// Opens the span of a call. It is in the trace of its caller if it names one; a call that may change something and names none
/// begins a trace, and others, of which there are many, are in none.
fn span(request: &Request<()>) -> Span {
    let path = request.uri().path();
    let parent = request.headers().get("traceparent");
    let parent = parent.and_then(|parent| parent.to_str().ok());
    if parent.is_none() && !roles::changes(path) {
        return info_span!(target: UNTRACED_CALLS, "rpc", path);
    }
    let span = if is_on() {
        info_span!("rpc", path, otel.kind = "server")
    } else {
        info_span!("rpc", path)
    };
    if let Some(parent) = parent {
        set_parent(&span, parent);
    }
    if is_on() {
        rename(&span, path.trim_start_matches('/'));
    }
    span
}

async fn stop(stopping: watch::Receiver<bool>, health: HealthReporter) {
    stopped(stopping).await;
    health.set_not_serving::<Operators>().await;
    health.set_not_serving::<SyncServer>().await;
    health.set_not_serving::<ReportServer>().await;
}

/// Waits until the controller stops.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    // an error says that nobody is left who could stop it: it is being torn down
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
