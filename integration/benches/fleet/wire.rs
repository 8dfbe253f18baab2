//! A connection over TLS that counts the bytes beneath it, and that can be made to read nothing for a while.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Error, Uri};

/// What is kept beside some connections. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    read: AtomicU64,
    written: AtomicU64,
    stalled: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

/// Bytes that went over connections, as TCP has them: with what TLS and HTTP/2 add, without TCP's own headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bytes {
    pub(crate) read: u64,
    pub(crate) written: u64,
}

/// A stream under a meter.
#[derive(Debug)]
struct Metered {
    stream: TcpStream,
    meter: Meter,
}

impl Meter {
    /// Gives what went by so far.
    pub(crate) fn bytes(&self) -> Bytes {
        Bytes {
            read: self.0.read.load(Ordering::Relaxed),
            written: self.0.written.load(Ordering::Relaxed),
        }
    }

    /// Makes the connections read nothing, or read on.
    pub(crate) fn stall(&self, stalled: bool) {
        self.0.stalled.store(stalled, Ordering::Relaxed);
        let waiting = self.0.waiting.lock();
        let mut waiting = waiting.unwrap_or_else(|held| held.into_inner());
        waiting.drain(..).for_each(Waker::wake);
    }

    fn is_stalled(&self, waker: &Waker) -> bool {
        if !self.0.stalled.load(Ordering::Relaxed) {
            return false;
        }
        let waiting = self.0.waiting.lock();
        let mut waiting = waiting.unwrap_or_else(|held| held.into_inner());
        if !waiting.iter().any(|other| other.will_wake(waker)) {
            waiting.push(waker.clone());
        }
        self.0.stalled.load(Ordering::Relaxed)
    }
}

/// How somebody reaches a gRPC server. Clones share the meter.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// Whose URL is `https://`.
    pub(crate) endpoint: Endpoint,
    /// Who calls, and whom he trusts.
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) meter: Meter,
}

impl Line {
    /// Connects once.
    pub(crate) async fn connect(&self) -> Result<Channel, Error> {
        let (tls, meter) = (self.tls.clone(), self.meter.clone());
        let connector = tower::service_fn(move |uri: Uri| {
            let (tls, meter) = (TlsConnector::from(tls.clone()), meter.clone());
            async move {
                let host = uri.host().unwrap_or_default().to_owned();
                let port = uri.port_u16().unwrap_or_default();
                let stream = TcpStream::connect((&*host, port)).await?;
                stream.set_nodelay(true)?;
                let name = ServerName::try_from(host).map_err(io::Error::other)?;
                let stream = tls.connect(name, Metered { stream, meter }).await?;
                Ok::<_, io::Error>(TokioIo::new(stream))
            }
        });
        self.endpoint.connect_with_connector(connector).await
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, meter } = self.get_mut();
        if meter.is_stalled(context.waker()) {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = Pin::new(stream).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        meter.0.read.fetch_add(read as u64, Ordering::Relaxed);
        polled
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, meter } = self.get_mut();
        let polled = Pin::new(stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            meter.0.written.fetch_add(written as u64, Ordering::Relaxed);
        }
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, meter } = self.get_mut();
        let polled = Pin::new(stream).poll_write_vectored(context, slices);
        if let Poll::Ready(Ok(written)) = polled {
            meter.0.written.fetch_add(written as u64, Ordering::Relaxed);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
