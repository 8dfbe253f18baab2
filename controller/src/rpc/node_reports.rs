//! The streams of reports: read and checked. Nobody rolls them up yet.

use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};
use weir_proto::convert::Problems;
use weir_proto::model::{NodeName, Refused};
use weir_proto::wire;
use weir_proto::wire::node_reports_server::NodeReports;

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

    async fn read(mut reports: Streaming<wire::ReportRequest>) -> Result<(), Status> {
        loop {
            let checked = match reports.message().await {
                Ok(Some(report)) => check(&report),
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
        tokio::select! {
            read = Self::read(request.into_inner()) => read?,
            () = stopped(self.stopping.clone()) => {
                return Err(Status::unavailable("the controller is stopping"));
            }
        }
        Ok(Response::new(wire::ReportResponse {}))
    }
}

fn check(report: &wire::ReportRequest) -> Result<(), Status> {
    let mut problems = Problems::default();
    problems.take("report.node", NodeName::new(&report.node));
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
    problems.finish(Some(())).map_err(|errors| invalid(&errors))
}
