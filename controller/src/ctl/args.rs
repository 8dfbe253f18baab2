//! The command line: what can be asked, and the words of its help.

mod check;
mod completion;
mod config;
mod cordon;
mod drain;
mod edit;
mod explain;
mod get;
mod history;
mod import;
mod pki;
mod plan;
mod rollout;
mod top;
mod why;

use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Parser, Subcommand, ValueEnum};

use weir_proto::model::Canary;

use super::render::parse_span;
pub(crate) use check::{CheckArgs, CheckForm};
pub(crate) use completion::CompletionArgs;
pub(crate) use config::{ConfigArgs, ConfigCommand, GetContextsArgs};
pub(crate) use cordon::{CordonArgs, UncordonArgs};
pub(crate) use drain::{DrainArgs, NodeArgs, NodeCommand, ReleaseArgs, UndrainArgs};
pub(crate) use edit::{EditArgs, WeightArgs};
pub(crate) use explain::ExplainArgs;
pub(crate) use get::{DescribeArgs, EventType, GetArgs};
pub(crate) use history::{HistoryArgs, RollbackArgs};
pub(crate) use import::{ImportArgs, Source};
pub(crate) use pki::{For, InitArgs, IssueArgs, PkiArgs, PkiCommand, ShowArgs};
pub(crate) use plan::{DiffArgs, DocumentForm, PlanArgs};
pub(crate) use rollout::{RolloutArgs, RolloutCommand, RolloutStatusArgs, SteerArgs};
pub(crate) use top::{TopArgs, TopForm};
pub(crate) use why::WhyArgs;

/// The widest a line of help gets.
const HELP_WIDTH: usize = 100;

const EXIT: &str = "\
Exit status:
  0    what was asked for was done
  1    the controller cannot be reached or refuses, a file is wrong, or a node refuses
  2    the command line is wrong
  130  Ctrl-C ended a wait; what was waited for goes on

Environment:
  NO_COLOR         set to anything: no colour, also on a terminal
  TERM             dumb: no colour
  WEIR_EDITOR      what edit opens; without it VISUAL, then EDITOR, then vi
  VISUAL           as WEIR_EDITOR
  EDITOR           as WEIR_EDITOR
  TMPDIR           where edit puts what is edited [default: /tmp]
  XDG_CONFIG_HOME  where the file of contexts is, as weir/config.yaml [default: ~/.config]
  HOME             whose ~ that is
  TRACEPARENT      the trace that a change is a part of, as W3C Trace Context writes it
  OTEL_EXPORTER_OTLP_ENDPOINT
                   the OpenTelemetry collector that the span of a change is sent to, as
                   http://HOST:PORT; without it, nowhere. Which of its other variables hold
                   is in the reference";

/// Says what the weir load balancer shall do, and shows what it does.
#[derive(Debug, Parser)]
#[command(name = "weirctl", version, max_term_width = HELP_WIDTH, after_help = EXIT)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) to: Given,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Whom to call, as the command line and the environment say; the rest is in a context.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Given {
    /// Where the controller listens [default: http://127.0.0.1:7420]
    #[arg(long, global = true, value_name = "URL")]
    #[arg(env = "WEIR_CONTROLLER", hide_env_values = true, value_parser = url)]
    pub(crate) controller: Option<String>,
    /// Your certificate (PEM), for https://
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "WEIR_TLS_CERT",
        hide_env_values = true
    )]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "WEIR_TLS_KEY",
        hide_env_values = true
    )]
    pub(crate) tls_key: Option<PathBuf>,
    /// The certificates of the authorities whose controller is trusted (PEM)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "WEIR_TLS_CA",
        hide_env_values = true
    )]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Call by http:// even over a network, where others can read and change what is said
    #[arg(long, global = true, env = "WEIR_INSECURE", hide_env_values = true)]
    pub(crate) insecure: bool,
    /// Ask the agent of this node by its socket instead, for get and status
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) agent: Option<PathBuf>,
    /// The context that says all this, where no flag and no variable does: see weirctl config
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "WEIR_CONTEXT",
        hide_env_values = true
    )]
    pub(crate) context: Option<String>,
    /// The file of contexts [default: ~/.config/weir/config.yaml]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "WEIR_CONFIG",
        hide_env_values = true
    )]
    pub(crate) config: Option<PathBuf>,
    /// How long to wait for a connection, and for each answer
    #[arg(long, global = true, value_name = "TIME", default_value = "10s", value_parser = parse_span)]
    pub(crate) timeout: Duration,
}

impl Given {
    /// Gives what stands on the command line itself.
    pub(crate) fn written(&self, matches: &ArgMatches) -> Self {
        let is = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
        Self {
            controller: self.controller.clone().filter(|_| is("controller")),
            tls_cert: self.tls_cert.clone().filter(|_| is("tls_cert")),
            tls_key: self.tls_key.clone().filter(|_| is("tls_key")),
            tls_ca: self.tls_ca.clone().filter(|_| is("tls_ca")),
            insecure: self.insecure && is("insecure"),
            ..self.clone()
        }
    }
}

/// Whom to call: what is given, completed by a context.
#[derive(Debug, Clone)]
pub(crate) struct To {
    pub(crate) controller: String,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) tls_ca: Option<PathBuf>,
    pub(crate) insecure: bool,
    pub(crate) timeout: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create and replace resources from files
    Apply(ApplyArgs),
    /// Show what applying files would do to the kernel of each node
    Plan(PlanArgs),
    /// Compare files, what is desired, and what the kernels of the nodes hold
    Diff(DiffArgs),
    /// Say why a client reaches a frontend, or does not
    Why(WhyArgs),
    /// Show resources
    Get(GetArgs),
    /// Show everything that is known of one thing
    Describe(DescribeArgs),
    /// Delete resources
    Delete(DeleteArgs),
    /// Change a resource in an editor
    Edit(EditArgs),
    /// Explain what a resource says, field by field
    Explain(ExplainArgs),
    /// Give backends another share of new connections
    Weight(WeightArgs),
    /// Give backends and nodes no new connection, and let those they have end
    Drain(DrainArgs),
    /// Let what is drained take connections again
    Undrain(UndrainArgs),
    /// Let backends on nodes take no new connection, and keep those they have
    Cordon(CordonArgs),
    /// Let backends on nodes that are cordoned take connections again
    Uncordon(UncordonArgs),
    /// Show the last writes: who did what, and when
    History(HistoryArgs),
    /// Go back to what the resources were at a revision
    Rollback(RollbackArgs),
    /// Act on nodes
    Node(NodeArgs),
    /// Show and steer what is brought to the nodes step by step
    Rollout(RolloutArgs),
    /// Show how far each node is, and what is in its way
    Status(StatusArgs),
    /// Look for what is amiss in the whole fleet, and say what to do
    Check(CheckArgs),
    /// Show what passes through services, backends and nodes, live
    Top(TopArgs),
    /// Make certificates, for those who have no authority that does
    Pki(PkiArgs),
    /// Turn what keepalived, ipvsadm or kube-proxy has into resources
    Import(ImportArgs),
    /// Keep contexts: which controllers there are to call
    Config(ConfigArgs),
    /// Let a shell complete commands, with names that the controller tells
    Completion(CompletionArgs),
    /// Show the version of weirctl
    Version,
}

// The usage is spelled out: clap's own would show as required whatever the environment sets.
#[derive(Debug, Args)]
#[command(override_usage = "weirctl apply [OPTIONS] -f FILE...")]
#[command(after_help = "\
Every file is checked first, and everything wrong in any of them is said at once.
The resources of all files are applied together: all of them, or none.

With --wait the exit status is 1 if a node refuses something of what was applied, or has not
converged in time. What else fails on these nodes is mentioned, and left to weirctl status.

With --canary services and backend sets reach the nodes step by step: a number of nodes, or of a
hundred, each step larger than the one before, the last 100%. A step begins when every node of the
steps before has converged. It halts when a node refuses something of it, or when connections fail
more often than before: see weirctl rollout. With --wait the exit status is 1 if it halts.

Examples:
  # Apply one file, and all files of a directory (*.yaml, *.yml, *.json)
  weirctl apply -f web.yaml -f services/

  # Return when every node that is touched forwards accordingly
  weirctl apply -f web.yaml --wait

  # To one node first, then to one of ten, then to all
  weirctl apply -f web.yaml --canary 1,10%,100% --wait --wait-timeout 10m

  # Check a file from standard input and change nothing
  weirctl apply -f - --dry-run < web.yaml")]
pub(crate) struct ApplyArgs {
    /// A file, a directory, or - for standard input; may be given several times
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    pub(crate) files: Vec<String>,
    /// Bring it to the nodes step by step: 1,10%,100%
    #[arg(long, value_name = "STEPS", value_parser = canary)]
    pub(crate) canary: Option<Canary>,
    #[command(flatten)]
    pub(crate) write: Write,
}

/// What all writes have.
#[derive(Debug, Args)]
pub(crate) struct Write {
    /// Let the controller check it, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Only if this is still the cluster's revision
    #[arg(long, value_name = "N")]
    pub(crate) expected_revision: Option<u64>,
    /// Nodes may take away more than half of what they serve, now and of what they hold back
    #[arg(long)]
    pub(crate) allow_mass_delete: bool,
    /// Return when every node that is touched has converged
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) wait: bool,
    /// How long to wait for the nodes
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_span)]
    pub(crate) wait_timeout: Duration,
}

/// How `get` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// One line each
    Table,
    /// One line each, with more columns
    Wide,
    /// As JSON that can be applied
    Json,
    /// As YAML that can be applied
    Yaml,
    /// KIND/NAME
    Name,
    /// As `ipvsadm -Sn` would
    Ipvsadm,
}

impl Form {
    /// Gives how it is written for programs; none: it is not.
    pub(crate) fn document(self) -> Option<DocumentForm> {
        match self {
            Self::Json => Some(DocumentForm::Json),
            Self::Yaml => Some(DocumentForm::Yaml),
            Self::Table | Self::Wide | Self::Name | Self::Ipvsadm => None,
        }
    }
}

#[derive(Debug, Args)]
#[command(
    override_usage = "weirctl delete [OPTIONS] KIND NAME...\n       weirctl delete [OPTIONS] KIND/NAME...\n       weirctl delete [OPTIONS] -f FILE"
)]
#[command(after_help = "\
A service takes its backend sets with it. If one of the resources is not there, none is deleted,
save with --ignore-not-found.

Examples:
  # Two services
  weirctl delete services web dns

  # Resources of several kinds
  weirctl delete service/web node/node-a

  # What a file names
  weirctl delete -f web.yaml --wait")]
pub(crate) struct DeleteArgs {
    /// A kind and names of it, or KIND/NAME
    #[arg(value_name = "KIND", required_unless_present = "files")]
    pub(crate) what: Vec<String>,
    /// A file, a directory, or - for standard input, whose resources are deleted
    #[arg(short, long = "filename", value_name = "FILE", conflicts_with = "what")]
    pub(crate) files: Vec<String>,
    /// Leave out what is not there, instead of deleting nothing
    #[arg(long)]
    pub(crate) ignore_not_found: bool,
    #[command(flatten)]
    pub(crate) write: Write,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Wanted, accepted and converged are generations of a node's state: what it must hold,
what it has taken durably, and what its kernel has been brought to. A node is connected,
gone (its agent was last heard of HEARD), or unheard: not since the controller started.
HELD: it holds back what would take away too much, until weirctl node release NAME.
DEGRADED: it can make nothing durable; it goes on serving and takes no further generation.
REJECTED: it refuses the generation that it was sent, for the reason that is told.
Over TLS, CERTIFICATE is what is left of that of its agent; below 14 days it is told apart.

Exit status:
  0  every node is connected and has converged
  1  a node is not or has not, is held or degraded, or the controller cannot be reached
  2  the command line is wrong

With --wait it is shown once, when the first holds, or the time is over.

Examples:
  # How far is each node?
  weirctl status

  # Go on when every node holds what it must, in a minute at most
  weirctl status --wait --wait-timeout 1m && echo all is well

  # Show it again at each change
  weirctl status --watch

  # For programs: which nodes are not well?
  weirctl status -o json | jq -r '.nodes[] | select(.well | not).node'")]
pub(crate) struct StatusArgs {
    /// Show it again each time a node's state changes
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Return when every node is connected and has converged
    #[arg(long, conflicts_with = "watch")]
    pub(crate) wait: bool,
    /// How long to wait for the nodes
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_span)]
    pub(crate) wait_timeout: Duration,
    /// Write it for programs: json or yaml
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORM",
        hide_possible_values = true
    )]
    pub(crate) output: Option<DocumentForm>,
}

/// Takes the steps of a rollout.
fn canary(text: &str) -> Result<Canary, String> {
    text.parse()
        .map_err(|refused: weir_proto::model::Refused| refused.to_string())
}

/// Takes a URL that weirctl can call.
pub(crate) fn url(text: &str) -> Result<String, String> {
    let parsed: Result<tonic::transport::Uri, _> = text.parse();
    match parsed.as_ref().map(|uri| (uri.scheme_str(), uri.host())) {
        Ok((Some("http" | "https"), Some(_))) => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err("write it like https://HOST:PORT or http://HOST:PORT".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_url_is_one_that_can_be_called() {
        for (text, taken) in [
            ("http://lb:7420", Ok("http://lb:7420")),
            ("http://[fd00::1]:7420/", Ok("http://[fd00::1]:7420")),
            ("https://lb:7420", Ok("https://lb:7420")),
            (
                "lb:7420",
                Err("write it like https://HOST:PORT or http://HOST:PORT"),
            ),
            (
                "",
                Err("write it like https://HOST:PORT or http://HOST:PORT"),
            ),
        ] {
            let expected = taken.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(url(text), expected, "{text}");
        }
    }
}
