//! The one task that owns the cluster: its resources, what every node must hold, and how far each node is.
//!
//! Everybody else holds a `Cluster`, which asks the task through one bounded channel. The task never waits
//! for any of them: an update goes into a channel that has room because only so many are under way, a
//! watcher that lags is dropped, and only the store is waited for, so that a write is durable before anybody
//! sees it.

mod drains;
mod events;
mod group;
mod lag;
mod log;
mod nodes;
mod owner;
mod questions;
mod refusal;
mod release;
mod rollout;
mod why;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use weir_proto::convert::Hello;
use weir_proto::model::{
    Canary, Degraded, DrainProgress, DrainTarget, DrainTerms, Frontend, Generation, Hold, Identity,
    ItemFailure, Kind, NodeName, Repair, Resource, ResourceRef, Revision, Steering,
};

use crate::desired::{
    Count, ListedDrain, NodeStatus, Outcome, Pace, Past, Places, Rejected, Rollout, Stored, Update,
};
use crate::metrics::Metrics;
use crate::store::{Saved, Store, StoreError};
use events::Bells;
pub(crate) use events::EventList;
use group::WriteCall;
pub(crate) use log::{Entry, Event};
pub(crate) use nodes::Behind;
use owner::Owner;
pub(crate) use questions::{Asking, Call, Inquired, Inquiry, Line};
pub(crate) use refusal::Refusal;
pub(crate) use why::{Known, KnownNode, WhyQuery};

/// How many commands may wait. Each agent waits for at most one answer, so this is the burst of a fleet that
/// reconnects at once; who comes later waits at the channel's door.
const WAITING_COMMANDS: usize = 1_024;

/// What asks the task that owns the cluster.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    commands: mpsc::Sender<Command>,
    bells: Arc<Bells>,
    // every stream holds one
    metrics: Arc<Metrics>,
}

/// The cluster's task is gone: the controller stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the controller is stopping")]
pub(crate) struct Stopped;

/// How a write is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WriteOptions {
    /// Who writes.
    pub(crate) who: Identity,
    /// Check and answer, and change nothing.
    pub(crate) dry_run: bool,
    /// Write only if this is the cluster's revision.
    pub(crate) expected: Option<Revision>,
    /// Nodes may take away more than half of what they serve.
    pub(crate) allow_mass_delete: bool,
    /// Bring it to the nodes step by step; none: to all at once.
    pub(crate) canary: Option<Canary>,
}

impl WriteOptions {
    /// A write by somebody, whatever the revision, that confirms nothing.
    pub(crate) fn by(who: Identity) -> Self {
        Self {
            who,
            ..Self::default()
        }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) revision: Revision,
    pub(crate) changes: Vec<(ResourceRef, Outcome)>,
    pub(crate) targets: Vec<(NodeName, Generation)>,
}

/// One page of the resources of a kind.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) resources: Vec<Arc<Stored>>,
    pub(crate) revision: Revision,
}

/// What a watcher gets: what happened so far, and a channel of what happens.
#[derive(Debug)]
pub(crate) struct Watching {
    pub(crate) past: Vec<Arc<Entry>>,
    pub(crate) live: broadcast::Receiver<Arc<Entry>>,
}

/// The states of some nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statuses {
    pub(crate) nodes: Vec<NodeStatus>,
    pub(crate) revision: Revision,
}

/// Every drain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DrainList {
    pub(crate) drains: Vec<ListedDrain>,
    pub(crate) revision: Revision,
}

/// The last rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RolloutState {
    /// None: there was none.
    pub(crate) rollout: Option<Rollout>,
    pub(crate) revision: Revision,
}

/// The last writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Histories {
    /// The newest first.
    pub(crate) writes: Vec<Arc<Past>>,
    pub(crate) revision: Revision,
}

/// One agent's stream.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// What to send, and at last why the stream ends.
    pub(crate) outbox: mpsc::Receiver<Outgoing>,
    /// What to ask.
    pub(crate) calls: mpsc::Receiver<Call>,
}

/// Tells the streams of one node apart: a later one has a greater number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionId(u64);

/// What goes with an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beside {
    /// Of the change that made it.
    pub(crate) traceparent: Arc<str>,
    /// Which cluster it is of.
    pub(crate) cluster: Arc<str>,
    /// An operator has confirmed that much may go.
    pub(crate) allow_mass_delete: bool,
    /// How far apart the node's answers may be; zero: it answers at once.
    pub(crate) answer_within: Duration,
}

/// What goes to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// In boxes: the channel to each agent has room for many.
    Update {
        update: Box<Update>,
        beside: Box<Beside>,
    },
    /// Holds up to this generation are over.
    Release(Generation),
    /// The stream ends: a later one of this node took its place.
    Replaced,
    /// The stream ends: the node was deleted; it registers again if it says hello again.
    Deleted,
}

/// What an agent says after its hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Accepted {
        generation: Generation,
        /// What of it the node does not take, and how much there is, which may be more than is named.
        refused: Vec<ItemFailure>,
        refused_count: u64,
    },
    Converged {
        generation: Generation,
        failures: Vec<ItemFailure>,
        failure_count: u64,
    },
    Rejected(Rejected),
    Condition {
        hold: Option<Hold>,
        degraded: Option<Degraded>,
    },
    Drains {
        drains: Vec<DrainProgress>,
        count: u64,
    },
    Repairs {
        repairs: Vec<Repair>,
        counts: BTreeMap<String, u64>,
    },
    /// Said by its certificate.
    Certificate {
        expires_unix_ms: u64,
    },
    /// The stream ended, and why.
    Gone(String),
}

type Answer<T> = oneshot::Sender<Result<T, Refusal>>;

/// In boxes what is large and seldom: most of what comes is what agents say.
enum Command {
    Apply {
        resources: Vec<Resource>,
        places: Places,
        options: Box<WriteOptions>,
        call: WriteCall,
        answer: Answer<Written>,
    },
    Delete {
        refs: Vec<ResourceRef>,
        options: Box<WriteOptions>,
        call: WriteCall,
        answer: Answer<Written>,
    },
    Rollback {
        to: Revision,
        options: Box<WriteOptions>,
        call: WriteCall,
        answer: Answer<Written>,
    },
    Steer {
        steering: Steering,
        /// The rollout that is meant; none: whichever it is.
        revision: Option<Revision>,
        who: Identity,
        call: WriteCall,
        answer: Answer<Written>,
    },
    Rollout {
        answer: Answer<RolloutState>,
    },
    Counted {
        node: NodeName,
        counts: BTreeMap<Frontend, Count>,
        interval_ms: u64,
    },
    Drain {
        targets: Vec<DrainTarget>,
        /// How; none: they are drained no longer.
        terms: Option<DrainTerms>,
        who: Identity,
        call: WriteCall,
        answer: Answer<Written>,
    },
    ListDrains {
        answer: Answer<DrainList>,
    },
    Release {
        node: NodeName,
        who: Identity,
        answer: Answer<Generation>,
    },
    Get {
        reference: ResourceRef,
        answer: Answer<Arc<Stored>>,
    },
    List {
        kind: Kind,
        after: String,
        most: usize,
        answer: Answer<Page>,
    },
    Watch {
        from: Revision,
        answer: Answer<Watching>,
    },
    History {
        most: usize,
        answer: Answer<Histories>,
    },
    Events {
        after: u64,
        answer: Answer<EventList>,
    },
    Statuses {
        names: Vec<NodeName>,
        answer: Answer<Statuses>,
    },
    Behind {
        answer: Answer<Behind>,
    },
    Inquire {
        inquiry: Inquiry,
        answer: Answer<Inquired>,
    },
    Why {
        query: WhyQuery,
        answer: Answer<Known>,
    },
    Hello {
        hello: Box<Hello>,
        answer: Answer<Session>,
    },
    Said {
        node: NodeName,
        session: SessionId,
        said: Vec<Said>,
    },
}

impl Cluster {
    /// Starts the task that owns the cluster, where it was left. The task ends when the last `Cluster` is
    /// gone, and with an error when the store took no write: whether it is there after all only the store can tell
    /// when it is opened again.
    pub(crate) fn start<S: Store>(
        store: S,
        saved: Saved,
        metrics: Metrics,
    ) -> (Self, JoinHandle<Result<(), Arc<StoreError>>>) {
        Self::start_at(Pace::default(), store, saved, metrics)
    }

    /// Does the same with agents that answer at another pace.
    pub(crate) fn start_at<S: Store>(
        pace: Pace,
        store: S,
        saved: Saved,
        metrics: Metrics,
    ) -> (Self, JoinHandle<Result<(), Arc<StoreError>>>) {
        let (commands, inbox) = mpsc::channel(WAITING_COMMANDS);
        let (nodes_bell, nodes) = watch::channel(0);
        let (events_bell, events) = watch::channel(0);
        let bells = (nodes_bell, events_bell);
        let owner = Owner::new(store, saved, bells, metrics.clone(), pace);
        let task = tokio::spawn(owner.run(inbox));
        let cluster = Self {
            commands,
            bells: Arc::new(Bells { nodes, events }),
            metrics: Arc::new(metrics),
        };
        (cluster, task)
    }

    /// Writes resources: all of them, or none.
    pub(crate) async fn apply(
        &self,
        resources: Vec<Resource>,
        places: Places,
        options: WriteOptions,
    ) -> Result<Written, Refusal> {
        let (call, options) = (WriteCall::begins(), Box::new(options));
        self.ask(|answer| Command::Apply {
            resources,
            places,
            options,
            call,
            answer,
        })
        .await
    }

    /// Deletes resources: all of them, or none.
    pub(crate) async fn delete(
        &self,
        refs: Vec<ResourceRef>,
        options: WriteOptions,
    ) -> Result<Written, Refusal> {
        let (call, options) = (WriteCall::begins(), Box::new(options));
        self.ask(|answer| Command::Delete {
            refs,
            options,
            call,
            answer,
        })
        .await
    }

    /// Writes the resources as they were at a revision.
    pub(crate) async fn roll_back(
        &self,
        to: Revision,
        options: WriteOptions,
    ) -> Result<Written, Refusal> {
        let (call, options) = (WriteCall::begins(), Box::new(options));
        self.ask(|answer| Command::Rollback {
            to,
            options,
            call,
            answer,
        })
        .await
    }

    /// Gives the last writes of operators, at most so many.
    pub(crate) async fn history(&self, most: usize) -> Result<Histories, Refusal> {
        self.ask(|answer| Command::History { most, answer }).await
    }

    /// Pauses, resumes or undoes the rollout of a revision; none: whichever it is.
    pub(crate) async fn steer(
        &self,
        steering: Steering,
        revision: Option<Revision>,
        who: Identity,
    ) -> Result<Written, Refusal> {
        let call = WriteCall::begins();
        self.ask(|answer| Command::Steer {
            steering,
            revision,
            who,
            call,
            answer,
        })
        .await
    }

    /// Gives the last rollout.
    pub(crate) async fn rollout(&self) -> Result<RolloutState, Refusal> {
        self.ask(|answer| Command::Rollout { answer }).await
    }

    /// Passes on what a node counted at some frontends in an interval that ends now.
    pub(crate) async fn counted(
        &self,
        node: NodeName,
        counts: BTreeMap<Frontend, Count>,
        interval_ms: u64,
    ) -> Result<(), Stopped> {
        let command = Command::Counted {
            node,
            counts,
            interval_ms,
        };
        self.commands.send(command).await.map_err(|_| Stopped)
    }

    /// Drains backends and nodes, or changes how they are drained: all of them, or none.
    pub(crate) async fn drain(
        &self,
        targets: Vec<DrainTarget>,
        terms: DrainTerms,
        who: Identity,
    ) -> Result<Written, Refusal> {
        self.set_drains(targets, Some(terms), who).await
    }

    /// Ends drains: all of them, or none.
    pub(crate) async fn undrain(
        &self,
        targets: Vec<DrainTarget>,
        who: Identity,
    ) -> Result<Written, Refusal> {
        self.set_drains(targets, None, who).await
    }

    async fn set_drains(
        &self,
        targets: Vec<DrainTarget>,
        terms: Option<DrainTerms>,
        who: Identity,
    ) -> Result<Written, Refusal> {
        let call = WriteCall::begins();
        self.ask(|answer| Command::Drain {
            targets,
            terms,
            who,
            call,
            answer,
        })
        .await
    }

    /// Gives every drain.
    pub(crate) async fn drains(&self) -> Result<DrainList, Refusal> {
        self.ask(|answer| Command::ListDrains { answer }).await
    }

    /// Lets a node do what it holds back. Gives up to which generation.
    pub(crate) async fn release(
        &self,
        node: NodeName,
        who: Identity,
    ) -> Result<Generation, Refusal> {
        self.ask(|answer| Command::Release { node, who, answer })
            .await
    }

    /// Gives a resource.
    pub(crate) async fn get(&self, reference: ResourceRef) -> Result<Arc<Stored>, Refusal> {
        self.ask(|answer| Command::Get { reference, answer }).await
    }

    /// Gives at most `most` resources of a kind by name, those whose name comes after `after`.
    pub(crate) async fn list(
        &self,
        kind: Kind,
        after: String,
        most: usize,
    ) -> Result<Page, Refusal> {
        self.ask(|answer| Command::List {
            kind,
            after,
            most,
            answer,
        })
        .await
    }

    /// Gives the changes after a revision, and a channel of what happens from here on.
    pub(crate) async fn watch(&self, from: Revision) -> Result<Watching, Refusal> {
        self.ask(|answer| Command::Watch { from, answer }).await
    }

    /// Gives the states of nodes by name; of all of them when none is named.
    pub(crate) async fn statuses(&self, names: Vec<NodeName>) -> Result<Statuses, Refusal> {
        self.ask(|answer| Command::Statuses { names, answer }).await
    }

    /// Gives how many nodes are behind, and for how long.
    pub(crate) async fn behind(&self) -> Result<Behind, Refusal> {
        self.ask(|answer| Command::Behind { answer }).await
    }

    /// Gives a channel that rings when the state of any node changes.
    pub(crate) fn nodes_changed(&self) -> watch::Receiver<u64> {
        self.bells.nodes.clone()
    }

    /// Gives what is counted.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Begins an agent's stream, in place of the one its node has.
    pub(crate) async fn hello(&self, hello: Hello) -> Result<Session, Refusal> {
        let hello = Box::new(hello);
        self.ask(|answer| Command::Hello { hello, answer }).await
    }

    /// Passes on what an agent says, in order.
    pub(crate) async fn said(
        &self,
        node: NodeName,
        session: SessionId,
        said: Vec<Said>,
    ) -> Result<(), Stopped> {
        let command = Command::Said {
            node,
            session,
            said,
        };
        // mostly there is room, and then there is nothing to wait for
        match self.commands.try_send(command) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(Stopped),
            Err(TrySendError::Full(command)) => {
                let sent = Box::pin(self.commands.send(command));
                sent.await.map_err(|_| Stopped)
            }
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let sent = self.commands.send(command(answer)).await;
        sent.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)?
    }
}

#[cfg(test)]
mod tests;
