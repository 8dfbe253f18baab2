//! Spans on their way to the collector: a bounded queue, and one thread with a runtime of its own that empties it.
//!
//! Whoever ends a span only puts it into the queue, or drops and counts it where the queue is full: nothing of the program
//! ever waits for the collector, and a name that is not resolved or a connection that hangs keeps this thread alone.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver as Done, sync_channel};
use std::thread;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{info, warn};

use super::settings::Settings;

/// As `ps -L` shows it.
const THREAD: &str = "weir-spans";

/// The end of the queue into which spans go.
#[derive(Debug)]
pub(super) struct Queue {
    spans: Sender<SpanData>,
    full: Arc<AtomicU64>,
}

/// The thread that sends them.
#[derive(Debug)]
pub(super) struct Sending {
    stop: oneshot::Sender<()>,
    done: Done<()>,
}

/// What the thread works with.
struct Work<E> {
    spans: Receiver<SpanData>,
    full: Arc<AtomicU64>,
    exporter: E,
    settings: Settings,
    lost: Lost,
}

/// What was not sent, and what was told of that: a line when it begins, and one when it is over.
#[derive(Debug, Default)]
struct Lost {
    /// Since spans were sent last.
    spans: u64,
    told: bool,
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.full.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// Does nothing: it is [`Sending`] that stops.
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Sending {
    /// Starts the thread, which sends by an exporter on a runtime.
    pub(super) fn start(
        runtime: Runtime,
        exporter: impl SpanExporter + 'static,
        settings: Settings,
    ) -> std::io::Result<(Queue, Self)> {
        let (sender, spans) = mpsc::channel(settings.queue);
        let (stop, stopped) = oneshot::channel();
        // whoever stops waits no longer than it wants to, and the thread does not wait for it
        let (ended, done) = sync_channel(1);
        let full = Arc::new(AtomicU64::new(0));
        let work = Work {
            spans,
            full: Arc::clone(&full),
            exporter,
            settings,
            lost: Lost::default(),
        };
        thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || {
                // what sends spans makes none
                let _quiet = Context::enter_telemetry_suppressed_scope();
                runtime.block_on(work.run(stopped));
                let _ = ended.try_send(());
                // a name that is still being resolved is not waited for
                runtime.shutdown_background();
            })?;
        let queue = Queue {
            spans: sender,
            full,
        };
        Ok((queue, Self { stop, done }))
    }

    /// Sends what is left, for so long at most.
    pub(super) fn stop(self, patience: Duration) {
        // an error says that the thread is gone
        let _ = self.stop.send(());
        if self.done.recv_timeout(patience).is_err() {
            warn!("the collector does not answer; stopping without waiting for it");
        }
    }
}

impl<E: SpanExporter> Work<E> {
    /// Sends batches until it is stopped, and then what is left.
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut batch = Vec::new();
        loop {
            let goes_on = tokio::select! {
                biased;
                _ = &mut stopped => false,
                goes_on = collect(&mut self.spans, &self.settings, &mut batch) => goes_on,
            };
            if !goes_on {
                break;
            }
            self.send(std::mem::take(&mut batch)).await;
        }
        self.spans.close();
        loop {
            while batch.len() < self.settings.batch
                && let Ok(span) = self.spans.try_recv()
            {
                batch.push(span);
            }
            if batch.is_empty() {
                break;
            }
            self.send(std::mem::take(&mut batch)).await;
        }
        self.lost.at_the_end();
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let count = batch.len() as u64;
        let sent = timeout(self.settings.patience, self.exporter.export(batch)).await;
        let full = self.full.swap(0, Ordering::Relaxed);
        self.lost.spans += full;
        match sent {
            Ok(Ok(())) => self.lost.is_over(full > 0),
            Ok(Err(error)) => self.lost.more(count, &error),
            Err(_) => self.lost.more(count, &"the collector takes too long"),
        }
    }
}

impl Lost {
    /// Notes that spans were not sent.
    fn more(&mut self, spans: u64, why: &dyn Display) {
        self.spans += spans;
        if !std::mem::replace(&mut self.told, true) {
            warn!(error = %why, "spans cannot be sent to the collector; until they can they are dropped, and no more is said of it");
        }
    }

    /// Notes that spans were sent, though others may have found the queue full meanwhile.
    fn is_over(&mut self, full: bool) {
        match (full, self.told) {
            (true, false) => {
                self.told = true;
                let lost = self.spans;
                warn!(
                    lost,
                    "spans come faster than the collector takes them; some are dropped, and no more is said of it"
                );
            }
            (true, true) | (false, false) => {}
            (false, true) => {
                info!(lost = self.spans, "spans are sent to the collector again");
                *self = Self::default();
            }
        }
    }

    /// Tells how many were not sent, if there is no more to come.
    fn at_the_end(&self) {
        if self.spans > 0 {
            warn!(lost = self.spans, "spans were not sent to the collector");
        }
    }
}

/// Collects a batch: until it is full, or its first span has waited for as long as it may. Says whether there can be more.
async fn collect(
    spans: &mut Receiver<SpanData>,
    settings: &Settings,
    batch: &mut Vec<SpanData>,
) -> bool {
    if batch.is_empty() && spans.recv_many(batch, settings.batch).await == 0 {
        return false;
    }
    let due = Instant::now() + settings.delay;
    while batch.len() < settings.batch {
        let left = settings.batch - batch.len();
        match timeout_at(due, spans.recv_many(batch, left)).await {
            Ok(0) => return false,
            Ok(_) => {}
            Err(_) => break,
        }
    }
    true
}

#[cfg(test)]
mod tests;
