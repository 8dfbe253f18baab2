//! The composition root: the only place that names concrete types together. It starts the controller, inside
//! a test as well as a program, and stops it.

#[cfg(feature = "simulated")]
pub mod parts;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tracing::{info, warn};
use weir_proto::tls::{Incoming, Part, Tls};

use crate::admin::{Admin, Asked, Gatherer, Ready};
use crate::cluster::Cluster;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::rpc;
use crate::store::DiskStore;
use crate::traffic::Traffic;

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
        tls_cert = ?config.tls_cert,
        tls_key = ?config.tls_key,
        tls_ca = ?config.tls_ca,
        log_format = ?config.log_format,
        backend_metrics = config.backend_metrics,
        "starting"
    );
    let tls = config.tls()?;
    let tls = tls.map(|files| Tls::load(files, Part::Controller));
    let tls = tls.transpose().context("cannot serve TLS")?;
    let operators = bind(config.listen).await?;
    let admins = bind(config.admin_listen).await?;
    let operator_addr = operators.local_addr().context("cannot tell the port")?;
    let admin_addr = admins.local_addr().context("cannot tell the port")?;

    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let (stop, stopping) = watch::channel(false);
    let (ready, is_ready) = watch::channel(Err("starting".to_owned()));
    let mut tasks = JoinSet::new();
    // first of all, so that /livez answers while the store is loaded
    let (serves, asked) = watch::channel(None);
    let admin = Admin::new(registry, is_ready, asked, config.backend_metrics);
    let admin = admin.serve(admins, stopped(stopping.clone()));
    tasks.spawn(async { admin.await.context("the admin server failed") });

    let opened = DiskStore::open(config.data_dir.clone()).await;
    let (store, saved) =
        opened.with_context(|| format!("cannot load {}", config.data_dir.display()))?;
    info!(revision = %saved.revision, resources = saved.resources.len(), "store loaded");
    let (cluster, owner) = Cluster::start(store, saved, metrics);
    let _ = ready.send_replace(Ok(()));
    tasks.spawn(watch_over(owner, ready.clone()));
    let operators = Incoming::new(operators, tls);
    let traffic = Traffic::start(cluster.clone());
    let _ = serves.send_replace(Some(Asked {
        cluster: cluster.clone(),
        traffic: traffic.clone(),
        gatherer: Gatherer::start(cluster.clone(), traffic.clone()),
    }));
    let server = rpc::serve(operators, cluster, traffic, stopping.clone());
    tasks.spawn(async { server.await.context("the gRPC server failed") });
    tasks.spawn(tell_stopping(ready, stopping));
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

/// Waits until the cluster's task ends. With a store that takes no write it says that nobody is served here any more; the
/// controller then ends, so that whoever starts it again has it read what is true.
async fn watch_over<E>(
    owner: JoinHandle<Result<(), E>>,
    ready: watch::Sender<Ready>,
) -> anyhow::Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let ended = owner.await.context("the cluster's task failed")?;
    let ended = ended.context("the store took no write");
    if let Err(error) = &ended {
        let _ = ready.send_replace(Err(format!("{error:#}")));
    }
    ended
}

/// Says that the controller stops, unless there was another reason before.
async fn tell_stopping(
    ready: watch::Sender<Ready>,
    stopping: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    stopped(stopping).await;
    ready.send_if_modified(|ready| {
        let was = ready.is_ok();
        if was {
            *ready = Err("stopping".to_owned());
        }
        was
    });
    Ok(())
}

/// Waits until the controller is told to stop, or nobody is left who could tell it.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_that_takes_no_write_is_why_nothing_is_ready_and_the_controller_ends() {
        let (ready, is_ready) = watch::channel(Ok(()));
        let lost = std::io::Error::other("the disk is full");
        let owner = tokio::spawn(async { Err(lost) });
        let ended = watch_over(owner, ready.clone()).await;
        let why = "the store took no write: the disk is full";
        assert_eq!(format!("{:#}", ended.expect_err("an error")), why);
        assert_eq!(*is_ready.borrow(), Err(why.to_owned()));
        // that it stops then is no news
        let (_stop, stopping) = watch::channel(true);
        tell_stopping(ready, stopping).await.expect("told");
        assert_eq!(*is_ready.borrow(), Err(why.to_owned()));
    }
}
