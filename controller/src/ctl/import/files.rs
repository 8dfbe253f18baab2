//! Opens what is imported, and the files that it includes.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::keepalived::Opened;
use crate::ctl::outcome::{Trouble, plain};

/// Opens a file that was named, or standard input by "-".
pub(super) fn open(name: &str) -> Result<Opened, Trouble> {
    let done = match name {
        "-" => io::read_to_string(io::stdin().lock().by_ref()).map(|text| Opened {
            name: "stdin".to_owned(),
            // Files that standard input includes are beside where we are.
            identity: "./-".to_owned(),
            text,
        }),
        name => opened(Path::new(name)),
    };
    done.map_err(|error| Trouble::Detailed {
        details: Vec::new(),
        summary: format!("{name}: cannot read it: {}", plain(&error)),
    })
}

fn opened(path: &Path) -> io::Result<Opened> {
    let identity = path.canonicalize()?;
    Ok(Opened {
        name: path.display().to_string(),
        identity: identity.display().to_string(),
        text: std::fs::read_to_string(path)?,
    })
}

/// Opens every file that a pattern fits, by name: from the directory of `file`, unless the pattern is absolute. A pattern
/// without wildcards is a file that must be there.
pub(super) fn beside(file: &str, pattern: &str) -> Result<Vec<Opened>, String> {
    if pattern.contains(['{', '}']) {
        return Err("braces are not read: include each file by itself".to_owned());
    }
    let directory = Path::new(file).parent().unwrap_or(Path::new("."));
    let whole = directory.join(pattern);
    let paths = if pattern.contains(['*', '?', '[']) {
        let mut paths = vec![PathBuf::new()];
        for part in whole.components() {
            let part = part.as_os_str().to_string_lossy();
            paths = paths.iter().flat_map(|path| step(path, &part)).collect();
        }
        paths.retain(|path| path.is_file());
        paths
    } else {
        vec![whole]
    };
    let opened = paths.iter().map(|path| {
        opened(path)
            .map_err(|error| format!("{}: cannot read it: {}", path.display(), plain(&error)))
    });
    opened.collect()
}

/// Gives where one part of a pattern leads from a directory.
fn step(from: &Path, part: &str) -> Vec<PathBuf> {
    if !part.contains(['*', '?', '[']) {
        return vec![from.join(part)];
    }
    let here = match from.as_os_str().is_empty() {
        true => Path::new("."),
        false => from,
    };
    let Ok(entries) = here.read_dir() else {
        return Vec::new();
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let mut names: Vec<String> = names
        .filter_map(|name| name.into_string().ok())
        // As for a shell, a hidden file is meant where its dot is written.
        .filter(|name| !name.starts_with('.') || part.starts_with('.'))
        .filter(|name| {
            let (part, name): (Vec<char>, Vec<char>) =
                (part.chars().collect(), name.chars().collect());
            fits(&part, &name)
        })
        .collect();
    names.sort();
    names.iter().map(|name| from.join(name)).collect()
}

/// Says whether a name fits a pattern of `*`, `?` and `[abc]`, `[a-c]`, `[!abc]`. It looks at each place of the name once
/// for each star.
fn fits(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut place) = (0, 0);
    // Where to go on when what follows the last star does not fit.
    let mut back: Option<(usize, usize)> = None;
    while place < name.len() {
        match one(&pattern[at..], name[place]) {
            Some(0) => {
                back = Some((at + 1, place));
                at += 1;
            }
            Some(length) => {
                at += length;
                place += 1;
            }
            None => match back {
                Some((star, from)) => {
                    at = star;
                    place = from + 1;
                    back = Some((star, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

/// Gives how much of a pattern one letter fits; 0 is a star, which fits any number of them.
fn one(pattern: &[char], letter: char) -> Option<usize> {
    match pattern {
        ['*', ..] => Some(0),
        ['?', ..] => Some(1),
        ['[', rest @ ..] => {
            let end = rest.iter().skip(1).position(|letter| *letter == ']')? + 1;
            let (not, set) = match &rest[..end] {
                ['!' | '^', set @ ..] => (true, set),
                set => (false, set),
            };
            let mut inside = false;
            let mut set = set;
            while let Some((first, more)) = set.split_first() {
                set = match more {
                    ['-', last, more @ ..] => {
                        inside |= (*first..=*last).contains(&letter);
                        more
                    }
                    more => {
                        inside |= *first == letter;
                        more
                    }
                };
            }
            (inside != not).then_some(end + 2)
        }
        [plain, ..] => (*plain == letter).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*.conf", "web.conf", true),
            ("*.conf", "web.conf.bak", false),
            ("*", "", true),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXcXb", false),
            ("vs-?.conf", "vs-1.conf", true),
            ("vs-?.conf", "vs-10.conf", false),
            ("vs-[0-3].conf", "vs-2.conf", true),
            ("vs-[!0-3].conf", "vs-2.conf", false),
            ("vs-[ab]", "vs-b", true),
            ("vs-[", "vs-[", false),
            ("web", "web", true),
        ] {
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(
                fits(&letters(pattern), &letters(name)),
                expected,
                "{pattern} {name}"
            );
        }
    }
}
