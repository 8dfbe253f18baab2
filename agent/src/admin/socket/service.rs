//! Answers who asks over the socket.

use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};
use tonic::{Request, Response, Status};
use weir_proto::convert::{capability_to_wire, degraded_to_wire, hold_to_wire, progress_to_wire};
use weir_proto::model::OBJECT_KINDS;
use weir_proto::wire;
use weir_proto::wire::agent_server::Agent;

use super::recent::Recent;
use super::told::{self, IN_ONE};
use super::{Told, status};
use crate::clock::now_unix_ms;
use crate::plan::VERSION;
use crate::reconciler::{Ask, Standing};
use crate::session::Contact;

/// A pass over 10,000 services takes seconds on a slow machine, and one may be under way.
const PATIENCE: Duration = Duration::from_secs(30);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service.
#[derive(Debug, Clone)]
pub(super) struct AgentService {
    told: Told,
    recent: watch::Receiver<Recent>,
}

impl AgentService {
    pub(super) fn new(told: Told, recent: watch::Receiver<Recent>) -> Self {
        Self { told, recent }
    }

    /// Asks how the node stands.
    async fn standing(&self, kernel: bool) -> Result<Standing, Status> {
        let asks = self.told.asks.as_ref().ok_or_else(status::journal_closed)?;
        let (answer, told) = oneshot::channel();
        let ask = Ask::Standing { kernel, answer };
        let asked = async {
            asks.send(ask).await.map_err(|_| status::stopping())?;
            let told = told.await.map_err(|_| status::stopping())?;
            told.map_err(status::kernel_unreadable)
        };
        timeout(PATIENCE, asked).await.map_err(|_| status::late())?
    }

    /// Tells everything but items.
    fn head(&self) -> wire::AgentState {
        let sources = &self.told.sources;
        let link = sources.link.borrow().clone();
        let status = sources.status.borrow().clone();
        let drains = self.told.drains.borrow().clone();
        let now = now_unix_ms();
        wire::AgentState {
            node: self.told.identity.node.name.to_string(),
            agent_version: VERSION.to_owned(),
            now_unix_ms: now,
            accepted_generation: link.accepted.0,
            converged_generation: status.converged.0,
            served_generation: 0,
            settled: status.settled,
            contact: Some(wire::AgentContact {
                controller: self.told.controller.clone(),
                connected: link.contact.is_now(),
                heard_unix_ms: match link.contact {
                    Contact::Never => 0,
                    Contact::Now => now,
                    Contact::Until(then) => {
                        let ago = Instant::now().saturating_duration_since(then);
                        now.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))
                    }
                },
                disconnection: link.trouble,
            }),
            hold: link.hold.as_ref().map(hold_to_wire),
            degraded: sources.degraded.borrow().as_ref().map(degraded_to_wire),
            drains: drains.iter().take(IN_ONE).map(progress_to_wire).collect(),
            capabilities: self
                .told
                .identity
                .capabilities
                .iter()
                .map(capability_to_wire)
                .collect(),
            item_count: 0,
            failure_count: status.report.count,
            refused_count: link.refused,
            items: Vec::new(),
        }
    }
}

#[tonic::async_trait]
impl Agent for AgentService {
    type StateStream = Answers<wire::AgentState>;
    type KernelStream = Answers<wire::AgentKernel>;
    type LedgerStream = Answers<wire::AgentLedger>;
    type EventsStream = Answers<wire::AgentEvent>;

    async fn state(
        &self,
        request: Request<wire::AgentStateRequest>,
    ) -> Result<Response<Self::StateStream>, Status> {
        let wire::AgentStateRequest { failed_only } = request.into_inner();
        let mut head = self.head();
        let standing = match self.told.asks {
            Some(_) => self.standing(false).await?,
            // that the journal is closed is told in the head
            None => return Ok(all(vec![head])),
        };
        head.served_generation = standing.held.generation.0;
        head.item_count = standing.held.state.items().len() as u64;
        let mut parts = told::parts(told::items(&standing, failed_only));
        head.items = parts.next().unwrap_or_default();
        let rest = parts.map(|items| wire::AgentState {
            items,
            ..wire::AgentState::default()
        });
        Ok(all(std::iter::once(head).chain(rest).collect()))
    }

    async fn kernel(
        &self,
        request: Request<wire::AgentKernelRequest>,
    ) -> Result<Response<Self::KernelStream>, Status> {
        let asked = request.into_inner();
        let known = |kind: &str| OBJECT_KINDS.contains(&kind);
        let kinds = asked.kinds.iter().enumerate();
        let bad = kinds.filter(|(_, kind)| !known(kind)).map(|(place, kind)| {
            let kinds = OBJECT_KINDS.join(", ");
            let why = format!("{kind:?} is not a kind (there are {kinds})");
            (format!("kinds[{place}]"), why)
        });
        let bad: Vec<(String, String)> = bad.collect();
        if !bad.is_empty() {
            return Err(status::invalid(bad));
        }
        let standing = self.standing(true).await?;
        let parts = told::parts(told::objects(&standing, &asked));
        Ok(all(parts
            .map(|objects| wire::AgentKernel { objects })
            .collect()))
    }

    async fn ledger(
        &self,
        _: Request<wire::AgentLedgerRequest>,
    ) -> Result<Response<Self::LedgerStream>, Status> {
        let standing = self.standing(false).await?;
        Ok(all(told::ledger(&standing.ledger)))
    }

    async fn events(
        &self,
        request: Request<wire::AgentEventsRequest>,
    ) -> Result<Response<Self::EventsStream>, Status> {
        let wire::AgentEventsRequest { watch } = request.into_inner();
        let mut recent = self.recent.clone();
        let first = recent.borrow_and_update().since(0);
        let last = first.last().map_or(0, |it| it.sequence);
        let first = stream::iter(first.into_iter().map(|it| Ok(told::event(&it))));
        if !watch {
            return Ok(Response::new(Box::pin(first)));
        }
        let later = stream::unfold((recent, last), |(mut recent, last)| async move {
            // an error says that the agent ends
            recent.changed().await.ok()?;
            let news = recent.borrow_and_update().since(last);
            let last = news.last().map_or(last, |it| it.sequence);
            let news: Vec<_> = news.into_iter().map(|it| Ok(told::event(&it))).collect();
            Some((stream::iter(news), (recent, last)))
        });
        Ok(Response::new(Box::pin(first.chain(later.flatten()))))
    }
}

fn all<T: Send + 'static>(messages: Vec<T>) -> Response<Answers<T>> {
    Response::new(Box::pin(stream::iter(messages.into_iter().map(Ok))))
}
