//! Gathers what the page shows, at most once a second, however many look.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use weir_proto::machine::now_unix_ms;
use weir_proto::model::Kind;

use super::query::Query;
use super::seen::{Chosen, EVENTS, Gathered, Seen};
use crate::cluster::{Cluster, Refusal};
use crate::desired::{Stored, TrafficQuery};
use crate::traffic::Traffic;

/// What is younger is shown again: to list 10,000 services takes the cluster's task a millisecond.
const FRESH: Duration = Duration::from_secs(1);
/// How many may wait for the same answer.
const WAITING: usize = 64;

/// What asks the task that gathers.
#[derive(Debug, Clone)]
pub(crate) struct Gatherer {
    asks: mpsc::Sender<oneshot::Sender<Arc<Gathered>>>,
    traffic: Traffic,
}

/// What the task reads from.
struct Sources {
    cluster: Cluster,
    traffic: Traffic,
}

impl Gatherer {
    /// Starts the task. It ends when nobody is left who looks.
    pub(crate) fn start(cluster: Cluster, traffic: Traffic) -> Self {
        let (asks, inbox) = mpsc::channel(WAITING);
        let sources = Sources {
            cluster,
            traffic: traffic.clone(),
        };
        tokio::spawn(sources.run(inbox));
        Self { asks, traffic }
    }

    /// Gives what is asked for; none: the controller is stopping.
    pub(super) async fn look(&self, asked: &Query) -> Option<Seen> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(answer).await.ok()?;
        let gathered = answered.await.ok()?;
        let chosen = Chosen::of(&gathered, asked);
        // of the backends only those that are shown
        let query = TrafficQuery {
            services: chosen.services(),
            backends: true,
            nodes: false,
        };
        let passing = match query.services.as_slice() {
            [] => Vec::new(),
            // a service that went meanwhile has no backends, and the others' come with the next look
            _ => self
                .traffic
                .passing(query)
                .await
                .map_or_else(|_| Vec::new(), |passing| passing.backends),
        };
        Some(chosen.seen(&passing))
    }
}

impl Sources {
    async fn run(self, mut inbox: mpsc::Receiver<oneshot::Sender<Arc<Gathered>>>) {
        let mut last: Option<(Instant, Arc<Gathered>)> = None;
        while let Some(answer) = inbox.recv().await {
            let fresh = last.take().filter(|(when, _)| when.elapsed() < FRESH);
            let current = match fresh {
                Some(fresh) => Some(fresh),
                None => match self.gather().await {
                    Ok(gathered) => Some((Instant::now(), Arc::new(gathered))),
                    // the cluster is gone: whoever asked is told by the end of the channel
                    Err(_) => None,
                },
            };
            if let Some((_, gathered)) = &current {
                // whoever asked may have gone
                let _ = answer.send(Arc::clone(gathered));
            }
            last = current;
        }
    }

    async fn gather(&self) -> Result<Gathered, Refusal> {
        let services = self.all(Kind::Service).await?;
        let sets = self.all(Kind::BackendSet).await?;
        let statuses = self.cluster.statuses(Vec::new()).await?;
        let passing = self.traffic.passing(TrafficQuery::default()).await?;
        let mut events = self.cluster.events(0).await?.events;
        events.reverse();
        events.truncate(EVENTS);
        Ok(Gathered {
            at_unix_ms: now_unix_ms(),
            revision: statuses.revision,
            services,
            sets,
            nodes: statuses.nodes,
            passing,
            events,
        })
    }

    async fn all(&self, kind: Kind) -> Result<Vec<Arc<Stored>>, Refusal> {
        let page = self.cluster.list(kind, String::new(), usize::MAX).await?;
        Ok(page.resources)
    }
}
