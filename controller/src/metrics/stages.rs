//! How long each stage of a change takes. What is on the way of every update is a handle that is there already: nothing is looked up,
//! and nothing allocated.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use weir_proto::metrics::{STAGE_BOUNDS, STAGES};

/// The stages that the controller can tell by its own clock.
#[derive(Debug)]
pub(crate) struct Stages {
    accept: Histogram,
    encode: Histogram,
    wire: Histogram,
    ack: Histogram,
    total: Histogram,
    all: Family<Labels, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    stage: &'static str,
}

impl Default for Stages {
    fn default() -> Self {
        let all: Family<Labels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(STAGE_BOUNDS));
        let stage = |stage| all.get_or_create_owned(&Labels { stage });
        Self {
            accept: stage("accept"),
            encode: stage("encode"),
            wire: stage("wire"),
            ack: stage("ack"),
            total: stage("total"),
            all,
        }
    }
}

impl Stages {
    /// Puts them on show.
    pub(super) fn show(&self, registry: &mut Registry) {
        registry.register(STAGES.name, STAGES.help, self.all.clone());
    }

    /// Counts a write, from when it was asked for until it was durable.
    pub(crate) fn accepted(&self, took: Duration) {
        self.accept.observe(took.as_secs_f64());
    }

    /// Counts an update that was encoded and given to its stream.
    pub(crate) fn encoded(&self, took: Duration) {
        self.encode.observe(took.as_secs_f64());
    }

    /// Counts an update that is durable on its node, from when it was given to its stream.
    pub(crate) fn delivered(&self, took: Duration) {
        self.wire.observe(took.as_secs_f64());
    }

    /// Counts an update that is in its node's kernel, from when it was said to be durable there.
    pub(crate) fn acknowledged(&self, took: Duration) {
        self.ack.observe(took.as_secs_f64());
    }

    /// Counts a node that has all it must, from when the first change was asked for that it had not.
    pub(crate) fn converged(&self, took: Duration) {
        self.total.observe(took.as_secs_f64());
    }
}
