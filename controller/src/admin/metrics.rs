//! What the controller counts. Whoever holds a clone counts into the same numbers.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use weir_proto::model::Revision;

type Level = Gauge<u64, AtomicU64>;

/// Every number of the controller.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    revision: Level,
    services: Level,
    backends: Level,
    nodes: Level,
    nodes_connected: Level,
    compilations: Counter,
    applies: Family<ApplyLabels, Counter>,
    updates: Family<UpdateLabels, Counter>,
    rejections: Family<RejectionLabels, Counter>,
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

impl Metrics {
    /// Puts every number on show.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("weir_controller");
        registry.register(
            "revision",
            "Revision of the cluster",
            metrics.revision.clone(),
        );
        registry.register("services", "Services", metrics.services.clone());
        registry.register(
            "backends",
            "Backends of services and backend sets",
            metrics.backends.clone(),
        );
        registry.register("nodes", "Nodes known", metrics.nodes.clone());
        registry.register(
            "nodes_connected",
            "Nodes whose agent is connected",
            metrics.nodes_connected.clone(),
        );
        registry.register(
            "service_compilations",
            "Times a service was compiled for its nodes",
            metrics.compilations.clone(),
        );
        registry.register(
            "apply",
            "Writes asked for by operators",
            metrics.applies.clone(),
        );
        registry.register(
            "updates_sent",
            "Updates sent to nodes",
            metrics.updates.clone(),
        );
        registry.register(
            "updates_rejected",
            "Updates that nodes did not take",
            metrics.rejections.clone(),
        );
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

    /// Sets how many agents are connected.
    pub(crate) fn connected(&self, nodes: usize) {
        self.nodes_connected.set(nodes as u64);
    }

    /// Sets how many compilations there were in all.
    pub(crate) fn compilations(&self, all: u64) {
        let counted = self.compilations.get();
        self.compilations.inc_by(all.saturating_sub(counted));
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

    /// Counts an update that a node did not take.
    pub(crate) fn rejected(&self, reason: &'static str) {
        let labels = RejectionLabels { reason };
        self.rejections.get_or_create(&labels).inc();
    }
}
