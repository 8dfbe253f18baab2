//! The files of a certificate, its key and the authority's certificates, read again when they change.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fmt, fs, io};

use rustls::pki_types::pem;
use rustls::server::VerifierBuilderError;
use tracing::{info, warn};

use super::certificate::{Certificate, CertificateError};
use super::loaded::{Bytes, Loaded, Part};

/// Where a certificate, its key, and the authority's certificates are, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// One's own certificate, followed by those between it and the authority's, if any.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The certificates of the authorities that are trusted.
    pub authority: PathBuf,
}

/// What one needs to call and to be called over TLS; as the files are now.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    part: Part,
    /// Held for as long as it takes to look at three files, and now and then to read them.
    latest: Mutex<Latest>,
}

#[derive(Debug)]
struct Latest {
    /// None: no files were there yet that could be used.
    loaded: Option<Arc<Loaded>>,
    /// As the files were when they were last looked at.
    seen: Seen,
    /// Whether what was seen then could be used.
    usable: bool,
}

/// What tells whether files have changed; none: one is not there.
type Seen = [Option<Stamp>; 3];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// One of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Certificate,
    Key,
    Authority,
}

/// Why files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the certificate in {}, the key in {} and the authority in {} cannot be used", .files.certificate.display(), .files.key.display(), .files.authority.display())]
pub struct TlsError {
    files: Files,
    #[source]
    problem: Box<Problem>,
}

/// What is wrong with files.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("{0} is not PEM: {1}")]
    Pem(What, pem::Error),
    #[error("no certificate is in {0}")]
    Empty(What),
    #[error("the certificate is not one of ours")]
    Certificate(#[source] CertificateError),
    #[error("the certificate is that of {is}, not that of {wanted}")]
    Part { is: String, wanted: String },
    #[error("the key is not that of the certificate")]
    Pair(#[source] rustls::Error),
    #[error("the authority's certificate cannot be used")]
    Authority(#[source] rustls::Error),
    #[error("the authority's certificates cannot be used")]
    Verifier(#[source] VerifierBuilderError),
    #[error("no TLS 1.3 is to be had")]
    Versions(#[source] rustls::Error),
}

impl Tls {
    /// Takes files for one who plays a part, and reads them when they are needed first: one who can do without a connection
    /// does not end for want of them.
    pub fn new(files: Files, part: Part) -> Arc<Self> {
        let latest = Latest {
            loaded: None,
            seen: [None; 3],
            usable: true,
        };
        Arc::new(Self {
            files,
            part,
            latest: Mutex::new(latest),
        })
    }

    /// As [`Self::new`], and reads them at once.
    pub fn load(files: Files, part: Part) -> Result<Arc<Self>, TlsError> {
        let tls = Self::new(files, part);
        tls.now()?;
        Ok(tls)
    }

    /// Gives what one's own certificate says.
    pub fn own(&self) -> Result<Certificate, TlsError> {
        self.now().map(|loaded| loaded.own.clone())
    }

    /// Gives what the files make; what they made before while they are half written, or make nothing of use.
    pub(super) fn now(&self) -> Result<Arc<Loaded>, TlsError> {
        // whoever panicked while it was held has replaced it whole or not at all
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        // before they are read: what is written meanwhile is seen the next time
        let seen = self.files.look();
        if let Some(loaded) = &latest.loaded {
            // files that could not be used are read each time: a writer may end within one tick of the file system's clock
            if latest.usable && seen == latest.seen {
                return Ok(loaded.clone());
            }
        }
        latest.seen = seen;
        match read(&self.files, &self.part) {
            Ok(loaded) => {
                tell(&self.files, &loaded.own);
                let loaded = Arc::new(loaded);
                latest.loaded = Some(loaded.clone());
                latest.usable = true;
                Ok(loaded)
            }
            Err(problem) => {
                let told = !std::mem::replace(&mut latest.usable, false);
                match &latest.loaded {
                    Some(loaded) => {
                        if !told {
                            warn!(
                                error = &problem as &dyn std::error::Error,
                                "the files of the certificate cannot be used; those read before are used on"
                            );
                        }
                        Ok(loaded.clone())
                    }
                    None => Err(TlsError {
                        files: self.files.clone(),
                        problem: Box::new(problem),
                    }),
                }
            }
        }
    }
}

impl Files {
    fn look(&self) -> Seen {
        [&self.certificate, &self.key, &self.authority].map(|path| stamp(path))
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "the certificate's file",
            Self::Key => "the key's file",
            Self::Authority => "the authority's file",
        })
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let about = fs::metadata(path).ok()?;
    Some(Stamp {
        device: about.dev(),
        inode: about.ino(),
        bytes: about.size(),
        modified: (about.mtime(), about.mtime_nsec()),
        changed: (about.ctime(), about.ctime_nsec()),
    })
}

fn read(files: &Files, part: &Part) -> Result<Loaded, Problem> {
    let read = |path: &PathBuf| fs::read(path).map_err(|cause| Problem::Read(path.clone(), cause));
    let bytes = Bytes {
        certificate: read(&files.certificate)?,
        key: read(&files.key)?,
        authority: read(&files.authority)?,
    };
    Loaded::new(&bytes, part)
}

fn tell(files: &Files, own: &Certificate) {
    info!(
        certificate = %files.certificate.display(),
        identity = %own.identity,
        trust_domain = %own.domain,
        expires_unix_ms = own.expires_unix_ms,
        "certificate read"
    );
}
