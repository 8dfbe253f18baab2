//! weir itself on a topology: one controller, an agent on each node, and the operator's command.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::client;
use crate::daemon::Daemon;
use crate::program;
use crate::topology::{Node, Topology};

/// Opening a database and a socket takes well under a second, even in the guest; where others are at work, longer.
const START: Duration = Duration::from_secs(60);
/// How long a daemon may take to end when asked.
const END: Duration = Duration::from_secs(30);

/// What a scenario takes out of a kernel stays out until it has looked: no audit puts it back meanwhile.
const AUDIT_SECONDS: u64 = 3_600;
/// Where an agent tells how it is, in its own namespace.
const AGENT_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7422);
/// A page of an agent takes milliseconds; where others are at work, longer.
const PAGE_PATIENCE: Duration = Duration::from_secs(10);

/// The programs, running. What they keep lies in the directory given, which outlives them.
#[derive(Debug)]
pub struct Weir {
    dir: PathBuf,
    listen: SocketAddr,
    agent: AgentProgram,
    controller: Option<Daemon>,
    agents: BTreeMap<String, Daemon>,
}

/// What runs as an agent.
#[derive(Debug, Clone)]
pub struct AgentProgram {
    /// Its name among our programs.
    pub name: &'static str,
    /// What it finds in its environment beside what the test has in its own.
    pub environment: Vec<(String, String)>,
    /// The seconds between two of its audits.
    pub audit_seconds: u64,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its status; none: a signal ended it.
    pub status: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
}

impl Default for AgentProgram {
    /// The agent as it is shipped, which audits so seldom that a scenario sees one audit at most: the first.
    fn default() -> Self {
        Self {
            name: "weir-agent",
            environment: Vec::new(),
            audit_seconds: AUDIT_SECONDS,
        }
    }
}

impl Weir {
    /// Starts a controller on node-a that listens on `listen`, and an agent on every node, and waits until
    /// the controller knows them all.
    pub fn start(topology: &Topology, dir: &Path, listen: SocketAddr) -> Result<Weir> {
        Weir::start_with(topology, dir, listen, AgentProgram::default())
    }

    /// Starts the same with another program as every agent.
    pub fn start_with(
        topology: &Topology,
        dir: &Path,
        listen: SocketAddr,
        agent: AgentProgram,
    ) -> Result<Weir> {
        let mut weir = Weir {
            dir: dir.into(),
            listen,
            agent,
            controller: None,
            agents: BTreeMap::new(),
        };
        weir.start_controller(topology)?;
        for node in &topology.nodes {
            weir.start_agent(topology, &node.name)?;
        }
        Ok(weir)
    }

    /// Starts the controller, again or for the first time, and waits until it answers.
    pub fn start_controller(&mut self, topology: &Topology) -> Result<()> {
        let home = controller_home(topology)?;
        let admin = SocketAddr::from(([127, 0, 0, 1], 7421));
        let mut command = home.netns.command(program::ours("weir-controller")?);
        command
            .args(["--listen", &self.listen.to_string()])
            .args(["--admin-listen", &admin.to_string()])
            .arg("--data-dir")
            .arg(self.dir.join("controller"));
        command.args(self.insecure());
        let mut daemon = Daemon::start("weir-controller", command, &self.dir)?;
        daemon.ready(START, || {
            self.weirctl(topology, &["get", "nodes"], "").map(drop)
        })?;
        self.controller = Some(daemon);
        Ok(())
    }

    /// Kills the controller with SIGKILL.
    pub fn kill_controller(&mut self) -> Result<()> {
        self.controller.take().context("no controller runs")?.kill()
    }

    /// Starts a node's agent, again or for the first time, and waits until the controller lists the node.
    pub fn start_agent(&mut self, topology: &Topology, node: &str) -> Result<()> {
        let mut daemon = self.spawn_agent(topology.node(node)?)?;
        daemon.ready(START, || {
            let nodes = self.weirctl(topology, &["get", "nodes"], "")?;
            ensure!(nodes.contains(node), "{node} is not among:\n{nodes}");
            Ok(())
        })?;
        self.agents.insert(node.into(), daemon);
        Ok(())
    }

    /// Starts a node's agent and waits for nothing: there may be no controller.
    pub fn start_agent_alone(&mut self, topology: &Topology, node: &str) -> Result<()> {
        let daemon = self.spawn_agent(topology.node(node)?)?;
        self.agents.insert(node.into(), daemon);
        Ok(())
    }

    /// Kills a node's agent with SIGKILL.
    pub fn kill_agent(&mut self, node: &str) -> Result<()> {
        self.take_agent(node)?.kill()
    }

    /// Stops a node's agent in its tracks, or lets it go on.
    pub fn pause_agent(&self, node: &str, paused: bool) -> Result<()> {
        let agent = self.agents.get(node);
        agent
            .with_context(|| format!("no agent on {node}"))?
            .pause(paused)
    }

    /// Asks a node's agent to end, and gives its status.
    pub fn terminate_agent(&mut self, node: &str) -> Result<ExitStatus> {
        self.take_agent(node)?.terminate(END)
    }

    /// Whether a node's agent, once started, still runs.
    pub fn agent_runs(&mut self, node: &str) -> Result<bool> {
        let agent = self.agents.get_mut(node);
        agent.with_context(|| format!("no agent on {node}"))?.runs()
    }

    /// Waits until a node's agent has ended of its own accord, and gives its status.
    pub fn agent_ended(&mut self, node: &str, deadline: Duration) -> Result<ExitStatus> {
        self.take_agent(node)?.ended(deadline)
    }

    /// Fails unless a node's agent has brought the kernel to its journal since it was started.
    pub fn agent_is_ready(&self, topology: &Topology, node: &str) -> Result<()> {
        let page = || client::page(AGENT_ADMIN, "/readyz", PAGE_PATIENCE);
        topology.node(node)?.netns.enter(page)??;
        Ok(())
    }

    /// A number that a node's agent tells, the sum of them where it is told by kind.
    pub fn agent_counts(&self, topology: &Topology, node: &str, name: &str) -> Result<u64> {
        let page = || client::page(AGENT_ADMIN, "/metrics", PAGE_PATIENCE);
        let page = topology.node(node)?.netns.enter(page)??;
        let told = page.lines().filter_map(|line| {
            let (key, value) = line.rsplit_once(' ')?;
            let metric = key.split_once('{').map_or(key, |(metric, _)| metric);
            (metric == name).then_some(value)
        });
        // what is told by kind has a line for each kind that there was any of
        let metric = format!("# TYPE {} ", name.trim_end_matches("_total"));
        ensure!(page.contains(&metric), "no {name} in:\n{page}");
        let told = told.map(str::parse::<u64>);
        let told: Vec<u64> = told.collect::<Result<_, _>>().context(name.to_owned())?;
        Ok(told.into_iter().sum())
    }

    /// Takes away all that weir holds in a node's kernel. Its agent must have ended.
    pub fn cleanup(&self, topology: &Topology, node: &str) -> Result<String> {
        self.once(topology, node, &["cleanup"])
    }

    /// Runs one of the agent's commands that end by themselves on a node, and gives what it printed. The agent must have
    /// ended.
    pub fn once(&self, topology: &Topology, node: &str, words: &[&str]) -> Result<String> {
        let node = topology.node(node)?;
        let mut command = node.netns.command(program::ours("weir-agent")?);
        command
            .args(words)
            .arg("--data-dir")
            .arg(self.agent_dir(node));
        program::run(&mut command, "")
    }

    /// Deletes what the controller keeps. It must have ended.
    pub fn lose_store(&self) -> Result<()> {
        let dir = self.dir.join("controller");
        std::fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))
    }

    /// Deletes what a node's agent keeps. The agent must have ended.
    pub fn lose_journal(&self, topology: &Topology, node: &str) -> Result<()> {
        let dir = self.agent_dir(topology.node(node)?);
        std::fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))
    }

    /// The operator's command, as it is run on node-a.
    pub fn weirctl_command(&self, topology: &Topology) -> Result<Command> {
        let home = controller_home(topology)?;
        let mut command = home.netns.command(program::ours("weirctl")?);
        command.args(["--controller", &self.url()]);
        command.args(self.insecure());
        Ok(command)
    }

    /// Runs the operator's command to the end and gives what it printed, whether it found all well, and said so, or not.
    pub fn weirctl_says(&self, topology: &Topology, args: &[&str]) -> Result<(bool, String)> {
        let Ended { status, out, err } = self.weirctl_ends(topology, args)?;
        ensure!(err.is_empty(), "weirctl {}: {err}", args.join(" "));
        Ok((status == Some(0), out))
    }

    /// Runs the operator's command to the end, whatever that is.
    pub fn weirctl_ends(&self, topology: &Topology, args: &[&str]) -> Result<Ended> {
        let mut command = self.weirctl_command(topology)?;
        let output = command
            .args(args)
            .output()
            .with_context(|| format!("running {}", program::told(&command)))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Ended {
            status: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        })
    }

    /// Runs the operator's command to the end and gives what it printed.
    pub fn weirctl(&self, topology: &Topology, args: &[&str], input: &str) -> Result<String> {
        program::run(self.weirctl_command(topology)?.args(args), input)
    }

    /// Applies YAML and waits until every node it touches has converged.
    pub fn apply(&self, topology: &Topology, yaml: &str) -> Result<()> {
        self.weirctl(topology, &["apply", "-f", "-", "--wait"], yaml)?;
        Ok(())
    }

    /// Shows the end of each log on standard error.
    pub fn show_logs(&self) {
        self.controller
            .iter()
            .chain(self.agents.values())
            .for_each(Daemon::show);
    }

    fn spawn_agent(&self, node: &Node) -> Result<Daemon> {
        let mut command = node.netns.command(program::ours(self.agent.name)?);
        let environment = self.agent.environment.iter();
        command
            .envs(environment.map(|(name, value)| (name, value)))
            .args(["--node", &node.name, "--controller", &self.url()])
            .args(self.insecure())
            .args(["--audit-interval", &self.agent.audit_seconds.to_string()])
            .args(["--admin-listen", &AGENT_ADMIN.to_string()])
            .arg("--data-dir")
            .arg(self.agent_dir(node));
        Daemon::start(&format!("weir-agent-{}", node.name), command, &self.dir)
    }

    fn take_agent(&mut self, node: &str) -> Result<Daemon> {
        let agent = self.agents.remove(node);
        agent.with_context(|| format!("no agent on {node}"))
    }

    fn agent_dir(&self, node: &Node) -> PathBuf {
        self.dir.join(format!("agent-{}", node.name))
    }

    /// The flag without which nothing is said in plaintext beyond one machine: on the topology's own fabric is nobody else.
    fn insecure(&self) -> Option<&'static str> {
        (!self.listen.ip().is_loopback()).then_some("--insecure")
    }

    fn url(&self) -> String {
        format!("http://{}", self.listen)
    }
}

fn controller_home(topology: &Topology) -> Result<&Node> {
    topology.nodes.first().context("a topology without nodes")
}
