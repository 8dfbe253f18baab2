//! etcd as Debian ships it, and watchers of one key, each on a connection of its own.
//!
//! The messages are those of `etcdserverpb/rpc.proto` and `mvccpb/kv.proto` of etcd 3.4, as far as they are needed here.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use prost::Message;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;
use weir_agent::session;
use weir_integration::client;
use weir_integration::daemon::Daemon;
use weir_proto::model::Identity;

use crate::board::Board;
use crate::controller::free_port;
use crate::pki::{self, Pki};
use crate::process;
use crate::wire::{Line, Meter};

const PATIENCE: Duration = Duration::from_secs(60);
const PAGE_PATIENCE: Duration = Duration::from_secs(10);
const KEY: &[u8] = b"weir/backend";
/// To know what a watcher is sent beside the value, and for etcd's own caches.
const WARM_UP: usize = 10;
/// The first is told whatever its length; more would not fit what the first ones say of their size.
const LONGEST: usize = 64 << 10;

/// An etcd with nothing in it.
#[derive(Debug)]
pub(crate) struct Etcd {
    address: SocketAddr,
    pki: Pki,
    daemon: Daemon,
    runtime: Runtime,
    audience: Option<Audience>,
    /// Of the values that are told.
    length: usize,
    /// Goes after the daemon that writes to it.
    _dir: TempDir,
}

/// What telling took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Told {
    pub(crate) cpu: Duration,
    /// To all watchers together.
    pub(crate) bytes: u64,
}

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct PutResponse {}

#[derive(Clone, PartialEq, Message)]
struct WatchRequest {
    #[prost(message, optional, tag = "1")]
    create_request: Option<WatchCreateRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct WatchCreateRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct WatchResponse {
    #[prost(bool, tag = "3")]
    created: bool,
    #[prost(message, repeated, tag = "11")]
    events: Vec<Event>,
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(message, optional, tag = "2")]
    kv: Option<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    /// Counts the changes of the key, from 1.
    #[prost(int64, tag = "4")]
    version: i64,
}

/// Watchers at work, and whoever changes what they watch.
#[derive(Debug)]
struct Audience {
    board: Board,
    meter: Meter,
    watchers: usize,
    writer: Grpc<Channel>,
    version: u64,
    /// What keeps the watches open.
    _requests: Vec<mpsc::Sender<WatchRequest>>,
}

impl Etcd {
    /// Starts one where the calling thread is, and waits until it serves.
    pub(crate) fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let (address, peer) = (free_port()?, free_port()?);
        let program = std::env::var_os("WEIR_ETCD").unwrap_or_else(|| "etcd".into());
        let mut command = Command::new(program);
        let url = |address: SocketAddr| format!("https://{address}");
        let pki = Pki::make()?;
        let files = pki.files(&Identity::Controller)?;
        let health = free_port()?;
        command
            .arg("--data-dir")
            .arg(dir.path().join("data"))
            .args(["--name", "bench", "--log-level", "error"])
            .args(["--listen-client-urls", &url(address)])
            .args(["--advertise-client-urls", &url(address)])
            .args(["--listen-peer-urls", &format!("http://{peer}")])
            .args(["--initial-advertise-peer-urls", &format!("http://{peer}")])
            .args(["--initial-cluster", &format!("bench=http://{peer}")])
            .args(["--listen-metrics-urls", &format!("http://{health}")])
            // as ours, it knows its callers by certificates; its gateway to HTTP would call itself without one
            .args(["--client-cert-auth", "--enable-grpc-gateway=false"])
            .arg("--cert-file")
            .arg(files.certificate)
            .arg("--key-file")
            .arg(files.key)
            .arg("--trusted-ca-file")
            .arg(files.authority);
        let mut daemon = Daemon::start("etcd", command, dir.path())?;
        let healthy = || Ok(client::page(health, "/health", PAGE_PATIENCE).map(drop)?);
        daemon.ready(PATIENCE, healthy)?;
        Ok(Self {
            address,
            pki,
            daemon,
            runtime: Builder::new_current_thread().enable_all().build()?,
            audience: None,
            length: 0,
            _dir: dir,
        })
    }

    /// Has so many watch it, each of whom is to be told so many bytes at each change, as near as a value can bring it.
    pub(crate) fn gather(&mut self, watchers: usize, bytes: f64) -> Result<()> {
        let line = Line {
            endpoint: session::endpoint(&format!("https://{}", self.address))?,
            tls: self.pki.caller(&pki::operator()?)?,
            meter: Meter::default(),
        };
        self.runtime.block_on(async {
            let mut audience = Audience::gather(line, watchers).await?;
            let told = audience.changes(WARM_UP, 0).await?;
            let beside = told as f64 / (WARM_UP * watchers) as f64;
            self.length = ((bytes - beside).max(0.0).round() as usize).min(LONGEST);
            self.audience = Some(audience);
            Ok(())
        })
    }

    /// Changes a key again and again, each time until every watcher has heard.
    pub(crate) fn tell(&mut self, changes: usize) -> Result<Told> {
        let process = self.daemon.process();
        let audience = self.audience.as_mut().context("nobody watches")?;
        let before = process::cpu(process)?;
        let bytes = audience.changes(changes, self.length);
        let bytes = self.runtime.block_on(bytes)?;
        Ok(Told {
            cpu: process::cpu(process)? - before,
            bytes,
        })
    }
}

impl Audience {
    async fn gather(line: Line, watchers: usize) -> Result<Self> {
        let board = Board::default();
        let mut requests = Vec::with_capacity(watchers);
        for watcher in 0..watchers {
            let channel = line.connect().await?;
            let (request, watched) = watch(channel).await?;
            requests.push(request);
            tokio::spawn(listen(watched, board.clone(), watcher));
        }
        let writer = Line {
            meter: Meter::default(),
            ..line.clone()
        };
        let writer = writer.connect().await?;
        Ok(Self {
            board,
            meter: line.meter,
            watchers,
            writer: Grpc::new(writer),
            version: 0,
            _requests: requests,
        })
    }

    /// Makes changes with values of a length, and gives how many bytes all watchers were sent.
    async fn changes(&mut self, changes: usize, length: usize) -> Result<u64> {
        let before = self.meter.bytes();
        for _ in 0..changes {
            self.version += 1;
            self.board.expect(self.version, vec![1; self.watchers]);
            let request = PutRequest {
                key: KEY.to_vec(),
                value: vec![b'x'; length],
            };
            self.writer.ready().await?;
            let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
            let codec: ProstCodec<PutRequest, PutResponse> = ProstCodec::default();
            self.writer
                .unary(Request::new(request), path, codec)
                .await?;
            self.board.all(PATIENCE).await?;
        }
        Ok(self.meter.bytes().read - before.read)
    }
}

/// Begins to watch the key, and waits until that is confirmed.
async fn watch(channel: Channel) -> Result<(mpsc::Sender<WatchRequest>, Streaming<WatchResponse>)> {
    let (requests, outgoing) = mpsc::channel(1);
    let create_request = WatchCreateRequest { key: KEY.to_vec() };
    let request = WatchRequest {
        create_request: Some(create_request),
    };
    requests.send(request).await.context("a watch that ended")?;
    let mut grpc = Grpc::new(channel);
    grpc.ready().await?;
    let path = PathAndQuery::from_static("/etcdserverpb.Watch/Watch");
    let codec: ProstCodec<WatchRequest, WatchResponse> = ProstCodec::default();
    let outgoing = Request::new(ReceiverStream::new(outgoing));
    let mut watched = grpc.streaming(outgoing, path, codec).await?.into_inner();
    let first = watched.message().await?.context("a watch that ended")?;
    anyhow::ensure!(first.created, "a watch that is not made");
    Ok((requests, watched))
}

async fn listen(mut watched: Streaming<WatchResponse>, board: Board, watcher: usize) {
    // when it ends, its changes are missed, and that is told
    while let Ok(Some(response)) = watched.message().await {
        for event in response.events {
            let version = event.kv.map_or(0, |kv| kv.version);
            board.saw(watcher, version.unsigned_abs());
        }
    }
}
