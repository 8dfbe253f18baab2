//! YAML text as a tree in which every key and value knows its line. PURE.
//!
//! Numbers stay as written: only the field they stand in knows what they may be. A text that YAML would
//! read as something else ("3", "true") is a text only where it is quoted.

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::Problem;

/// The most values one file may have once its aliases are written out. A file at the 4 MiB limit of one
/// apply has well under a million; a few nested aliases can ask for billions.
const MOST_VALUES: usize = 2_000_000;

/// A value and the line it starts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

/// What stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map, with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) value: Node,
}

/// Reads every document of a file. After a fault in the YAML itself nothing more of it can be read; what
/// stood before is given all the same, so that its problems are found too.
pub(super) fn documents(text: &str) -> (Vec<Node>, Vec<Problem>) {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let step = match event {
            Ok((event, span)) => builder.take(event, &span),
            Err(error) => {
                let line = error.marker().line();
                Err(Problem::new(line, format!("not YAML: {}", error.info())))
            }
        };
        if let Err(fatal) = step {
            builder.problems.push(fatal);
            break;
        }
    }
    (builder.documents, builder.problems)
}

/// What is open while events come in.
enum Open {
    List {
        line: usize,
        anchor: usize,
        items: Vec<Node>,
    },
    Map {
        line: usize,
        anchor: usize,
        entries: Vec<Entry>,
        key: Option<(String, usize)>,
    },
}

#[derive(Default)]
struct Builder {
    documents: Vec<Node>,
    problems: Vec<Problem>,
    open: Vec<Open>,
    /// Values by the number of their anchor, with how many values they are.
    anchors: Vec<(usize, Node, usize)>,
    values: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Problem> {
        let line = span.start.line();
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.scalar(line, &text, style, tag.as_deref());
                self.count(line, 1)?;
                self.put(Node { line, value }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open.push(Open::List {
                    line,
                    anchor,
                    items: Vec::new(),
                });
                self.count(line, 1)
            }
            Event::MappingStart(_, anchor, _) => {
                self.open.push(Open::Map {
                    line,
                    anchor,
                    entries: Vec::new(),
                    key: None,
                });
                self.count(line, 1)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List {
                    line,
                    anchor,
                    items,
                }) => {
                    let value = Value::List(items);
                    self.put(Node { line, value }, anchor)
                }
                Some(Open::Map {
                    line,
                    anchor,
                    entries,
                    ..
                }) => {
                    let value = Value::Map(entries);
                    self.put(Node { line, value }, anchor)
                }
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                let known = self.anchors.iter().find(|(known, ..)| *known == anchor);
                let Some((_, node, size)) = known.cloned() else {
                    return Err(Problem::new(line, "an alias inside of what it stands for"));
                };
                self.count(line, size)?;
                self.put(node, 0)
            }
            Event::UnresolvedAlias(name) => Err(Problem::new(
                line,
                format!("alias {name:?} stands for nothing"),
            )),
            _ => Ok(()),
        }
    }

    fn count(&mut self, line: usize, more: usize) -> Result<(), Problem> {
        self.values += more;
        if self.values > MOST_VALUES {
            let text = format!("more than {MOST_VALUES} values: split the file");
            return Err(Problem::new(line, text));
        }
        Ok(())
    }

    fn scalar(&mut self, line: usize, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
        match tag.map(|tag| (tag, tag.core_suffix())) {
            Some((_, Some("str"))) => Value::Text(text.to_owned()),
            Some((tag, None)) => {
                let text = format!("tag {} has no meaning here", tag.original());
                self.problems.push(Problem::new(line, text));
                Value::Null
            }
            _ if style == ScalarStyle::Plain => plain(text),
            _ => Value::Text(text.to_owned()),
        }
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        if anchor != 0 {
            let size = size(&node);
            self.anchors.push((anchor, node.clone(), size));
        }
        match self.open.last_mut() {
            None => {
                // An empty document, as after a closing "---", says nothing.
                if node.value != Value::Null {
                    self.documents.push(node);
                }
            }
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                None => *key = Some((as_key(&node)?, node.line)),
                Some((key, line)) => match entries.iter().find(|known| known.key == key) {
                    Some(first) => {
                        let text = format!("{key:?} is given twice; first on line {}", first.line);
                        self.problems.push(Problem::new(line, text));
                    }
                    None => entries.push(Entry {
                        key,
                        line,
                        value: node,
                    }),
                },
            },
        }
        Ok(())
    }
}

fn as_key(node: &Node) -> Result<String, Problem> {
    match &node.value {
        Value::Text(text) | Value::Number(text) => Ok(text.clone()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Null => Ok("null".to_owned()),
        Value::List(_) | Value::Map(_) => Err(Problem::new(node.line, "a key must be a text")),
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|entry| size(&entry.value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => 0,
    }
}

/// Reads a scalar without quotes by the core schema (YAML 1.2.2, section 10.3.2).
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_number(text) => Value::Number(text.to_owned()),
        _ => Value::Text(text.to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    let digits = |text: &str, radix: u32| {
        !text.is_empty() && text.chars().all(|digit| digit.is_digit(radix))
    };
    if let Some(octal) = text.strip_prefix("0o") {
        return digits(octal, 8);
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return digits(hex, 16);
    }
    let unsigned = text.trim_start_matches(['-', '+']);
    if text.len() - unsigned.len() > 1 {
        return false;
    }
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    // Rust reads every float of the schema; what it reads beyond that ("inf", "NaN") starts with a letter.
    unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && unsigned.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests;
