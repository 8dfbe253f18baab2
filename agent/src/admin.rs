//! What the agent tells over HTTP: whether it lives, whether the kernel serves, and numbers; and by gRPC, on the same port,
//! whether its state is too old.

mod health;
mod numbers;
mod sample;
pub mod socket;
mod stages;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic_health::pb::health_server::SERVICE_NAME;
use weir_proto::model::Degraded;

pub use self::health::Staleness;
use self::health::health;
pub use self::sample::sample_metrics;
pub use self::stages::Stages;
use crate::plan::Numbers;
use crate::reconciler::{Counts, Status};
use crate::session::Link;

/// Where the numbers come from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// How long changes take.
    pub stages: Stages,
    /// How far the kernel is.
    pub status: watch::Receiver<Status>,
    /// Whether there is a stream.
    pub link: watch::Receiver<Link>,
    /// Whether anything can be accepted.
    pub degraded: watch::Receiver<Option<Degraded>>,
    /// What was counted.
    pub numbers: watch::Receiver<Numbers>,
    /// When the state is too old.
    pub staleness: Staleness,
}

/// Serves `/livez`, `/readyz` and `/metrics` over HTTP/1.1 and HTTP/2, and `grpc.health.v1` over the latter.
pub async fn serve(listener: TcpListener, sources: Sources) -> std::io::Result<()> {
    let (health, keep) = health(sources.staleness.clone(), sources.link.clone());
    let path = format!("/{}/{{method}}", SERVICE_NAME);
    let router = Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route_service(&path, health)
        .with_state(sources);
    tokio::select! {
        served = axum::serve(listener, router) => served,
        never = keep => match never {},
    }
}

/// Ready is an agent whose kernel was brought to what its journal holds, and that can take what comes next; the controller
/// may be away.
async fn ready(State(sources): State<Sources>) -> (StatusCode, String) {
    if let Some(degraded) = &*sources.degraded.borrow() {
        let reason = format!("degraded: {}\n", degraded.reason);
        (StatusCode::SERVICE_UNAVAILABLE, reason)
    } else if sources.status.borrow().settled {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        let reason = "the kernel has not been read yet\n".to_owned();
        (StatusCode::SERVICE_UNAVAILABLE, reason)
    }
}

async fn metrics(State(sources): State<Sources>) -> impl IntoResponse {
    let mut registry = Registry::default();
    sources.stages.show(&mut registry);
    registry.register_collector(Box::new(sources));
    let mut text = String::new();
    // writing to a String cannot fail
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text)
}

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Status {
            converged,
            settled: _,
            report,
            counts,
            rejected,
            repaired,
        } = self.status.borrow().clone();
        let Link {
            contact,
            accepted,
            hold,
            refused,
            trouble: _,
            rejected: _,
        } = self.link.borrow().clone();
        let age = contact.age(self.staleness.started, Instant::now());
        let Counts {
            passes,
            audits,
            failed_passes,
            steps,
            refused_steps,
            // the sum of those by kind
            repairs: _,
        } = counts;
        for (name, help, value) in [
            (
                "weir_agent_connected",
                "1 while the controller is connected",
                u64::from(contact.is_now()),
            ),
            (
                "weir_agent_accepted_generation",
                "Newest generation durably taken",
                accepted.0,
            ),
            (
                "weir_agent_converged_generation",
                "Newest generation the kernel was brought to",
                converged.0,
            ),
            (
                "weir_agent_degraded",
                "1 while the journal cannot be written, or it is not known what it held last",
                u64::from(self.degraded.borrow().is_some()),
            ),
            (
                "weir_agent_held_back",
                "1 while an accepted generation waits for an operator to release it",
                u64::from(hold.is_some()),
            ),
            (
                "weir_agent_failed_items",
                "Items the kernel does not hold as wanted",
                report.count,
            ),
            (
                "weir_agent_refused_items",
                "Items of the accepted generation that make no sense to this version, and are not taken",
                refused,
            ),
            (
                "weir_state_age_seconds",
                "Seconds since the controller was last heard, or since the start if it was not yet; 0 while it is \
                 connected",
                age.as_secs(),
            ),
        ] {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        for (name, help, value) in [
            (
                "weir_agent_passes",
                "Passes over what a change touched",
                passes,
            ),
            ("weir_agent_audits", "Passes over everything", audits),
            (
                "weir_agent_failed_passes",
                "Passes that could not read the kernel or write the journal",
                failed_passes,
            ),
            ("weir_agent_steps", "Changes the kernel took", steps),
            (
                "weir_agent_refused_steps",
                "Changes the kernel refused",
                refused_steps,
            ),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(
                name,
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        let repaired = repaired.into_iter();
        let rejected = rejected.into_iter();
        for (name, help, label, counts) in [
            (
                "weir_agent_repairs",
                "Changes that somebody else had made, and that were undone",
                "kind",
                repaired
                    .map(|(kind, count)| (kind.to_owned(), count))
                    .collect::<Vec<_>>(),
            ),
            (
                "weir_lockdown_rejected_packets",
                "Packets that a lockdown rejected, as of the last audit",
                "family",
                rejected
                    .map(|(family, packets)| (family.to_string(), packets))
                    .collect(),
            ),
        ] {
            let mut each = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (value, count) in counts {
                let label = [(label, value)];
                ConstCounter::new(count).encode(each.encode_family(&label)?)?;
            }
        }
        numbers::encode(&self.numbers.borrow(), &mut encoder)
    }
}

#[cfg(test)]
mod tests;
