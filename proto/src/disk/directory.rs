//! The directory that a database lives in, and who has it.
//!
//! | name | what |
//! |---|---|
//! | `lock` | held by the one program that has the directory |
//! | `db/` | sled's files |
//! | `watermark` | the mark of the last commit |
//! | `snapshot-<commits>` | all records as of that commit |
//! | `db.next/`, `watermark.next`, `snapshot.next` | not finished: removed at the next opening |
//! | `db.old/` | what `db.next/` is about to replace, with the same records or those before the commit under way: put back where `db/` is missing |
//! | `damaged/` | what a recovery sets aside, before it goes to a sibling `<path>.damaged-<n>` |
//!
//! A directory takes its new name only when all in it is durable, and each step is durable before the next
//! begins, so that an opening after a cut knows by the names alone how far things had come.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::DiskError;

/// A holder that is going needs milliseconds, or, where it writes a snapshot of a large state, a second or two; one that stays
/// is an error worth that wait.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_secs(4);
/// How often a lock is tried: opening again what was just closed should not be felt.
pub(super) const LOCK_RETRY: Duration = Duration::from_millis(2);

/// Damaged databases that are kept for a person to look at; a disk that damages one more would otherwise fill
/// up with them.
const KEPT_ASIDE: usize = 3;

/// A directory that this program holds.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    handle: File,
    /// Locked until it is dropped.
    _lock: File,
}

impl Directory {
    /// Makes the directory if it is not there, and takes it; waits a while for a holder on its way out.
    pub(super) fn open(path: &Path) -> Result<Self, DiskError> {
        let at = |source| DiskError::directory(path, source);
        fs::create_dir_all(path).map_err(at)?;
        let path = fs::canonicalize(path).map_err(at)?;
        let handle = File::open(&path).map_err(at)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .map_err(at)?;
        if !lock_soon(&lock).map_err(at)? {
            return Err(DiskError::Held { path });
        }
        Ok(Self {
            path,
            handle,
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the database is.
    pub(super) fn db(&self) -> PathBuf {
        self.path.join("db")
    }

    /// Where the next database is made.
    pub(super) fn next(&self) -> PathBuf {
        self.path.join("db.next")
    }

    fn old(&self) -> PathBuf {
        self.path.join("db.old")
    }

    /// Where a damaged database is put at first.
    pub(super) fn damaged(&self) -> PathBuf {
        self.path.join("damaged")
    }

    /// Makes everything in the whole file system durable: files, their sizes and their names.
    pub(super) fn sync(&self) -> io::Result<()> {
        nix::unistd::syncfs(&self.handle).map_err(io::Error::from)
    }

    /// Makes the names in the directory durable.
    pub(super) fn sync_entries(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    /// Puts back a database that was to be replaced when the power went, and removes what never was finished.
    pub(super) fn put_back(&self) -> io::Result<()> {
        remove_dir(&self.next())?;
        if exists(&self.db())? {
            return Ok(());
        }
        for kept in [self.old(), self.damaged().join("db")] {
            if exists(&kept)? {
                fs::rename(&kept, self.db())?;
                return self.sync_entries();
            }
        }
        Ok(())
    }

    /// Lets the finished `db.next/` take the place of `db/`, whose records it has, or those that a commit makes of them. Both must
    /// be closed. Where a cut leaves no `db/` nobody was told of that commit yet, and the one before is put back.
    pub(super) fn switch(&self) -> io::Result<()> {
        remove_dir(&self.old())?;
        if exists(&self.db())? {
            fs::rename(self.db(), self.old())?;
            self.sync_entries()?;
        }
        fs::rename(self.next(), self.db())?;
        self.sync_entries()
    }

    /// Removes what there is of a database that was to take the place of `db/`.
    pub(super) fn drop_next(&self) -> io::Result<()> {
        remove_dir(&self.next())
    }

    /// Removes the database that was replaced; only when its successor has opened.
    pub(super) fn drop_old(&self) -> io::Result<()> {
        remove_dir(&self.old())
    }

    /// Lets the finished `db.next/` take the place of a damaged `db/`, which goes to `damaged/`.
    pub(super) fn switch_damaged(&self) -> io::Result<()> {
        if exists(&self.db())? {
            fs::rename(self.db(), self.damaged().join("db"))?;
            File::open(self.damaged())?.sync_all()?;
            self.sync_entries()?;
        }
        fs::rename(self.next(), self.db())?;
        self.sync_entries()
    }

    /// Moves `damaged/` to a sibling of its own, removes the oldest of those, and gives the newest.
    pub(super) fn move_aside(&self) -> io::Result<PathBuf> {
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        let mut aside = self.aside()?;
        // nothing was there to be set aside
        let empty = fs::remove_dir(self.damaged()).is_ok();
        if !empty && exists(&self.damaged())? {
            let number = aside.last().map_or(1, |(number, _)| number + 1);
            let mut name = self.path.file_name().unwrap_or_default().to_owned();
            name.push(format!(".damaged-{number}"));
            let path = parent.join(name);
            fs::rename(self.damaged(), &path)?;
            self.sync_entries()?;
            File::open(parent)?.sync_all()?;
            aside.push((number, path));
        }
        let surplus = aside.len().saturating_sub(KEPT_ASIDE);
        for (_, path) in aside.drain(..surplus) {
            // what cannot be removed stays
            let _ = fs::remove_dir_all(path);
        }
        Ok(aside.pop().map_or_else(|| self.damaged(), |(_, path)| path))
    }

    /// Lists the siblings with what was set aside, the newest last.
    fn aside(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let parent = self.path.parent().unwrap_or(Path::new("/"));
        let name = self.path.file_name().unwrap_or_default();
        let prefix = format!("{}.damaged-", name.to_string_lossy());
        let mut aside = numbered(parent, &prefix)?;
        aside.sort();
        Ok(aside)
    }
}

/// Lists what is called `prefix` and a number.
pub(super) fn numbered(directory: &Path, prefix: &str) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(prefix));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            found.push((number, entry.path()));
        }
    }
    Ok(found)
}

/// Tries to lock a file until the patience ends; says whether it did.
pub(super) fn lock_soon(file: &File) -> io::Result<bool> {
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                thread::sleep(LOCK_RETRY);
            }
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Says whether there is something of a name, even a link to nowhere.
pub(super) fn exists(path: &Path) -> io::Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes a file if it is there.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    unless_missing(fs::remove_file(path))
}

/// Removes a directory and all in it if it is there.
pub(super) fn remove_dir(path: &Path) -> io::Result<()> {
    unless_missing(fs::remove_dir_all(path))
}

fn unless_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Adds up the lengths of all files below a directory; what is not there has none.
pub(super) fn size(path: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut sum = 0;
    for entry in entries {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => sum += size(&entry.path())?,
            Ok(metadata) => sum += metadata.len(),
            // sled removes blobs on threads of its own
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sum)
}
