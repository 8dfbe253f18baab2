//! What the cluster answers, as it goes over the wire.

use tonic::Response;
use weir_proto::convert::{
    backend_target_to_wire, canary_to_wire, capability_to_wire, degraded_to_wire,
    drain_target_to_wire, drain_to_wire, failure_to_wire, hold_to_wire, phase_to_wire,
    progress_to_wire, reference_to_wire, repair_to_wire,
};
use weir_proto::model::{DrainTarget, Generation, NodeName, ResourceRef};
use weir_proto::wire;

use crate::cluster::{Entry, Event, Written};
use crate::desired::{Count, Drained, ListedDrain, NodeStatus, Outcome, Past, Rollout, Stored};
use crate::store::stored_to_wire;

pub(super) fn resource(stored: &Stored) -> wire::Resource {
    stored_to_wire(stored)
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
            node: node.as_str().to_owned(),
            generation: generation.0,
        })
        .collect()
}

pub(super) fn drained(written: Written) -> Response<wire::DrainResponse> {
    Response::new(wire::DrainResponse {
        revision: written.revision.0,
        targets: targets(written.targets),
    })
}

/// Gives a rollout, its nodes in the order in which it reaches them.
pub(super) fn rollout(rollout: &Rollout) -> wire::Rollout {
    let step = |step| u32::try_from(step).unwrap_or(u32::MAX);
    let nodes = rollout.order().into_iter().map(|(name, member, by)| {
        let Count {
            connections,
            failed,
        } = member.counted;
        wire::rollout::Node {
            name: name.to_string(),
            step: step(by),
            reached: member.reached.is_some(),
            converged: member.holds(),
            connections,
            failed_connections: failed,
            held: member.held.clone().unwrap_or_default(),
        }
    });
    wire::Rollout {
        revision: rollout.revision.0,
        canary: Some(canary_to_wire(&rollout.canary)),
        step: step(rollout.step),
        phase: phase_to_wire(rollout.phase).into(),
        reason: rollout.reason.clone(),
        refs: rollout.before.keys().map(reference_to_wire).collect(),
        nodes: nodes.collect(),
        who: rollout.who.clone(),
        begun_unix_ms: rollout.begun_unix_ms,
        changed_unix_ms: rollout.changed_unix_ms,
    }
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
        hold,
        degraded,
        drain_count,
        repairs,
        repair_counts,
        certificate_expires_unix_ms,
        disconnection,
        cordoned,
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
        hold: hold.as_ref().map(hold_to_wire),
        degraded: degraded.as_ref().map(degraded_to_wire),
        drain_count: *drain_count,
        repairs: repairs.iter().map(repair_to_wire).collect(),
        repair_counts: repair_counts.clone(),
        certificate_expires_unix_ms: *certificate_expires_unix_ms,
        disconnection: disconnection.clone(),
        cordoned: *cordoned,
    }
}

pub(super) fn drain(drain: &ListedDrain) -> wire::DrainState {
    let ListedDrain { of, asked, nodes } = drain;
    let target = match of {
        Drained::Backend(service, endpoint) => backend_target_to_wire(service.as_ref(), *endpoint),
        Drained::Node(name) => drain_target_to_wire(&DrainTarget::Node(name.clone())),
    };
    let nodes = nodes.iter();
    let nodes = nodes.map(|(node, progress)| wire::drain_state::OnNode {
        node: node.to_string(),
        progress: Some(progress_to_wire(progress)),
    });
    wire::DrainState {
        target: Some(target),
        asked: asked.is_some(),
        drain: asked.map(|(drain, _)| drain_to_wire(drain)),
        asked_unix_ms: asked.map_or(0, |(_, at_unix_ms)| at_unix_ms),
        nodes: nodes.collect(),
    }
}

pub(super) fn past(past: &Past) -> wire::HistoryEntry {
    let Past {
        revision,
        unix_ms,
        who,
        what,
        changes,
        drains,
        before: _,
    } = past;
    let changes = changes.iter();
    wire::HistoryEntry {
        revision: revision.0,
        unix_ms: *unix_ms,
        who: who.clone(),
        what: what.clone(),
        changes: changes
            .map(|(reference, outcome)| change(reference, *outcome))
            .collect(),
        drains: drains.iter().map(drain_target_to_wire).collect(),
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
