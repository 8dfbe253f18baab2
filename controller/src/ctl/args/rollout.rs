//! The words of `rollout`.

use clap::{Args, Subcommand, ValueEnum};

use super::DocumentForm;

#[derive(Debug, Args)]
pub(crate) struct RolloutArgs {
    #[command(subcommand)]
    pub(crate) command: RolloutCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RolloutCommand {
    /// Show how far the rollout is, on which nodes, and why it halted
    Status(RolloutStatusArgs),
    /// Stop it where it is; the nodes that have the batch keep it
    Pause(SteerArgs),
    /// Let it go on; what made it halt counts no more
    Resume(SteerArgs),
    /// Give every node, and the resources, what was there before
    Undo(SteerArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
A rollout is what weirctl apply --canary begins. A node is waiting, reached (it was sent the batch)
or converged (its kernel holds it). Connections are those to backends of the batch since the node
holds it, and of these those that were refused or not answered.

With --watch it is shown until it is over or halts.

Exit status:
  0  the rollout goes on, is paused or over, or there was none
  1  it halted, or the controller cannot be reached
  2  the command line is wrong

Examples:
  # How far is it?
  weirctl rollout status

  # Show it again at each change, until it is over
  weirctl rollout status --watch

  # For programs
  weirctl rollout status -o json")]
pub(crate) struct RolloutStatusArgs {
    /// Show it again each time it changes, until it is over or halts
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// How to write it: table, json or yaml
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = RolloutForm::Table)]
    #[arg(hide_possible_values = true)]
    pub(crate) output: RolloutForm,
}

/// How `rollout status` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RolloutForm {
    /// One line each node
    Table,
    /// As JSON
    Json,
    /// As YAML
    Yaml,
}

impl RolloutForm {
    /// Gives how it is written for programs; none: it is not.
    pub(crate) fn document(self) -> Option<DocumentForm> {
        match self {
            Self::Table => None,
            Self::Json => Some(DocumentForm::Json),
            Self::Yaml => Some(DocumentForm::Yaml),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct SteerArgs {
    /// Only if it is the rollout of this revision
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub(crate) revision: u64,
}
