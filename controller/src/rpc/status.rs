//! Refusals as gRPC statuses.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};
use weir_proto::convert::{FieldError, FieldErrors};

use crate::cluster::Refusal;

/// How many bytes a status may take as headers: each line is in its message, in its details as the message
/// once more, and as a violation. Clients take 16 KiB of headers by default, and hang up without a word on
/// more.
const MOST_BYTES: usize = 14 * 1024;

/// Tells why something was not done.
pub(super) fn refusal(refusal: Refusal) -> Status {
    let message = chain(&refusal);
    match refusal {
        Refusal::Fields(errors) => invalid(&errors),
        Refusal::Revision { .. } => Status::aborted(message),
        Refusal::NotFound(_) | Refusal::NothingToDrain(_) | Refusal::NotDrained(_) => {
            Status::not_found(message)
        }
        Refusal::Away(_)
        | Refusal::NothingHeld(_)
        | Refusal::UnderWay { .. }
        | Refusal::HeldUp(_)
        | Refusal::NoRollout
        | Refusal::OtherRollout(_)
        | Refusal::NotNow(_) => Status::failed_precondition(message),
        Refusal::OutOfRange { .. } | Refusal::NotKept { .. } => Status::out_of_range(message),
        Refusal::Store(_) => Status::unavailable(message),
        Refusal::Stopped(_) => Status::unavailable(message),
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
    Status::with_error_details(
        Code::InvalidArgument,
        lines.join("\n"),
        ErrorDetails::with_bad_request(violations),
    )
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
    use weir_proto::model::{Refused, Revision};

    use super::*;

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
}
