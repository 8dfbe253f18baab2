//! Drains, and what a node tells of them, of what it holds back and of what it repaired.

use super::{FieldErrors, Problems, item_key_from_wire, item_key_to_wire};
use crate::model::{
    Degraded, Drain, DrainDeadline, DrainProgress, Generation, Hold, OnDeadline, Refused, Repair,
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
    let Some(drain) = drain else {
        return Some(default);
    };
    let deadline = match drain.deadline_seconds {
        None => Some(default.deadline),
        Some(seconds) => problems.take(
            format!("{at}.deadline_seconds"),
            DrainDeadline::new(seconds),
        ),
    };
    let unspecified = wire::OnDeadline::Unspecified as i32;
    let on_deadline = if drain.on_deadline == unspecified {
        Some(default.on_deadline)
    } else {
        let path = format!("{at}.on_deadline");
        problems.take(path, on_deadline_from_wire(drain.on_deadline))
    };
    Some(Drain {
        deadline: deadline?,
        on_deadline: on_deadline?,
    })
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
