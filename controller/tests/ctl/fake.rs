//! A controller that keeps resources in memory and says what a test tells it to.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};
use weir_proto::convert;
use weir_proto::wire::operator_server::{Operator, OperatorServer};
use weir_proto::wire::{
    ApplyRequest, ApplyResponse, Canary, Change, DeleteRequest, DeleteResponse, DiffRequest,
    DiffResponse, DrainRequest, DrainResponse, DrainState, Event, EventsRequest, EventsResponse,
    GetRequest, HistoryEntry, HistoryRequest, HistoryResponse, ListDrainsRequest,
    ListDrainsResponse, ListRequest, ListResponse, NodeState, NodeStatusRequest,
    NodeStatusResponse, NodeTarget, PlanRequest, PlanResponse, ReleaseNodeRequest,
    ReleaseNodeResponse, Resource, ResourceRef, RollbackRequest, Rollout, RolloutStatusRequest,
    RolloutStatusResponse, SteerRolloutRequest, SteerRolloutResponse, TrafficRequest,
    TrafficResponse, UndrainRequest, WatchRequest, WatchResponse, WhyRequest, WhyResponse, change,
};

/// The most resources on one page, so that a few make several pages.
const PAGE: usize = 2;

/// What the fake holds and says.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) resources: BTreeMap<(i32, String), Resource>,
    pub(crate) revision: u64,
    /// How often it was asked to write.
    pub(crate) writes: usize,
    /// What every write is refused with.
    pub(crate) refusal: Option<Status>,
    /// The nodes every write touches.
    pub(crate) targets: Vec<NodeTarget>,
    /// The nodes as they are when nobody watches.
    pub(crate) nodes: Vec<NodeState>,
    /// What each call that watches is told, answer by answer; then the call ends. The last one does not.
    pub(crate) watches: VecDeque<Vec<Vec<NodeState>>>,
    /// What each call that watches resources is told, answer by answer; then the call ends. The last one does not.
    pub(crate) changes: VecDeque<Vec<WatchResponse>>,
    /// How many calls that watch resources end, once they were told that, since the changes after are no longer known.
    pub(crate) outdated: usize,
    /// The revisions after which was watched.
    pub(crate) watched_from: Vec<u64>,
    /// How often it was asked to list, and for one resource.
    pub(crate) lists: usize,
    pub(crate) gets: usize,
    /// The most resources on one page; none: so few that a few make several pages.
    pub(crate) page: Option<usize>,
    /// How many writes find that somebody else was faster.
    pub(crate) faster: usize,
    /// Never answers a List.
    pub(crate) silent: bool,
    /// Whether each write that was taken let nodes drop much.
    pub(crate) allowed: Vec<bool>,
    /// What was asked to be drained, and what no longer.
    pub(crate) drained: Vec<DrainRequest>,
    pub(crate) undrained: Vec<UndrainRequest>,
    /// The drains that each call is told; the last is told again.
    pub(crate) drains: VecDeque<Vec<DrainState>>,
    /// The last writes, the newest first.
    pub(crate) history: Vec<HistoryEntry>,
    /// What each rollback changes, and those that were asked for.
    pub(crate) back: Vec<Change>,
    pub(crate) rolled_back: Vec<RollbackRequest>,
    /// What was asked for with steps.
    pub(crate) canaries: Vec<Canary>,
    /// The rollout as it is when nobody watches.
    pub(crate) rollout: Option<Rollout>,
    /// What each call that watches the rollout is told, answer by answer; then the call ends.
    pub(crate) rollouts: VecDeque<Vec<Rollout>>,
    /// What happened, and what whoever watches is told beside that.
    pub(crate) events: Vec<Event>,
    pub(crate) more_events: Vec<Event>,
    /// What was asked of events.
    pub(crate) events_asked: Vec<EventsRequest>,
    /// What was done with the rollout.
    pub(crate) steered: Vec<SteerRolloutRequest>,
    /// What passes, and how it was asked for.
    pub(crate) traffic: TrafficResponse,
    pub(crate) traffic_asked: Vec<TrafficRequest>,
    /// What calls that watch what passes are told besides, after that.
    pub(crate) traffic_later: Vec<TrafficResponse>,
    /// What each plan says, and those that were asked for.
    pub(crate) plan: Vec<PlanResponse>,
    pub(crate) planned: Vec<PlanRequest>,
    /// What each comparison says, and those that were asked for.
    pub(crate) diff: Vec<DiffResponse>,
    pub(crate) compared: Vec<DiffRequest>,
    /// What each question why is answered, and those that were asked.
    pub(crate) why: Vec<WhyResponse>,
    pub(crate) why_asked: Vec<WhyRequest>,
}

/// The fake, listening as long as it lives.
pub(crate) struct Fake {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    _runtime: Runtime,
}

impl Fake {
    pub(crate) fn start(state: State) -> Self {
        Self::start_at(0, state)
    }

    /// Starts where another one was. 0: anywhere.
    pub(crate) fn start_at(port: u16, state: State) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind(("127.0.0.1", port)))
            .expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let state = Arc::new(Mutex::new(state));
        let service = OperatorServer::new(Shared(Arc::clone(&state)));
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Self {
            url,
            state,
            _runtime: runtime,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panicked with it")
    }
}

struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panicked with it")
    }
}

pub(crate) fn changed(reference: &ResourceRef, outcome: change::Outcome) -> Change {
    Change {
        r#ref: Some(reference.clone()),
        outcome: outcome.into(),
    }
}

fn key(reference: Option<ResourceRef>) -> (ResourceRef, (i32, String)) {
    let reference = reference.expect("weirctl always names what it means");
    let key = (reference.kind, reference.name.clone());
    (reference, key)
}

impl State {
    /// Takes a write that was checked.
    fn write(&mut self, expected: Option<u64>) -> Result<(), Status> {
        self.writes += 1;
        if self.faster > 0 && expected.is_some() {
            self.faster -= 1;
            self.revision += 1;
        }
        if let Some(expected) = expected
            && expected != self.revision
        {
            let text = format!("the revision is {}, not {expected}", self.revision);
            return Err(Status::aborted(text));
        }
        match &self.refusal {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(()),
        }
    }

    fn apply(&mut self, request: ApplyRequest) -> Result<ApplyResponse, Status> {
        self.write(request.expected_revision)?;
        self.allowed.push(request.allow_mass_delete);
        self.canaries.extend(request.canary);
        let wanted = convert::resources_from_wire(request.resources)
            .map_err(|errors| Status::invalid_argument(errors.to_string()))?;
        let next = weir_proto::model::Revision(self.revision + 1);
        let mut changes = Vec::new();
        let mut after = self.resources.clone();
        for resource in wanted {
            let reference = convert::reference_to_wire(&resource.reference());
            let key = (reference.kind, reference.name.clone());
            let new = convert::resource_to_wire(&resource, next);
            let outcome = match after.get(&key) {
                Some(old) if old.kind == new.kind => change::Outcome::Unchanged,
                Some(_) => change::Outcome::Updated,
                None => change::Outcome::Created,
            };
            if outcome != change::Outcome::Unchanged {
                after.insert(key, new);
            }
            changes.push(changed(&reference, outcome));
        }
        if after != self.resources && !request.dry_run {
            self.resources = after;
            self.revision = next.0;
        }
        Ok(ApplyResponse {
            revision: self.revision,
            changes,
            targets: self.targets.clone(),
        })
    }

    fn delete(&mut self, request: DeleteRequest) -> Result<DeleteResponse, Status> {
        self.write(request.expected_revision)?;
        self.allowed.push(request.allow_mass_delete);
        let mut after = self.resources.clone();
        let mut changes = Vec::new();
        for reference in request.refs {
            let (reference, key) = key(Some(reference));
            if after.remove(&key).is_none() {
                let text = format!("{:?} is not there", reference.name);
                return Err(Status::not_found(text));
            }
            changes.push(changed(&reference, change::Outcome::Deleted));
        }
        if !request.dry_run {
            self.resources = after;
            self.revision += 1;
        }
        Ok(DeleteResponse {
            revision: self.revision,
            changes,
            targets: self.targets.clone(),
        })
    }
}

impl State {
    fn drain_response(&self) -> DrainResponse {
        DrainResponse {
            revision: self.revision,
            targets: self.targets.clone(),
        }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Operator for Shared {
    type WatchStream = Answers<WatchResponse>;
    type NodeStatusStream = Answers<NodeStatusResponse>;

    async fn apply(
        &self,
        request: Request<ApplyRequest>,
    ) -> Result<Response<ApplyResponse>, Status> {
        self.lock().apply(request.into_inner()).map(Response::new)
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Resource>, Status> {
        let (_, key) = key(request.into_inner().r#ref);
        let mut state = self.lock();
        state.gets += 1;
        let found = state.resources.get(&key).cloned();
        found
            .map(Response::new)
            .ok_or_else(|| Status::not_found("not there"))
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ListResponse>, Status> {
        if self.lock().silent {
            std::future::pending::<()>().await;
        }
        let request = request.into_inner();
        let mut state = self.lock();
        state.lists += 1;
        let most = state.page.unwrap_or(PAGE);
        let mut rest = state
            .resources
            .iter()
            .filter(|((kind, name), _)| *kind == request.kind && *name > request.page_token);
        let page: Vec<_> = rest.by_ref().take(most).collect();
        let last = page.last().map(|((_, name), _)| name.clone());
        let more = rest.next().is_some();
        Ok(Response::new(ListResponse {
            resources: page.into_iter().map(|(_, it)| it.clone()).collect(),
            next_page_token: last.filter(|_| more).unwrap_or_default(),
            revision: state.revision,
        }))
    }

    async fn delete(
        &self,
        request: Request<DeleteRequest>,
    ) -> Result<Response<DeleteResponse>, Status> {
        self.lock().delete(request.into_inner()).map(Response::new)
    }

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let mut state = self.lock();
        state.watched_from.push(request.into_inner().from_revision);
        let answers = state.changes.pop_front().unwrap_or_default();
        let answers = tokio_stream::iter(answers).map(Ok);
        if state.outdated > 0 {
            state.outdated -= 1;
            let end = Status::out_of_range("changes after revision 1 are no longer known");
            return Ok(Response::new(Box::pin(
                answers.chain(tokio_stream::once(Err(end))),
            )));
        }
        Ok(Response::new(if state.changes.is_empty() {
            Box::pin(answers.chain(tokio_stream::pending()))
        } else {
            Box::pin(answers)
        }))
    }

    async fn node_status(
        &self,
        request: Request<NodeStatusRequest>,
    ) -> Result<Response<Self::NodeStatusStream>, Status> {
        let request = request.into_inner();
        let mut state = self.lock();
        let revision = state.revision;
        let chosen = move |nodes: Vec<NodeState>| NodeStatusResponse {
            nodes: nodes
                .into_iter()
                .filter(|node| request.names.is_empty() || request.names.contains(&node.name))
                .collect(),
            revision,
            ..NodeStatusResponse::default()
        };
        if !request.watch {
            let once = tokio_stream::once(Ok(chosen(state.nodes.clone())));
            return Ok(Response::new(Box::pin(once)));
        }
        let answers = state.watches.pop_front().unwrap_or_default();
        let answers = tokio_stream::iter(answers).map(move |nodes| Ok(chosen(nodes)));
        Ok(Response::new(if state.watches.is_empty() {
            Box::pin(answers.chain(tokio_stream::pending()))
        } else {
            Box::pin(answers)
        }))
    }

    async fn drain(
        &self,
        request: Request<DrainRequest>,
    ) -> Result<Response<DrainResponse>, Status> {
        let mut state = self.lock();
        state.write(None)?;
        state.drained.push(request.into_inner());
        Ok(Response::new(state.drain_response()))
    }

    async fn undrain(
        &self,
        request: Request<UndrainRequest>,
    ) -> Result<Response<DrainResponse>, Status> {
        let mut state = self.lock();
        state.write(None)?;
        state.undrained.push(request.into_inner());
        Ok(Response::new(state.drain_response()))
    }

    async fn list_drains(
        &self,
        _: Request<ListDrainsRequest>,
    ) -> Result<Response<ListDrainsResponse>, Status> {
        let mut state = self.lock();
        let drains = match state.drains.len() {
            0 | 1 => state.drains.front().cloned().unwrap_or_default(),
            _ => state.drains.pop_front().unwrap_or_default(),
        };
        Ok(Response::new(ListDrainsResponse {
            drains,
            revision: state.revision,
        }))
    }

    async fn release_node(
        &self,
        request: Request<ReleaseNodeRequest>,
    ) -> Result<Response<ReleaseNodeResponse>, Status> {
        let name = request.into_inner().name;
        let mut state = self.lock();
        state.write(None)?;
        let node = state.nodes.iter().find(|node| node.name == name);
        let hold = node.and_then(|node| node.hold.clone());
        let generation = match hold {
            Some(hold) => hold.generation,
            None => {
                let text = format!("node {name} holds nothing back");
                return Err(Status::failed_precondition(text));
            }
        };
        Ok(Response::new(ReleaseNodeResponse { generation }))
    }

    type RolloutStatusStream = Answers<RolloutStatusResponse>;

    async fn rollout_status(
        &self,
        request: Request<RolloutStatusRequest>,
    ) -> Result<Response<Self::RolloutStatusStream>, Status> {
        let mut state = self.lock();
        let revision = state.revision;
        let answer = move |rollout| RolloutStatusResponse { rollout, revision };
        if !request.into_inner().watch {
            let once = tokio_stream::once(Ok(answer(state.rollout.clone())));
            return Ok(Response::new(Box::pin(once)));
        }
        let answers = state.rollouts.pop_front().unwrap_or_default();
        let answers = tokio_stream::iter(answers).map(move |rollout| Ok(answer(Some(rollout))));
        Ok(Response::new(if state.rollouts.is_empty() {
            Box::pin(answers.chain(tokio_stream::pending()))
        } else {
            Box::pin(answers)
        }))
    }

    type EventsStream = Answers<EventsResponse>;

    /// Tells one event in each message.
    async fn events(
        &self,
        request: Request<EventsRequest>,
    ) -> Result<Response<Self::EventsStream>, Status> {
        let request = request.into_inner();
        let mut state = self.lock();
        let limit = match request.limit {
            0 => usize::MAX,
            limit => limit as usize,
        };
        let beyond = state.events.len().saturating_sub(limit);
        let mut told: Vec<Vec<Event>> = state
            .events
            .iter()
            .skip(beyond)
            .map(|it| vec![it.clone()])
            .collect();
        if request.watch && told.is_empty() {
            told.push(Vec::new());
        }
        let watch = request.watch;
        if watch {
            told.extend(state.more_events.iter().map(|it| vec![it.clone()]));
        }
        state.events_asked.push(request);
        let told = tokio_stream::iter(told).map(|events| Ok(EventsResponse { events }));
        Ok(Response::new(match watch {
            true => Box::pin(told.chain(tokio_stream::pending())),
            false => Box::pin(told),
        }))
    }

    async fn steer_rollout(
        &self,
        request: Request<SteerRolloutRequest>,
    ) -> Result<Response<SteerRolloutResponse>, Status> {
        let mut state = self.lock();
        state.write(None)?;
        state.steered.push(request.into_inner());
        Ok(Response::new(SteerRolloutResponse {
            rollout: state.rollout.clone(),
            revision: state.revision,
            targets: state.targets.clone(),
        }))
    }

    async fn history(
        &self,
        request: Request<HistoryRequest>,
    ) -> Result<Response<HistoryResponse>, Status> {
        let limit = request.into_inner().limit;
        let state = self.lock();
        let entries = state.history.iter().take(limit as usize);
        Ok(Response::new(HistoryResponse {
            entries: entries.cloned().collect(),
            revision: state.revision,
        }))
    }

    async fn rollback(
        &self,
        request: Request<RollbackRequest>,
    ) -> Result<Response<ApplyResponse>, Status> {
        let request = request.into_inner();
        let mut state = self.lock();
        state.write(request.expected_revision)?;
        state.allowed.push(request.allow_mass_delete);
        if !request.dry_run {
            state.revision += 1;
        }
        state.rolled_back.push(request);
        Ok(Response::new(ApplyResponse {
            revision: state.revision,
            changes: state.back.clone(),
            targets: state.targets.clone(),
        }))
    }

    type TrafficStream = Answers<TrafficResponse>;

    async fn traffic(
        &self,
        request: Request<TrafficRequest>,
    ) -> Result<Response<Self::TrafficStream>, Status> {
        let mut state = self.lock();
        let request = request.into_inner();
        let watch = request.watch;
        state.traffic_asked.push(request);
        if let Some(refusal) = &state.refusal {
            return Err(refusal.clone());
        }
        let answer = tokio_stream::once(Ok(state.traffic.clone()));
        if !watch {
            return Ok(Response::new(Box::pin(answer)));
        }
        let later = tokio_stream::iter(state.traffic_later.clone()).map(Ok);
        let answers = answer.chain(later).chain(tokio_stream::pending());
        Ok(Response::new(Box::pin(answers)))
    }

    type PlanStream = Answers<PlanResponse>;

    async fn plan(
        &self,
        request: Request<PlanRequest>,
    ) -> Result<Response<Self::PlanStream>, Status> {
        let mut state = self.lock();
        if let Some(refusal) = &state.refusal {
            return Err(refusal.clone());
        }
        state.planned.push(request.into_inner());
        let parts = tokio_stream::iter(state.plan.clone()).map(Ok);
        Ok(Response::new(Box::pin(parts)))
    }

    type DiffStream = Answers<DiffResponse>;

    async fn diff(
        &self,
        request: Request<DiffRequest>,
    ) -> Result<Response<Self::DiffStream>, Status> {
        let mut state = self.lock();
        if let Some(refusal) = &state.refusal {
            return Err(refusal.clone());
        }
        state.compared.push(request.into_inner());
        let parts = tokio_stream::iter(state.diff.clone()).map(Ok);
        Ok(Response::new(Box::pin(parts)))
    }

    type WhyStream = Answers<WhyResponse>;

    async fn why(&self, request: Request<WhyRequest>) -> Result<Response<Self::WhyStream>, Status> {
        let mut state = self.lock();
        if let Some(refusal) = &state.refusal {
            return Err(refusal.clone());
        }
        state.why_asked.push(request.into_inner());
        let parts = tokio_stream::iter(state.why.clone()).map(Ok);
        Ok(Response::new(Box::pin(parts)))
    }
}
