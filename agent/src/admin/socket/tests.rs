use std::path::PathBuf;

use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use weir_proto::model::{
    Degraded, Family, Generation, Item, ItemFailure, ItemKey, Labels, Node, NodeName, Vip,
};
use weir_proto::wire::agent_client::AgentClient;
use weir_proto::wire::agent_event::Kind;

use super::*;
use crate::admin::Staleness;
use crate::plan::{Held, Key, Ledger, LedgerChange, Object, Report, Setting, Table, VipSpec};
use crate::reconciler::{Standing, Status as Converged};
use crate::session::{Contact, Link};

/// A socket, and those whom it asks.
struct Rig {
    _dir: TempDir,
    path: PathBuf,
    status: watch::Sender<Converged>,
    link: watch::Sender<Link>,
    degraded: watch::Sender<Option<Degraded>>,
    _repairs: watch::Sender<Repairs>,
    _drains: watch::Sender<Vec<DrainProgress>>,
    asked: Option<mpsc::Receiver<Ask>>,
    task: JoinHandle<()>,
}

impl Rig {
    async fn start(knows: bool) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("agent.sock");
        let status = watch::Sender::new(Converged::default());
        let link = watch::Sender::new(Link::default());
        let degraded = watch::Sender::new(None);
        let repairs = watch::Sender::new(Repairs::default());
        let drains = watch::Sender::new(Vec::new());
        let (asks, asked) = mpsc::channel(1);
        let name = NodeName::new("node-a").expect("a name");
        let told = Told {
            identity: Identity {
                node: Node::new(name, Labels::default(), Vec::new()),
                capabilities: Vec::new(),
            },
            controller: "https://lb:7420".to_owned(),
            sources: Sources {
                status: status.subscribe(),
                link: link.subscribe(),
                degraded: degraded.subscribe(),
                stages: crate::admin::Stages::default(),
                numbers: watch::channel(crate::plan::Numbers::default()).1,
                staleness: Staleness {
                    started: tokio::time::Instant::now(),
                    stale_after: None,
                },
            },
            drains: drains.subscribe(),
            repairs: repairs.subscribe(),
            asks: knows.then_some(asks),
        };
        let task = serve(&path, told).await.expect("served");
        Self {
            _dir: dir,
            path,
            status,
            link,
            degraded,
            _repairs: repairs,
            _drains: drains,
            asked: knows.then_some(asked),
            task,
        }
    }

    async fn client(&self) -> AgentClient<Channel> {
        let url = format!("unix:{}", self.path.display());
        let endpoint = Endpoint::from_shared(url).expect("a URL");
        AgentClient::new(endpoint.connect().await.expect("connected"))
    }

    /// Answers whoever asks how the node stands.
    fn answer(&mut self, standing: Result<Standing, String>) {
        let mut asked = self.asked.take().expect("one who knows");
        tokio::spawn(async move {
            while let Some(ask) = asked.recv().await {
                if let Ask::Standing { kernel, answer } = ask {
                    let told = standing.clone().map(|standing| match kernel {
                        true => standing,
                        false => Standing {
                            kernel: Table::new(),
                            ..standing
                        },
                    });
                    let _ = answer.send(told);
                }
            }
        });
    }
}

async fn all<T>(mut stream: tonic::Streaming<T>) -> Vec<T> {
    let mut all = Vec::new();
    while let Some(one) = stream.message().await.expect("a message") {
        all.push(one);
    }
    all
}

fn reason(status: &Status) -> (Code, String) {
    let info = status.get_details_error_info().expect("a reason");
    (status.code(), info.reason)
}

fn vip(last: u8) -> ItemKey {
    ItemKey::Vip([10, 0, 0, last].into())
}

/// A node that is to hold two VIPs: one is there and ours, in the other's place stands somebody else's.
fn standing() -> Standing {
    let items = [1, 2].map(|last| Item::Vip(Vip::new([10, 0, 0, last].into())));
    let mut ledger = Ledger::default();
    ledger.apply(&LedgerChange {
        made: [Key::Link, Key::Item(vip(1))].into(),
        found: [(Setting::ForwardV4, "0".to_owned())].into(),
        ..LedgerChange::default()
    });
    let bound = || Object::Vip(VipSpec::default());
    Standing {
        held: Held {
            generation: Generation(7),
            state: items.into_iter().collect(),
            ..Held::default()
        },
        ledger,
        report: Report {
            failures: vec![ItemFailure {
                key: vip(2),
                errno: 17,
                cause: "vip 10.0.0.2 is there and is not ours".to_owned(),
                field: String::new(),
            }],
            count: 1,
        },
        kernel: [
            (
                Key::Setting(Setting::ForwardV4),
                Object::Value("1".to_owned()),
            ),
            (Key::Link, Object::Present),
            (Key::LoopbackSet(Family::V4), Object::Present),
            (Key::Item(vip(1)), bound()),
            (Key::Item(vip(2)), bound()),
        ]
        .into(),
    }
}

#[tokio::test]
async fn the_state_has_every_item_with_what_became_of_it() {
    let mut rig = Rig::start(true).await;
    rig.answer(Ok(standing()));
    rig.link.send_replace(Link {
        contact: Contact::Never,
        accepted: Generation(8),
        trouble: "refused".to_owned(),
        ..Link::default()
    });
    let request = wire::AgentStateRequest::default();
    let told = rig.client().await.state(request).await.expect("told");
    let [state] = &all(told.into_inner()).await[..] else {
        panic!("one message has room for two items");
    };
    assert_eq!((state.node.as_str(), state.item_count), ("node-a", 2));
    let generations = (state.accepted_generation, state.served_generation);
    assert_eq!(generations, (8, 7));
    let contact = wire::AgentContact {
        controller: "https://lb:7420".to_owned(),
        disconnection: "refused".to_owned(),
        ..wire::AgentContact::default()
    };
    assert_eq!(state.contact, Some(contact));
    let items = state.items.iter();
    let items: Vec<(&str, Option<&str>)> = items
        .map(|it| {
            let cause = it.failure.as_ref().map(|failure| failure.cause.as_str());
            (it.object.as_str(), cause)
        })
        .collect();
    let foreign = "vip 10.0.0.2 is there and is not ours";
    assert_eq!(
        items,
        [("vip 10.0.0.1", None), ("vip 10.0.0.2", Some(foreign))]
    );

    let request = wire::AgentStateRequest { failed_only: true };
    let told = rig.client().await.state(request).await.expect("told");
    assert_eq!(all(told.into_inner()).await[0].items.len(), 1);
}

#[tokio::test]
async fn the_kernel_is_told_with_what_is_somebody_elses() {
    let mut rig = Rig::start(true).await;
    rig.answer(Ok(standing()));
    let mut client = rig.client().await;
    let mut told = async |request| {
        let told = client.kernel(request).await.expect("told");
        let messages = all(told.into_inner()).await;
        let objects = messages.into_iter().flat_map(|it| it.objects);
        let objects = objects.map(|it| (it.object.unwrap_or_default().object, it.foreign));
        objects.collect::<Vec<(String, bool)>>()
    };
    let own = |all: &[(&str, bool)]| -> Vec<(String, bool)> {
        all.iter()
            .map(|(object, foreign)| ((*object).to_owned(), *foreign))
            .collect()
    };
    assert_eq!(
        told(wire::AgentKernelRequest::default()).await,
        own(&[
            ("sysctl net.ipv4.ip_forward", false),
            ("link weir0", false),
            ("IPv4 loopback set", true),
            ("vip 10.0.0.1", false),
            ("vip 10.0.0.2", true),
        ])
    );
    let foreign = wire::AgentKernelRequest {
        kinds: vec!["vip".to_owned()],
        foreign_only: true,
    };
    assert_eq!(told(foreign).await, own(&[("vip 10.0.0.2", true)]));
}

#[tokio::test]
async fn the_ledger_has_what_is_ours_and_what_settings_were() {
    let mut rig = Rig::start(true).await;
    rig.answer(Ok(standing()));
    let told = rig.client().await.ledger(wire::AgentLedgerRequest {}).await;
    let ledger = wire::AgentLedger {
        objects: [("link weir0", "link"), ("vip 10.0.0.1", "vip")]
            .map(|(object, kind)| wire::AgentOwned {
                object: object.to_owned(),
                kind: kind.to_owned(),
            })
            .into(),
        settings: vec![wire::AgentSetting {
            object: "sysctl net.ipv4.ip_forward".to_owned(),
            before: "0".to_owned(),
        }],
        released: false,
    };
    assert_eq!(all(told.expect("told").into_inner()).await, [ledger]);
}

#[tokio::test]
async fn what_happens_is_told_to_whoever_watches() {
    let rig = Rig::start(true).await;
    let request = wire::AgentEventsRequest { watch: true };
    let told = rig.client().await.events(request).await.expect("told");
    let mut told = told.into_inner();
    rig.link.send_modify(|link| link.contact = Contact::Now);
    let event = told.message().await.expect("a message").expect("an event");
    assert_eq!((event.sequence, event.kind()), (1, Kind::Connected));
    rig.degraded.send_replace(Some(Degraded {
        reason: "no space".to_owned(),
        since_unix_ms: 1,
    }));
    let event = told.message().await.expect("a message").expect("an event");
    assert_eq!(
        (event.kind(), event.detail.as_str()),
        (Kind::Degraded, "no space")
    );
    rig.status
        .send_modify(|status| status.report = standing().report);
    let event = told.message().await.expect("a message").expect("an event");
    assert_eq!(
        (event.kind(), event.object.as_str()),
        (Kind::Failed, "vip 10.0.0.2")
    );
    let request = wire::AgentEventsRequest { watch: false };
    let told = rig.client().await.events(request).await.expect("told");
    assert_eq!(all(told.into_inner()).await.len(), 3);
}

#[tokio::test]
async fn every_refusal_has_a_reason() {
    let mut rig = Rig::start(true).await;
    rig.answer(Err("the socket is gone".to_owned()));
    let mut client = rig.client().await;
    let ask = wire::AgentKernelRequest::default();
    let refused = client.kernel(ask).await.expect_err("unreadable");
    let unreadable = (Code::Unavailable, "KERNEL_UNREADABLE".to_owned());
    assert_eq!(reason(&refused), unreadable);
    let ask = wire::AgentKernelRequest {
        kinds: vec!["vip".to_owned(), "pod".to_owned()],
        foreign_only: false,
    };
    let refused = client.kernel(ask).await.expect_err("no such kind");
    assert_eq!(
        reason(&refused),
        (Code::InvalidArgument, "FIELDS_INVALID".to_owned())
    );
    let fields = refused.get_details_bad_request().expect("fields");
    assert_eq!(fields.field_violations[0].field, "kinds[1]");

    let closed = Rig::start(false).await;
    let mut client = closed.client().await;
    let refused = client.ledger(wire::AgentLedgerRequest {}).await;
    let refused = refused.expect_err("closed");
    assert_eq!(
        reason(&refused),
        (Code::Unavailable, "JOURNAL_CLOSED".to_owned())
    );
    // how it is, it tells even so
    let request = wire::AgentStateRequest::default();
    let told = client.state(request).await.expect("told");
    assert_eq!(all(told.into_inner()).await[0].node, "node-a");

    let channel = Endpoint::from_shared(format!("unix:{}", closed.path.display()));
    let channel = channel.expect("a URL").connect().await.expect("connected");
    let mut operator = wire::operator_client::OperatorClient::new(channel);
    let refused = operator.get(wire::GetRequest::default()).await;
    let refused = refused.expect_err("it is no controller");
    assert_eq!(
        reason(&refused),
        (Code::Unimplemented, "CALL_UNKNOWN".to_owned())
    );
}

#[tokio::test]
async fn the_socket_goes_with_the_task() {
    let rig = Rig::start(true).await;
    assert!(rig.path.exists());
    rig.task.abort();
    let _ = rig.task.await;
    assert!(!rig.path.exists());
}
