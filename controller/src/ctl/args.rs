//! The command line: what can be asked, and the words of its help.

mod drain;
mod get;
mod history;
mod import;
mod pki;
mod plan;
mod rollout;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use weir_proto::model::Canary;

use super::render::parse_span;
pub(crate) use drain::{DrainArgs, NodeArgs, NodeCommand, ReleaseArgs, UndrainArgs};
pub(crate) use get::{DescribeArgs, GetArgs};
pub(crate) use history::{HistoryArgs, RollbackArgs};
pub(crate) use import::{ImportArgs, Source};
pub(crate) use pki::{For, InitArgs, IssueArgs, PkiArgs, PkiCommand, ShowArgs};
pub(crate) use plan::{DiffArgs, PlanArgs, PlanForm};
pub(crate) use rollout::{RolloutArgs, RolloutCommand, RolloutForm, RolloutStatusArgs, SteerArgs};

/// The widest a line of help gets.
const HELP_WIDTH: usize = 100;

const EXIT: &str = "\
Exit status:
  0  what was asked for was done
  1  the controller cannot be reached or refuses, a file is wrong, or a node refuses
  2  the command line is wrong";

/// Says what the weir load balancer shall do, and shows what it does.
#[derive(Debug, Parser)]
#[command(name = "weirctl", version, max_term_width = HELP_WIDTH, after_help = EXIT)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) to: To,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Whom to call.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct To {
    /// Where the controller listens
    #[arg(long, global = true, value_name = "URL")]
    #[arg(env = "WEIR_CONTROLLER", hide_env_values = true)]
    #[arg(default_value = "http://127.0.0.1:7420", value_parser = url)]
    pub(crate) controller: String,
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
    /// How long to wait for a connection, and for each answer
    #[arg(long, global = true, value_name = "TIME", default_value = "10s", value_parser = parse_span)]
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
    /// Show resources
    Get(GetArgs),
    /// Show everything that is known of one thing
    Describe(DescribeArgs),
    /// Delete resources
    Delete(DeleteArgs),
    /// Give backends and nodes no new connection, and let those they have end
    Drain(DrainArgs),
    /// Let what is drained take connections again
    Undrain(UndrainArgs),
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
    /// Make certificates, for those who have no authority that does
    Pki(PkiArgs),
    /// Turn what keepalived, ipvsadm or kube-proxy has into resources
    Import(ImportArgs),
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

Examples:
  # How far is each node?
  weirctl status

  # Show it again at each change
  weirctl status --watch")]
pub(crate) struct StatusArgs {
    /// Show it again each time a node's state changes
    #[arg(short, long)]
    pub(crate) watch: bool,
}

/// Takes the steps of a rollout.
fn canary(text: &str) -> Result<Canary, String> {
    text.parse()
        .map_err(|refused: weir_proto::model::Refused| refused.to_string())
}

/// Takes a URL that weirctl can call.
fn url(text: &str) -> Result<String, String> {
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
