use std::net::SocketAddr;

use prost::Message as _;
use prost::bytes::Bytes;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status as Refusal, Streaming};
use weir_proto::convert::{hello_from_wire, item_key_to_wire, item_to_wire, progress_to_wire};
use weir_proto::digest::Digest;
use weir_proto::model::{Item, ItemFailure, Labels, NodeName};
use weir_proto::state::NodeState;
use weir_proto::wire::node_sync_server::{NodeSync, NodeSyncServer};
use weir_proto::wire::sync_request::Message;

use super::*;
use crate::plan::{Change, Report};

mod questions;
mod refused;

/// Longer than anything here takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// One stream as the controller sees it.
struct Stream {
    from_agent: Streaming<wire::SyncRequest>,
    to_agent: mpsc::Sender<Result<wire::SyncResponse, Refusal>>,
}

/// A controller that hands each stream to the test.
struct Controller(mpsc::Sender<Stream>);

#[tonic::async_trait]
impl NodeSync for Controller {
    type SyncStream = ReceiverStream<Result<wire::SyncResponse, Refusal>>;

    async fn sync(
        &self,
        request: Request<Streaming<wire::SyncRequest>>,
    ) -> Result<Response<Self::SyncStream>, Refusal> {
        let (to_agent, responses) = mpsc::channel(4);
        let stream = Stream {
            from_agent: request.into_inner(),
            to_agent,
        };
        let _ = self.0.send(stream).await;
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}

impl Stream {
    async fn next(&mut self) -> Message {
        let message = tokio::time::timeout(PATIENCE, self.from_agent.message()).await;
        let request = message.expect("in time").expect("a message").expect("open");
        request.message.expect("something said")
    }

    async fn send(&self, update: wire::Update) {
        self.say(wire::sync_response::Message::Update(update)).await;
    }

    async fn say(&self, message: wire::sync_response::Message) {
        let response = wire::SyncResponse {
            message: Some(message),
        };
        self.to_agent.send(Ok(response)).await.expect("connected");
    }
}

/// An agent's session at work, with a controller in the hands of the test.
struct Rig {
    dir: TempDir,
    streams: mpsc::Receiver<Stream>,
    changes: mpsc::Receiver<Accepted>,
    status: watch::Sender<Status>,
    drains: watch::Sender<Vec<DrainProgress>>,
    repairs: watch::Sender<Repairs>,
    asked: mpsc::Receiver<Ask>,
    inquiries: mpsc::Receiver<Inquiry>,
    link: watch::Receiver<Link>,
    session: JoinHandle<()>,
    server: JoinHandle<()>,
}

impl Rig {
    async fn start() -> Self {
        Self::holding(Keeping::default()).await
    }

    /// One that comes up with what it held before.
    async fn holding(keeping: Keeping) -> Self {
        let (streams, server, address) = controller(None).await;
        let dir = tempfile::tempdir().expect("dir");
        let (journal, _) = Journal::open(&dir.path().join("journal"), "boot").expect("journal");
        let (sender, changes) = mpsc::channel(4);
        let (status, status_watch) = watch::channel(Status::default());
        let repairs = watch::Sender::default();
        let (asks, asked) = mpsc::channel(1);
        let (inquiry_sender, inquiries) = mpsc::channel(1);
        let (drains, drains_watch) = watch::channel(Vec::new());
        let (link_sender, link) = watch::channel(Link::default());
        let session = Session {
            stages: crate::admin::Stages::default(),
            controller: endpoint(&format!("http://{address}")).expect("endpoint"),
            identity: identity(),
            journal,
            keeping,
            changes: sender,
            status: status_watch,
            drains: drains_watch,
            repairs: repairs.clone(),
            asks,
            inquiries: inquiry_sender,
            link: link_sender,
        };
        Self {
            dir,
            streams,
            changes,
            status,
            drains,
            repairs,
            asked,
            inquiries,
            link,
            session: tokio::spawn(session.run()),
            server,
        }
    }

    async fn stream(&mut self) -> (Stream, Hello) {
        let stream = tokio::time::timeout(PATIENCE, self.streams.recv()).await;
        let mut stream = stream.expect("in time").expect("a stream");
        let Message::Hello(hello) = stream.next().await else {
            panic!("hello comes first");
        };
        (stream, hello_from_wire(hello).expect("hello"))
    }
}

async fn controller(
    at: Option<SocketAddr>,
) -> (mpsc::Receiver<Stream>, JoinHandle<()>, SocketAddr) {
    let listener = TcpListener::bind(at.unwrap_or(([127, 0, 0, 1], 0).into()))
        .await
        .expect("listen");
    let address = listener.local_addr().expect("address");
    let (sender, streams) = mpsc::channel(4);
    let server = tonic::transport::Server::builder()
        .add_service(NodeSyncServer::new(Controller(sender)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let server = tokio::spawn(async move { server.await.expect("served") });
    (streams, server, address)
}

fn identity() -> Identity {
    Identity {
        node: Node::new(
            NodeName::new("node-a").expect("name"),
            Labels::new([("rack".to_owned(), "3".to_owned())]).expect("labels"),
            vec![[192, 0, 2, 7].into()],
        ),
        capabilities: vec![Capability {
            name: "ip_vs".to_owned(),
            available: false,
            detail: "load the module ip_vs".to_owned(),
            optional: false,
        }],
    }
}

fn vip(last: u8) -> Item {
    Item::Vip(weir_proto::model::Vip::new([10, 1, 0, last].into()))
}

fn digest(items: &[Item]) -> Digest {
    items.iter().cloned().collect::<NodeState>().digest()
}

fn encoded(item: &Item) -> Bytes {
    item_to_wire(item).encode_to_vec().into()
}

fn snapshot(generation: u64, items: &[Item]) -> wire::Update {
    wire::Update {
        generation,
        upserted: items.iter().map(encoded).collect(),
        digest: digest(items).to_bytes().to_vec(),
        last: true,
        ..wire::Update::default()
    }
}

#[tokio::test]
async fn an_agent_says_who_it_is_and_takes_what_it_is_given() {
    let mut rig = Rig::start().await;
    let (mut stream, hello) = rig.stream().await;
    assert_eq!(
        hello,
        Hello {
            node: identity().node,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            held: None,
            capabilities: identity().capabilities,
        }
    );
    stream.send(snapshot(5, &[vip(1), vip(2)])).await;
    let accepted = Message::Accepted(wire::Accepted {
        generation: 5,
        ..wire::Accepted::default()
    });
    assert_eq!(stream.next().await, accepted);
    let change = rig.changes.recv().await.expect("a change").change;
    assert_eq!(
        change,
        Change {
            generation: Generation(5),
            upserted: vec![vip(1), vip(2)],
            removed: vec![],
        }
    );
    let link = Link {
        contact: Contact::Now,
        accepted: Generation(5),
        ..Link::default()
    };
    rig.link.wait_for(|now| *now == link).await.expect("link");
}

#[tokio::test]
async fn what_is_acknowledged_is_in_the_journal() {
    let mut rig = Rig::start().await;
    let (mut stream, _) = rig.stream().await;
    stream.send(snapshot(5, &[vip(1)])).await;
    assert!(matches!(stream.next().await, Message::Accepted(_)));
    rig.session.abort();
    let _ = rig.session.await;
    let (_, remembered) = Journal::open(&rig.dir.path().join("journal"), "boot").expect("journal");
    assert_eq!(remembered.keeping.accepted.generation, Generation(5));
    assert_eq!(
        remembered.keeping.accepted.state.digest(),
        digest(&[vip(1)])
    );
}

#[tokio::test]
async fn how_far_the_kernel_is_goes_to_the_controller() {
    let mut rig = Rig::start().await;
    let (mut stream, _) = rig.stream().await;
    stream.send(snapshot(5, &[vip(1)])).await;
    assert!(matches!(stream.next().await, Message::Accepted(_)));
    let failure = ItemFailure {
        key: vip(1).key(),
        errno: 19,
        cause: "no link".to_owned(),
        field: String::new(),
    };
    rig.status.send_replace(Status {
        converged: Generation(5),
        settled: true,
        report: Report {
            failures: vec![failure],
            count: 1,
        },
        ..Status::default()
    });
    let said = Message::Converged(wire::Converged {
        generation: 5,
        failures: vec![wire::ItemFailure {
            key: Some(item_key_to_wire(&vip(1).key())),
            errno: 19,
            cause: "no link".to_owned(),
            field: String::new(),
        }],
        failure_count: 1,
    });
    assert_eq!(stream.next().await, said);
}

#[tokio::test]
async fn an_update_that_does_not_fit_is_refused_with_what_is_held() {
    let mut rig = Rig::start().await;
    let (mut stream, _) = rig.stream().await;
    stream.send(snapshot(5, &[vip(1)])).await;
    assert!(matches!(stream.next().await, Message::Accepted(_)));
    let delta = wire::Update {
        base_generation: 4,
        ..snapshot(6, &[vip(2)])
    };
    stream.send(delta).await;
    let refused = Message::Rejected(wire::Rejected {
        generation: 6,
        reason: wire::rejected::Reason::Base.into(),
        cause: "the update changes generation 4, and this node holds 5".to_owned(),
        items: vec![],
        held_generation: 5,
        held_digest: digest(&[vip(1)]).to_bytes().to_vec(),
    });
    assert_eq!(stream.next().await, refused);
    let why = "the update changes generation 4, and this node holds 5";
    let why = Some((Generation(6), why.to_owned()));
    let told = rig.link.wait_for(|link| link.rejected == why).await;
    drop(told.expect("it is told on the node too"));
    for (update, reason) in [
        (snapshot(4, &[vip(1)]), wire::rejected::Reason::Stale),
        (snapshot(5, &[vip(2)]), wire::rejected::Reason::Conflict),
        (
            wire::Update {
                digest: vec![0; 16],
                ..snapshot(6, &[vip(1)])
            },
            wire::rejected::Reason::Digest,
        ),
        (
            wire::Update {
                digest: vec![0; 3],
                ..snapshot(6, &[vip(1)])
            },
            wire::rejected::Reason::Invalid,
        ),
    ] {
        stream.send(update).await;
        let Message::Rejected(rejected) = stream.next().await else {
            panic!("{reason:?}");
        };
        assert_eq!(rejected.reason(), reason);
        assert_eq!(rejected.held_generation, 5);
    }
}

#[tokio::test]
async fn after_a_broken_stream_the_agent_comes_back_with_what_it_holds() {
    let mut rig = Rig::start().await;
    let (mut stream, _) = rig.stream().await;
    stream.send(snapshot(5, &[vip(1)])).await;
    assert!(matches!(stream.next().await, Message::Accepted(_)));
    drop(stream);
    let (_stream, hello) = rig.stream().await;
    assert_eq!(hello.held, Some((Generation(5), digest(&[vip(1)]))));
}

#[tokio::test]
async fn after_a_lost_controller_the_agent_comes_back() {
    let mut rig = Rig::start().await;
    let (stream, _) = rig.stream().await;
    rig.server.abort();
    drop(stream);
    let gone = |link: &Link| matches!(link.contact, Contact::Until(_));
    let waited = tokio::time::timeout(PATIENCE, rig.link.wait_for(gone)).await;
    waited.expect("in time").expect("link");
    assert!(rig.changes.try_recv().is_err(), "nothing is taken away");
}

#[test]
fn a_controller_that_takes_no_more_is_told_from_one_that_is_not_there() {
    let broken = |status: Refusal| StreamEnd::Broken(Box::new(status));
    for (end, ended) in [
        (
            broken(Refusal::resource_exhausted("enough")),
            Ended::Overloaded,
        ),
        (broken(Refusal::unavailable("not now")), Ended::Overloaded),
        (broken(Refusal::permission_denied("no")), Ended::Early),
        (StreamEnd::Closed, Ended::Early),
    ] {
        assert_eq!(end.of_attempt(None), ended);
    }
    let opened = Some(Instant::now());
    let enough = broken(Refusal::resource_exhausted("enough"));
    assert_eq!(enough.of_attempt(opened), Ended::Overloaded);
    let lost = broken(Refusal::unavailable("connection reset"));
    assert!(matches!(lost.of_attempt(opened), Ended::Stream(_)));
}

fn services(numbers: std::ops::Range<u8>) -> Vec<Item> {
    use weir_proto::model::{Frontend, Listener, Port, Protocol, ServiceName, VirtualService};
    let service = |last| {
        let frontend = Frontend::Address(Listener {
            address: [10, 1, 0, last].into(),
            port: Port::new(80).expect("port"),
            protocol: Protocol::Tcp,
        });
        let name = ServiceName::new("web").expect("name");
        Item::VirtualService(VirtualService::new(frontend, name))
    };
    numbers.map(service).collect()
}

#[tokio::test]
async fn what_would_take_away_too_much_is_held_back_until_it_is_released() {
    let mut rig = Rig::start().await;
    let (mut stream, _) = rig.stream().await;
    stream.send(snapshot(5, &services(0..24))).await;
    assert!(matches!(stream.next().await, Message::Accepted(_)));
    rig.changes.recv().await.expect("a change");
    stream.send(snapshot(6, &services(0..2))).await;
    // durable, and not on its way to the kernel
    assert_eq!(
        stream.next().await,
        Message::Accepted(wire::Accepted {
            generation: 6,
            ..wire::Accepted::default()
        })
    );
    let Message::Condition(condition) = stream.next().await else {
        panic!("its condition is told");
    };
    let hold = condition.hold.expect("a hold");
    assert_eq!((hold.generation, hold.dropped, hold.served), (6, 22, 24));
    assert!(rig.changes.try_recv().is_err());
    let path = rig.dir.path().join("journal");
    // told again to whoever comes next
    drop(stream);
    let (mut stream, hello) = rig.stream().await;
    assert_eq!(
        hello.held.map(|(generation, _)| generation),
        Some(Generation(6))
    );
    let again = stream.next().await;
    assert!(matches!(again, Message::Condition(told) if told.hold == Some(hold)));
    let release = |generation| wire::sync_response::Message::Release(wire::Release { generation });
    stream.say(release(6)).await;
    assert_eq!(
        stream.next().await,
        Message::Condition(wire::Condition::default())
    );
    let change = rig.changes.recv().await.expect("a change").change;
    assert_eq!(
        (change.generation, change.removed.len()),
        (Generation(6), 22)
    );
    rig.session.abort();
    let _ = rig.session.await;
    let (_, remembered) = Journal::open(&path, "boot").expect("journal");
    assert_eq!(remembered.keeping.hold, None);
    assert_eq!(remembered.keeping.accepted.generation, Generation(6));
}

#[tokio::test]
async fn a_backend_that_goes_is_drained_and_the_controller_told_how_far_that_is() {
    use weir_proto::model::{BackendKey, Endpoint, ItemKey, NodeBackend, OnDeadline, Port};
    let mut rig = Rig::start().await;
    let (mut stream, _) = rig.stream().await;
    let service = services(1..2).remove(0);
    let ItemKey::VirtualService(frontend) = service.key() else {
        panic!("no service");
    };
    let backend = Item::Backend(NodeBackend::new(BackendKey {
        frontend,
        endpoint: Endpoint {
            address: [10, 0, 0, 1].into(),
            port: Port::new(80).expect("port"),
        },
    }));
    stream
        .send(snapshot(1, &[service.clone(), backend.clone()]))
        .await;
    assert!(matches!(stream.next().await, Message::Accepted(_)));
    rig.changes.recv().await.expect("a change");
    stream
        .send(snapshot(2, std::slice::from_ref(&service)))
        .await;
    assert!(matches!(stream.next().await, Message::Accepted(_)));
    let begun = rig.changes.recv().await.expect("a change").begun;
    let ids: Vec<ItemKey> = begun.iter().map(|begun| begun.id().key).collect();
    assert_eq!(ids, [backend.key()]);
    let progress = DrainProgress {
        key: backend.key(),
        active: 4,
        inactive: 5,
        started_unix_ms: begun[0].started_unix_ms,
        deadline_unix_ms: begun[0].deadline_unix_ms,
        on_deadline: OnDeadline::Keep,
        done: false,
    };
    rig.drains.send_replace(vec![progress.clone()]);
    let told = wire::Drains {
        drains: vec![progress_to_wire(&progress)],
        count: 1,
    };
    assert_eq!(stream.next().await, Message::Drains(told));
    let path = rig.dir.path().join("journal");
    rig.session.abort();
    let _ = rig.session.await;
    let (_, remembered) = Journal::open(&path, "boot").expect("journal");
    assert_eq!(remembered.drains, begun);
}

#[tokio::test]
async fn repairs_are_told_once_each() {
    use crate::plan::Key;
    let mut rig = Rig::start().await;
    let (mut stream, _) = rig.stream().await;
    for at_unix_ms in [7, 8] {
        let repair = weir_proto::model::Repair {
            object: "link weir0".to_owned(),
            kind: "link".to_owned(),
            found: String::new(),
            expected: "up".to_owned(),
            at_unix_ms,
        };
        let told = wire::Repairs {
            repairs: vec![repair_to_wire(&repair)],
            counts: [("link".to_owned(), 1)].into_iter().collect(),
        };
        rig.repairs
            .send_modify(|repairs| repairs.note(Key::Link, repair));
        assert_eq!(stream.next().await, Message::Repairs(told));
    }
}

/// Makes the directory of a journal one that nothing can be written in, or again one that can be.
fn let_write(path: &std::path::Path, may: bool) {
    // root may write anywhere: what is no directory cannot be written in
    let aside = path.with_extension("aside");
    if may {
        std::fs::remove_file(path).expect("removed");
        std::fs::rename(&aside, path).expect("back");
    } else {
        std::fs::rename(path, &aside).expect("aside");
        std::fs::write(path, "in the way").expect("in the way");
    }
}

#[tokio::test]
async fn an_agent_that_cannot_write_takes_nothing_says_so_and_goes_on_when_it_can() {
    use crate::plan::Ledger;
    let mut rig = Rig::start().await;
    let (mut stream, _) = rig.stream().await;
    stream.send(snapshot(5, &[vip(1)])).await;
    assert!(matches!(stream.next().await, Message::Accepted(_)));
    rig.changes.recv().await.expect("a change");
    let path = rig.dir.path().join("journal");
    let_write(&path, false);
    stream.send(snapshot(6, &[vip(2)])).await;
    let mut told = [stream.next().await, stream.next().await];
    // the refusal and the reason, whichever is quicker
    if matches!(told[0], Message::Condition(_)) {
        told.reverse();
    }
    let [Message::Rejected(rejected), Message::Condition(condition)] = told else {
        panic!("it cannot be taken, and its condition is told: {told:?}");
    };
    assert_eq!(rejected.reason(), wire::rejected::Reason::Journal);
    assert_eq!(rejected.held_generation, 5);
    assert!(condition.degraded.is_some());
    assert!(
        rig.changes.try_recv().is_err(),
        "nothing is on its way to the kernel"
    );
    let_write(&path, true);
    // what is ours is asked for, and the journal made of that and of what is in memory
    let ask = tokio::time::timeout(PATIENCE, rig.asked.recv()).await;
    let ask = ask.expect("in time").expect("asked");
    let Ask::Remembered(answer) = ask else {
        panic!("what is to be remembered is asked for: {ask:?}");
    };
    answer
        .send((Ledger::default(), Vec::new()))
        .expect("waited for");
    let (mut stream, hello) = rig.stream().await;
    assert_eq!(hello.held, Some((Generation(5), digest(&[vip(1)]))));
    stream.send(snapshot(7, &[vip(2)])).await;
    assert!(matches!(stream.next().await, Message::Accepted(_)));
    rig.session.abort();
    let _ = rig.session.await;
    let (journal, remembered) = Journal::open(&path, "boot").expect("journal");
    assert_eq!(remembered.keeping.accepted.generation, Generation(7));
    assert_eq!(*journal.degraded().borrow(), None);
}
