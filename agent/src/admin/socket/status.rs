//! Refusals as gRPC statuses, each with a reason for machines.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};
use weir_proto::wire::ErrorReason;

/// Whose reasons these are.
const DOMAIN: &str = "weir";

/// Says that the agent could not open its journal yet.
pub(super) fn journal_closed() -> Status {
    let why = "the agent could not open its journal yet: it knows neither what is served nor what is its own";
    status(Code::Unavailable, ErrorReason::JournalClosed, why)
}

/// Says that the kernel cannot be read.
pub(super) fn kernel_unreadable(why: String) -> Status {
    status(Code::Unavailable, ErrorReason::KernelUnreadable, &why)
}

/// Says that there was no answer in time.
pub(super) fn late() -> Status {
    let why = "the kernel did not answer in time";
    status(Code::DeadlineExceeded, ErrorReason::CallTimedOut, why)
}

/// Says that the agent ends.
pub(super) fn stopping() -> Status {
    status(
        Code::Unavailable,
        ErrorReason::Stopping,
        "the agent is stopping",
    )
}

/// Says that there is no such call.
pub(super) fn unknown_call(path: &str) -> Status {
    let why = format!("there is no {path}");
    status(Code::Unimplemented, ErrorReason::CallUnknown, &why)
}

/// Names the fields that make no sense, with what is wrong with each.
pub(super) fn invalid(bad: Vec<(String, String)>) -> Status {
    let lines = bad.iter().map(|(field, why)| format!("{field}: {why}"));
    let lines: Vec<String> = lines.collect();
    let reason = ErrorReason::FieldsInvalid.as_str_name();
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, []);
    let violations = bad.into_iter();
    let violations = violations.map(|(field, why)| FieldViolation::new(field, why));
    details.set_bad_request(violations.collect::<Vec<_>>());
    Status::with_error_details(Code::InvalidArgument, lines.join("\n"), details)
}

fn status(code: Code, reason: ErrorReason, message: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason.as_str_name(), DOMAIN, []);
    Status::with_error_details(code, message, details)
}
