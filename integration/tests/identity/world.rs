//! An authority, a controller that trusts it, and whoever calls that.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Parser as _;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use weir_agent::app::Settings;
use weir_agent::kernel::fake::Fake;
use weir_controller::app::Running;
use weir_controller::config::Config;
use weir_controller::ctl::pki::{Authority, Directory, HostName, Issued, Validity};
use weir_proto::model::{Identity, Labels, Node, NodeName, Role, TrustDomain};
use weir_proto::tls::{Connector, Files, Part, Tls};
use weir_proto::wire::operator_client::OperatorClient;
use weir_proto::wire::{self, NodeState};

/// Longer than anything here takes, on any machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// One of each certificate that is in order.
const DAYS: u32 = 7;

pub(crate) type Operator = OperatorClient<Channel>;

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) authority: Authority,
    pub(crate) address: SocketAddr,
    controller: Running,
}

/// An agent that runs, with a kernel in memory.
pub(crate) struct Agent {
    pub(crate) kernel: Fake,
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl World {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let directory = Directory::new(dir.path().join("pki"), true);
        let (authority, made) = Authority::make(&domain("weir"), valid()).expect("an authority");
        directory.keep_authority(&made).expect("kept");
        let names = ["127.0.0.1", "localhost"].map(|name| HostName::parse(name).expect("a name"));
        let issued = authority.issue(&Identity::Controller, &names, valid());
        let issued = issued.expect("a certificate");
        let files = directory
            .keep(&Identity::Controller, &issued)
            .expect("kept");
        let controller = serve(&files, &dir.path().join("controller")).await;
        Self {
            address: controller.operator_addr(),
            dir,
            authority,
            controller,
        }
    }

    pub(crate) async fn stop(self) {
        self.controller.stop().await.expect("stopped");
    }

    pub(crate) fn directory(&self) -> Directory {
        Directory::new(self.dir.path().join("pki"), true)
    }

    /// Gives the URL, by the name that is in the certificate.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(crate) fn issue(&self, who: &Identity) -> Issued {
        self.authority
            .issue(who, &[], valid())
            .expect("a certificate")
    }

    /// Issues a certificate that is in order, and keeps it where it belongs.
    pub(crate) fn files(&self, who: &Identity) -> Files {
        let issued = self.issue(who);
        self.directory().keep(who, &issued).expect("kept")
    }

    /// Calls as somebody.
    pub(crate) async fn channel(&self, who: &Identity) -> Channel {
        let tls = Tls::load(self.files(who), Part::Anybody).expect("files");
        let channel = connector(&self.url(), tls).connect().await;
        channel.expect("connected")
    }

    pub(crate) async fn operator(&self, role: Role) -> Operator {
        OperatorClient::new(self.channel(&operator(role)).await)
    }

    /// Starts an agent with a certificate of its own.
    pub(crate) async fn agent(&self, name: &str) -> Agent {
        let files = self.files(&node(name));
        let tls = Tls::new(files, Part::Node(node_name(name)));
        let settings = Settings {
            identity: weir_agent::session::Identity {
                node: Node::new(node_name(name), Labels::default(), vec![]),
                capabilities: vec![],
            },
            controller: Connector::new(
                weir_agent::session::endpoint(&self.url()).expect("a url"),
                Some(tls),
            ),
            journal: self.dir.path().join(name),
            admin_listen: None,
            audit_interval: PATIENCE,
        };
        let kernel = Fake::new();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(weir_agent::app::run(settings, kernel.clone(), async {
            let _ = stopped.await;
        }));
        Agent { kernel, stop, task }
    }

    /// Waits until a node's state is `so`, and gives it.
    pub(crate) async fn until(&self, name: &str, so: impl Fn(&NodeState) -> bool) -> NodeState {
        let mut last = None;
        let found = timeout(PATIENCE, async {
            let request = wire::NodeStatusRequest {
                names: vec![],
                watch: true,
            };
            let mut viewer = self.operator(Role::Viewer).await;
            let states = viewer.node_status(request).await.expect("status");
            let mut states = states.into_inner();
            loop {
                let response = states.message().await.expect("status").expect("open");
                let mut nodes = response.nodes.into_iter();
                match nodes.find(|state| state.name == name) {
                    Some(state) if so(&state) => return state,
                    other => last = other,
                }
            }
        });
        let found = found.await;
        found.unwrap_or_else(|_| panic!("{name} is still {last:?}"))
    }
}

impl Agent {
    pub(crate) async fn stop(self) {
        self.stop.send(()).expect("running");
        self.task.await.expect("no panic").expect("no error");
    }
}

/// Starts a controller by its flags.
pub(crate) async fn serve(files: &Files, data_dir: &Path) -> Running {
    let text = |path: &PathBuf| path.to_str().expect("text").to_owned();
    let config = Config::parse_from([
        "weir-controller".to_owned(),
        "--listen=127.0.0.1:0".to_owned(),
        "--admin-listen=127.0.0.1:0".to_owned(),
        format!("--data-dir={}", data_dir.display()),
        format!("--tls-cert={}", text(&files.certificate)),
        format!("--tls-key={}", text(&files.key)),
        format!("--tls-ca={}", text(&files.authority)),
    ]);
    weir_controller::app::start(config).await.expect("started")
}

pub(crate) fn connector(url: &str, tls: Arc<Tls>) -> Connector {
    let endpoint = Endpoint::from_shared(url.to_owned()).expect("a url");
    Connector::new(endpoint.connect_timeout(PATIENCE), Some(tls))
}

pub(crate) fn valid() -> Validity {
    Validity::days(SystemTime::now(), DAYS)
}

pub(crate) fn domain(text: &str) -> TrustDomain {
    TrustDomain::new(text).expect("a domain")
}

pub(crate) fn node_name(text: &str) -> NodeName {
    NodeName::new(text).expect("a name")
}

pub(crate) fn node(name: &str) -> Identity {
    Identity::Node(node_name(name))
}

pub(crate) fn operator(role: Role) -> Identity {
    let name = node_name("alice");
    Identity::Operator { role, name }
}

/// A service with one backend on each node, to be applied.
pub(crate) fn service(name: &str, vip: &str, nodes: &[&str]) -> wire::ApplyRequest {
    let backends = nodes.iter().zip(11..).map(|(node, last)| wire::Backend {
        address: format!("10.0.0.{last}"),
        port: 8080,
        node: (*node).to_owned(),
        ..wire::Backend::default()
    });
    let service = wire::Service {
        name: name.to_owned(),
        frontends: vec![wire::Frontend {
            address: vip.to_owned(),
            port: 8080,
            protocol: wire::Protocol::Tcp.into(),
            ..wire::Frontend::default()
        }],
        backends: backends.collect(),
        ..wire::Service::default()
    };
    wire::ApplyRequest {
        resources: vec![wire::Resource {
            kind: Some(wire::resource::Kind::Service(service)),
            revision: 0,
        }],
        ..wire::ApplyRequest::default()
    }
}
