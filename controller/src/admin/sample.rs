//! Every number of the controller as it is shown once all of them have been counted: for the reference.

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::Metrics;

/// Shows every number, those with labels by one of each.
pub fn sample_metrics() -> String {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    // a family of numbers is shown from the first on
    metrics.repaired(&[("vip".to_owned(), 1)].into());
    metrics.applied("applied");
    metrics.update_sent(true);
    metrics.rejected("digest");
    let mut text = String::new();
    // writing to a String cannot fail
    let _ = encode(&mut text, &registry);
    text
}
