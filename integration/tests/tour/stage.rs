//! Where the tour is: two nodes with weir on them, an operator with a file, somebody else at the nodes, and a client.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use weir_integration::client::{self, Proto};
use weir_integration::load::Load;
use weir_integration::program;
use weir_integration::topology::Topology;
use weir_integration::weir::{AgentProgram, Weir};

use crate::script::{Place, Step};

/// How long something may take that is looked for again and again: a deadline, not a measure. A backend that is silent is
/// called so after a quarter of a minute.
pub(crate) const SOON: Duration = Duration::from_secs(120);
/// Where everything shares one processor, an answer may take its time.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the operator begins with, and its name on the desk.
const EXAMPLE: &str = include_str!("../../../deploy/examples/two-pods.yaml");
const FILE: &str = "web.yaml";
/// As an agent does that nobody told otherwise.
const AUDIT_SECONDS: u64 = 10;

/// All of it.
pub(crate) struct Stage {
    topology: Topology,
    weir: Weir,
    /// The client's requests, once there is something to ask.
    load: Option<Load>,
    /// Where lines are typed.
    desk: PathBuf,
    /// What is set for each line: our programs before those of the machine, and what was exported.
    environment: Vec<(String, String)>,
    _dir: TempDir,
}

/// Plays on a stage of its own. Its namespaces have the names that the record tells.
pub(crate) fn on_stage<T>(play: impl FnOnce(&mut Stage) -> Result<T>) -> Result<T> {
    let dir = tempfile::tempdir()?;
    let desk = dir.path().join("desk");
    fs::create_dir(&desk)?;
    fs::write(desk.join(FILE), EXAMPLE)?;
    let ours = program::ours("weirctl")?;
    let ours = ours.parent().context("a program without a directory")?;
    let path = format!("{}:{}", ours.display(), env::var("PATH")?);
    let topology = Topology::two_nodes("", dir.path())?;
    let listen = SocketAddr::from((topology.node("node-a")?.fabric, 7420));
    let agent = AgentProgram {
        audit_seconds: AUDIT_SECONDS,
        ..AgentProgram::default()
    };
    let weir = Weir::start_with(&topology, dir.path(), listen, agent)?;
    let mut stage = Stage {
        topology,
        weir,
        load: None,
        environment: vec![
            ("PATH".into(), path),
            ("HOME".into(), desk.to_string_lossy().into()),
        ],
        desk,
        _dir: dir,
    };
    let played = play(&mut stage);
    let rested = stage.rests();
    if played.is_err() {
        stage.weir.show_logs();
    }
    let played = played?;
    rested?;
    Ok(played)
}

impl Stage {
    /// Does a step once, and gives what it showed.
    pub(crate) fn does(&mut self, step: &Step) -> Result<String> {
        match step.at {
            Place::Client => self.asks(step.line),
            Place::Desk | Place::NodeA => {
                let node = self.topology.node("node-a")?;
                self.types(node.netns.command("sh"), step)
            }
            Place::PodY => {
                let pod = self.topology.pod("pod-y")?;
                self.types(pod.netns.command("sh"), step)
            }
            Place::Host => self.types(Command::new("sh"), step),
        }
    }

    /// Makes as many requests as the line says, and tells who answered; others follow until the next time.
    fn asks(&mut self, line: &str) -> Result<String> {
        self.rests()?;
        let (count, target) = line
            .split_once(" requests to http://")
            .context("no requests")?;
        let count = count.parse().context("how many requests?")?;
        let target: SocketAddr = target.trim_end_matches('/').parse().context("to whom?")?;
        let client = &self.topology.client;
        let outcome = client.enter(|| client::requests(Proto::Tcp, target, count, PATIENCE))?;
        self.load = Some(Load::start(client, Proto::Tcp, target)?);
        Ok(format!("{outcome}\n"))
    }

    fn rests(&mut self) -> Result<()> {
        self.load
            .take()
            .map_or(Ok(()), |load| load.stop().map(drop))
    }

    /// Has a shell run a line. What it exports is there for all that follow.
    fn types(&mut self, mut shell: Command, step: &Step) -> Result<String> {
        let exported = step.line.strip_prefix("export ").unwrap_or_default();
        let exported = exported.split(' ').filter_map(|word| word.split_once('='));
        let exported = exported.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.environment.extend(exported);
        let environment = self.environment.iter();
        let environment = environment.map(|(name, value)| (name, value));
        let line = format!("exec 2>&1\n{}", step.line);
        let output = shell
            .args(["-c", &line])
            .envs(environment)
            .current_dir(&self.desk)
            .stdin(Stdio::null())
            .output()
            .with_context(|| step.line.to_owned())?;
        let shown = String::from_utf8(output.stdout).context(step.line)?;
        // what stands behind a line nobody sees
        let lines = shown.lines().map(|line| format!("{}\n", line.trim_end()));
        let mut shown: String = lines.collect();
        let status = output.status.code();
        ensure!(
            status == Some(step.status),
            "{}: {}, not {}:\n{shown}",
            step.line,
            output.status,
            step.status
        );
        if step.status != 0 {
            shown += &format!("(exit status {})\n", step.status);
        }
        Ok(shown)
    }
}
