//! The streams of reports: read and checked. Nobody rolls them up yet.

use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};
use weir_proto::convert::Problems;
use weir_proto::model::{Identity, NodeName, Refused};
use weir_proto::wire;
use weir_proto::wire::node_reports_server::NodeReports;

use super::caller::caller;
use super::node_sync::speaks_for;
use super::status::invalid;
use super::stopped;

/// Serves the reports of agents.
#[derive(Debug)]
pub(super) struct NodeReportsService {
    stopping: watch::Receiver<bool>,
}

impl NodeReportsService {
    /// Reads reports until the controller stops.
    pub(super) fn new(stopping: watch::Receiver<bool>) -> Self {
        Self { stopping }
    }

    async fn read(
        who: Identity,
        mut reports: Streaming<wire::ReportRequest>,
    ) -> Result<(), Status> {
        loop {
            let checked = match reports.message().await {
                Ok(Some(report)) => check(&report).and_then(|node| speaks_for(&who, &node)),
                Ok(None) => break Ok(()),
                Err(status) => break Err(status),
            };
            if checked.is_err() {
                break checked;
            }
        }
    }
}

#[tonic::async_trait]
impl NodeReports for NodeReportsService {
    async fn report(
        &self,
        request: Request<Streaming<wire::ReportRequest>>,
    ) -> Result<Response<wire::ReportResponse>, Status> {
        let who = caller(&request);
        tokio::select! {
            read = Self::read(who, request.into_inner()) => read?,
            () = stopped(self.stopping.clone()) => {
                return Err(Status::unavailable("the controller is stopping"));
            }
        }
        Ok(Response::new(wire::ReportResponse {}))
    }
}

/// Gives the node a report is of.
fn check(report: &wire::ReportRequest) -> Result<NodeName, Status> {
    let mut problems = Problems::default();
    let node = problems.take("report.node", NodeName::new(&report.node));
    if report.interval_ms == 0 {
        problems.add("report.interval_ms", Refused::Missing);
    }
    for (place, counters) in report.backends.iter().enumerate() {
        if counters.backend.is_none() {
            problems.add(
                format!("report.backends[{place}].backend"),
                Refused::Missing,
            );
        }
    }
    problems.finish(node).map_err(|errors| invalid(&errors))
}
