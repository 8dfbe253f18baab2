//! What is in the way of a node, for programs. PURE.

use serde::Serialize;
use weir_proto::wire;

use super::failure::{errno_name, failed_object};

/// Something that a node does not hold as wanted.
#[derive(Serialize)]
pub(crate) struct Failure<'a> {
    object: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    field: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<String>,
    cause: &'a str,
}

/// What a node holds back.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Hold<'a> {
    generation: u64,
    dropped: u64,
    served: u64,
    since_unix_ms: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    cause: &'a str,
}

/// Why a node can make nothing durable.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Degraded<'a> {
    reason: &'a str,
    since_unix_ms: u64,
}

impl<'a> From<&'a wire::ItemFailure> for Failure<'a> {
    fn from(failure: &'a wire::ItemFailure) -> Self {
        Self {
            object: failed_object(failure),
            field: &failure.field,
            errno: errno_name(failure.errno),
            cause: &failure.cause,
        }
    }
}

impl<'a> From<&'a wire::Hold> for Hold<'a> {
    fn from(hold: &'a wire::Hold) -> Self {
        Self {
            generation: hold.generation,
            dropped: hold.dropped,
            served: hold.served,
            since_unix_ms: hold.since_unix_ms,
            cause: &hold.cause,
        }
    }
}

impl<'a> From<&'a wire::Degraded> for Degraded<'a> {
    fn from(degraded: &'a wire::Degraded) -> Self {
        Self {
            reason: &degraded.reason,
            since_unix_ms: degraded.since_unix_ms,
        }
    }
}
