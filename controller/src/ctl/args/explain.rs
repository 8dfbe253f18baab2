//! The words of `explain`.

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "\
Kinds are service, backendset and node. What is said of a field is said in the language itself: its
unit and range, and what it means to leave it out. Names are those of files; spec. may be left out
before a field. No controller is called.

Examples:
  # What a service says
  weirctl explain service

  # One field, and what it is made of
  weirctl explain service.spec.frontends
  weirctl explain service.drain.onDeadline

  # Every field there is
  weirctl explain node --recursive")]
pub(crate) struct ExplainArgs {
    /// A kind, and fields of it with dots between
    #[arg(value_name = "KIND[.FIELD...]")]
    pub(crate) what: String,
    /// Name every field below, too, without what is said of it
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
}
