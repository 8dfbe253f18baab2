//! Whom each side takes: first by the chain of certificates, then by who it names.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use super::certificate::Certificate;
use super::files::Problem;
use crate::model::{Identity, TrustDomain};

/// Takes callers of one's own trust domain. One without a certificate is let in too, so that it can be told by a gRPC status
/// that it wants one: no call of it is answered otherwise.
#[derive(Debug)]
pub(super) struct Callers {
    chains: Arc<dyn ClientCertVerifier>,
    domain: TrustDomain,
}

/// Takes controllers of one's own trust domain, by the name they were called by.
#[derive(Debug)]
pub(super) struct Controllers {
    chains: Arc<WebPkiServerVerifier>,
    domain: TrustDomain,
}

/// A certificate that is in order and does not belong to who must be at the other end.
#[derive(Debug, thiserror::Error)]
#[error("it is that of {0}, not the controller's")]
struct NoController(Identity);

impl Callers {
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
        domain: TrustDomain,
    ) -> Result<Self, Problem> {
        let chains = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .allow_unauthenticated()
            .build()
            .map_err(Problem::Verifier)?;
        Ok(Self { chains, domain })
    }
}

impl Controllers {
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
        domain: TrustDomain,
    ) -> Result<Self, Problem> {
        let chains = WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .map_err(Problem::Verifier)?;
        Ok(Self { chains, domain })
    }
}

/// Calls an authority unknown that has the name of one that is known, and another key.
fn as_unknown(cause: Error) -> Error {
    match cause {
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            CertificateError::UnknownIssuer.into()
        }
        other => other,
    }
}

fn other(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    CertificateError::Other(OtherError(Arc::new(cause))).into()
}

impl ClientCertVerifier for Callers {
    fn client_auth_mandatory(&self) -> bool {
        self.chains.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // a client has one certificate: there is nothing for it to choose by hints
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chains.verify_client_cert(own, chain, now);
        let verified = verified.map_err(as_unknown)?;
        Certificate::read_of(own, &self.domain).map_err(other)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

impl ServerCertVerifier for Controllers {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self
            .chains
            .verify_server_cert(own, chain, name, ocsp, now)
            .map_err(as_unknown)?;
        let who = Certificate::read_of(own, &self.domain).map_err(other)?;
        match who.identity {
            Identity::Controller => Ok(verified),
            somebody => Err(other(NoController(somebody))),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chains
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}
