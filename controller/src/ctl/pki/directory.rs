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

/// One of the steps by which files take the places of others.
#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    /// Writes a text, of a mode, beside a place.
    WriteBeside(&'a Path, &'a str, u32),
    /// Moves what is beside a place there.
    MoveThere(&'a Path),
    /// Removes what may be at a place.
    Remove(&'a Path),
    /// Makes durable what was moved and removed in a directory.
    Sync(&'a Path),
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
    /// What is there without the other half was left by one that was cut short.
    #[error("{} is there without {}: what wrote it was cut short; weirctl pki init --force makes another authority, for everybody", .there.display(), .missing.display())]
    Half {
        /// The one half.
        there: PathBuf,
        /// The other.
        missing: PathBuf,
    },
    /// What was there may be gone, and is never half of another.
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
        let halves = [
            (&files.key, &files.certificate),
            (&files.certificate, &files.key),
        ];
        for (there, missing) in halves {
            if there.exists() && !missing.exists() {
                let (there, missing) = (there.clone(), missing.clone());
                return Err(DirectoryError::Half { there, missing });
            }
        }
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

    /// Gives the steps by which a pair takes the place of another. Cut off after any of them, and by a loss of power too, what
    /// is there is the old pair, a key without its certificate, or the new pair: never a key with the certificate of another.
    fn steps<'a>(&'a self, files: &'a Files, issued: &'a Issued) -> [Step<'a>; 8] {
        let Files {
            certificate, key, ..
        } = files;
        [
            Step::WriteBeside(key, &issued.key, 0o600),
            Step::WriteBeside(certificate, &issued.certificate, 0o644),
            Step::Remove(certificate),
            Step::Sync(&self.path),
            Step::MoveThere(key),
            Step::Sync(&self.path),
            Step::MoveThere(certificate),
            Step::Sync(&self.path),
        ]
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
        for step in self.steps(&files, issued) {
            step.take()?;
        }
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

impl Step<'_> {
    fn take(self) -> Result<(), DirectoryError> {
        let (path, taken) = match self {
            Self::WriteBeside(path, text, mode) => (path, write(&beside(path), text, mode)),
            Self::MoveThere(path) => (path, fs::rename(beside(path), path)),
            Self::Remove(path) => (path, remove(path)),
            Self::Sync(path) => (path, File::open(path).and_then(|dir| dir.sync_all())),
        };
        taken.map_err(|cause| DirectoryError::Write(path.to_owned(), cause))
    }
}

/// Gives the place beside a file where what is to take its place is written: it has the file's name, and another end.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    // left behind by one that was cut short
    remove(path)?;
    let written = || -> io::Result<()> {
        let mut file: File = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    written().inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use weir_proto::model::{NodeName, TrustDomain};
    use weir_proto::tls::{Part, Tls};

    use super::*;
    use crate::ctl::pki::Validity;

    fn made() -> (Authority, Issued) {
        let domain = TrustDomain::new("weir").expect("a domain");
        let validity = Validity::days(SystemTime::now(), 1);
        Authority::make(&domain, validity).expect("an authority")
    }

    /// What is there of an authority.
    #[derive(Debug, PartialEq, Eq)]
    enum There {
        Old,
        Half,
        New,
    }

    #[test]
    fn an_authority_that_is_cut_off_anywhere_is_never_one_half_of_another() {
        use There::{Half, New, Old};
        let (_, old) = made();
        let (_, new) = made();
        let mut seen = Vec::new();
        for taken in 0..=8 {
            let dir = tempfile::tempdir().expect("dir");
            let directory = Directory::new(dir.path().join("pki"), true);
            let files = directory.keep_authority(&old).expect("kept");
            for step in &directory.steps(&files, &new)[..taken] {
                step.take().expect("taken");
            }
            let read = |path: &Path| fs::read_to_string(path).expect("read");
            let there = match directory.authority() {
                Ok(_) => {
                    let pair = (read(&files.certificate), read(&files.key));
                    if pair == (old.certificate.clone(), old.key.clone()) {
                        There::Old
                    } else {
                        assert_eq!(pair, (new.certificate.clone(), new.key.clone()));
                        There::New
                    }
                }
                Err(DirectoryError::Half { there, missing }) => {
                    assert_eq!((there, missing), (files.key, files.certificate));
                    There::Half
                }
                Err(other) => panic!("{taken} steps: {other:?}"),
            };
            seen.push(there);
            // whatever it was, another can be made in its place
            directory.keep_authority(&new).expect("kept");
            directory.authority().expect("whole");
            let mut left: Vec<_> = fs::read_dir(dir.path().join("pki"))
                .expect("listed")
                .map(|entry| entry.expect("an entry").file_name())
                .collect();
            left.sort();
            assert_eq!(left, ["ca.key", "ca.pem"], "{taken} steps");
        }
        assert_eq!(
            seen,
            [Old, Old, Old, Half, Half, Half, Half, New, New],
            "after none of the steps, one, two, ..."
        );
    }

    #[test]
    fn a_pair_that_is_cut_off_anywhere_is_loaded_whole_or_not_at_all() {
        let (authority, made) = made();
        let who = Identity::Node(NodeName::new("a").expect("a name"));
        let issue = || {
            let validity = Validity::days(SystemTime::now(), 1);
            authority.issue(&who, &[], validity).expect("issued")
        };
        let (old, new) = (issue(), issue());
        for taken in 0..=8 {
            let dir = tempfile::tempdir().expect("dir");
            let directory = Directory::new(dir.path(), true);
            directory.keep_authority(&made).expect("kept");
            let files = directory.keep(&who, &old).expect("kept");
            for step in &directory.steps(&files, &new)[..taken] {
                step.take().expect("taken");
            }
            let whole = files.certificate.exists();
            let loaded = Tls::load(files, Part::Anybody);
            assert_eq!(loaded.is_ok(), whole, "{taken} steps: {loaded:?}");
        }
    }

    #[test]
    fn an_authority_with_the_key_of_another_signs_nothing() {
        let ((_, one), (_, other)) = (made(), made());
        let mismatched = Issued {
            key: other.key,
            ..one
        };
        let read = Authority::read(&mismatched);
        assert!(matches!(read, Err(AuthorityError::Pair)), "{read:?}");
    }
}
