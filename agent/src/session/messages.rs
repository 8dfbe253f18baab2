//! What is told to the controller, as it goes over the wire.

use weir_proto::convert::{failure_to_wire, progress_to_wire};
use weir_proto::model::{DrainProgress, Generation};
use weir_proto::wire;

use crate::plan::Held;
use crate::reconciler::Status;

/// How many drains are told of at most; the rest is only counted. A thousand are some 100 KiB on the wire.
const MOST_DRAINS: usize = 1_000;
/// How many refused items are told of at most; the rest is only counted. A thousand are at most some 500 KiB.
const MOST_REFUSED: usize = 1_000;

pub(super) fn request(message: wire::sync_request::Message) -> wire::SyncRequest {
    wire::SyncRequest {
        message: Some(message),
    }
}

/// Tells that a generation is durable, and what of it is not taken.
pub(super) fn accepted(generation: Generation, held: &Held) -> wire::Accepted {
    let failures = held.refused.failures(MOST_REFUSED);
    wire::Accepted {
        generation: generation.0,
        refused: failures.iter().map(failure_to_wire).collect(),
        refused_count: held.refused.count(),
    }
}

pub(super) fn converged(status: &Status) -> wire::Converged {
    wire::Converged {
        generation: status.converged.0,
        failures: status.report.failures.iter().map(failure_to_wire).collect(),
        failure_count: status.report.count,
    }
}

pub(super) fn drains(drains: &[DrainProgress]) -> wire::Drains {
    wire::Drains {
        drains: drains
            .iter()
            .take(MOST_DRAINS)
            .map(progress_to_wire)
            .collect(),
        count: drains.iter().filter(|drain| !drain.done).count() as u64,
    }
}
