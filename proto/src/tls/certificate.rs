//! What a certificate says: whose it is, and from when until when.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::model::{Identity, TrustDomain};

const SCHEME: &str = "spiffe://";

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The names that its authority gives.
    pub domain: TrustDomain,
    /// Whose it is.
    pub identity: Identity,
    /// Unix milliseconds from which it is valid.
    pub begins_unix_ms: u64,
    /// Unix milliseconds until which it is valid.
    pub expires_unix_ms: u64,
}

/// What an authority's certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityCertificate {
    /// The names that it gives.
    pub domain: TrustDomain,
    /// Unix milliseconds until which it is valid.
    pub expires_unix_ms: u64,
}

/// Why a certificate says nothing of use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It is none.
    #[error("it cannot be read")]
    Unreadable,
    /// A SPIFFE ID is the one URI in it.
    #[error("it has {0} URIs, and wants the one that names its owner")]
    Uris(usize),
    /// The URI is of another kind.
    #[error("it names {0:?}, which is nobody here")]
    Nobody(String),
    /// Names of another authority mean nothing here.
    #[error("it is of trust domain {theirs}, not {own}")]
    Domain {
        /// That of the certificate.
        theirs: TrustDomain,
        /// One's own.
        own: TrustDomain,
    },
}

impl Certificate {
    /// Reads a certificate in DER. Nothing is verified.
    pub fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let (_, parsed) =
            X509Certificate::from_der(der).map_err(|_| CertificateError::Unreadable)?;
        let uris: Vec<&str> = uris(&parsed);
        let [uri] = uris.as_slice() else {
            return Err(CertificateError::Uris(uris.len()));
        };
        let nobody = || CertificateError::Nobody((*uri).to_owned());
        let rest = uri.strip_prefix(SCHEME).ok_or_else(nobody)?;
        let (domain, _) = rest.split_once('/').ok_or_else(nobody)?;
        let domain = TrustDomain::new(domain).map_err(|_| nobody())?;
        let identity = Identity::from_spiffe(uri, &domain).ok_or_else(nobody)?;
        let validity = parsed.validity();
        Ok(Self {
            domain,
            identity,
            begins_unix_ms: unix_ms(validity.not_before.timestamp()),
            expires_unix_ms: unix_ms(validity.not_after.timestamp()),
        })
    }

    /// Reads the first certificate of a PEM file. Nothing is verified.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CertificateError> {
        let der = CertificateDer::from_pem_slice(pem);
        Self::read(&der.map_err(|_| CertificateError::Unreadable)?)
    }

    /// As [`Self::read`], of a trust domain.
    pub(super) fn read_of(der: &[u8], own: &TrustDomain) -> Result<Self, CertificateError> {
        let read = Self::read(der)?;
        if read.domain == *own {
            return Ok(read);
        }
        Err(CertificateError::Domain {
            theirs: read.domain,
            own: own.clone(),
        })
    }
}

impl AuthorityCertificate {
    /// Says whether the first certificate of a PEM file, if it is one, is of a public key (SubjectPublicKeyInfo in DER, RFC 5280
    /// section 4.1.2.7).
    pub fn has_key(pem: &[u8], public: &[u8]) -> bool {
        let Ok(der) = CertificateDer::from_pem_slice(pem) else {
            return false;
        };
        let parsed = X509Certificate::from_der(&der);
        parsed.is_ok_and(|(_, parsed)| parsed.public_key().raw == public)
    }

    /// Reads the first certificate of a PEM file; its one URI is `spiffe://DOMAIN`. None: it is no authority's that names its
    /// trust domain.
    pub fn from_pem(pem: &[u8]) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(pem).ok()?;
        let (_, parsed) = X509Certificate::from_der(&der).ok()?;
        let uris = uris(&parsed);
        let [uri] = uris.as_slice() else {
            return None;
        };
        let expires = parsed.validity().not_after.timestamp();
        Some(Self {
            domain: TrustDomain::new(uri.strip_prefix(SCHEME)?).ok()?,
            expires_unix_ms: unix_ms(expires),
        })
    }
}

fn unix_ms(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000)
}

fn uris<'a>(certificate: &'a X509Certificate<'_>) -> Vec<&'a str> {
    let names = certificate.extensions().iter().filter_map(|extension| {
        match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => Some(names),
            _ => None,
        }
    });
    names
        .flat_map(|names| &names.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect()
}
