//! An operator who changes something a hundred times a second, over gRPC, and sees how far the node is.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use weir_integration::eventually::eventually;
use weir_integration::netns::Netns;
use weir_integration::random::Random;
use weir_proto::wire::operator_client::OperatorClient;
use weir_proto::wire::{self, NodeState};

use crate::model::{Change, Model};

/// From one change to the next: a hundred a second.
const EVERY: Duration = Duration::from_millis(10);
/// How many calls are under way at once where the guest is too slow for one after the other.
const AT_ONCE: usize = 8;
/// Between two looks at whether to go on.
const RESTING: Duration = Duration::from_millis(2);
/// A change takes some milliseconds; a second each is ample.
const PER_CHANGE: Duration = Duration::from_secs(1);
/// How long the operator's calls may take, the first of which waits for the controller.
const PATIENCE: Duration = Duration::from_secs(20);

/// The operator at work.
pub(crate) struct Churn {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<Result<()>, nix::Error>>,
}

#[derive(Default)]
struct Shared {
    rest: AtomicBool,
    rests: AtomicBool,
    stop: AtomicBool,
    made: AtomicUsize,
    /// For how long the changes flowed, in microseconds.
    flowed: AtomicU64,
    told: Mutex<Told>,
}

/// What the operator knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    /// What was asked for.
    pub(crate) model: Model,
    /// The generation of the last change of the node.
    pub(crate) target: u64,
    /// The node as the controller tells of it.
    pub(crate) node: NodeState,
}

impl Churn {
    /// Asks for the state to begin with, and rests.
    pub(crate) fn start(netns: &Netns, url: String, seed: u64) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        shared.rest.store(true, Ordering::Relaxed);
        let theirs = Arc::clone(&shared);
        let thread = netns.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let ended = runtime.block_on(work(&theirs, url, seed));
            theirs.stop.store(true, Ordering::Relaxed);
            ended
        })?;
        let churn = Self { shared, thread };
        churn.rested()?;
        Ok(churn)
    }

    /// Lets the changes flow.
    pub(crate) fn flow(&self) {
        self.shared.rest.store(false, Ordering::Relaxed);
    }

    /// Stops the changes for a while, and gives what they came to.
    pub(crate) fn rest(&self) -> Result<Told> {
        self.shared.rest.store(true, Ordering::Relaxed);
        self.rested()
    }

    fn rested(&self) -> Result<Told> {
        eventually("the operator rests", PATIENCE, || {
            self.working()?;
            ensure!(self.shared.rests.load(Ordering::Relaxed), "he does not");
            Ok(())
        })?;
        Ok(self.told())
    }

    /// Waits until `count` more changes were made.
    pub(crate) fn more(&self, count: usize) -> Result<()> {
        let goal = self.made() + count;
        let deadline = PER_CHANGE * u32::try_from(count)? + PATIENCE;
        eventually("the operator's next changes", deadline, || {
            self.working()?;
            ensure!(self.made() >= goal, "{} of {goal} made", self.made());
            Ok(())
        })
    }

    /// How many changes were made.
    pub(crate) fn made(&self) -> usize {
        self.shared.made.load(Ordering::Relaxed)
    }

    /// How many changes a second were made while they flowed.
    pub(crate) fn rate(&self) -> u64 {
        let flowed = self.shared.flowed.load(Ordering::Relaxed).max(1);
        let made = u64::try_from(self.made()).unwrap_or(u64::MAX);
        made.saturating_mul(1_000_000) / flowed
    }

    /// What is known now.
    pub(crate) fn told(&self) -> Told {
        self.shared.told().clone()
    }

    /// Ends it.
    pub(crate) fn stop(self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.join();
        ended
            .map_err(|_| anyhow!("the operator panicked"))?
            .context("entering the operator's namespace")?
    }

    fn working(&self) -> Result<()> {
        ensure!(
            !self.shared.stop.load(Ordering::Relaxed),
            "the operator has ended"
        );
        Ok(())
    }
}

impl Shared {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(|held| held.into_inner())
    }
}

async fn work(shared: &Arc<Shared>, url: String, seed: u64) -> Result<()> {
    let operator = OperatorClient::connect(url).await.context("connecting")?;
    let watcher = tokio::spawn(watch(Arc::clone(shared), operator.clone()));
    let (mut model, changes) = Model::start();
    for change in changes {
        make(shared, &operator, vec![change], &model).await?;
    }
    let mut random = Random::new(seed);
    let mut next = Instant::now();
    while !shared.stop.load(Ordering::Relaxed) {
        let rest = shared.rest.load(Ordering::Relaxed);
        shared.rests.store(rest, Ordering::Relaxed);
        if rest {
            tokio::time::sleep(RESTING).await;
            next = Instant::now();
            continue;
        }
        let began = Instant::now();
        let mut changes: Vec<Change> = Vec::new();
        let mut asked = 0;
        while changes.is_empty() || (next <= began && changes.len() < AT_ONCE) {
            let change = model.next(&mut random);
            next += EVERY;
            if changes
                .iter()
                .any(|other| other.service() == change.service())
            {
                // one after the other where it is the same service
                make(shared, &operator, std::mem::take(&mut changes), &model).await?;
            }
            changes.push(change);
            asked += 1;
        }
        make(shared, &operator, changes, &model).await?;
        shared.made.fetch_add(asked, Ordering::Relaxed);
        next = next.max(began);
        tokio::time::sleep_until(next.into()).await;
        let flowed = u64::try_from(began.elapsed().as_micros())?;
        shared.flowed.fetch_add(flowed, Ordering::Relaxed);
        if watcher.is_finished() {
            bail!("the node is no longer told of");
        }
    }
    watcher.abort();
    Ok(())
}

/// Asks for changes of different services, all at once.
async fn make(
    shared: &Shared,
    operator: &OperatorClient<Channel>,
    changes: Vec<Change>,
    model: &Model,
) -> Result<()> {
    let mut calls: JoinSet<Result<Vec<wire::NodeTarget>>> = JoinSet::new();
    for change in changes {
        let operator = operator.clone();
        calls.spawn(ask(operator, change));
    }
    let mut target = 0;
    while let Some(targets) = calls.join_next().await {
        for told in targets?? {
            target = target.max(told.generation);
        }
    }
    let mut told = shared.told();
    told.model = model.clone();
    told.target = told.target.max(target);
    Ok(())
}

async fn ask(
    mut operator: OperatorClient<Channel>,
    change: Change,
) -> Result<Vec<wire::NodeTarget>> {
    Ok(match change {
        Change::Apply(service) => {
            let request = wire::ApplyRequest {
                resources: vec![wire::Resource {
                    kind: Some(wire::resource::Kind::Service(*service)),
                    ..wire::Resource::default()
                }],
                ..wire::ApplyRequest::default()
            };
            operator.apply(request).await?.into_inner().targets
        }
        Change::Delete(name) => {
            let request = wire::DeleteRequest {
                refs: vec![wire::ResourceRef {
                    kind: wire::Kind::Service.into(),
                    name,
                }],
                ..wire::DeleteRequest::default()
            };
            operator.delete(request).await?.into_inner().targets
        }
    })
}

/// Takes note of how far the node is, for as long as the controller tells.
async fn watch(shared: Arc<Shared>, mut operator: OperatorClient<Channel>) -> Result<()> {
    let request = wire::NodeStatusRequest {
        names: vec!["node-a".to_owned()],
        watch: true,
    };
    let mut states = operator.node_status(request).await?.into_inner();
    while let Some(response) = states.message().await? {
        let Some(node) = response.nodes.into_iter().next() else {
            continue;
        };
        let mut told = shared.told();
        told.node = node;
    }
    Ok(())
}
