//! The words of `plan` and `diff`.

use clap::{Args, ValueEnum};

/// How anything is written for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DocumentForm {
    /// As JSON
    Json,
    /// As YAML
    Yaml,
}

// The usage is spelled out: clap's own would show as required whatever the environment sets.
#[derive(Debug, Args)]
#[command(override_usage = "weirctl plan [OPTIONS] -f FILE...")]
#[command(after_help = "\
The controller checks and compiles the files as apply does, and each node that this changes says
what it would do to its kernel, step by step, and how many connections what it touches has now.
Nothing is written: not at the controller, not on the nodes, not in a kernel. A node that cannot
say is named, with the reason. A backend that goes is drained first, and taken out after that.

Exit status:
  0  nothing would change
  1  something would
  2  it is not known: the controller cannot be reached or refuses, or a file is wrong

Examples:
  # What would this do, and where?
  weirctl plan -f web.yaml

  # Of all files of a directory, for a program
  weirctl plan -f services/ -o json")]
pub(crate) struct PlanArgs {
    /// A file, a directory, or - for standard input; may be given several times
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    pub(crate) files: Vec<String>,
    /// Only if this is still the cluster's revision
    #[arg(long, value_name = "N")]
    pub(crate) expected_revision: Option<u64>,
    /// As apply would with it: nodes may take away more than half of what they serve
    #[arg(long)]
    pub(crate) allow_mass_delete: bool,
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

#[derive(Debug, Args)]
#[command(override_usage = "weirctl diff [OPTIONS] [-f FILE...] [NODE...]")]
#[command(after_help = "\
Three columns: what the files say, what the controller desires, and what the node's kernel holds.
Without files, what is desired is compared with the kernels, everything of it. What is somebody
else's in a kernel is no difference, unless it stands where something of weir's should be.

Exit status:
  0  all is the same
  1  something is not
  2  it is not known: the controller cannot be reached or refuses, a file is wrong, or a node does
     not answer

Examples:
  # Has anybody changed a kernel by hand?
  weirctl diff

  # Is what this file says in the kernels of two nodes?
  weirctl diff -f web.yaml node-a node-b")]
pub(crate) struct DiffArgs {
    /// Compare these nodes alone
    #[arg(value_name = "NODE")]
    pub(crate) nodes: Vec<String>,
    /// A file, a directory, or - for standard input; may be given several times
    #[arg(short, long = "filename", value_name = "FILE")]
    pub(crate) files: Vec<String>,
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
