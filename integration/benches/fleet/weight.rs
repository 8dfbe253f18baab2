//! What an agent weighs on the controller: its memory, and its time on a core beside that of etcd.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::changes::of;
use crate::etcd::{self, Etcd};
use crate::fleet::{Fleet, Times};
use crate::process::{self, Cores};
use crate::row::{Row, Rows};
use crate::wire::Bytes;

/// How many changes the controller makes, and then etcd, and so on: a machine that changes its pace changes it for both.
const CHANGES_OF_A_TURN: usize = 25;
/// Longer than a thousand agents wait with an answer.
const LAST_ANSWERS: Duration = Duration::from_millis(300);

/// What the controller and etcd took for the same changes, and what went over the wire.
#[derive(Debug)]
pub(crate) struct Load {
    ours: Duration,
    bytes: Bytes,
    theirs: etcd::Told,
    /// Updates that came to an agent, and as many events to a watcher.
    delivered: usize,
    agents: usize,
}

/// The controller's memory with all its agents, less that with none, by their number.
pub(crate) fn of_agents(fleet: &Fleet, rows: &mut Rows) -> Result<()> {
    let with = process::resident(fleet.controller.process())?;
    let agents = fleet.agents.count();
    rows.note(&format!(
        "memory: the controller has {:.1} MB alone, {:.1} MB with {agents} agents",
        fleet.alone as f64 / 1e6,
        with as f64 / 1e6
    ));
    let each = with.saturating_sub(fleet.alone) as f64 / agents as f64 / 1e3;
    let case = format!("controller, each of {agents} agents");
    let of = of("memory", &case, "kB", 1);
    rows.add(Row::limit(of, each, 60.0, Some(40.0)));
    Ok(())
}

/// Makes changes in turns with an etcd that tells as many watchers as much; gives also how long ours took.
pub(crate) fn beside_etcd(
    cores: Cores,
    fleet: &mut Fleet,
    changes: usize,
) -> Result<(Times, Load)> {
    let agents = fleet.agents.count();
    let first = fleet.agents.bytes();
    fleet.changes(CHANGES_OF_A_TURN, &[])?;
    let down = fleet.agents.bytes().read - first.read;
    let mut etcd = Etcd::start()?;
    // watchers are where agents are
    cores.go_to_the_agents()?;
    etcd.gather(agents, down as f64 / (CHANGES_OF_A_TURN * agents) as f64)?;
    let mut times = Times::default();
    let mut load = Load {
        ours: Duration::ZERO,
        bytes: Bytes::default(),
        theirs: etcd::Told::default(),
        delivered: 0,
        agents,
    };
    for _ in 0..changes.div_ceil(CHANGES_OF_A_TURN) {
        cores.go_to_the_controller()?;
        let process = fleet.controller.process();
        let (cpu, bytes) = (process::cpu(process)?, fleet.agents.bytes());
        for _ in 0..CHANGES_OF_A_TURN {
            times.add(fleet.change(&[])?);
        }
        // the last answers are on their way
        thread::sleep(LAST_ANSWERS);
        load.ours += process::cpu(process)? - cpu;
        let after = fleet.agents.bytes();
        load.bytes.read += after.read - bytes.read;
        load.bytes.written += after.written - bytes.written;
        cores.go_to_the_agents()?;
        let told = etcd.tell(CHANGES_OF_A_TURN)?;
        load.theirs.cpu += told.cpu;
        load.theirs.bytes += told.bytes;
        load.delivered += CHANGES_OF_A_TURN * agents;
    }
    cores.go_to_the_controller()?;
    Ok((times, load))
}

impl Load {
    /// Sets what the controller took beside what etcd took.
    pub(crate) fn add(&self, rows: &mut Rows) {
        let each = |all: u64| all as f64 / self.delivered as f64;
        rows.note(&format!(
            "cpu: {:.0} bytes to each agent and {:.0} from it, {:.0} to each watcher",
            each(self.bytes.read),
            each(self.bytes.written),
            each(self.theirs.bytes)
        ));
        let case = format!("1 update to each of {}", self.agents);
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / self.delivered as f64;
        let of = of("cpu", &case, "us", self.delivered);
        let row = Row::beside(of, "etcd", each(self.ours), each(self.theirs.cpu));
        rows.add(row.at_most(1.0, Some(0.5)));
    }
}
