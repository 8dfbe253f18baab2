//! One agent on the kernel at hand, which must have IPVS: its times, and the memory of the program that is shipped.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::Builder;
use weir_integration::daemon::Daemon;
use weir_integration::netns::Netns;
use weir_integration::program;

use crate::Asked;
use crate::changes::{Limits, latency, of};
use crate::cluster::{self, Size};
use crate::controller::{Controller, flags, free_port};
use crate::fleet::{Fleet, Kernels};
use crate::pki;
use crate::process::{self, Cores};
use crate::row::{Row, Rows};

const UNIT: &str = include_str!("../../../deploy/systemd/weir-agent.service");
const ONE: Size = Size {
    services: 100,
    backends: 10,
    nodes: 1,
};
/// A large node's share; one in a hundred of the backends is on the node itself.
const HELD: Size = Size {
    services: 1_000,
    backends: 10,
    nodes: 100,
};
const CHANGES: usize = 200;
const WARM_UP: usize = 10;
/// What an agent may have without any backend, and for each, in bytes.
const AT_REST: f64 = 20e6;
const EACH_BACKEND: f64 = 500.0;

/// Runs what was asked for.
pub(crate) fn run(asked: &Asked, rows: &mut Rows) -> Result<()> {
    if asked.for_any(&["agent-1"]) {
        let netns = Netns::create("fleet")?;
        netns.enter(|| one_agent(rows))??;
    }
    if asked.for_any(&["agent-memory"]) {
        let netns = Netns::create("memory")?;
        netns.enter(|| memory(rows))??;
    }
    Ok(())
}

fn one_agent(rows: &mut Rows) -> Result<()> {
    let cores = Cores::take()?;
    let mut fleet = Fleet::start(cores, ONE, Kernels::AtHand)?;
    if !cores.are_two() {
        rows.note("agent-1: controller, agent and operator share one core of this kernel");
    }
    fleet.changes(WARM_UP, &[])?;
    let times = fleet.changes(CHANGES, &[])?;
    let limits = Limits {
        must: (10.0, 30.0),
        aim: (5.0, 15.0),
    };
    latency(rows, "agent-1", &times, limits);
    fleet.end()
}

fn memory(rows: &mut Rows) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let controller = Controller::start()?;
    let mut operator = runtime.block_on(controller.operator())?;
    for batch in HELD.batches() {
        runtime.block_on(operator.apply(batch))?;
    }
    let dir = tempfile::tempdir()?;
    let files = controller.pki.files(&pki::node(&cluster::node(0))?)?;
    let mut command = Command::new(program::ours("weir-agent")?);
    command
        .args(["--node", &cluster::node(0)])
        .args(["--controller", &format!("https://{}", controller.address)])
        .args(["--admin-listen", &free_port()?.to_string()])
        .arg("--data-dir")
        .arg(dir.path().join("data"))
        .args(flags(&files))
        .envs(process::allocator(UNIT))
        .env("WEIR_LOG", "warn");
    let agent = Daemon::start("weir-agent", command, dir.path())?;
    let held = runtime.block_on(operator.all_hold(1));
    held.inspect_err(|_| agent.show())?;
    let has = process::resident(agent.process()).context("the agent's memory")? as f64;
    let limit = AT_REST + EACH_BACKEND * HELD.all() as f64;
    let case = format!("agent, {} backends", HELD.all());
    let of = of("agent-memory", &case, "MB", 1);
    rows.add(Row::limit(of, has / 1e6, limit / 1e6, None));
    agent.terminate(Duration::from_secs(30))?;
    Ok(())
}
