//! A controller with agents: what most of the benches are run on.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::runtime::{Builder, Runtime};

use crate::agents::Agents;
use crate::cluster::{FIRST_MARK, Size};
use crate::controller::{Controller, Operator};
use crate::process::{self, Cores};

/// A change that has not come by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// A fleet at rest, holding its cluster.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) size: Size,
    pub(crate) agents: Agents,
    pub(crate) controller: Controller,
    pub(crate) operator: Operator,
    /// What the operator's side of the bench runs on.
    pub(crate) runtime: Runtime,
    /// The controller's memory before any agent came.
    pub(crate) alone: u64,
    changes: u32,
}

/// What agents are put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernels {
    /// One each, and a journal in memory.
    InMemory,
    /// All on the one that this runs on, with a journal on its disk: there can be one agent.
    AtHand,
}

/// How long one change took, to be accepted and to be held by whom it had to reach.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken {
    /// From the call to its answer.
    pub(crate) accepting: Duration,
    /// From the answer until the last kernel had it.
    pub(crate) after_acceptance: Duration,
    /// From the call until the last kernel had it.
    pub(crate) in_all: Duration,
    /// From the call until each kernel had it.
    pub(crate) each: Vec<Duration>,
}

/// How long many changes took.
#[derive(Debug, Default)]
pub(crate) struct Times {
    pub(crate) accepting: Vec<Duration>,
    pub(crate) after_acceptance: Vec<Duration>,
    pub(crate) in_all: Vec<Duration>,
    pub(crate) each: Vec<Duration>,
}

impl Fleet {
    /// Starts a controller, gives it a cluster, and lets the agents come.
    pub(crate) fn start(cores: Cores, size: Size, kernels: Kernels) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let controller = Controller::start()?;
        let mut operator = runtime.block_on(controller.operator())?;
        for batch in size.batches() {
            runtime.block_on(operator.apply(batch))?;
        }
        let alone = process::resident(controller.process())?;
        let mut agents = Agents::prepare(cores, size.nodes)?;
        match kernels {
            Kernels::InMemory => agents.start(controller.address, &controller.pki)?,
            Kernels::AtHand => agents.start_on_this_kernel(controller.address, &controller.pki)?,
        }
        runtime.block_on(operator.all_hold(size.nodes))?;
        Ok(Self {
            size,
            agents,
            controller,
            operator,
            runtime,
            alone,
            changes: 0,
        })
    }

    /// Gives the next mark: a weight that no backend has had.
    pub(crate) fn next_mark(&mut self) -> (usize, u32) {
        let number = self.changes;
        self.changes += 1;
        (number as usize, FIRST_MARK + number)
    }

    /// Changes one backend, and waits until the agents hold it, all but those that need not.
    pub(crate) fn change(&mut self, but: &[usize]) -> Result<Taken> {
        let (number, mark) = self.next_mark();
        let resource = self.size.set(self.size.place(number), mark);
        let waited = (0..self.agents.count()).map(|agent| usize::from(!but.contains(&agent)));
        self.agents.board.expect(mark.into(), waited.collect());
        let (answered, touched) = self.runtime.block_on(self.operator.apply(vec![resource]))?;
        ensure!(
            touched == self.agents.count(),
            "change {number} touches {touched} nodes"
        );
        let seen = self.runtime.block_on(self.agents.board.all(PATIENCE))?;
        let seen: Vec<Instant> = seen.into_iter().flatten().collect();
        let last = seen.iter().max().copied().unwrap_or(answered.accepted);
        let since_asked = |seen: &Instant| seen.saturating_duration_since(answered.asked);
        Ok(Taken {
            accepting: answered.accepted - answered.asked,
            after_acceptance: last.saturating_duration_since(answered.accepted),
            in_all: since_asked(&last),
            each: seen.iter().map(since_asked).collect(),
        })
    }

    /// Makes so many changes, one after the other.
    pub(crate) fn changes(&mut self, count: usize, but: &[usize]) -> Result<Times> {
        let mut times = Times::default();
        for _ in 0..count {
            times.add(self.change(but)?);
        }
        Ok(times)
    }

    /// Ends it, agents first.
    pub(crate) fn end(self) -> Result<()> {
        self.agents.end()
    }
}

impl Times {
    /// Adds what one change took.
    pub(crate) fn add(&mut self, taken: Taken) {
        let Taken {
            accepting,
            after_acceptance,
            in_all,
            each,
        } = taken;
        self.accepting.push(accepting);
        self.after_acceptance.push(after_acceptance);
        self.in_all.push(in_all);
        self.each.extend(each);
    }
}
