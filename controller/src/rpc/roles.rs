//! Who may call what, where certificates are asked for: the table at the head of operator.proto, and agents.
//!
//! What a call needs because of what is in it is asked by the call itself ([`may`](super::caller::may)).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::warn;
use weir_proto::machine::now_unix_ms;
use weir_proto::model::{Identity, Role};
use weir_proto::tls::{Peer, Proof};
use weir_proto::wire::ErrorReason;

use super::caller::denied;
use super::ending::expired;
use super::status::{status, unknown_call};

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// An operator who may at least that.
    Role(Role),
    /// The agent of some node; of which, the call finds out.
    Node,
    /// Somebody.
    Certificate,
}

const VIEWER: Need = Need::Role(Role::Viewer);
const OPERATOR: Need = Need::Role(Role::Operator);
const ADMIN: Need = Need::Role(Role::Admin);

/// Every call there is.
const CALLS: &[(&str, Need)] = &[
    ("/weir.v1.Operator/Get", VIEWER),
    ("/weir.v1.Operator/List", VIEWER),
    ("/weir.v1.Operator/Watch", VIEWER),
    ("/weir.v1.Operator/NodeStatus", VIEWER),
    ("/weir.v1.Operator/ListDrains", VIEWER),
    ("/weir.v1.Operator/RolloutStatus", VIEWER),
    ("/weir.v1.Operator/History", VIEWER),
    ("/weir.v1.Operator/Traffic", VIEWER),
    ("/weir.v1.Operator/Events", VIEWER),
    ("/weir.v1.Operator/Plan", VIEWER),
    ("/weir.v1.Operator/Diff", VIEWER),
    ("/weir.v1.Operator/Why", VIEWER),
    ("/weir.v1.Operator/Apply", OPERATOR),
    ("/weir.v1.Operator/Delete", OPERATOR),
    ("/weir.v1.Operator/Drain", OPERATOR),
    ("/weir.v1.Operator/Undrain", OPERATOR),
    ("/weir.v1.Operator/SteerRollout", OPERATOR),
    ("/weir.v1.Operator/ReleaseNode", ADMIN),
    ("/weir.v1.Operator/Rollback", ADMIN),
    ("/weir.v1.NodeSync/Sync", Need::Node),
    ("/weir.v1.NodeReports/Report", Need::Node),
];
/// Services of others, which tell nothing of the cluster.
const OTHERS: [&str; 3] = [
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
];

/// Answers those who may not call with UNAUTHENTICATED or PERMISSION_DENIED, and names who calls to all others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Roles;

/// A service so guarded.
#[derive(Debug, Clone)]
pub(super) struct Guarded<S>(S);

impl<S> Layer<S> for Roles {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded(inner)
    }
}

impl<S, I, O> Service<Request<I>> for Guarded<S>
where
    S: Service<Request<I>, Response = Response<O>>,
    S::Future: Send + 'static,
    O: Default,
{
    type Response = Response<O>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<O>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<I>) -> Self::Future {
        let path = request.uri().path();
        // plaintext is what a transport says it is: of a peer of whom nothing is said nothing is proven
        let peer = request.extensions().get::<Peer>();
        let proof = peer.map_or(&Proof::Missing, |peer| &peer.proof);
        let judged = judge(path, proof, now_unix_ms());
        match judged {
            Ok(who) => {
                request.extensions_mut().insert(who);
                Box::pin(self.0.call(request))
            }
            Err(status) => {
                let peer = peer.map(|peer| peer.address);
                warn!(target: "audit", ?peer, path, why = status.message(), "refused");
                Box::pin(async move { Ok(status.into_http()) })
            }
        }
    }
}

/// Gives who calls at `now`, in Unix milliseconds, or why they may not.
fn judge(path: &str, proof: &Proof, now: u64) -> Result<Identity, Status> {
    // what has no line in the table is called by nobody, so that no call comes to be without one
    let need = need(path).ok_or_else(|| unknown_call(path))?;
    let who = match proof {
        Proof::Unasked => return Ok(Identity::Anonymous),
        Proof::Missing => {
            let problem = "no certificate says who calls; give one by --tls-cert and --tls-key";
            let reason = ErrorReason::CertificateMissing;
            return Err(status((Code::Unauthenticated, reason), problem, []));
        }
        // it was valid when the connection began
        Proof::Shown(certificate) if certificate.expires_unix_ms <= now => {
            return Err(expired(&certificate.identity));
        }
        Proof::Shown(certificate) => certificate.identity.clone(),
    };
    let (may, needed) = match need {
        Need::Role(role) => (who.has(role), format!("role {role}")),
        Need::Node => (
            matches!(who, Identity::Node(_)),
            "the certificate of a node".to_owned(),
        ),
        Need::Certificate => (true, String::new()),
    };
    if may {
        return Ok(who);
    }
    let call = path.rsplit('/').next().unwrap_or(path);
    Err(denied(call, &needed, &who))
}

/// Says whether a call may change something.
pub(super) fn changes(path: &str) -> bool {
    matches!(need(path), Some(Need::Role(role)) if role != Role::Viewer)
}

fn need(path: &str) -> Option<Need> {
    let others = OTHERS.iter().any(|other| path.starts_with(other));
    let line = CALLS.iter().find(|(call, _)| *call == path);
    line.map(|(_, need)| *need)
        .or(others.then_some(Need::Certificate))
}

#[cfg(test)]
mod tests;
