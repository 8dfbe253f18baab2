//! What happened of late: noted as it happens, and made durable without anybody waiting for it.
//!
//! An event becomes durable with a write that is made anyway. Where there is none soon, all that wait become so together and
//! beside everything else, once a second at most: however many nodes come and go, that many commits there are. A controller
//! that is killed may lose the events of that second, and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::error;
use weir_proto::model::{Identity, NodeName, Revision, RolloutPhase};

use super::nodes::NodeEntry;
use super::owner::{Owner, now_unix_ms};
use super::{Cluster, Command, Refusal, Said};
use crate::desired::events::{EventObject, ObjectKind, told};
use crate::desired::{Desired, Event, EventBatch, Events, Happening, Reason};
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};

/// How long events wait for a write to become durable with.
const KEEP_AFTER: Duration = Duration::from_secs(1);
/// How many become durable with a write: some 200 KiB, which make it no slower to speak of.
const MOST_RIDING: usize = 1_000;

/// The events after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventList {
    /// By their last change, the oldest first.
    pub(crate) events: Vec<Arc<Event>>,
    /// The number of the last change.
    pub(crate) change: u64,
}

/// What rings when something changes.
#[derive(Debug)]
pub(super) struct Bells {
    pub(super) nodes: watch::Receiver<u64>,
    pub(super) events: watch::Receiver<u64>,
}

/// The events, and what becomes of them.
pub(super) struct EventLog {
    all: Events,
    /// Events on their way to the store.
    keeping: Option<JoinHandle<Result<(), StoreError>>>,
    /// When those that wait become durable; none: none waits.
    keep_at: Option<Instant>,
    /// Rings with the number of the last change.
    bell: watch::Sender<u64>,
    /// When the time of drains is over, by node, in Unix milliseconds.
    deadlines: BTreeSet<(u64, NodeName)>,
}

impl Cluster {
    /// Gives the events after a change, which are numbered; those that are kept after 0.
    pub(crate) async fn events(&self, after: u64) -> Result<EventList, Refusal> {
        self.ask(|answer| Command::Events { after, answer }).await
    }

    /// Gives a channel that rings when there are events after those before.
    pub(crate) fn events_changed(&self) -> watch::Receiver<u64> {
        self.bells.events.clone()
    }
}

impl EventLog {
    /// Takes up what was kept.
    pub(super) fn new(all: Events, bell: watch::Sender<u64>) -> Self {
        Self {
            all,
            keeping: None,
            keep_at: None,
            bell,
            deadlines: BTreeSet::new(),
        }
    }

    /// Notes what happens. It is told once what is true in memory is durable.
    pub(super) fn add(&mut self, happening: Happening, metrics: &Metrics) {
        let reason = happening.reason;
        if self.all.add(happening, now_unix_ms()) {
            metrics.event(reason);
            let at = || Instant::now() + KEEP_AFTER;
            self.keep_at.get_or_insert_with(at);
        } else {
            metrics.event_dropped();
        }
    }

    /// Forgets what was counted of a node that is gone.
    pub(super) fn forget(&mut self, node: &NodeName) {
        self.all.forget(node);
    }

    /// Takes what becomes durable with a write.
    pub(super) fn ride(&mut self) -> EventBatch {
        // what is on its way could come after what is newer
        if self.keeping.is_some() {
            return EventBatch::new();
        }
        self.take(MOST_RIDING)
    }

    /// Lets those who watch know what is durable or soon will be.
    pub(super) fn ring(&self) {
        let last = self.all.changes();
        self.bell.send_if_modified(|told| {
            let rings = *told != last;
            *told = last;
            rings
        });
    }

    /// Gives the events after a change.
    pub(super) fn list(&self, after: u64) -> EventList {
        EventList {
            events: self.all.after(after).cloned().collect(),
            change: self.all.changes(),
        }
    }

    /// Gives how long nothing has to be done here.
    pub(super) fn waits(&self) -> Option<Duration> {
        let keep = self.keep_at.filter(|_| self.keeping.is_none());
        let keep = keep.map(|at| at.saturating_duration_since(Instant::now()));
        let deadline = self.deadlines.first().map(|(at, _)| {
            // a clock that stands still is not asked without pause
            let left = at.saturating_sub(now_unix_ms()).max(1);
            Duration::from_millis(left)
        });
        keep.into_iter().chain(deadline).min()
    }

    /// Waits for the events that are on their way to the store; for ever if none is.
    pub(super) async fn kept(&mut self) -> Result<(), StoreError> {
        let Some(keeping) = &mut self.keeping else {
            return std::future::pending().await;
        };
        let kept = keeping.await;
        self.keeping = None;
        kept.unwrap_or_else(|error| Err(StoreError::Commit(error.into())))
    }

    fn take(&mut self, most: usize) -> EventBatch {
        let batch = self.all.take_pending(most);
        self.keep_at = match self.all.is_pending() {
            true => Some(Instant::now() + KEEP_AFTER),
            false => None,
        };
        batch
    }

    /// Wakes when the time of a node's drains is over, and no longer when it was to be before.
    fn watch_deadline(&mut self, name: &NodeName, (before, next): (Option<u64>, Option<u64>)) {
        if before == next {
            return;
        }
        if let Some(before) = before {
            self.deadlines.remove(&(before, name.clone()));
        }
        self.deadlines.extend(next.map(|next| (next, name.clone())));
    }
}

impl<S: Store> Owner<S> {
    /// Notes what happens.
    pub(super) fn happened(&mut self, happening: Happening) {
        self.events.add(happening, &self.metrics);
    }

    /// Notes what happens to the rollout of a revision.
    pub(super) fn rollout_turned(
        &mut self,
        rollout: Revision,
        to: RolloutPhase,
        (who, message): (Option<&Identity>, String),
    ) {
        let reason = match to {
            RolloutPhase::Running => Reason::RolloutResumed,
            RolloutPhase::Paused => Reason::RolloutPaused,
            RolloutPhase::Halted => Reason::RolloutHalted,
            RolloutPhase::Done => Reason::RolloutDone,
            RolloutPhase::Undone => Reason::RolloutUndone,
        };
        let object = EventObject::new(ObjectKind::Rollout, rollout);
        self.happened(Happening {
            who: who.map(ToString::to_string).unwrap_or_default(),
            ..told::anywhere(Some(object), reason, message)
        });
    }

    /// Notes what an agent said, and when its drains are to be looked at.
    pub(super) fn happened_on(&mut self, name: &NodeName, happened: Vec<Happening>) {
        for happening in happened {
            self.happened(happening);
        }
        let Some(entry) = self.nodes.get_mut(name) else {
            return;
        };
        let next = entry.drains.next_unix_ms();
        let before = std::mem::replace(&mut entry.deadline_unix_ms, next);
        self.events.watch_deadline(name, (before, next));
    }

    /// Notes which drains have used up their time.
    pub(super) fn look_at_deadlines(&mut self) {
        let now = now_unix_ms();
        // each turn takes one away, and what comes instead is later
        while let Some((at, name)) = self.events.deadlines.first().cloned()
            && at <= now
        {
            self.events.deadlines.pop_first();
            let Some(entry) = self.nodes.get_mut(&name) else {
                continue;
            };
            entry.deadline_unix_ms = None;
            let turns = entry.drains.due(now);
            let turned = turns.iter().filter_map(|turn| {
                let of = self.desired.drained_by(&name, &turn.key)?;
                Some(told::drain_turn(&name, &of, turn))
            });
            let turned = turned.collect();
            self.happened_on(&name, turned);
        }
    }

    /// Begins to make durable what has waited long enough.
    pub(super) fn keep_events(&mut self) {
        let due = self.events.keep_at.is_some_and(|at| at <= Instant::now());
        if !due || self.events.keeping.is_some() {
            return;
        }
        let batch = self.events.take(usize::MAX);
        self.events.keeping = Some(tokio::spawn(self.store.keep(batch)));
        self.metrics.committed();
    }

    /// Makes durable what is left when the task ends.
    pub(super) async fn keep_the_rest(&mut self) -> Result<(), Arc<StoreError>> {
        if self.events.keeping.is_some() {
            let kept = self.events.kept().await;
            self.note_kept(kept);
        }
        if self.lost.is_none() && self.events.all.is_pending() {
            let batch = self.events.take(usize::MAX);
            let kept = self.store.keep(batch).await;
            self.metrics.committed();
            self.note_kept(kept);
        }
        match self.lost.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Takes note of how it went: a store that failed takes nothing more.
    pub(super) fn note_kept(&mut self, kept: Result<(), StoreError>) {
        if let Err(error) = kept {
            error!(
                error = &error as &dyn std::error::Error,
                "the store took no events"
            );
            self.lost = Some(Arc::new(error));
        }
    }
}

impl NodeEntry {
    /// Gives what is to be told of what an agent says, before it is noted.
    pub(super) fn happenings(
        &mut self,
        name: &NodeName,
        said: &Said,
        desired: &Desired,
    ) -> Vec<Happening> {
        let service_behind = |frontend: &_| desired.resources().service_behind(frontend);
        match said {
            // nothing is refused, as mostly
            Said::Accepted { refused: none, .. } | Said::Converged { failures: none, .. }
                if none.is_empty() =>
            {
                Vec::new()
            }
            Said::Accepted { refused, .. } => {
                let before = self.progress.refusals().items;
                let refused = told::new_failures(before, refused);
                told::failures(name, Reason::ItemsRefused, &refused, service_behind)
            }
            Said::Converged { failures, .. } => {
                let before = self.progress.refusals().failures;
                let failures = told::new_failures(before, failures);
                told::failures(name, Reason::ItemsFailed, &failures, service_behind)
            }
            Said::Rejected(rejected) if self.feed.passes_over(rejected) => Vec::new(),
            Said::Rejected(rejected) => {
                let (reason, cause) = (rejected.reason.as_str(), &rejected.cause);
                let message = format!("generation {}: {reason}: {cause}", rejected.generation);
                vec![told::about_node(name, Reason::UpdateRejected, message)]
            }
            Said::Condition { hold, degraded } => {
                let before = (self.progress.held_back(), self.progress.degradation());
                let held = told::held(name, before.0, hold.as_ref());
                let degraded = told::degraded(name, before.1, degraded.as_ref());
                held.into_iter().chain(degraded).collect()
            }
            Said::Drains { drains, count } => {
                let under_way = drains.iter().filter(|drain| !drain.done).count() as u64;
                let whole = under_way >= *count;
                let again = |key: &_| desired.takes_connections(name, key);
                let turns = self.drains.take((drains, whole), again, now_unix_ms());
                let turns = turns.iter().filter_map(|turn| {
                    let of = desired.drained_by(name, &turn.key)?;
                    Some(told::drain_turn(name, &of, turn))
                });
                turns.collect()
            }
            Said::Repairs { repairs, counts } => {
                told::repairs(name, (repairs, counts), service_behind)
            }
            Said::Certificate { .. } => Vec::new(),
            Said::Gone(why) => {
                let message = format!("its stream ended: {why}");
                vec![told::about_node(name, Reason::NodeDisconnected, message)]
            }
        }
    }
}
