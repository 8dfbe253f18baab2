//! The controller, two agents with kernels in memory, and the operator's command, each a process with an environment.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use weir_integration::daemon::Daemon;
use weir_integration::program;
use weir_proto::trace::VARIABLES;

/// Longer than a program takes to start or to end on any machine, and than anything here takes to be told.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const NODES: [&str; 2] = ["node-a", "node-b"];

/// Variables and what they say.
pub(crate) type Environment<'a> = &'a [(&'a str, &'a str)];

pub(crate) struct Fleet {
    pub(crate) address: SocketAddr,
    pub(crate) controller: Daemon,
    pub(crate) agents: Vec<Daemon>,
    pub(crate) dir: TempDir,
}

impl Fleet {
    /// Starts the daemons, with nothing of OpenTelemetry in their environment but what is given.
    pub(crate) fn start(environment: Environment) -> Result<Fleet> {
        let dir = tempfile::tempdir()?;
        let (address, admin) = free_addresses()?;
        let mut command = clean("weir-controller", environment)?;
        command
            .args(["--listen", &address.to_string()])
            .args(["--admin-listen", &admin.to_string()])
            .arg("--data-dir")
            .arg(dir.path().join("controller"));
        let mut controller = Daemon::start("weir-controller", command, dir.path())?;
        controller.ready(PATIENCE, || {
            weirctl(address, &[], &["get", "nodes"], dir.path()).map(drop)
        })?;
        let mut agents = Vec::new();
        for node in NODES {
            let mut command = clean("memory-agent", environment)?;
            command
                .args([node, &format!("http://{address}")])
                .arg(dir.path().join(node));
            let mut agent = Daemon::start(node, command, dir.path())?;
            agent.ready(PATIENCE, || {
                let nodes = weirctl(address, &[], &["get", "nodes"], dir.path())?;
                let nodes = String::from_utf8_lossy(&nodes.stdout).into_owned();
                ensure!(nodes.contains(node), "{node} is not among:\n{nodes}");
                Ok(())
            })?;
            agents.push(agent);
        }
        Ok(Fleet {
            address,
            controller,
            agents,
            dir,
        })
    }

    /// Applies a service with one backend of that weight, and gives what the command said.
    pub(crate) fn apply(
        &self,
        environment: Environment,
        weight: u16,
        flags: &[&str],
    ) -> Result<Output> {
        let file = self.dir.path().join("web.yaml");
        fs::write(&file, service(weight))?;
        let file = file.to_str().context("a path of text")?;
        let arguments = [&["apply", "-f", file], flags].concat();
        weirctl(self.address, environment, &arguments, self.dir.path())
    }

    /// Every daemon, with the name of its log.
    pub(crate) fn daemons(&self) -> impl Iterator<Item = (&'static str, &Daemon)> {
        let agents = NODES.into_iter().zip(&self.agents);
        std::iter::once(("weir-controller", &self.controller)).chain(agents)
    }

    /// Ends them all with SIGTERM: none may fail at that, or wait for ever. Gives where their logs are.
    pub(crate) fn terminate(self) -> Result<TempDir> {
        for daemon in self.agents.into_iter().chain([self.controller]) {
            let status = daemon.terminate(PATIENCE)?;
            ensure!(status.success(), "{status}");
        }
        Ok(self.dir)
    }
}

/// The log of a daemon.
pub(crate) fn log(dir: &TempDir, name: &str) -> Result<String> {
    let path = dir.path().join(format!("{name}.log"));
    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

pub(crate) fn service(weight: u16) -> String {
    format!(
        "apiVersion: weir/v1
kind: Service
metadata: {{name: web}}
spec:
  frontends: [{{address: 10.100.0.1, port: 80, protocol: TCP}}]
  backends: [{{address: 10.0.0.11, port: 8080, weight: {weight}}}]
"
    )
}

/// Runs the operator's command to its end, which must be a good one.
pub(crate) fn weirctl(
    controller: SocketAddr,
    environment: Environment,
    arguments: &[&str],
    home: &Path,
) -> Result<Output> {
    let mut command = clean("weirctl", environment)?;
    command
        .env("HOME", home)
        .args(["--controller", &format!("http://{controller}")])
        .args(arguments);
    let told = program::told(&command);
    let output = command
        .output()
        .with_context(|| format!("running {told}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{told}: {}\n{words}",
        output.status
    );
    Ok(output)
}

/// The threads of a process, by name.
pub(crate) fn threads(daemon: &Daemon) -> Result<Vec<String>> {
    let tasks = format!("/proc/{}/task", daemon.process());
    let tasks = fs::read_dir(&tasks).with_context(|| format!("reading {tasks}"))?;
    let mut names = Vec::new();
    for task in tasks {
        // one that has ended meanwhile is none
        if let Ok(name) = fs::read_to_string(task?.path().join("comm")) {
            names.push(name.trim_end().to_owned());
        }
    }
    Ok(names)
}

/// A program of ours, with nothing of OpenTelemetry in its environment but what is given.
fn clean(program: &str, environment: Environment) -> Result<Command> {
    let mut command = Command::new(program::ours(program)?);
    for (variable, _) in VARIABLES {
        command.env_remove(variable);
    }
    command.env_remove("TRACEPARENT").env_remove("WEIR_LOG");
    command.envs(environment.iter().copied());
    Ok(command)
}

/// Two addresses on the loopback that nobody listened on a moment ago.
fn free_addresses() -> Result<(SocketAddr, SocketAddr)> {
    let one = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok((one.local_addr()?, other.local_addr()?))
}
