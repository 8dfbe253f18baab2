//! The trace that a command which changes something begins, where spans are sent to a collector.

use std::env;
use std::future::Future;

use tonic::Status;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tracing::{Instrument as _, Span, info_span};
use weir_proto::trace::{self, Guard, SPANS, traceparent};

use super::args::{Command, RolloutCommand};

/// The span of a command, from its start to its end.
#[derive(Debug)]
pub(super) struct Root {
    span: Span,
    /// Sends it when all is over.
    _guard: Guard,
}

/// Puts the trace of a command into its calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carrier;

impl Root {
    /// Begins the trace of a command, or a part of the one that TRACEPARENT names; nothing for one that only looks.
    pub(super) fn of(command: &Command) -> Self {
        let started = match changing(command) {
            Some(name) => trace::start_spans("weirctl").map(|guard| (Some(name), guard)),
            None => Ok((None, Guard::default())),
        };
        let (name, guard) = started.unwrap_or_else(|error| {
            eprintln!("weirctl: no spans are sent: {}", trace::chain(&error));
            (None, Guard::default())
        });
        let span = match name {
            Some(name) => {
                let name = format!("weirctl {name}");
                let span =
                    info_span!(target: SPANS, "weirctl", otel.name = name, otel.kind = "client");
                // one that is not there, or no text, begins a trace
                trace::set_parent(&span, &env::var("TRACEPARENT").unwrap_or_default());
                span
            }
            None => Span::none(),
        };
        Self {
            span,
            _guard: guard,
        }
    }

    /// Runs the command.
    pub(super) async fn around(
        &self,
        command: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let done = command.instrument(self.span.clone()).await;
        if let Err(error) = &done {
            trace::failed(&self.span, &format!("{error:#}"));
        }
        done
    }
}

/// Names a command that may change something; what is none of these only looks, or calls nobody.
fn changing(command: &Command) -> Option<&'static str> {
    let name = match command {
        Command::Apply(_) => "apply",
        Command::Delete(_) => "delete",
        Command::Edit(_) => "edit",
        Command::Weight(_) => "weight",
        Command::Drain(_) => "drain",
        Command::Undrain(_) => "undrain",
        Command::Cordon(_) => "cordon",
        Command::Uncordon(_) => "uncordon",
        Command::Rollback(_) => "rollback",
        Command::Node(_) => "node",
        Command::Rollout(args) => match args.command {
            RolloutCommand::Status(_) => return None,
            RolloutCommand::Pause(_) | RolloutCommand::Resume(_) | RolloutCommand::Undo(_) => {
                "rollout"
            }
        },
        _ => return None,
    };
    Some(name)
}

impl Interceptor for Carrier {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        let traceparent = traceparent();
        if let Ok(value) = MetadataValue::try_from(&traceparent)
            && !traceparent.is_empty()
        {
            request.metadata_mut().insert("traceparent", value);
        }
        Ok(request)
    }
}
