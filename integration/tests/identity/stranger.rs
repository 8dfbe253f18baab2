//! A client that is not ours: it says what TLS answered, to the letter.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{AlertDescription, ClientConfig, Error, RootCertStore};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use weir_controller::ctl::pki::Issued;

use crate::world::{PATIENCE, Root};

/// Shakes hands with a server of an authority; with TLS 1.3 it has not seen our certificate then.
pub(crate) async fn shake(
    address: SocketAddr,
    root: &Root,
    own: Option<&Issued>,
) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(root.made.certificate.as_bytes()).expect("pem");
    roots.add(ca).expect("an authority");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = match own {
        None => config.with_no_client_auth(),
        Some(issued) => {
            let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes());
            let chain = chain.collect::<Result<Vec<_>, _>>().expect("pem");
            let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("pem");
            config.with_client_auth_cert(chain, key).expect("a pair")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let socket = TcpStream::connect(address).await.expect("connected");
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = TlsConnector::from(Arc::new(config));
    let shaken = timeout(PATIENCE, connector.connect(name, socket)).await;
    shaken
        .expect("in time")
        .expect("the controller is in order")
}

/// Gives the alert by which a certificate is refused; none: it is taken.
pub(crate) async fn alert(
    address: SocketAddr,
    root: &Root,
    own: Option<&Issued>,
) -> Option<AlertDescription> {
    let mut stream = shake(address, root, own).await;
    let read = timeout(PATIENCE, stream.read_u8()).await.expect("in time");
    let error = read.err()?;
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    match cause {
        Some(Error::AlertReceived(alert)) => Some(*alert),
        other => panic!("no alert: {other:?} {error}"),
    }
}

/// Gives the certificate that a server shows, in DER.
pub(crate) async fn shown(address: SocketAddr, root: &Root) -> Vec<u8> {
    let stream = shake(address, root, None).await;
    let chain = stream.get_ref().1.peer_certificates().expect("shown");
    chain[0].to_vec()
}

/// Gives the DER of a PEM.
pub(crate) fn der(issued: &Issued) -> Vec<u8> {
    let der = CertificateDer::from_pem_slice(issued.certificate.as_bytes());
    der.expect("pem").to_vec()
}
