//! The controller as a process of its own, and the operator who talks to it.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tonic::transport::Channel;
use weir_agent::session;
use weir_integration::daemon::Daemon;
use weir_integration::{client, program};
use weir_proto::model::Identity;
use weir_proto::tls::Files;
use weir_proto::wire;
use weir_proto::wire::operator_client::OperatorClient;

use crate::pki::{self, Pki};
use crate::process;
use crate::wire::{Line, Meter};

const UNIT: &str = include_str!("../../../deploy/systemd/weir-controller.service");
/// Where others are at work, a start takes a while.
const START: Duration = Duration::from_secs(30);
const PAGE_PATIENCE: Duration = Duration::from_secs(10);
/// A fleet of a thousand takes some seconds to take a whole cluster.
const ALL_THERE: Duration = Duration::from_secs(120);

/// A controller with nothing in it.
#[derive(Debug)]
pub(crate) struct Controller {
    /// Where operators and agents are served.
    pub(crate) address: SocketAddr,
    /// Who has signed all certificates.
    pub(crate) pki: Pki,
    admin: SocketAddr,
    daemon: Daemon,
    /// Goes after the daemon that writes to it.
    _dir: TempDir,
}

/// A write, and when it was asked for and answered.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) asked: Instant,
    pub(crate) accepted: Instant,
}

impl Controller {
    /// Starts one where the calling thread is, and waits until it serves.
    pub(crate) fn start() -> Result<Self> {
        let pki = Pki::make()?;
        let files = pki.files(&Identity::Controller)?;
        let dir = tempfile::tempdir()?;
        let (address, admin) = (free_port()?, free_port()?);
        let mut command = Command::new(program::ours("weir-controller")?);
        command
            .args(["--listen", &address.to_string()])
            .args(["--admin-listen", &admin.to_string()])
            .arg("--data-dir")
            .arg(dir.path().join("data"))
            .args(flags(&files))
            .envs(process::allocator(UNIT))
            .env("WEIR_LOG", "warn");
        let mut daemon = Daemon::start("weir-controller", command, dir.path())?;
        let ready = || Ok(client::page(admin, "/readyz", PAGE_PATIENCE).map(drop)?);
        daemon.ready(START, ready)?;
        Ok(Self {
            address,
            pki,
            admin,
            daemon,
            _dir: dir,
        })
    }

    /// Gives its process.
    pub(crate) fn process(&self) -> u32 {
        self.daemon.process()
    }

    /// Gives a number that it tells, the sum of them where it is told by kind. None: it tells no such number.
    pub(crate) fn counts(&self, name: &str) -> Result<Option<f64>> {
        let page = client::page(self.admin, "/metrics", PAGE_PATIENCE)?;
        let metric = format!("# TYPE {} ", name.trim_end_matches("_total"));
        if !page.contains(&metric) {
            return Ok(None);
        }
        let told = page.lines().filter_map(|line| {
            let (key, value) = line.rsplit_once(' ')?;
            let told = key.split_once('{').map_or(key, |(told, _)| told);
            (told == name).then(|| value.parse::<f64>())
        });
        let told: Vec<f64> = told.collect::<Result<_, _>>()?;
        Ok(Some(told.into_iter().sum()))
    }

    /// Connects as an operator.
    pub(crate) async fn operator(&self) -> Result<Operator> {
        let line = self.line(&pki::operator()?)?;
        Ok(Operator(OperatorClient::new(line.connect().await?)))
    }

    /// Gives how somebody calls it.
    pub(crate) fn line(&self, who: &Identity) -> Result<Line> {
        Ok(Line {
            endpoint: session::endpoint(&format!("https://{}", self.address))?,
            tls: self.pki.caller(who)?,
            meter: Meter::default(),
        })
    }
}

/// Somebody who changes the cluster. Clones share a connection.
#[derive(Debug, Clone)]
pub(crate) struct Operator(OperatorClient<Channel>);

impl Operator {
    /// Writes resources, and gives the nodes that they touch.
    pub(crate) async fn apply(
        &mut self,
        resources: Vec<wire::Resource>,
    ) -> Result<(Answered, usize)> {
        let request = wire::ApplyRequest {
            resources,
            ..wire::ApplyRequest::default()
        };
        let asked = Instant::now();
        let response = self.0.apply(request).await?.into_inner();
        let accepted = Instant::now();
        Ok((Answered { asked, accepted }, response.targets.len()))
    }

    /// Waits until so many nodes are connected and hold what they must.
    pub(crate) async fn all_hold(&mut self, nodes: usize) -> Result<()> {
        let deadline = Instant::now() + ALL_THERE;
        loop {
            let request = wire::NodeStatusRequest::default();
            let mut states = self.0.node_status(request).await?.into_inner();
            let response = states.message().await?.context("no answer")?;
            let there = response.nodes.iter().filter(|node| {
                node.connected
                    && node.wanted_generation > 0
                    && node.converged_generation == node.wanted_generation
                    && node.failure_count == 0
            });
            let there = there.count();
            if there == nodes {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{there} of {nodes} nodes hold what they must within {} s",
                ALL_THERE.as_secs()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Gives the flags by which each of our programs finds its certificate.
pub(crate) fn flags(files: &Files) -> [OsString; 6] {
    let Files {
        certificate,
        key,
        authority,
    } = files;
    [
        "--tls-cert".into(),
        certificate.into(),
        "--tls-key".into(),
        key.into(),
        "--tls-ca".into(),
        authority.into(),
    ]
}

/// Finds a port that nobody listens on.
pub(crate) fn free_port() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a port")?;
    Ok(listener.local_addr()?)
}
