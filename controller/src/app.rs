//! The composition root: the only place that names concrete types together. It starts the controller, inside
//! a test as well as a program, and stops it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::admin::{Admin, Metrics};
use crate::cluster::Cluster;
use crate::config::Config;
use crate::rpc;
use crate::store::DiskStore;

/// How long a stop waits for calls under way: the longest unary call is given ten seconds, but nothing is
/// lost when one is cut off, and whoever restarts us must not wait.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A controller that runs. It stops when this is dropped, and gracefully with `stop`.
#[derive(Debug)]
pub struct Running {
    operator_addr: SocketAddr,
    admin_addr: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: JoinSet<anyhow::Result<()>>,
}

/// Runs a controller until SIGTERM or SIGINT.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut running = start(config).await?;
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        failed = running.failed() => Some(failed),
    };
    info!("stopping");
    let stopped = running.stop().await;
    match failed {
        Some(error) => Err(error),
        None => stopped,
    }
}

/// Starts a controller; it serves when this returns. Port 0 gives it any port that is free.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    config.check()?;
    info!(
        listen = %config.listen,
        admin_listen = %config.admin_listen,
        data_dir = %config.data_dir.display(),
        insecure = config.insecure,
        log_format = ?config.log_format,
        "starting"
    );
    let operators = bind(config.listen).await?;
    let admins = bind(config.admin_listen).await?;
    let operator_addr = operators.local_addr().context("cannot tell the port")?;
    let admin_addr = admins.local_addr().context("cannot tell the port")?;

    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let (stop, stopping) = watch::channel(false);
    let (ready, is_ready) = watch::channel(false);
    let mut tasks = JoinSet::new();
    // first of all, so that /livez answers while the store is loaded
    let admin = Admin::new(registry, is_ready).serve(admins, stopped(stopping.clone()));
    tasks.spawn(async { admin.await.context("the admin server failed") });

    let opened = DiskStore::open(config.data_dir.clone()).await;
    let (store, saved) =
        opened.with_context(|| format!("cannot load {}", config.data_dir.display()))?;
    info!(revision = %saved.revision, resources = saved.resources.len(), "store loaded");
    let (cluster, owner) = Cluster::start(store, saved, metrics);
    tasks.spawn(async { owner.await.context("the cluster's task failed") });
    let server = rpc::serve(operators, cluster, stopping.clone());
    tasks.spawn(async { server.await.context("the gRPC server failed") });
    tasks.spawn(tell_ready(ready, stopping));
    info!(%operator_addr, %admin_addr, "serving");
    Ok(Running {
        operator_addr,
        admin_addr,
        stop,
        tasks,
    })
}

impl Running {
    /// Gives the address at which operators and agents are served.
    pub fn operator_addr(&self) -> SocketAddr {
        self.operator_addr
    }

    /// Gives the address of /livez, /readyz and /metrics.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Stops: streams end, calls under way are answered, and what takes longer than five seconds is cut off.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let _ = self.stop.send(true);
        let all = async {
            let mut first = Ok(());
            while let Some(ended) = self.tasks.join_next().await {
                let ended = ended.unwrap_or_else(|error| Err(error.into()));
                first = first.and(ended);
            }
            first
        };
        match timeout(STOP_PATIENCE, all).await {
            Ok(ended) => ended,
            Err(_) => {
                warn!("calls under way are cut off");
                self.tasks.shutdown().await;
                Ok(())
            }
        }
    }

    /// Waits until a part of the controller ends without having been told to.
    async fn failed(&mut self) -> anyhow::Error {
        match self.tasks.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => error.into(),
            Some(Ok(Ok(()))) | None => anyhow!("a part of the controller ended"),
        }
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| format!("cannot listen on {address}"))
}

async fn tell_ready(
    ready: watch::Sender<bool>,
    stopping: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    ready.send_replace(true);
    stopped(stopping).await;
    ready.send_replace(false);
    Ok(())
}

/// Waits until the controller is told to stop, or nobody is left who could tell it.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
