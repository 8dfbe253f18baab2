//! `weir-agent check`: whether this machine can be a node, before anything is installed, or what is the matter with one.
//!
//! `gather` opens every door and gives `facts`, `judge` says of them what is fine and what to do. Nothing is written and nothing
//! left: what is tried in the kernel is taken away at once, as the agent does at its start; modules that come by it stay, and
//! are named.

pub mod facts;
mod gather;
mod judge;
mod sockets;

use std::io::IsTerminal as _;

use weir_proto::checkup::{self, Sum};

use crate::config::{CheckArgs, CheckForm};
pub use judge::judge;

/// What a check has to say.
#[derive(Debug)]
pub struct Checked {
    /// The page, or the JSON.
    pub text: String,
    /// Whether nothing failed.
    pub well: bool,
}

/// Looks at this machine.
pub async fn check(args: &CheckArgs) -> anyhow::Result<Checked> {
    let findings = judge(&gather::gather(args).await);
    let text = match args.output {
        CheckForm::Text => checkup::page(&findings, is_coloured()),
        CheckForm::Json => checkup::json(&findings)?,
    };
    Ok(Checked {
        text,
        well: Sum::of(&findings).failed == 0,
    })
}

fn is_coloured() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let term = std::env::var("TERM").ok();
    let terminal = std::io::stdout().is_terminal();
    checkup::is_coloured(terminal, set("NO_COLOR"), term.as_deref())
}

#[cfg(test)]
mod tests;
