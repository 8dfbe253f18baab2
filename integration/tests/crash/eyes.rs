//! Looks at a node's kernel all the time: what no change takes away must be there at every look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tokio::runtime::{Builder, Runtime};
use weir_agent::kernel::Kernel;
use weir_agent::kernel::linux::Linux;
use weir_agent::plan::{Key, Scope};
use weir_integration::netns::Netns;

use crate::model;
use crate::rig::Rig;

/// Between two looks. One takes some 10 ms of the guest's only processor, which the agent needs as well.
const PAUSE: Duration = Duration::from_millis(40);

/// Somebody who looks at a kernel.
pub(crate) struct Eyes {
    orders: Sender<Sender<Result<Seen>>>,
    looks: Arc<AtomicUsize>,
    thread: JoinHandle<Result<Result<Looked>, nix::Error>>,
}

/// What a kernel holds of what a model tells.
pub(crate) type Seen = BTreeMap<Key, Option<u32>>;

/// What all the looks came to.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// What was missing in one of them.
    pub(crate) missing: Vec<Key>,
}

impl Eyes {
    /// Begins to look.
    pub(crate) fn open(netns: &Netns) -> Result<Self> {
        let (orders, asked) = mpsc::channel::<Sender<Result<Seen>>>();
        let looks = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&looks);
        let thread = netns.spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (mut kernel, _) = runtime.block_on(Linux::open(Vec::new()));
            let steady = (model::steady(), Scope::Units(model::steady_units()));
            let mut looked = Looked::default();
            loop {
                match asked.recv_timeout(PAUSE) {
                    Ok(answer) => {
                        // who asked may have given up
                        let _ = answer.send(everything(&runtime, &mut kernel));
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        looked
                            .missing
                            .extend(missing(&runtime, &mut kernel, &steady)?);
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(RecvTimeoutError::Disconnected) => return Ok(looked),
                }
            }
        })?;
        Ok(Self {
            orders,
            looks,
            thread,
        })
    }

    /// Reads everything once.
    pub(crate) fn read(&self) -> Result<Seen> {
        let (answer, answered) = mpsc::channel();
        let gone = || anyhow!("nobody looks at the kernel any more");
        self.orders.send(answer).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }

    /// Gives how often it was looked.
    pub(crate) fn looks(&self) -> usize {
        self.looks.load(Ordering::Relaxed)
    }

    /// Gives what was seen.
    pub(crate) fn close(self) -> Result<Looked> {
        drop(self.orders);
        let ended = self.thread.join();
        ended
            .map_err(|_| anyhow!("the looks panicked"))?
            .context("entering the node")?
    }
}

fn everything(runtime: &Runtime, kernel: &mut Linux) -> Result<Seen> {
    let table = runtime.block_on(kernel.read(&Scope::All))?;
    Ok(model::told(&table))
}

fn missing(
    runtime: &Runtime,
    kernel: &mut Linux,
    (steady, scope): &(BTreeSet<Key>, Scope),
) -> Result<Vec<Key>> {
    let table = runtime.block_on(kernel.read(scope))?;
    let gone = steady.iter().filter(|key| !table.contains_key(*key));
    Ok(gone.copied().collect())
}

#[test]
fn what_is_missing_for_a_moment_is_seen() -> Result<()> {
    let rig = Rig::start("weir-agent")?;
    rig.run(&model::take_foreign_backend())?;
    rig.looks_again()?;
    rig.run(&model::put_foreign_backend())?;
    let error = rig.finish().expect_err("it was missing");
    ensure!(error.to_string().starts_with("missing: ["), "{error:#}");
    Ok(())
}
