//! How controller, agents and operator reach each other: over connections that are simulated.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream::unfold;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Error};
use tower::service_fn;
use turmoil::net::{TcpListener, TcpStream};
use weir_agent::session::{Connect, endpoint};
use weir_proto::tls::{Peer, Proof};

/// The host that the controller runs on.
pub(crate) const CONTROLLER: &str = "controller";
const PORT: u16 = 7420;

/// Reaches the controller.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire;

impl Connect for Wire {
    async fn connect(&self) -> Result<Channel, Error> {
        let endpoint = endpoint(&format!("http://{CONTROLLER}:{PORT}"))?;
        let connector = service_fn(|_| async {
            let stream = TcpStream::connect((CONTROLLER, PORT)).await?;
            Ok::<_, io::Error>(TokioIo::new(stream))
        });
        endpoint.connect_with_connector(connector).await
    }
}

/// A connection that came in.
#[derive(Debug)]
pub(crate) struct Incoming(TcpStream, SocketAddr);

/// Takes connections as they come.
pub(crate) async fn listen() -> io::Result<impl Stream<Item = io::Result<Incoming>>> {
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    Ok(unfold(listener, |listener| async {
        let accepted = listener.accept().await;
        Some((
            accepted.map(|(stream, from)| Incoming(stream, from)),
            listener,
        ))
    }))
}

impl Connected for Incoming {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        Peer {
            address: self.1,
            proof: Proof::Unasked,
        }
    }
}

impl AsyncRead for Incoming {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Incoming {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
