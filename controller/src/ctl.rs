//! weirctl, the operator's command: a client of `operator.proto` and nothing else.
//!
//! Files are read and checked before the controller is called; what it answers is set as text. The rooms
//! that read, judge and set text are pure; this one, `connect`, `files` and the commands act.
//! Standard output carries what was asked for, standard error everything else.

mod agent;
mod apply;
mod args;
mod check;
mod complete;
mod connect;
mod contexts;
mod cordon;
mod delete;
mod describe;
mod diff;
mod drain;
mod edit;
mod explain;
mod files;
mod get;
mod history;
mod import;
mod manifest;
mod names;
mod node;
mod outcome;
pub mod pki;
mod plan;
mod progress;
mod render;
mod rollout;
mod selector;
mod status;
mod top;
mod trace;
mod wait;
mod weight;
mod why;

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::error::ErrorKind;
use clap::{ArgMatches, Command as Line, CommandFactory as _, FromArgMatches as _};
use weir_proto::wire;

use args::{Cli, Command, DocumentForm};
pub use complete::COMPLETE;
use manifest::{File, Manifests};
use outcome::print;
use trace::Root;

/// Reads a file as `apply` does: its resources, or what is wrong with it, a line each, as `apply` tells it.
pub fn read_manifest(text: &str) -> Result<Vec<wire::Resource>, Vec<String>> {
    let file = File {
        name: "file".to_owned(),
        text: text.to_owned(),
    };
    match Manifests::read(&[file]) {
        Ok(manifests) => Ok(manifests.resources()),
        Err(faults) => Err(faults.iter().map(ToString::to_string).collect()),
    }
}

/// Writes resources as `get -o yaml` does.
pub fn write_manifest(resources: &[wire::Resource]) -> anyhow::Result<String> {
    render::resources(resources, false, DocumentForm::Yaml)
}

/// Gives the command line with all of its help.
pub fn command() -> Line {
    Cli::command()
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    if complete::answered() {
        return ExitCode::SUCCESS;
    }
    let parsed = Cli::command().try_get_matches().map_err(unset);
    let parsed = parsed.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(help) => {
            // Help goes to standard output and succeeds, a usage error does neither. Nobody is left to
            // tell if it cannot be printed.
            let _ = help.print();
            return ExitCode::from(u8::try_from(help.exit_code()).unwrap_or(outcome::USAGE));
        }
    };
    // One call at a time: a thread is enough, and starting no others is quicker.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let root = Root::of(&cli.command);
    let done = match runtime {
        Ok(runtime) => runtime.block_on(root.around(run(cli, &matches))),
        Err(error) => Err(anyhow::Error::new(error).context("cannot start")),
    };
    // its answer is there before anybody waits for spans to be sent
    let ended = outcome::conclude(done);
    drop(root);
    ended
}

/// Gives what a command line earns where nothing is set in the environment: for clap what is set there is given, so that
/// its usage would name that as required, and a command without its subcommand would not show its help.
fn unset(error: clap::Error) -> clap::Error {
    let needy = [
        ErrorKind::MissingRequiredArgument,
        ErrorKind::MissingSubcommand,
    ];
    if !needy.contains(&error.kind()) {
        return error;
    }
    let plain = Cli::command().mut_args(|arg| match arg.get_env().is_some() {
        true => {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let variable = arg.get_env().unwrap_or_default().to_string_lossy();
            let help = format!("{help} [env: {variable}]");
            arg.env(None::<&'static str>).help(help)
        }
        false => arg,
    });
    plain.try_get_matches().err().unwrap_or(error)
}

async fn run(cli: Cli, matches: &ArgMatches) -> anyhow::Result<()> {
    let Cli { to: given, command } = cli;
    if let Some(path) = &given.agent {
        return agent::run(&given, path, &command).await;
    }
    // whom to call, for those that call
    let to = || contexts::resolve(given.clone());
    match command {
        Command::Apply(args) => apply::run(&to()?, &args).await,
        Command::Get(args) => get::run(&to()?, &args).await,
        Command::Describe(args) => describe::run(&to()?, &args).await,
        Command::Plan(args) => plan::run(&to()?, &args).await,
        Command::Diff(args) => diff::run(&to()?, &args).await,
        Command::Why(args) => why::run(&to()?, &args).await,
        Command::Delete(args) => delete::run(&to()?, &args).await,
        Command::Edit(args) => edit::run(&to()?, &args).await,
        Command::Explain(args) => explain::run(&args),
        Command::Weight(args) => weight::run(&to()?, &args).await,
        Command::Drain(args) => drain::run(&to()?, &args).await,
        Command::Undrain(args) => drain::undo(&to()?, &args).await,
        Command::Cordon(args) => cordon::run(&to()?, &args).await,
        Command::Uncordon(args) => cordon::undo(&to()?, &args).await,
        Command::History(args) => history::run(&to()?, &args).await,
        Command::Rollback(args) => history::roll_back(&to()?, &args).await,
        Command::Node(args) => node::run(&to()?, &args).await,
        Command::Rollout(args) => rollout::run(&to()?, &args).await,
        Command::Status(args) => status::run(&to()?, &args).await,
        Command::Check(args) => check::run(&to()?, &args).await,
        Command::Top(args) => top::run(&to()?, &args).await,
        Command::Pki(args) => pki::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Config(args) => contexts::run(&given, &given.written(matches), &args),
        Command::Completion(args) => complete::run(&args),
        Command::Version => print(&format!(
            "weirctl {} ({})\n",
            env!("CARGO_PKG_VERSION"),
            manifest::API_VERSION
        )),
    }
}

/// Gives the time in Unix milliseconds.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
