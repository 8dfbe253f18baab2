//! The power goes: which states of a directory can be on disk then.
//!
//! What a sync has covered is there: `syncfs` everything before it, `fsync` of a file its bytes and length, `fsync` of
//! a directory the names in it. Of all else any part may be there: of bytes each sector of 512, of the
//! names in a directory what was done first, since file systems keep that order within one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use weir_integration::random::Random;

use crate::recording::{Event, What};

const SECTOR: usize = 512;

/// A directory and all below it.
#[derive(Debug, Clone, Default, Hash, PartialEq, Eq)]
pub(crate) struct Tree {
    /// Files by number; directories are names of a number without a file.
    names: BTreeMap<PathBuf, usize>,
    files: BTreeMap<usize, Vec<u8>>,
}

/// A change as the file system knows it: of numbers, not names.
#[derive(Debug, Clone)]
enum Change {
    Name {
        path: PathBuf,
        number: usize,
        directory: bool,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Unname(PathBuf),
    Write {
        number: usize,
        at: usize,
        bytes: Vec<u8>,
    },
    Resize {
        number: usize,
        len: usize,
    },
}

#[derive(Debug)]
struct Step {
    begin: usize,
    end: usize,
    change: Change,
    /// The end of the sync from which on it is there whatever happens.
    durable: Option<usize>,
}

/// A recording, ready to be cut.
#[derive(Debug)]
pub(crate) struct Film {
    base: Tree,
    steps: Vec<Step>,
    /// What was said, and when.
    said: Vec<(usize, String)>,
    /// Where each step and each sync begins and ends.
    pub(crate) cuts: BTreeSet<usize>,
    /// The lines behind each sync.
    pub(crate) syncs: BTreeSet<usize>,
}

/// What becomes of what no sync has covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsynced {
    Dropped,
    There,
    /// All there, but of the last write so many parts of eight.
    Torn(usize),
    /// Names, but no bytes.
    NamesAlone,
    /// Bytes, but no names.
    BytesAlone,
    /// Some, by a number that decides which.
    Some(u64),
}

/// Which syncs count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Syncs {
    Kept,
    /// As if `syncfs` did nothing.
    FilesAlone,
}

impl Tree {
    /// Reads a directory.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.read_below(root)?;
        Ok(tree)
    }

    fn read_below(&mut self, path: &Path) -> Result<()> {
        let number = self.names.len();
        self.names.insert(path.to_owned(), number);
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                self.read_below(&entry?.path())?;
            }
        } else {
            self.files.insert(number, fs::read(path)?);
        }
        Ok(())
    }

    /// Writes the tree with its root moved to a directory that is not there.
    pub(crate) fn write(&self, root: &Path, to: &Path) -> Result<()> {
        for (path, number) in &self.names {
            let path = to.join(path.strip_prefix(root)?);
            match self.files.get(number) {
                Some(bytes) => fs::write(&path, bytes),
                None => fs::create_dir(&path),
            }
            .with_context(|| path.display().to_string())?;
        }
        Ok(())
    }

    /// Tells it from others.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (path, number) in &self.names {
            path.hash(&mut hasher);
            self.files.get(number).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Says whether there is a file or directory of a name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.keys().any(|path| path.ends_with(name))
    }

    fn has_parent(&self, path: &Path) -> bool {
        let parent = path.parent().and_then(|parent| self.names.get(parent));
        parent.is_some_and(|number| !self.files.contains_key(number))
    }

    /// Makes a change; one whose ground is missing changes nothing.
    fn apply(&mut self, change: &Change, some: impl FnMut() -> bool) {
        match change {
            Change::Name {
                path,
                number,
                directory,
            } => {
                if self.has_parent(path) {
                    self.names.insert(path.clone(), *number);
                    if !directory {
                        self.files.entry(*number).or_default();
                    }
                }
            }
            Change::Rename { from, to } => {
                if !self.names.contains_key(from) || !self.has_parent(to) {
                    return;
                }
                let moved: Vec<PathBuf> = self.below(from);
                for path in moved {
                    let number = self.names.remove(&path).unwrap_or_default();
                    let rest = path.strip_prefix(from).unwrap_or(Path::new(""));
                    let to = if rest.as_os_str().is_empty() {
                        to.clone()
                    } else {
                        to.join(rest)
                    };
                    self.names.insert(to, number);
                }
            }
            Change::Unname(path) => {
                // a directory goes with what it should not have any more
                for path in self.below(path) {
                    self.names.remove(&path);
                }
            }
            Change::Write { number, at, bytes } => self.patch(*number, *at, bytes, some),
            Change::Resize { number, len } => {
                if let Some(file) = self.files.get_mut(number) {
                    file.resize(*len, 0);
                }
            }
        }
    }

    fn below(&self, path: &Path) -> Vec<PathBuf> {
        let all = self.names.keys();
        all.filter(|name| name.starts_with(path)).cloned().collect()
    }

    /// Writes those sectors that `some` says.
    fn patch(&mut self, number: usize, at: usize, bytes: &[u8], mut some: impl FnMut() -> bool) {
        // also of a file that has no name yet
        let file = self.files.entry(number).or_default();
        let mut from = 0;
        while from < bytes.len() {
            let len = (SECTOR - (at + from) % SECTOR).min(bytes.len() - from);
            let to = from + len;
            if some() {
                if file.len() < at + to {
                    file.resize(at + to, 0);
                }
                file[at + from..at + to].copy_from_slice(&bytes[from..to]);
            }
            from = to;
        }
    }
}

impl Film {
    /// Takes a recording that began with `base`.
    pub(crate) fn new(base: Tree, events: Vec<Event>, syncs: Syncs) -> Result<Self> {
        let mut film = Self {
            base: base.clone(),
            steps: Vec::new(),
            said: Vec::new(),
            cuts: BTreeSet::new(),
            syncs: BTreeSet::new(),
        };
        let mut now = base;
        let mut next = now.names.len();
        for Event { begin, end, what } in events {
            film.cuts.extend([begin, end + 1]);
            let number_of = |now: &Tree, path: &Path| now.names.get(path).copied();
            let changes = match what {
                What::Said(text) => {
                    film.said.push((begin, text));
                    continue;
                }
                What::Sync(path) => {
                    film.syncs.insert(end + 1);
                    if let Some(number) = number_of(&now, &path) {
                        film.cover(begin, end, |change, parents| match change {
                            Change::Write { number: of, .. }
                            | Change::Resize { number: of, .. } => *of == number,
                            _ => parents.iter().all(|parent| *parent == path),
                        });
                    }
                    continue;
                }
                What::SyncAll => {
                    if syncs == Syncs::Kept {
                        film.syncs.insert(end + 1);
                        film.cover(begin, end, |_, _| true);
                    }
                    continue;
                }
                What::Open { path, cut } => match number_of(&now, &path) {
                    Some(number) if cut => vec![Change::Resize { number, len: 0 }],
                    Some(_) => vec![],
                    None => {
                        next += 1;
                        vec![Change::Name {
                            path,
                            number: next,
                            directory: false,
                        }]
                    }
                },
                What::Mkdir(path) => {
                    next += 1;
                    vec![Change::Name {
                        path,
                        number: next,
                        directory: true,
                    }]
                }
                What::Link { from, to } => {
                    let number = number_of(&now, &from).context("a link to nothing")?;
                    vec![Change::Name {
                        path: to,
                        number,
                        directory: false,
                    }]
                }
                What::Rename { from, to } => vec![Change::Rename { from, to }],
                What::Unlink(path) | What::Rmdir(path) => vec![Change::Unname(path)],
                // a file without a name is nobody's
                What::Write { path, at, bytes } => number_of(&now, &path)
                    .map(|number| Change::Write { number, at, bytes })
                    .into_iter()
                    .collect(),
                What::Resize { path, len } => number_of(&now, &path)
                    .map(|number| Change::Resize { number, len })
                    .into_iter()
                    .collect(),
            };
            for change in changes {
                now.apply(&change, || true);
                film.steps.push(Step {
                    begin,
                    end,
                    change,
                    durable: None,
                });
            }
        }
        Ok(film)
    }

    fn cover(&mut self, begin: usize, end: usize, covers: impl Fn(&Change, &[&Path]) -> bool) {
        for step in &mut self.steps {
            let done = step.end < begin && step.durable.is_none();
            if done && covers(&step.change, &parents(&step.change)) {
                step.durable = Some(end);
            }
        }
    }

    /// Gives what can be on disk when the power goes before line `cut`.
    pub(crate) fn state(&self, cut: usize, unsynced: Unsynced) -> Tree {
        let mut tree = self.base.clone();
        let mut random = Random::new(match unsynced {
            Unsynced::Some(number) => number,
            _ => 0,
        });
        let done = || self.steps.iter().filter(|step| step.begin < cut);
        let is_durable = |step: &Step| step.durable.is_some_and(|end| end < cut);
        let last = done()
            .filter(|step| !is_durable(step))
            .enumerate()
            .filter(|(_, step)| matches!(step.change, Change::Write { .. }))
            .last()
            .map(|(place, _)| place);
        // which directories have no more changes of names
        let mut stopped: BTreeSet<PathBuf> = BTreeSet::new();
        let mut place = 0;
        for step in done() {
            let change = &step.change;
            if is_durable(step) {
                tree.apply(change, || true);
                continue;
            }
            let is_last = Some(place) == last;
            place += 1;
            let names = matches!(
                change,
                Change::Name { .. } | Change::Rename { .. } | Change::Unname(_)
            );
            match unsynced {
                Unsynced::Dropped => {}
                Unsynced::NamesAlone if !names => {}
                Unsynced::BytesAlone if names => {}
                Unsynced::There | Unsynced::NamesAlone | Unsynced::BytesAlone => {
                    tree.apply(change, || true);
                }
                Unsynced::Torn(parts) if is_last => {
                    if let Change::Write { number, at, bytes } = change {
                        let len = bytes.len() * parts / 8;
                        // up to a sector's end, but for the first of them
                        let end = (at + len) / SECTOR * SECTOR;
                        let len = end.saturating_sub(*at).min(bytes.len());
                        tree.patch(*number, *at, &bytes[..len], || true);
                    }
                }
                Unsynced::Torn(_) => tree.apply(change, || true),
                Unsynced::Some(_) if names => {
                    let parents = parents(change);
                    let stops = parents.iter().any(|parent| stopped.contains(*parent))
                        || random.below(4) == 0;
                    if stops {
                        stopped.extend(parents.into_iter().map(Path::to_owned));
                    } else {
                        tree.apply(change, || true);
                    }
                }
                Unsynced::Some(_) => {
                    if matches!(change, Change::Write { .. }) || random.below(2) == 0 {
                        tree.apply(change, || random.below(2) == 0);
                    }
                }
            }
        }
        tree
    }

    /// Gives the last line before `cut` that begins with a word, as the number behind it.
    pub(crate) fn last_said(&self, word: &str, cut: usize) -> Option<u64> {
        let said = self.said.iter().rev().filter(|(begin, _)| *begin < cut);
        said.filter_map(|(_, text)| text.strip_prefix(word)?.trim().parse().ok())
            .next()
    }

    /// Counts how often something is renamed that was made under a name.
    pub(crate) fn replaces(&self, name: &str) -> usize {
        let renamed = |step: &Step| match &step.change {
            Change::Rename { from, .. } => from.ends_with(name),
            _ => false,
        };
        self.steps.iter().filter(|step| renamed(step)).count()
    }

    /// Says whether anything is left open at a cut.
    pub(crate) fn is_settled(&self, cut: usize) -> bool {
        let mut done = self.steps.iter().filter(|step| step.begin < cut);
        done.all(|step| step.durable.is_some_and(|end| end < cut))
    }
}

/// The directories whose names a change changes.
fn parents(change: &Change) -> Vec<&Path> {
    let paths: Vec<&PathBuf> = match change {
        Change::Name { path, .. } | Change::Unname(path) => vec![path],
        Change::Rename { from, to } => vec![from, to],
        Change::Write { .. } | Change::Resize { .. } => vec![],
    };
    paths.into_iter().filter_map(|path| path.parent()).collect()
}
