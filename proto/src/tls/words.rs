//! What went wrong in a handshake, in words: for whoever calls, and for the log of who is called.

use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

use super::certificate::Certificate;

/// Finds the cause that the TLS of this side gives.
fn tls(cause: &io::Error) -> Option<&Error> {
    cause.get_ref()?.downcast_ref()
}

/// Says why a caller was not let in; none: it left, or nothing of it is known to be TLS.
pub(super) fn of_caller(cause: &io::Error) -> Option<String> {
    Some(match tls(cause)? {
        Error::InvalidCertificate(why) => format!("its certificate: {}", certificate(why)),
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls13RequiredForQuic,
        ) => "it speaks no TLS 1.3".to_owned(),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "it does not speak TLS".to_owned()
        }
        Error::AlertReceived(alert) => format!("it does not take our certificate: {alert:?}"),
        other => other.to_string(),
    })
}

/// Says why the certificate of who was called is not taken; none: that is not what is wrong.
pub(super) fn of_controller(cause: &io::Error) -> Option<String> {
    match tls(cause)? {
        Error::InvalidCertificate(why) => Some(certificate(why)),
        _ => None,
    }
}

/// Says why one's own certificate is not taken; none: that is not what was said.
pub(super) fn of_refusal(cause: &io::Error, own: &Certificate, now_unix_ms: u64) -> Option<String> {
    let Error::AlertReceived(alert) = tls(cause)? else {
        return None;
    };
    Some(
        match alert {
            // one alert for both (RFC 8446 section 6.2)
            AlertDescription::CertificateExpired if own.expires_unix_ms <= now_unix_ms => {
                "it has expired"
            }
            AlertDescription::CertificateExpired if own.begins_unix_ms > now_unix_ms => {
                "it is not valid yet"
            }
            AlertDescription::CertificateExpired => {
                "by the controller's clock it has expired, or is not valid yet"
            }
            AlertDescription::UnknownCA => "no authority that the controller trusts has signed it",
            AlertDescription::UnsupportedCertificate => "it is a server's, not a caller's",
            AlertDescription::CertificateUnknown => {
                "it names nobody of the controller's trust domain"
            }
            AlertDescription::ProtocolVersion => "the other side speaks no TLS 1.3",
            other => return Some(format!("{other:?}")),
        }
        .to_owned(),
    )
}

/// Says whether the other side answered, and not in TLS.
pub(super) fn is_plaintext(cause: &io::Error) -> bool {
    matches!(
        tls(cause),
        Some(Error::InvalidMessage(
            InvalidMessage::InvalidContentType
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::UnknownProtocolVersion
        ))
    )
}

fn certificate(why: &CertificateError) -> String {
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; is a clock wrong?".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "no authority that is trusted here has signed it".to_owned()
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let expected = expected.to_str();
            let presented: Vec<&str> = presented.iter().filter_map(|name| host(name)).collect();
            if presented.is_empty() {
                return format!("it is for no host, so not for {expected}");
            }
            format!("it is for {}, not for {expected}", presented.join(", "))
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not for this side of a connection".to_owned()
        }
        CertificateError::Other(other) => other.0.to_string(),
        other => other.to_string(),
    }
}

/// Gives a host's name as it stands in a certificate: rustls has it as `DnsName("lb.example")` or `IpAddress(10.0.0.1)`.
fn host(presented: &str) -> Option<&str> {
    let name = presented
        .strip_prefix("DnsName(")
        .or_else(|| presented.strip_prefix("IpAddress("))?;
    Some(name.strip_suffix(')')?.trim_matches('"'))
}
