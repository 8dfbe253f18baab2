//! The agents' streams.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};
use tracing::{Instrument as _, Span, warn};
use weir_proto::convert::{
    Hello, degraded_from_wire, digest_from_wire, failure_from_wire, hello_from_wire,
    hold_from_wire, progress_from_wire, repair_from_wire,
};
use weir_proto::model::{Generation, Identity, NodeName, Refused};
use weir_proto::tls::{Peer, Proof};
use weir_proto::wire;
use weir_proto::wire::node_sync_server::NodeSync;
use weir_proto::wire::sync_request::Message;
use weir_proto::wire::sync_response::Message as Response;

use super::caller::{caller, denied};
use super::chunks::Chunks;
use super::status::{invalid, refusal};
use super::stopped;
use crate::cluster::{Cluster, Outgoing, Said, SessionId};
use crate::desired::{MOST_FAILURES, MOST_REPAIRS, Rejected, RejectedReason};

/// Hello is the first thing an agent says; it has it ready when it connects.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);
/// One chunk is on its way while the next is made.
const CHUNKS: usize = 1;

/// How many drains an agent names at most, as node.proto says.
const MOST_DRAINS: usize = 1_000;

/// Serves agents.
#[derive(Debug)]
pub(super) struct NodeSyncService {
    cluster: Cluster,
    stopping: watch::Receiver<bool>,
}

/// One agent's stream.
struct Stream {
    cluster: Cluster,
    requests: Streaming<wire::SyncRequest>,
    answers: Answers,
    /// Whose certificate it came with, and until when that is valid.
    who: Identity,
    expires_unix_ms: Option<u64>,
}

type Answers = mpsc::Sender<Result<wire::SyncResponse, Status>>;

impl NodeSyncService {
    /// Asks a cluster, until the controller stops.
    pub(super) fn new(cluster: Cluster, stopping: watch::Receiver<bool>) -> Self {
        Self { cluster, stopping }
    }
}

#[tonic::async_trait]
impl NodeSync for NodeSyncService {
    type SyncStream = ReceiverStream<Result<wire::SyncResponse, Status>>;

    /// Answers at once, before the agent has said anything: some clients wait for the answer to begin.
    async fn sync(
        &self,
        request: Request<Streaming<wire::SyncRequest>>,
    ) -> Result<tonic::Response<Self::SyncStream>, Status> {
        let (answers, responses) = mpsc::channel(CHUNKS);
        let stream = Stream {
            cluster: self.cluster.clone(),
            who: caller(&request),
            expires_unix_ms: expires_unix_ms(&request),
            requests: request.into_inner(),
            answers: answers.clone(),
        };
        let stopping = self.stopping.clone();
        let serving = async move {
            let end = tokio::select! {
                end = stream.run() => end,
                () = stopped(stopping) => Err(Status::unavailable("the controller is stopping")),
            };
            if let Err(status) = end {
                let _ = answers.send(Err(status)).await;
            }
        };
        tokio::spawn(serving.instrument(Span::current()));
        Ok(tonic::Response::new(ReceiverStream::new(responses)))
    }
}

impl Stream {
    async fn run(mut self) -> Result<(), Status> {
        let hello = self.hello().await?;
        let node = hello.node.name.clone();
        // before anything of the node is looked at: nobody else learns that it is there
        speaks_for(&self.who, &node)?;
        let session = self.cluster.hello(hello).await.map_err(refusal)?;
        let cluster = self.cluster.clone();
        if let Some(expires_unix_ms) = self.expires_unix_ms {
            let said = Said::Certificate { expires_unix_ms };
            let _ = cluster.said(node.clone(), session.id, said).await;
        }
        let ended = self.converse(&node, session.id, session.outbox).await;
        // an error says that the controller stops, and nobody keeps count any more
        let _ = cluster.said(node, session.id, Said::Gone).await;
        ended
    }

    async fn hello(&mut self) -> Result<Hello, Status> {
        let first = timeout(HELLO_PATIENCE, self.requests.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no hello within 10 s"))??;
        match first.and_then(|request| request.message) {
            Some(Message::Hello(hello)) => {
                hello_from_wire(hello).map_err(|errors| invalid(&errors))
            }
            _ => Err(Status::invalid_argument(
                "hello: missing, and it comes first",
            )),
        }
    }

    async fn converse(
        mut self,
        node: &NodeName,
        session: SessionId,
        mut outbox: mpsc::Receiver<Outgoing>,
    ) -> Result<(), Status> {
        loop {
            tokio::select! {
                request = self.requests.message() => {
                    let Ok(Some(request)) = request else {
                        return Ok(());
                    };
                    let said = match said(request) {
                        Ok(Some(said)) => said,
                        Ok(None) => {
                            warn!(%node, "an agent says what this version does not know");
                            continue;
                        }
                        Err(status) => {
                            warn!(%node, error = status.message(), "an agent says what cannot be read");
                            return Err(status);
                        }
                    };
                    if self.cluster.said(node.clone(), session, said).await.is_err() {
                        return Ok(());
                    }
                }
                outgoing = outbox.recv() => match outgoing {
                    Some(Outgoing::Update { update, beside }) => {
                        if !self.send(Chunks::new(update, beside).map(Response::Update)).await {
                            return Ok(());
                        }
                    }
                    Some(Outgoing::Release(Generation(generation))) => {
                        let release = wire::Release { generation };
                        if !self.send([Response::Release(release)]).await {
                            return Ok(());
                        }
                    }
                    Some(Outgoing::Replaced) => {
                        return Err(Status::aborted(format!("another stream of {node} took the place of this one")));
                    }
                    Some(Outgoing::Deleted) => {
                        return Err(Status::aborted(format!("{node} was deleted; it registers again with its next hello")));
                    }
                    None => {
                        return Err(Status::aborted("updates were accepted before they were read, or the controller stops"));
                    }
                },
                () = self.answers.closed() => return Ok(()),
            }
        }
    }

    /// Says whether the agent still reads.
    async fn send(&self, messages: impl IntoIterator<Item = Response>) -> bool {
        for message in messages {
            let message = Some(message);
            let response = wire::SyncResponse { message };
            if self.answers.send(Ok(response)).await.is_err() {
                return false;
            }
        }
        true
    }
}

fn expires_unix_ms<T>(request: &Request<T>) -> Option<u64> {
    match &request.extensions().get::<Peer>()?.proof {
        Proof::Shown(certificate) => Some(certificate.expires_unix_ms),
        Proof::Unasked | Proof::Missing => None,
    }
}

/// Refuses somebody who speaks for another node than their certificate names.
pub(super) fn speaks_for(who: &Identity, node: &NodeName) -> Result<(), Status> {
    if who.is_node(node) {
        return Ok(());
    }
    warn!(target: "audit", %who, %node, "refused to speak for a node");
    let needed = format!("the certificate of node/{node}");
    Err(denied("to speak for it", &needed, who))
}

/// Reads what an agent says; none: it is of a kind that only a later version knows, and which no node depends on.
fn said(request: wire::SyncRequest) -> Result<Option<Said>, Status> {
    let said = match request.message {
        Some(Message::Accepted(wire::Accepted {
            generation,
            refused: _,
            refused_count: _,
        })) => Said::Accepted(Generation(generation)),
        Some(Message::Converged(converged)) => read_converged(converged),
        Some(Message::Rejected(rejected)) => Said::Rejected(read_rejected(rejected)?),
        Some(Message::Condition(wire::Condition { hold, degraded })) => Said::Condition {
            hold: hold.map(hold_from_wire),
            degraded: degraded.map(degraded_from_wire),
        },
        Some(Message::Drains(drains)) => read_drains(&drains),
        Some(Message::Repairs(repairs)) => read_repairs(repairs),
        Some(Message::Hello(_)) => return Err(Status::invalid_argument("hello: it is said once")),
        None => return Ok(None),
    };
    Ok(Some(said))
}

/// Reads a verdict. A failure that cannot be read still counts: it does not cut the stream that all others
/// come by.
fn read_converged(converged: wire::Converged) -> Said {
    let wire::Converged {
        generation,
        failures,
        failure_count,
    } = converged;
    let failure_count = failure_count.max(failures.len() as u64);
    let mut read = Vec::with_capacity(failures.len().min(MOST_FAILURES));
    for (place, failure) in failures.into_iter().take(MOST_FAILURES).enumerate() {
        match failure_from_wire(failure, &format!("converged.failures[{place}]")) {
            Ok(failure) => read.push(failure),
            Err(errors) => warn!(%errors, "a failure cannot be read"),
        }
    }
    Said::Converged {
        generation: Generation(generation),
        failures: read,
        failure_count,
    }
}

/// Reads how far drains are. One that cannot be read still counts, if it is under way.
fn read_drains(drains: &wire::Drains) -> Said {
    let wire::Drains { drains, count } = drains;
    let under_way = drains.iter().filter(|drain| !drain.done).count();
    let count = (*count).max(under_way as u64);
    let mut read = Vec::with_capacity(drains.len().min(MOST_DRAINS));
    for (place, drain) in drains.iter().take(MOST_DRAINS).enumerate() {
        match progress_from_wire(drain, &format!("drains.drains[{place}]")) {
            Ok(drain) => read.push(drain),
            Err(errors) => warn!(%errors, "a drain cannot be read"),
        }
    }
    Said::Drains {
        drains: read,
        count,
    }
}

/// Reads what was repaired. A repair that is named counts, whether or not its kind says so.
fn read_repairs(repairs: wire::Repairs) -> Said {
    let wire::Repairs {
        repairs,
        mut counts,
    } = repairs;
    let mut named: BTreeMap<&str, u64> = BTreeMap::new();
    for repair in &repairs {
        *named.entry(&repair.kind).or_default() += 1;
    }
    for (kind, count) in named {
        let counted = counts.entry(kind.to_owned()).or_default();
        *counted = count.max(*counted);
    }
    let older = repairs.len().saturating_sub(MOST_REPAIRS);
    let last = repairs.into_iter().skip(older);
    Said::Repairs {
        repairs: last.map(repair_from_wire).collect(),
        counts,
    }
}

fn read_rejected(rejected: wire::Rejected) -> Result<Rejected, Status> {
    use wire::rejected::Reason;
    let bad = |path: &str, problem: Refused| {
        Status::invalid_argument(format!("rejected.{path}: {problem}"))
    };
    let number = rejected.reason;
    let reason = match Reason::try_from(number) {
        Ok(Reason::Stale) => RejectedReason::Stale,
        Ok(Reason::Conflict) => RejectedReason::Conflict,
        Ok(Reason::Base) => RejectedReason::Base,
        Ok(Reason::Digest) => RejectedReason::Digest,
        Ok(Reason::Invalid) => RejectedReason::Invalid,
        Ok(Reason::Journal) => RejectedReason::Journal,
        Ok(Reason::Unspecified) => return Err(bad("reason", Refused::Missing)),
        Err(_) => {
            // of a later version; that it was not taken is what counts, and the cause says why
            warn!(
                number,
                "an agent has a reason that this version does not know"
            );
            RejectedReason::Invalid
        }
    };
    let held = match rejected.held_generation {
        0 => None,
        generation => {
            let digest = digest_from_wire(&rejected.held_digest);
            let digest = digest.map_err(|problem| bad("held_digest", problem))?;
            Some((Generation(generation), digest))
        }
    };
    Ok(Rejected {
        generation: Generation(rejected.generation),
        reason,
        cause: rejected.cause,
        held,
    })
}
