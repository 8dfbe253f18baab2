//! A connection that somebody made to us, who that is, and until when it may last.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::alarm::Alarm;
use super::certificate::Certificate;

/// Who is at the other end; it is among the extensions of each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where it calls from.
    pub address: SocketAddr,
    /// What says who it is.
    pub proof: Proof,
}

/// What says who somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Nobody is asked: the connection is plaintext.
    Unasked,
    /// It has no certificate, and one is asked for.
    Missing,
    /// Its certificate, which was verified.
    Shown(Certificate),
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    pub(super) end: End,
    /// Its place among those that may be there at a time.
    pub(super) _place: OwnedSemaphorePermit,
}

/// When a connection is over, whatever goes on over it.
pub(super) enum End {
    /// When the peer ends it.
    Theirs,
    /// When this rings.
    When(Alarm),
    /// It is over.
    Past,
}

#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    // beside a bare socket it is large
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Theirs => "Theirs",
            Self::When(_) => "When",
            Self::Past => "Past",
        })
    }
}

impl Connection {
    /// Gives what the connection is read from and written to; an error: it is over.
    ///
    /// All that is done with a connection asks here, so that one whose peer takes nothing ends as well.
    fn open(&mut self, cx: &mut Context<'_>) -> io::Result<&mut Stream> {
        if let End::When(alarm) = &mut self.end
            && alarm.rings(cx)
        {
            self.end = End::Past;
        }
        match self.end {
            End::Past => Err(io::ErrorKind::TimedOut.into()),
            End::Theirs | End::When(_) => Ok(&mut self.stream),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut().open(cx)? {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut().open(cx)? {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut().open(cx)? {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut().open(cx)? {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
