//! Calls the controller, over TLS or not.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::certificate::Certificate;
use super::expiry::now_unix_ms;
use super::files::{Tls, TlsError};
use super::words;

/// The port of https.
const HTTPS: u16 = 443;
/// The head of HTTP/2's first frame.
const FRAME_HEAD: usize = 9;

/// Calls one controller.
#[derive(Debug, Clone)]
pub struct Connector {
    endpoint: Endpoint,
    tls: Option<Arc<Tls>>,
    /// What the controller showed first.
    theirs: Arc<OnceLock<Certificate>>,
}

/// Why no connection to the controller comes about.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is nothing to show to the controller.
    #[error(transparent)]
    Files(TlsError),
    /// No host by this name can be called.
    #[error("{0:?} is no name of a host")]
    Name(String),
    /// Nobody answers there.
    #[error(transparent)]
    Connect(io::Error),
    /// It cannot be the controller.
    #[error("its certificate is refused: {0}")]
    Theirs(String),
    /// It does not know us.
    #[error("it refuses our certificate, that of {who}: {why}")]
    Ours {
        /// Whose certificate it is.
        who: String,
        /// What the controller does not take in it.
        why: String,
    },
    /// What answers is something else, or a controller without certificates.
    #[error("it does not speak TLS")]
    Plaintext,
    /// The handshake broke.
    #[error("the TLS handshake broke: {0}")]
    Broken(io::Error),
}

/// A connection over TLS of which the first bytes were read.
struct Begun {
    first: [u8; FRAME_HEAD],
    given: usize,
    stream: TlsStream<TcpStream>,
}

impl Connector {
    /// Calls an endpoint; its URL is `https://` if and only if there is TLS.
    pub fn new(endpoint: Endpoint, tls: Option<Arc<Tls>>) -> Self {
        Self {
            endpoint,
            tls,
            theirs: Arc::default(),
        }
    }

    /// Connects. Over TLS the controller has then taken the certificate, and an error says if it has not.
    pub async fn connect(&self) -> Result<Channel, tonic::transport::Error> {
        let Some(tls) = self.tls.clone() else {
            return self.endpoint.connect().await;
        };
        let theirs = self.theirs.clone();
        let connector = service_fn(move |uri: Uri| {
            let (tls, theirs) = (tls.clone(), theirs.clone());
            async move {
                let begun = call(&uri, &tls).await?;
                if let Some(shown) = begun.shown() {
                    // the one before is as good to whoever asks
                    let _ = theirs.set(shown);
                }
                Ok::<_, CallError>(TokioIo::new(begun))
            }
        });
        self.endpoint.connect_with_connector(connector).await
    }

    /// Gives the certificate by which the controller was known at the first connection; none: there was none over TLS.
    pub fn theirs(&self) -> Option<Certificate> {
        self.theirs.get().cloned()
    }
}

async fn call(uri: &Uri, tls: &Tls) -> Result<Begun, CallError> {
    let loaded = tls.now().map_err(CallError::Files)?;
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|_| CallError::Name(host.to_owned()))?;
    let socket = TcpStream::connect((host, uri.port_u16().unwrap_or(HTTPS))).await;
    let socket = socket.map_err(CallError::Connect)?;
    socket.set_nodelay(true).map_err(CallError::Connect)?;
    let failed = |cause: io::Error| {
        let own = &loaded.own;
        if let Some(why) = words::of_controller(&cause) {
            CallError::Theirs(why)
        } else if let Some(why) = words::of_refusal(&cause, own, now_unix_ms()) {
            let who = own.identity.to_string();
            CallError::Ours { who, why }
        } else if words::is_plaintext(&cause) {
            CallError::Plaintext
        } else {
            CallError::Broken(cause)
        }
    };
    let connector = TlsConnector::from(loaded.client.clone());
    let mut stream = connector.connect(name, socket).await.map_err(failed)?;
    // With TLS 1.3 the handshake ends here before the other side has seen our certificate. The first frame of HTTP/2
    // says that it took it: a server sends it unasked (RFC 9113 section 3.4).
    let mut first = [0; FRAME_HEAD];
    stream.read_exact(&mut first).await.map_err(failed)?;
    Ok(Begun {
        first,
        given: 0,
        stream,
    })
}

impl Begun {
    /// Gives the certificate of who is at the other end, which was verified.
    fn shown(&self) -> Option<Certificate> {
        let chain = self.stream.get_ref().1.peer_certificates()?;
        Certificate::read(chain.first()?).ok()
    }
}

impl AsyncRead for Begun {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let rest = &this.first[this.given..];
        if rest.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, into);
        }
        let fits = rest.len().min(into.remaining());
        into.put_slice(&rest[..fits]);
        this.given += fits;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Begun {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
