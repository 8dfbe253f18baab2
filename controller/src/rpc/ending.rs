//! What ends an answer that goes on: that the controller stops, or that the certificate of whom it is for expires.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tonic::{Code, Request, Status};
use weir_proto::model::Identity;
use weir_proto::tls::{Certificate, Peer, Proof, expiry};
use weir_proto::wire::ErrorReason;

use super::status::{controller_stops, status};
use super::stopped;

/// How long whoever is told why a stream ends may read nothing; it is then told nothing.
const LAST_WORD: Duration = Duration::from_secs(10);

/// What ends an answer.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    stopping: watch::Receiver<bool>,
    /// None: the connection is plaintext.
    certificate: Option<Certificate>,
}

impl Ending {
    /// Gives what ends the answer to a request.
    pub(super) fn of<T>(stopping: &watch::Receiver<bool>, request: &Request<T>) -> Self {
        Self {
            stopping: stopping.clone(),
            certificate: certificate(request).cloned(),
        }
    }

    /// Waits for it, and says what it was.
    pub(super) async fn comes(self) -> Status {
        let Self {
            stopping,
            certificate,
        } = self;
        let expires = async {
            match certificate {
                Some(certificate) => {
                    expiry(certificate.expires_unix_ms).await;
                    expired(&certificate.identity)
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = expires => status,
            () = stopped(stopping) => controller_stops(),
        }
    }
}

/// Gives the certificate that a request came with; none: its connection is plaintext.
pub(super) fn certificate<T>(request: &Request<T>) -> Option<&Certificate> {
    match &request.extensions().get::<Peer>()?.proof {
        Proof::Shown(certificate) => Some(certificate),
        Proof::Unasked | Proof::Missing => None,
    }
}

/// Tells somebody why they are not served any more.
pub(super) fn expired(who: &Identity) -> Status {
    let message =
        format!("the certificate of {who} expired while it was connected; come back with another");
    let reason = ErrorReason::CertificateExpired;
    status((Code::Unauthenticated, reason), message, [])
}

/// Tells why a stream ends, if that is read soon: nothing waits for ever for one that reads nothing.
pub(super) async fn last_word<T>(answers: &mpsc::Sender<Result<T, Status>>, status: Status) {
    let _ = timeout(LAST_WORD, answers.send(Err(status))).await;
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use tonic::Code;
    use weir_proto::model::{NodeName, Role, TrustDomain};

    use super::*;

    fn shown_for(left: Duration) -> Request<()> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock");
        let name = NodeName::new("alice").expect("a name");
        let role = Role::Viewer;
        let certificate = Certificate {
            domain: TrustDomain::new("weir").expect("a domain"),
            identity: Identity::Operator { role, name },
            begins_unix_ms: 0,
            expires_unix_ms: u64::try_from((now + left).as_millis()).expect("a time"),
        };
        let mut request = Request::new(());
        request.extensions_mut().insert(Peer {
            address: ([127, 0, 0, 1], 1).into(),
            proof: Proof::Shown(certificate),
        });
        request
    }

    #[tokio::test]
    async fn an_answer_ends_when_the_certificate_does() {
        let (_stop, stopping) = watch::channel(false);
        let request = shown_for(Duration::from_millis(50));
        let end = Ending::of(&stopping, &request).comes().await;
        assert_eq!(
            (end.code(), end.message()),
            (
                Code::Unauthenticated,
                "the certificate of viewer/alice expired while it was connected; come back with another"
            )
        );
    }

    #[tokio::test]
    async fn an_answer_ends_when_the_controller_stops() {
        let (stop, stopping) = watch::channel(false);
        let days = Duration::from_secs(90 * 24 * 60 * 60);
        let ending = Ending::of(&stopping, &shown_for(days));
        stop.send_replace(true);
        let end = ending.comes().await;
        assert_eq!(
            (end.code(), end.message()),
            (Code::Unavailable, "the controller is stopping")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_nothing_keeps_no_stream_by_not_reading_why_it_ends() {
        let (answers, unread) = mpsc::channel(1);
        answers.try_send(Ok(())).expect("room");
        let told = last_word(&answers, Status::aborted("for a reason"));
        timeout(LAST_WORD * 2, told).await.expect("it ends");
        drop(unread);
    }
}
