//! What the cluster answers, as it goes over the wire.

use weir_proto::convert::{
    capability_to_wire, failure_to_wire, reference_to_wire, resource_to_wire,
};
use weir_proto::model::{Generation, NodeName, ResourceRef};
use weir_proto::wire;

use crate::cluster::{Entry, Event};
use crate::desired::{NodeStatus, Outcome, Stored};

pub(super) fn resource(stored: &Stored) -> wire::Resource {
    resource_to_wire(&stored.resource, stored.revision)
}

pub(super) fn changes(changes: Vec<(ResourceRef, Outcome)>) -> Vec<wire::Change> {
    let changes = changes.iter();
    changes
        .map(|(reference, outcome)| change(reference, *outcome))
        .collect()
}

pub(super) fn targets(targets: Vec<(NodeName, Generation)>) -> Vec<wire::NodeTarget> {
    targets
        .into_iter()
        .map(|(node, generation)| wire::NodeTarget {
            node: node.to_string(),
            generation: generation.0,
        })
        .collect()
}

/// Gives the changes of a revision that a watcher of some kinds sees; none: it sees nothing of it.
pub(super) fn entry(
    entry: &Entry,
    sees: impl Fn(&ResourceRef) -> bool,
) -> Option<wire::WatchResponse> {
    let seen = entry.events.iter().filter(|event| sees(&event.reference));
    let events: Vec<_> = seen.map(event).collect();
    (!events.is_empty()).then_some(wire::WatchResponse {
        revision: entry.revision.0,
        events,
    })
}

pub(super) fn node_state(status: &NodeStatus) -> wire::NodeState {
    let NodeStatus {
        name,
        connected,
        agent_version,
        wanted,
        accepted,
        converged,
        wanted_items,
        failures,
        failure_count,
        rejection,
        capabilities,
        last_heard_unix_ms,
    } = status;
    wire::NodeState {
        name: name.to_string(),
        connected: *connected,
        agent_version: agent_version.clone(),
        wanted_generation: wanted.0,
        accepted_generation: accepted.0,
        converged_generation: converged.0,
        wanted_items: *wanted_items,
        failures: failures.iter().map(failure_to_wire).collect(),
        failure_count: *failure_count,
        rejection: rejection.clone().unwrap_or_default(),
        capabilities: capabilities.iter().map(capability_to_wire).collect(),
        last_heard_unix_ms: *last_heard_unix_ms,
        ..wire::NodeState::default()
    }
}

fn event(event: &Event) -> wire::watch_response::Event {
    wire::watch_response::Event {
        change: Some(change(&event.reference, event.outcome)),
        resource: event.resource.as_deref().map(resource),
    }
}

fn change(reference: &ResourceRef, outcome: Outcome) -> wire::Change {
    use wire::change::Outcome as Wire;
    let outcome = match outcome {
        Outcome::Created => Wire::Created,
        Outcome::Updated => Wire::Updated,
        Outcome::Unchanged => Wire::Unchanged,
        Outcome::Deleted => Wire::Deleted,
    };
    wire::Change {
        r#ref: Some(reference_to_wire(reference)),
        outcome: outcome.into(),
    }
}
