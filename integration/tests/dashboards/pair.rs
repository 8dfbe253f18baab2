//! A controller and an agent on a kernel in memory, in this process, with numbers of every kind.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use weir_agent::app::Settings;
use weir_agent::kernel::fake::Fake;
use weir_agent::plan::{Connections, Counters, Passed};
use weir_agent::session::Identity;
use weir_controller::app::Running;
use weir_controller::config::Config;
use weir_proto::model::{
    BackendKey, Endpoint, Frontend, Labels, Listener, Node, NodeName, Port, Protocol,
};
use weir_proto::wire::operator_client::OperatorClient;
use weir_proto::wire::{self, resource};

const VIP: [u8; 4] = [10, 100, 0, 1];
const BACKENDS: [[u8; 4]; 2] = [[10, 0, 0, 1], [10, 0, 0, 2]];
const PORT: u16 = 80;
/// Longer than what is repaired stays unrepaired here.
const AUDIT: Duration = Duration::from_secs(1);

pub(crate) struct Pair {
    pub(crate) controller: SocketAddr,
    pub(crate) agent: SocketAddr,
    runtime: Runtime,
    running: Running,
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
    kernel: Fake,
    stirred: AtomicU64,
    _dir: TempDir,
}

impl Pair {
    pub(crate) fn start() -> Result<Self> {
        let runtime = Runtime::new()?;
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
        let running = runtime.block_on(weir_controller::app::start(config))?;
        let agent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let settings = Settings {
            identity: Identity {
                node: Node::new(NodeName::new("node-a")?, Labels::default(), vec![]),
                capabilities: vec![],
            },
            controller: weir_agent::session::endpoint(&format!(
                "http://{}",
                running.operator_addr()
            ))?,
            journal: dir.path().join("node-a"),
            admin_listen: Some(agent),
            audit_interval: AUDIT,
            stale_after: None,
            backend_metrics: false,
            socket: None,
            called: String::new(),
        };
        let kernel = Fake::new();
        let (stop, stopped) = oneshot::channel();
        let task = runtime.spawn(weir_agent::app::run(settings, kernel.clone(), async {
            let _ = stopped.await;
        }));
        Ok(Self {
            controller: running.admin_addr(),
            agent,
            runtime,
            running,
            stop,
            task,
            kernel,
            stirred: AtomicU64::new(0),
            _dir: dir,
        })
    }

    /// Changes the service and lets something pass, so that every number moves.
    pub(crate) fn stir(&self) -> Result<()> {
        let times = self.stirred.fetch_add(1, Ordering::Relaxed) + 1;
        let web = wire::Service {
            name: "web".to_owned(),
            frontends: vec![wire::Frontend {
                address: "10.100.0.1".to_owned(),
                port: PORT.into(),
                protocol: wire::Protocol::Tcp.into(),
                ..wire::Frontend::default()
            }],
            backends: BACKENDS
                .iter()
                .map(|address| wire::Backend {
                    address: std::net::Ipv4Addr::from(*address).to_string(),
                    port: PORT.into(),
                    weight: Some(1 + u32::try_from(times % 9).unwrap_or(0)),
                    ..wire::Backend::default()
                })
                .collect(),
            ..wire::Service::default()
        };
        let request = wire::ApplyRequest {
            resources: vec![wire::Resource {
                kind: Some(resource::Kind::Service(web)),
                ..wire::Resource::default()
            }],
            ..wire::ApplyRequest::default()
        };
        let url = format!("http://{}", self.running.operator_addr());
        self.runtime.block_on(async {
            OperatorClient::connect(url).await?.apply(request).await?;
            anyhow::Ok(())
        })?;
        let port = Port::new(PORT.into())?;
        let frontend = Frontend::Address(Listener {
            address: VIP.into(),
            port,
            protocol: Protocol::Tcp,
        });
        for (share, address) in (1..).zip(BACKENDS) {
            let backend = BackendKey {
                frontend,
                endpoint: Endpoint {
                    address: address.into(),
                    port,
                },
            };
            let passed = Passed {
                connections: 10 * share * times,
                packets_in: 15 * share * times,
                packets_out: 20 * share * times,
                bytes_in: 1_000 * share * times,
                bytes_out: 9_000 * share * times,
            };
            let counters = Counters {
                passed,
                now: Connections {
                    active: 3,
                    inactive: 1,
                },
                forwarding: None,
            };
            self.kernel.count(backend, counters);
        }
        Ok(())
    }

    pub(crate) fn stop(self) -> Result<()> {
        let Self {
            runtime,
            running,
            stop,
            task,
            ..
        } = self;
        let _ = stop.send(());
        runtime.block_on(async {
            task.await??;
            running.stop().await
        })
    }
}
