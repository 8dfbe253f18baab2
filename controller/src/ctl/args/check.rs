//! The words of `check`.

use clap::{Args, ValueEnum};

/// How a check is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckForm {
    /// A page of ticks, in groups
    Text,
    /// One JSON object
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Looks at the whole fleet from here, and says of whatever is amiss what to do: whether the controller
is reached and its clock agrees with this machine's, how long certificates last, the versions of
agents, what is the matter with each node, drains past their deadline, services that take nothing
because nodes are cordoned, a rollout that stopped, and VIPs that are in somebody's way. A node with which all is well is only counted. What a single
machine lacks, weir-agent check says there, before it is a node and after.

Exit status:
  0  nothing failed, warnings or not
  1  something failed, or the controller cannot be reached
  2  the command line is wrong

Examples:
  # Is there anything to be done?
  weirctl check

  # What failed, for a script
  weirctl check -o json | jq -r '.findings[] | select(.outcome == \"failed\") | .name'")]
pub(crate) struct CheckArgs {
    /// How to write it: text or json
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = CheckForm::Text)]
    #[arg(hide_possible_values = true)]
    pub(crate) output: CheckForm,
}
