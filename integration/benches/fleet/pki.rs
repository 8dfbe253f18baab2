//! Certificates for all who take part, from a private authority as `weirctl pki` makes it.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, crypto};
use tempfile::TempDir;
use weir_controller::ctl::pki::{Authority, Directory, HostName, Issued, Validity};
use weir_proto::model::{Identity, NodeName, Role, TrustDomain};
use weir_proto::tls::Files;

/// A bench takes minutes.
const DAYS: u32 = 1;
const H2: &[u8] = b"h2";

/// An authority that everybody trusts.
#[derive(Debug)]
pub(crate) struct Pki {
    authority: Authority,
    certificate: String,
    directory: Directory,
    validity: Validity,
    _dir: TempDir,
}

impl Pki {
    /// Makes one.
    pub(crate) fn make() -> Result<Self> {
        let validity = Validity::days(SystemTime::now(), DAYS);
        let (authority, made) = Authority::make(&TrustDomain::new("bench")?, validity)?;
        let dir = tempfile::tempdir()?;
        let directory = Directory::new(dir.path().join("pki"), false);
        directory.keep_authority(&made)?;
        Ok(Self {
            authority,
            certificate: made.certificate,
            directory,
            validity,
            _dir: dir,
        })
    }

    /// Gives the files of somebody whom a program is run for.
    pub(crate) fn files(&self, who: &Identity) -> Result<Files> {
        Ok(self.directory.keep(who, &self.issue(who)?)?)
    }

    /// Gives what somebody calls with, TLS 1.3 and nothing older, as the programs have it.
    pub(crate) fn caller(&self, who: &Identity) -> Result<Arc<ClientConfig>> {
        let issued = self.issue(who)?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.certificate.as_bytes())?)?;
        let own = CertificateDer::pem_slice_iter(issued.certificate.as_bytes());
        let own: Vec<CertificateDer<'static>> = own.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes())?;
        let provider = Arc::new(crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(own, key)
            .with_context(|| format!("the certificate of {who}"))?;
        config.alpn_protocols = vec![H2.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }

    fn issue(&self, who: &Identity) -> Result<Issued> {
        let names = match who {
            Identity::Controller => vec![HostName::parse("127.0.0.1")?],
            _ => Vec::new(),
        };
        Ok(self.authority.issue(who, &names, self.validity)?)
    }
}

/// Names a node's agent.
pub(crate) fn node(name: &str) -> Result<Identity> {
    Ok(Identity::Node(NodeName::new(name)?))
}

/// Names the operator.
pub(crate) fn operator() -> Result<Identity> {
    let name = NodeName::new("bench")?;
    let role = Role::Operator;
    Ok(Identity::Operator { role, name })
}
