//! How a weir program tells what it does: logs to stderr, spans to an OpenTelemetry collector, and one trace
//! that leads from the operator's hand to the kernel.
//!
//! Spans leave the process only where the standard variables name a collector ([`VARIABLES`]); without one nothing of
//! OpenTelemetry runs. A collector that is away, or hangs, costs a bounded queue and nothing else. Across the wire a trace
//! goes as the `traceparent` of W3C Trace Context.
//!
//! Spans with the target [`SPANS`] are for traces alone and make no prefix of log lines; those whose target ends in
//! [`UNTRACED`] are for log lines alone.

mod context;
mod sending;
mod settings;

use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::{Level, Metadata, Subscriber, warn};
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer, Registry};

pub use self::context::{failed, part_of, rename, set_parent, traceparent};
use self::sending::Sending;
pub use self::settings::{SettingsError, VARIABLES};

/// The target of spans that are for traces alone.
pub const SPANS: &str = "weir::trace";
/// How the target of a span ends that is for log lines alone.
pub const UNTRACED: &str = "::untraced";

/// The variable that says what is logged, in the syntax of `tracing_subscriber::EnvFilter`.
const FILTER: &str = "WEIR_LOG";
const DEFAULT_FILTER: &str = "info";
/// What goes into a trace begins so: our own rooms, and [`SPANS`].
const OURS: &str = "weir";
/// How long a daemon that stops waits for what is left to be sent: a collector that is there takes the last batch in
/// milliseconds; one that is not must not hold up a stop.
const DAEMON_PATIENCE: Duration = Duration::from_secs(2);
/// How long a command waits for that: less than a person notices after the answer.
const COMMAND_PATIENCE: Duration = Duration::from_millis(500);

/// Whether spans are sent.
static ON: AtomicBool = AtomicBool::new(false);

/// Keeps telling as long as it lives; sends what is left when it is dropped, for a bounded time.
#[derive(Debug, Default)]
#[must_use = "what is left is sent when this is dropped"]
pub struct Guard {
    sending: Option<(Sending, Duration)>,
}

/// Who tells.
#[derive(Debug, Clone, Copy)]
pub struct Teller<'a> {
    /// The program.
    pub program: &'static str,
    /// Which of those that run; none: there is one.
    pub instance: Option<&'a str>,
}

/// Why logs and spans cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `WEIR_LOG` cannot be read.
    #[error("cannot read WEIR_LOG={value:?}")]
    Filter {
        /// What it is.
        value: String,
        /// Why not.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something in this process tells already.
    #[error("cannot become what logs in this process")]
    Started(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum SpansError {
    /// What the environment asks for cannot be.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The collector's address or its settings are bad.
    #[error(transparent)]
    Exporter(opentelemetry_otlp::ExporterBuildError),
    /// There is no thread to send them.
    #[error("no thread can be started to send them")]
    Thread(#[source] io::Error),
}

/// What is there when spans are sent.
struct Spans {
    tracer: SdkTracer,
    sending: Sending,
}

/// Starts logs to stderr, as text or JSON lines, and spans to the collector that the environment names. Where they cannot be
/// sent a line says why, and the program goes on without.
pub fn start(teller: Teller<'_>, json: bool) -> Result<Guard, Error> {
    let filter = filter(std::env::var(FILTER).ok())?;
    let (spans, trouble) = match spans(teller, RetryPolicy::recommended()) {
        Ok(spans) => (spans, None),
        Err(error) => (None, Some(error)),
    };
    let sending = match spans {
        None => {
            let all = Registry::default().with(filter).with(lines(json));
            tracing::subscriber::set_global_default(all).map_err(Error::Started)?;
            None
        }
        Some(Spans { tracer, sending }) => {
            // what is logged and what is traced are two things
            let all = Registry::default()
                .with(lines(json).with_filter(filter))
                .with(layer(tracer));
            tracing::subscriber::set_global_default(all).map_err(Error::Started)?;
            ON.store(true, Ordering::Relaxed);
            Some((sending, DAEMON_PATIENCE))
        }
    };
    if let Some(error) = trouble {
        warn!(
            error = &error as &dyn std::error::Error,
            "no spans are sent"
        );
    }
    Ok(Guard { sending })
}

/// Starts spans alone, for a command that ends by itself: what is left at its end is tried to be sent once.
pub fn start_spans(program: &'static str) -> Result<Guard, SpansError> {
    let teller = Teller {
        program,
        instance: None,
    };
    let Some(Spans { tracer, sending }) = spans(teller, RetryPolicy::disabled())? else {
        return Ok(Guard::default());
    };
    let all = Registry::default().with(layer(tracer));
    // whatever was there before goes on
    if tracing::subscriber::set_global_default(all).is_ok() {
        ON.store(true, Ordering::Relaxed);
    }
    Ok(Guard {
        sending: Some((sending, COMMAND_PATIENCE)),
    })
}

/// Says whether spans are sent.
pub fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Writes an error and all its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some((sending, patience)) = self.sending.take() {
            sending.stop(patience);
        }
    }
}

fn filter(value: Option<String>) -> Result<EnvFilter, Error> {
    let value = value
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| DEFAULT_FILTER.to_owned());
    EnvFilter::builder()
        .parse(format!("{value},{SPANS}=off"))
        .map_err(|source| Error::Filter { value, source })
}

/// Makes what sends spans; none: nothing asks for it.
fn spans(teller: Teller<'_>, retries: RetryPolicy) -> Result<Option<Spans>, SpansError> {
    let Some(settings) = settings::read(|name| std::env::var(name).ok())? else {
        return Ok(None);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(SpansError::Thread)?;
    let exporter = {
        // where its connection is to live
        let _within = runtime.enter();
        let exporter = SpanExporter::builder().with_tonic();
        exporter.with_retry_policy(retries).build()
    };
    let mut exporter = match exporter {
        Ok(exporter) => exporter,
        Err(error) => {
            // a runtime must not be dropped where another one is at work
            runtime.shutdown_background();
            return Err(SpansError::Exporter(error));
        }
    };
    let resource = resource(teller, settings.service.as_deref());
    opentelemetry_sdk::trace::SpanExporter::set_resource(&mut exporter, &resource);
    let (queue, sending) =
        Sending::start(runtime, exporter, settings).map_err(SpansError::Thread)?;
    let provider = SdkTracerProvider::builder()
        .with_span_processor(queue)
        .with_resource(resource)
        .build();
    let tracer = provider.tracer(teller.program);
    Ok(Some(Spans { tracer, sending }))
}

/// Says who tells; what the environment says of it counts more.
fn resource(teller: Teller<'_>, service: Option<&str>) -> Resource {
    let said = Resource::builder_empty()
        .with_detector(Box::new(
            opentelemetry_sdk::resource::EnvResourceDetector::new(),
        ))
        .build();
    let Teller { program, instance } = teller;
    let ours = [
        ("service.name", Some(program)),
        ("service.version", Some(env!("CARGO_PKG_VERSION"))),
        ("service.instance.id", instance),
    ];
    let ours = ours.into_iter().filter_map(|(name, value)| {
        let value = value?.to_owned();
        Some(KeyValue::new(name, value))
    });
    let said = said
        .iter()
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let service = service.map(|service| KeyValue::new("service.name", service.to_owned()));
    // of two of one name the later one holds
    let all: Vec<KeyValue> = ours.chain(said).chain(service).collect();
    Resource::builder().with_attributes(all).build()
}

fn lines<S>(json: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    if json {
        lines.json().boxed()
    } else {
        lines.boxed()
    }
}

fn layer<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_threads(false)
        .with_location(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(FilterFn::new(is_traced).with_max_level_hint(LevelFilter::INFO))
}

/// Says whether a span or a log line goes into a trace.
fn is_traced(it: &Metadata<'_>) -> bool {
    let target = it.target();
    *it.level() <= Level::INFO && target.starts_with(OURS) && !target.ends_with(UNTRACED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        assert!(filter(None).is_ok());
        assert!(filter(Some(String::new())).is_ok());
        let error = filter(Some("weir=loud".to_owned())).expect_err("refused");
        assert_eq!(error.to_string(), "cannot read WEIR_LOG=\"weir=loud\"");
    }
}
