//! The traces of the changes that a pass is made for.

use std::mem;

use tracing::field::Empty;
use tracing::{Span, info_span};
use weir_proto::trace::SPANS;

use crate::kernel::Verdict;

/// How many spans one is linked to at most: what OpenTelemetry has for a limit.
const MOST: usize = 128;

/// The spans in which they were accepted. A pass is in the trace of the newest, and linked to the others.
#[derive(Debug, Default)]
pub(super) struct Cause {
    newest: Option<Span>,
    earlier: Vec<Span>,
}

impl Cause {
    /// Adds a change.
    pub(super) fn add(&mut self, span: Span) {
        if let Some(earlier) = self.newest.replace(span)
            && self.earlier.len() < MOST
        {
            self.earlier.push(earlier);
        }
    }

    /// Gives the span that a pass is a part of.
    pub(super) fn span(&self) -> Span {
        self.newest.clone().unwrap_or_else(Span::none)
    }

    /// Opens the span of a batch of steps; none where no change asked for it.
    pub(super) fn batch(&self, steps: usize) -> Span {
        let Some(newest) = &self.newest else {
            return Span::none();
        };
        let batch = info_span!(target: SPANS, parent: newest, "kernel", steps, refused = Empty);
        for earlier in &self.earlier {
            batch.follows_from(earlier);
        }
        batch
    }

    /// Forgets the changes: the pass is over.
    pub(super) fn is_over(&mut self) {
        mem::take(self);
    }
}

/// Notes what became of a batch.
pub(super) fn judged(batch: &Span, verdicts: &[Verdict]) {
    let refused = verdicts.iter().filter(|verdict| verdict.is_err()).count();
    if refused > 0 {
        batch.record("refused", refused);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use opentelemetry::Context;
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanProcessor};
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Spans that have ended.
    #[derive(Debug, Clone, Default)]
    struct Ended(Arc<Mutex<Vec<SpanData>>>);

    impl Ended {
        /// Gives those of a name, in the order of their ends.
        fn called(&self, name: &str) -> Vec<SpanData> {
            let all = self.0.lock().expect("whole");
            let called = all.iter().filter(|span| span.name == name);
            called.cloned().collect()
        }
    }

    impl SpanProcessor for Ended {
        fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &Context) {}

        fn on_end(&self, span: SpanData) {
            self.0.lock().expect("whole").push(span);
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    #[test]
    fn a_batch_of_several_changes_is_in_the_trace_of_the_newest_and_linked_to_the_others() {
        let ended = Ended::default();
        let provider = SdkTracerProvider::builder().with_span_processor(ended.clone());
        let tracer = provider.build().tracer("test");
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            let mut cause = Cause::default();
            for generation in 1..=3 {
                cause.add(info_span!("update", generation));
            }
            judged(&cause.batch(2), &[Ok(()), Ok(())]);
            cause.is_over();
            // a pass that no change asked for is in no trace
            assert!(cause.batch(1).is_disabled());
        });
        let (batches, updates) = (ended.called("kernel"), ended.called("update"));
        let newest = updates.iter().map(|update| &update.span_context);
        let contexts: Vec<_> = newest.collect();
        let [kernel] = &batches[..] else {
            panic!("one batch: {batches:?}");
        };
        // the newest is let go first
        assert_eq!(kernel.parent_span_id, contexts[0].span_id());
        assert_eq!(kernel.span_context.trace_id(), contexts[0].trace_id());
        let linked = kernel.links.iter().map(|link| &link.span_context);
        let linked: Vec<_> = linked.collect();
        assert_eq!(linked, contexts[1..]);
    }
}
