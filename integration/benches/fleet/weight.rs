//! What an agent weighs on the controller: its memory, and its time on a core beside that of etcd.

use std::time::Duration;

use anyhow::Result;

use crate::changes::of;
use crate::etcd::{self, Etcd};
use crate::fleet::Fleet;
use crate::process::{self, Cores};
use crate::row::{Row, Rows};
use crate::wire::Bytes;

/// What the controller took for some changes.
#[derive(Debug)]
pub(crate) struct Load {
    cpu: Duration,
    bytes: Bytes,
    /// Updates that came to an agent.
    delivered: usize,
    agents: usize,
}

impl Load {
    /// Begins to measure.
    pub(crate) fn begin(fleet: &Fleet) -> Result<Self> {
        Ok(Self {
            cpu: process::cpu(fleet.controller.process())?,
            bytes: fleet.agents.bytes(),
            delivered: 0,
            agents: fleet.agents.count(),
        })
    }

    /// Gives what so many changes took since.
    pub(crate) fn end(self, fleet: &Fleet, changes: usize) -> Result<Self> {
        let after = fleet.agents.bytes();
        Ok(Self {
            cpu: process::cpu(fleet.controller.process())? - self.cpu,
            bytes: Bytes {
                read: after.read - self.bytes.read,
                written: after.written - self.bytes.written,
            },
            delivered: changes * self.agents,
            agents: self.agents,
        })
    }
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

/// Sets what the controller took beside what etcd takes to tell as many watchers as much.
pub(crate) fn beside_etcd(
    cores: Cores,
    load: &Load,
    changes: usize,
    rows: &mut Rows,
) -> Result<()> {
    let mut etcd = Etcd::start()?;
    // watchers are where agents are
    cores.go_to_the_agents()?;
    let down = load.bytes.read as f64 / load.delivered as f64;
    let told = etcd.tell(etcd::Telling {
        watchers: load.agents,
        bytes: down,
        changes,
    })?;
    cores.go_to_the_controller()?;
    rows.note(&format!(
        "cpu: {down:.0} bytes to each agent and {:.0} from it, {:.0} to each watcher",
        load.bytes.written as f64 / load.delivered as f64,
        told.bytes
    ));
    let case = format!("1 update to each of {}", load.agents);
    let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / load.delivered as f64;
    let of = of("cpu", &case, "us", load.delivered);
    let row = Row::beside(of, "etcd", each(load.cpu), each(told.cpu));
    rows.add(row.at_most(1.0, Some(0.5)));
    Ok(())
}
