//! How the controller may be called: what the flags of a caller say together.

use std::net::IpAddr;
use std::path::PathBuf;

use super::files::Files;

/// What a caller was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flags<'a> {
    /// `--controller`.
    pub url: &'a str,
    /// `--tls-cert`.
    pub certificate: Option<PathBuf>,
    /// `--tls-key`.
    pub key: Option<PathBuf>,
    /// `--tls-ca`.
    pub authority: Option<PathBuf>,
    /// `--insecure`.
    pub insecure: bool,
}

/// How to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Without encryption or authentication.
    Plaintext,
    /// With a certificate.
    Tls(Files),
}

/// What is wrong with a flag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFlag {
    /// It is neither `http://` nor `https://`.
    #[error("--controller {0}: it is not https://HOST:PORT or http://HOST:PORT")]
    Url(String),
    /// Without certificates there is no TLS.
    #[error("{0}: missing, and https:// wants it")]
    Missing(&'static str),
    /// Whoever gives a certificate does not mean plaintext.
    #[error("{0}: of use only where --controller is https://")]
    Useless(&'static str),
    /// Everybody on the way can read and change it.
    #[error(
        "--controller {0}: it is reached over a network, and what is said there is neither encrypted nor authenticated: \
         write https:// and give certificates, or say --insecure"
    )]
    Insecure(String),
}

impl Flags<'_> {
    /// Gives how to call, or everything that is wrong.
    pub fn check(self) -> Result<Call, Vec<BadFlag>> {
        let url = self.url.to_owned();
        let parsed = self.url.parse::<tonic::codegen::http::Uri>().ok();
        let parts = parsed.as_ref().map(|uri| (uri.scheme_str(), uri.host()));
        let files = [
            ("--tls-cert", self.certificate),
            ("--tls-key", self.key),
            ("--tls-ca", self.authority),
        ];
        match parts {
            Some((Some("https"), Some(_))) => {
                let missing = files.iter().filter(|(_, file)| file.is_none());
                let missing: Vec<BadFlag> =
                    missing.map(|(flag, _)| BadFlag::Missing(flag)).collect();
                match files.map(|(_, file)| file) {
                    [Some(certificate), Some(key), Some(authority)] => Ok(Call::Tls(Files {
                        certificate,
                        key,
                        authority,
                    })),
                    _ => Err(missing),
                }
            }
            Some((Some("http"), Some(host))) => {
                let given = files.iter().filter(|(_, file)| file.is_some());
                let mut bad: Vec<BadFlag> = given.map(|(flag, _)| BadFlag::Useless(flag)).collect();
                if !self.insecure && !is_loopback(host) {
                    bad.push(BadFlag::Insecure(url));
                }
                if bad.is_empty() {
                    Ok(Call::Plaintext)
                } else {
                    Err(bad)
                }
            }
            _ => Err(vec![BadFlag::Url(url)]),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address: Result<IpAddr, _> = bare.parse();
    address.map_or(bare == "localhost", |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, files: [bool; 3], insecure: bool) -> Result<Call, Vec<BadFlag>> {
        let [certificate, key, authority] = ["c", "k", "a"].map(PathBuf::from);
        let flags = Flags {
            url,
            certificate: files[0].then_some(certificate),
            key: files[1].then_some(key),
            authority: files[2].then_some(authority),
            insecure,
        };
        flags.check()
    }

    #[test]
    fn plaintext_stays_on_this_machine_unless_it_is_asked_for_by_name() {
        for url in [
            "http://127.0.0.1:7420",
            "http://127.8.9.1:1",
            "http://[::1]:7420",
            "http://localhost:7420",
        ] {
            assert_eq!(check(url, [false; 3], false), Ok(Call::Plaintext), "{url}");
        }
        for url in [
            "http://10.0.0.1:7420",
            "http://lb:7420",
            "http://localhost.example:7420",
            "http://[fd00::1]:7420",
            "http://0.0.0.0:7420",
        ] {
            let insecure = vec![BadFlag::Insecure(url.to_owned())];
            assert_eq!(check(url, [false; 3], false), Err(insecure), "{url}");
            assert_eq!(check(url, [false; 3], true), Ok(Call::Plaintext), "{url}");
        }
    }

    #[test]
    fn tls_wants_three_files_and_plaintext_none() {
        let files = Files {
            certificate: "c".into(),
            key: "k".into(),
            authority: "a".into(),
        };
        let url = "https://lb:7420";
        assert_eq!(check(url, [true; 3], false), Ok(Call::Tls(files)));
        let missing = vec![BadFlag::Missing("--tls-cert"), BadFlag::Missing("--tls-ca")];
        assert_eq!(check(url, [false, true, false], true), Err(missing));
        let url = "http://lb:7420";
        let bad = vec![
            BadFlag::Useless("--tls-key"),
            BadFlag::Insecure(url.to_owned()),
        ];
        assert_eq!(check(url, [false, true, false], false), Err(bad));
        for url in ["", "lb:7420", "ftp://lb:7420", "https://"] {
            let bad = vec![BadFlag::Url(url.to_owned())];
            assert_eq!(check(url, [true; 3], true), Err(bad), "{url}");
        }
    }
}
