//! node-a with two pods, a controller and an agent, an operator who changes things, a client who asks for what no change
//! touches, and eyes on the kernel.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use weir_integration::client::Proto;
use weir_integration::eventually::eventually;
use weir_integration::kernel_state::KernelState;
use weir_integration::load::Load;
use weir_integration::program;
use weir_integration::topology::Topology;
use weir_integration::weir::{AgentProgram, Weir};

use crate::churn::{Churn, Told};
use crate::eyes::Eyes;
use crate::model;

/// The one node.
const NODE: &str = "node-a";
/// The service that no change touches.
const WEB: &str = "10.100.100.100:8080";
/// How long an agent may take to come to something in the guest, where a system call takes two hundred times as long:
/// a deadline, not a measure.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// All of it. What fails shows the seed that it began with.
pub(crate) struct Rig {
    pub(crate) churn: Churn,
    pub(crate) seed: u64,
    weir: Weir,
    eyes: Eyes,
    load: Load,
    before: KernelState,
    /// How much of the agent's log was there when it was last started.
    logged: usize,
    topology: Topology,
    dir: TempDir,
}

impl Rig {
    /// Starts everything; the operator rests. An agent that can be made to fail is one with a file of orders.
    pub(crate) fn start(program: &'static str) -> Result<Self> {
        let seed = seed()?;
        println!("WEIR_SEED={seed}");
        let dir = tempfile::tempdir()?;
        let topology = Topology::two_pods("c-", dir.path())?;
        let node = topology.node(NODE)?;
        for line in model::foreign_commands() {
            program::run(node.netns.command(&line[0]).args(&line[1..]), "")?;
        }
        let before = KernelState::read(&node.netns)?;
        let listen = SocketAddr::from((node.fabric, 7420));
        let order = format!("@{}", dir.path().join("order").display());
        let agent = AgentProgram {
            name: program,
            environment: vec![("WEIR_FAULT".to_owned(), order)],
            ..AgentProgram::default()
        };
        let weir = Weir::start_with(&topology, dir.path(), listen, agent)?;
        let churn = Churn::start(&node.netns, format!("http://{listen}"), seed)?;
        let eyes = Eyes::open(&node.netns)?;
        eventually("the node holds what it begins with", SOON, || {
            held(&churn.told(), &eyes)
        })?;
        let load = Load::start(&topology.client, Proto::Tcp, WEB.parse()?)?;
        Ok(Self {
            churn,
            seed,
            weir,
            eyes,
            load,
            before,
            logged: 0,
            topology,
            dir,
        })
    }

    /// Kills the agent.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.weir.kill_agent(NODE)
    }

    /// Asks the agent to end.
    pub(crate) fn terminate(&mut self) -> Result<ExitStatus> {
        self.weir.terminate_agent(NODE)
    }

    /// Starts an agent that takes up what the last one left.
    pub(crate) fn start_agent(&mut self) -> Result<()> {
        self.logged = self.log()?.len();
        self.weir.start_agent_alone(&self.topology, NODE)
    }

    /// Gives the status of an agent that has ended, or is about to.
    pub(crate) fn ended(&mut self) -> Result<ExitStatus> {
        self.weir.agent_ended(NODE, SOON)
    }

    /// What the agent has written since it was started last.
    pub(crate) fn said(&self) -> Result<String> {
        let mut log = self.log()?;
        Ok(log.split_off(self.logged))
    }

    /// Orders a fault of the agent.
    pub(crate) fn order(&self, order: &str) -> Result<()> {
        let next = self.dir.path().join("order.next");
        fs::write(&next, order)?;
        // never half an order
        fs::rename(next, self.dir.path().join("order")).context("ordering")
    }

    /// The generation that the agent remembered when it was started, once it has said so.
    pub(crate) fn remembered(&mut self) -> Result<u64> {
        eventually("the agent remembers", SOON, || {
            ensure!(self.weir.agent_runs(NODE)?, "it has ended");
            let said = self.said()?;
            let line = said.lines().find(|line| line.contains(" remembered "));
            let word = line.and_then(|line| line.split("generation=").nth(1));
            let number = word.and_then(|rest| rest.split(' ').next());
            number.context("not yet")?.parse().context("a generation")
        })
    }

    /// Lets the operator rest, and waits until the kernel is as he asked for. Gives how long that took.
    pub(crate) fn settles(&self) -> Result<Duration> {
        let told = self.churn.rest()?;
        let begun = Instant::now();
        let what = format!("the kernel is as generation {} says", told.target);
        eventually(&what, SOON, || held(&self.churn.told(), &self.eyes))?;
        Ok(begun.elapsed())
    }

    /// Ends everything, and fails if anything was ever lost.
    pub(crate) fn finish(self) -> Result<()> {
        let told = self.churn.told();
        let made = self.churn.made();
        self.churn.stop()?;
        let looked = self.eyes.close()?;
        let outcome = self.load.stop()?;
        println!(
            "{made} changes, {} looks at the kernel, {outcome}",
            looked.looks
        );
        ensure!(told.lost.is_empty(), "accepted and lost: {:?}", told.lost);
        ensure!(looked.missing.is_empty(), "missing: {:?}", looked.missing);
        ensure!(looked.looks > 0, "nobody looked");
        ensure!(
            outcome.failed.is_empty() && outcome.pods() == ["pod-x", "pod-y"],
            "{outcome}: {:?}",
            outcome.failed
        );
        let mut gone =
            KernelState::read(&self.topology.node(NODE)?.netns)?.lost_since(&self.before);
        // settings that the agent needs otherwise
        gone.retain(|line| !line.contains('='));
        ensure!(gone.is_empty(), "the operator's own: {gone:#?}");
        Ok(())
    }

    /// Shows what the programs said last.
    pub(crate) fn show(&self) {
        eprintln!("WEIR_SEED={}", self.seed);
        self.weir.show_logs();
    }

    fn log(&self) -> Result<String> {
        let path: PathBuf = self.dir.path().join(format!("weir-agent-{NODE}.log"));
        let log = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(String::from_utf8_lossy(&log).into_owned())
    }
}

/// Fails unless the node has the last change and its kernel just what was asked for.
fn held(told: &Told, eyes: &Eyes) -> Result<()> {
    let node = &told.node;
    ensure!(
        node.connected && node.converged_generation >= told.target && node.failure_count == 0,
        "generation {} is not there: {node:?}",
        told.target
    );
    let (wanted, found) = (told.model.objects(), eyes.read()?);
    if wanted != found {
        let lost: Vec<_> = wanted
            .iter()
            .filter(|(key, told)| found.get(key) != Some(told))
            .collect();
        let new: Vec<_> = found
            .iter()
            .filter(|(key, told)| wanted.get(key) != Some(told))
            .collect();
        anyhow::bail!("wanted: {lost:?}\nfound: {new:?}");
    }
    Ok(())
}

/// What decides all that happens: the one asked for, or another one each time.
fn seed() -> Result<u64> {
    match std::env::var("WEIR_SEED") {
        Ok(seed) => seed.parse().context("WEIR_SEED is no number"),
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            Ok(u64::from(now.subsec_nanos()))
        }
    }
}
