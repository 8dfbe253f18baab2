//! The agents' streams.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tonic::{Code, Request, Status};
use tracing::{Instrument as _, Span, warn};
use weir_proto::convert::{
    Hello, degraded_from_wire, digest_from_wire, failure_from_wire, hello_from_wire,
    hold_from_wire, progress_from_wire, repair_from_wire,
};
use weir_proto::model::{Generation, Identity, ItemFailure, NodeName, Refused};
use weir_proto::wire;
use weir_proto::wire::ErrorReason;
use weir_proto::wire::sync_request::Message;

use super::caller::{caller, denied};
use super::due::{Due, PATIENCE};
use super::ending::{certificate, expired, expires};
use super::heard::Heard;
use super::questions::Questions;
use super::status::{controller_stops, invalid, refusal, status};
use super::stopped;
use super::telling::{Begun, Teller, Telling, dropped};
use super::woken::Woken;
use crate::cluster::{Cluster, Said, SessionId};
use crate::desired::{MOST_FAILURES, MOST_REPAIRS, Rejected, RejectedReason};

/// Hello is the first thing an agent says; it has it ready when it connects.
const HELLO_PATIENCE: Duration = Duration::from_secs(10);
/// How long the end of a connection may take to be known by both of its halves.
const AFTERMATH: Duration = Duration::from_millis(100);

/// How many messages of an agent are passed on together: it mostly says with one breath that it has taken an update and that its
/// kernel holds it.
const MOST_AT_ONCE: usize = 2;

/// After how many turns of hearing an agent everything else is asked before it.
const MOST_IN_TURN: u32 = 16;

/// How many drains an agent names at most, as node.proto says.
const MOST_DRAINS: usize = 1_000;

/// Serves agents.
#[derive(Debug)]
pub(super) struct NodeSyncService {
    cluster: Cluster,
    stopping: watch::Receiver<bool>,
}

/// The half of one agent's stream in which it is heard; the other one is [`Telling`].
struct Stream<R> {
    cluster: Cluster,
    requests: R,
    /// How the other half begins; none: it has begun.
    begin: Option<oneshot::Sender<Begun>>,
    /// Whose certificate it came with, and until when that is valid.
    who: Identity,
    expires_unix_ms: Option<u64>,
    due: Due,
    /// Which generation was said to be durable on the node last, and when, until it is said to be in its kernel.
    durable: Option<(Generation, Instant)>,
    questions: Questions,
}

/// What an agent says, message by message.
trait Requests: Send {
    fn next(&mut self) -> impl Future<Output = Result<Option<wire::SyncRequest>, Status>> + Send;
}

/// Why a stream ended.
#[derive(Debug)]
enum End {
    Closed,
    Lost(Status),
    Unreadable(Status),
    Unread,
    Unanswered,
    /// The certificate that it came with, of whom that says.
    Expired(Identity),
    /// The cluster no longer has it.
    Dropped,
}

impl NodeSyncService {
    /// Asks a cluster, until the controller stops.
    pub(super) fn new(cluster: Cluster, stopping: watch::Receiver<bool>) -> Self {
        Self { cluster, stopping }
    }

    /// Answers at once, before the agent has said anything: some clients wait for the answer to begin.
    pub(super) async fn sync(
        &self,
        request: Request<Heard>,
    ) -> Result<tonic::Response<Telling>, Status> {
        let (teller, telling) = Telling::new(self.cluster.metrics());
        let Teller {
            begin,
            mut end,
            due,
            questions,
        } = teller;
        let stream = Stream {
            cluster: self.cluster.clone(),
            who: caller(&request)?,
            expires_unix_ms: certificate(&request).map(|shown| shown.expires_unix_ms),
            requests: request.into_inner(),
            begin: Some(begin),
            due,
            durable: None,
            questions,
        };
        let stopping = self.stopping.clone();
        let serving = async move {
            let mut stops = Woken::new(stopped(stopping));
            let ended = tokio::select! {
                biased;
                ended = stream.run(&mut end) => ended,
                () = stops.next() => Err(controller_stops()),
            };
            if let Err(status) = ended {
                // one that is gone needs no reason
                let _ = end.send(status);
            }
        };
        tokio::spawn(serving.instrument(Span::current()));
        Ok(tonic::Response::new(telling))
    }
}

impl Requests for Heard {
    async fn next(&mut self) -> Result<Option<wire::SyncRequest>, Status> {
        Heard::next(self).await
    }
}

impl<R: Requests> Stream<R> {
    /// Hears the agent until its stream ends; `end` is closed when nothing can be sent to it any more.
    async fn run(mut self, end: &mut oneshot::Sender<Status>) -> Result<(), Status> {
        // what happens once or seldom is in a box: it takes no memory while an agent is only connected
        let hello = Box::pin(self.hello()).await?;
        let node = hello.node.name.clone();
        // before anything of the node is looked at: nobody else learns that it is there
        speaks_for(&self.who, &node)?;
        let session = Box::pin(self.cluster.hello(hello));
        let session = session.await.map_err(refusal)?;
        let cluster = self.cluster.clone();
        if let Some(expires_unix_ms) = self.expires_unix_ms {
            let said = Said::Certificate { expires_unix_ms };
            let said = cluster.said(node.clone(), session.id, vec![said]);
            let _ = Box::pin(said).await;
        }
        if let Some(begin) = self.begin.take() {
            let begun = Begun {
                node: node.clone(),
                outbox: session.outbox,
                calls: session.calls,
            };
            // one that is gone is seen to be
            let _ = begin.send(begun);
        }
        let ended = self.converse(&node, session.id, end).await;
        // whoever waits for what the agent would answer is not kept
        drop(self.questions);
        // an error says that the controller stops, and nobody keeps count any more
        let gone = cluster.said(node, session.id, vec![Said::Gone(ended.to_string())]);
        let _ = Box::pin(gone).await;
        ended.into_status().map_or(Ok(()), Err)
    }

    async fn hello(&mut self) -> Result<Hello, Status> {
        let first = timeout(HELLO_PATIENCE, self.requests.next()).await;
        let first = first.map_err(|_| silent("no hello within 10 s"))??;
        match first.and_then(|request| request.message) {
            Some(Message::Hello(hello)) => {
                hello_from_wire(hello).map_err(|errors| invalid(&errors))
            }
            _ => Err(unreadable("hello: missing, and it comes first")),
        }
    }

    async fn converse(
        &mut self,
        node: &NodeName,
        session: SessionId,
        end: &mut oneshot::Sender<Status>,
    ) -> End {
        let (due, who, until) = (self.due.clone(), self.who.clone(), self.expires_unix_ms);
        let mut ends = Woken::new(async {
            tokio::select! {
                () = overdue(&due) => None,
                () = expires(until) => Some(End::Expired(who)),
                () = end.closed() => Some(End::Closed),
            }
        });
        let mut heard = 0;
        loop {
            // it is mostly woken because the agent says something; the rest is asked whenever that is all for now, and now and
            // then beside it, so that who talks all the time still answers in time
            let goes_on = tokio::select! {
                biased;
                request = self.requests.next(), if heard < MOST_IN_TURN => {
                    heard += 1;
                    match request {
                        Ok(Some(request)) => self.hear(node, session, request).await,
                        Ok(None) => Err(End::Closed),
                        Err(status) => Err(End::Lost(status)),
                    }
                }
                end = ends.next() => Err(match end {
                    None => self.stalled(),
                    Some(End::Closed) => Box::pin(self.lost()).await,
                    Some(end) => end,
                }),
                () = std::future::ready(()), if heard == MOST_IN_TURN => {
                    heard = 0;
                    Ok(())
                }
            };
            if let Err(end) = goes_on {
                return end;
            }
        }
    }

    /// Passes on what an agent says, and what has come with it.
    async fn hear(
        &mut self,
        node: &NodeName,
        session: SessionId,
        first: wire::SyncRequest,
    ) -> Result<(), End> {
        let mut first = Some(first);
        // it waits for nothing: with it done at once, no agent's task has room for how far it is
        let gather = |cx: &mut Context<'_>| Poll::Ready(self.gather(node, first.take(), cx));
        let (all, goes_on) = poll_fn(gather).await;
        self.note(&all);
        if !all.is_empty() {
            let said = self.cluster.said(node.clone(), session, all).await;
            said.map_err(|_| End::Dropped)?;
        }
        goes_on
    }

    /// Reads what an agent says, and what has come with it.
    fn gather(
        &mut self,
        node: &NodeName,
        first: Option<wire::SyncRequest>,
        cx: &mut Context<'_>,
    ) -> (Vec<Said>, Result<(), End>) {
        let mut all = Vec::with_capacity(MOST_AT_ONCE);
        let mut next = first;
        let mut heard = 0;
        while let Some(request) = next {
            heard += 1;
            let Some(request) = self.questions.answered(request) else {
                break;
            };
            match said(request) {
                Ok(Some(said)) => all.push(said),
                Ok(None) => warn!(%node, "an agent says what this version does not know"),
                Err(status) => {
                    warn!(%node, error = status.message(), "an agent says what cannot be read");
                    return (all, Err(End::Unreadable(status)));
                }
            }
            if heard == MOST_AT_ONCE {
                break;
            }
            next = match self.at_hand(cx) {
                Ok(next) => next,
                Err(end) => return (all, Err(end)),
            };
        }
        (all, Ok(()))
    }

    /// Takes note of what answers what was sent. What is said again of what was held before answers nothing.
    fn note(&mut self, all: &[Said]) {
        let stages = self.cluster.metrics().stages();
        for said in all {
            match said {
                Said::Accepted { generation, .. } => {
                    if let Some(sent) = self.due.answered(*generation) {
                        let now = Instant::now();
                        stages.delivered(now - sent);
                        self.durable = Some((*generation, now));
                    }
                }
                Said::Rejected(Rejected { generation, .. }) => {
                    self.due.answered(*generation);
                }
                Said::Converged { generation, .. } => {
                    if let Some((_, since)) = self.durable.take_if(|(it, _)| it == generation) {
                        stages.acknowledged(since.elapsed());
                    }
                }
                Said::Condition { .. }
                | Said::Drains { .. }
                | Said::Repairs { .. }
                | Said::Certificate { .. }
                | Said::Gone(_) => {}
            }
        }
    }

    /// Gives what an agent says if it is there already.
    fn at_hand(&mut self, cx: &mut Context<'_>) -> Result<Option<wire::SyncRequest>, End> {
        match pin!(self.requests.next()).poll(cx) {
            Poll::Ready(Ok(Some(request))) => Ok(Some(request)),
            Poll::Ready(Ok(None)) => Err(End::Closed),
            Poll::Ready(Err(status)) => Err(End::Lost(status)),
            Poll::Pending => Ok(None),
        }
    }

    /// Says what kept the agent from answering.
    fn stalled(&self) -> End {
        match self.due.is_unread() {
            true => End::Unread,
            false => End::Unanswered,
        }
    }

    /// Finds out why the agent can be sent nothing any more: what it sends ends for the same reason.
    async fn lost(&mut self) -> End {
        let ended = timeout(AFTERMATH, async {
            loop {
                match self.requests.next().await {
                    Ok(Some(_)) => {}
                    Ok(None) => break None,
                    Err(status) => break Some(status),
                }
            }
        });
        match ended.await {
            Ok(Some(status)) => End::Lost(status),
            Ok(None) | Err(_) => End::Closed,
        }
    }
}

impl End {
    /// Gives what the agent is told; none: it ended the stream itself, or cannot be told.
    fn into_status(self) -> Option<Status> {
        match self {
            Self::Closed | Self::Lost(_) => None,
            Self::Unreadable(status) => Some(status),
            Self::Unread | Self::Unanswered => Some(silent(format!("this agent {self}"))),
            Self::Expired(who) => Some(expired(&who)),
            Self::Dropped => Some(dropped()),
        }
    }
}

/// As NodeState.disconnection has it.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("its stream ended"),
            Self::Lost(status) => write!(f, "the connection was lost: {}", status.message()),
            Self::Unreadable(status) => {
                write!(f, "said what cannot be read: {}", status.message())
            }
            Self::Unread => write!(f, "did not read for {} s", PATIENCE.as_secs()),
            Self::Unanswered => {
                write!(f, "did not answer an update for {} s", PATIENCE.as_secs())
            }
            Self::Expired(_) => f.write_str("its certificate expired"),
            Self::Dropped => f.write_str("updates were accepted before they were read"),
        }
    }
}

/// Waits until something that is due was not done.
async fn overdue(due: &Due) {
    let mut look = Instant::now() + PATIENCE;
    loop {
        // armed once in a while, not with each update: an answer never has less time than it must
        sleep_until(look).await;
        let now = Instant::now();
        look = due.by().unwrap_or(now + PATIENCE);
        if look <= now {
            return;
        }
    }
}

/// Says that an agent is not heard, or does not hear.
fn silent(message: impl Into<String>) -> Status {
    status(
        (Code::DeadlineExceeded, ErrorReason::AgentSilent),
        message,
        [],
    )
}

/// Says that what an agent says cannot be read.
fn unreadable(message: impl Into<String>) -> Status {
    status(
        (Code::InvalidArgument, ErrorReason::MessageInvalid),
        message,
        [],
    )
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
        Some(Message::Accepted(accepted)) => read_accepted(accepted),
        Some(Message::Converged(converged)) => read_converged(converged),
        Some(Message::Rejected(rejected)) => Said::Rejected(read_rejected(rejected)?),
        Some(Message::Condition(wire::Condition { hold, degraded })) => Said::Condition {
            hold: hold.map(hold_from_wire),
            degraded: degraded.map(degraded_from_wire),
        },
        Some(Message::Drains(drains)) => read_drains(&drains),
        Some(Message::Repairs(repairs)) => read_repairs(repairs),
        // passed on before, to whoever asked
        Some(Message::Answer(_)) => return Ok(None),
        Some(Message::Hello(_)) => return Err(unreadable("hello: it is said once")),
        None => return Ok(None),
    };
    Ok(Some(said))
}

/// Reads what a node has taken.
fn read_accepted(accepted: wire::Accepted) -> Said {
    let wire::Accepted {
        generation,
        refused,
        refused_count,
    } = accepted;
    let count = refused_count.max(refused.len() as u64);
    Said::Accepted {
        generation: Generation(generation),
        refused: read_failures(refused, "accepted.refused"),
        refused_count: count,
    }
}

/// Reads a verdict.
fn read_converged(converged: wire::Converged) -> Said {
    let wire::Converged {
        generation,
        failures,
        failure_count,
    } = converged;
    let count = failure_count.max(failures.len() as u64);
    Said::Converged {
        generation: Generation(generation),
        failures: read_failures(failures, "converged.failures"),
        failure_count: count,
    }
}

/// Reads failures. One that cannot be read still counts: it does not cut the stream that all others come by.
fn read_failures(failures: Vec<wire::ItemFailure>, path: &str) -> Vec<ItemFailure> {
    let mut read = Vec::with_capacity(failures.len().min(MOST_FAILURES));
    for (place, failure) in failures.into_iter().take(MOST_FAILURES).enumerate() {
        match failure_from_wire(failure, &format!("{path}[{place}]")) {
            Ok(failure) => read.push(failure),
            Err(errors) => warn!(%errors, "a failure cannot be read"),
        }
    }
    read
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
    let bad = |path: &str, problem: Refused| unreadable(format!("rejected.{path}: {problem}"));
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

#[cfg(test)]
mod tests;
