//! node-a with two pods, a controller and an agent, an operator who changes things, a client who asks for what no change
//! touches, and eyes on the kernel.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use weir_integration::client::Proto;
use weir_integration::eventually::eventually;
use weir_integration::kernel_state::KernelState;
use weir_integration::load::Load;
use weir_integration::netns::Netns;
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
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// All of it. What fails shows the seed that it began with.
pub(crate) struct Rig {
    pub(crate) churn: Churn,
    pub(crate) seed: u64,
    weir: Weir,
    eyes: Eyes,
    load: Load,
    before: KernelState,
    /// How much of the agent's log was there when it was last started.
    logged: u64,
    /// The highest generation that it said it had accepted before that.
    accepted: u64,
    topology: Topology,
    dir: TempDir,
}

impl Rig {
    /// Starts everything; the operator rests. An agent that can be made to fail is one with a file of orders.
    pub(crate) fn start(program: &'static str) -> Result<Self> {
        let seed = seed()?;
        program::line(&format!("WEIR_SEED={seed}"))?;
        let dir = tempfile::tempdir()?;
        // tests may run side by side: each has names of its own
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let topology = Topology::two_pods(&format!("c{number}-"), dir.path())?;
        let node = topology.node(NODE)?;
        for line in model::foreign_commands() {
            run(&node.netns, &line)?;
        }
        let before = KernelState::read(&node.netns)?;
        let listen = SocketAddr::from((node.fabric, 7420));
        let order = format!("@{}", dir.path().join("order").display());
        let agent = AgentProgram {
            name: program,
            environment: vec![
                ("WEIR_FAULT".to_owned(), order),
                // to look up the names for one takes longer than all else in the guest
                ("RUST_BACKTRACE".to_owned(), "0".to_owned()),
            ],
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
            accepted: 0,
            topology,
            dir,
        })
    }

    /// Kills the agent.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.weir.kill_agent(NODE)
    }

    /// Starts an agent that takes up what the last one left.
    pub(crate) fn start_agent(&mut self) -> Result<()> {
        let said = self.said()?;
        let accepted = generations(&said, " accepted ").max();
        self.accepted = self.accepted.max(accepted.unwrap_or(0));
        self.logged += said.len() as u64;
        self.weir.start_agent_alone(&self.topology, NODE)
    }

    /// Gives the status of an agent that has ended, or is about to.
    pub(crate) fn ended(&mut self) -> Result<ExitStatus> {
        self.weir.agent_ended(NODE, SOON)
    }

    /// What the agent has written since it was started last.
    pub(crate) fn said(&self) -> Result<String> {
        let mut log = self.log()?;
        log.seek(SeekFrom::Start(self.logged))?;
        let mut said = String::new();
        log.read_to_string(&mut said)?;
        Ok(said)
    }

    /// Orders a fault of the agent.
    pub(crate) fn order(&self, order: &str) -> Result<()> {
        let next = self.dir.path().join("order.next");
        fs::write(&next, order)?;
        // never half an order
        fs::rename(next, self.dir.path().join("order")).context("ordering")
    }

    /// Waits until the agent has said what it remembers, and fails if it had accepted more.
    pub(crate) fn remembers(&mut self) -> Result<()> {
        let remembered = eventually("the agent remembers", SOON, || {
            ensure!(self.weir.agent_runs(NODE)?, "it has ended");
            generations(&self.said()?, " remembered ")
                .max()
                .context("not yet")
        })?;
        let accepted = self.accepted;
        ensure!(
            remembered >= accepted,
            "generation {accepted} was accepted, and {remembered} is remembered"
        );
        Ok(())
    }

    /// Lets the operator rest, and waits until the kernel is as he asked for. Gives how long that took.
    pub(crate) fn settles(&self) -> Result<Duration> {
        let told = self.churn.rest()?;
        let begun = Instant::now();
        let what = format!("the kernel is as generation {} says", told.target);
        eventually(&what, SOON, || held(&self.churn.told(), &self.eyes))?;
        Ok(begun.elapsed())
    }

    /// Reads what the node's kernel holds.
    pub(crate) fn kernel(&self) -> Result<KernelState> {
        KernelState::read(&self.topology.node(NODE)?.netns)
    }

    /// Runs a command on the node.
    pub(crate) fn run(&self, line: &str) -> Result<()> {
        run(&self.topology.node(NODE)?.netns, line)
    }

    /// Fails unless the agent has brought the kernel to its journal since it was started.
    pub(crate) fn is_ready(&self) -> Result<()> {
        self.weir.agent_is_ready(&self.topology, NODE)
    }

    /// A number that the agent tells.
    pub(crate) fn counts(&self, name: &str) -> Result<u64> {
        self.weir.agent_counts(&self.topology, NODE, name)
    }

    /// Waits until the kernel was looked at once more, from beginning to end.
    pub(crate) fn looks_again(&self) -> Result<()> {
        let goal = self.eyes.looks() + 2;
        eventually("the next looks", SOON, || {
            let looks = self.eyes.looks();
            ensure!(looks >= goal, "{looks} of {goal}");
            Ok(())
        })
    }

    /// Ends everything, and fails if anything was ever lost.
    pub(crate) fn finish(self) -> Result<()> {
        let kernel = self.kernel()?;
        let (made, rate) = (self.churn.made(), self.churn.rate());
        self.churn.stop()?;
        let looks = self.eyes.looks();
        let looked = self.eyes.close()?;
        let outcome = self.load.stop()?;
        program::line(&format!(
            "{made} changes, {rate} a second while they flowed, {looks} looks at the kernel, {outcome}"
        ))?;
        ensure!(looked.missing.is_empty(), "missing: {:?}", looked.missing);
        ensure!(looks > 0, "nobody looked");
        ensure!(
            outcome.failed.is_empty() && outcome.pods() == ["pod-x", "pod-y"],
            "{outcome}: {:?}",
            outcome.failed
        );
        let mut gone = kernel.lost_since(&self.before);
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

    fn log(&self) -> Result<File> {
        let path = self.dir.path().join(format!("weir-agent-{NODE}.log"));
        File::open(&path).with_context(|| format!("opening {}", path.display()))
    }
}

/// The generations that an agent tells of in lines of one kind.
fn generations(log: &str, kind: &str) -> impl Iterator<Item = u64> {
    let lines = log.lines().filter(move |line| line.contains(kind));
    lines.filter_map(|line| {
        let (_, rest) = line.split_once(" generation=")?;
        rest.split(' ').next()?.parse().ok()
    })
}

fn run(netns: &Netns, line: &str) -> Result<()> {
    let mut words = line.split(' ');
    let mut command = netns.command(words.next().context("an empty line")?);
    program::run(command.args(words), "").map(drop)
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
