use std::io;
use std::sync::Mutex;

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// A collector: the sizes of the batches that it was sent, and what it says to each, the last for ever.
#[derive(Debug, Clone, Default)]
struct Collector {
    batches: Arc<Mutex<Vec<usize>>>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Takes,
    Refuses,
    Hangs,
}

impl Collector {
    fn that(answers: &[Answer]) -> Self {
        Self {
            answers: Arc::new(Mutex::new(answers.to_vec())),
            ..Self::default()
        }
    }

    fn batches(&self) -> Vec<usize> {
        self.batches.lock().expect("whole").clone()
    }
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.batches.lock().expect("whole").push(batch.len());
        let answer = {
            let mut answers = self.answers.lock().expect("whole");
            match answers.len() {
                0 => Answer::Takes,
                1 => answers[0],
                _ => answers.remove(0),
            }
        };
        match answer {
            Answer::Takes => Ok(()),
            Answer::Refuses => Err(OTelSdkError::InternalFailure("no".to_owned())),
            Answer::Hangs => std::future::pending().await,
        }
    }
}

/// Log lines.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// Logs what this thread does, until the guard goes.
    fn of_this_thread(&self) -> tracing::subscriber::DefaultGuard {
        let lines = tracing_subscriber::fmt()
            .with_writer(self.clone())
            .with_ansi(false)
            .without_time()
            .with_target(false);
        tracing::subscriber::set_default(lines.finish())
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("whole").clone()).expect("text")
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("whole").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn span() -> SpanData {
    let context = SpanContext::new(
        TraceId::from(1),
        SpanId::from(1),
        TraceFlags::SAMPLED,
        false,
        TraceState::default(),
    );
    let now = std::time::SystemTime::now();
    SpanData {
        span_context: context,
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: "kernel".into(),
        start_time: now,
        end_time: now,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::default(),
    }
}

fn settings() -> Settings {
    Settings {
        queue: 4,
        batch: 2,
        delay: Duration::from_secs(5),
        patience: Duration::from_secs(30),
        service: None,
    }
}

/// A queue, and the work that empties it.
fn work(exporter: &Collector) -> (Queue, Work<Collector>) {
    let settings = settings();
    let (sender, spans) = mpsc::channel(settings.queue);
    let full = Arc::new(AtomicU64::new(0));
    let queue = Queue {
        spans: sender,
        full: Arc::clone(&full),
    };
    let work = Work {
        spans,
        full,
        exporter: exporter.clone(),
        settings,
        lost: Lost::default(),
    };
    (queue, work)
}

#[tokio::test(start_paused = true)]
async fn what_finds_the_queue_full_is_dropped_and_counted_and_told_in_one_line() {
    let (lines, collector) = (Lines::default(), Collector::default());
    let _logged = lines.of_this_thread();
    let (queue, work) = work(&collector);
    for _ in 0..10 {
        queue.on_end(span());
    }
    assert_eq!(queue.full.load(Ordering::Relaxed), 6);
    let (stop, stopped) = oneshot::channel();
    stop.send(()).expect("it listens");
    work.run(stopped).await;
    assert_eq!(collector.batches(), [2, 2]);
    assert_eq!(
        lines.text(),
        " WARN spans come faster than the collector takes them; some are dropped, and no more is said of it lost=6\n \
         INFO spans are sent to the collector again lost=6\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_is_away_is_told_once_and_once_that_it_is_back() {
    let lines = Lines::default();
    let collector = Collector::that(&[Answer::Refuses, Answer::Refuses, Answer::Takes]);
    let _logged = lines.of_this_thread();
    let (queue, work) = work(&collector);
    let (stop, stopped) = oneshot::channel();
    let sends = tokio::spawn(work.run(stopped));
    for sent in 1..=4 {
        queue.on_end(span());
        // the clock goes on when nobody has anything to do
        while collector.batches().len() < sent {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    stop.send(()).expect("it listens");
    sends.await.expect("no panic");
    assert_eq!(collector.batches(), [1, 1, 1, 1]);
    assert_eq!(
        lines.text(),
        " WARN spans cannot be sent to the collector; until they can they are dropped, and no more is said of it \
         error=Operation failed: no\n INFO spans are sent to the collector again lost=2\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_collector_that_hangs_holds_nobody_up_who_ends_a_span() {
    let (lines, collector) = (Lines::default(), Collector::that(&[Answer::Hangs]));
    let _logged = lines.of_this_thread();
    let (queue, work) = work(&collector);
    let (stop, stopped) = oneshot::channel();
    let sends = tokio::spawn(work.run(stopped));
    while collector.batches().is_empty() {
        queue.on_end(span());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    for _ in 0..1_000 {
        queue.on_end(span());
    }
    assert_eq!(queue.full.load(Ordering::Relaxed), 1_000 - 4);
    stop.send(()).expect("it listens");
    sends.await.expect("no panic");
    assert_eq!(collector.batches(), [2, 2, 2]);
    let text = lines.text();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("the collector takes too long"), "{text}");
    assert!(
        text.ends_with(" WARN spans were not sent to the collector lost=1002\n"),
        "{text}"
    );
}

#[test]
fn a_stop_waits_no_longer_than_it_wants_for_a_collector_that_hangs() {
    let collector = Collector::that(&[Answer::Hangs]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let started = Sending::start(runtime, collector, settings());
    let (queue, sending) = started.expect("a thread");
    queue.on_end(span());
    // the collector hangs for 30 s of this clock: that it comes back at all is what counts
    sending.stop(Duration::from_millis(10));
}

#[test]
fn a_span_of_a_trace_that_is_not_sampled_is_not_sent() {
    let (queue, mut work) = work(&Collector::default());
    let mut unsampled = span();
    unsampled.span_context = SpanContext::new(
        TraceId::from(1),
        SpanId::from(1),
        TraceFlags::NOT_SAMPLED,
        false,
        TraceState::default(),
    );
    queue.on_end(unsampled);
    assert!(work.spans.try_recv().is_err());
    assert_eq!(queue.full.load(Ordering::Relaxed), 0);
}
