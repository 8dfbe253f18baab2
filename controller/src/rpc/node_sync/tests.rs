use std::collections::VecDeque;
use std::pin::Pin;
use std::task::Waker;

use tokio_stream::{Stream as _, StreamExt as _};
use weir_proto::model::{Identity, Resource};

use super::super::sync_server::Frame;
use super::*;
use crate::cluster::WriteOptions;
use crate::desired::Places;
use crate::desired::samples::{node_name, service};
use crate::metrics::Metrics;
use crate::store::memory::MemoryStore;

/// An agent that says these, and then nothing more.
struct Script(VecDeque<wire::SyncRequest>);

impl Requests for Script {
    async fn next(&mut self) -> Result<Option<wire::SyncRequest>, Status> {
        match self.0.pop_front() {
            Some(request) => Ok(Some(request)),
            None => std::future::pending().await,
        }
    }
}

fn hello(node: &str) -> wire::SyncRequest {
    wire::SyncRequest {
        message: Some(Message::Hello(wire::Hello {
            node: node.to_owned(),
            ..wire::Hello::default()
        })),
    }
}

fn start() -> Cluster {
    let store = MemoryStore::default();
    let saved = store.saved();
    Cluster::start(store, saved, Metrics::default()).0
}

async fn apply(cluster: &Cluster, weight: u32) {
    let web = service("web", &["10.1.0.1:80"], &[&format!("10.0.0.1:80*{weight}")]);
    let applied = cluster.apply(
        vec![Resource::Service(web)],
        Places::default(),
        WriteOptions::default(),
    );
    applied.await.expect("written");
}

/// Makes both halves of a stream that does not end by itself.
fn stream<R>(cluster: &Cluster, requests: R) -> (Stream<R>, oneshot::Sender<Status>, Telling) {
    let (teller, telling) = Telling::new(cluster.metrics());
    let Teller {
        begin,
        end,
        due,
        questions,
    } = teller;
    let stream = Stream {
        cluster: cluster.clone(),
        requests,
        begin: Some(begin),
        who: Identity::Anonymous,
        expires_unix_ms: None,
        due,
        durable: None,
        questions,
    };
    (stream, end, telling)
}

type Ended = tokio::task::JoinHandle<Result<(), Status>>;

fn run<R: Requests + 'static>(stream: Stream<R>, mut end: oneshot::Sender<Status>) -> Ended {
    tokio::spawn(async move { stream.run(&mut end).await })
}

fn serve(cluster: &Cluster, node: &str) -> (Telling, Ended) {
    let (stream, end, frames) = stream(cluster, Script([hello(node)].into()));
    (frames, run(stream, end))
}

/// Asks for more, and says whether there is none: what was given out is read.
fn is_idle(frames: &mut Telling) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    Pin::new(frames).poll_next(&mut context).is_pending()
}

async fn disconnection(cluster: &Cluster, node: &str) -> String {
    let statuses = cluster.statuses(vec![node_name(node)]).await;
    let mut nodes = statuses.expect("statuses").nodes;
    nodes.pop().expect("a node").disconnection
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_reads_nothing_is_cut_after_a_while_and_others_hear_at_once() {
    let cluster = start();
    apply(&cluster, 1).await;
    let began = Instant::now();
    let (mut unread, stalled) = serve(&cluster, "stalled");
    // it goes to where the connection is written to, and there is no room for more
    assert!(matches!(unread.next().await, Some(Ok(Frame::Update(_)))));
    let (mut frames, _other) = serve(&cluster, "other");
    let first = frames.next().await.expect("an update");
    assert!(matches!(first, Ok(Frame::Update(_))));
    assert_eq!(began.elapsed(), Duration::ZERO);
    let ended = stalled.await.expect("no panic").expect_err("it is cut");
    assert_eq!(ended.message(), "this agent did not read for 30 s");
    assert_eq!(began.elapsed(), PATIENCE);
    assert_eq!(
        disconnection(&cluster, "stalled").await,
        "did not read for 30 s"
    );
    drop(unread);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_reads_and_never_answers_is_cut_as_well() {
    let cluster = start();
    apply(&cluster, 1).await;
    let (mut frames, silent) = serve(&cluster, "silent");
    assert!(matches!(frames.next().await, Some(Ok(Frame::Update(_)))));
    assert!(is_idle(&mut frames));
    let ended = silent.await.expect("no panic").expect_err("it is cut");
    assert_eq!(
        ended.message(),
        "this agent did not answer an update for 30 s"
    );
    assert_eq!(
        disconnection(&cluster, "silent").await,
        "did not answer an update for 30 s"
    );
}

/// An agent that takes a second for each thing it says.
struct Slow(Script);

impl Requests for Slow {
    async fn next(&mut self) -> Result<Option<wire::SyncRequest>, Status> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.0.next().await
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_only_says_again_what_it_held_has_answered_nothing() {
    let cluster = start();
    apply(&cluster, 1).await;
    let held = wire::SyncRequest {
        message: Some(Message::Accepted(wire::Accepted {
            generation: 7,
            ..wire::Accepted::default()
        })),
    };
    let says = Slow(Script([hello("again"), held].into()));
    let (stream, end, mut frames) = stream(&cluster, says);
    let again = run(stream, end);
    assert!(matches!(frames.next().await, Some(Ok(Frame::Update(_)))));
    assert!(is_idle(&mut frames));
    let ended = timeout(PATIENCE * 2, again).await.expect("it ends");
    let ended = ended.expect("no panic").expect_err("it is cut");
    assert_eq!(
        ended.message(),
        "this agent did not answer an update for 30 s"
    );
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_has_nothing_to_answer_is_left_alone() {
    let cluster = start();
    let (frames, quiet) = serve(&cluster, "quiet");
    let still = timeout(PATIENCE * 10, quiet).await;
    assert!(still.is_err(), "it ended: {still:?}");
    drop(frames);
}

#[tokio::test(start_paused = true)]
async fn the_stream_of_an_agent_whose_answers_nobody_takes_has_ended() {
    let cluster = start();
    let (frames, closing) = serve(&cluster, "closing");
    let mut connected = cluster.nodes_changed();
    connected.changed().await.expect("it says hello");
    drop(frames);
    assert!(closing.await.expect("no panic").is_ok());
    assert_eq!(disconnection(&cluster, "closing").await, "its stream ended");
}

#[tokio::test]
async fn a_stream_takes_little_while_nothing_is_said() {
    let (stream, mut end, _frames) = stream(&start(), Script([hello("node")].into()));
    // each agent has one for as long as it is connected
    let bytes = std::mem::size_of_val(&stream.run(&mut end));
    assert!(bytes <= 2_560, "{bytes} bytes");
}

#[tokio::test]
async fn an_agent_whose_certificate_expires_is_told_so_and_the_status_says_it() {
    let cluster = start();
    let (stream, end, _frames) = stream(&cluster, Script([hello("old")].into()));
    let stream = Stream {
        who: Identity::Node(node_name("old")),
        expires_unix_ms: Some(weir_proto::machine::now_unix_ms() + 100),
        ..stream
    };
    let ended = timeout(PATIENCE, run(stream, end)).await.expect("it ends");
    let ended = ended.expect("no panic");
    let ended = ended.expect_err("it is told why");
    assert_eq!(ended.code(), tonic::Code::Unauthenticated);
    assert_eq!(
        ended.message(),
        "the certificate of node/old expired while it was connected; come back with another"
    );
    assert_eq!(
        disconnection(&cluster, "old").await,
        "its certificate expired"
    );
}
