//! A controller to talk to, an agent to pretend to be, and short ways to write what is said.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use weir_controller::app::{self, Running};
use weir_controller::config::{Config, LogFormat};
use weir_proto::wire;
use weir_proto::wire::node_sync_client::NodeSyncClient;
use weir_proto::wire::operator_client::OperatorClient;
use weir_proto::wire::sync_request::Message;
use weir_proto::wire::sync_response::Message as Heard;

/// What takes longer than this does not happen: a busy machine is slow, not this slow.
const PATIENCE: Duration = Duration::from_secs(10);

/// A controller in a directory of its own.
pub(crate) struct Rig {
    pub(crate) running: Running,
    directory: TempDir,
}

/// What an agent does on its stream.
pub(crate) struct Agent {
    says: mpsc::Sender<wire::SyncRequest>,
    hears: Streaming<wire::SyncResponse>,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let running = start(directory.path()).await;
        Self { running, directory }
    }

    /// Stops the controller and starts one where it was left.
    pub(crate) async fn restart(self) -> Self {
        let Self { running, directory } = self;
        running.stop().await.expect("a clean stop");
        let running = start(directory.path()).await;
        Self { running, directory }
    }

    pub(crate) async fn channel(&self) -> Channel {
        let address = format!("http://{}", self.running.operator_addr());
        let endpoint = Channel::from_shared(address).expect("an address");
        endpoint.connect().await.expect("a connection")
    }

    pub(crate) async fn operator(&self) -> OperatorClient<Channel> {
        OperatorClient::new(self.channel().await)
    }

    pub(crate) async fn apply(&self, resources: Vec<wire::Resource>) -> wire::ApplyResponse {
        self.apply_with(resources, false).await
    }

    pub(crate) async fn apply_with(
        &self,
        resources: Vec<wire::Resource>,
        allow_mass_delete: bool,
    ) -> wire::ApplyResponse {
        let request = wire::ApplyRequest {
            resources,
            allow_mass_delete,
            ..wire::ApplyRequest::default()
        };
        let applied = self.operator().await.apply(request).await;
        applied.expect("applied").into_inner()
    }

    /// Connects an agent that holds some generation with its digest.
    pub(crate) async fn agent(&self, node: &str, held: Option<(u64, &[u8])>) -> Agent {
        let (held_generation, held_digest) = held.unwrap_or_default();
        let hello = wire::Hello {
            node: node.to_owned(),
            agent_version: "1.2.3".to_owned(),
            held_generation,
            held_digest: held_digest.to_vec(),
            ..wire::Hello::default()
        };
        let mut agent = self.silent_agent().await;
        agent.say(Message::Hello(hello)).await;
        self.node(node, |state| state.connected).await;
        agent
    }

    pub(crate) async fn silent_agent(&self) -> Agent {
        let (says, requests) = mpsc::channel(8);
        let mut client = NodeSyncClient::new(self.channel().await);
        let stream = client.sync(Request::new(ReceiverStream::new(requests)));
        let hears = stream.await.expect("a stream").into_inner();
        Agent { says, hears }
    }

    /// Waits until a node is as wanted, and gives its state.
    pub(crate) async fn node(
        &self,
        name: &str,
        wanted: impl Fn(&wire::NodeState) -> bool,
    ) -> wire::NodeState {
        let mut last = None;
        let mut client = self.operator().await;
        let watch = async {
            loop {
                let request = wire::NodeStatusRequest {
                    names: Vec::new(),
                    watch: true,
                };
                let mut states = client.node_status(request).await?.into_inner();
                while let Some(response) = states.message().await? {
                    let mut nodes = response.nodes.into_iter();
                    last = nodes.find(|node| node.name == name);
                    if let Some(node) = last.as_ref().filter(|node| wanted(node)) {
                        return Ok::<_, Status>(node.clone());
                    }
                }
            }
        };
        match timeout(PATIENCE, watch).await {
            Ok(found) => found.expect("a state"),
            Err(_) => panic!("node {name} did not get there: {last:#?}"),
        }
    }
}

impl Agent {
    pub(crate) async fn say(&mut self, message: Message) {
        let request = wire::SyncRequest {
            message: Some(message),
        };
        self.says.send(request).await.expect("the stream is open");
    }

    /// Says something of a kind that only a later version knows: to all others there is nothing in it.
    pub(crate) async fn say_what_nobody_knows(&mut self) {
        let request = wire::SyncRequest { message: None };
        self.says.send(request).await.expect("the stream is open");
    }

    /// Gives the next chunk, or how the stream ended.
    pub(crate) async fn hear(&mut self) -> Result<wire::Update, Status> {
        match self.hear_anything().await? {
            Some(Heard::Update(update)) => Ok(update),
            heard => panic!("neither an update nor a status: {heard:?}"),
        }
    }

    /// Gives the generation up to which the node is released, which is said next.
    pub(crate) async fn release(&mut self) -> u64 {
        match self.hear_anything().await {
            Ok(Some(Heard::Release(release))) => release.generation,
            heard => panic!("not a release: {heard:?}"),
        }
    }

    async fn hear_anything(&mut self) -> Result<Option<Heard>, Status> {
        let heard = timeout(PATIENCE, self.hears.message()).await;
        let heard = heard.expect("something is said in time")?;
        Ok(heard.and_then(|response| response.message))
    }

    /// Gives an update of one chunk.
    pub(crate) async fn update(&mut self) -> wire::Update {
        let update = self.hear().await.expect("an update");
        assert!(update.last, "it has more than one chunk");
        update
    }

    /// Takes an update and brings it to a kernel without a fault.
    pub(crate) async fn converge(&mut self, update: &wire::Update) {
        let generation = update.generation;
        self.say(Message::Accepted(wire::Accepted {
            generation,
            ..wire::Accepted::default()
        }))
        .await;
        let converged = wire::Converged {
            generation,
            ..wire::Converged::default()
        };
        self.say(Message::Converged(converged)).await;
    }

    /// Gives the next update, which must be of this generation: nothing else was said before it.
    pub(crate) async fn hears_next(&mut self, generation: u64) -> wire::Update {
        let update = self.update().await;
        assert_eq!(update.generation, generation, "{update:?}");
        update
    }
}

async fn start(directory: &Path) -> Running {
    let config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        admin_listen: ([127, 0, 0, 1], 0).into(),
        data_dir: directory.to_owned(),
        insecure: false,
        tls_cert: None,
        tls_key: None,
        tls_ca: None,
        log_format: LogFormat::Text,
        backend_metrics: true,
    };
    app::start(config).await.expect("a controller")
}

pub(crate) fn service(service: wire::Service) -> wire::Resource {
    wire::Resource {
        kind: Some(wire::resource::Kind::Service(service)),
        ..wire::Resource::default()
    }
}

/// A service on 10.1.0.`vip`:80 with backends 10.0.`vip`.1, 2, ... of some weights.
pub(crate) fn web(name: &str, vip: u8, weights: &[u32]) -> wire::Resource {
    let backend = |(place, weight): (usize, &u32)| wire::Backend {
        address: format!("10.0.{vip}.{}", place + 1),
        port: 80,
        weight: Some(*weight),
        node: String::new(),
        ..wire::Backend::default()
    };
    service(wire::Service {
        name: name.to_owned(),
        frontends: vec![wire::Frontend {
            address: format!("10.1.0.{vip}"),
            port: 80,
            protocol: wire::Protocol::Tcp.into(),
            ..wire::Frontend::default()
        }],
        backends: weights.iter().enumerate().map(backend).collect(),
        ..wire::Service::default()
    })
}

pub(crate) fn reference(kind: wire::Kind, name: &str) -> wire::ResourceRef {
    wire::ResourceRef {
        kind: kind.into(),
        name: name.to_owned(),
    }
}
