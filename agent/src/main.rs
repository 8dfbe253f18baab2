//! Parses, starts telling what it does, and calls the app.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::{self, ExitCode};

use clap::{CommandFactory, Parser};
use weir_agent::app;
use weir_agent::config::{Cli, Command, LogFormat};

/// What is free goes back to the machine: glibc keeps what the largest commit took.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Lets mimalloc take from the machine and give back each piece by itself (mimalloc v3, src/options.c, `disallow_arena_alloc`).
/// Of a region of its own it gives nothing back for a second, and writes zeros where the machine has them already: sled
/// asks for 6 MiB of those with each opening and uses next to nothing of them.
const ALLOCATES: (&str, &str) = ("MIMALLOC_DISALLOW_ARENA_ALLOC", "1");

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.command.is_none() && cli.run.is_some() {
        set_allocator();
    }
    act(cli)
}

/// Begins this program again with the setting of the allocator, which reads it from the environment alone, and before
/// `main`. Where that cannot be done it goes on, with more memory.
fn set_allocator() {
    let (name, value) = ALLOCATES;
    if env::var_os(name).is_some() {
        return;
    }
    let mut args = env::args_os();
    let Ok(program) = env::current_exe() else {
        return;
    };
    let mut again = process::Command::new(program);
    if let Some(called) = args.next() {
        again.arg0(called);
    }
    // it only returns where it failed
    let _ = again.args(args).env(name, value).exec();
}

#[tokio::main]
async fn act(cli: Cli) -> ExitCode {
    let done = match (cli.command, cli.run) {
        (Some(command), _) => once(command).await,
        (None, Some(config)) => run(config).await,
        (None, None) => {
            // nothing was asked for: say what can be
            let help = Cli::command().print_help();
            help.map(|()| ExitCode::from(2))
                .map_err(anyhow::Error::from)
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("weir-agent: {error:#}");
        ExitCode::FAILURE
    })
}

async fn run(config: weir_agent::config::Config) -> anyhow::Result<ExitCode> {
    let _telling = tell(config.log_format)?;
    app::agent(config).await?;
    Ok(ExitCode::SUCCESS)
}

async fn once(command: Command) -> anyhow::Result<ExitCode> {
    let _telling = tell(command.storage().log_format)?;
    let said = app::once(command).await?;
    println!("{}", said.text);
    Ok(if said.complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn tell(format: LogFormat) -> Result<weir_proto::trace::Guard, weir_proto::trace::Error> {
    weir_proto::trace::start("weir-agent", format == LogFormat::Json)
}
