//! `--agent`: weirctl beside an agent of the tests' own.

use std::path::PathBuf;
use std::pin::Pin;

use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};
use weir_proto::wire;
use weir_proto::wire::agent_event::Kind;
use weir_proto::wire::agent_server::{Agent, AgentServer};
use weir_proto::wire::item::Kind as Item;
use weir_proto::wire::kernel_object::Value;

use super::{Ran, fine, run};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What the agent says.
#[derive(Clone, Default)]
struct Said {
    state: Vec<wire::AgentState>,
    kernel: Vec<wire::AgentKernel>,
    events: Vec<wire::AgentEvent>,
}

struct Fake {
    path: PathBuf,
    _dir: TempDir,
    _runtime: Runtime,
}

impl Fake {
    fn start(said: Said) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("agent.sock");
        let guard = runtime.enter();
        let listener = UnixListener::bind(&path).expect("a socket");
        drop(guard);
        runtime.spawn(
            tonic::transport::Server::builder()
                .add_service(AgentServer::new(said))
                .serve_with_incoming(UnixListenerStream::new(listener)),
        );
        Self {
            path,
            _dir: dir,
            _runtime: runtime,
        }
    }

    /// Runs weirctl; the socket's path is "SOCKET" in what it says, and no controller is there.
    fn run(&self, arguments: &[&str]) -> Ran {
        let path = self.path.to_str().expect("a path");
        let arguments = [&["--agent", path], arguments].concat();
        let ran = run("http://127.0.0.1:1", &arguments, "");
        Ran {
            status: ran.status,
            out: ran.out.replace(path, "SOCKET"),
            err: ran.err.replace(path, "SOCKET"),
        }
    }
}

fn all<T: Send + 'static>(messages: Vec<T>) -> Result<Response<Answers<T>>, Status> {
    let messages = tokio_stream::iter(messages).map(Ok);
    Ok(Response::new(Box::pin(messages)))
}

#[tonic::async_trait]
impl Agent for Said {
    type StateStream = Answers<wire::AgentState>;
    type KernelStream = Answers<wire::AgentKernel>;
    type LedgerStream = Answers<wire::AgentLedger>;
    type EventsStream = Answers<wire::AgentEvent>;

    async fn state(
        &self,
        request: Request<wire::AgentStateRequest>,
    ) -> Result<Response<Self::StateStream>, Status> {
        let failed_only = request.into_inner().failed_only;
        let mut state = self.state.clone();
        for message in &mut state {
            message
                .items
                .retain(|item| !failed_only || item.failure.is_some());
        }
        all(state)
    }

    async fn kernel(
        &self,
        _: Request<wire::AgentKernelRequest>,
    ) -> Result<Response<Self::KernelStream>, Status> {
        if self.kernel.is_empty() {
            return Err(Status::unavailable("the kernel cannot be read"));
        }
        all(self.kernel.clone())
    }

    async fn ledger(
        &self,
        _: Request<wire::AgentLedgerRequest>,
    ) -> Result<Response<Self::LedgerStream>, Status> {
        all(vec![wire::AgentLedger::default()])
    }

    async fn events(
        &self,
        _: Request<wire::AgentEventsRequest>,
    ) -> Result<Response<Self::EventsStream>, Status> {
        all(self.events.clone())
    }
}

fn frontend(port: u32) -> wire::Frontend {
    wire::Frontend {
        address: "10.1.0.1".to_owned(),
        port,
        protocol: wire::Protocol::Tcp.into(),
        ..wire::Frontend::default()
    }
}

fn seen(object: &str, kind: &str, service: &str, value: Value) -> wire::AgentObject {
    wire::AgentObject {
        object: Some(wire::KernelObject {
            object: object.to_owned(),
            kind: kind.to_owned(),
            words: String::new(),
            value: Some(value),
        }),
        foreign: service.is_empty(),
        service: service.to_owned(),
    }
}

fn virtual_service(port: u32, service: &str, scheduler: &str) -> wire::AgentObject {
    let value = Value::Service(wire::KernelService {
        frontend: Some(frontend(port)),
        scheduler: scheduler.to_owned(),
        affinity_seconds: 60,
        ..wire::KernelService::default()
    });
    seen(
        &format!("virtual service {port}"),
        "virtual_service",
        service,
        value,
    )
}

/// A node with one service that is served, one that is refused, and one of somebody else's.
fn said() -> Said {
    let backend = Value::Backend(wire::KernelBackend {
        frontend: Some(frontend(80)),
        address: "10.0.0.11".to_owned(),
        port: 8080,
        weight: 3,
        forwarding: Some(wire::Forwarding::Masquerade.into()),
        ..wire::KernelBackend::default()
    });
    let vip = Value::Vip(wire::KernelVip {
        address: "10.1.0.1".to_owned(),
        binding: wire::VipBinding::Address.into(),
        silent: false,
    });
    let item = |port: u32, failure: Option<&str>| wire::AgentItem {
        item: Some(wire::Item {
            kind: Some(Item::VirtualService(wire::item::VirtualService {
                frontend: Some(frontend(port)),
                scheduler: "mh".to_owned(),
                service: "web".to_owned(),
                ..wire::item::VirtualService::default()
            })),
        }),
        object: format!("virtual service {port}"),
        kind: "virtual_service".to_owned(),
        failure: failure.map(|cause| wire::ItemFailure {
            key: Some(wire::ItemKey {
                kind: Some(wire::item_key::Kind::VirtualService(frontend(port))),
            }),
            errno: 2,
            cause: cause.to_owned(),
            field: "scheduler".to_owned(),
        }),
    };
    Said {
        state: vec![
            wire::AgentState {
                node: "node-a".to_owned(),
                agent_version: "0.1.0".to_owned(),
                now_unix_ms: 1_000_000,
                accepted_generation: 8,
                served_generation: 7,
                converged_generation: 7,
                settled: true,
                contact: Some(wire::AgentContact {
                    controller: "https://lb:7420".to_owned(),
                    connected: false,
                    heard_unix_ms: 940_000,
                    disconnection: "the stream broke".to_owned(),
                }),
                hold: Some(wire::Hold {
                    generation: 8,
                    dropped: 3,
                    served: 4,
                    since_unix_ms: 995_000,
                    cause: String::new(),
                }),
                item_count: 2,
                failure_count: 1,
                items: vec![item(80, None)],
                ..wire::AgentState::default()
            },
            wire::AgentState {
                items: vec![item(443, Some("there is no such scheduler"))],
                ..wire::AgentState::default()
            },
        ],
        kernel: vec![wire::AgentKernel {
            objects: vec![
                virtual_service(80, "web", "wrr"),
                virtual_service(22, "", "rr"),
                seen("backend 10.0.0.11:8080", "backend", "web", backend),
                seen("vip 10.1.0.1", "vip", "web", vip),
            ],
        }],
        events: vec![
            wire::AgentEvent {
                sequence: 1,
                at_unix_ms: 1,
                kind: Kind::Connected.into(),
                object: "controller".to_owned(),
                detail: String::new(),
            },
            wire::AgentEvent {
                sequence: 2,
                at_unix_ms: 2,
                kind: Kind::Repaired.into(),
                object: "vip 10.1.0.1".to_owned(),
                detail: "found nothing, and is address again".to_owned(),
            },
        ],
    }
}

#[test]
fn a_node_shows_what_is_wanted_beside_what_is_there() {
    let fake = Fake::start(said());
    for (arguments, out) in [
        (
            &["get", "services"][..],
            "\
NAME              SERVICE   SCHEDULER   AFFINITY   BACKENDS   STATE
10.1.0.1:80/TCP   web       wrr         60s        1          converged
10.1.0.1:443/TCP  web       mh          <none>     0          refused
10.1.0.1:22/TCP   <none>    rr          60s        0          foreign
",
        ),
        (
            &["get", "svc", "10.1.0.1:443/TCP", "-o", "wide"],
            "\
NAME               SERVICE   SCHEDULER   AFFINITY   BACKENDS   STATE     CAUSE
10.1.0.1:443/TCP   web       mh          <none>     0          refused   there is no such scheduler
",
        ),
        (
            &["get", "backends", "web"],
            "\
NAME             FRONTEND          SERVICE   WEIGHT   FORWARDING   STATE
10.0.0.11:8080   10.1.0.1:80/TCP   web       3        MASQUERADE   leaving
",
        ),
        (&["get", "vips", "-o", "name"], "vip/10.1.0.1\n"),
        (
            &["get", "vips", "-o", "yaml"],
            "\
apiVersion: weir/v1
kind: NodeVipList
items:
- name: \"10.1.0.1\"
  vipBinding: ADDRESS
  silent: false
  state: leaving
  cause: \"\"
",
        ),
    ] {
        let ran = fake.run(arguments);
        let told = Ran {
            out: squeezed(&ran.out),
            ..ran
        };
        assert_eq!(told, fine(&squeezed(out)), "{arguments:?}");
    }
    let events = fake.run(&["get", "events", "-o", "json"]);
    assert_eq!((events.status, events.err.as_str()), (0, ""));
    let events: serde_json::Value = serde_json::from_str(&events.out).expect("JSON");
    assert_eq!(events["items"][1]["kind"], "repaired");
    assert_eq!(events["items"][1]["object"], "vip 10.1.0.1");
    let table = fake.run(&["get", "events", "--no-headers"]);
    let line = table.out.lines().nth(1).unwrap_or_default();
    let start = "repaired    vip 10.1.0.1   found nothing, and is address again   ";
    assert!(line.starts_with(start), "{table:?}");
}

/// Columns are as wide as their table makes them: what counts is what stands in them.
fn squeezed(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.join(" ") + "\n"
    });
    lines.collect()
}

#[test]
fn a_node_says_how_it_is() {
    let fake = Fake::start(said());
    let ran = Ran {
        status: 1,
        out: include_str!("pages/agent.txt").to_owned(),
        err: String::new(),
    };
    assert_eq!(fake.run(&["status"]), ran);
    let ran = Ran {
        out: include_str!("pages/agent.json").to_owned(),
        ..ran
    };
    assert_eq!(fake.run(&["status", "-o", "json"]), ran);
    let mut well = said();
    let state = &mut well.state[0];
    state.contact = Some(wire::AgentContact {
        connected: true,
        controller: "https://lb:7420".to_owned(),
        ..wire::AgentContact::default()
    });
    state.hold = None;
    state.converged_generation = 8;
    state.failure_count = 0;
    well.state.truncate(1);
    assert_eq!(Fake::start(well).run(&["status"]).status, 0);
}

#[test]
fn what_an_agent_cannot_do_is_refused_in_words() {
    let fake = Fake::start(Said {
        state: vec![wire::AgentState::default()],
        ..Said::default()
    });
    let wrong = |text: &str| Ran {
        status: 2,
        out: String::new(),
        err: format!("error: {text}\n\nFor more information, try '--help'.\n"),
    };
    let reads = "--agent shows what one node holds, by get and status; everything else is asked of the controller";
    for (arguments, text) in [
        (&["apply", "-f", "web.yaml"][..], reads),
        (&["check"], reads),
        (
            &["get", "nodes"],
            "an agent shows no \"nodes\" (it has services, backends, vips, events)",
        ),
        (
            &["get", "services", "-l", "tier=front"],
            "labels are kept by the controller: an agent knows none",
        ),
        (
            &["get", "vips", "-w"],
            "of an agent only events are watched",
        ),
        (
            &["get", "services", "-o", "ipvsadm"],
            "ipvsadm -Sn on the node itself shows its kernel so",
        ),
        (
            &["get", "events", "-o", "name"],
            "an event has no name: events are shown as table, json or yaml",
        ),
        (
            &["status", "--watch"],
            "the status of an agent is not watched: watch get events",
        ),
    ] {
        assert_eq!(fake.run(arguments), wrong(text), "{arguments:?}");
    }
    let failed = |text: &str| Ran {
        status: 1,
        out: String::new(),
        err: format!("error: {text}\n"),
    };
    assert_eq!(
        fake.run(&["get", "vips"]),
        failed("the agent at SOCKET says: the kernel cannot be read")
    );
    let nowhere = run(
        "http://127.0.0.1:1",
        &["--agent", "/nowhere/agent.sock", "status"],
        "",
    );
    let text = "cannot reach the agent at /nowhere/agent.sock: No such file or directory; check that weir-agent runs \
                with --socket /nowhere/agent.sock, and that you may open it";
    assert_eq!(nowhere, failed(text));
}

#[test]
fn what_is_not_there_is_named() {
    let fake = Fake::start(said());
    let ran = fake.run(&["get", "vips", "10.9.9.9"]);
    assert_eq!(ran.err, "error: vip/10.9.9.9 not found\n");
    assert_eq!(ran.status, 1);
}
