//! What the records are on: the files of a directory, or in a simulation a disk in memory.

use std::path::Path;

use super::directory::Directory;
use super::files::{Files, open_live};
#[cfg(feature = "simulated")]
use super::simulated::{self, Memory};
use super::{Batch, DiskError, Records, Tended};

/// What the records are on.
#[derive(Debug)]
pub(super) enum Medium {
    /// A directory of this machine.
    Files(Files),
    /// A disk that is simulated.
    #[cfg(feature = "simulated")]
    Memory(Memory),
}

impl Medium {
    /// Opens the database in `path`.
    pub(super) fn open(path: &Path, schema: u8) -> Result<(Self, Records), DiskError> {
        #[cfg(feature = "simulated")]
        if let Some(medium) = simulated::at(path) {
            let (memory, records) = medium.open(schema)?;
            return Ok((Self::Memory(memory), records));
        }
        let directory = Directory::open(path)?;
        let (live, records, _) = open_live(&directory, schema)?;
        Ok((Self::Files(Files::over(directory, live, schema)), records))
    }

    /// Gives where it is.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Files(files) => files.path(),
            #[cfg(feature = "simulated")]
            Self::Memory(memory) => memory.path(),
        }
    }

    /// Does the first half of a commit: what its caller waits for.
    pub(super) fn write(&self, batch: &Batch) -> Result<(), DiskError> {
        match self {
            Self::Files(files) => files.write(batch),
            #[cfg(feature = "simulated")]
            Self::Memory(memory) => memory.write(batch),
        }
    }

    /// Does the second half of a commit: exports a snapshot and shrinks the database, where it is time. A failure
    /// of the first is a warning, one of the second is told to whoever commits next.
    pub(super) fn tend(&self) -> Tended {
        match self {
            Self::Files(files) => files.tend(),
            #[cfg(feature = "simulated")]
            Self::Memory(memory) => memory.tend(),
        }
    }

    /// Gives what it is simulated by, if it is, and the schema it has.
    #[cfg(feature = "simulated")]
    pub(super) fn simulated(&self) -> Option<(simulated::Medium, u8)> {
        match self {
            Self::Files(_) => None,
            Self::Memory(memory) => Some((memory.medium().clone(), memory.schema())),
        }
    }
}
