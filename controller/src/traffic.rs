//! The one task that adds up what passes: beside the one that owns the cluster, which no report slows.
//!
//! It watches the cluster as any client does, so that it knows what is placed, and takes what is placed before what is told: a
//! node tells of nothing that its controller has not written. When nobody is left who tells or asks, it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};
use weir_proto::model::{Kind, NodeName, Revision, ServiceName};

use crate::cluster::{Cluster, Entry, Refusal, Stopped, Watching};
use crate::desired::{Passing, Report, RollUp, TrafficQuery, reference};

/// How many reports and questions may wait. Who comes later waits at the channel's door: reports of a thousand nodes come
/// every few seconds, and one of a thousand backends takes less than a millisecond.
const WAITING: usize = 64;
/// How often what is old is forgotten: a sixth of the time for which it is known.
const AGE_EVERY: Duration = Duration::from_secs(5);

/// What tells and asks the task.
#[derive(Debug, Clone)]
pub(crate) struct Traffic {
    commands: mpsc::Sender<Command>,
}

#[derive(Debug)]
enum Command {
    Report(Report),
    Hear(NodeName),
    Ask {
        query: TrafficQuery,
        answer: oneshot::Sender<Result<Passing, Vec<ServiceName>>>,
    },
}

/// What the task owns.
struct Owner {
    cluster: Cluster,
    roll_up: RollUp,
    begun: Instant,
}

impl Traffic {
    /// Starts the task that adds up what passes through a cluster.
    pub(crate) fn start(cluster: Cluster) -> Self {
        let (commands, inbox) = mpsc::channel(WAITING);
        let owner = Owner {
            cluster,
            roll_up: RollUp::default(),
            begun: Instant::now(),
        };
        tokio::spawn(owner.run(inbox));
        Self { commands }
    }

    /// Passes on what a node counted in an interval that ends now.
    pub(crate) async fn report(&self, report: Report) -> Result<(), Stopped> {
        let sent = self.commands.send(Command::Report(report)).await;
        sent.map_err(|_| Stopped)
    }

    /// Passes on that a node is there, and has nothing to tell.
    pub(crate) async fn hear(&self, node: NodeName) -> Result<(), Stopped> {
        let sent = self.commands.send(Command::Hear(node)).await;
        sent.map_err(|_| Stopped)
    }

    /// Gives what passes.
    pub(crate) async fn passing(&self, query: TrafficQuery) -> Result<Passing, Refusal> {
        let (answer, answered) = oneshot::channel();
        let sent = self.commands.send(Command::Ask { query, answer }).await;
        sent.map_err(|_| Stopped)?;
        let passing = answered.await.map_err(|_| Stopped)?;
        passing.map_err(|missing| {
            let missing = missing.iter();
            let missing = missing.map(|name| reference(Kind::Service, name.as_str()));
            Refusal::NotFound(missing.collect())
        })
    }
}

impl Owner {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let Ok(mut live) = self.place_all().await else {
            return;
        };
        let mut ages = interval(AGE_EVERY);
        ages.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // in this order: what is told is of what was placed before
            tokio::select! {
                biased;
                changed = live.recv() => match changed {
                    Ok(entry) => self.place(&entry),
                    Err(RecvError::Lagged(_)) => match self.place_all().await {
                        Ok(again) => live = again,
                        Err(_) => return,
                    },
                    Err(RecvError::Closed) => return,
                },
                _ = ages.tick() => self.roll_up.age(self.now()),
                command = inbox.recv() => match command {
                    Some(command) => self.serve(command),
                    None => return,
                },
            }
        }
    }

    /// Takes note of all that is placed. Gives a channel of what changes from there on.
    async fn place_all(&mut self) -> Result<broadcast::Receiver<Arc<Entry>>, Refusal> {
        let Watching { past, live } = self.cluster.watch(Revision(0)).await?;
        let events = past.iter().flat_map(|entry| &entry.events);
        let all = events.filter_map(|event| {
            let stored = event.resource.clone()?;
            Some((event.reference.clone(), stored))
        });
        self.roll_up.place_all(all.collect());
        Ok(live)
    }

    fn place(&mut self, entry: &Entry) {
        for event in &entry.events {
            self.roll_up.place(&event.reference, event.resource.clone());
        }
    }

    fn serve(&mut self, command: Command) {
        match command {
            Command::Report(report) => self.roll_up.report(&report, self.now()),
            Command::Hear(node) => self.roll_up.hear(&node, self.now()),
            Command::Ask { query, answer } => {
                // whoever no longer waits for an answer gets none
                let _ = answer.send(self.roll_up.passing(&query));
            }
        }
    }

    /// Gives the milliseconds since it began, which no clock that is set changes.
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
