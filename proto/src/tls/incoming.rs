//! Takes connections. Handshakes go on beside each other and none may take long, so that a peer which says nothing keeps
//! nobody waiting; and who does not say who it is has few places, of which none is taken from those who do.

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
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use super::alarm::Alarm;
use super::certificate::Certificate;
use super::connection::{Connection, End, Peer, Proof, Stream};
use super::expiry::expiry;
use super::files::Tls;
use super::handshakes::Handshakes;
use super::words;

/// From when a connection is taken until it is served: two round trips around the world, and a fleet of 5,000 that comes
/// back at once on one core.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections that are there at a time, of those who said who they are: thrice the agents of the largest fleet meant, and
/// far below what a process may open where `LimitNOFILE` is as the unit has it.
const CONNECTIONS: usize = 16_384;
/// Connections of those who have no certificate. No call of them is served: they are let in only to be told so.
const STRANGERS: usize = 64;
/// How long that may take.
const STRANGERS_PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection outlasts the certificate that opened it: within it each stream on it is told why it ends.
const LAST_WORDS: Duration = Duration::from_secs(5);
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

/// How many connections may be there at a time.
#[derive(Debug, Clone)]
struct Places {
    /// Of those who said who they are, and of all where nobody is asked.
    known: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

impl Places {
    /// Waits for a place that is fit for somebody; none: it is not waited for.
    async fn take(&self, proof: &Proof) -> Option<OwnedSemaphorePermit> {
        match proof {
            Proof::Unasked | Proof::Shown(_) => self.known.clone().acquire_owned().await.ok(),
            Proof::Missing => self.strangers.clone().try_acquire_owned().ok(),
        }
    }
}

async fn accept(listener: TcpListener, tls: Option<Arc<Tls>>, ready: mpsc::Sender<Connection>) {
    let places = Places {
        known: Arc::new(Semaphore::new(CONNECTIONS)),
        strangers: Arc::new(Semaphore::new(STRANGERS)),
    };
    let mut handshakes = Handshakes::default();
    loop {
        handshakes.room().await;
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
        let (tls, ready, places) = (tls.clone(), ready.clone(), places.clone());
        handshakes.begin(address, async move {
            let begun = timeout(PATIENCE, begin(socket, address, tls, &places)).await;
            match begun {
                Ok(Some(connection)) => {
                    let _ = ready.send(connection).await;
                }
                Ok(None) => {}
                Err(_) => debug!(peer = %address, "no handshake, or no place, within 5 s"),
            }
        });
    }
}

/// Finds out who is there, and gives it a place; none: it is refused, and was told so.
async fn begin(
    socket: TcpStream,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    places: &Places,
) -> Option<Connection> {
    let (stream, proof) = match tls {
        None => (Stream::Plain(socket), Proof::Unasked),
        Some(tls) => shake(socket, address, &tls).await?,
    };
    let Some(place) = places.take(&proof).await else {
        debug!(peer = %address, "no place is left for those without a certificate");
        return None;
    };
    Some(Connection {
        stream,
        end: end(&proof),
        peer: Peer { address, proof },
        _place: place,
    })
}

/// Gives until when somebody's connection may last.
fn end(proof: &Proof) -> End {
    match proof {
        Proof::Unasked => End::Theirs,
        Proof::Missing => End::When(Alarm::new(sleep(STRANGERS_PATIENCE))),
        Proof::Shown(certificate) => {
            let expires = certificate.expires_unix_ms;
            End::When(Alarm::new(async move {
                expiry(expires).await;
                sleep(LAST_WORDS).await;
            }))
        }
    }
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
