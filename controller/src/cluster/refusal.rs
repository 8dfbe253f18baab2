//! Why the cluster's task does not do what it is asked.

use std::sync::Arc;

use weir_proto::convert::FieldErrors;
use weir_proto::model::{DrainTarget, NodeName, ResourceRef, Revision, RolloutPhase};

use super::Stopped;
use crate::desired::{HeldUp, NotNow};
use crate::store::StoreError;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Fields(FieldErrors),
    #[error("the cluster is at revision {actual}, not {expected}")]
    Revision {
        expected: Revision,
        actual: Revision,
    },
    #[error("not found: {}", list(.0))]
    NotFound(Vec<ResourceRef>),
    #[error("not found: {}", list(.0))]
    NothingToDrain(Vec<DrainTarget>),
    #[error("not drained: {}", list(.0))]
    NotDrained(Vec<DrainTarget>),
    #[error("node {0} is not connected: release it when it is back")]
    Away(NodeName),
    #[error("node {0} holds nothing back")]
    NothingHeld(NodeName),
    #[error(
        "the changes after revision {from} are no longer there, or not yet: list, and watch from there (the controller has those after {oldest}, up to {newest})"
    )]
    OutOfRange {
        from: Revision,
        oldest: Revision,
        newest: Revision,
    },
    #[error(
        "revision {to} cannot be gone back to: the history knows what was from revision {oldest} on, and the cluster is at {newest}"
    )]
    NotKept {
        to: Revision,
        oldest: Revision,
        newest: Revision,
    },
    #[error("rollout {revision} is {phase}: wait until it is over, or undo it first")]
    UnderWay {
        revision: Revision,
        phase: RolloutPhase,
    },
    #[error(transparent)]
    HeldUp(#[from] HeldUp),
    #[error("there is no rollout")]
    NoRollout,
    #[error("the rollout is that of revision {0}")]
    OtherRollout(Revision),
    #[error(transparent)]
    NotNow(#[from] NotNow),
    #[error("the change may not have reached the store, and the controller starts again")]
    Store(#[source] Arc<StoreError>),
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

fn list(named: &[impl ToString]) -> String {
    let names: Vec<String> = named.iter().map(ToString::to_string).collect();
    names.join(", ")
}
