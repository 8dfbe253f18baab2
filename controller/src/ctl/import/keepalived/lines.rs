//! The lines of a keepalived.conf, as they count: comments gone, files included, definitions filled in, and lines for other
//! machines left out. PURE: files come through a door that the caller gives.
//!
//! Bounds hold against files that would grow without end: how deep definitions and includes nest, how often definitions are
//! filled in, and how long a line gets.

use std::collections::BTreeMap;

use crate::ctl::import::draft::{Place, Read};

/// How deep definitions may stand in definitions, and files include files. keepalived's own files have a handful.
const DEEPEST: usize = 32;
/// How many lines may come out, and how many are looked at on the way: ten times the largest configuration we know of.
const MOST: usize = 200_000;
/// How long a line may get, in bytes.
const LONGEST: usize = 16_384;

/// A file that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    /// What people call it.
    pub(crate) name: String,
    /// The same for the same file, however it is named.
    pub(crate) identity: String,
    pub(crate) text: String,
}

/// Opens what an `include` names, beside the file of that identity: every file that the pattern fits, by name, or why not.
pub(crate) type Open<'a> = dyn FnMut(&str, &str) -> Result<Vec<Opened>, String> + 'a;

/// One line as it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at: Place,
    pub(crate) text: String,
}

/// Gives the lines of a file and of those it includes. What is wrong goes into `read`.
pub(crate) fn lines(
    file: &Opened,
    config_id: Option<&str>,
    open: &mut Open<'_>,
    read: &mut Read,
) -> Vec<Line> {
    let mut reader = Reader {
        config_id,
        open,
        read,
        definitions: BTreeMap::new(),
        stack: Vec::new(),
        lines: Vec::new(),
        steps: 0,
        over: false,
        asked: false,
    };
    reader.file(file);
    reader.lines
}

struct Reader<'a, 'b> {
    config_id: Option<&'a str>,
    open: &'a mut Open<'b>,
    read: &'a mut Read,
    /// Values as they were written: what stands in them is filled in where they are used.
    definitions: BTreeMap<String, String>,
    /// The files that are being read, by identity.
    stack: Vec<String>,
    lines: Vec<Line>,
    steps: usize,
    /// A bound was passed: nothing more is read.
    over: bool,
    /// Whether it was said that a configuration id is missing.
    asked: bool,
}

impl Reader<'_, '_> {
    fn file(&mut self, file: &Opened) {
        let number = self.read.files.len();
        self.read.files.push(file.name.clone());
        self.stack.push(file.identity.clone());
        // A definition of several lines that is being read: its name and the lines so far.
        let mut open: Option<(Place, String, String)> = None;
        for (place, line) in file.text.lines().enumerate() {
            if self.over {
                break;
            }
            let at = Place {
                file: number,
                line: place + 1,
            };
            let line = uncommented(line).trim();
            if let Some((start, name, mut value)) = open.take() {
                let (part, more) = continued(line);
                value.push('\n');
                value.push_str(part);
                match more {
                    true if value.len() > LONGEST * 8 => {
                        self.stop(start, "the definition is too long")
                    }
                    true => open = Some((start, name, value)),
                    false => self.define(name, value),
                }
                continue;
            }
            if line.is_empty() {
                continue;
            }
            if let Some(pattern) = included(line) {
                self.include(at, &file.identity, pattern);
                continue;
            }
            match self.condition(at, line).and_then(definition) {
                Some((name, value)) => match continued(value) {
                    (part, true) => open = Some((at, name.to_owned(), part.to_owned())),
                    (part, false) => self.define(name.to_owned(), part.to_owned()),
                },
                None => self.feed(at, line, 0),
            }
        }
        if let Some((start, name, _)) = open {
            self.read.fault(
                start,
                format!("the definition of ${name} goes on past the end of the file"),
            );
        }
        self.stack.pop();
    }

    fn define(&mut self, name: String, value: String) {
        self.definitions.insert(name, value);
    }

    fn stop(&mut self, at: Place, why: &str) {
        if !self.over {
            self.read
                .fault(at, format!("{why}; nothing after it was read"));
        }
        self.over = true;
    }

    fn include(&mut self, at: Place, beside: &str, pattern: &str) {
        if self.stack.len() >= DEEPEST {
            self.read.fault(
                at,
                format!("include {pattern}: files include files too deep"),
            );
            return;
        }
        match (self.open)(beside, pattern) {
            Err(why) => self.read.fault(at, format!("include {pattern}: {why}")),
            Ok(files) if files.is_empty() => {
                self.read
                    .note(at, format!("include {pattern}: no file fits"));
            }
            Ok(files) => {
                for file in &files {
                    if self.stack.contains(&file.identity) {
                        self.read.fault(
                            at,
                            format!(
                                "include {pattern}: {} is being read already: it includes itself",
                                file.name
                            ),
                        );
                    } else if !self.over {
                        self.file(file);
                    }
                }
            }
        }
    }

    /// Gives what is left of a line if it is for this machine.
    fn condition<'l>(&mut self, at: Place, line: &'l str) -> Option<&'l str> {
        let mut line = line;
        while let Some(rest) = line.strip_prefix('@') {
            let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let (id, wanted) = match word.strip_prefix('^') {
                Some(id) => (id, false),
                None => (word, true),
            };
            match self.config_id {
                None if self.asked => return None,
                None => {
                    self.asked = true;
                    self.read.fault(
                        at,
                        format!("@{word} is for one machine of several: say whose file it is by --config-id"),
                    );
                    return None;
                }
                Some(own) if (own == id) != wanted => return None,
                Some(_) => line = rest.trim_start(),
            }
        }
        Some(line)
    }

    /// Takes a line, with what is defined filled in as often as there is something.
    fn feed(&mut self, at: Place, line: &str, depth: usize) {
        self.steps += 1;
        if self.over {
            return;
        }
        if self.steps > MOST || self.lines.len() > MOST {
            self.stop(at, "the file grows past what is read");
            return;
        }
        if depth > DEEPEST {
            self.stop(at, "definitions stand in definitions too deep");
            return;
        }
        let Some(line) = self.condition(at, line.trim()) else {
            return;
        };
        if line.starts_with("~SEQ") || line.starts_with("~LST") {
            self.read.fault(
                at,
                "~SEQ and ~LST are not read: write out the lines that they stand for",
            );
            return;
        }
        if let Some((name, value)) = definition(line) {
            self.define(
                name.to_owned(),
                value.trim_end_matches('\\').trim_end().to_owned(),
            );
            return;
        }
        let Some(filled) = self.filled(line) else {
            if !line.is_empty() {
                self.lines.push(Line {
                    at,
                    text: line.to_owned(),
                });
            }
            return;
        };
        if filled.len() > LONGEST * 8 {
            self.stop(at, "a line gets too long by what is defined");
            return;
        }
        for line in filled.lines() {
            self.feed(at, line, depth + 1);
        }
    }

    /// Fills in what is defined; none when there is nothing to fill in.
    fn filled(&self, line: &str) -> Option<String> {
        let mut filled = String::new();
        let mut changed = false;
        let mut rest = line;
        while let Some((before, after)) = rest.split_once('$') {
            filled.push_str(before);
            let (name, behind) = match after.strip_prefix('{') {
                Some(inside) => inside.split_once('}').unwrap_or(("", after)),
                None => {
                    let end = after
                        .find(|letter: char| !is_name(letter))
                        .unwrap_or(after.len());
                    let (name, behind) = after.split_at(end);
                    match behind.chars().next() {
                        Some(next) if !next.is_whitespace() => ("", after),
                        _ => (name, behind),
                    }
                }
            };
            rest = match self.definitions.get(name) {
                Some(value) => {
                    changed = true;
                    filled.push_str(value);
                    behind
                }
                None => {
                    filled.push('$');
                    after
                }
            };
            if filled.len() > LONGEST * 8 {
                break;
            }
        }
        filled.push_str(rest);
        changed.then_some(filled)
    }
}

fn is_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// Splits `$NAME=VALUE`.
fn definition(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('$')?.split_once('=')?;
    let good = !name.is_empty()
        && name.chars().all(is_name)
        && !name.starts_with(|l: char| l.is_ascii_digit());
    good.then_some((name, value.trim()))
}

/// Splits off the backslash by which a definition goes on in the next line.
fn continued(line: &str) -> (&str, bool) {
    match line.strip_suffix('\\') {
        Some(part) => (part.trim(), true),
        None => (line, false),
    }
}

/// Gives what an include names.
fn included(line: &str) -> Option<&str> {
    let (word, pattern) = line.split_once(char::is_whitespace)?;
    let kinds = [
        "include", "includer", "includem", "includew", "includeb", "includea",
    ];
    let pattern = pattern.trim().trim_matches('"');
    kinds.contains(&word).then_some(pattern)
}

/// Cuts off a comment, which a `#` or `!` outside of quotes begins.
fn uncommented(line: &str) -> &str {
    let mut quote = None;
    let mut escaped = false;
    for (place, letter) in line.char_indices() {
        match (quote, letter) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), letter) if open == letter => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(letter),
            (None, '#' | '!') => return &line[..place],
            (None, _) => {}
        }
    }
    line
}
