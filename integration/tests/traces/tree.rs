//! Spans as a tree of text.

use std::fmt::Write as _;

use crate::collector::Span;

/// Writes the spans of a trace as a tree: who sent each, its name and its kind where it has one. Those beside each other are in
/// the order of that text, and one whose parent did not come is a root.
pub(crate) fn tree(spans: &[Span], trace: &str) -> String {
    let spans: Vec<&Span> = spans.iter().filter(|span| span.trace == trace).collect();
    let is_there = |id: &str| spans.iter().any(|span| span.id == id);
    let roots = spans.iter().filter(|span| !is_there(&span.parent));
    let mut text = String::new();
    write(&mut text, &spans, roots.copied().collect(), 0);
    text
}

fn write(text: &mut String, all: &[&Span], mut beside: Vec<&Span>, depth: usize) {
    beside.sort_by_key(|span| line(span));
    for span in beside {
        let _ = writeln!(text, "{:1$}{2}", "", 2 * depth, line(span));
        let children = all.iter().filter(|child| child.parent == span.id);
        write(text, all, children.copied().collect(), depth + 1);
    }
}

fn line(span: &Span) -> String {
    let known = |name: &str| span.resource.get(name).map_or("", String::as_str);
    let instance = match known("service.instance.id") {
        "" => String::new(),
        instance => format!(" {instance}"),
    };
    let kind = match span.kind {
        2 => " (server)",
        3 => " (client)",
        _ => "",
    };
    let failed = span.failed.as_ref().map(|why| format!(": {why}"));
    let failed = failed.unwrap_or_default();
    let service = known("service.name");
    format!("{service}{instance}: {}{kind}{failed}", span.name)
}
