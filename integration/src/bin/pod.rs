//! `pod serve NAME` is a pod's server, `pod farm ADDRESS...` are many in one place; `pod get ADDR:PORT COUNT` asks one, a
//! JSON line for each request.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use weir_integration::client::{self, Proto};
use weir_integration::{farm, server};

const USAGE: &str = "usage: pod serve NAME
       pod farm ADDRESS...
       pod get ADDR:PORT COUNT [--proto tcp|udp] [--every MS] [--patience MS]";

fn main() -> Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["serve", name] => {
            server::serve(name).context("serving")?;
            Ok(ExitCode::SUCCESS)
        }
        ["farm", addresses @ ..] => {
            let addresses: Vec<IpAddr> = addresses
                .iter()
                .map(|text| text.parse())
                .collect::<Result<_, _>>()?;
            farm::serve(&addresses).context("serving")?;
            Ok(ExitCode::SUCCESS)
        }
        ["get", target, count, options @ ..] => get(target.parse()?, count.parse()?, options),
        _ => bail!("{USAGE}"),
    }
}

/// Status 1 when a request was not answered.
fn get(target: SocketAddr, count: usize, options: &[&str]) -> Result<ExitCode> {
    let mut proto = Proto::Tcp;
    let mut every = Duration::ZERO;
    let mut patience = Duration::from_secs(1);
    for option in options.chunks(2) {
        match option {
            ["--proto", value] => proto = value.parse().map_err(anyhow::Error::msg)?,
            ["--every", value] => every = Duration::from_millis(value.parse()?),
            ["--patience", value] => patience = Duration::from_millis(value.parse()?),
            _ => bail!("{USAGE}"),
        }
    }
    let mut code = ExitCode::SUCCESS;
    for number in 0..count {
        if number > 0 {
            thread::sleep(every);
        }
        match client::request(proto, target, patience) {
            Ok(answer) => println!("{}", json!(answer)),
            Err(error) => {
                println!("{}", json!({ "error": error.to_string() }));
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
