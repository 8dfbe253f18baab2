//! A controller with its page, a node that holds what it must, one that has gone, one that nobody has heard of and that is cordoned, and what passes.

use anyhow::{Context, Result, ensure};
use clap::Parser;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use weir_agent::app::Settings;
use weir_agent::kernel::fake::Fake;
use weir_agent::session::Identity;
use weir_controller::app::Running;
use weir_controller::config::Config;
use weir_proto::model::{Labels, Node, NodeName};
use weir_proto::wire::node_reports_client::NodeReportsClient;
use weir_proto::wire::operator_client::OperatorClient;
use weir_proto::wire::{self, resource};

use super::PATIENCE;
use super::browser::until;

const NODE: &str = "node-a";
const GONE: &str = "node-c";
/// How many resources one call of apply takes at once here: well below a message's limit.
const CHUNK: usize = 1_000;

pub(crate) struct World {
    running: Running,
    agent: Option<Agent>,
    operator: OperatorClient<Channel>,
    /// Keeps the stream of reports open.
    _reports: Option<mpsc::Sender<wire::ReportRequest>>,
    dir: TempDir,
}

struct Agent {
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Agent {
    async fn stop(self) -> Result<()> {
        // it may have ended by itself, which its result tells
        let _ = self.stop.send(());
        self.task.await?
    }
}

impl World {
    /// Starts a controller that has nothing.
    pub(crate) async fn empty() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let data_dir = dir.path().join("controller");
        let config = Config::parse_from([
            "weir-controller",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--data-dir",
            data_dir.to_str().context("text")?,
        ]);
        let running = weir_controller::app::start(config).await?;
        let operator = OperatorClient::connect(format!("http://{}", running.operator_addr()));
        Ok(Self {
            operator: operator.await?,
            running,
            agent: None,
            _reports: None,
            dir,
        })
    }

    /// Starts a controller with three services, two nodes and some traffic.
    pub(crate) async fn start() -> Result<Self> {
        let mut world = Self::empty().await?;
        world.agent = Some(world.agent(NODE)?);
        let gone = world.agent(GONE)?;
        until("the second node is there", || world.connected(GONE)).await?;
        gone.stop().await?;
        let mut web = service(
            "web",
            "10.100.0.1",
            80,
            &["10.0.0.11", "10.0.0.12", "10.0.0.13"],
        );
        web.labels = [("tier".to_owned(), "front".to_owned())].into();
        let mut dns = service("dns", "10.100.0.53", 53, &["10.0.0.53"]);
        dns.frontends[0].protocol = wire::Protocol::Udp.into();
        let none = service("none-yet", "fd00::1", 443, &[]);
        let services = [web, dns, none].map(resource::Kind::Service);
        let away = wire::Node {
            name: "node-b".to_owned(),
            cordoned: Some(true),
            ..wire::Node::default()
        };
        let all = services.into_iter().chain([resource::Kind::Node(away)]);
        world.apply(all.collect()).await?;
        until("the node has converged", || world.converged()).await?;
        world.report().await?;
        Ok(world)
    }

    /// Gives the page's address with a query.
    pub(crate) fn address(&self, query: &str) -> String {
        format!("http://{}/{query}", self.running.admin_addr())
    }

    /// Makes services by the thousand.
    pub(crate) async fn many(&self, count: u32) -> Result<()> {
        let services = (0..count).map(|number| {
            let [_, _, high, low] = number.to_be_bytes();
            let vip = format!("10.200.{high}.{low}");
            let backend = format!("10.1.{high}.{low}");
            let name = format!("many-{number:05}");
            resource::Kind::Service(service(&name, &vip, 80, &[&backend]))
        });
        let services: Vec<_> = services.collect();
        for some in services.chunks(CHUNK) {
            self.apply(some.to_vec()).await?;
        }
        Ok(())
    }

    /// Gives a service so many backends.
    pub(crate) async fn scale(&self, name: &str, backends: u8) -> Result<()> {
        let backends: Vec<String> = (1..=backends)
            .map(|last| format!("10.0.0.{last}"))
            .collect();
        let backends: Vec<&str> = backends.iter().map(String::as_str).collect();
        let service = service(name, "10.100.0.1", 80, &backends);
        self.apply(vec![resource::Kind::Service(service)]).await
    }

    pub(crate) async fn stop(self) -> Result<()> {
        if let Some(agent) = self.agent {
            agent.stop().await?;
        }
        self.running.stop().await
    }

    fn agent(&self, name: &str) -> Result<Agent> {
        let settings = Settings {
            identity: Identity {
                node: Node::new(NodeName::new(name)?, Labels::default(), vec![]),
                capabilities: vec![],
            },
            controller: weir_agent::session::endpoint(&format!(
                "http://{}",
                self.running.operator_addr()
            ))?,
            journal: self.dir.path().join(name),
            admin_listen: None,
            socket: None,
            called: String::new(),
            audit_interval: PATIENCE,
            stale_after: None,
            backend_metrics: false,
        };
        let (stop, stopped) = oneshot::channel();
        let agent = weir_agent::app::run(settings, Fake::new(), async {
            let _ = stopped.await;
        });
        let task = tokio::spawn(agent);
        Ok(Agent { stop, task })
    }

    async fn apply(&self, kinds: Vec<resource::Kind>) -> Result<()> {
        let resources = kinds.into_iter().map(|kind| wire::Resource {
            kind: Some(kind),
            ..wire::Resource::default()
        });
        let request = wire::ApplyRequest {
            resources: resources.collect(),
            ..wire::ApplyRequest::default()
        };
        self.operator.clone().apply(request).await?;
        Ok(())
    }

    async fn converged(&self) -> Result<()> {
        let node = self.node(NODE).await?;
        let holds =
            node.wanted_generation > 0 && node.converged_generation == node.wanted_generation;
        ensure!(holds, "{node:?}");
        Ok(())
    }

    async fn connected(&self, name: &str) -> Result<()> {
        let node = self.node(name).await?;
        ensure!(node.connected, "{node:?}");
        Ok(())
    }

    async fn node(&self, name: &str) -> Result<wire::NodeState> {
        let request = wire::NodeStatusRequest {
            names: vec![name.to_owned()],
            watch: false,
        };
        let mut operator = self.operator.clone();
        let mut stream = operator.node_status(request).await?.into_inner();
        let status = stream.message().await?.context("no status")?;
        status.nodes.into_iter().next().context("no node")
    }

    /// Tells of what passes, as the node's own agent would.
    async fn report(&mut self) -> Result<()> {
        let channel = Channel::from_shared(format!("http://{}", self.running.operator_addr()))?;
        let mut client = NodeReportsClient::new(channel.connect().await?);
        let (reports, stream) = mpsc::channel(1);
        tokio::spawn(async move { client.report(ReceiverStream::new(stream)).await });
        let backends = [("10.0.0.11", 900), ("10.0.0.12", 450), ("10.0.0.13", 3)];
        let backends = backends
            .into_iter()
            .map(|(address, connections)| wire::BackendCounters {
                backend: Some(wire::item_key::Backend {
                    frontend: Some(frontend("10.100.0.1", 80)),
                    address: address.to_owned(),
                    port: 80,
                }),
                connections,
                failed_connections: connections % 10,
                packets_in: connections * 12,
                packets_out: connections * 14,
                bytes_in: connections * 1_400,
                bytes_out: connections * 91_000,
                active_connections: connections / 2,
                inactive_connections: connections / 3,
                ..wire::BackendCounters::default()
            });
        let report = wire::ReportRequest {
            node: NODE.to_owned(),
            // as long as what is told counts, so that it is there while a browser looks
            interval_ms: 30_000,
            backends: backends.collect(),
            ..wire::ReportRequest::default()
        };
        reports.send(report).await?;
        self._reports = Some(reports);
        Ok(())
    }
}

fn frontend(address: &str, port: u32) -> wire::Frontend {
    wire::Frontend {
        address: address.to_owned(),
        port,
        protocol: wire::Protocol::Tcp.into(),
        ..wire::Frontend::default()
    }
}

fn service(name: &str, vip: &str, port: u32, backends: &[&str]) -> wire::Service {
    let backends = backends.iter().map(|address| wire::Backend {
        address: (*address).to_owned(),
        port,
        ..wire::Backend::default()
    });
    wire::Service {
        name: name.to_owned(),
        frontends: vec![frontend(vip, port)],
        backends: backends.collect(),
        ..wire::Service::default()
    }
}
