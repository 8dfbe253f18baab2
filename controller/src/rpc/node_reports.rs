//! The streams of reports: read, checked, and passed on: whole to who adds up what passes, and as sums of each frontend to who
//! decides by what fails. Served as tonic would generate it, but with
//! small buffers: each agent that counts has such a stream while it is connected.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec};
use tonic::codegen::{Body as HttpBody, BoxFuture, StdError, http};
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::{ProstDecoder, ProstEncoder};
use tower::Service;
use weir_proto::convert::{
    Problems, conntrack_from_wire, increment_from_wire, vip_connections_from_wire,
};
use weir_proto::model::{Frontend, Identity, NodeName, Refused};
use weir_proto::wire;

use super::caller::caller;
use super::ending::Ending;
use super::node_sync::speaks_for;
use super::status::{invalid, refusal, unknown_call};
use crate::cluster::Cluster;
use crate::desired::{Count, Report};
use crate::traffic::Traffic;

/// Most reports take some hundred bytes; the buffer grows for larger ones.
const BUFFER: usize = 1 << 10;
/// How long a stream is quiet until its node is taken to have nothing to tell: a third of the time after which one that is not
/// there no longer counts. A connection that is dead is found sooner than that.
const STILL_THERE: Duration = Duration::from_secs(10);

/// Serves NodeReports.
#[derive(Debug, Clone)]
pub(super) struct ReportServer {
    service: Arc<NodeReportsService>,
    largest: usize,
}

/// Reads reports and writes the answer to all of them.
#[derive(Debug, Clone, Copy, Default)]
struct ReportCodec;

/// Takes the reports of agents.
#[derive(Debug)]
pub(super) struct NodeReportsService {
    cluster: Cluster,
    traffic: Traffic,
    stopping: watch::Receiver<bool>,
}

impl ReportServer {
    /// Serves agents that send messages of at most `largest` bytes.
    pub(super) fn new(service: NodeReportsService, largest: usize) -> Self {
        Self {
            service: Arc::new(service),
            largest,
        }
    }
}

impl NamedService for ReportServer {
    const NAME: &'static str = wire::node_reports_server::SERVICE_NAME;
}

impl<B> Service<http::Request<B>> for ReportServer
where
    B: HttpBody + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if request.uri().path() != "/weir.v1.NodeReports/Report" {
            let unknown = unknown_call(request.uri().path());
            return Box::pin(async { Ok(unknown.into_http()) });
        }
        let service = Arc::clone(&self.service);
        let largest = self.largest;
        Box::pin(async move {
            let report = tower::service_fn(move |request| {
                let service = Arc::clone(&service);
                async move { service.report(request).await }
            });
            let grpc = Grpc::new(ReportCodec);
            let mut grpc = grpc.apply_max_message_size_config(Some(largest), None);
            Ok(grpc.client_streaming(report, request).await)
        })
    }
}

impl Codec for ReportCodec {
    type Encode = wire::ReportResponse;
    type Decode = wire::ReportRequest;
    type Encoder = ProstEncoder<wire::ReportResponse>;
    type Decoder = ProstDecoder<wire::ReportRequest>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::new(BUFFER, BUFFER))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::new(BUFFER, BUFFER))
    }
}

impl NodeReportsService {
    /// Reads reports until the controller stops.
    pub(super) fn new(cluster: Cluster, traffic: Traffic, stopping: watch::Receiver<bool>) -> Self {
        Self {
            cluster,
            traffic,
            stopping,
        }
    }

    async fn report(
        &self,
        request: Request<Streaming<wire::ReportRequest>>,
    ) -> Result<Response<wire::ReportResponse>, Status> {
        let who = caller(&request)?;
        let ending = Ending::of(&self.stopping, &request);
        tokio::select! {
            read = self.read(who, request.into_inner()) => read?,
            status = ending.comes() => return Err(status),
        }
        Ok(Response::new(wire::ReportResponse {}))
    }

    async fn read(
        &self,
        who: Identity,
        mut reports: Streaming<wire::ReportRequest>,
    ) -> Result<(), Status> {
        let mut node = None;
        loop {
            let next = timeout(STILL_THERE, reports.message()).await;
            let report = match (next, &node) {
                (Ok(Ok(Some(report))), _) => report,
                (Ok(Ok(None)), _) => return Ok(()),
                (Ok(Err(status)), _) => return Err(status),
                (Err(_), Some(node)) => {
                    let passed = self.traffic.hear(NodeName::clone(node)).await;
                    passed.map_err(|gone| refusal(gone.into()))?;
                    continue;
                }
                (Err(_), None) => continue,
            };
            let report = check(report, node.is_none())?;
            speaks_for(&who, &report.node)?;
            node = Some(report.node.clone());
            let counts = opened(&report);
            if !counts.is_empty() {
                let (node, interval_ms) = (report.node.clone(), report.interval_ms);
                let passed = self.cluster.counted(node, counts, interval_ms).await;
                passed.map_err(|gone| refusal(gone.into()))?;
            }
            let passed = self.traffic.report(report).await;
            passed.map_err(|gone| refusal(gone.into()))?;
        }
    }
}

/// Reads a report, the first of its stream or a later one.
fn check(report: wire::ReportRequest, first: bool) -> Result<Report, Status> {
    let wire::ReportRequest {
        node,
        interval_ms,
        backends,
        conntrack,
        vips,
    } = report;
    let mut problems = Problems::default();
    let node = problems.take("report.node", NodeName::new(&node));
    if interval_ms == 0 {
        problems.add("report.interval_ms", Refused::Missing);
    }
    let mut increments = Vec::with_capacity(backends.len());
    for (place, counters) in backends.into_iter().enumerate() {
        let at = format!("report.backends[{place}]");
        increments.extend(increment_from_wire(counters, &at, &mut problems));
    }
    let mut connections = Vec::with_capacity(vips.len());
    for (place, vip) in vips.iter().enumerate() {
        let at = format!("report.vips[{place}]");
        connections.extend(vip_connections_from_wire(vip, &at, &mut problems));
    }
    let report = node.map(|node| Report {
        node,
        interval_ms: interval_ms.into(),
        increments,
        conntrack: conntrack.map(conntrack_from_wire),
        vips: connections,
        first,
    });
    problems.finish(report).map_err(|errors| invalid(&errors))
}

/// Counts the connections that were opened at each frontend.
fn opened(report: &Report) -> BTreeMap<Frontend, Count> {
    let mut counts: BTreeMap<Frontend, Count> = BTreeMap::new();
    let opened = report.increments.iter().filter(|it| it.connections > 0);
    for increment in opened {
        let counted = counts.entry(increment.backend.frontend).or_default();
        counted.add(Count {
            connections: increment.connections,
            failed: increment.failed,
        });
    }
    counts
}
