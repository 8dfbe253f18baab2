//! Refusals as gRPC statuses.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};
use weir_proto::convert::{FieldError, FieldErrors};
use weir_proto::wire::ErrorReason;

use crate::cluster::Refusal;

/// How many bytes a status may take as headers: each line is in its message, in its details as the message
/// once more, and as a violation. Clients take 16 KiB of headers by default, and hang up without a word on
/// more.
const MOST_BYTES: usize = 14 * 1024;

/// Whose reasons these are.
const DOMAIN: &str = "weir";

/// Makes a status with the reason for machines, and what there is to know beside it.
pub(super) fn status<const N: usize>(
    (code, reason): (Code, ErrorReason),
    message: impl Into<String>,
    metadata: [(&str, String); N],
) -> Status {
    let details = ErrorDetails::with_error_info(
        reason.as_str_name(),
        DOMAIN,
        metadata.map(|(key, value)| (key.to_owned(), value)),
    );
    Status::with_error_details(code, message, details)
}

/// Says that there is no such call.
pub(super) fn unknown_call(path: &str) -> Status {
    let reason = (Code::Unimplemented, ErrorReason::CallUnknown);
    status(reason, format!("there is no {path}"), [])
}

/// Says that the controller stops.
pub(super) fn controller_stops() -> Status {
    status(
        (Code::Unavailable, ErrorReason::Stopping),
        "the controller is stopping",
        [],
    )
}

/// Tells why something was not done.
pub(super) fn refusal(refusal: Refusal) -> Status {
    let message = chain(&refusal);
    let because = |code, reason| status((code, reason), message.clone(), []);
    match &refusal {
        Refusal::Fields(errors) => invalid(errors),
        Refusal::Revision { expected, actual } => status(
            (Code::Aborted, ErrorReason::RevisionMismatch),
            message,
            [
                ("expected", expected.to_string()),
                ("actual", actual.to_string()),
            ],
        ),
        Refusal::NotFound(_) => because(Code::NotFound, ErrorReason::ResourceNotFound),
        Refusal::NothingToDrain(_) => because(Code::NotFound, ErrorReason::DrainTargetNotFound),
        Refusal::NotDrained(_) => because(Code::NotFound, ErrorReason::NotDrained),
        Refusal::Away(node) => status(
            (Code::FailedPrecondition, ErrorReason::NodeAway),
            message,
            [("node", node.to_string())],
        ),
        Refusal::NothingHeld(node) => status(
            (Code::FailedPrecondition, ErrorReason::NothingHeld),
            message,
            [("node", node.to_string())],
        ),
        Refusal::UnderWay { revision, .. } => status(
            (Code::FailedPrecondition, ErrorReason::RolloutUnderWay),
            message,
            [("revision", revision.to_string())],
        ),
        Refusal::HeldUp(_) => because(Code::FailedPrecondition, ErrorReason::RolloutHeldUp),
        Refusal::NoRollout => because(Code::FailedPrecondition, ErrorReason::NoRollout),
        Refusal::OtherRollout(revision) => status(
            (Code::FailedPrecondition, ErrorReason::OtherRollout),
            message,
            [("revision", revision.to_string())],
        ),
        Refusal::NotNow(_) => because(Code::FailedPrecondition, ErrorReason::RolloutPhase),
        Refusal::OutOfRange {
            from,
            oldest,
            newest,
        } => status(
            (Code::OutOfRange, ErrorReason::RevisionOutOfRange),
            message,
            [
                ("from", from.to_string()),
                ("oldest", oldest.to_string()),
                ("newest", newest.to_string()),
            ],
        ),
        Refusal::NotKept { to, oldest, newest } => status(
            (Code::OutOfRange, ErrorReason::RevisionNotKept),
            message,
            [
                ("to", to.to_string()),
                ("oldest", oldest.to_string()),
                ("newest", newest.to_string()),
            ],
        ),
        Refusal::Store(_) => because(Code::Unavailable, ErrorReason::StoreFailed),
        Refusal::Stopped(_) => because(Code::Unavailable, ErrorReason::Stopping),
    }
}

/// Names every bad field on a line of its own, and once more for machines. Those beyond what fits into
/// headers are counted.
pub(super) fn invalid(FieldErrors(errors): &FieldErrors) -> Status {
    let mut lines = Vec::new();
    let mut violations = Vec::new();
    let mut bytes = 0;
    for FieldError { path, problem } in errors {
        let problem = problem.to_string();
        let line = format!("{path}: {problem}");
        bytes += escaped(&line) + 2 * in_base64(line.len());
        if bytes > MOST_BYTES {
            lines.push(format!("and {} more", errors.len() - lines.len()));
            break;
        }
        lines.push(line);
        violations.push(FieldViolation::new(path, problem));
    }
    let reason = ErrorReason::FieldsInvalid.as_str_name();
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, []);
    details.set_bad_request(violations);
    Status::with_error_details(Code::InvalidArgument, lines.join("\n"), details)
}

/// Gives an error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// What a line takes as grpc-message, the line break included: what is not plain is escaped with three bytes.
fn escaped(line: &str) -> usize {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.,:;()[]/".contains(byte);
    let bytes = line.bytes();
    let all: usize = bytes.map(|byte| if plain(&byte) { 1 } else { 3 }).sum();
    all + 3
}

/// What a line takes in grpc-status-details-bin, with the numbers and lengths around it.
fn in_base64(line: usize) -> usize {
    (line + 12).div_ceil(3) * 4
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use weir_proto::model::{NodeName, Refused, Revision, RolloutPhase};

    use super::*;
    use crate::cluster::Stopped;

    fn errors(count: usize) -> FieldErrors {
        let error = |place: usize| FieldError {
            path: format!("services[web].frontends[{place}].port"),
            problem: Refused::Port(0),
        };
        FieldErrors((0..count).map(error).collect())
    }

    #[test]
    fn every_bad_field_has_a_line_and_a_violation() {
        let status = invalid(&errors(2));
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(
            status.message(),
            "services[web].frontends[0].port: 0 is not a port (1-65535)\n\
             services[web].frontends[1].port: 0 is not a port (1-65535)"
        );
        let details = status.get_details_bad_request().expect("bad request");
        let violation = &details.field_violations[1];
        assert_eq!(violation.field, "services[web].frontends[1].port");
        assert_eq!(violation.description, "0 is not a port (1-65535)");
        assert_eq!(details.field_violations.len(), 2);
    }

    #[test]
    fn more_bad_fields_than_fit_into_headers_are_counted() {
        let status = invalid(&errors(10_000));
        let lines: Vec<&str> = status.message().lines().collect();
        let last = lines.last().copied().unwrap_or_default();
        assert_eq!(last, format!("and {} more", 10_000 - (lines.len() - 1)));
        assert!(lines.len() > 30, "{} lines", lines.len());
        let headers = status.into_http::<()>().headers().clone();
        let bytes: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 32)
            .sum();
        assert!(bytes < 16 * 1024, "{bytes} bytes of headers");
    }

    #[test]
    fn a_failed_store_is_unavailable_with_its_cause() {
        let cause = crate::store::StoreError::Commit("the disk is full".into());
        let status = refusal(Refusal::Store(cause.into()));
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(
            status.message(),
            "the change may not have reached the store, and the controller starts again: \
             cannot make the change durable: the disk is full"
        );
    }

    #[test]
    fn another_revision_is_aborted() {
        let status = refusal(Refusal::Revision {
            expected: Revision(3),
            actual: Revision(5),
        });
        assert_eq!(status.code(), Code::Aborted);
        assert_eq!(status.message(), "the cluster is at revision 5, not 3");
    }

    #[test]
    fn every_refusal_has_a_reason_for_machines() {
        let node = || NodeName::new("node-a").expect("a name");
        let (one, two, three) = (Revision(1), Revision(2), Revision(3));
        let cases = [
            (Refusal::Fields(errors(1)), "FIELDS_INVALID", vec![]),
            (
                Refusal::Revision {
                    expected: one,
                    actual: two,
                },
                "REVISION_MISMATCH",
                vec![("actual", "2"), ("expected", "1")],
            ),
            (Refusal::NotFound(vec![]), "RESOURCE_NOT_FOUND", vec![]),
            (
                Refusal::NothingToDrain(vec![]),
                "DRAIN_TARGET_NOT_FOUND",
                vec![],
            ),
            (Refusal::NotDrained(vec![]), "NOT_DRAINED", vec![]),
            (Refusal::Away(node()), "NODE_AWAY", vec![("node", "node-a")]),
            (
                Refusal::NothingHeld(node()),
                "NOTHING_HELD",
                vec![("node", "node-a")],
            ),
            (
                Refusal::OutOfRange {
                    from: one,
                    oldest: two,
                    newest: three,
                },
                "REVISION_OUT_OF_RANGE",
                vec![("from", "1"), ("newest", "3"), ("oldest", "2")],
            ),
            (
                Refusal::NotKept {
                    to: one,
                    oldest: two,
                    newest: three,
                },
                "REVISION_NOT_KEPT",
                vec![("newest", "3"), ("oldest", "2"), ("to", "1")],
            ),
            (
                Refusal::UnderWay {
                    revision: two,
                    phase: RolloutPhase::Running,
                },
                "ROLLOUT_UNDER_WAY",
                vec![("revision", "2")],
            ),
            (Refusal::NoRollout, "NO_ROLLOUT", vec![]),
            (
                Refusal::OtherRollout(two),
                "OTHER_ROLLOUT",
                vec![("revision", "2")],
            ),
            (Refusal::Stopped(Stopped), "STOPPING", vec![]),
        ];
        for (refused, reason, metadata) in cases {
            let status = refusal(refused);
            let info = status.get_details_error_info().expect("a reason");
            let told: BTreeMap<&str, &str> = info
                .metadata
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect();
            assert_eq!(
                (info.reason.as_str(), info.domain.as_str()),
                (reason, DOMAIN)
            );
            assert_eq!(told, BTreeMap::from_iter(metadata), "{reason}");
        }
    }
}
