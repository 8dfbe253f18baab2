//! What the controller counts. Whoever holds a clone counts into the same numbers.

mod stages;
pub(crate) mod table;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric as Registered, Registry};
use weir_proto::metrics::Metric;
use weir_proto::model::{OBJECT_KINDS, Revision};

use crate::desired::{Reason, Tally};
use stages::Stages;
pub use table::{BACKEND_METRICS, METRICS};

type Level = Gauge<u64, AtomicU64>;

/// Every number of the controller.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    revision: Level,
    services: Level,
    backends: Level,
    nodes: Level,
    nodes_connected: Level,
    nodes_held: Level,
    nodes_degraded: Level,
    drains: Level,
    repairs: Family<RepairLabels, Counter>,
    compilations: Counter,
    commits: Counter,
    applies: Family<ApplyLabels, Counter>,
    updates: Family<UpdateLabels, Counter>,
    views: Level,
    encodings: Counter,
    rejections: Family<RejectionLabels, Counter>,
    failed_items: Level,
    /// In one place: everybody who holds the metrics holds this.
    stages: Arc<Stages>,
    events: Family<EventLabels, Counter>,
    events_dropped: Counter,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    r#type: &'static str,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApplyLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpdateLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RejectionLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RepairLabels {
    kind: &'static str,
}

impl Metrics {
    /// Puts every number on show.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        show(registry, &table::REVISION, &metrics.revision);
        show(registry, &table::SERVICES, &metrics.services);
        show(registry, &table::BACKENDS, &metrics.backends);
        show(registry, &table::NODES, &metrics.nodes);
        show(registry, &table::NODES_CONNECTED, &metrics.nodes_connected);
        show(registry, &table::NODES_HELD, &metrics.nodes_held);
        show(registry, &table::NODES_DEGRADED, &metrics.nodes_degraded);
        show(registry, &table::FAILED_ITEMS, &metrics.failed_items);
        show(registry, &table::DRAINS, &metrics.drains);
        show(registry, &table::REPAIRS, &metrics.repairs);
        show(registry, &table::COMPILATIONS, &metrics.compilations);
        show(registry, &table::COMMITS, &metrics.commits);
        show(registry, &table::APPLIES, &metrics.applies);
        show(registry, &table::UPDATES, &metrics.updates);
        show(registry, &table::VIEWS, &metrics.views);
        show(registry, &table::ENCODINGS, &metrics.encodings);
        show(registry, &table::REJECTIONS, &metrics.rejections);
        show(registry, &table::EVENTS, &metrics.events);
        show(registry, &table::EVENTS_DROPPED, &metrics.events_dropped);
        metrics.stages.show(registry);
        metrics
    }

    /// Sets the cluster's revision.
    pub(crate) fn revision(&self, revision: Revision) {
        self.revision.set(revision.0);
    }

    /// Sets how much there is.
    pub(crate) fn sizes(&self, services: usize, backends: usize, nodes: usize) {
        self.services.set(services as u64);
        self.backends.set(backends as u64);
        self.nodes.set(nodes as u64);
    }

    /// Sets what the nodes tell of, taken together.
    pub(crate) fn tally(&self, all: Tally) {
        let Tally {
            connected,
            held,
            degraded,
            drains,
            failed_items,
        } = all;
        self.nodes_connected.set(connected);
        self.nodes_held.set(held);
        self.nodes_degraded.set(degraded);
        self.drains.set(drains);
        self.failed_items.set(failed_items);
    }

    /// Counts what a node repaired, by kind.
    pub(crate) fn repaired(&self, counts: &BTreeMap<String, u64>) {
        for (said, count) in counts {
            // what a node calls otherwise counts as "other": an agent does not decide how many numbers the controller keeps
            let known = OBJECT_KINDS.iter().find(|kind| *kind == said);
            let kind = known.copied().unwrap_or("other");
            let labels = RepairLabels { kind };
            self.repairs.get_or_create(&labels).inc_by(*count);
        }
    }

    /// Sets how many compilations there were in all.
    pub(crate) fn compilations(&self, all: u64) {
        let counted = self.compilations.get();
        self.compilations.inc_by(all.saturating_sub(counted));
    }

    /// Counts a commit of the store.
    pub(crate) fn committed(&self) {
        self.commits.inc();
    }

    /// Counts a write asked for, by how it ended.
    pub(crate) fn applied(&self, outcome: &'static str) {
        self.applies.get_or_create(&ApplyLabels { outcome }).inc();
    }

    /// Counts an update sent, whole or not.
    pub(crate) fn update_sent(&self, whole: bool) {
        let kind = if whole { "snapshot" } else { "delta" };
        self.updates.get_or_create(&UpdateLabels { kind }).inc();
    }

    /// Sets how many distinct views there are.
    pub(crate) fn groups(&self, views: usize) {
        self.views.set(views as u64);
    }

    /// Counts how often something common to nodes was encoded.
    pub(crate) fn encoded(&self, times: u64) {
        self.encodings.inc_by(times);
    }

    /// Counts an update that a node did not take.
    pub(crate) fn rejected(&self, reason: &'static str) {
        let labels = RejectionLabels { reason };
        self.rejections.get_or_create(&labels).inc();
    }

    /// Gives what counts how long each stage of a change takes.
    pub(crate) fn stages(&self) -> &Stages {
        &self.stages
    }

    /// Counts an event.
    pub(crate) fn event(&self, reason: Reason) {
        let labels = EventLabels {
            r#type: reason.event_type().as_str(),
            reason: reason.to_string(),
        };
        self.events.get_or_create(&labels).inc();
    }

    /// Counts an event that was not noted.
    pub(crate) fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// Gives how many commits were counted.
    #[cfg(test)]
    pub(crate) fn commits(&self) -> u64 {
        self.commits.get()
    }

    /// Gives how many agents are connected.
    #[cfg(test)]
    pub(crate) fn connected(&self) -> u64 {
        self.nodes_connected.get()
    }
}

/// Puts a number on show under its name.
fn show(registry: &mut Registry, metric: &Metric, number: &(impl Registered + Clone)) {
    registry.register(metric.name, metric.help, number.clone());
}
