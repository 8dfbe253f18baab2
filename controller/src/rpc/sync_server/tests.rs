use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::codegen::http::{HeaderName, HeaderValue};
use tonic::transport::{Channel, Endpoint, Server};
use weir_proto::model::Resource;
use weir_proto::tls::Incoming;
use weir_proto::wire::node_sync_client::NodeSyncClient;
use weir_proto::wire::sync_request;
use weir_proto::wire::sync_response::Message as Said;

use super::*;
use crate::cluster::{Cluster, WriteOptions};
use crate::desired::Places;
use crate::desired::samples::service;
use crate::metrics::Metrics;
use crate::rpc::roles::Roles;
use crate::store::memory::MemoryStore;

/// What all of it takes at most, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// The window of HTTP/2 where nobody says otherwise (RFC 9113 section 6.9.2): the smallest one that is met.
const WINDOW: u32 = 65_535;
/// Streams that share one window.
const STREAMS: usize = 24;
/// Some MiB, and so several chunks.
const BACKENDS: u32 = 16_000;

/// An update of which so many bytes are its agent's own, and so many common.
fn update(own: usize, common: usize) -> Frame {
    let common = (common > 0).then(|| vec![2; common].into());
    Frame::Update(Chunk {
        own: vec![1; own],
        common,
    })
}

/// Gives the data and the trailers of a response.
async fn body(frames: Vec<Result<Frame, Status>>) -> (Vec<Bytes>, HeaderMap) {
    let (sender, receiver) = mpsc::channel(frames.len().max(1));
    for frame in frames {
        sender.send(frame).await.expect("room");
    }
    drop(sender);
    let mut messages = Messages::new(ReceiverStream::new(receiver));
    let (mut data, mut trailers) = (Vec::new(), HeaderMap::new());
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut messages).poll_frame(cx)).await {
        let frame = frame.expect("a frame");
        match frame.into_data() {
            Ok(bytes) => data.push(bytes),
            Err(frame) => trailers = frame.into_trailers().expect("trailers"),
        }
    }
    assert!(messages.is_end_stream());
    (data, trailers)
}

/// Gives the bytes of an update behind gRPC's prefix and the envelope.
fn within(message: &[u8]) -> &[u8] {
    let (prefix, mut rest) = message.split_at(PREFIX);
    let length = u32::try_from(rest.len()).expect("short").to_be_bytes();
    assert_eq!(prefix, [[0].as_slice(), &length].concat());
    let key = prost::encoding::decode_key(&mut rest).expect("a key");
    assert_eq!(key, (UPDATE, WireType::LengthDelimited));
    let length = prost::encoding::decode_varint(&mut rest).expect("a length");
    assert_eq!(length, rest.len() as u64);
    rest
}

#[tokio::test]
async fn what_is_small_goes_in_one_piece() {
    for common in [0, 1, COPIED] {
        let (data, _) = body(vec![Ok(update(300, common))]).await;
        let [message] = data.as_slice() else {
            panic!("{} pieces", data.len());
        };
        assert_eq!(within(message), [vec![1; 300], vec![2; common]].concat());
    }
}

#[tokio::test]
async fn what_is_common_and_large_goes_from_where_it_is() {
    let frame = update(70_000, COPIED + 1);
    let Frame::Update(Chunk {
        common: Some(common),
        ..
    }) = frame.clone()
    else {
        panic!("something is common");
    };
    let (data, _) = body(vec![Ok(frame)]).await;
    let [first, rest] = data.as_slice() else {
        panic!("{} pieces", data.len());
    };
    assert_eq!(rest.as_ptr(), common.as_ptr());
    let message = [first.as_ref(), rest.as_ref()].concat();
    assert_eq!(
        within(&message),
        [vec![1; 70_000], common.to_vec()].concat()
    );
}

#[tokio::test]
async fn a_release_reads_as_a_response() {
    let release = wire::Release { generation: 7 };
    let (data, _) = body(vec![Ok(Frame::Release(release))]).await;
    let [message] = data.as_slice() else {
        panic!("{} pieces", data.len());
    };
    let (prefix, rest) = message.split_at(PREFIX);
    let read = wire::SyncResponse::decode(rest).expect("a response");
    assert_eq!(
        prefix,
        [0, 0, 0, 0, u8::try_from(rest.len()).expect("short")]
    );
    let message = Some(wire::sync_response::Message::Release(release));
    assert_eq!(read, wire::SyncResponse { message });
}

#[tokio::test]
async fn a_stream_ends_by_saying_how() {
    let (data, trailers) = body(vec![Ok(update(1, 0))]).await;
    assert_eq!(data.len(), 1);
    assert_eq!(trailers, HeaderMap::from_iter([status("0")]));
    let (data, trailers) = body(vec![Err(Status::aborted("gone"))]).await;
    assert_eq!(data, Vec::<Bytes>::new());
    let said = "grpc-message".parse().expect("a name");
    let said = (said, "gone".parse().expect("a value"));
    assert_eq!(trailers, HeaderMap::from_iter([status("10"), said]));
}

fn status(code: &str) -> (HeaderName, HeaderValue) {
    let name = "grpc-status".parse().expect("a name");
    (name, code.parse().expect("a value"))
}

#[test]
fn messages_that_are_compressed_are_refused() {
    let headers = |value: &str| {
        let name: HeaderName = "grpc-encoding".parse().expect("a name");
        HeaderMap::from_iter([(name, value.parse().expect("a value"))])
    };
    assert!(uncompressed(&HeaderMap::new()).is_ok());
    assert!(uncompressed(&headers("identity")).is_ok());
    let refused = uncompressed(&headers("gzip")).expect_err("refused");
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
}

async fn apply(cluster: &Cluster, name: &str, frontend: &str, backends: u32) {
    let behind: Vec<String> = (0..backends)
        .map(|number| format!("{}:80", Ipv4Addr::from(0x0a00_0001 + number)))
        .collect();
    let behind: Vec<&str> = behind.iter().map(String::as_str).collect();
    let service = service(name, &[frontend], &behind);
    let applied = cluster.apply(
        vec![Resource::Service(service)],
        Places::default(),
        WriteOptions::default(),
    );
    applied.await.expect("written");
}

/// Reads one whole update, and answers it. Gives how many items it brings, in how many chunks.
async fn take(
    updates: &mut Streaming<wire::SyncResponse>,
    answers: &mpsc::Sender<wire::SyncRequest>,
) -> (usize, usize) {
    let (mut items, mut chunks) = (0, 0);
    loop {
        let response = updates.message().await.expect("no error");
        let Some(Said::Update(update)) = response.expect("no end").message else {
            continue;
        };
        items += update.upserted.len();
        chunks += 1;
        if update.last {
            let accepted = wire::Accepted {
                generation: update.generation,
                ..wire::Accepted::default()
            };
            let message = Some(sync_request::Message::Accepted(accepted));
            let answer = wire::SyncRequest { message };
            answers.send(answer).await.expect("it is heard");
            return (items, chunks);
        }
    }
}

/// Begins the stream of an agent, among others of the same connection.
async fn agent(
    channel: Channel,
    number: usize,
) -> (
    Streaming<wire::SyncResponse>,
    mpsc::Sender<wire::SyncRequest>,
) {
    let (answers, requests) = mpsc::channel(1);
    let hello = wire::Hello {
        node: format!("node-{number}"),
        ..wire::Hello::default()
    };
    let message = Some(sync_request::Message::Hello(hello));
    let hello = wire::SyncRequest { message };
    answers.send(hello).await.expect("room");
    let mut client = NodeSyncClient::new(channel).max_decoding_message_size(4 << 20);
    let updates = client.sync(ReceiverStream::new(requests)).await;
    (updates.expect("a stream").into_inner(), answers)
}

#[tokio::test]
async fn many_streams_that_share_a_small_window_all_get_what_is_many_times_as_large() {
    let store = MemoryStore::default();
    let saved = store.saved();
    let cluster = Cluster::start(store, saved, Metrics::default()).0;
    apply(&cluster, "large", "10.1.0.1:80", BACKENDS).await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a listener");
    let address = listener.local_addr().expect("an address");
    let (_stop, stopping) = watch::channel(false);
    let service = NodeSyncService::new(cluster.clone(), stopping);
    let serving = Server::builder()
        .layer(Roles)
        .add_service(SyncServer::new(service, 1 << 20))
        .serve_with_incoming(Incoming::new(listener, None));
    let serving = tokio::spawn(serving);
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    let endpoint = endpoint.expect("an endpoint");
    let endpoint = endpoint
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    let channel = endpoint.connect().await.expect("a connection");

    let (taken, mut first) = mpsc::channel(STREAMS);
    let mut agents = JoinSet::new();
    for number in 0..STREAMS {
        let (channel, taken) = (channel.clone(), taken.clone());
        agents.spawn(async move {
            let (mut updates, answers) = agent(channel, number).await;
            let snapshot = take(&mut updates, &answers).await;
            taken.send(snapshot).await.expect("it is waited for");
            take(&mut updates, &answers).await.0
        });
    }
    drop(taken);
    for _ in 0..STREAMS {
        let next = timeout(PATIENCE, first.recv()).await.expect("in time");
        let (items, chunks) = next.expect("no panic");
        // each backend, and the frontend, its address, and what else it needs
        assert!(items > BACKENDS as usize, "{items} items");
        assert!(chunks > 1, "{chunks} chunk");
    }
    // the same streams go on
    apply(&cluster, "small", "10.1.0.2:80", 1).await;
    let rest = timeout(PATIENCE, agents.join_all()).await.expect("in time");
    assert!(rest.iter().all(|items| *items > 1), "{rest:?}");
    serving.abort();
}
