//! `weirctl completion`, and what completes a command line while it is written.
//!
//! The shell runs weirctl with [`COMPLETE`] set and the words so far. `asked` says what may stand in the place of the word;
//! this room asks the controller for names, a second at most, and says nothing where nobody answers: a shell must not be
//! held up by it, nor its line be torn.

mod asked;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use weir_proto::wire;

use super::args::{Cli, CompletionArgs, Given};
use super::connect::Controller;
use super::contexts;
use super::names::View;
use super::outcome::print;
use super::render::{Listing, derived_backends, derived_frontends, drain_target, reference_of};
use asked::{Asked, asked};

/// The variable by which a shell asks, and says which it is.
pub const COMPLETE: &str = "_WEIRCTL_COMPLETE";
/// How long names are waited for: people wait for a shell that long, and no longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes what a shell has to run.
pub(super) fn run(args: &CompletionArgs) -> Result<()> {
    let mut text = Vec::new();
    let shells = Shells::builtins();
    let shell = shells.completer(args.shell.name());
    let shell = shell.context("this shell is not known")?;
    shell.write_registration(COMPLETE, "weirctl", "weirctl", "weirctl", &mut text)?;
    print(&String::from_utf8(text)?)
}

/// Completes the line that a shell asks for. Says whether one did.
pub(super) fn answered() -> bool {
    if std::env::var_os(COMPLETE).is_none() {
        return false;
    }
    let here = std::env::current_dir().ok();
    let words = std::env::args_os();
    let done = CompleteEnv::with_factory(with_names)
        .var(COMPLETE)
        .try_complete(words, here.as_deref());
    // a line that cannot be completed stays as it is
    done.unwrap_or(true)
}

/// Gives the command line with what fills in names.
fn with_names() -> Command {
    let mut command = Cli::command();
    let last = std::env::args_os().next_back().unwrap_or_default();
    if !last.to_string_lossy().starts_with('-') {
        command = without_flags(command);
    }
    for (path, argument) in asked::PLACES {
        command = at(command, path, argument);
    }
    command.mut_arg("context", |argument| {
        argument.add(ArgValueCompleter::new(context))
    })
}

/// Offers flags only where nothing else can be: they are asked for by a dash.
fn without_flags(command: Command) -> Command {
    command
        .disable_help_flag(true)
        .mut_args(|argument| {
            let flag = !argument.is_positional();
            argument.hide(flag)
        })
        .mut_subcommands(without_flags)
}

/// Has an argument of a command, which is found by its words, filled in.
fn at(command: Command, path: &'static [&'static str], argument: &'static str) -> Command {
    match path {
        [] => command.mut_arg(argument, |argument| {
            argument.add(ArgValueCompleter::new(named))
        }),
        [first, rest @ ..] => command.mut_subcommand(first, |within| at(within, rest, argument)),
    }
}

fn candidates(all: impl IntoIterator<Item = String>, current: &OsStr) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let fit = all
        .into_iter()
        .filter(|one| one.starts_with(current.as_ref()));
    fit.map(CompletionCandidate::new).collect()
}

/// Reads the words before the one that is completed, as far as they can be read.
fn before(current: &OsStr) -> Option<ArgMatches> {
    // the shell's call is `weirctl -- WORD...`
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    let mut words: Vec<OsString> = words.collect();
    let index = std::env::var("_CLAP_COMPLETE_INDEX").ok();
    match index.and_then(|index| index.parse::<usize>().ok()) {
        Some(index) => words.truncate(index),
        None => {
            words.pop_if(|last| last == current);
        }
    }
    let command = Cli::command().ignore_errors(true);
    command.try_get_matches_from(words).ok()
}

fn context(current: &OsStr) -> Vec<CompletionCandidate> {
    let given = before(current).and_then(|matches| Given::from_arg_matches(&matches).ok());
    let names = given.and_then(|given| contexts::names(&given).ok());
    candidates(names.unwrap_or_default(), current)
}

/// Gives what may stand in the place of a word.
fn named(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(matches) = before(current) else {
        return Vec::new();
    };
    let all = match asked(&matches, &current.to_string_lossy()) {
        Asked::Words(words) => words,
        Asked::Contexts => {
            let given = Given::from_arg_matches(&matches).ok();
            let names = given.and_then(|given| contexts::names(&given).ok());
            names.unwrap_or_default()
        }
        Asked::Names {
            view,
            of,
            before,
            after,
        } => {
            let names = live(&matches, view).unwrap_or_default().into_iter();
            let names = names.filter_map(|name| match &of {
                // without the name of what it is within
                Some(of) => Some(
                    name.strip_prefix(of.as_str())?
                        .strip_prefix('/')?
                        .to_owned(),
                ),
                None => Some(name),
            });
            names.map(|name| format!("{before}{name}{after}")).collect()
        }
    };
    candidates(all, current)
}

/// Asks the controller for the names of what a view shows.
fn live(matches: &ArgMatches, view: View) -> Result<Vec<String>> {
    let mut given = Given::from_arg_matches(matches)?;
    given.timeout = given.timeout.min(PATIENCE);
    let to = contexts::resolve(given)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, async {
            let controller = Controller::connect(&to).await?;
            names(&controller, view).await
        })
        .await?
    })
}

async fn names(controller: &Controller, view: View) -> Result<Vec<String>> {
    if view == View::Drains {
        let drains = controller.drains().await?.into_iter();
        let targets = drains.map(|drain| drain_target(&drain.target.unwrap_or_default()).1);
        return Ok(targets.collect());
    }
    let kind = match view {
        View::Repairs => wire::Kind::Node,
        // frontends, backends and VIPs are parts of services
        view => view.kind().unwrap_or(wire::Kind::Service),
    };
    let own = controller.list(kind).await?;
    if view.kind().is_some() || view == View::Repairs {
        let references = own.iter().filter_map(reference_of);
        return Ok(references.map(|reference| reference.name).collect());
    }
    let sets = match view {
        View::Backends => controller.list(wire::Kind::BackendSet).await?,
        _ => Vec::new(),
    };
    let listing = Listing::new(own.into_iter().chain(sets));
    let services = listing.services.values();
    let names: BTreeSet<String> = match view {
        View::Frontends => services
            .flat_map(derived_frontends)
            .map(|(name, _)| name)
            .collect(),
        View::Vips => listing.vips().map(|vip| vip.to_string()).collect(),
        _ => services
            .flat_map(|service| derived_backends(&listing, service))
            .map(|(name, _)| name)
            .collect(),
    };
    Ok(names.into_iter().collect())
}
