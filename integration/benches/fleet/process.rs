//! Processes: on which core they are, what they take of it, and how much memory they have.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The calling thread, for the calls that take a process.
const MYSELF: Pid = Pid::from_raw(0);

/// The cores that this process may have: one for what is measured, one for what measures. The same one twice, where there
/// is no other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    controller: usize,
    agents: usize,
}

/// Gives what a unit of systemd says to the allocator: programs are measured as they are shipped.
pub(crate) fn allocator(unit: &str) -> impl Iterator<Item = (&str, &str)> {
    let said = unit
        .lines()
        .filter_map(|line| line.strip_prefix("Environment="));
    said.filter(|said| said.starts_with("MALLOC_"))
        .filter_map(|said| said.split_once('='))
}

impl Cores {
    /// Takes the first and the last one, and puts the calling thread and what it starts from now on the first: the operator
    /// and the controller.
    pub(crate) fn take() -> Result<Self> {
        let all = sched_getaffinity(MYSELF).context("asking which cores there are")?;
        let mut cores = (0..CpuSet::count()).filter(|core| all.is_set(*core) == Ok(true));
        let controller = cores.next().context("no core at all")?;
        let agents = cores.next_back().unwrap_or(controller);
        stay_on(controller)?;
        Ok(Self { controller, agents })
    }

    /// Says whether there are two.
    pub(crate) fn are_two(self) -> bool {
        self.controller != self.agents
    }

    /// Puts the calling thread and what it starts from now on the agents' core.
    pub(crate) fn go_to_the_agents(self) -> Result<()> {
        stay_on(self.agents)
    }

    /// Puts the calling thread back where the controller is.
    pub(crate) fn go_to_the_controller(self) -> Result<()> {
        stay_on(self.controller)
    }
}

fn stay_on(core: usize) -> Result<()> {
    let mut one = CpuSet::new();
    one.set(core).context("naming a core")?;
    sched_setaffinity(MYSELF, &one).with_context(|| format!("going to core {core}"))
}

/// Lets this process and those that it starts have as many open files as they may have at most.
pub(crate) fn open_many_files() -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).context("asking for the limit of files")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("raising the limit of files")
}

/// Gives the time that all threads of a process have had on a core, in nanoseconds' grain.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let pid = Pid::from_raw(i32::try_from(pid)?);
    let clock = clock_getcpuclockid(pid).with_context(|| format!("the clock of process {pid}"))?;
    let time = clock_gettime(clock).with_context(|| format!("the time of process {pid}"))?;
    Ok(time.into())
}

/// Gives how much memory a process has that is not swapped out, in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib: u64 = kib
        .with_context(|| format!("no VmRSS in {path}"))?
        .parse()?;
    Ok(kib * 1024)
}
