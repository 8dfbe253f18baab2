//! Who calls: the server puts it beside each request that comes over a connection with a certificate.

use tonic::Request;
use weir_proto::model::Identity;

/// Gives who a request is of.
pub(super) fn caller<T>(request: &Request<T>) -> Identity {
    let known = request.extensions().get::<Identity>();
    known.cloned().unwrap_or(Identity::Anonymous)
}
