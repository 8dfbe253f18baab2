//! Who calls: [`roles`](super::roles) puts it beside each request.

use tonic::{Code, Request, Status};
use tracing::warn;
use weir_proto::model::{Identity, Role};
use weir_proto::wire::ErrorReason;

use super::status::status;

/// Gives who a request is of. One of which that is not known is of nobody, whatever the transport.
pub(super) fn caller<T>(request: &Request<T>) -> Result<Identity, Status> {
    let known = request.extensions().get::<Identity>().cloned();
    known.ok_or_else(|| {
        let reason = ErrorReason::CertificateMissing;
        status(
            (Code::Unauthenticated, reason),
            "nothing says who calls",
            [],
        )
    })
}

/// Refuses what is in a request of somebody who may make the call, but not with that in it.
pub(super) fn may(who: &Identity, needed: Role, what: &str) -> Result<(), Status> {
    if who.has(needed) {
        return Ok(());
    }
    warn!(target: "audit", %who, what, %needed, "refused");
    Err(denied(what, &format!("role {needed}"), who))
}

/// Says that somebody may not do something.
pub(super) fn denied(what: &str, needed: &str, who: &Identity) -> Status {
    let message = format!("{what} needs {needed}; the certificate is that of {who}");
    status(
        (Code::PermissionDenied, ErrorReason::PermissionMissing),
        message,
        [("caller", who.to_string()), ("needed", needed.to_owned())],
    )
}
