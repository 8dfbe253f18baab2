//! What one set of files makes: how to call, and how to be called.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::certificate::Certificate;
use super::files::{Problem, What};
use super::verify::{Callers, Controllers};
use crate::model::{Identity, NodeName};

/// HTTP/2, as RFC 9113 section 3.2 names it.
const H2: &[u8] = b"h2";

/// Whose certificate is wanted for oneself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The controller's.
    Controller,
    /// That of a node.
    Node(NodeName),
    /// That of an operator.
    Operator,
    /// Whatever it is.
    Anybody,
}

/// The three files' bytes.
pub(super) struct Bytes {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) authority: Vec<u8>,
}

/// What one set of files makes.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) own: Certificate,
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
}

impl Part {
    /// Says whether somebody plays it.
    fn is(&self, identity: &Identity) -> bool {
        match (self, identity) {
            (Self::Anybody, _)
            | (Self::Controller, Identity::Controller)
            | (Self::Operator, Identity::Operator { .. }) => true,
            (Self::Node(name), Identity::Node(own)) => name == own,
            _ => false,
        }
    }

    fn wanted(&self) -> String {
        match self {
            Self::Controller => "the controller".to_owned(),
            Self::Node(name) => format!("node/{name}"),
            Self::Operator => "an operator".to_owned(),
            Self::Anybody => "anybody".to_owned(),
        }
    }
}

impl Loaded {
    /// Makes sense of files, for one who plays a part.
    pub(super) fn new(bytes: &Bytes, part: &Part) -> Result<Self, Problem> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(&bytes.certificate, What::Certificate)?;
        let own = Certificate::read(&chain[0]).map_err(Problem::Certificate)?;
        if !part.is(&own.identity) {
            return Err(Problem::Part {
                is: own.identity.to_string(),
                wanted: part.wanted(),
            });
        }
        let key = PrivateKeyDer::from_pem_slice(&bytes.key)
            .map_err(|cause| Problem::Pem(What::Key, cause))?;
        let own_key = CertifiedKey::from_der(chain, key, &provider).map_err(Problem::Pair)?;
        let own_key = Arc::new(SingleCertAndKey::from(own_key));
        let mut roots = RootCertStore::empty();
        for authority in certificates(&bytes.authority, What::Authority)? {
            roots.add(authority).map_err(Problem::Authority)?;
        }
        let roots = Arc::new(roots);
        Ok(Self {
            server: Arc::new(server(&provider, &roots, &own_key, &own)?),
            client: Arc::new(client(&provider, &roots, own_key, &own)?),
            own,
        })
    }
}

fn certificates(pem: &[u8], what: What) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => Err(Problem::Empty(what)),
        Ok(certificates) => Ok(certificates),
        Err(cause) => Err(Problem::Pem(what, cause)),
    }
}

fn server(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    key: &Arc<SingleCertAndKey>,
    own: &Certificate,
) -> Result<ServerConfig, Problem> {
    let callers = Callers::new(roots.clone(), provider.clone(), own.domain.clone())?;
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(Problem::Versions)?
        .with_client_cert_verifier(Arc::new(callers))
        .with_cert_resolver(key.clone());
    config.alpn_protocols = vec![H2.to_vec()];
    // a session that is resumed would bring a certificate that has expired meanwhile, or of an authority that is gone
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

fn client(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    key: Arc<SingleCertAndKey>,
    own: &Certificate,
) -> Result<ClientConfig, Problem> {
    let controllers = Controllers::new(roots.clone(), provider.clone(), own.domain.clone())?;
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(Problem::Versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(controllers))
        .with_client_cert_resolver(key);
    config.alpn_protocols = vec![H2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}
