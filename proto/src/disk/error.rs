//! Why records cannot be opened or kept.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What went wrong with the records in `path`, or `key`. Clones share their cause: everyone whose batch was in a
/// commit that failed is told the same.
#[derive(Debug, Clone, thiserror::Error)]
#[allow(missing_docs)]
pub enum DiskError {
    #[error("cannot use {path} as a data directory")]
    Directory {
        path: PathBuf,
        source: Arc<io::Error>,
    },
    #[error("cannot open the database in {path}")]
    Open { path: PathBuf, source: sled::Error },
    #[error("the database in {path} is in use by a program that runs")]
    Held { path: PathBuf },
    #[error("the database in {path} is damaged: {message}")]
    Damaged { path: PathBuf, message: String },
    #[error("record {key:?} has schema {found}, and this version reads {known}")]
    Schema { key: String, found: u8, known: u8 },
    #[error(
        "the database in {path} is older than its watermark: it has {found} commits of {wanted}"
    )]
    RolledBack {
        path: PathBuf,
        found: u64,
        wanted: u64,
    },
    #[error("cannot write to the database in {path}")]
    Write { path: PathBuf, source: sled::Error },
    #[error("cannot make what was written to {path} durable")]
    Sync {
        path: PathBuf,
        source: Arc<io::Error>,
    },
    #[error("the database in {path} takes nothing more since a write to it failed")]
    Failed {
        path: PathBuf,
        source: Arc<DiskError>,
    },
}

impl DiskError {
    /// Says whether what is kept cannot be trusted any more, so that [`recover`](super::recover) would set it
    /// aside. Not so where the directory is held, full, read-only, or written by another version.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::RolledBack { .. })
    }

    pub(super) fn directory(path: &Path, source: io::Error) -> Self {
        Self::Directory {
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }

    pub(super) fn sync(path: &Path, source: io::Error) -> Self {
        Self::Sync {
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }

    pub(super) fn write(path: &Path, source: sled::Error) -> Self {
        Self::Write {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn damaged(path: &Path, message: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            message: message.into(),
        }
    }

    /// Says what an error of sled means while a database is read. What the system refused says nothing about
    /// the content, unless the medium itself failed.
    pub(super) fn open(path: &Path, source: sled::Error) -> Self {
        let refused = match &source {
            sled::Error::Io(error) => error
                .raw_os_error()
                .is_some_and(|errno| errno != nix::libc::EIO),
            _ => false,
        };
        if refused {
            let path = path.to_owned();
            Self::Open { path, source }
        } else {
            Self::damaged(path, source.to_string())
        }
    }
}
