//! The agent's health as gRPC tells it (`grpc.health.v1`): it is NOT_SERVING once the controller was not heard for too long.
//!
//! It says how old the state is, and nothing of traffic: that goes on, and so does `/readyz`.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::health_reporter;
use tracing::{info, warn};

use crate::session::{Contact, Link};

/// Who is asked for: the agent as a whole, and by its name.
const SERVICES: [&str; 2] = ["", "weir.v1.Agent"];
/// No agent runs that long: what never comes.
const NEVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What health is told by.
#[derive(Debug, Clone)]
pub struct Staleness {
    /// When the agent started.
    pub started: Instant,
    /// How old its state may be; none: any age.
    pub stale_after: Option<Duration>,
}

impl Staleness {
    /// Says whether the state is too old at `now`, and when to ask again if nothing happens until then.
    fn judge(&self, contact: Contact, now: Instant) -> (bool, Option<Instant>) {
        let (Some(since), Some(most)) = (contact.silent_since(self.started), self.stale_after)
        else {
            return (false, None);
        };
        let then = since + most;
        match now >= then {
            true => (true, None),
            false => (false, Some(then)),
        }
    }
}

/// Gives the service, and what keeps it true for as long as it runs.
pub(super) fn health(
    staleness: Staleness,
    mut link: watch::Receiver<Link>,
) -> (HealthServer<impl Health>, impl Future<Output = Infallible>) {
    let (reporter, server) = health_reporter();
    let keep = async move {
        let mut told = None;
        loop {
            let contact = link.borrow_and_update().contact;
            let now = Instant::now();
            let (stale, next) = staleness.judge(contact, now);
            if told != Some(stale) {
                let status = match stale {
                    true => ServingStatus::NotServing,
                    false => ServingStatus::Serving,
                };
                for service in SERVICES {
                    reporter.set_service_status(service, status).await;
                }
                let age_s = contact.age(staleness.started, now).as_secs();
                match (stale, told) {
                    (true, _) => warn!(age_s, "the state is stale; the node goes on with it"),
                    (false, Some(_)) => info!("the state is not stale any more"),
                    (false, None) => {}
                }
                told = Some(stale);
            }
            tokio::select! {
                changed = link.changed() => {
                    if changed.is_err() {
                        // the session is gone: nothing is heard any more
                        sleep_until(next.unwrap_or(now + NEVER)).await;
                    }
                }
                () = sleep_until(next.unwrap_or(now + NEVER)) => {}
            }
        }
    };
    (server, keep)
}

#[cfg(test)]
mod tests;
