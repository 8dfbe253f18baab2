//! Parses, starts telling what it does, and calls the app.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use weir_agent::app;
use weir_agent::config::{Cli, Command, LogFormat};
use weir_proto::trace::{self, Guard, Teller};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
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
    let _telling = tell(config.log_format, Some(config.node.to_string()))?;
    app::agent(config).await?;
    Ok(ExitCode::SUCCESS)
}

async fn once(command: Command) -> anyhow::Result<ExitCode> {
    // what a check has to say is all that it says
    let format = command.log_format();
    let _telling = format.map(|format| tell(format, None)).transpose()?;
    let said = app::once(command).await?;
    println!("{}", said.text);
    Ok(if said.complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn tell(format: LogFormat, node: Option<String>) -> Result<Guard, trace::Error> {
    let teller = Teller {
        program: "weir-agent",
        instance: node.as_deref(),
    };
    trace::start(teller, format == LogFormat::Json)
}
