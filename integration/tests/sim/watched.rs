//! A kernel in memory that takes its time, and tells the judge what was done to it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::sleep;
use weir_agent::kernel::fake::Fake;
use weir_agent::kernel::{Kernel, KernelError, Verdict};
use weir_agent::plan::{Connections, Key, Problem, Scope, Step, Table, Visit, Visits};
use weir_proto::machine::draw;
use weir_proto::model::{BackendKey, Frontend};

use crate::judge::Judge;

/// How long a call takes at most.
const SLOWEST: Duration = Duration::from_millis(60);

/// A kernel that is watched.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) node: usize,
    pub(crate) kernel: Fake,
    pub(crate) judge: Judge,
}

impl Watched {
    async fn take(&mut self, steps: &[Step]) -> Vec<Verdict> {
        pause().await;
        let verdicts = self.kernel.apply(steps).await;
        self.judge.stepped(self.node, steps, &verdicts);
        verdicts
    }
}

/// Waits as a kernel lets wait; an agent may be cut off here.
async fn pause() {
    let most = SLOWEST.as_micros() as u64;
    sleep(Duration::from_micros(draw() % most)).await;
}

impl Kernel for Watched {
    async fn read(&mut self, scope: &Scope) -> Result<Table, KernelError> {
        pause().await;
        self.kernel.read(scope).await
    }

    async fn apply(&mut self, steps: &[Step]) -> Vec<Verdict> {
        // now and then in two goes, so that an agent may be cut off between them
        let first = match draw() % 4 {
            0 => steps.len() / 2,
            _ => 0,
        };
        let mut verdicts = self.take(&steps[..first]).await;
        verdicts.extend(self.take(&steps[first..]).await);
        verdicts
    }

    async fn refusals(&mut self, steps: &[Step]) -> Result<BTreeMap<Key, Problem>, KernelError> {
        self.kernel.refusals(steps).await
    }

    async fn connections(
        &mut self,
        of: &BTreeSet<Frontend>,
    ) -> Result<BTreeMap<BackendKey, Connections>, KernelError> {
        self.kernel.connections(of).await
    }

    async fn forget_flows(&mut self, of: &BTreeSet<BackendKey>) -> Result<u64, KernelError> {
        self.kernel.forget_flows(of).await
    }

    async fn visits(&mut self, of: &Visit) -> Result<Visits, KernelError> {
        self.kernel.visits(of).await
    }

    async fn disturbed(&mut self) -> Scope {
        self.kernel.disturbed().await
    }
}
