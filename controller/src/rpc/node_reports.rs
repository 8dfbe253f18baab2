//! The streams of reports: read, checked, and passed on as sums of each frontend.

use std::collections::BTreeMap;

use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};
use weir_proto::convert::{Problems, increment_from_wire};
use weir_proto::model::{Frontend, Identity, NodeName, Refused};
use weir_proto::wire;
use weir_proto::wire::node_reports_server::NodeReports;

use super::caller::caller;
use super::ending::Ending;
use super::node_sync::speaks_for;
use super::status::{invalid, refusal};
use crate::cluster::Cluster;
use crate::desired::Count;

/// Serves the reports of agents.
#[derive(Debug)]
pub(super) struct NodeReportsService {
    cluster: Cluster,
    stopping: watch::Receiver<bool>,
}

impl NodeReportsService {
    /// Reads reports until the controller stops.
    pub(super) fn new(cluster: Cluster, stopping: watch::Receiver<bool>) -> Self {
        Self { cluster, stopping }
    }

    async fn read(
        &self,
        who: Identity,
        mut reports: Streaming<wire::ReportRequest>,
    ) -> Result<(), Status> {
        while let Some(report) = reports.message().await? {
            let Report {
                node,
                interval_ms,
                counts,
            } = check(report)?;
            speaks_for(&who, &node)?;
            if !counts.is_empty() {
                let passed = self.cluster.counted(node, counts, interval_ms).await;
                passed.map_err(|gone| refusal(gone.into()))?;
            }
        }
        Ok(())
    }
}

/// What a node counted.
struct Report {
    node: NodeName,
    interval_ms: u64,
    /// At each frontend to which connections were opened.
    counts: BTreeMap<Frontend, Count>,
}

#[tonic::async_trait]
impl NodeReports for NodeReportsService {
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
}

/// Gives the node a report is of.
fn check(report: wire::ReportRequest) -> Result<Report, Status> {
    let wire::ReportRequest {
        node,
        interval_ms,
        backends,
    } = report;
    let mut problems = Problems::default();
    let node = problems.take("report.node", NodeName::new(&node));
    if interval_ms == 0 {
        problems.add("report.interval_ms", Refused::Missing);
    }
    let mut counts: BTreeMap<Frontend, Count> = BTreeMap::new();
    for (place, counters) in backends.into_iter().enumerate() {
        let at = format!("report.backends[{place}]");
        let increment = increment_from_wire(counters, &at, &mut problems);
        if let Some(increment) = increment.filter(|increment| increment.connections > 0) {
            let counted = counts.entry(increment.backend.frontend).or_default();
            counted.add(Count {
                connections: increment.connections,
                failed: increment.failed,
            });
        }
    }
    let report = node.map(|node| Report {
        node,
        interval_ms: interval_ms.into(),
        counts,
    });
    problems.finish(report).map_err(|errors| invalid(&errors))
}
