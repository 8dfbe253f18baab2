//! A controller and some agents, each with its own kernel in memory and its own directory.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::Channel;
use weir_agent::app::Settings;
use weir_agent::kernel::fake::Fake;
use weir_agent::plan::{Key, Step, Table};
use weir_agent::session::Identity;
use weir_controller::app::Running;
use weir_controller::config::Config;
use weir_proto::convert::canary_to_wire;
use weir_proto::model::{
    BackendKey, Canary, Endpoint, Frontend, ItemKey, Labels, Listener, LoopbackEntry, Node,
    NodeName, Port, Protocol,
};
use weir_proto::wire::operator_client::OperatorClient;
use weir_proto::wire::rollout::Phase;
use weir_proto::wire::steer_rollout_request::Action;
use weir_proto::wire::{self, NodeState};

/// Longer than anything here takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at a kernel in memory.
const PAUSE: Duration = Duration::from_millis(10);
const PORT: u32 = 8080;

pub(crate) struct Fleet {
    dir: TempDir,
    address: SocketAddr,
    controller: Option<Running>,
    agents: BTreeMap<String, Agent>,
    kernels: BTreeMap<String, Fake>,
}

struct Agent {
    stop: oneshot::Sender<()>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Fleet {
    pub(crate) async fn start(nodes: &[&str]) -> Self {
        let mut fleet = Self {
            dir: tempfile::tempdir().expect("dir"),
            address: ([127, 0, 0, 1], 0).into(),
            controller: None,
            agents: BTreeMap::new(),
            kernels: BTreeMap::new(),
        };
        fleet.start_controller().await;
        for node in nodes {
            fleet.kernels.insert((*node).to_owned(), Fake::new());
            fleet.start_agent(node);
        }
        for node in nodes {
            fleet.until(node, |node| node.connected).await;
        }
        fleet
    }

    /// Starts the controller, on the port it had before.
    pub(crate) async fn start_controller(&mut self) {
        let listen = self.address.to_string();
        let data_dir = self.dir.path().join("controller");
        let config = Config::parse_from([
            "weir-controller",
            "--listen",
            &listen,
            "--admin-listen",
            "127.0.0.1:0",
            "--data-dir",
            data_dir.to_str().expect("text"),
        ]);
        let running = weir_controller::app::start(config).await.expect("started");
        self.address = running.operator_addr();
        self.controller = Some(running);
    }

    pub(crate) async fn stop_controller(&mut self) {
        let running = self.controller.take().expect("running");
        running.stop().await.expect("stopped");
    }

    pub(crate) fn lose_store(&self) {
        std::fs::remove_dir_all(self.dir.path().join("controller")).expect("removed");
    }

    pub(crate) fn start_agent(&mut self, node: &str) {
        let labels = [("name".to_owned(), node.to_owned())];
        let settings = Settings {
            identity: Identity {
                node: Node::new(
                    NodeName::new(node).expect("name"),
                    Labels::new(labels).expect("labels"),
                    vec![],
                ),
                capabilities: vec![],
            },
            controller: weir_agent::session::endpoint(&format!("http://{}", self.address))
                .expect("a url"),
            journal: self.journal(node),
            admin_listen: None,
            backend_metrics: false,
            socket: None,
            called: String::new(),
            audit_interval: PATIENCE,
            stale_after: None,
        };
        let (stop, stopped) = oneshot::channel();
        let kernel = self.kernel(node).clone();
        let task = tokio::spawn(weir_agent::app::run(settings, kernel, async {
            let _ = stopped.await;
        }));
        self.agents.insert(node.to_owned(), Agent { stop, task });
    }

    pub(crate) async fn stop_agent(&mut self, node: &str) {
        let Agent { stop, task } = self.agents.remove(node).expect("running");
        stop.send(()).expect("running");
        task.await.expect("no panic").expect("no error");
    }

    pub(crate) fn lose_journal(&self, node: &str) {
        std::fs::remove_dir_all(self.journal(node)).expect("removed");
    }

    pub(crate) fn kernel(&self, node: &str) -> &Fake {
        &self.kernels[node]
    }

    pub(crate) fn tables(&self) -> Vec<Table> {
        self.kernels.values().map(Fake::table).collect()
    }

    /// Gives the steps each kernel was asked for since the last call.
    pub(crate) fn take_steps(&self) -> BTreeMap<String, Vec<Step>> {
        let kernels = self.kernels.iter();
        kernels
            .map(|(node, kernel)| (node.clone(), kernel.take_steps()))
            .collect()
    }

    pub(crate) async fn apply(&self, service: wire::Service) -> wire::ApplyResponse {
        self.apply_by(service, None).await
    }

    /// Applies step by step: "1,10%,100%".
    pub(crate) async fn roll_out(
        &self,
        service: wire::Service,
        steps: &str,
    ) -> wire::ApplyResponse {
        let steps: Canary = steps.parse().expect("steps");
        self.apply_by(service, Some(canary_to_wire(&steps))).await
    }

    async fn apply_by(
        &self,
        service: wire::Service,
        canary: Option<wire::Canary>,
    ) -> wire::ApplyResponse {
        let request = wire::ApplyRequest {
            resources: vec![wire::Resource {
                kind: Some(wire::resource::Kind::Service(service)),
                ..wire::Resource::default()
            }],
            canary,
            ..wire::ApplyRequest::default()
        };
        let response = self.operator().await.apply(request).await;
        response.expect("applied").into_inner()
    }

    pub(crate) async fn delete(&self, service: &str) {
        let request = wire::DeleteRequest {
            refs: vec![wire::ResourceRef {
                kind: wire::Kind::Service.into(),
                name: service.to_owned(),
            }],
            ..wire::DeleteRequest::default()
        };
        self.operator()
            .await
            .delete(request)
            .await
            .expect("deleted");
    }

    /// Waits until every node that a write touched has its kernel there, with no failure.
    pub(crate) async fn converged(&self, response: wire::ApplyResponse) {
        for target in response.targets {
            let there = |node: &NodeState| {
                node.connected
                    && node.converged_generation >= target.generation
                    && node.failure_count == 0
            };
            self.until(&target.node, there).await;
        }
    }

    pub(crate) async fn status(&self, node: &str) -> NodeState {
        self.until(node, |_| true).await
    }

    /// Waits until a node's state is `so`, and gives it.
    pub(crate) async fn until(&self, node: &str, so: impl Fn(&NodeState) -> bool) -> NodeState {
        let mut last = None;
        let found = timeout(PATIENCE, async {
            let request = wire::NodeStatusRequest {
                names: vec![],
                watch: true,
            };
            let mut operator = self.operator().await;
            let states = operator.node_status(request).await.expect("status");
            let mut states = states.into_inner();
            loop {
                let response = states.message().await.expect("status").expect("open");
                let mut nodes = response.nodes.into_iter();
                let state = nodes.find(|state| state.name == node);
                match state {
                    Some(state) if so(&state) => return state,
                    other => last = other,
                }
            }
        });
        let found = found.await;
        found.unwrap_or_else(|_| panic!("{node} is still {last:?}"))
    }

    /// Waits until something is so that no node tells.
    pub(crate) async fn eventually(&self, so: impl Fn() -> bool) {
        let waited = timeout(PATIENCE, async {
            while !so() {
                tokio::time::sleep(PAUSE).await;
            }
        });
        waited.await.expect("in time");
    }

    /// Waits until the rollout is in a phase, and gives it.
    pub(crate) async fn rolled(&self, phase: Phase) -> wire::Rollout {
        let mut last = None;
        let found = timeout(PATIENCE, async {
            let request = wire::RolloutStatusRequest { watch: true };
            let mut operator = self.operator().await;
            let states = operator.rollout_status(request).await.expect("status");
            let mut states = states.into_inner();
            loop {
                let response = states.message().await.expect("status").expect("open");
                match response.rollout {
                    Some(rollout) if rollout.phase() == phase => return rollout,
                    other => last = other,
                }
            }
        });
        let found = found.await;
        found.unwrap_or_else(|_| panic!("the rollout is still {last:?}"))
    }

    pub(crate) async fn steer(&self, action: Action) -> wire::SteerRolloutResponse {
        let request = wire::SteerRolloutRequest {
            action: action.into(),
            revision: 0,
        };
        let steered = self.operator().await.steer_rollout(request).await;
        steered.expect("steered").into_inner()
    }

    /// Lets a node do what it holds back.
    pub(crate) async fn release(&self, node: &str) {
        let request = wire::ReleaseNodeRequest {
            name: node.to_owned(),
        };
        let released = self.operator().await.release_node(request).await;
        released.expect("released");
    }

    pub(crate) async fn operator(&self) -> OperatorClient<Channel> {
        let client = OperatorClient::connect(format!("http://{}", self.address)).await;
        client.expect("connected")
    }

    fn journal(&self, node: &str) -> PathBuf {
        self.dir.path().join(node)
    }
}

pub(crate) fn caught_up(node: &NodeState) -> bool {
    node.converged_generation == node.wanted_generation
}

pub(crate) fn service(name: &str, vip: &str, backends: &[(&str, &str)]) -> wire::Service {
    wire::Service {
        name: name.to_owned(),
        frontends: vec![wire::Frontend {
            address: vip.to_owned(),
            port: PORT,
            protocol: wire::Protocol::Tcp.into(),
            ..wire::Frontend::default()
        }],
        backends: backends
            .iter()
            .map(|(address, node)| wire::Backend {
                address: (*address).to_owned(),
                port: PORT,
                weight: None,
                node: (*node).to_owned(),
                ..wire::Backend::default()
            })
            .collect(),
        ..wire::Service::default()
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("address")
}

fn port() -> Port {
    Port::new(PORT).expect("port")
}

pub(crate) fn vip(at: &str) -> Key {
    Key::Item(ItemKey::Vip(address(at)))
}

pub(crate) fn backend(of: &str, at: &str) -> Key {
    Key::Item(ItemKey::Backend(BackendKey {
        frontend: Frontend::Address(Listener {
            address: address(of),
            port: port(),
            protocol: Protocol::Tcp,
        }),
        endpoint: Endpoint {
            address: address(at),
            port: port(),
        },
    }))
}

pub(crate) fn entry(at: &str) -> Key {
    Key::Item(ItemKey::LoopbackEntry(LoopbackEntry {
        address: address(at),
        protocol: Protocol::Tcp,
        port: port(),
        source: address(at),
    }))
}

pub(crate) fn is_entry(key: &Key) -> bool {
    matches!(key, Key::Item(ItemKey::LoopbackEntry(_)))
}
