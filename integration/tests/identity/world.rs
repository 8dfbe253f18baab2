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

/// What an authority is to be able to sign again.
pub(crate) struct Root {
    pub(crate) authority: Authority,
    pub(crate) made: Issued,
}

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) root: Root,
    /// Another authority that the controller trusts too, of another trust domain.
    pub(crate) neighbour: Root,
    pub(crate) address: SocketAddr,
    controller: Running,
}

/// An agent that runs, with a kernel in memory.
pub(crate) struct Agent {
    pub(crate) kernel: Fake,
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Root {
    pub(crate) fn new(trust_domain: &str) -> Self {
        let made = Authority::make(&domain(trust_domain), valid());
        let (authority, made) = made.expect("an authority");
        Self { authority, made }
    }

    /// Issues a certificate that is in order.
    pub(crate) fn issue(&self, who: &Identity) -> Issued {
        self.issue_for(who, valid())
    }

    pub(crate) fn issue_for(&self, who: &Identity, validity: Validity) -> Issued {
        let names = match who {
            Identity::Controller => vec![host("127.0.0.1"), host("localhost")],
            _ => vec![],
        };
        let issued = self.authority.issue(who, &names, validity);
        issued.expect("a certificate")
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let directory = Directory::new(dir.path().join("pki"), true);
        let (root, neighbour) = (Root::new("weir"), Root::new("elsewhere"));
        directory.keep_authority(&root.made).expect("kept");
        let issued = root.issue(&Identity::Controller);
        let mut files = directory
            .keep(&Identity::Controller, &issued)
            .expect("kept");
        files.authority = dir.path().join("both.pem");
        let both = root.made.certificate.clone() + &neighbour.made.certificate;
        std::fs::write(&files.authority, both).expect("written");
        let controller = serve(&files, &dir.path().join("controller")).await;
        Self {
            address: controller.operator_addr(),
            dir,
            root,
            neighbour,
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

    /// Issues a certificate that is in order, and keeps it where it belongs.
    pub(crate) fn files(&self, who: &Identity) -> Files {
        self.keep(who, &self.root.issue(who))
    }

    /// Keeps a certificate where it belongs.
    pub(crate) fn keep(&self, who: &Identity, issued: &Issued) -> Files {
        self.directory().keep(who, issued).expect("kept")
    }

    /// Connects by a certificate, in order or not.
    pub(crate) async fn connect(&self, who: &Identity, issued: &Issued) -> Result<Channel, String> {
        let tls = Tls::load(self.keep(who, issued), Part::Anybody).expect("files");
        let connected = connector(&self.url(), tls).connect().await;
        connected.map_err(|error| why(&error))
    }

    /// Calls as somebody.
    pub(crate) async fn channel(&self, who: &Identity) -> Channel {
        let connected = self.connect(who, &self.root.issue(who)).await;
        connected.expect("connected")
    }

    pub(crate) async fn operator(&self, role: Role) -> Operator {
        OperatorClient::new(self.channel(&operator(role)).await)
    }

    /// Starts an agent with a certificate of its own.
    pub(crate) fn agent(&self, name: &str) -> Agent {
        self.agent_by(name, self.files(&node(name)))
    }

    /// Starts an agent with a certificate that may come later.
    pub(crate) fn agent_by(&self, name: &str, files: Files) -> Agent {
        let tls = Tls::new(files, Part::Node(node_name(name)));
        let settings = Settings {
            stale_after: None,
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
            backend_metrics: false,
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

/// Gives why a call failed: the innermost cause.
pub(crate) fn why(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

pub(crate) fn host(text: &str) -> HostName {
    HostName::parse(text).expect("a name")
}

pub(crate) fn caught_up(state: &NodeState) -> bool {
    state.connected
        && state.wanted_generation > 0
        && state.converged_generation == state.wanted_generation
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
            ..wire::Resource::default()
        }],
        ..wire::ApplyRequest::default()
    }
}
