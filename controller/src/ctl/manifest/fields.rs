//! The fields of one resource, taken by name and type. PURE.
//!
//! Everything wrong is noted and reading goes on. A field has two names: the one people write
//! (`spec.sessionAffinity`) and the one the controller's paths use (`session_affinity`).

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Entry, Node, Value};
use super::{Problem, in_file_words};

/// Gives the end of a complaint about `name`: the nearest of `known`, or all of them. Near is what begins
/// alike, or has no more than a third of its letters wrong, left out, put in or swapped.
pub(crate) fn hint(name: &str, known: &[&str]) -> String {
    let lower = name.to_lowercase();
    let distance = |known: &str| {
        let known = known.to_lowercase();
        if lower.len() > 2 && (known.starts_with(&lower) || lower.starts_with(&known)) {
            return 0;
        }
        strsim::damerau_levenshtein(&lower, &known)
    };
    let nearest = known
        .iter()
        .map(|known| (distance(known), *known))
        .filter(|(distance, known)| distance * 3 <= known.len())
        .min();
    match nearest {
        Some((_, known)) => format!("; did you mean {known:?}?"),
        None => format!(" (there is {})", known.join(", ")),
    }
}

/// A map with the names it goes by.
#[derive(Debug, Clone)]
pub(super) struct Object<'a> {
    entries: &'a [Entry],
    line: usize,
    /// What people call it: `spec.frontends[0]`.
    written: String,
    /// What the controller calls it: `frontends[0]`; empty for the resource itself.
    path: String,
}

/// What was found while the fields of one resource are read.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// The start of the controller's paths into this resource: `services[web]`.
    pub(super) owner: String,
    pub(super) problems: Vec<Problem>,
    pub(super) lines: BTreeMap<String, usize>,
    /// Fields that a problem was noted of, so that nobody complains of them again.
    bad: BTreeSet<String>,
}

impl Fields {
    /// Takes the whole of a document.
    pub(super) fn root<'a>(&mut self, node: &'a Node) -> Option<Object<'a>> {
        match &node.value {
            Value::Map(entries) => Some(Object {
                entries,
                line: node.line,
                written: "the document".to_owned(),
                path: String::new(),
            }),
            other => {
                let text = format!("expected a resource, found {}", found(other));
                self.problems.push(Problem::new(node.line, text));
                None
            }
        }
    }

    /// Complains of every field but these.
    pub(super) fn only(&mut self, object: &Object<'_>, known: &[&str]) {
        for entry in object.entries {
            if !known.contains(&entry.key.as_str()) {
                let (key, hint) = (&entry.key, hint(&entry.key, known));
                let text = format!("unknown field {key:?} in {}{hint}", object.written);
                self.problems.push(Problem::new(entry.line, text));
            }
        }
    }

    /// Takes a map that the controller knows by `path`.
    pub(super) fn object<'a>(
        &mut self,
        inside: &Object<'a>,
        name: &str,
        path: &str,
    ) -> Option<Object<'a>> {
        let (entry, path) = self.entry(inside, name, path)?;
        let Value::Map(entries) = &entry.value.value else {
            // "metadata" and "spec" have no place in the controller's paths: they go by their own name.
            let path = if path.is_empty() { name } else { &path };
            self.unexpected(path, &entry.value, "a map");
            return None;
        };
        Some(Object {
            entries,
            line: entry.line,
            written: written(inside, name),
            path,
        })
    }

    /// Takes a list of maps.
    pub(super) fn objects<'a>(
        &mut self,
        inside: &Object<'a>,
        name: &str,
        path: &str,
    ) -> Vec<Object<'a>> {
        let mut taken = Vec::new();
        for (place, (path, item)) in self.items(inside, name, path).into_iter().enumerate() {
            match &item.value {
                Value::Map(entries) => taken.push(Object {
                    entries,
                    line: item.line,
                    written: format!("{}[{place}]", written(inside, name)),
                    path,
                }),
                _ => self.unexpected(&path, item, "a map"),
            }
        }
        taken
    }

    /// Takes a list of texts.
    pub(super) fn texts(&mut self, inside: &Object<'_>, name: &str, path: &str) -> Vec<String> {
        let mut taken = Vec::new();
        for (path, item) in self.items(inside, name, path) {
            match &item.value {
                Value::Text(text) => taken.push(text.clone()),
                _ => self.unexpected(&path, item, "a text"),
            }
        }
        taken
    }

    /// Takes a map of texts.
    pub(super) fn labels(
        &mut self,
        inside: &Object<'_>,
        name: &str,
        path: &str,
    ) -> BTreeMap<String, String> {
        let Some(labels) = self.object(inside, name, path) else {
            return BTreeMap::new();
        };
        let mut taken = BTreeMap::new();
        for entry in labels.entries {
            let path = format!("{}[{}]", labels.path, entry.key);
            self.lines.insert(path.clone(), entry.line);
            match &entry.value.value {
                Value::Text(text) => {
                    taken.insert(entry.key.clone(), text.clone());
                }
                _ => self.unexpected(&path, &entry.value, "a text"),
            }
        }
        taken
    }

    /// Takes a text.
    pub(super) fn text(&mut self, inside: &Object<'_>, name: &str, path: &str) -> Option<String> {
        let (entry, path) = self.entry(inside, name, path)?;
        match &entry.value.value {
            Value::Text(text) => Some(text.clone()),
            _ => {
                self.unexpected(&path, &entry.value, "a text");
                None
            }
        }
    }

    /// Takes a whole number.
    pub(super) fn number<T: std::str::FromStr>(
        &mut self,
        inside: &Object<'_>,
        name: &str,
        path: &str,
    ) -> Option<T> {
        let (entry, path) = self.entry(inside, name, path)?;
        let number = match &entry.value.value {
            Value::Number(digits) => digits.parse().ok(),
            _ => None,
        };
        if number.is_none() {
            self.unexpected(&path, &entry.value, "a whole number of 0 or more");
        }
        number
    }

    /// Takes true or false.
    pub(super) fn flag(&mut self, inside: &Object<'_>, name: &str, path: &str) -> Option<bool> {
        let (entry, path) = self.entry(inside, name, path)?;
        match &entry.value.value {
            Value::Bool(flag) => Some(*flag),
            _ => {
                self.unexpected(&path, &entry.value, "true or false");
                None
            }
        }
    }

    /// Takes one of some words, in upper or lower case; `names` are the field's own and that in the controller's paths.
    pub(super) fn word<T: Copy>(
        &mut self,
        inside: &Object<'_>,
        names: (&str, &str),
        words: &[(&str, T)],
    ) -> Option<T> {
        let (name, path) = names;
        let text = self.text(inside, name, path)?;
        let known = words
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(&text));
        if let Some((_, value)) = known {
            return Some(*value);
        }
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let path = joined(&inside.path, path);
        let problem = format!("{text:?} is not a {name}{}", hint(&text, &all));
        self.complain(&path, &problem);
        None
    }

    /// Complains that a field is not there.
    pub(super) fn missing(&mut self, inside: &Object<'_>, name: &str) {
        self.complain(&joined(&inside.path, name), "missing");
    }

    /// Notes that something is wrong with a field's shape. Nobody complains of it again.
    pub(super) fn complain(&mut self, path: &str, problem: &str) {
        self.refuse(path, problem);
        self.bad.insert(path.to_owned());
    }

    /// Notes what the language refuses, unless it has no better reason than the field's shape.
    pub(super) fn refuse(&mut self, path: &str, problem: &str) {
        let related = |bad: &String| within(path, bad) || within(bad, path);
        if self.bad.iter().any(related) {
            return;
        }
        let whole = match (self.owner.as_str(), path) {
            ("", "name") => "metadata.name".to_owned(),
            (owner, path) => joined(owner, path),
        };
        let text = match in_file_words(&whole).as_str() {
            "" => problem.to_owned(),
            whole => format!("{whole}: {problem}"),
        };
        self.problems.push(Problem::new(self.line(path), text));
    }

    /// Notes a problem in words of its own that are about the field at `path`.
    pub(super) fn say(&mut self, path: &str, text: String) {
        self.problems.push(Problem::new(self.line(path), text));
        self.bad.insert(path.to_owned());
    }

    /// Whether something is wrong with the shape of the field at `path`.
    pub(super) fn is_bad(&self, path: &str) -> bool {
        self.bad.contains(path)
    }

    /// Lets nobody complain of the field at `path`.
    pub(super) fn excuse(&mut self, path: &str) {
        self.bad.insert(path.to_owned());
    }

    /// Looks for the field at `path` where `object` is, until it is found.
    pub(super) fn stand_in(&mut self, path: &str, object: &Object<'_>) {
        self.lines.insert(path.to_owned(), object.line);
    }

    /// Gives the line of a field, or of the nearest thing around it that is written.
    fn line(&self, path: &str) -> usize {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
            if path.is_empty() {
                return self.lines.get("").copied().unwrap_or(1);
            }
        }
    }

    fn unexpected(&mut self, path: &str, node: &Node, expected: &str) {
        self.lines.insert(path.to_owned(), node.line);
        let quote = match (&node.value, expected) {
            (Value::Number(text), "a text") => format!(": write \"{text}\""),
            (Value::Bool(value), "a text") => format!(": write \"{value}\""),
            _ => String::new(),
        };
        let problem = format!("expected {expected}, found {}{quote}", found(&node.value));
        self.complain(path, &problem);
    }

    /// Finds a field and notes its line. What is null is not there.
    fn entry<'a>(
        &mut self,
        inside: &Object<'a>,
        name: &str,
        path: &str,
    ) -> Option<(&'a Entry, String)> {
        let path = joined(&inside.path, path);
        self.lines.entry(inside.path.clone()).or_insert(inside.line);
        let entry = inside.entries.iter().find(|entry| entry.key == name)?;
        self.lines.insert(path.clone(), entry.line);
        (entry.value.value != Value::Null).then_some((entry, path))
    }

    /// Takes the items of a list, each with its path.
    fn items<'a>(
        &mut self,
        inside: &Object<'a>,
        name: &str,
        path: &str,
    ) -> Vec<(String, &'a Node)> {
        let Some((entry, path)) = self.entry(inside, name, path) else {
            return Vec::new();
        };
        let Value::List(items) = &entry.value.value else {
            self.unexpected(&path, &entry.value, "a list");
            return Vec::new();
        };
        let mut taken = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            let path = format!("{path}[{place}]");
            self.lines.insert(path.clone(), item.line);
            taken.push((path, item));
        }
        taken
    }
}

fn written(inside: &Object<'_>, name: &str) -> String {
    if inside.path.is_empty() && inside.written == "the document" {
        name.to_owned()
    } else {
        format!("{}.{name}", inside.written)
    }
}

fn joined(inside: &str, name: &str) -> String {
    match (inside, name) {
        (inside, "") => inside.to_owned(),
        ("", name) => name.to_owned(),
        (inside, name) => format!("{inside}.{name}"),
    }
}

/// Whether `path` is `whole` or something in it.
fn within(path: &str, whole: &str) -> bool {
    path.strip_prefix(whole)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn found(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(text) => format!("the number {text}"),
        Value::Text(text) => format!("{text:?}"),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map".to_owned(),
    }
}
