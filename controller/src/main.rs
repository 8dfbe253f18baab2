//! The weir controller as a program.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use weir_controller::app;
use weir_controller::config::{Config, LogFormat};
use weir_proto::trace::{self, Teller};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Config::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-controller: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    config.check()?;
    let json = config.log_format == LogFormat::Json;
    let teller = Teller {
        program: "weir-controller",
        instance: None,
    };
    let _telling = trace::start(teller, json).context("cannot start to log")?;
    app::run(config).await
}
