//! Takes connections. Handshakes go on beside each other and none may take long, so that a peer which says nothing keeps
//! nobody waiting.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream as Connections;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::certificate::Certificate;
use super::connection::{Connection, Peer, Proof, Stream};
use super::files::Tls;
use super::words;

/// Handshakes under way. One takes some 20 kB and a millisecond of a core; whoever comes beyond them waits in the listener's
/// queue, for as long as one handshake may take at most.
const HANDSHAKES: usize = 512;
/// Two round trips around the world, and a fleet of 5,000 that comes back at once on one core.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);
/// Connections that are there at a time: thrice the agents of the largest fleet meant, and far below what a process may open
/// where `LimitNOFILE` is as the unit has it.
const CONNECTIONS: usize = 16_384;
/// Connections that are ready and wait to be served: serving one begins at once.
const READY: usize = 16;
/// When no more files can be opened, some will have been closed by then.
const PAUSE: Duration = Duration::from_millis(100);
/// A peer that is refused reads why within this; were the socket closed before, that would be lost.
const PARTING: Duration = Duration::from_secs(1);

/// Connections as they come, each with who is at the other end. Dropped, it takes no more.
#[derive(Debug)]
pub struct Incoming {
    ready: mpsc::Receiver<Connection>,
    accepting: JoinHandle<()>,
}

impl Incoming {
    /// Takes connections from a listener: over TLS, or plaintext from whoever reaches it. Runs in the current runtime.
    pub fn new(listener: TcpListener, tls: Option<Arc<Tls>>) -> Self {
        let (sender, ready) = mpsc::channel(READY);
        let accepting = tokio::spawn(accept(listener, tls, sender));
        Self { ready, accepting }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Connections for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(cx).map(|next| next.map(Ok))
    }
}

async fn accept(listener: TcpListener, tls: Option<Arc<Tls>>, ready: mpsc::Sender<Connection>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut handshakes = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        while handshakes.len() >= HANDSHAKES {
            handshakes.join_next().await;
        }
        while handshakes.try_join_next().is_some() {}
        let (socket, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(cause) => {
                warn!(
                    error = &cause as &dyn std::error::Error,
                    "no connection can be taken"
                );
                sleep(PAUSE).await;
                continue;
            }
        };
        // small messages go out at once: an error only costs time
        let _ = socket.set_nodelay(true);
        let (tls, ready) = (tls.clone(), ready.clone());
        handshakes.spawn(async move {
            if let Some(connection) = begin(socket, address, tls, place).await {
                let _ = ready.send(connection).await;
            }
        });
    }
}

/// Finds out who is there; none: it is refused, and was told so.
async fn begin(
    socket: TcpStream,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    place: OwnedSemaphorePermit,
) -> Option<Connection> {
    let (stream, proof) = match tls {
        None => (Stream::Plain(socket), Proof::Unasked),
        Some(tls) => {
            let shaken = timeout(HANDSHAKE_PATIENCE, shake(socket, address, &tls)).await;
            shaken.unwrap_or_else(|_| {
                debug!(peer = %address, "no handshake within 5 s");
                None
            })?
        }
    };
    Some(Connection {
        stream,
        peer: Peer { address, proof },
        _place: place,
    })
}

async fn shake(socket: TcpStream, address: SocketAddr, tls: &Tls) -> Option<(Stream, Proof)> {
    let loaded = match tls.now() {
        Ok(loaded) => loaded,
        Err(error) => {
            warn!(
                error = &error as &dyn std::error::Error,
                "nobody can be let in"
            );
            return None;
        }
    };
    let acceptor = TlsAcceptor::from(loaded.server.clone());
    let stream = match acceptor.accept(socket).into_fallible().await {
        Ok(stream) => stream,
        Err((cause, socket)) => {
            refuse(&cause, address);
            part(socket).await;
            return None;
        }
    };
    let chain = stream.get_ref().1.peer_certificates();
    let proof = match chain.and_then(<[_]>::first) {
        None => Proof::Missing,
        // the verifier has read it before
        Some(own) => match Certificate::read_of(own, &loaded.own.domain) {
            Ok(certificate) => Proof::Shown(certificate),
            Err(_) => Proof::Missing,
        },
    };
    Some((Stream::Tls(Box::new(stream)), proof))
}

fn refuse(cause: &io::Error, address: SocketAddr) {
    match words::of_caller(cause) {
        Some(why) => warn!(target: "audit", peer = %address, why, "connection refused"),
        // it went away, or was a probe that says nothing
        None => debug!(peer = %address, error = cause as &dyn std::error::Error, "no handshake"),
    }
}

/// Closes a connection so that what was said last, why it is refused, is read.
async fn part(mut socket: TcpStream) {
    let _ = socket.shutdown().await;
    let mut rest = [0; 1024];
    let drained = async { while matches!(socket.read(&mut rest).await, Ok(1..)) {} };
    let _ = timeout(PARTING, drained).await;
}
