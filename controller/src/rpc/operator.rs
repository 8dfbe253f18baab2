//! What operators ask.

mod events;
mod history;
mod inquiries;
mod rollouts;
mod streams;
mod traffic;
mod why;

use prost::Message as _;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use weir_proto::convert::{
    Problems, drain_targets_from_wire, drain_terms_from_wire, kind_from_wire, reference_from_wire,
    resources_from_wire,
};
use weir_proto::model::{Kind, NodeName, Refused, Revision, Role};
use weir_proto::wire;
use weir_proto::wire::operator_server::Operator;

use super::caller::{caller, may};
use super::encode;
use super::ending::Ending;
use super::places::places;
use super::status::{invalid, refusal};
use crate::cluster::{Cluster, WriteOptions};
use crate::traffic::Traffic;

/// What a page holds when nothing is said, and at most.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1_000;
/// What the resources of a page take at most, save for a first one that takes more by itself: clients take
/// messages of 4 MiB, and a page is better short than refused.
const LARGEST_PAGE_BYTES: usize = 1 << 20;
/// How many answers wait in a stream for its reader.
const ANSWERS: usize = 4;

/// Serves operators.
#[derive(Debug)]
pub(super) struct OperatorService {
    cluster: Cluster,
    traffic: Traffic,
    stopping: watch::Receiver<bool>,
    /// Unix milliseconds.
    started_unix_ms: u64,
}

type Answers<T> = ReceiverStream<Result<T, Status>>;

impl OperatorService {
    /// Asks a cluster, and what passes through it, until the controller stops.
    pub(super) fn new(cluster: Cluster, traffic: Traffic, stopping: watch::Receiver<bool>) -> Self {
        Self {
            cluster,
            traffic,
            stopping,
            started_unix_ms: weir_proto::machine::now_unix_ms(),
        }
    }
}

#[tonic::async_trait]
impl Operator for OperatorService {
    type WatchStream = Answers<wire::WatchResponse>;
    type NodeStatusStream = Answers<wire::NodeStatusResponse>;
    type RolloutStatusStream = Answers<wire::RolloutStatusResponse>;
    type TrafficStream = Answers<wire::TrafficResponse>;
    type EventsStream = Answers<wire::EventsResponse>;
    type PlanStream = Answers<wire::PlanResponse>;
    type DiffStream = Answers<wire::DiffResponse>;
    type WhyStream = Answers<wire::WhyResponse>;

    async fn apply(
        &self,
        request: Request<wire::ApplyRequest>,
    ) -> Result<Response<wire::ApplyResponse>, Status> {
        let who = caller(&request)?;
        let wire::ApplyRequest {
            resources,
            dry_run,
            expected_revision,
            allow_mass_delete,
            canary,
        } = request.into_inner();
        if allow_mass_delete {
            may(&who, Role::Admin, "allow_mass_delete")?;
        }
        let places = places(&resources);
        let resources = resources_from_wire(resources).map_err(|errors| invalid(&errors))?;
        let canary = rollouts::canary(canary.as_ref(), &resources)?;
        let options = WriteOptions {
            who,
            dry_run,
            expected: expected_revision.map(Revision),
            allow_mass_delete,
            canary,
        };
        let applied = self.cluster.apply(resources, places, options).await;
        let written = applied.map_err(refusal)?;
        Ok(Response::new(wire::ApplyResponse {
            revision: written.revision.0,
            changes: encode::changes(written.changes),
            targets: encode::targets(written.targets),
        }))
    }

    async fn get(
        &self,
        request: Request<wire::GetRequest>,
    ) -> Result<Response<wire::Resource>, Status> {
        let wire::GetRequest { r#ref } = request.into_inner();
        let mut problems = Problems::default();
        let reference = reference_from_wire(&r#ref.unwrap_or_default(), "ref", &mut problems);
        let reference = problems.finish(reference);
        let reference = reference.map_err(|errors| invalid(&errors))?;
        let stored = self.cluster.get(reference).await.map_err(refusal)?;
        Ok(Response::new(encode::resource(&stored)))
    }

    async fn list(
        &self,
        request: Request<wire::ListRequest>,
    ) -> Result<Response<wire::ListResponse>, Status> {
        let wire::ListRequest {
            kind,
            page_size,
            page_token,
        } = request.into_inner();
        let kind = kinds(&[kind], |_| "kind".to_owned())?[0];
        let most = match page_size {
            0 => PAGE,
            asked => LARGEST_PAGE.min(asked as usize),
        };
        // one more tells whether there is another page
        let listed = self.cluster.list(kind, page_token, most + 1).await;
        let listed = listed.map_err(refusal)?;
        let mut resources = Vec::with_capacity(listed.resources.len().min(most));
        let mut bytes = 0;
        for stored in listed.resources.iter().take(most) {
            let resource = encode::resource(stored);
            bytes += resource.encoded_len();
            if bytes > LARGEST_PAGE_BYTES && !resources.is_empty() {
                break;
            }
            resources.push(resource);
        }
        let more = resources.len() < listed.resources.len();
        let last = resources.len().checked_sub(1).filter(|_| more);
        let last = last.and_then(|last| listed.resources.get(last));
        Ok(Response::new(wire::ListResponse {
            resources,
            next_page_token: last.map_or_else(String::new, |last| last.resource.reference().name),
            revision: listed.revision.0,
        }))
    }

    async fn delete(
        &self,
        request: Request<wire::DeleteRequest>,
    ) -> Result<Response<wire::DeleteResponse>, Status> {
        let who = caller(&request)?;
        let wire::DeleteRequest {
            refs,
            dry_run,
            expected_revision,
            allow_mass_delete,
        } = request.into_inner();
        if allow_mass_delete {
            may(&who, Role::Admin, "allow_mass_delete")?;
        }
        let mut problems = Problems::default();
        if refs.is_empty() {
            problems.add("refs", Refused::Missing);
        }
        let mut read = Vec::with_capacity(refs.len());
        for (place, reference) in refs.iter().enumerate() {
            let path = format!("refs[{place}]");
            if let Some(reference) = reference_from_wire(reference, &path, &mut problems) {
                if read.contains(&reference) {
                    problems.add(path, Refused::Twice(reference.to_string()));
                }
                read.push(reference);
            }
        }
        let refs = problems.finish(Some(read));
        let refs = refs.map_err(|errors| invalid(&errors))?;
        if refs.iter().any(|reference| reference.kind == Kind::Node) {
            may(&who, Role::Admin, "the deletion of a node")?;
        }
        let options = WriteOptions {
            who,
            dry_run,
            expected: expected_revision.map(Revision),
            allow_mass_delete,
            canary: None,
        };
        let deleted = self.cluster.delete(refs, options).await;
        let written = deleted.map_err(refusal)?;
        Ok(Response::new(wire::DeleteResponse {
            revision: written.revision.0,
            changes: encode::changes(written.changes),
            targets: encode::targets(written.targets),
        }))
    }

    async fn watch(
        &self,
        request: Request<wire::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let ending = Ending::of(&self.stopping, &request);
        let wire::WatchRequest {
            from_revision,
            kinds: wanted,
        } = request.into_inner();
        let kinds = kinds(&wanted, |place| format!("kinds[{place}]"))?;
        let watching = self.cluster.watch(Revision(from_revision)).await;
        let watching = watching.map_err(refusal)?;
        let (answers, stream) = tokio::sync::mpsc::channel(ANSWERS);
        tokio::spawn(streams::watch(watching, kinds, answers, ending));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn node_status(
        &self,
        request: Request<wire::NodeStatusRequest>,
    ) -> Result<Response<Self::NodeStatusStream>, Status> {
        let ending = Ending::of(&self.stopping, &request);
        let wire::NodeStatusRequest { names, watch } = request.into_inner();
        let mut problems = Problems::default();
        let mut read = Vec::with_capacity(names.len());
        for (place, name) in names.iter().enumerate() {
            read.extend(problems.take(format!("names[{place}]"), NodeName::new(name)));
        }
        let names = problems.finish(Some(read));
        let names = names.map_err(|errors| invalid(&errors))?;
        // before the first answer, so that no change between the two is missed
        let bell = self.cluster.nodes_changed();
        let first = self.cluster.statuses(names.clone()).await;
        let first = first.map_err(refusal)?;
        let (answers, stream) = tokio::sync::mpsc::channel(ANSWERS);
        let streaming = streams::NodeStatuses {
            cluster: self.cluster.clone(),
            names,
            bell,
            watch,
            ending,
            started_unix_ms: self.started_unix_ms,
        };
        tokio::spawn(streaming.run(first, answers));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn drain(
        &self,
        request: Request<wire::DrainRequest>,
    ) -> Result<Response<wire::DrainResponse>, Status> {
        let who = caller(&request)?;
        let wire::DrainRequest { targets, drain } = request.into_inner();
        let mut problems = Problems::default();
        let targets = drain_targets_from_wire(&targets, &mut problems);
        let terms = drain_terms_from_wire(drain.as_ref(), "drain", &mut problems);
        let terms = problems.finish(terms).map_err(|errors| invalid(&errors))?;
        let drained = self.cluster.drain(targets, terms, who).await;
        drained.map(encode::drained).map_err(refusal)
    }

    async fn undrain(
        &self,
        request: Request<wire::UndrainRequest>,
    ) -> Result<Response<wire::DrainResponse>, Status> {
        let who = caller(&request)?;
        let wire::UndrainRequest { targets } = request.into_inner();
        let mut problems = Problems::default();
        let targets = drain_targets_from_wire(&targets, &mut problems);
        let targets = problems.finish(Some(targets));
        let targets = targets.map_err(|errors| invalid(&errors))?;
        let undrained = self.cluster.undrain(targets, who).await;
        undrained.map(encode::drained).map_err(refusal)
    }

    async fn list_drains(
        &self,
        request: Request<wire::ListDrainsRequest>,
    ) -> Result<Response<wire::ListDrainsResponse>, Status> {
        let wire::ListDrainsRequest {} = request.into_inner();
        let listed = self.cluster.drains().await.map_err(refusal)?;
        Ok(Response::new(wire::ListDrainsResponse {
            drains: listed.drains.iter().map(encode::drain).collect(),
            revision: listed.revision.0,
        }))
    }

    async fn release_node(
        &self,
        request: Request<wire::ReleaseNodeRequest>,
    ) -> Result<Response<wire::ReleaseNodeResponse>, Status> {
        let who = caller(&request)?;
        let wire::ReleaseNodeRequest { name } = request.into_inner();
        let mut problems = Problems::default();
        let name = problems.take("name", NodeName::new(&name));
        let name = problems.finish(name);
        let name = name.map_err(|errors| invalid(&errors))?;
        let generation = self.cluster.release(name, who).await;
        let generation = generation.map_err(refusal)?.0;
        Ok(Response::new(wire::ReleaseNodeResponse { generation }))
    }

    async fn rollout_status(
        &self,
        request: Request<wire::RolloutStatusRequest>,
    ) -> Result<Response<Self::RolloutStatusStream>, Status> {
        rollouts::status(&self.cluster, &self.stopping, request).await
    }

    async fn steer_rollout(
        &self,
        request: Request<wire::SteerRolloutRequest>,
    ) -> Result<Response<wire::SteerRolloutResponse>, Status> {
        rollouts::steer(&self.cluster, request).await
    }

    async fn history(
        &self,
        request: Request<wire::HistoryRequest>,
    ) -> Result<Response<wire::HistoryResponse>, Status> {
        history::history(&self.cluster, request).await
    }

    async fn rollback(
        &self,
        request: Request<wire::RollbackRequest>,
    ) -> Result<Response<wire::ApplyResponse>, Status> {
        history::rollback(&self.cluster, request).await
    }

    async fn traffic(
        &self,
        request: Request<wire::TrafficRequest>,
    ) -> Result<Response<Self::TrafficStream>, Status> {
        traffic::traffic(&self.traffic, &self.stopping, request).await
    }

    async fn events(
        &self,
        request: Request<wire::EventsRequest>,
    ) -> Result<Response<Self::EventsStream>, Status> {
        events::events(&self.cluster, &self.stopping, request).await
    }

    async fn plan(
        &self,
        request: Request<wire::PlanRequest>,
    ) -> Result<Response<Self::PlanStream>, Status> {
        inquiries::plan(&self.cluster, &self.stopping, request).await
    }

    async fn diff(
        &self,
        request: Request<wire::DiffRequest>,
    ) -> Result<Response<Self::DiffStream>, Status> {
        inquiries::diff(&self.cluster, &self.stopping, request).await
    }

    async fn why(
        &self,
        request: Request<wire::WhyRequest>,
    ) -> Result<Response<Self::WhyStream>, Status> {
        why::why((&self.cluster, &self.traffic), &self.stopping, request).await
    }
}

fn kinds(numbers: &[i32], path: impl Fn(usize) -> String) -> Result<Vec<Kind>, Status> {
    let mut problems = Problems::default();
    let mut kinds = Vec::with_capacity(numbers.len());
    for (place, number) in numbers.iter().enumerate() {
        kinds.extend(problems.take(path(place), kind_from_wire(*number)));
    }
    problems
        .finish(Some(kinds))
        .map_err(|errors| invalid(&errors))
}
