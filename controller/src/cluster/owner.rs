//! The task's state and its loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::yield_now;
use weir_proto::faults::{self, Bug};
use weir_proto::model::{Kind, NodeName, ResourceRef, Revision};

use super::events::EventLog;
use super::group::Group;
use super::log::{ChangeLog, Entry, as_created};
use super::nodes::NodeEntry;
use super::{Command, Histories, Page, Refusal, Statuses, Watching};
use crate::desired::{
    Desired, Events, History, NodeStatus, Pace, Recent, Stored, Tally, reference,
};
use crate::metrics::Metrics;
use crate::store::{Saved, Store, StoreError};

/// How many revisions a watcher may lag: more than a burst of writes, little enough that the oldest are
/// still in the log when it comes back.
const WATCH_DEPTH: usize = 1_024;

/// All that the task owns.
pub(super) struct Owner<S> {
    pub(super) store: S,
    /// Why the store took no write: it takes none any more.
    pub(super) lost: Option<Arc<StoreError>>,
    pub(super) desired: Desired,
    pub(super) revision: Revision,
    /// Whether there is, or ever was, a service. While there was none nothing is sent to any node: a
    /// controller that lost its store, or has yet to be told, empties no node.
    pub(super) served: bool,
    pub(super) nodes: BTreeMap<NodeName, NodeEntry>,
    pub(super) log: ChangeLog,
    pub(super) history: History,
    pub(super) events: EventLog,
    /// What is true here and not durable yet. While there is any nothing but writes is served; that a node knows this
    /// cluster's name may wait for the end of the round, since nobody is told of it.
    pub(super) group: Group,
    pub(super) live: broadcast::Sender<Arc<Entry>>,
    /// Rings when the state of any node changes, once for all that is served together.
    bell: watch::Sender<u64>,
    /// The state of a node has changed since.
    rings: bool,
    pub(super) sessions: u64,
    /// Which cluster this is.
    pub(super) cluster: Arc<str>,
    /// The sum over all nodes, kept in step: nodes tell of their drains every second.
    pub(super) tally: Tally,
    pub(super) metrics: Metrics,
    /// How often connections to each service fail of late.
    pub(super) recent: Recent,
    /// When the rollout goes on if nobody says anything; none: it does not.
    pub(super) wake_unix_ms: Option<u64>,
    /// How long agents' answers may wait.
    pub(super) pace: Pace,
}

impl<S: Store> Owner<S> {
    /// Takes up the cluster where it was left.
    pub(super) fn new(
        store: S,
        saved: Saved,
        (bell, events_bell): (watch::Sender<u64>, watch::Sender<u64>),
        metrics: Metrics,
        pace: Pace,
    ) -> Self {
        let Saved {
            cluster,
            revision,
            resources,
            nodes,
            served,
            capabilities,
            drains,
            confirmed,
            named,
            history,
            rollout,
            events,
        } = saved;
        let nodes = match faults::planted(Bug::GenerationReset) {
            true => BTreeMap::new(),
            false => nodes,
        };
        let drains = drains.into_iter().collect();
        let desired =
            Desired::restore(resources, drains, rollout, &nodes).with_capabilities(capabilities);
        let entries = desired.views().keys().map(|name| {
            let entry = NodeEntry {
                confirmed: confirmed.get(name).copied().unwrap_or_default(),
                named: named.contains(name),
                ..NodeEntry::default()
            };
            (name.clone(), entry)
        });
        let owner = Self {
            store,
            lost: None,
            revision,
            served,
            nodes: entries.collect(),
            desired,
            log: ChangeLog::new(revision),
            history: History::restore(history),
            events: EventLog::new(Events::restore(events), events_bell),
            group: Group::default(),
            live: broadcast::channel(WATCH_DEPTH).0,
            bell,
            rings: false,
            sessions: 0,
            cluster: cluster.into(),
            tally: Tally::default(),
            metrics,
            recent: Recent::default(),
            wake_unix_ms: None,
            pace,
        };
        owner.measure();
        owner
    }

    /// Serves until nobody is left who could ask, or the store took no write; whoever asked for that is answered.
    pub(super) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Command>,
    ) -> Result<(), Arc<StoreError>> {
        // one that was under way goes on
        let mut ended = self.finish().await.is_err();
        while !ended {
            let waits = self.waits().into_iter().chain(self.events.waits()).min();
            let later = tokio::select! {
                // that events were kept is heard first, at most once a second: others become durable only then
                biased;
                kept = self.events.kept() => {
                    self.note_kept(kept);
                    Vec::new()
                }
                command = inbox.recv() => match command {
                    Some(command) => {
                        if matches!(command, Command::Said { .. }) {
                            // agents answer an update at nearly the same time: what others say comes meanwhile, and all of
                            // it is served at once
                            yield_now().await;
                        }
                        self.gather(command, &mut inbox)
                    }
                    None => break,
                },
                () = after(waits) => Vec::new(),
            };
            self.look_at_deadlines();
            if self.finish().await.is_ok() {
                self.serve_all(later).await;
            }
            if std::mem::take(&mut self.rings) {
                self.bell.send_modify(|rung| *rung = rung.wrapping_add(1));
            }
            self.keep_events();
            ended = self.lost.is_some();
        }
        self.keep_the_rest().await
    }

    /// Serves commands that are no writes by operators. What they write by the way is durable when the last is served.
    async fn serve_all(&mut self, commands: Vec<Command>) {
        for command in commands {
            self.serve(command).await;
            if self.lost.is_some() {
                return;
            }
        }
        // an error ends the task
        let _ = self.finish().await;
    }

    async fn serve(&mut self, command: Command) {
        // whoever no longer waits for an answer gets none
        match command {
            // these are made before anything else is served
            Command::Apply { .. }
            | Command::Delete { .. }
            | Command::Rollback { .. }
            | Command::Steer { .. }
            | Command::Drain { .. } => {}
            Command::ListDrains { answer } => {
                let _ = answer.send(Ok(self.list_drains()));
            }
            Command::Release { node, who, answer } => {
                let released = self.release(&node, &who).await;
                let _ = answer.send(released);
            }
            Command::Get { reference, answer } => {
                let _ = answer.send(self.get(reference));
            }
            Command::List {
                kind,
                after,
                most,
                answer,
            } => {
                let all = self.desired.resources().after(kind, &after);
                let _ = answer.send(Ok(Page {
                    resources: all.take(most).cloned().collect(),
                    revision: self.revision,
                }));
            }
            Command::Watch { from, answer } => {
                let _ = answer.send(self.watch(from));
            }
            Command::History { most, answer } => {
                let _ = answer.send(Ok(Histories {
                    writes: self.history.last(most).cloned().collect(),
                    revision: self.revision,
                }));
            }
            Command::Events { after, answer } => {
                let _ = answer.send(Ok(self.events.list(after)));
            }
            Command::Rollout { answer } => {
                let _ = answer.send(Ok(self.rollout()));
            }
            Command::Counted {
                node,
                counts,
                interval_ms,
            } => self.counted(&node, &counts, interval_ms),
            Command::Statuses { names, answer } => {
                let _ = answer.send(self.statuses(&names));
            }
            Command::Behind { answer } => {
                let _ = answer.send(Ok(self.behind()));
            }
            Command::Inquire { inquiry, answer } => {
                let _ = answer.send(self.inquire(inquiry));
            }
            Command::Why { query, answer } => {
                let _ = answer.send(self.why(query));
            }
            Command::Hello { hello, answer } => {
                let session = self.hello(*hello).await;
                let _ = answer.send(session);
            }
            Command::Said {
                node,
                session,
                said,
            } => self.said(&node, session, said),
        }
    }

    fn get(&self, reference: ResourceRef) -> Result<Arc<Stored>, Refusal> {
        match self.desired.resources().get(&reference) {
            Some(stored) => Ok(stored.clone()),
            None => Err(Refusal::NotFound(vec![reference])),
        }
    }

    fn watch(&self, from: Revision) -> Result<Watching, Refusal> {
        let past = if from == Revision(0) {
            Some(as_created(self.desired.resources().all()))
        } else {
            self.log.after(from)
        };
        let past = past.ok_or(Refusal::OutOfRange {
            from,
            oldest: self.log.oldest(),
            newest: self.revision,
        })?;
        Ok(Watching {
            past,
            live: self.live.subscribe(),
        })
    }

    fn statuses(&self, names: &[NodeName]) -> Result<Statuses, Refusal> {
        let known = |name: &&NodeName| self.desired.view(name).is_some();
        let missing: Vec<ResourceRef> = names
            .iter()
            .filter(|name| !known(name))
            .map(|name| reference(Kind::Node, name.as_str()))
            .collect();
        if !missing.is_empty() {
            return Err(Refusal::NotFound(missing));
        }
        let named: BTreeSet<&NodeName> = if names.is_empty() {
            self.desired.views().keys().collect()
        } else {
            names.iter().collect()
        };
        let nodes = named.into_iter().filter_map(|name| {
            let view = self.desired.view(name)?;
            let entry = self.nodes.get(name)?;
            let node = self.desired.resources().node(name);
            Some(NodeStatus {
                cordoned: node.is_some_and(|node| node.cordoned),
                capabilities: self.desired.capabilities(name).to_vec(),
                ..entry.progress.status(name, &view, &entry.feed)
            })
        });
        Ok(Statuses {
            nodes: nodes.collect(),
            revision: self.revision,
        })
    }

    /// Lets those who watch know, when what is served now is done, that the state of a node changed.
    pub(super) fn ring(&mut self) {
        self.rings = true;
    }

    pub(super) fn measure(&self) {
        self.metrics.revision(self.revision);
        self.metrics.sizes(
            self.desired.services(),
            self.desired.resources().backends(),
            self.desired.views().len(),
        );
        self.metrics.groups(self.desired.views().groups());
        self.metrics.tally(self.tally);
        self.metrics.compilations(self.desired.compilations());
    }
}

/// Waits so long; without a time for ever.
async fn after(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Gives the time for people to read; a clock before 1970 is 0.
pub(super) fn now_unix_ms() -> u64 {
    weir_proto::machine::now_unix_ms()
}
