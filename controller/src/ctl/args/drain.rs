//! The words of `drain`, `undrain` and `node`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use weir_proto::wire;

use crate::ctl::render::{parse_seconds, parse_span};

#[derive(Debug, Args)]
#[command(
    override_usage = "weirctl drain [OPTIONS] backend SERVICE ADDRESS:PORT...\n       weirctl drain [OPTIONS] node NAME...\n       weirctl drain [OPTIONS] KIND/NAME..."
)]
#[command(after_help = "\
What is drained gets no new connection, keeps those it has, and goes when it has none left or its
time is over. A node is drained with every backend that runs on it; its VIPs go last. UDP has no
connections to wait for, and goes at once. Applying a file again ends no drain: undrain does.

With --wait the exit status is 0 when nothing is left, or what was left is cut at the deadline, and
1 when connections are kept beyond it, or a node has not told of the end in time.

Examples:
  # Take a backend out of the traffic, and return when its last connection has gone
  weirctl drain backend web 10.0.0.11:8080 --wait

  # Empty a node within ten minutes; connections that are left then are cut
  weirctl drain node node-a --deadline 10m --on-deadline reset

  # How far is it?
  weirctl get drains")]
pub(crate) struct DrainArgs {
    /// backend, a service and addresses with ports; node and names; or what get -o name writes
    #[arg(value_name = "KIND", required = true)]
    pub(crate) what: Vec<String>,
    /// How long connections are waited for, 0s to 7d [default: as the service says; of a node 5m]
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    pub(crate) deadline: Option<u32>,
    /// What becomes of the connections left then: keep or reset [default: as the service says; of a node keep]
    #[arg(long, value_enum, value_name = "END", ignore_case = true)]
    #[arg(hide_possible_values = true)]
    pub(crate) on_deadline: Option<OnDeadline>,
    /// Return when every node that is touched says that it is over, or the time is
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait for the nodes beyond the deadline
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_span)]
    pub(crate) wait_timeout: Duration,
}

/// What becomes of the connections that are left when the time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnDeadline {
    /// They are kept
    Keep,
    /// They are cut
    Reset,
}

impl From<OnDeadline> for wire::OnDeadline {
    fn from(end: OnDeadline) -> Self {
        match end {
            OnDeadline::Keep => Self::Keep,
            OnDeadline::Reset => Self::Reset,
        }
    }
}

#[derive(Debug, Args)]
#[command(
    override_usage = "weirctl undrain [OPTIONS] backend SERVICE ADDRESS:PORT...\n       weirctl undrain [OPTIONS] node NAME...\n       weirctl undrain [OPTIONS] KIND/NAME..."
)]
#[command(after_help = "\
The backends take connections again, with the weight that they have; those they kept go on.

Examples:
  weirctl undrain backend web 10.0.0.11:8080
  weirctl undrain node node-a")]
pub(crate) struct UndrainArgs {
    /// backend, a service and addresses with ports; node and names; or what get -o name writes
    #[arg(value_name = "KIND", required = true)]
    pub(crate) what: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    pub(crate) command: NodeCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Let a node do what it holds back
    Release(ReleaseArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
A node that would lose more than half of the services it serves, and more than ten, or that
another cluster than before would take services from, goes on serving as before, and weirctl
status shows it as HELD. It is released for all that it was sent so far; what comes later is held anew.

Example:
  weirctl node release node-a")]
pub(crate) struct ReleaseArgs {
    /// The node's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}
