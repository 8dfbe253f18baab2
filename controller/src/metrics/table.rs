//! What each number of the controller is called, and what it tells. This is where a name is given; the page is made by it.

use weir_proto::metrics::{Metric, STAGES};

pub(crate) const REVISION: Metric =
    Metric::gauge("weir_controller_revision", &[], "Revision of the cluster");
pub(crate) const SERVICES: Metric = Metric::gauge("weir_controller_services", &[], "Services");
pub(crate) const BACKENDS: Metric = Metric::gauge(
    "weir_controller_backends",
    &[],
    "Backends of services and backend sets",
);
pub(crate) const NODES: Metric = Metric::gauge("weir_controller_nodes", &[], "Nodes known");
pub(crate) const NODES_CONNECTED: Metric = Metric::gauge(
    "weir_controller_nodes_connected",
    &[],
    "Nodes whose agent is connected",
);
pub(crate) const NODES_HELD: Metric = Metric::gauge(
    "weir_controller_nodes_held",
    &[],
    "Nodes that hold back what they were sent",
);
pub(crate) const NODES_DEGRADED: Metric = Metric::gauge(
    "weir_controller_nodes_degraded",
    &[],
    "Nodes that can make nothing durable",
);
pub(crate) const NODES_BEHIND: Metric = Metric::gauge(
    "weir_controller_nodes_behind",
    &[],
    "Nodes whose kernel was not yet brought to what they are to hold, those that are away included",
);
pub(crate) const CONVERGENCE_LAG: Metric = Metric::gauge(
    "weir_controller_convergence_lag_seconds",
    &[],
    "For how long the node that is behind longest has been so; 0: none is",
);
pub(crate) const FAILED_ITEMS: Metric = Metric::gauge(
    "weir_controller_failed_items",
    &[],
    "Items that nodes do not take or that their kernels refuse, of all nodes together",
);
pub(crate) const DRAINS: Metric = Metric::gauge(
    "weir_controller_drains",
    &[],
    "Drains under way on nodes, of a backend one for each frontend",
);
pub(crate) const REPAIRS: Metric = Metric::counter(
    "weir_controller_repairs",
    &["kind"],
    "What nodes put right that somebody else had changed",
);
pub(crate) const COMPILATIONS: Metric = Metric::counter(
    "weir_controller_service_compilations",
    &[],
    "Times a service was compiled for its nodes",
);
pub(crate) const COMMITS: Metric = Metric::counter(
    "weir_controller_store_commits",
    &[],
    "Times the store was asked to make writes durable, of which one takes as many as wait",
);
pub(crate) const APPLIES: Metric = Metric::counter(
    "weir_controller_apply",
    &["outcome"],
    "Writes asked for by operators",
);
pub(crate) const UPDATES: Metric = Metric::counter(
    "weir_controller_updates_sent",
    &["kind"],
    "Updates sent to nodes",
);
pub(crate) const VIEWS: Metric = Metric::gauge(
    "weir_controller_views",
    &[],
    "What nodes hold in common, each once however many hold it",
);
pub(crate) const ENCODINGS: Metric = Metric::counter(
    "weir_controller_update_encodings",
    &[],
    "Times what is common to nodes was encoded: once for each view and change, however many nodes it goes to",
);
pub(crate) const REJECTIONS: Metric = Metric::counter(
    "weir_controller_updates_rejected",
    &["reason"],
    "Updates that nodes did not take",
);
pub(crate) const EVENTS: Metric = Metric::counter(
    "weir_controller_events",
    &["type", "reason"],
    "Events noted, those that were counted up included",
);
pub(crate) const EVENTS_DROPPED: Metric = Metric::counter(
    "weir_controller_events_dropped",
    &[],
    "Events that were not noted, since their nodes tell too many",
);

/// What passes through something, in numbers: what all that is counted tells, of services, of backends, and of all.
pub(crate) struct Passed {
    pub(crate) connections: Metric,
    pub(crate) failed: Metric,
    pub(crate) packets: Metric,
    pub(crate) bytes: Metric,
    pub(crate) active: Metric,
    pub(crate) inactive: Metric,
}

pub(crate) const FLEET: Passed = Passed {
    connections: Metric::counter(
        "weir_controller_connections",
        &[],
        "Connections scheduled on all nodes, as far as they were reported",
    ),
    failed: Metric::counter(
        "weir_controller_failed_connections",
        &[],
        "Connections that no backend answered or that it refused, at least",
    ),
    packets: Metric::counter(
        "weir_controller_packets",
        &["direction"],
        "Packets from clients (in) and, where they pass the nodes, to clients (out)",
    ),
    bytes: Metric::counter(
        "weir_controller_bytes",
        &["direction"],
        "Bytes from clients (in) and, where they pass the nodes, to clients (out)",
    ),
    active: Metric::gauge(
        "weir_controller_active_connections",
        &[],
        "Connections that carry traffic, as nodes told last",
    ),
    inactive: Metric::gauge(
        "weir_controller_inactive_connections",
        &[],
        "Connections that are closing or not yet open, and all of UDP, as nodes told last",
    ),
};

const SERVICE: &[&str] = &["service"];
const SERVICE_DIRECTION: &[&str] = &["service", "direction"];

pub(crate) const OF_SERVICE: Passed = Passed {
    connections: Metric::counter(
        "weir_controller_service_connections",
        SERVICE,
        "Connections scheduled for a service",
    ),
    failed: Metric::counter(
        "weir_controller_service_failed_connections",
        SERVICE,
        "Connections to a service that no backend answered or that it refused, at least",
    ),
    packets: Metric::counter(
        "weir_controller_service_packets",
        SERVICE_DIRECTION,
        "Packets of a service, from clients (in) and, where they pass the nodes, to clients (out)",
    ),
    bytes: Metric::counter(
        "weir_controller_service_bytes",
        SERVICE_DIRECTION,
        "Bytes of a service, from clients (in) and, where they pass the nodes, to clients (out)",
    ),
    active: Metric::gauge(
        "weir_controller_service_active_connections",
        SERVICE,
        "Connections of a service that carry traffic",
    ),
    inactive: Metric::gauge(
        "weir_controller_service_inactive_connections",
        SERVICE,
        "Connections of a service that are closing or not yet open, and all of UDP",
    ),
};
pub(crate) const SERVICE_BACKENDS: Metric = Metric::gauge(
    "weir_controller_service_backends",
    SERVICE,
    "Backends that a service is to have",
);
pub(crate) const SERVICE_SILENT: Metric = Metric::gauge(
    "weir_controller_service_silent_backends",
    SERVICE,
    "Backends of a service that receive connections and answer none",
);
pub(crate) const SERVICE_IMBALANCE: Metric = Metric::gauge(
    "weir_controller_service_imbalance_ratio",
    SERVICE,
    "Connections of the busiest backend of a service over the mean of all; 0: there is nothing to compare",
);

const BACKEND: &[&str] = &["service", "backend"];
const BACKEND_DIRECTION: &[&str] = &["service", "backend", "direction"];

pub(crate) const OF_BACKEND: Passed = Passed {
    connections: Metric::counter(
        "weir_controller_backend_connections",
        BACKEND,
        "Connections scheduled to a backend",
    ),
    failed: Metric::counter(
        "weir_controller_backend_failed_connections",
        BACKEND,
        "Connections that a backend did not answer or refused, at least",
    ),
    packets: Metric::counter(
        "weir_controller_backend_packets",
        BACKEND_DIRECTION,
        "Packets to a backend (in) and, where they pass the nodes, from it (out)",
    ),
    bytes: Metric::counter(
        "weir_controller_backend_bytes",
        BACKEND_DIRECTION,
        "Bytes to a backend (in) and, where they pass the nodes, from it (out)",
    ),
    active: Metric::gauge(
        "weir_controller_backend_active_connections",
        BACKEND,
        "Connections of a backend that carry traffic",
    ),
    inactive: Metric::gauge(
        "weir_controller_backend_inactive_connections",
        BACKEND,
        "Connections of a backend that are closing or not yet open, and all of UDP",
    ),
};
pub(crate) const BACKEND_SILENT: Metric = Metric::gauge(
    "weir_controller_backend_silent",
    BACKEND,
    "1 while a backend receives connections and answers none",
);

/// Every number that the controller tells.
pub const METRICS: &[Metric] = &[
    REVISION,
    SERVICES,
    BACKENDS,
    NODES,
    NODES_CONNECTED,
    NODES_HELD,
    NODES_DEGRADED,
    NODES_BEHIND,
    CONVERGENCE_LAG,
    FAILED_ITEMS,
    DRAINS,
    REPAIRS,
    COMPILATIONS,
    COMMITS,
    APPLIES,
    UPDATES,
    VIEWS,
    ENCODINGS,
    REJECTIONS,
    EVENTS,
    EVENTS_DROPPED,
    STAGES,
    FLEET.connections,
    FLEET.failed,
    FLEET.packets,
    FLEET.bytes,
    FLEET.active,
    FLEET.inactive,
    OF_SERVICE.connections,
    OF_SERVICE.failed,
    OF_SERVICE.packets,
    OF_SERVICE.bytes,
    OF_SERVICE.active,
    OF_SERVICE.inactive,
    SERVICE_BACKENDS,
    SERVICE_SILENT,
    SERVICE_IMBALANCE,
];

/// Those that it tells beside with `--backend-metrics`.
pub const BACKEND_METRICS: &[Metric] = &[
    OF_BACKEND.connections,
    OF_BACKEND.failed,
    OF_BACKEND.packets,
    OF_BACKEND.bytes,
    OF_BACKEND.active,
    OF_BACKEND.inactive,
    BACKEND_SILENT,
];
