//! What is told of what nodes say and operators do. PURE

use std::collections::BTreeMap;

use weir_proto::convert::Hello;
use weir_proto::model::{
    BackendKey, Degraded, DrainTarget, Endpoint, Frontend, Hold, Identity, ItemFailure, ItemKey,
    Kind, NodeName, OnDeadline, Repair, ResourceRef, Revision, ServiceName,
};

use super::drained::{DrainTurn, Turned};
use super::{EventObject, Happening, ObjectKind, Reason};
use crate::desired::{Change, Drained, MOST_FAILURES, Outcome, What};

/// How many resources of one write are told of one by one: a write of more is one of everything, and the history has them.
const MOST_NAMED: usize = 16;
const SECOND_MS: u64 = 1_000;

/// Makes an event of a node itself.
pub(crate) fn about_node(name: &NodeName, reason: Reason, message: impl Into<String>) -> Happening {
    let object = EventObject::node(name);
    Happening {
        node: Some(name.clone()),
        ..anywhere(Some(object), reason, message.into())
    }
}

/// Makes an event that is on no node.
pub(crate) fn anywhere(object: Option<EventObject>, reason: Reason, message: String) -> Happening {
    Happening {
        reason,
        node: None,
        object,
        part: String::new(),
        who: String::new(),
        message,
        times: 1,
    }
}

/// Tells that an agent connected.
pub(crate) fn hello(hello: &Hello) -> Happening {
    let version = &hello.agent_version;
    let holds = match hello.held {
        Some((generation, _)) => format!("it holds generation {generation}"),
        None => "it holds nothing".to_owned(),
    };
    let name = &hello.node.name;
    let message = format!("agent {version} connected; {holds}");
    about_node(name, Reason::NodeConnected, message)
}

/// Gives the items that a node does not hold as wanted and did before, or for another reason.
pub(crate) fn new_failures<'a>(
    before: impl Iterator<Item = &'a ItemFailure>,
    now: &'a [ItemFailure],
) -> Vec<&'a ItemFailure> {
    let before: BTreeMap<&ItemKey, &ItemFailure> = before.map(|it| (&it.key, it)).collect();
    // of more than these it is not known how they were before
    let now = now.iter().take(MOST_FAILURES);
    now.filter(|it| before.get(&it.key) != Some(it)).collect()
}

/// Tells of items that a node does not hold as wanted: those of a service together.
pub(crate) fn failures<'a>(
    name: &NodeName,
    reason: Reason,
    failures: &[&ItemFailure],
    service_behind: impl Fn(&Frontend) -> Option<&'a ServiceName>,
) -> Vec<Happening> {
    let mut by_object: BTreeMap<EventObject, Vec<&ItemFailure>> = BTreeMap::new();
    for failure in failures {
        let object = object_of(name, &failure.key, &service_behind);
        by_object.entry(object).or_default().push(failure);
    }
    let told = by_object.into_iter().map(|(object, failures)| {
        let first = failures.first().map(|it| text(it)).unwrap_or_default();
        let message = match failures.len() {
            0 | 1 => first,
            2 => format!("{first}; and 1 more item"),
            all => format!("{first}; and {} more items", all - 1),
        };
        Happening {
            object: Some(object),
            ..about_node(name, reason, message)
        }
    });
    told.collect()
}

fn text(failure: &ItemFailure) -> String {
    match failure.cause.as_str() {
        "" => format!("{}: error {}", failure.key, failure.errno),
        cause => format!("{}: {cause}", failure.key),
    }
}

fn object_of<'a>(
    name: &NodeName,
    key: &ItemKey,
    service_behind: impl Fn(&Frontend) -> Option<&'a ServiceName>,
) -> EventObject {
    let frontend = match key {
        ItemKey::VirtualService(frontend) => frontend,
        ItemKey::Backend(BackendKey { frontend, .. }) => frontend,
        ItemKey::Vip(address) | ItemKey::SilentVip(address) => {
            return EventObject::new(ObjectKind::Vip, address);
        }
        ItemKey::LoopbackEntry(_)
        | ItemKey::TunnelEnd(_)
        | ItemKey::StrictArp
        | ItemKey::ConnectionTimeouts
        | ItemKey::SyncDaemon(_)
        | ItemKey::NodeDrain
        | ItemKey::Unread(_) => return EventObject::node(name),
    };
    match service_behind(frontend) {
        Some(service) => EventObject::new(ObjectKind::Service, service.as_str()),
        None => EventObject::node(name),
    }
}

/// Tells what a node repaired; `counts` may say of more than are named.
pub(crate) fn repairs<'a>(
    name: &NodeName,
    (repairs, counts): (&[Repair], &BTreeMap<String, u64>),
    service_behind: impl Fn(&Frontend) -> Option<&'a ServiceName>,
) -> Vec<Happening> {
    let named = repairs.iter().map(|repair| {
        let Repair {
            object,
            kind,
            found,
            expected,
            at_unix_ms: _,
        } = repair;
        let or_nothing = |text: &str| match text {
            "" => "nothing".to_owned(),
            text => text.to_owned(),
        };
        let (found, expected) = (or_nothing(found), or_nothing(expected));
        let message = format!("{object}: found {found}, expected {expected}");
        let of = match kind.as_str() {
            "vip" => object
                .strip_prefix("vip ")
                .map(|vip| EventObject::new(ObjectKind::Vip, vip)),
            "virtual_service" | "backend" => frontend_in(object)
                .and_then(|frontend| service_behind(&frontend))
                .map(|service| EventObject::new(ObjectKind::Service, service.as_str())),
            _ => None,
        };
        let told = about_node(name, Reason::DriftRepaired, message);
        Happening {
            object: of.or(told.object),
            part: object.clone(),
            ..told
        }
    });
    let mut told: Vec<Happening> = named.collect();
    let all = counts
        .values()
        .fold(0_u64, |sum, one| sum.saturating_add(*one));
    let unnamed = all.saturating_sub(repairs.len() as u64);
    if unnamed > 0 {
        let message = format!("{unnamed} repairs that the node does not name");
        told.push(Happening {
            times: unnamed,
            ..about_node(name, Reason::DriftRepaired, message)
        });
    }
    told
}

/// Reads the frontend in how agents name services and backends: "backend 10.0.0.11:8080 of 10.1.0.1:80/TCP", "virtual
/// service mark:7/IPV4"; none: it is of a version that says it otherwise.
fn frontend_in(object: &str) -> Option<Frontend> {
    let said = object.strip_prefix("virtual service ");
    let said = said.or_else(|| object.rsplit_once(" of ").map(|(_, frontend)| frontend))?;
    said.parse().ok()
}

/// Tells that a node begins to hold something back, holds back more, or holds nothing back any more.
pub(crate) fn held(
    name: &NodeName,
    before: Option<&Hold>,
    now: Option<&Hold>,
) -> Option<Happening> {
    match (before, now) {
        (Some(_), None) => {
            let message = "it holds nothing back any more";
            Some(about_node(name, Reason::HoldEnded, message))
        }
        (before, Some(hold)) if before.map(|it| it.generation) != Some(hold.generation) => {
            let Hold {
                generation,
                dropped,
                served,
                since_unix_ms: _,
                cause,
            } = hold;
            let message = format!(
                "it holds back generation {generation}, by which {dropped} of {served} virtual services would go: {cause}"
            );
            Some(about_node(name, Reason::HeldBack, message))
        }
        (_, _) => None,
    }
}

/// Tells that a node can make nothing durable, or can again.
pub(crate) fn degraded(
    name: &NodeName,
    before: Option<&Degraded>,
    now: Option<&Degraded>,
) -> Option<Happening> {
    match (before, now) {
        (None, Some(degraded)) => Some(about_node(name, Reason::NodeDegraded, &degraded.reason)),
        (Some(_), None) => {
            let message = "it makes things durable again";
            Some(about_node(name, Reason::NodeRecovered, message))
        }
        (_, _) => None,
    }
}

/// Tells what happens to a drain on a node.
pub(crate) fn drain_turn(name: &NodeName, of: &Drained, turn: &DrainTurn) -> Happening {
    let connections = match turn.left {
        1 => "1 connection".to_owned(),
        left => format!("{left} connections"),
    };
    let (reason, message) = match turn.turned {
        Turned::Began => {
            let seconds = turn.allowed_ms / SECOND_MS;
            let message = format!(
                "{connections} may end within {seconds} s; then what is left is {}",
                becomes(turn.on_deadline)
            );
            (Reason::DrainBegan, message)
        }
        Turned::Deadline => {
            let message = format!(
                "its time is over with {connections} left, to be {}",
                becomes(turn.on_deadline)
            );
            (Reason::DrainDeadline, message)
        }
        Turned::Ended => (Reason::DrainEnded, "the drain is over".to_owned()),
    };
    Happening {
        object: Some(drained(of)),
        ..about_node(name, reason, message)
    }
}

fn becomes(on_deadline: OnDeadline) -> &'static str {
    match on_deadline {
        OnDeadline::Keep => "kept",
        OnDeadline::Reset => "reset",
    }
}

fn drained(of: &Drained) -> EventObject {
    match of {
        Drained::Backend(service, endpoint) => backend(service.as_ref(), endpoint),
        Drained::Node(name) => EventObject::node(name),
    }
}

fn backend(service: Option<&ServiceName>, endpoint: &Endpoint) -> EventObject {
    let name = match service {
        Some(service) => format!("{service}/{endpoint}"),
        None => endpoint.to_string(),
    };
    EventObject::new(ObjectKind::Backend, name)
}

/// Tells of a write, before it is made: of each resource that it changes, or, of a large one, of some, and how many more; of
/// what is drained; of the rollout.
pub(crate) fn writes(
    change: &Change,
    revision: Revision,
    (who, what): (&Identity, What),
) -> Vec<Happening> {
    let by = |happening: Happening| Happening {
        who: who.to_string(),
        ..happening
    };
    let rollout = |of: Revision, reason, message: String| {
        let of = EventObject::new(ObjectKind::Rollout, of);
        by(anywhere(Some(of), reason, message))
    };
    let mut told = Vec::new();
    match what {
        What::Rollout => {
            let message = format!("{who} began it");
            told.push(rollout(revision, Reason::RolloutBegan, message));
        }
        What::Undo(of) => {
            let message = format!("{who} undid it at revision {revision}");
            told.push(rollout(of, Reason::RolloutUndone, message));
        }
        What::Register
        | What::Apply
        | What::Delete
        | What::Drain
        | What::Undrain
        | What::Rollback(_) => {}
    }
    let mut written = change.writes.keys().filter_map(|reference| {
        let outcome = *change.outcomes.get(reference)?;
        Some((reference, outcome))
    });
    let named = written.by_ref().take(MOST_NAMED);
    told.extend(
        named.map(|(reference, outcome)| by(wrote((reference, outcome), revision, (who, what)))),
    );
    let more = written.count() as u64;
    if more > 0 {
        let reason = match what {
            What::Delete => Reason::Deleted,
            What::Rollback(_) => Reason::RolledBack,
            _ => Reason::Applied,
        };
        let message = format!("{more} more resources at revision {revision}, by {who}");
        told.push(by(anywhere(None, reason, message)));
    }
    let reason = match what {
        What::Drain => Reason::DrainAsked,
        What::Undrain => Reason::DrainCancelled,
        // drains that go with what they were of
        _ => return told,
    };
    let mut drains = change.drains.keys();
    for target in drains.by_ref().take(MOST_NAMED) {
        let (node, object) = match target {
            DrainTarget::Node(name) => (Some(name.clone()), EventObject::node(name)),
            DrainTarget::Backend(service, at) => (None, backend(Some(service), at)),
        };
        let message = format!("by {who}, at revision {revision}");
        told.push(by(Happening {
            node,
            ..anywhere(Some(object), reason, message)
        }));
    }
    let more = drains.count() as u64;
    if more > 0 {
        let message = format!("{more} more at revision {revision}, by {who}");
        told.push(by(anywhere(None, reason, message)));
    }
    told
}

fn wrote(
    (reference, outcome): (&ResourceRef, Outcome),
    revision: Revision,
    (who, what): (&Identity, What),
) -> Happening {
    let done = match outcome {
        Outcome::Created => "created",
        Outcome::Updated => "changed",
        Outcome::Unchanged => "written",
        Outcome::Deleted => "deleted",
    };
    let is_node = reference.kind == Kind::Node;
    let reason = match (what, outcome) {
        (What::Register, Outcome::Created) => Reason::NodeRegistered,
        (What::Register, _) => Reason::NodeAddressesChanged,
        (What::Rollback(_), _) => Reason::RolledBack,
        (_, Outcome::Deleted) if is_node => Reason::NodeDeleted,
        (_, Outcome::Deleted) => Reason::Deleted,
        (_, _) => Reason::Applied,
    };
    let message = match what {
        What::Register => format!("{done} at revision {revision}, as its agent says"),
        What::Rollback(to) => {
            format!("{done} at revision {revision}, back to what it was at {to}, by {who}")
        }
        What::Undo(of) => {
            format!("{done} at revision {revision}, by {who}, who undid rollout {of}")
        }
        What::Apply | What::Delete | What::Drain | What::Undrain | What::Rollout => {
            format!("{done} at revision {revision}, by {who}")
        }
    };
    let kind = match reference.kind {
        Kind::Node => ObjectKind::Node,
        Kind::Service => ObjectKind::Service,
        Kind::BackendSet => ObjectKind::BackendSet,
    };
    let node = NodeName::new(&reference.name);
    let object = EventObject::new(kind, &reference.name);
    Happening {
        node: node.ok().filter(|_| is_node),
        ..anywhere(Some(object), reason, message)
    }
}

#[cfg(test)]
mod tests;
