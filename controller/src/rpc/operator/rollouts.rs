//! The rollout: how far it is, and how it goes on.

use tonic::{Request, Response, Status};
use weir_proto::wire;

use super::Answers;
use crate::cluster::Cluster;

/// Tells how far the rollout is.
pub(super) async fn status(
    _cluster: &Cluster,
    _request: Request<wire::RolloutStatusRequest>,
) -> Result<Response<Answers<wire::RolloutStatusResponse>>, Status> {
    Err(Status::unimplemented("rollouts"))
}

/// Pauses, resumes or undoes it.
pub(super) async fn steer(
    _cluster: &Cluster,
    _request: Request<wire::SteerRolloutRequest>,
) -> Result<Response<wire::SteerRolloutResponse>, Status> {
    Err(Status::unimplemented("rollouts"))
}
