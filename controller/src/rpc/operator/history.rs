//! What was written before, and going back to it.

use tonic::{Request, Response, Status};
use weir_proto::wire;

use crate::cluster::Cluster;

/// Gives the last writes.
pub(super) async fn history(
    _cluster: &Cluster,
    _request: Request<wire::HistoryRequest>,
) -> Result<Response<wire::HistoryResponse>, Status> {
    Err(Status::unimplemented("history"))
}

/// Goes back to a revision.
pub(super) async fn rollback(
    _cluster: &Cluster,
    _request: Request<wire::RollbackRequest>,
) -> Result<Response<wire::ApplyResponse>, Status> {
    Err(Status::unimplemented("rollback"))
}
