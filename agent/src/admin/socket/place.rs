//! The place of a unix socket: it is taken where nobody is, what a dead agent left behind included, and never from somebody.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::{fs, process};

use tokio::net::{UnixListener, UnixStream};

/// Its owner and its group may speak there.
const MODE: u32 = 0o660;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// What is there was not made by an agent.
    #[error("{} is there and is no socket: move it aside, or name another path by --socket", .0.display())]
    Foreign(PathBuf),
    /// Somebody answers there.
    #[error("a program that runs listens on {}: stop it, or name another path by --socket", .0.display())]
    Held(PathBuf),
    /// The file system does not take it.
    #[error("cannot listen on {}", .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A socket in its place. It goes with whoever has this, unless another one has come there meanwhile.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    inode: u64,
}

impl Place {
    /// Takes a path. The socket comes there whole, with its mode, and in one step.
    pub(super) async fn take(path: &Path) -> Result<(UnixListener, Self), PlaceError> {
        let failed = |source| PlaceError::Io {
            path: path.to_owned(),
            source,
        };
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(PlaceError::Foreign(path.to_owned()));
            }
            Ok(_) => match UnixStream::connect(path).await {
                // whoever listened is gone
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Ok(_) => return Err(PlaceError::Held(path.to_owned())),
                Err(error) => return Err(failed(error)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let aside = aside(path);
        // what a process of this number left behind half done
        let _ = fs::remove_file(&aside);
        let listener = UnixListener::bind(&aside).map_err(failed)?;
        let placed = fs::set_permissions(&aside, fs::Permissions::from_mode(MODE))
            .and_then(|()| fs::metadata(&aside))
            .and_then(|made| fs::rename(&aside, path).map(|()| made.ino()));
        match placed {
            Ok(inode) => {
                let path = path.to_owned();
                Ok((listener, Self { path, inode }))
            }
            Err(error) => {
                // it may be there, and leads nowhere
                let _ = fs::remove_file(&aside);
                Err(failed(error))
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let ours = |found: fs::Metadata| found.ino() == self.inode;
        if fs::symlink_metadata(&self.path).is_ok_and(ours) {
            // where it cannot be removed the next agent finds it stale
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Gives a path beside another one.
fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        let found = fs::symlink_metadata(path).expect("it is there");
        found.permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn a_socket_is_for_its_owner_and_group_and_goes_with_the_agent() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("agent.sock");
        let (listener, place) = Place::take(&path).await.expect("taken");
        assert_eq!(mode(&path), MODE);
        let (called, answered) = tokio::join!(UnixStream::connect(&path), listener.accept());
        assert!(called.is_ok() && answered.is_ok());
        drop(place);
        assert_eq!(fs::read_dir(dir.path()).expect("dir").count(), 0);
    }

    #[tokio::test]
    async fn what_a_dead_agent_left_is_replaced_and_what_it_leaves_later_stays() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("agent.sock");
        let (listener, stale) = Place::take(&path).await.expect("taken");
        drop(listener);
        let (_listener, _place) = Place::take(&path).await.expect("taken over");
        // the older one ends only now
        drop(stale);
        assert!(UnixStream::connect(&path).await.is_ok());
    }

    #[tokio::test]
    async fn what_somebody_else_has_is_left_to_them() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("agent.sock");
        fs::write(&path, "a file").expect("written");
        let refused = Place::take(&path).await.expect_err("foreign");
        assert!(matches!(refused, PlaceError::Foreign(_)), "{refused}");
        assert_eq!(fs::read_to_string(&path).expect("read"), "a file");

        let path = dir.path().join("held.sock");
        let (_listener, _place) = Place::take(&path).await.expect("taken");
        let refused = Place::take(&path).await.expect_err("held");
        assert!(matches!(refused, PlaceError::Held(_)), "{refused}");
        assert!(UnixStream::connect(&path).await.is_ok());

        let path = dir.path().join("nowhere/agent.sock");
        let refused = Place::take(&path).await.expect_err("no directory");
        assert!(matches!(refused, PlaceError::Io { .. }), "{refused}");
    }
}
