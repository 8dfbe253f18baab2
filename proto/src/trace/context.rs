//! A trace on its way: the `traceparent` of W3C Trace Context, version 00.

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

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

/// Opens a span as a part of what a `traceparent` names; none where it names nothing.
pub fn part_of(traceparent: &str, open: impl FnOnce() -> Span) -> Span {
    if traceparent.is_empty() {
        return Span::none();
    }
    let span = open();
    set_parent(&span, traceparent);
    span
}

/// Calls a span otherwise than its place in the code does. Its parent can no longer be set then.
pub fn rename(span: &Span, name: &str) {
    span.context().span().update_name(name.to_owned());
}

/// Notes that what a span is about failed.
pub fn failed(span: &Span, why: &str) {
    span.set_status(Status::error(why.to_owned()));
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
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt as _;

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
}
