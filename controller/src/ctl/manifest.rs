//! Files that people write, read into resources. PURE.
//!
//! Every problem of every file is found in one go and carries the line it stands on. Shape (kinds, field
//! names, types) is checked here; what values mean is checked by the language's own rules, the ones the
//! controller goes by, so that both say the same words. What only the controller can know comes back from
//! it by field path and is brought to its line by [`Manifests::locate`].

mod contexts;
mod fields;
mod object;
mod tree;

use std::collections::BTreeMap;
use std::fmt;

use weir_proto::{convert, wire};

pub(crate) use contexts::{Context, Contexts};
pub(crate) use fields::hint;
pub(crate) use object::{
    API_VERSION, BINDINGS, CHECKSUMS, FAMILIES, FORWARDINGS, KINDS, ON_DEADLINES, PROTOCOLS, ROLES,
    TUNNELS,
};

/// One file and what stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// What people call it: its path, or "stdin".
    pub(crate) name: String,
    pub(crate) text: String,
}

/// What is wrong on one line of a file that is being read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    line: usize,
    text: String,
}

impl Problem {
    fn new(line: usize, text: impl Into<String>) -> Self {
        Self {
            line,
            text: text.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.text)
    }
}

/// What is wrong, and where: `web.yaml:7: services[web].frontends[0].port: 0 is not a port (1-65535)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text)
    }
}

/// One resource and where it was written.
#[derive(Debug, Clone, PartialEq)]
struct Document {
    file: String,
    line: usize,
    resource: wire::Resource,
    /// The line of each field by its path in the resource, as the controller spells it.
    lines: BTreeMap<String, usize>,
}

/// The resources of all files, in the order they were given.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Manifests {
    documents: Vec<Document>,
}

impl Manifests {
    /// Reads all files, or gives everything that is wrong with any of them.
    pub(crate) fn read(files: &[File]) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut documents = Vec::new();
        for file in files {
            let (roots, problems) = tree::documents(&file.text);
            let mut found = problems;
            for object in roots.iter().flat_map(object::split) {
                let read = object::read(object);
                found.extend(read.problems);
                documents.extend(read.resource.map(|resource| Document {
                    file: file.name.clone(),
                    line: object.line,
                    resource,
                    lines: read.lines,
                }));
            }
            found.sort_by_key(|problem| problem.line);
            faults.extend(found.into_iter().map(|problem| Fault {
                file: file.name.clone(),
                line: problem.line,
                text: problem.text,
            }));
        }
        faults.extend(repeated(&documents));
        if faults.is_empty() {
            Ok(Self { documents })
        } else {
            Err(faults)
        }
    }

    /// Whether no file said anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// Gives the resources as they go on the wire.
    pub(crate) fn resources(&self) -> Vec<wire::Resource> {
        self.documents
            .iter()
            .map(|document| document.resource.clone())
            .collect()
    }

    /// Gives the kind and name of each resource.
    pub(crate) fn references(&self) -> Vec<wire::ResourceRef> {
        self.documents
            .iter()
            .filter_map(|document| reference(&document.resource))
            .collect()
    }

    /// Finds the file and line of a field by the path the controller gives it
    /// (`services[web].frontends[0].port`). A field that is not written is found at what it belongs in.
    pub(crate) fn locate(&self, path: &str) -> Option<(&str, usize)> {
        let (document, field) = self.owner(path)?;
        let mut field = field;
        loop {
            if let Some(line) = document.lines.get(field) {
                return Some((&document.file, *line));
            }
            match field.rfind(['.', '[']) {
                Some(end) => field = &field[..end],
                None => return Some((&document.file, document.line)),
            }
        }
    }

    /// Splits a path into the document it is about and the path inside of it.
    fn owner<'a>(&self, path: &'a str) -> Option<(&Document, &'a str)> {
        let inside = |rest: &'a str| rest.strip_prefix('.').unwrap_or(rest);
        if let Some(rest) = path.strip_prefix("resources[") {
            let (place, rest) = rest.split_once(']')?;
            let document = self.documents.get(place.parse::<usize>().ok()?)?;
            return Some((document, inside(rest)));
        }
        self.documents.iter().find_map(|document| {
            let prefix = prefix(&document.resource)?;
            let rest = path.strip_prefix(prefix.as_str())?;
            Some((document, inside(rest)))
        })
    }
}

fn reference(resource: &wire::Resource) -> Option<wire::ResourceRef> {
    use wire::resource::Kind;
    let (kind, name) = match resource.kind.as_ref()? {
        Kind::Service(service) => (wire::Kind::Service, &service.name),
        Kind::Node(node) => (wire::Kind::Node, &node.name),
        Kind::BackendSet(set) => (wire::Kind::BackendSet, &set.name),
    };
    Some(wire::ResourceRef {
        kind: kind.into(),
        name: name.clone(),
    })
}

/// Gives the start of the controller's paths into a resource: `services[web]`.
fn prefix(resource: &wire::Resource) -> Option<String> {
    let reference = reference(resource)?;
    let kind = convert::kind_from_wire(reference.kind).ok()?;
    Some(format!("{}[{}]", kind.plural(), reference.name))
}

/// Gives a controller's path in the words of a file: `services[web].session_affinity.timeout_seconds` is
/// `services[web].sessionAffinity.timeoutSeconds` there. Names and keys, in brackets, stay as they are.
pub(crate) fn in_file_words(path: &str) -> String {
    let mut words = String::with_capacity(path.len());
    let (mut depth, mut raise) = (0_usize, false);
    for letter in path.chars() {
        match letter {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if letter == '_' && depth == 0 {
            raise = true;
            continue;
        }
        words.push(if raise {
            letter.to_ascii_uppercase()
        } else {
            letter
        });
        raise = false;
    }
    words
}

fn repeated(documents: &[Document]) -> Vec<Fault> {
    let mut first: BTreeMap<String, &Document> = BTreeMap::new();
    let mut faults = Vec::new();
    for document in documents {
        let Some(prefix) = prefix(&document.resource) else {
            continue;
        };
        match first.get(&prefix) {
            Some(first) => faults.push(Fault {
                file: document.file.clone(),
                line: document.line,
                text: format!(
                    "{} is given twice; first at {}:{}",
                    in_file_words(&prefix),
                    first.file,
                    first.line
                ),
            }),
            None => {
                first.insert(prefix, document);
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests;
