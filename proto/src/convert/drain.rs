//! Drains, and what a node tells of them, of what it holds back and of what it repaired.

use std::collections::BTreeSet;

use super::{FieldErrors, Problems, address_from_wire, item_key_from_wire, item_key_to_wire};
use crate::model::{
    AskedDrain, Degraded, Drain, DrainDeadline, DrainProgress, DrainTarget, DrainTerms, Endpoint,
    Generation, Hold, NodeName, OnDeadline, Port, Refused, Repair, ServiceName,
};
use crate::wire;

/// Reads a drain that stands at `at` and says everything.
pub(super) fn drain_from_wire(
    drain: Option<&wire::Drain>,
    at: &str,
    problems: &mut Problems,
) -> Option<Drain> {
    let Some(drain) = drain else {
        problems.add(at, Refused::Missing);
        return None;
    };
    let seconds = drain.deadline_seconds.ok_or(Refused::Missing);
    let deadline = problems.take(
        format!("{at}.deadline_seconds"),
        seconds.and_then(DrainDeadline::new),
    );
    let path = format!("{at}.on_deadline");
    let on_deadline = problems.take(path, on_deadline_from_wire(drain.on_deadline));
    Some(Drain {
        deadline: deadline?,
        on_deadline: on_deadline?,
    })
}

/// Reads a drain that stands at `at`; what it does not say is as in `default`.
pub fn drain_or(
    default: Drain,
    drain: Option<&wire::Drain>,
    at: &str,
    problems: &mut Problems,
) -> Option<Drain> {
    let terms = drain_terms_from_wire(drain, at, problems)?;
    Some(terms.or(default))
}

/// Reads what a drain that stands at `at` says, if it is there and says anything.
pub fn drain_terms_from_wire(
    drain: Option<&wire::Drain>,
    at: &str,
    problems: &mut Problems,
) -> Option<DrainTerms> {
    let Some(drain) = drain else {
        return Some(DrainTerms::default());
    };
    let deadline = drain.deadline_seconds.map(DrainDeadline::new).transpose();
    let deadline = problems.take(format!("{at}.deadline_seconds"), deadline);
    let unspecified = wire::OnDeadline::Unspecified as i32;
    let on_deadline = (drain.on_deadline != unspecified).then_some(drain.on_deadline);
    let on_deadline = on_deadline.map(on_deadline_from_wire).transpose();
    let on_deadline = problems.take(format!("{at}.on_deadline"), on_deadline);
    Some(DrainTerms {
        deadline: deadline?,
        on_deadline: on_deadline?,
    })
}

/// Writes what an operator said of a drain; what was not said is absent.
pub fn drain_terms_to_wire(terms: DrainTerms) -> wire::Drain {
    let unspecified = wire::OnDeadline::Unspecified;
    wire::Drain {
        deadline_seconds: terms.deadline.map(DrainDeadline::seconds),
        on_deadline: terms
            .on_deadline
            .map_or(unspecified, on_deadline_to_wire)
            .into(),
    }
}

/// Reads what is to be drained, or no longer, each thing once: `targets[0].backend.port`.
pub fn drain_targets_from_wire(
    targets: &[wire::DrainTarget],
    problems: &mut Problems,
) -> Vec<DrainTarget> {
    if targets.is_empty() {
        problems.add("targets", Refused::Missing);
    }
    let mut taken = Vec::with_capacity(targets.len());
    let mut seen = BTreeSet::new();
    for (place, target) in targets.iter().enumerate() {
        let path = format!("targets[{place}]");
        let Some(target) = drain_target_from_wire(target, &path, problems) else {
            continue;
        };
        if seen.insert(target.clone()) {
            taken.push(target);
        } else {
            problems.add(path, Refused::Twice(target.to_string()));
        }
    }
    taken
}

/// Reads one thing that is to be drained, and stands at `at`.
pub fn drain_target_from_wire(
    target: &wire::DrainTarget,
    at: &str,
    problems: &mut Problems,
) -> Option<DrainTarget> {
    use wire::drain_target::Target;
    match &target.target {
        Some(Target::Backend(backend)) => {
            let at = format!("{at}.backend");
            let service = ServiceName::new(&backend.service);
            let service = problems.take(format!("{at}.service"), service);
            let address = address_from_wire(&backend.address);
            let address = problems.take(format!("{at}.address"), address);
            let port = problems.take(format!("{at}.port"), Port::new(backend.port));
            let endpoint = Endpoint {
                address: address?,
                port: port?,
            };
            Some(DrainTarget::Backend(service?, endpoint))
        }
        Some(Target::Node(name)) => {
            let name = problems.take(format!("{at}.node"), NodeName::new(name));
            name.map(DrainTarget::Node)
        }
        None => {
            problems.add(at, Refused::Missing);
            None
        }
    }
}

/// Writes what is drained.
pub fn drain_target_to_wire(target: &DrainTarget) -> wire::DrainTarget {
    match target {
        DrainTarget::Backend(service, endpoint) => backend_target_to_wire(Some(service), *endpoint),
        DrainTarget::Node(name) => wire::DrainTarget {
            target: Some(wire::drain_target::Target::Node(name.to_string())),
        },
    }
}

/// Writes a backend that is drained, of a service that may not be known.
pub fn backend_target_to_wire(
    service: Option<&ServiceName>,
    endpoint: Endpoint,
) -> wire::DrainTarget {
    let backend = wire::drain_target::Backend {
        service: service.map_or_else(String::new, ServiceName::to_string),
        address: endpoint.address.to_string(),
        port: endpoint.port.get().into(),
    };
    wire::DrainTarget {
        target: Some(wire::drain_target::Target::Backend(backend)),
    }
}

/// Reads a drain that an operator asked for, as it was said.
pub fn asked_from_wire(state: &wire::DrainState) -> Result<(DrainTarget, AskedDrain), FieldErrors> {
    let mut problems = Problems::default();
    let nothing = wire::DrainTarget::default();
    let target = state.target.as_ref().unwrap_or(&nothing);
    let target = drain_target_from_wire(target, "target", &mut problems);
    let terms = drain_terms_from_wire(state.drain.as_ref(), "drain", &mut problems);
    let at_unix_ms = state.asked_unix_ms;
    let asked = terms.map(|terms| AskedDrain { terms, at_unix_ms });
    problems.finish(target.zip(asked))
}

/// Writes a drain that an operator asked for, as it was said, without a word of any node.
pub fn asked_to_wire(target: &DrainTarget, asked: AskedDrain) -> wire::DrainState {
    wire::DrainState {
        target: Some(drain_target_to_wire(target)),
        asked: true,
        drain: Some(drain_terms_to_wire(asked.terms)),
        asked_unix_ms: asked.at_unix_ms,
        nodes: Vec::new(),
    }
}

/// Writes a drain whole.
pub fn drain_to_wire(drain: Drain) -> wire::Drain {
    wire::Drain {
        deadline_seconds: Some(drain.deadline.seconds()),
        on_deadline: on_deadline_to_wire(drain.on_deadline).into(),
    }
}

fn on_deadline_from_wire(number: i32) -> Result<OnDeadline, Refused> {
    match wire::OnDeadline::try_from(number) {
        Ok(wire::OnDeadline::Keep) => Ok(OnDeadline::Keep),
        Ok(wire::OnDeadline::Reset) => Ok(OnDeadline::Reset),
        Ok(wire::OnDeadline::Unspecified) => Err(Refused::Missing),
        Err(_) => Err(Refused::Enum(number, "drain's end")),
    }
}

fn on_deadline_to_wire(on_deadline: OnDeadline) -> wire::OnDeadline {
    match on_deadline {
        OnDeadline::Keep => wire::OnDeadline::Keep,
        OnDeadline::Reset => wire::OnDeadline::Reset,
    }
}

/// Reads how far a drain is.
pub fn progress_from_wire(
    progress: &wire::DrainProgress,
    path: &str,
) -> Result<DrainProgress, FieldErrors> {
    let mut problems = Problems::default();
    let missing = wire::ItemKey::default();
    let key = progress.key.as_ref().unwrap_or(&missing);
    let key = item_key_from_wire(key, &format!("{path}.key"))?;
    let on_deadline = problems.take(
        format!("{path}.on_deadline"),
        on_deadline_from_wire(progress.on_deadline),
    );
    problems.finish(on_deadline.map(|on_deadline| DrainProgress {
        key,
        active: progress.active_connections,
        inactive: progress.inactive_connections,
        started_unix_ms: progress.started_unix_ms,
        deadline_unix_ms: progress.deadline_unix_ms,
        on_deadline,
        done: progress.done,
    }))
}

/// Writes how far a drain is.
pub fn progress_to_wire(progress: &DrainProgress) -> wire::DrainProgress {
    wire::DrainProgress {
        key: Some(item_key_to_wire(&progress.key)),
        active_connections: progress.active,
        inactive_connections: progress.inactive,
        started_unix_ms: progress.started_unix_ms,
        deadline_unix_ms: progress.deadline_unix_ms,
        on_deadline: on_deadline_to_wire(progress.on_deadline).into(),
        done: progress.done,
    }
}

/// Reads what a node holds back.
pub fn hold_from_wire(hold: wire::Hold) -> Hold {
    Hold {
        generation: Generation(hold.generation),
        dropped: hold.dropped,
        served: hold.served,
        since_unix_ms: hold.since_unix_ms,
        cause: hold.cause,
    }
}

/// Writes what a node holds back.
pub fn hold_to_wire(hold: &Hold) -> wire::Hold {
    wire::Hold {
        generation: hold.generation.0,
        dropped: hold.dropped,
        served: hold.served,
        since_unix_ms: hold.since_unix_ms,
        cause: hold.cause.clone(),
    }
}

/// Reads why a node can make nothing durable.
pub fn degraded_from_wire(degraded: wire::Degraded) -> Degraded {
    Degraded {
        reason: degraded.reason,
        since_unix_ms: degraded.since_unix_ms,
    }
}

/// Writes why a node can make nothing durable.
pub fn degraded_to_wire(degraded: &Degraded) -> wire::Degraded {
    wire::Degraded {
        reason: degraded.reason.clone(),
        since_unix_ms: degraded.since_unix_ms,
    }
}

/// Reads a repair.
pub fn repair_from_wire(repair: wire::Repair) -> Repair {
    Repair {
        object: repair.object,
        kind: repair.kind,
        found: repair.found,
        expected: repair.expected,
        at_unix_ms: repair.at_unix_ms,
    }
}

/// Writes a repair.
pub fn repair_to_wire(repair: &Repair) -> wire::Repair {
    wire::Repair {
        object: repair.object.clone(),
        kind: repair.kind.clone(),
        found: repair.found.clone(),
        expected: repair.expected.clone(),
        at_unix_ms: repair.at_unix_ms,
    }
}
