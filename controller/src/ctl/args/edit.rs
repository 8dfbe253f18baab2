//! The words of `edit` and `weight`.

use std::time::Duration;

use clap::Args;

use super::Write;
use crate::ctl::render::parse_span;

#[derive(Debug, Args)]
#[command(
    override_usage = "weirctl edit [OPTIONS] KIND NAME\n       weirctl edit [OPTIONS] KIND/NAME"
)]
#[command(after_help = "\
The resource is opened as YAML in WEIR_EDITOR, VISUAL, EDITOR or vi, and applied as it was saved. If
it is refused it is opened again with the reasons, and so it is, with what is there by now, if it
was changed by somebody else meanwhile. Saved as it was opened, nothing is changed. What could not
be applied is kept in a file, which is named.

Examples:
  weirctl edit service/web

  # With another editor, and return when every node that is touched forwards accordingly
  WEIR_EDITOR='code --wait' weirctl edit service web --wait")]
pub(crate) struct EditArgs {
    /// A kind and a name of it, or KIND/NAME
    #[arg(value_name = "KIND", required = true)]
    pub(crate) what: Vec<String>,
    /// Nodes may take away more than half of what they serve, now and of what they hold back
    #[arg(long)]
    pub(crate) allow_mass_delete: bool,
    /// Return when every node that is touched has converged
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait for the nodes
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_span)]
    pub(crate) wait_timeout: Duration,
}

#[derive(Debug, Args)]
#[command(override_usage = "weirctl weight [OPTIONS] SERVICE/ADDRESS:PORT=WEIGHT...")]
#[command(after_help = "\
Backends are named as get backends names them; the weight is changed where the backend is written,
in its service or in a backend set, and nothing else of it. All are changed together, or none. A
backend with weight 0 takes no new connection and keeps those that it has; unlike one that is
drained it stays where it is, for as long as nobody changes it.

Examples:
  # A third of the connections for one, two thirds for the other
  weirctl weight web/10.0.0.11:8080=1 web/10.0.0.21:8080=2

  # No new connection for one, and return when every node holds it so
  weirctl weight web/10.0.0.11:8080=0 --wait")]
pub(crate) struct WeightArgs {
    /// A backend, and its weight from now on, 0-65535
    #[arg(value_name = "SERVICE/ADDRESS:PORT=WEIGHT", required = true)]
    pub(crate) backends: Vec<String>,
    #[command(flatten)]
    pub(crate) write: Write,
}
