//! What a program did to files, from the record that strace(1) writes: `-f -y -xx`, each string whole.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use weir_integration::program;

/// Every call that changes a file or a name, or makes such a change durable. One that the parser does not know
/// is an error, so that none is left out.
const CALLS: &str = "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,truncate,ftruncate,fallocate,\
    copy_file_range,sendfile,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,\
    mkdirat,rmdir,fsync,fdatasync,sync_file_range,syncfs,sync,msync";

/// One thing that was done, and between which lines of the record.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) begin: usize,
    pub(crate) end: usize,
    pub(crate) what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    /// Opened, and made if it was not there.
    Open {
        path: PathBuf,
        cut: bool,
    },
    Write {
        path: PathBuf,
        at: usize,
        bytes: Vec<u8>,
    },
    Resize {
        path: PathBuf,
        len: usize,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink(PathBuf),
    Mkdir(PathBuf),
    Rmdir(PathBuf),
    /// A file's bytes and length, or the names in a directory.
    Sync(PathBuf),
    /// Everything.
    SyncAll,
    /// A line on standard output.
    Said(String),
}

/// Runs the scribe on a journal and gives what it did to files below `root`.
pub(crate) fn record(root: &Path, journal: &Path, until: u64, size: &str) -> Result<Vec<Event>> {
    let log = tempfile::NamedTempFile::new()?;
    let mut command = Command::new("strace");
    command
        .args(["-f", "-y", "-xx", "-s", "100000000", "-e"])
        .arg(format!("trace={CALLS}"))
        .arg("-o")
        .arg(log.path())
        .arg(program::ours("scribe")?)
        .arg(journal)
        .args([&until.to_string(), size]);
    program::run(&mut command, "")?;
    let text = std::fs::read_to_string(log.path())?;
    events(&text, root)
}

fn events(text: &str, root: &Path) -> Result<Vec<Event>> {
    let mut unfinished: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    let mut offsets: BTreeMap<String, usize> = BTreeMap::new();
    let mut events = Vec::new();
    for (place, line) in text.lines().enumerate() {
        let (thread, rest) = line.split_once(' ').context("a line without a thread")?;
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread, (place, begun));
            continue;
        }
        let (begin, call) = match rest.strip_prefix("<... ") {
            None => (place, rest.to_owned()),
            Some(resumed) => {
                let (begin, begun) = unfinished.remove(thread).context("nothing to resume")?;
                let (_, end) = resumed.split_once(" resumed>").context("resumed")?;
                (begin, format!("{begun}{end}"))
            }
        };
        let what = parse(&call, root, &mut offsets);
        let what = what.with_context(|| call.chars().take(300).collect::<String>())?;
        events.extend(what.map(|what| Event {
            begin,
            end: place,
            what,
        }));
    }
    ensure!(unfinished.is_empty(), "calls that never returned");
    Ok(events)
}

/// Reads one call; none where it failed or is about something else.
fn parse(call: &str, root: &Path, offsets: &mut BTreeMap<String, usize>) -> Result<Option<What>> {
    let (name, rest) = call.split_once('(').context("no call")?;
    let (args, result) = rest.rsplit_once(" = ").context("no result")?;
    let args = args.trim_end().strip_suffix(')').context("no end")?;
    let args: Vec<&str> = args.split(", ").collect();
    let (number, _) = result.split_once([' ', '<']).unwrap_or((result, ""));
    if number == "-1" || number == "?" {
        return Ok(None);
    }
    let ours = |path: PathBuf| path.starts_with(root).then_some(path);
    let arg = |place: usize| args.get(place).copied().context("too few arguments");
    let len = |place: usize| -> Result<usize> { Ok(arg(place)?.parse()?) };
    // of a name beside a directory's descriptor
    let at = |place: usize| -> Result<PathBuf> {
        let name = path_of(arg(place + 1)?)?;
        Ok(opened(arg(place)?)?.map_or(name.clone(), |dir| dir.join(name)))
    };
    let what = match name {
        "openat" => {
            let path = at(0)?;
            let flags = arg(2)?;
            offsets.insert(number.to_owned(), 0);
            ensure!(!flags.contains("O_APPEND"), "appending is not modelled");
            let writes = flags.contains("O_CREAT") || flags.contains("O_TRUNC");
            let cut = flags.contains("O_TRUNC");
            ours(path)
                .filter(|_| writes)
                .map(|path| What::Open { path, cut })
        }
        "write" => {
            let (descriptor, _) = arg(0)?.split_once('<').context("no descriptor")?;
            let bytes = bytes_of(arg(1)?)?;
            ensure!(bytes.len() == number.parse::<usize>()?, "a short write");
            if descriptor == "1" {
                let text = String::from_utf8(bytes)?;
                return Ok(Some(What::Said(text.trim_end().to_owned())));
            }
            let offset = offsets.entry(descriptor.to_owned()).or_default();
            let at = *offset;
            *offset += bytes.len();
            let path = opened(arg(0)?)?.and_then(ours);
            path.map(|path| What::Write { path, at, bytes })
        }
        "pwrite64" => {
            let bytes = bytes_of(arg(1)?)?;
            ensure!(bytes.len() == number.parse::<usize>()?, "a short write");
            let at = len(3)?;
            let path = opened(arg(0)?)?.and_then(ours);
            path.map(|path| What::Write { path, at, bytes })
        }
        "ftruncate" => {
            let len = len(1)?;
            let path = opened(arg(0)?)?.and_then(ours);
            path.map(|path| What::Resize { path, len })
        }
        "rename" => rename(path_of(arg(0)?)?, path_of(arg(1)?)?, root),
        "renameat" | "renameat2" => rename(at(0)?, at(2)?, root),
        "link" => link(path_of(arg(0)?)?, path_of(arg(1)?)?, root),
        "linkat" => link(at(0)?, at(2)?, root),
        "unlink" => ours(path_of(arg(0)?)?).map(What::Unlink),
        "unlinkat" if arg(2)? == "AT_REMOVEDIR" => ours(at(0)?).map(What::Rmdir),
        "unlinkat" => ours(at(0)?).map(What::Unlink),
        "mkdir" => ours(path_of(arg(0)?)?).map(What::Mkdir),
        "mkdirat" => ours(at(0)?).map(What::Mkdir),
        "rmdir" => ours(path_of(arg(0)?)?).map(What::Rmdir),
        "fsync" | "fdatasync" => opened(arg(0)?)?.and_then(ours).map(What::Sync),
        "syncfs" => opened(arg(0)?)?.and_then(ours).map(|_| What::SyncAll),
        // asks for writing, and promises nothing: sync_file_range(2), "Warning"
        "sync_file_range" => None,
        other => bail!("{other} is not modelled"),
    };
    Ok(what)
}

fn rename(from: PathBuf, to: PathBuf, root: &Path) -> Option<What> {
    from.starts_with(root).then_some(What::Rename { from, to })
}

fn link(from: PathBuf, to: PathBuf, root: &Path) -> Option<What> {
    from.starts_with(root).then_some(What::Link { from, to })
}

/// Reads the name behind a descriptor, `3<\x2f\x61>`; none for the working directory, where every path is whole.
fn opened(arg: &str) -> Result<Option<PathBuf>> {
    if arg.starts_with("AT_FDCWD") {
        return Ok(None);
    }
    let (_, name) = arg.split_once('<').context("a descriptor without a name")?;
    let (name, rest) = name.split_once('>').context("no end of a name")?;
    let mut name = String::from_utf8(unhex(name)?)?;
    // strace says so behind the name; what has none any more must not be taken for its successor
    name.push_str(rest);
    Ok(Some(PathBuf::from(name)))
}

fn path_of(arg: &str) -> Result<PathBuf> {
    Ok(PathBuf::from(String::from_utf8(bytes_of(arg)?)?))
}

fn bytes_of(arg: &str) -> Result<Vec<u8>> {
    let quoted = arg
        .strip_prefix('"')
        .and_then(|arg| arg.strip_suffix('"'))
        .context("not whole")?;
    unhex(quoted)
}

fn unhex(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4);
    for part in text.as_bytes().chunks(4) {
        let [b'\\', b'x', digits @ ..] = part else {
            bail!("no hexadecimal byte");
        };
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits)?, 16)?);
    }
    Ok(bytes)
}
