//! A restart with nothing changed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, ensure};
use weir_integration::eventually::eventually;

use crate::rig::{Rig, SOON};

/// Where the agent tells its numbers, within its node.
pub(crate) const ADMIN: &str = "127.0.0.1:7431";

#[test]
fn an_agent_started_again_with_nothing_changed_takes_no_step() -> Result<()> {
    let mut rig = Rig::start("weir-agent")?;
    restart(&mut rig).inspect_err(|_| rig.show())?;
    rig.finish()
}

fn restart(rig: &mut Rig) -> Result<()> {
    let before = rig.kernel()?;
    rig.kill()?;
    rig.start_agent()?;
    rig.settles()?;
    let metrics = eventually("the agent is ready", SOON, || {
        rig.within(|| {
            get("/readyz")?;
            get("/metrics")
        })?
    })?;
    let counted = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.with_context(|| format!("no {name} in:\n{metrics}"))
    };
    for (name, wanted) in [
        ("weir_agent_audits_total ", "1"),
        ("weir_agent_steps_total ", "0"),
        ("weir_agent_refused_steps_total ", "0"),
        ("weir_agent_failed_passes_total ", "0"),
    ] {
        ensure!(
            counted(name)? == wanted,
            "{name}is not {wanted}:\n{metrics}"
        );
    }
    let after = rig.kernel()?;
    ensure!(
        after == before,
        "lost: {:#?}\nnew: {:#?}",
        after.lost_since(&before),
        after.new_since(&before)
    );
    Ok(())
}

fn get(path: &str) -> Result<String> {
    let target: SocketAddr = ADMIN.parse()?;
    let mut stream = TcpStream::connect_timeout(&target, SOON)?;
    stream.set_read_timeout(Some(SOON))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {ADMIN}\r\nConnection: close\r\n\r\n"
    )?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    ensure!(response.starts_with("HTTP/1.1 200 "), "{response}");
    Ok(response)
}
