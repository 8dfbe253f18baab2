//! An operator who changes something all the time, each write only if nothing changed since he looked, and who puts all of
//! it back where a controller has lost it.

use std::cell::Cell;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tonic::transport::Channel;
use tonic::{Response, Status};
use weir_agent::session::Connect as _;
use weir_integration::random::Random;
use weir_proto::wire::operator_client::OperatorClient;
use weir_proto::wire::{self, NodeState};

use crate::judge::Judge;
use crate::model::{Change, Model, NODES};
use crate::net::Wire;

/// How long a call may take: longer than a controller that is reached needs, shorter than the faults last.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest rest between two changes, in milliseconds.
const LONGEST_REST: usize = 500;
/// Between two looks at the end.
const LOOK: Duration = Duration::from_millis(500);

/// The operator.
pub(crate) struct Operator {
    pub(crate) random: Random,
    pub(crate) judge: Judge,
    /// Whether all faults are over.
    pub(crate) healed: Rc<Cell<bool>>,
    client: Option<OperatorClient<Channel>>,
    /// What is there, as far as he knows.
    model: Model,
    /// The cluster's revision; none: he has to look.
    revision: Option<u64>,
}

type Client = OperatorClient<Channel>;

impl Operator {
    pub(crate) fn new(random: Random, judge: Judge, healed: Rc<Cell<bool>>) -> Self {
        Self {
            random,
            judge,
            healed,
            client: None,
            model: Model::start(),
            revision: None,
        }
    }

    /// Works until all faults are over, and then until every node is as he wants it.
    pub(crate) async fn work(mut self) {
        while !self.healed.get() {
            let rest = self.random.below(LONGEST_REST) as u64;
            sleep(Duration::from_millis(rest)).await;
            if let Err(status) = self.turn().await {
                self.failed("change", &status);
            }
        }
        loop {
            sleep(LOOK).await;
            match self.settled().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(status) => self.failed("look", &status),
            }
        }
    }

    fn failed(&mut self, what: &str, status: &Status) {
        let code = status.code();
        self.judge.note(format_args!(
            "operator: {what}: {code:?} {}",
            status.message()
        ));
        (self.client, self.revision) = (None, None);
    }

    /// Makes one change, or looks what is there.
    async fn turn(&mut self) -> Result<(), Status> {
        let Some(revision) = self.revision else {
            return self.look().await;
        };
        let mut next = self.model.clone();
        let change = if next.is_empty() {
            next.begin(&mut self.random)
        } else {
            next.change(&mut self.random)
        };
        self.write(next, change, revision).await
    }

    async fn write(&mut self, next: Model, change: Change, revision: u64) -> Result<(), Status> {
        self.judge
            .note(format_args!("operator: at {revision}: {change:?}"));
        self.judge.asked(&next);
        let expected_revision = Some(revision);
        let revision = match change {
            Change::Apply(resources) => {
                let request = wire::ApplyRequest {
                    resources,
                    expected_revision,
                    ..wire::ApplyRequest::default()
                };
                let call = async move |mut client: Client| client.apply(request).await;
                self.call(call).await?.revision
            }
            Change::Delete(name) => {
                let kind = wire::Kind::Service.into();
                let request = wire::DeleteRequest {
                    refs: vec![wire::ResourceRef { kind, name }],
                    expected_revision,
                    ..wire::DeleteRequest::default()
                };
                let call = async move |mut client: Client| client.delete(request).await;
                self.call(call).await?.revision
            }
        };
        self.judge.note(format_args!("operator: now {revision}"));
        (self.model, self.revision) = (next, Some(revision));
        Ok(())
    }

    /// Looks what is there. Where it is nothing that was asked for, all is put back.
    async fn look(&mut self) -> Result<(), Status> {
        let (resources, revision) = self.list().await?;
        let found = Model::read(&resources);
        if found == self.model || self.judge.knows(&found) {
            self.model = found;
            self.revision = Some(revision);
            return Ok(());
        }
        if self.model.is_empty() {
            self.revision = Some(revision);
            return Ok(());
        }
        let (all, change) = (self.model.clone(), self.model.all());
        self.write(all, change, revision).await
    }

    async fn list(&mut self) -> Result<(Vec<wire::Resource>, u64), Status> {
        let mut resources = Vec::new();
        let mut revisions = Vec::new();
        for kind in [wire::Kind::Node, wire::Kind::Service] {
            let request = wire::ListRequest {
                kind: kind.into(),
                ..wire::ListRequest::default()
            };
            let call = async move |mut client: Client| client.list(request).await;
            let listed = self.call(call).await?;
            resources.extend(listed.resources);
            revisions.push(listed.revision);
        }
        if revisions[0] != revisions[1] {
            return Err(Status::aborted("something changed meanwhile"));
        }
        Ok((resources, revisions[0]))
    }

    /// Says whether every node is as wanted, and lets go what one holds back.
    async fn settled(&mut self) -> Result<bool, Status> {
        if self.revision.is_none() {
            self.look().await?;
            return Ok(false);
        }
        let request = wire::NodeStatusRequest::default();
        let call = async move |mut client: Client| {
            let mut states = client.node_status(request).await?.into_inner();
            let first = states.message().await?;
            Ok(Response::new(first.unwrap_or_default()))
        };
        let nodes = self.call(call).await?.nodes;
        for held in nodes.iter().filter(|node| node.hold.is_some()) {
            let name = held.name.clone();
            let request = wire::ReleaseNodeRequest { name };
            let call = async move |mut client: Client| client.release_node(request).await;
            self.call(call).await?;
        }
        let there = |node: &NodeState| {
            node.connected
                && node.accepted_generation == node.wanted_generation
                && node.converged_generation == node.wanted_generation
                && node.failure_count == 0
                && node.hold.is_none()
                && node.degraded.is_none()
                && node.drain_count == 0
        };
        if nodes.len() < NODES.len() || !nodes.iter().all(there) {
            let away = nodes.iter().find(|node| !there(node));
            self.judge
                .note(format_args!("operator: waits for {away:?}"));
            return Ok(false);
        }
        let (resources, _) = self.list().await?;
        let found = Model::read(&resources);
        if !self.judge.knows(&found) {
            self.judge
                .violated("the controller has what nobody asked for".to_owned());
        }
        Ok(self.judge.wrong(&found).is_none())
    }

    async fn call<T, F>(&mut self, call: impl FnOnce(Client) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let client = self.client.clone();
        let called = timeout(PATIENCE, async {
            let client = match client {
                Some(client) => client,
                None => {
                    let channel = Wire.connect().await;
                    OperatorClient::new(channel.map_err(|error| Status::from_error(error.into()))?)
                }
            };
            let response = call(client.clone()).await?;
            Ok((client, response.into_inner()))
        });
        let called = called.await;
        let (client, answer) =
            called.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")))?;
        self.client = Some(client);
        Ok(answer)
    }
}
