//! The words of `completion`.

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
#[command(after_help = "\
Kinds, names, contexts and flags are completed. Names are asked of the controller that the command
line, the environment or the current context names, for a second at most; where nobody answers,
there are none, and nothing is said.

Examples:
  # In this shell: bash (with the package bash-completion), zsh, fish
  source <(weirctl completion bash)
  source <(weirctl completion zsh)
  weirctl completion fish | source

  # In every one
  weirctl completion bash > ~/.local/share/bash-completion/completions/weirctl")]
pub(crate) struct CompletionArgs {
    /// bash, zsh or fish
    #[arg(value_enum, value_name = "SHELL", hide_possible_values = true)]
    pub(crate) shell: Shell,
}

/// A shell that can be completed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// GNU bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

impl Shell {
    /// Gives its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Zsh => "zsh",
            Self::Fish => "fish",
        }
    }
}
