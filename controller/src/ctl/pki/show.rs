//! Certificates as a table: whose they are and for how long. PURE.

use std::time::Duration;

use weir_proto::model::Identity;
use weir_proto::tls::{AuthorityCertificate, Certificate, CertificateError};

use crate::ctl::render::{Table, human};

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Says {
    Authority(AuthorityCertificate),
    Somebody(Certificate),
}

impl Says {
    /// Reads the first certificate of a file.
    pub(super) fn read(pem: &[u8]) -> Result<Self, CertificateError> {
        match AuthorityCertificate::from_pem(pem) {
            Some(authority) => Ok(Self::Authority(authority)),
            None => Certificate::from_pem(pem).map(Self::Somebody),
        }
    }
}

/// Gives a line for each certificate. `now` is in Unix milliseconds.
pub(super) fn rows(certificates: &[(String, Says)], now: u64) -> Table {
    let row = |(file, says): &(String, Says)| {
        let (who, role, domain, begins, expires) = match says {
            Says::Authority(AuthorityCertificate {
                domain,
                expires_unix_ms,
            }) => ("-".to_owned(), "authority", domain, 0, *expires_unix_ms),
            Says::Somebody(Certificate {
                domain,
                identity,
                begins_unix_ms,
                expires_unix_ms,
            }) => {
                let (who, role) = match identity {
                    Identity::Anonymous => ("-".to_owned(), "-"),
                    Identity::Controller => ("-".to_owned(), "controller"),
                    Identity::Node(name) => (name.to_string(), "node"),
                    Identity::Operator { role, name } => (name.to_string(), role.as_str()),
                };
                (who, role, domain, *begins_unix_ms, *expires_unix_ms)
            }
        };
        let expires = if begins > now {
            format!("begins in {}", span(begins - now))
        } else if expires <= now {
            format!("expired {} ago", span(now - expires))
        } else {
            span(expires - now)
        };
        vec![
            file.clone(),
            who,
            role.to_owned(),
            domain.to_string(),
            expires,
        ]
    };
    Table {
        header: vec!["FILE", "WHO", "ROLE", "TRUST DOMAIN", "EXPIRES IN"],
        rows: certificates.iter().map(row).collect(),
    }
}

fn span(milliseconds: u64) -> String {
    human(Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use weir_proto::model::{NodeName, Role, TrustDomain};

    use super::*;

    const DAY: u64 = 24 * 60 * 60 * 1_000;

    #[test]
    fn each_says_whose_it_is_and_how_long_it_lasts() {
        let domain = TrustDomain::new("weir").expect("a domain");
        let name = NodeName::new("alice").expect("a name");
        let somebody = |identity, begins_unix_ms, expires_unix_ms| {
            Says::Somebody(Certificate {
                domain: domain.clone(),
                identity,
                begins_unix_ms,
                expires_unix_ms,
            })
        };
        let operator = Identity::Operator {
            role: Role::Admin,
            name: name.clone(),
        };
        let authority = Says::Authority(AuthorityCertificate {
            domain: domain.clone(),
            expires_unix_ms: 100 * DAY,
        });
        let certificates = [
            ("ca.pem".to_owned(), authority),
            (
                "c.pem".to_owned(),
                somebody(Identity::Controller, 0, 40 * DAY),
            ),
            (
                "n.pem".to_owned(),
                somebody(Identity::Node(name), 0, 8 * DAY),
            ),
            ("o.pem".to_owned(), somebody(operator, 12 * DAY, 40 * DAY)),
        ];
        let rows = rows(&certificates, 10 * DAY).rows;
        let rows: Vec<String> = rows.iter().map(|row| row.join(" | ")).collect();
        assert_eq!(
            rows,
            [
                "ca.pem | - | authority | weir | 90d",
                "c.pem | - | controller | weir | 30d",
                "n.pem | alice | node | weir | expired 2d ago",
                "o.pem | alice | admin | weir | begins in 2d",
            ]
        );
    }
}
