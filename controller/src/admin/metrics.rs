//! What the controller counts. Whoever holds a clone counts into the same numbers.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use weir_proto::model::Revision;

use crate::desired::Tally;

/// What nodes repair, as Repair.kind says. What a node calls otherwise counts as "other": an agent does not decide how many
/// numbers the controller keeps.
const REPAIRED: [&str; 11] = [
    "setting",
    "link",
    "loopback_set",
    "loopback_rule",
    "lockdown",
    "guard",
    "loopback_entry",
    "virtual_service",
    "backend",
    "vip",
    "sync_daemon",
];

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
            "nodes_held",
            "Nodes that hold back what they were sent",
            metrics.nodes_held.clone(),
        );
        registry.register(
            "nodes_degraded",
            "Nodes that can make nothing durable",
            metrics.nodes_degraded.clone(),
        );
        registry.register(
            "drains",
            "Drains under way on nodes, of a backend one for each frontend",
            metrics.drains.clone(),
        );
        registry.register(
            "repairs",
            "What nodes put right that somebody else had changed",
            metrics.repairs.clone(),
        );
        registry.register(
            "service_compilations",
            "Times a service was compiled for its nodes",
            metrics.compilations.clone(),
        );
        registry.register(
            "store_commits",
            "Times the store was asked to make writes durable, of which one takes as many as wait",
            metrics.commits.clone(),
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
            "views",
            "What nodes hold in common, each once however many hold it",
            metrics.views.clone(),
        );
        registry.register(
            "update_encodings",
            "Times what is common to nodes was encoded: once for each view and change, however many nodes it goes to",
            metrics.encodings.clone(),
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

    /// Sets what the nodes tell of, taken together.
    pub(crate) fn tally(&self, all: Tally) {
        let Tally {
            connected,
            held,
            degraded,
            drains,
        } = all;
        self.nodes_connected.set(connected);
        self.nodes_held.set(held);
        self.nodes_degraded.set(degraded);
        self.drains.set(drains);
    }

    /// Counts what a node repaired, by kind.
    pub(crate) fn repaired(&self, counts: &BTreeMap<String, u64>) {
        for (said, count) in counts {
            let known = REPAIRED.iter().find(|kind| *kind == said);
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

    /// Gives where is counted how often something common to nodes was encoded.
    pub(crate) fn encodings(&self) -> Counter {
        self.encodings.clone()
    }

    /// Counts an update that a node did not take.
    pub(crate) fn rejected(&self, reason: &'static str) {
        let labels = RejectionLabels { reason };
        self.rejections.get_or_create(&labels).inc();
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
