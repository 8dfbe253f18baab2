//! Agents in this process, on a thread of their own: sessions over real connections, journals, reconcilers, and kernels
//! that say when they hold a change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tempfile::TempDir;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;
use tonic::transport::{Channel, Error};
use weir_agent::app::Settings;
use weir_agent::kernel::fake::Fake;
use weir_agent::kernel::linux::Linux;
use weir_agent::kernel::{Kernel, KernelError, Verdict};
use weir_agent::plan::{Connections, Key, Object, Problem, Scope, Step, Table, Visit, Visits};
use weir_agent::session::{self, Connect, Identity};
use weir_proto::disk::simulated::Medium;
use weir_proto::model::{BackendKey, Family, Frontend, Labels, Node, NodeName};

use crate::board::Board;
use crate::cluster;
use crate::pki::{self, Pki};
use crate::process::Cores;
use crate::wire::{Bytes, Line, Meter};

/// Longer than a bench runs: nothing but changes is measured.
const AUDITS: Duration = Duration::from_secs(24 * 3_600);

/// Some agents. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Agents {
    /// Where their kernels tell of changes, by their numbers.
    pub(crate) board: Board,
    meters: Vec<Meter>,
    /// Journals in memory.
    media: Vec<Medium>,
    /// Holds the journals that are files.
    dir: TempDir,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    runtime: Handle,
}

/// A kernel that says when it holds a backend at a new weight.
#[derive(Debug)]
struct Watched<K> {
    kernel: K,
    /// Looked at after each pass; a kernel in memory remembers what was asked of it.
    tidy: fn(&K),
    board: Board,
    number: usize,
}

impl Agents {
    /// Makes a place for so many agents, on a thread of the agents' core that stays in the calling one's namespace.
    pub(crate) fn prepare(cores: Cores, count: usize) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, mut stopped) = watch::channel(false);
        let thread = thread::spawn(move || {
            if let Err(error) = cores.go_to_the_agents() {
                eprintln!("{error:#}");
                return;
            }
            runtime.block_on(async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            });
            // a journal is closed on a thread beside this one
            runtime.shutdown_timeout(Duration::from_secs(5));
        });
        Ok(Self {
            board: Board::default(),
            media: Vec::new(),
            dir: tempfile::tempdir()?,
            meters: (0..count).map(|_| Meter::default()).collect(),
            stop,
            thread: Some(thread),
            runtime: handle,
        })
    }

    /// Starts them all on kernels in memory, with journals in memory: on the machines of a fleet they would have a disk each.
    pub(crate) fn start(&mut self, controller: SocketAddr, pki: &Pki) -> Result<()> {
        for number in 0..self.meters.len() {
            let kernel = Watched {
                kernel: Fake::new(),
                tidy: |fake| {
                    fake.take_steps();
                    fake.take_reads();
                },
                board: self.board.clone(),
                number,
            };
            self.media.push(Medium::instant(self.journal(number)));
            self.start_one(number, controller, pki, kernel)?;
        }
        Ok(())
    }

    /// Starts the first of them on the kernel that this runs on, with a journal on its disk.
    pub(crate) fn start_on_this_kernel(&self, controller: SocketAddr, pki: &Pki) -> Result<()> {
        let (kernel, _) = self.runtime.block_on(Linux::open(Vec::new()));
        let kernel = Watched {
            kernel,
            tidy: |_| (),
            board: self.board.clone(),
            number: 0,
        };
        self.start_one(0, controller, pki, kernel)
    }

    fn start_one<K: Kernel>(
        &self,
        number: usize,
        controller: SocketAddr,
        pki: &Pki,
        kernel: Watched<K>,
    ) -> Result<()> {
        let name = cluster::node(number);
        let settings = Settings {
            identity: Identity {
                node: Node::new(NodeName::new(&name)?, Labels::default(), vec![]),
                capabilities: vec![],
            },
            controller: Line {
                endpoint: session::endpoint(&format!("https://{controller}"))?,
                tls: pki.caller(&pki::node(&name)?)?,
                meter: self.meters.get(number).context("no such agent")?.clone(),
            },
            journal: self.journal(number),
            admin_listen: None,
            backend_metrics: false,
            socket: None,
            called: String::new(),
            audit_interval: AUDITS,
            stale_after: None,
        };
        let mut stopped = self.stop.subscribe();
        self.runtime.spawn(async move {
            let stop = async {
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            if let Err(error) = weir_agent::app::run(settings, kernel, stop).await {
                eprintln!("{name}: {error:#}");
            }
        });
        Ok(())
    }

    fn journal(&self, number: usize) -> PathBuf {
        self.dir.path().join(cluster::node(number))
    }

    /// Gives how many there are.
    pub(crate) fn count(&self) -> usize {
        self.meters.len()
    }

    /// Gives what went over their connections so far, taken together.
    pub(crate) fn bytes(&self) -> Bytes {
        let all = self.meters.iter().map(Meter::bytes);
        all.fold(Bytes::default(), |sum, bytes| Bytes {
            read: sum.read + bytes.read,
            written: sum.written + bytes.written,
        })
    }

    /// Makes one of them read nothing, or read on.
    pub(crate) fn stall(&self, number: usize, stalled: bool) -> Result<()> {
        let meter = self.meters.get(number).context("no such agent")?;
        meter.stall(stalled);
        Ok(())
    }

    /// Waits until all have ended.
    pub(crate) fn end(mut self) -> Result<()> {
        self.stop.send_replace(true);
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        thread.join().map_err(|_| anyhow!("the agents failed"))
    }
}

impl Drop for Agents {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Connect for Line {
    async fn connect(&self) -> Result<Channel, Error> {
        Self::connect(self).await
    }
}

impl<K> Watched<K> {
    fn tell(&self, steps: &[Step], verdicts: &[Verdict]) {
        for (step, verdict) in steps.iter().zip(verdicts) {
            if let Step::Add { object, .. } | Step::Edit { object, .. } = step
                && let Object::Backend(backend) = object
                && verdict.is_ok()
            {
                self.board.saw(self.number, backend.weight.into());
            }
        }
        (self.tidy)(&self.kernel);
    }
}

impl<K: Kernel> Kernel for Watched<K> {
    async fn read(&mut self, scope: &Scope) -> Result<Table, KernelError> {
        self.kernel.read(scope).await
    }

    async fn apply(&mut self, steps: &[Step]) -> Vec<Verdict> {
        let verdicts = self.kernel.apply(steps).await;
        self.tell(steps, &verdicts);
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

    fn rejected(&self) -> BTreeMap<Family, u64> {
        self.kernel.rejected()
    }
}
