//! Who is at the other end: TLS 1.3 with a certificate on both sides, for all three programs. The one room of rustls.
//!
//! A certificate names its owner by the one URI in it (`spiffe://DOMAIN/...`, see [`Identity`](crate::model::Identity)). Both sides
//! check the other's chain against the authority's certificates; the caller also checks the host's name and that it is a
//! controller's, so that no node poses as one; and both refuse another trust domain than their own. The files are read again
//! when they change: connections that are there stay until the certificate that opened them expires, new ones use the new files. No
//! session is resumed: each connection proves anew who it is of.

mod alarm;
mod call;
mod certificate;
mod connection;
mod connector;
mod expiry;
mod files;
mod handshakes;
mod incoming;
mod loaded;
mod verify;
mod words;

pub use call::{BadFlag, Call, Flags};
pub use certificate::{AuthorityCertificate, Certificate, CertificateError};
pub use connection::{Connection, Peer, Proof};
pub use connector::{CallError, Connector};
pub use expiry::expiry;
pub use files::{Files, Tls, TlsError};
pub use incoming::Incoming;
pub use loaded::Part;
