//! What the environment says of traces. What is not named here and concerns them, OpenTelemetry's own library reads: the
//! collector's headers and time-outs, the sampler, what is known of the process, and how large a span may be.

use std::time::Duration;

/// The variables of OpenTelemetry that hold, for the reference.
pub const VARIABLES: [(&str, &str); 20] = [
    (
        "OTEL_SDK_DISABLED",
        "true: nothing of OpenTelemetry runs, whatever else is set",
    ),
    (
        "OTEL_TRACES_EXPORTER",
        "otlp: spans are sent, to http://localhost:4317 where no endpoint is named; none: they are not, whatever else is set; \
         not set: they are where an endpoint is named",
    ),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "The OpenTelemetry collector that spans are sent to, as http://HOST:PORT; without it they go nowhere",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "As OTEL_EXPORTER_OTLP_ENDPOINT; counts more",
    ),
    (
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "grpc, which is what is spoken where nothing is said; with anything else no span is sent, and a line says so",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "As OTEL_EXPORTER_OTLP_PROTOCOL; counts more",
    ),
    (
        "OTEL_EXPORTER_OTLP_HEADERS",
        "What is sent along to the collector, as NAME=VALUE,NAME=VALUE",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "As OTEL_EXPORTER_OTLP_HEADERS; counts more",
    ),
    (
        "OTEL_EXPORTER_OTLP_TIMEOUT",
        "Milliseconds that the collector may take for a batch [default: 10000]",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        "As OTEL_EXPORTER_OTLP_TIMEOUT; counts more",
    ),
    (
        "OTEL_SERVICE_NAME",
        "What the program is called in a trace [default: weirctl, weir-controller or weir-agent]",
    ),
    (
        "OTEL_RESOURCE_ATTRIBUTES",
        "What else is to be known of the program, as NAME=VALUE,NAME=VALUE; an agent's service.instance.id is its node \
         where it is not said here",
    ),
    (
        "OTEL_TRACES_SAMPLER",
        "Which traces are sent: always_on, always_off, traceidratio, or parentbased_ before one of them, which leaves it to \
         whoever began the trace [default: parentbased_always_on]",
    ),
    (
        "OTEL_TRACES_SAMPLER_ARG",
        "The share of traces that traceidratio sends, from 0 to 1 [default: 1]",
    ),
    (
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "Spans that may wait to be sent; what is more is dropped and counted [default: 2048]",
    ),
    (
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "Spans that are sent together at most [default: 512]",
    ),
    (
        "OTEL_BSP_SCHEDULE_DELAY",
        "Milliseconds that a span waits for others at most [default: 5000]",
    ),
    (
        "OTEL_BSP_EXPORT_TIMEOUT",
        "Milliseconds after which a batch is given up, with all that was tried again [default: 30000]",
    ),
    (
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        "Attributes of a span at most [default: 128]",
    ),
    (
        "OTEL_SPAN_EVENT_COUNT_LIMIT",
        "Log lines that a span carries at most [default: 128]",
    ),
];

// What holds where nothing is said: as OpenTelemetry's specification has it (batch span processor).
const DEFAULT_QUEUE: usize = 2_048;
const DEFAULT_BATCH: usize = 512;
const DEFAULT_DELAY: Duration = Duration::from_secs(5);
const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);

/// How spans are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    /// Spans that may wait.
    pub(super) queue: usize,
    /// Spans that go together.
    pub(super) batch: usize,
    /// How long a span waits for others.
    pub(super) delay: Duration,
    /// How long a batch may take.
    pub(super) patience: Duration,
    /// What the program is called, where that is said.
    pub(super) service: Option<String>,
}

/// What is asked for and cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Spans are to go another way than OTLP.
    #[error("OTEL_TRACES_EXPORTER={0:?}: spans can be sent by otlp alone")]
    Exporter(String),
    /// The collector is to be spoken to in another language than gRPC.
    #[error("{variable}={value:?}: spans can be sent by grpc alone")]
    Protocol {
        /// Where that is said.
        variable: &'static str,
        /// What is said.
        value: String,
    },
}

/// Reads how spans are sent; none: they are not.
pub(super) fn read(
    get: impl Fn(&str) -> Option<String>,
) -> Result<Option<Settings>, SettingsError> {
    // an empty variable is one that is not set (OpenTelemetry specification, environment variables)
    let said = |name: &str| get(name).filter(|value| !value.is_empty());
    if said("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let endpoint =
        said("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| said("OTEL_EXPORTER_OTLP_ENDPOINT"));
    match (said("OTEL_TRACES_EXPORTER").as_deref(), endpoint) {
        (Some("none"), _) | (None, None) => return Ok(None),
        (Some("otlp"), _) | (None, Some(_)) => {}
        (Some(other), _) => return Err(SettingsError::Exporter(other.to_owned())),
    }
    let protocols = [
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    ];
    let mut protocols = protocols.into_iter();
    if let Some((variable, value)) =
        protocols.find_map(|variable| Some((variable, said(variable)?)))
        && value != "grpc"
    {
        return Err(SettingsError::Protocol { variable, value });
    }
    // what is no number, or none to work with, is as if it were not there, as OpenTelemetry's own library has it
    let number = |name| -> Option<u64> { said(name)?.parse().ok().filter(|number| *number > 0) };
    let size = |name| number(name).and_then(|size| usize::try_from(size).ok());
    let time = |name| number(name).map(Duration::from_millis);
    let queue = size("OTEL_BSP_MAX_QUEUE_SIZE").unwrap_or(DEFAULT_QUEUE);
    let batch = size("OTEL_BSP_MAX_EXPORT_BATCH_SIZE").unwrap_or(DEFAULT_BATCH);
    Ok(Some(Settings {
        queue,
        batch: batch.min(queue),
        delay: time("OTEL_BSP_SCHEDULE_DELAY").unwrap_or(DEFAULT_DELAY),
        patience: time("OTEL_BSP_EXPORT_TIMEOUT").unwrap_or(DEFAULT_PATIENCE),
        service: said("OTEL_SERVICE_NAME"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Settings>, SettingsError> {
        read(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn usual() -> Settings {
        Settings {
            queue: DEFAULT_QUEUE,
            batch: DEFAULT_BATCH,
            delay: DEFAULT_DELAY,
            patience: DEFAULT_PATIENCE,
            service: None,
        }
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317");

    #[test]
    fn spans_are_sent_where_a_collector_is_named_or_otlp_is() {
        assert_eq!(of(&[ENDPOINT]), Ok(Some(usual())));
        let of_traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://[::1]:1");
        assert_eq!(of(&[of_traces]), Ok(Some(usual())));
        assert_eq!(of(&[("OTEL_TRACES_EXPORTER", "otlp")]), Ok(Some(usual())));
    }

    #[test]
    fn spans_are_not_sent_where_nothing_says_so_or_something_says_no() {
        for variables in [
            &[][..],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
            &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")],
            &[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")],
            &[("OTEL_SERVICE_NAME", "mine")],
        ] {
            assert_eq!(of(variables), Ok(None), "{variables:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_named() {
        let error = of(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "zipkin")]).expect_err("refused");
        assert_eq!(
            error.to_string(),
            "OTEL_TRACES_EXPORTER=\"zipkin\": spans can be sent by otlp alone"
        );
        let error = of(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]);
        assert_eq!(
            error.expect_err("refused").to_string(),
            "OTEL_EXPORTER_OTLP_PROTOCOL=\"http/protobuf\": spans can be sent by grpc alone"
        );
        let counts_more = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc");
        let other = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        assert_eq!(of(&[ENDPOINT, counts_more, other]), Ok(Some(usual())));
    }

    #[test]
    fn a_batch_is_no_larger_than_the_queue_and_nonsense_is_as_if_it_were_not_there() {
        let settings = of(&[
            ENDPOINT,
            ("OTEL_BSP_MAX_QUEUE_SIZE", "16"),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
            ("OTEL_BSP_EXPORT_TIMEOUT", "soon"),
            ("OTEL_SERVICE_NAME", "edge"),
        ]);
        let wanted = Settings {
            queue: 16,
            batch: 16,
            delay: Duration::from_millis(100),
            service: Some("edge".to_owned()),
            ..usual()
        };
        assert_eq!(settings, Ok(Some(wanted)));
        let zero = of(&[ENDPOINT, ("OTEL_BSP_MAX_QUEUE_SIZE", "0")]);
        assert_eq!(zero, Ok(Some(usual())));
    }
}
