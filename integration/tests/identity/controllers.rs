//! Servers that an agent and weirctl must not take for the controller.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use weir_controller::ctl::pki::{Directory, Issued, Validity};
use weir_proto::model::{Identity, Role};
use weir_proto::tls::{Part, Tls};

use crate::world::{Root, connector, host, node, operator, valid, why};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Listens with a certificate and takes every caller; says nothing.
async fn listen(issued: &Issued) -> SocketAddr {
    let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("pem");
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("pem");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(mut stream) = acceptor.accept(socket).await {
                    let _ = stream.read_u8().await;
                }
            });
        }
    });
    address
}

/// Calls a server, trusting an authority, and gives why it is not taken.
async fn refusal(root: &Root, url: &str) -> String {
    let dir = TempDir::new().expect("dir");
    let directory = Directory::new(dir.path(), false);
    let who = operator(Role::Viewer);
    directory.keep_authority(&root.made).expect("kept");
    let files = directory.keep(&who, &root.issue(&who)).expect("kept");
    let tls = Tls::load(files, Part::Operator).expect("files");
    let refused = connector(url, tls).connect().await;
    why(&refused.expect_err("refused"))
}

/// A certificate of the authority that a server could use, and that names somebody else than a controller.
fn node_that_serves(root: &Root) -> Issued {
    let ca = KeyPair::from_pem(&root.made.key).expect("a key");
    let issuer = Issuer::from_ca_cert_pem(&root.made.certificate, ca).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.subject_alt_names = vec![
        SanType::URI("spiffe://weir/node/a".try_into().expect("ascii")),
        SanType::IpAddress([127, 0, 0, 1].into()),
    ];
    Issued {
        certificate: params.signed_by(&key, &issuer).expect("signed").pem(),
        key: key.serialize_pem(),
    }
}

#[tokio::test]
async fn who_is_not_the_controller_by_its_certificate_is_not_taken_for_it() {
    let root = Root::new("weir");
    let now = SystemTime::now();
    let expired = Validity {
        begins: now - 3 * HOUR,
        ends: now - HOUR,
    };
    let early = Validity {
        begins: now + HOUR,
        ends: now + 3 * HOUR,
    };
    let controller = Identity::Controller;
    let named = root
        .authority
        .issue(&controller, &[host("lb.example")], valid())
        .expect("a certificate");
    let node = root
        .authority
        .issue(&node("a"), &[host("127.0.0.1")], valid())
        .expect("a certificate");
    for (issued, words) in [
        (root.issue_for(&controller, expired), "it has expired"),
        (
            root.issue_for(&controller, early),
            "it is not valid yet; is a clock wrong?",
        ),
        (
            Root::new("weir").issue(&controller),
            "no authority that is trusted here has signed it",
        ),
        (named, "it is for lb.example, not for 127.0.0.1"),
        (node, "it is not for this side of a connection"),
        (
            node_that_serves(&root),
            "it is that of node/a, not the controller's",
        ),
    ] {
        let address = listen(&issued).await;
        let refused = refusal(&root, &format!("https://{address}")).await;
        assert_eq!(refused, format!("its certificate is refused: {words}"));
    }
}

#[tokio::test]
async fn a_controller_of_another_trust_domain_is_not_taken() {
    let (root, other) = (Root::new("weir"), Root::new("elsewhere"));
    let address = listen(&other.issue(&Identity::Controller)).await;
    // a caller that trusts both authorities
    let dir = TempDir::new().expect("dir");
    let directory = Directory::new(dir.path(), false);
    let who = operator(Role::Viewer);
    let mut files = directory.keep(&who, &root.issue(&who)).expect("kept");
    files.authority = dir.path().join("both.pem");
    let both = root.made.certificate.clone() + &other.made.certificate;
    std::fs::write(&files.authority, both).expect("written");
    let tls = Tls::load(files, Part::Operator).expect("files");
    let refused = connector(&format!("https://{address}"), tls)
        .connect()
        .await;
    assert_eq!(
        why(&refused.expect_err("refused")),
        "its certificate is refused: it is of trust domain elsewhere, not weir"
    );
}

#[tokio::test]
async fn a_server_without_tls_is_said_to_be_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            // an empty SETTINGS of HTTP/2
            let _ = socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
            let _ = socket.read_u8().await;
        }
    });
    let root = Root::new("weir");
    let refused = refusal(&root, &format!("https://{address}")).await;
    assert_eq!(refused, "it does not speak TLS");
}
