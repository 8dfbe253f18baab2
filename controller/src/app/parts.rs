//! A controller without its doors to the outside: connections are taken by somebody else, and there are no admin pages.

use std::io;
use std::path::PathBuf;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_stream::Stream;
use tonic::transport::server::Connected;
use weir_proto::tls::Peer;

use crate::cluster::Cluster;
use crate::desired::Pace;
use crate::metrics::Metrics;
use crate::rpc;
use crate::store::DiskStore;
use crate::traffic::Traffic;

/// How large a fleet is taken to be, however many nodes it has.
#[derive(Debug, Clone, Copy)]
pub enum Size {
    /// Agents answer at once, and what is kept of each node is written when it changes.
    Small,
    /// All agents together answer so many times a second, and what is kept of nodes is written in turn.
    Large {
        /// Answers in a second.
        answers_per_second: u64,
    },
}

/// Serves operators and agents on connections as they come, each with who is at its other end, out of the store in
/// `data_dir`, until the store takes no write or no more connections come. Cut off at any point it has lost nothing that it
/// acknowledged.
pub async fn serve<I>(
    incoming: impl Stream<Item = io::Result<I>>,
    data_dir: PathBuf,
    size: Size,
) -> anyhow::Result<()>
where
    I: AsyncRead + AsyncWrite + Connected<ConnectInfo = Peer> + Unpin + Send + 'static,
{
    let metrics = Metrics::register(&mut Registry::default());
    let (store, saved) = DiskStore::open(data_dir).await?;
    let (pace, store) = match size {
        Size::Small => (Pace::default(), store),
        Size::Large { answers_per_second } => (Pace { answers_per_second }, store.putting_off()),
    };
    let (cluster, owner) = Cluster::start_at(pace, store, saved, metrics);
    let traffic = Traffic::start(cluster.clone());
    let (stop, stopping) = watch::channel(false);
    let served = tokio::select! {
        served = rpc::serve(incoming, cluster, traffic, stopping) => served.context("the gRPC server failed"),
        ended = owner => {
            let ended = ended.context("the cluster's task failed")?;
            ended.context("the store took no write")
        }
    };
    drop(stop);
    served
}
