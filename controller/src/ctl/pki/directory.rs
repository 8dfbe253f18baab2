//! The directory of an authority: its certificate and key, and those it issued.
//!
//! `ca.pem` and `ca.key`, and of each owner `controller.pem`, `node-NAME.pem` or `operator-NAME.pem` with its key beside it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use weir_proto::model::Identity;
use weir_proto::tls::Files;

use super::authority::{Authority, AuthorityError, Issued};

/// What the authority's files are called.
const AUTHORITY: &str = "ca";

/// The directory of an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    path: PathBuf,
    /// Whether files may take the place of others.
    force: bool,
}

/// Why nothing is kept or found.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// What is there may be in use.
    #[error("{} is there already; --force puts another in its place", .0.display())]
    There(PathBuf),
    /// Without it nothing can be signed.
    #[error("cannot read {}; weirctl pki init makes an authority", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// Nothing of it is left behind.
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// What is there is no authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl Directory {
    /// Takes a directory, which need not be there yet.
    pub fn new(path: impl Into<PathBuf>, force: bool) -> Self {
        let path = path.into();
        Self { path, force }
    }

    /// Keeps an authority.
    pub fn keep_authority(&self, made: &Issued) -> Result<Files, DirectoryError> {
        self.keep_as(AUTHORITY, made)
    }

    /// Keeps what was issued to somebody; the files are whole whenever they are there.
    pub fn keep(&self, who: &Identity, issued: &Issued) -> Result<Files, DirectoryError> {
        self.keep_as(&stem(who), issued)
    }

    /// Reads the authority.
    pub fn authority(&self) -> Result<Authority, DirectoryError> {
        let files = self.of(AUTHORITY);
        let read = |path: PathBuf| match fs::read_to_string(&path) {
            Ok(text) => Ok(text),
            Err(cause) => Err(DirectoryError::Read(path, cause)),
        };
        Ok(Authority::read(&Issued {
            certificate: read(files.certificate)?,
            key: read(files.key)?,
        })?)
    }

    /// Gives where the files of somebody are, or would be.
    pub fn files(&self, who: &Identity) -> Files {
        self.of(&stem(who))
    }

    /// Gives the files of all certificates, by name.
    pub fn certificates(&self) -> Result<Vec<PathBuf>, DirectoryError> {
        let unread = |cause| DirectoryError::Read(self.path.clone(), cause);
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(unread)? {
            let path = entry.map_err(unread)?.path();
            if path.extension().is_some_and(|extension| extension == "pem") {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths)
    }

    fn of(&self, stem: &str) -> Files {
        let file = |name: String| self.path.join(name);
        Files {
            certificate: file(format!("{stem}.pem")),
            key: file(format!("{stem}.key")),
            authority: file(format!("{AUTHORITY}.pem")),
        }
    }

    fn keep_as(&self, stem: &str, issued: &Issued) -> Result<Files, DirectoryError> {
        let files = self.of(stem);
        let there = [&files.certificate, &files.key];
        if let Some(there) = there.into_iter().find(|path| path.exists() && !self.force) {
            return Err(DirectoryError::There(there.clone()));
        }
        // whoever may list it learns the names of all nodes and operators
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.path);
        made.map_err(|cause| DirectoryError::Write(self.path.clone(), cause))?;
        write(&files.key, &issued.key, 0o600)?;
        write(&files.certificate, &issued.certificate, 0o644)?;
        Ok(files)
    }
}

fn stem(who: &Identity) -> String {
    match who {
        Identity::Operator { name, .. } => format!("operator-{name}"),
        // `node/a` is `node-a`
        other => other.to_string().replace('/', "-"),
    }
}

/// Writes beside the place and moves it there: who reads it at any time finds the one or the other.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), DirectoryError> {
    let beside = path.with_extension("new");
    let written = || -> io::Result<()> {
        let mut file: File = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    // left behind by one that was killed
    let _ = fs::remove_file(&beside);
    written().map_err(|cause| {
        let _ = fs::remove_file(&beside);
        DirectoryError::Write(path.to_owned(), cause)
    })
}
