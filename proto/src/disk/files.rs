//! Records in a directory of this machine, in sled's files.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use super::directory::Directory;
use super::live::Live;
use super::{Batch, DiskError, Note, Records, Tended, pieces};

/// Records in a directory.
#[derive(Debug)]
pub(super) struct Files {
    state: Mutex<State>,
    // after the database: who comes next finds it closed
    directory: Directory,
    schema: u8,
}

#[derive(Debug)]
pub(super) enum State {
    // boxed: one of the two is as large as a database is
    Live(Box<Live>),
    /// After the first error; with it.
    Failed(Arc<DiskError>),
}

impl Files {
    /// Gives where they are.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Takes over a database that was opened.
    pub(super) fn over(directory: Directory, live: Live, schema: u8) -> Self {
        Self {
            state: Mutex::new(State::Live(Box::new(live))),
            directory,
            schema,
        }
    }

    /// Does the first half of a commit: what its caller waits for.
    pub(super) fn write(&self, batch: &Batch) -> Result<(), DiskError> {
        self.with(|live| {
            if batch.is_empty() {
                return Ok(());
            }
            live.write(&self.directory, self.schema, batch)
        })
    }

    /// Does the second half of a commit: frees memory, exports a snapshot and shrinks the database, where it is time. A failure
    /// of the first is a warning, one of the second is told to whoever commits next.
    pub(super) fn tend(&self) -> Tended {
        let mut tended = Tended::default();
        // told by what comes next
        let _ = self.with(|live| {
            live.collect_garbage();
            tended.exported = live.export_if_due(&self.directory, self.schema);
            tended.shrunk = live.shrink_if_due(&self.directory, self.schema)?;
            Ok(())
        });
        tended
    }

    /// Does something with the database; an error is the last thing that is done with it.
    fn with(&self, act: impl FnOnce(&mut Live) -> Result<(), DiskError>) -> Result<(), DiskError> {
        let mut state = self.state();
        let live = match &mut *state {
            State::Live(live) => live,
            State::Failed(source) => {
                return Err(DiskError::Failed {
                    path: self.directory.path().to_owned(),
                    source: Arc::clone(source),
                });
            }
        };
        let done = unpanicked(&self.directory, || act(live));
        if let Err(error) = &done {
            let before = mem::replace(&mut *state, State::Failed(Arc::new(error.clone())));
            // sled writes what it still has when it is closed, and may panic over that as well
            let _ = catch_unwind(AssertUnwindSafe(|| drop(before)));
        }
        done
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|held| held.into_inner())
    }
}

pub(super) fn open_live(
    directory: &Directory,
    schema: u8,
) -> Result<(Live, Records, Option<Note>), DiskError> {
    let (live, pieces, note) = unpanicked(directory, || Live::open(directory, schema))?;
    let records = pieces::join(pieces)
        .ok_or_else(|| DiskError::damaged(directory.path(), "a record in it has no beginning"))?;
    Ok((live, records, note))
}

/// Makes an error of a panic: of sled, on content that makes no sense to it.
pub(super) fn unpanicked<T>(
    directory: &Directory,
    act: impl FnOnce() -> Result<T, DiskError>,
) -> Result<T, DiskError> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        let message = panic_message(panic.as_ref());
        Err(DiskError::damaged(directory.path(), message))
    })
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    message.unwrap_or("sled panicked").to_owned()
}
