//! Makes keys and certificates, and signs them. Nothing here touches a file.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType,
};
use rcgen::{ExtendedKeyUsagePurpose, KeyIdMethod};
use weir_proto::model::{Identity, TrustDomain};
use weir_proto::tls::AuthorityCertificate;

/// How far clocks may be apart that a new certificate is valid everywhere at once.
const SKEW: Duration = Duration::from_secs(10 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Who signs.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    says: AuthorityCertificate,
}

/// A certificate and its key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS #8.
    pub key: String,
}

/// Since when and until when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub begins: SystemTime,
    /// Not after.
    pub ends: SystemTime,
}

/// A name by which the controller is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostName {
    /// A name in the DNS, or `localhost`.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

/// Why nothing is signed.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// It is not the key of an authority.
    #[error("the authority's certificate or key cannot be read")]
    Unreadable(#[source] rcgen::Error),
    /// They were not made together: nobody would take what is signed by them.
    #[error("the authority's key is not that of its certificate")]
    Pair,
    /// It was not made here.
    #[error("the authority's certificate names no trust domain (spiffe://DOMAIN)")]
    Domain,
    /// A host's name has letters that none has.
    #[error("{0:?} is no name of a host")]
    Host(String),
    /// Nobody is to be named.
    #[error("nobody has no certificate")]
    Anonymous,
    /// The certificate could not be made.
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
}

impl std::fmt::Debug for Issued {
    /// Leaves out the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Validity {
    /// From a little before `now`, for clocks that are behind, until some days after it.
    pub fn days(now: SystemTime, days: u32) -> Self {
        Self {
            begins: now - SKEW,
            ends: now + DAY * days,
        }
    }
}

impl std::fmt::Display for HostName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

impl HostName {
    /// Takes an address, or a name of the DNS.
    pub fn parse(text: &str) -> Result<Self, AuthorityError> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let is_label = |label: &str| {
            // RFC 1123 section 2.1
            let letters = |c: char| c.is_ascii_alphanumeric() || c == '-';
            (1..=63).contains(&label.len())
                && label.chars().all(letters)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() <= 253 && text.split('.').all(is_label) {
            Ok(Self::Dns(text.to_owned()))
        } else {
            Err(AuthorityError::Host(text.to_owned()))
        }
    }
}

impl Authority {
    /// Makes an authority of a trust domain, and what is to be kept of it.
    pub fn make(
        domain: &TrustDomain,
        validity: Validity,
    ) -> Result<(Self, Issued), AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Make)?;
        let mut params = begin(&format!("weir {domain} authority"), validity);
        // it signs certificates and nothing else, and none that may sign further ones
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![uri(&format!("spiffe://{domain}"))?];
        let pem = key.serialize_pem();
        let signed = CertifiedIssuer::self_signed(params, key).map_err(AuthorityError::Make)?;
        let issued = Issued {
            certificate: signed.pem(),
            key: pem,
        };
        let authority = Self::read(&issued)?;
        Ok((authority, issued))
    }

    /// Takes an authority that was made before.
    pub fn read(kept: &Issued) -> Result<Self, AuthorityError> {
        let key = KeyPair::from_pem(&kept.key).map_err(AuthorityError::Unreadable)?;
        let public = key.subject_public_key_info();
        let issuer = Issuer::from_ca_cert_pem(&kept.certificate, key);
        let issuer = issuer.map_err(AuthorityError::Unreadable)?;
        if !AuthorityCertificate::has_key(kept.certificate.as_bytes(), &public) {
            return Err(AuthorityError::Pair);
        }
        let says = AuthorityCertificate::from_pem(kept.certificate.as_bytes());
        Ok(Self {
            issuer,
            says: says.ok_or(AuthorityError::Domain)?,
        })
    }

    /// Gives the names it may give.
    pub fn domain(&self) -> &TrustDomain {
        &self.says.domain
    }

    /// Makes a key and a certificate for somebody: of the controller a server's, by the names it is called by; of all others a
    /// caller's. It expires with the authority at the latest.
    pub fn issue(
        &self,
        who: &Identity,
        names: &[HostName],
        validity: Validity,
    ) -> Result<Issued, AuthorityError> {
        let id = who.to_spiffe(&self.says.domain);
        let id = id.ok_or(AuthorityError::Anonymous)?;
        let last = UNIX_EPOCH + Duration::from_millis(self.says.expires_unix_ms);
        let validity = Validity {
            ends: validity.ends.min(last),
            ..validity
        };
        let key = KeyPair::generate().map_err(AuthorityError::Make)?;
        let mut params = begin(&who.to_string(), validity);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match who {
            Identity::Controller => ExtendedKeyUsagePurpose::ServerAuth,
            Identity::Anonymous | Identity::Node(_) | Identity::Operator { .. } => {
                ExtendedKeyUsagePurpose::ClientAuth
            }
        }];
        params.use_authority_key_identifier_extension = true;
        params.subject_alt_names = vec![uri(&id)?];
        for name in names {
            params.subject_alt_names.push(match name {
                HostName::Dns(name) => SanType::DnsName(ia5(name)?),
                HostName::Ip(address) => SanType::IpAddress(*address),
            });
        }
        let signed = params.signed_by(&key, &self.issuer);
        Ok(Issued {
            certificate: signed.map_err(AuthorityError::Make)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn begin(name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = validity.begins.into();
    params.not_after = validity.ends.into();
    // the serial number is left to rcgen: 20 bytes of the hash of the key, which is another one each time and as random
    params.serial_number = None;
    params.key_identifier_method = KeyIdMethod::Sha256;
    params
}

fn ia5(text: &str) -> Result<Ia5String, AuthorityError> {
    Ia5String::try_from(text).map_err(|_| AuthorityError::Host(text.to_owned()))
}

fn uri(text: &str) -> Result<SanType, AuthorityError> {
    Ok(SanType::URI(ia5(text)?))
}
