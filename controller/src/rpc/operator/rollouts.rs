//! The rollout: how far it is, and how it goes on.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use weir_proto::convert::{Problems, canary_from_wire, steering_from_wire};
use weir_proto::model::{Canary, Refused, Resource, Revision};
use weir_proto::wire;

use super::{ANSWERS, Answers};
use crate::cluster::{Cluster, RolloutState};
use crate::rpc::caller::caller;
use crate::rpc::encode;
use crate::rpc::ending::{Ending, last_word};
use crate::rpc::status::{controller_stops, invalid, refusal};

/// How often the rollout is told at most: a step of many nodes changes it at each of them.
const AT_MOST_EVERY: Duration = Duration::from_millis(100);

/// Reads the steps by which a batch is rolled out; none: it is not.
pub(super) fn canary(
    canary: Option<&wire::Canary>,
    resources: &[Resource],
) -> Result<Option<Canary>, Status> {
    let Some(canary) = canary else {
        return Ok(None);
    };
    let mut problems = Problems::default();
    let canary = problems.absorb(canary_from_wire(canary, "canary"));
    let mut nodes = resources
        .iter()
        .filter(|it| matches!(it, Resource::Node(_)));
    if nodes.next().is_some() {
        let only = Refused::OnlyWith("services and backend sets");
        problems.add("canary", only);
    }
    let canary = problems.finish(canary).map_err(|errors| invalid(&errors))?;
    Ok(Some(canary))
}

/// Tells how far the rollout is.
pub(super) async fn status(
    cluster: &Cluster,
    stopping: &watch::Receiver<bool>,
    request: Request<wire::RolloutStatusRequest>,
) -> Result<Response<Answers<wire::RolloutStatusResponse>>, Status> {
    let ending = Ending::of(stopping, &request);
    let wire::RolloutStatusRequest { watch } = request.into_inner();
    // before the first answer, so that no change between the two is missed
    let bell = cluster.nodes_changed();
    let first = cluster.rollout().await.map_err(refusal)?;
    let (answers, stream) = mpsc::channel(ANSWERS);
    let telling = Telling {
        cluster: cluster.clone(),
        bell,
        watch,
    };
    tokio::spawn(telling.run(first, answers, ending));
    Ok(Response::new(ReceiverStream::new(stream)))
}

/// Pauses, resumes or undoes it.
pub(super) async fn steer(
    cluster: &Cluster,
    request: Request<wire::SteerRolloutRequest>,
) -> Result<Response<wire::SteerRolloutResponse>, Status> {
    let who = caller(&request)?;
    let wire::SteerRolloutRequest { action, revision } = request.into_inner();
    let mut problems = Problems::default();
    let steering = problems.take("action", steering_from_wire(action));
    let steering = problems.finish(steering);
    let steering = steering.map_err(|errors| invalid(&errors))?;
    let revision = (revision != 0).then_some(Revision(revision));
    let steered = cluster.steer(steering, revision, who).await;
    let written = steered.map_err(refusal)?;
    let now = cluster.rollout().await.map_err(refusal)?;
    Ok(Response::new(wire::SteerRolloutResponse {
        rollout: now.rollout.as_ref().map(encode::rollout),
        revision: written.revision.0,
        targets: encode::targets(written.targets),
    }))
}

/// The rollout, told once, or again at each change.
struct Telling {
    cluster: Cluster,
    bell: watch::Receiver<u64>,
    watch: bool,
}

type Told = mpsc::Sender<Result<wire::RolloutStatusResponse, Status>>;

impl Telling {
    async fn run(mut self, first: RolloutState, answers: Told, ending: Ending) {
        let end = tokio::select! {
            end = self.tell(first, &answers) => end,
            status = ending.comes() => Some(status),
            () = answers.closed() => None,
        };
        if let Some(end) = end {
            last_word(&answers, end).await;
        }
    }

    /// Gives why it ended; none: nobody listens.
    async fn tell(&mut self, first: RolloutState, answers: &Told) -> Option<Status> {
        let mut told = response(&first);
        if answers.send(Ok(told.clone())).await.is_err() || !self.watch {
            return None;
        }
        loop {
            tokio::time::sleep(AT_MOST_EVERY).await;
            if self.bell.changed().await.is_err() {
                return Some(controller_stops());
            }
            let now = match self.cluster.rollout().await {
                Ok(now) => response(&now),
                Err(gone) => return Some(refusal(gone)),
            };
            if now.rollout == told.rollout {
                continue;
            }
            told = now;
            if answers.send(Ok(told.clone())).await.is_err() {
                return None;
            }
        }
    }
}

fn response(state: &RolloutState) -> wire::RolloutStatusResponse {
    wire::RolloutStatusResponse {
        rollout: state.rollout.as_ref().map(encode::rollout),
        revision: state.revision.0,
    }
}
