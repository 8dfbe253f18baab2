//! Every number of the agent as it is shown once all of them have been counted: for the reference.

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::Instant;
use weir_proto::model::Family;

use super::{Sources, Staleness};
use crate::reconciler::Status;
use crate::session::Link;

/// Shows every number, those with labels by one of each.
pub fn sample_metrics() -> String {
    let status = Status {
        // a family of numbers is shown from the first on
        rejected: [(Family::V4, 1)].into(),
        repaired: [("vip", 1)].into(),
        ..Status::default()
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Sources {
        status: watch::channel(status).1,
        link: watch::channel(Link::default()).1,
        degraded: watch::channel(None).1,
        staleness: Staleness {
            started: Instant::now(),
            stale_after: None,
        },
    }));
    let mut text = String::new();
    // writing to a String cannot fail
    let _ = encode(&mut text, &registry);
    text
}
