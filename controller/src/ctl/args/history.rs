//! The words of `history` and `rollback`.

use clap::Args;

use super::{Form, Write};

#[derive(Debug, Args)]
#[command(after_help = "\
Each line is one write by an operator: the cluster's revision after it, who wrote, what was done,
and what became of each resource. The controller keeps the last 100.

Examples:
  # What was done last?
  weirctl history -n 5

  # Everything that each write changed
  weirctl history -o wide")]
pub(crate) struct HistoryArgs {
    /// The last N writes alone
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value_t = 100,
        hide_default_value = true
    )]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) limit: u32,
    /// How to write it: table, wide, json or yaml
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t = Form::Table)]
    #[arg(hide_possible_values = true)]
    pub(crate) output: Form,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Services and backend sets become what they were at that revision; what came since is deleted. Which
nodes there are is left alone: one that came since stays, and one that was deleted stays away until
its agent registers it. Of those that are there the labels and settings go back; their addresses
stay what their agents say. Drains stay. It is a write of its own, which can be rolled back in turn.

A revision is that of a line of weirctl history, or the one before the oldest.

Examples:
  # What would change?
  weirctl rollback 41 --dry-run

  # Go back, and return when every node that is touched forwards accordingly
  weirctl rollback 41 --wait")]
pub(crate) struct RollbackArgs {
    /// The revision to go back to
    #[arg(value_name = "REVISION", value_parser = revision)]
    pub(crate) revision: u64,
    #[command(flatten)]
    pub(crate) write: Write,
}

fn revision(text: &str) -> Result<u64, String> {
    let parsed = text.parse();
    parsed.map_err(|_| format!("{text:?} is not a revision: weirctl history numbers them"))
}
