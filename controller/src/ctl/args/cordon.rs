//! The words of `cordon` and `uncordon`.

use clap::Args;

use super::Write;

#[derive(Debug, Args)]
#[command(override_usage = "weirctl cordon [OPTIONS] [node] NAME...")]
#[command(after_help = "\
Backends that run on a cordoned node, by their node field, take no new connection on any node: they
are held at weight 0. Connections that stand stay for as long as they last, nothing is taken out,
and the node's own VIPs go on. To empty a node, drain it. Where no backend of a service takes
connections any more, a warning says so.

It is written with the node (cordoned: true), so that a file without it lets go of it when it is
applied. Draining and undraining the node changes nothing of it.

Examples:
  # Nothing new for what runs on a node, and return when every node holds it so
  weirctl cordon node node-a --wait

  # Which nodes are cordoned?
  weirctl get nodes")]
pub(crate) struct CordonArgs {
    /// node and names, or the names alone
    #[arg(value_name = "NAME", required = true)]
    pub(crate) what: Vec<String>,
    #[command(flatten)]
    pub(crate) write: Write,
}

#[derive(Debug, Args)]
#[command(override_usage = "weirctl uncordon [OPTIONS] [node] NAME...")]
#[command(after_help = "\
Backends that run on the node have their own weights again. What is drained stays drained: undrain
ends that.

Example:
  weirctl uncordon node node-a")]
pub(crate) struct UncordonArgs {
    /// node and names, or the names alone
    #[arg(value_name = "NAME", required = true)]
    pub(crate) what: Vec<String>,
    #[command(flatten)]
    pub(crate) write: Write,
}
