//! Starts again where a database cannot be trusted: sets it aside and fills a new one.
//!
//! The new database is made beside the old one and is durable before it takes its place. It carries a note of what
//! happened until the first commit, so that a cut at any point leaves either the damaged database, and all is done
//! again, or the new one with its note. Its commits count on from the highest number that is known: a watermark or
//! a snapshot of the old one is never newer.

use std::fs;
use std::path::{Path, PathBuf};

use super::directory::{self, Directory};
use super::files::Files;
use super::mark::{self, Mark, read_watermark, write_watermark};
use super::medium::Medium;
#[cfg(feature = "simulated")]
use super::simulated;
use super::{Disk, DiskError, Records, database, open_live, pieces, snapshot, unpanicked};

/// What became of a damaged database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// What was wrong with it.
    pub why: String,
    /// Where it is now.
    pub aside: PathBuf,
    /// The number of the commit that the content is of; none: there is no content.
    pub commit: Option<u64>,
    /// Whether that is the last commit that was ever reported as durable, so that nothing is lost.
    pub complete: bool,
}

/// What the new database says of how it came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    why: String,
    commit: Option<u64>,
    complete: bool,
}

/// Opens the database in `path` as [`Disk::open`] does. A damaged one is set aside as `<path>.damaged-<n>`, where
/// the newest three stay, and a new one has the newest content that is whole: that of a snapshot, or that of the
/// database itself where it is only older than it should be. This is told until the first commit, also by the
/// next call after a cut.
///
/// An error that is no damage leaves everything as it is.
pub fn recover(path: &Path, schema: u8) -> Result<(Disk, Records, Option<Recovered>), DiskError> {
    #[cfg(feature = "simulated")]
    if let Some(medium) = simulated::at(path) {
        let (memory, records, recovered) = medium.recover(schema)?;
        return Ok((Disk(Medium::Memory(memory)), records, recovered));
    }
    let directory = Directory::open(path)?;
    let (live, records, note) = match open_live(&directory, schema) {
        Err(why) if why.is_damage() => {
            start_again(&directory, schema, &why)?;
            open_live(&directory, schema)?
        }
        opened => opened?,
    };
    let recovered = note.map(|note| {
        // what cannot be moved is well where it is
        let aside = directory.move_aside();
        note.told(aside.unwrap_or_else(|_| directory.damaged()))
    });
    let files = Files::over(directory, live, schema);
    Ok((Disk(Medium::Files(files)), records, recovered))
}

/// Makes a new database of given records in `path` and sets aside what is there, damaged or not: for who has
/// everything in memory when a write failed.
pub fn rebuild(path: &Path, schema: u8, records: &Records) -> Result<Disk, DiskError> {
    #[cfg(feature = "simulated")]
    if let Some(medium) = simulated::at(path) {
        let memory = medium.rebuild(schema, records)?;
        return Ok(Disk(Medium::Memory(memory)));
    }
    let directory = Directory::open(path)?;
    let at = |error| DiskError::directory(directory.path(), error);
    directory.put_back().map_err(at)?;
    let known = Known::of(&directory, schema)?;
    let pieces = pieces::split_all(records);
    take_place(&directory, schema, &pieces, known.last + 1, None)?;
    let (live, _, _) = open_live(&directory, schema)?;
    // what cannot be moved is well where it is
    let _ = directory.move_aside();
    let files = Files::over(directory, live, schema);
    Ok(Disk(Medium::Files(files)))
}

fn start_again(directory: &Directory, schema: u8, why: &DiskError) -> Result<(), DiskError> {
    let known = Known::of(directory, schema)?;
    let (note, commits) = (known.note(why), known.last + 1);
    take_place(
        directory,
        schema,
        &known.into_pieces(),
        commits,
        Some(&note),
    )
}

/// What is left of a database.
pub(super) struct Known {
    /// The newest content that is whole.
    newest: Option<(Mark, Records)>,
    /// The highest number of a commit that is named anywhere.
    pub(super) last: u64,
    watermark: Option<Mark>,
}

impl Known {
    fn of(directory: &Directory, schema: u8) -> Result<Self, DiskError> {
        let at = |error| DiskError::directory(directory.path(), error);
        let watermark = match read_watermark(directory) {
            Err(error) if !error.is_damage() => return Err(error),
            watermark => watermark.ok().flatten(),
        };
        // with a mark and a digest of its own it is as good as a snapshot, whatever else is wrong
        let own = unpanicked(directory, || {
            if !directory::exists(&directory.db()).map_err(at)? {
                return Ok(None);
            }
            let db = database::open(directory)?;
            let content = database::read(directory, &db, schema);
            database::close(db, directory, &directory.db())?;
            content.map(Some)
        });
        let own = own.ok().flatten();
        let own = own.map(|content| (content.mark, content.records));
        let snapshots = snapshot::list(directory).map_err(at)?;
        let snapshots = snapshots.into_iter().map(|(commits, path)| {
            let read = move || snapshot::read(&path, schema).map_err(at);
            (commits, read)
        });
        Self::among(own, watermark, snapshots)
    }

    /// Finds the newest content that is whole among the database's own, if it is, and snapshots, which are read only where
    /// they are newer.
    pub(super) fn among<R>(
        own: Option<(Mark, Records)>,
        watermark: Option<Mark>,
        snapshots: impl Iterator<Item = (u64, R)>,
    ) -> Result<Self, DiskError>
    where
        R: FnOnce() -> Result<Option<(Mark, Records)>, DiskError>,
    {
        // the watermark knows which content its commit has
        let contradicts = |mark: &Mark| {
            watermark.is_some_and(|known| known.commits == mark.commits && known != *mark)
        };
        let mut newest = own.filter(|(mark, _)| mark.commits > 0 && !contradicts(mark));
        let mut last = watermark.map_or(0, |mark| mark.commits);
        for (commits, read) in snapshots {
            last = last.max(commits);
            let known = newest.as_ref().map(|(mark, _)| mark.commits);
            if known.is_some_and(|known| known >= commits) {
                continue;
            }
            newest = read()?.filter(|(mark, _)| !contradicts(mark)).or(newest);
        }
        last = last.max(newest.as_ref().map_or(0, |(mark, _)| mark.commits));
        Ok(Self {
            newest,
            last,
            watermark,
        })
    }

    /// Says what is lost by starting again with it.
    pub(super) fn note(&self, why: &DiskError) -> Note {
        let commit = self.newest.as_ref().map(|(mark, _)| mark.commits);
        let known = |mark: Mark| commit.unwrap_or_default() >= mark.commits;
        Note {
            why: why.to_string(),
            commit,
            complete: self.watermark.is_some_and(known),
        }
    }

    /// Gives the newest content, in pieces.
    pub(super) fn into_pieces(self) -> Records {
        self.newest.map(|(_, records)| records).unwrap_or_default()
    }
}

/// Makes a new database and lets it take the place of the one in the directory.
fn take_place(
    directory: &Directory,
    schema: u8,
    pieces: &Records,
    commits: u64,
    note: Option<&Note>,
) -> Result<(), DiskError> {
    let path = directory.path();
    let at = |error| DiskError::directory(path, error);
    // what an earlier recovery could not move any more
    if directory::exists(&directory.damaged().join("db")).map_err(at)? {
        directory.move_aside().map_err(at)?;
    }
    let mark = database::make(directory, schema, pieces, commits, note)?;
    keep_aside(directory, schema).map_err(at)?;
    directory.switch_damaged().map_err(at)?;
    write_watermark(directory, schema, mark).map_err(|error| DiskError::sync(path, error))
}

/// Puts the files beside the damaged database to where it goes; a snapshot that is whole stays in its place too.
fn keep_aside(directory: &Directory, schema: u8) -> std::io::Result<()> {
    let damaged = directory.damaged();
    fs::create_dir_all(&damaged)?;
    let mut files = vec![(mark::watermark(directory)?, true)];
    for (_, path) in snapshot::list(directory)? {
        let whole = snapshot::read(&path, schema)?.is_some();
        files.push((path, whole));
    }
    for (path, stays) in files {
        let Some(name) = path.file_name().filter(|_| path.exists()) else {
            continue;
        };
        let aside = damaged.join(name);
        directory::remove_file(&aside)?;
        if stays {
            fs::hard_link(&path, aside)?;
        } else {
            fs::rename(&path, aside)?;
        }
    }
    Ok(())
}

impl Note {
    /// Tells it to whoever opens; what was damaged is at `aside`.
    pub(super) fn told(self, aside: PathBuf) -> Recovered {
        let Self {
            why,
            commit,
            complete,
        } = self;
        Recovered {
            why,
            aside,
            commit,
            complete,
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let Self {
            why,
            commit,
            complete,
        } = self;
        let mut bytes = vec![u8::from(commit.is_some()), u8::from(*complete)];
        bytes.extend(commit.unwrap_or_default().to_be_bytes());
        bytes.extend(why.as_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let ([some, complete], rest) = bytes.split_first_chunk()?;
        let (commit, why) = rest.split_first_chunk()?;
        Some(Self {
            why: String::from_utf8_lossy(why).into_owned(),
            commit: (*some == 1).then(|| u64::from_be_bytes(*commit)),
            complete: *complete == 1,
        })
    }
}

#[cfg(test)]
mod tests;
