//! How a weir program tells what it does: logs to stderr, spans to an OpenTelemetry collector, and one trace
//! that leads from the operator's hand to the kernel.
//!
//! Spans leave the process only where the standard OTEL_EXPORTER_OTLP_ENDPOINT or
//! OTEL_EXPORTER_OTLP_TRACES_ENDPOINT names a collector; without one nothing of OpenTelemetry runs. Across the
//! wire a trace goes as the `traceparent` of W3C Trace Context, version 00.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry};

/// The variable that says what is logged, in the syntax of `tracing_subscriber::EnvFilter`.
const FILTER: &str = "WEIR_LOG";
const DEFAULT_FILTER: &str = "info";
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
];
/// A collector that is there takes the last batch in milliseconds; one that is not must not hold up a stop.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// Keeps telling as long as it lives; sends what is left when it is dropped, for two seconds at most.
#[derive(Debug)]
#[must_use = "what is left is sent when this is dropped"]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
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
    /// The collector's address or its settings are bad.
    #[error("cannot send spans to the OpenTelemetry collector")]
    Exporter(#[source] opentelemetry_otlp::ExporterBuildError),
    /// Something in this process tells already.
    #[error("cannot become what logs in this process")]
    Started(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// Starts logs to stderr, as text or JSON lines, and spans to the collector that the environment names. With a
/// collector it must be called inside a tokio runtime, which carries the spans out.
pub fn start(program: &'static str, json: bool) -> Result<Guard, Error> {
    let filter = filter(std::env::var(FILTER).ok())?;
    let provider = if ENDPOINTS.into_iter().any(is_set) {
        Some(provider(program)?)
    } else {
        None
    };
    let spans = provider
        .as_ref()
        .map(|provider| tracing_opentelemetry::layer().with_tracer(provider.tracer(program)));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let lines = if json {
        lines.json().boxed()
    } else {
        lines.boxed()
    };
    let all = Registry::default().with(filter).with(lines).with(spans);
    tracing::subscriber::set_global_default(all).map_err(Error::Started)?;
    Ok(Guard { provider })
}

/// Gives the `traceparent` of the current span; empty when no collector is named or no span is open.
pub fn traceparent() -> String {
    write(Span::current().context().span().span_context())
}

/// Makes what a `traceparent` names the parent of a span. One that cannot be read, or is empty, changes
/// nothing: a trace is never worth an error.
pub fn set_parent(span: &Span, traceparent: &str) {
    if let Some(parent) = read(traceparent) {
        // refused when the span is disabled or has begun already: then it stays a root
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// Writes an error and all its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = &self.provider {
            // nobody is left to tell
            let _ = provider.shutdown_with_timeout(FLUSH_PATIENCE);
        }
    }
}

fn filter(value: Option<String>) -> Result<EnvFilter, Error> {
    let value = value
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| DEFAULT_FILTER.to_owned());
    EnvFilter::builder()
        .parse(&value)
        .map_err(|source| Error::Filter { value, source })
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

fn provider(program: &'static str) -> Result<SdkTracerProvider, Error> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .build()
        .map_err(Error::Exporter)?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name(program).build())
        .build())
}

/// W3C Trace Context, section 3.2: version, trace id, parent id, flags, in lower-case hex.
fn write(context: &SpanContext) -> String {
    if !context.is_valid() {
        return String::new();
    }
    format!(
        "00-{}-{}-{:02x}",
        context.trace_id(),
        context.span_id(),
        context.trace_flags()
    )
}

fn read(text: &str) -> Option<SpanContext> {
    let mut fields = text.split('-');
    let version = hex(fields.next()?, 2)?;
    let trace = hex(fields.next()?, 32)?;
    let span = hex(fields.next()?, 16)?;
    let flags = hex(fields.next()?, 2)?;
    // a later version may have more fields behind these, version 00 has none; 255 is forbidden
    if version == 0xff || (version == 0 && fields.next().is_some()) {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from(trace),
        SpanId::from(u64::try_from(span).ok()?),
        TraceFlags::new(u8::try_from(flags).ok()?) & TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if text.len() != digits || !text.bytes().all(lower) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_and_written_back() {
        assert_eq!(
            read(PARENT).map(|context| write(&context)),
            Some(PARENT.to_owned())
        );
    }

    #[test]
    fn a_traceparent_that_names_nothing_is_not_read() {
        for bad in [
            "",
            "00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b71692033311-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn one_trace_leads_through_a_span_and_out_again() {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(Registry::default().with(layer), || {
            let span = tracing::info_span!("apply");
            set_parent(&span, PARENT);
            let child = span.in_scope(traceparent);
            let (parent, child) = (read(PARENT).expect("parent"), read(&child).expect("child"));
            assert_eq!(child.trace_id(), parent.trace_id());
            assert_ne!(child.span_id(), parent.span_id());
        });
    }

    #[test]
    fn without_a_span_there_is_no_traceparent() {
        assert_eq!(traceparent(), "");
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        assert!(filter(None).is_ok());
        assert!(filter(Some(String::new())).is_ok());
        let error = filter(Some("weir=loud".to_owned())).expect_err("refused");
        assert_eq!(error.to_string(), "cannot read WEIR_LOG=\"weir=loud\"");
    }
}
