//! The words of `config`.

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
#[command(after_help = "\
A context says whom to call: a controller, and the files of the certificate for it. The file of
contexts is --config, WEIR_CONFIG, or weir/config.yaml in XDG_CONFIG_HOME or ~/.config:

  apiVersion: weir/v1
  kind: Config
  currentContext: prod
  contexts:
  - name: prod
    controller: https://lb.example:7420
    tlsCert: alice.pem
    tlsKey: alice.key
    tlsCa: ca.pem

It holds no secret, only where they are; paths that are not absolute begin where the file is. The
context is --context, WEIR_CONTEXT or the current one. A flag counts more than its variable, and
both more than the context; one that names another controller leaves the current context alone,
whose certificate is not meant for that.

Examples:
  # A context for each controller, and the one to use
  weirctl config set-context prod --controller https://lb.example:7420 \\
    --tls-cert alice.pem --tls-key alice.key --tls-ca ca.pem
  weirctl config use-context prod

  # Another one, once
  weirctl --context lab status")]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show the contexts
    GetContexts(GetContextsArgs),
    /// Call another controller from now on
    UseContext(NameArgs),
    /// Show the name of the current context
    CurrentContext,
    /// Create a context, or change what is said of it
    #[command(after_help = "\
What is given by --controller, --tls-cert, --tls-key, --tls-ca and --insecure is kept in the
context; the rest of it stays as it is. The environment is not kept.

Example:
  weirctl config set-context lab --controller http://127.0.0.1:7420")]
    SetContext(NameArgs),
    /// Forget a context
    DeleteContext(NameArgs),
    /// Show the file of contexts as it is understood
    View,
}

#[derive(Debug, Args)]
pub(crate) struct GetContextsArgs {
    /// Only these
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Names alone: name
    #[arg(
        short,
        long,
        value_enum,
        value_name = "FORM",
        hide_possible_values = true
    )]
    pub(crate) output: Option<NamesOnly>,
    /// Leave out the names of the columns
    #[arg(long)]
    pub(crate) no_headers: bool,
}

/// The one other form of contexts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NamesOnly {
    /// One name a line
    Name,
}

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// The context's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}
