//! The traces of a stream's updates that are durable and not yet said to be in the kernel.

use std::collections::VecDeque;

use tracing::{Span, info_span};
use weir_proto::model::Generation;
use weir_proto::trace::{SPANS, is_on};

/// How many are kept at most: where the kernel is behind by more than that, their traces end without an acknowledgement.
const MOST: usize = 64;

/// The spans of updates, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Updates {
    spans: VecDeque<(Generation, Span)>,
}

impl Updates {
    /// Keeps the span of an update that is durable, where it is sent to anybody.
    pub(super) fn durable(&mut self, generation: Generation, span: &Span) {
        if !is_on() {
            return;
        }
        if self.spans.len() == MOST {
            self.spans.pop_front();
        }
        self.spans.push_back((generation, span.clone()));
    }

    /// Opens the spans in which the controller is told that its kernel is there. They and those of their updates end with what
    /// is given.
    pub(super) fn acknowledge(&mut self, converged: Generation) -> Vec<(Span, Span)> {
        let there = self
            .spans
            .iter()
            .take_while(|(generation, _)| *generation <= converged)
            .count();
        let done = self.spans.drain(..there);
        done.map(|(_, update)| {
            let acknowledge = info_span!(target: SPANS, parent: &update, "acknowledge");
            (acknowledge, update)
        })
        .collect()
    }
}
