//! What is opened in the editor, and what is made of what was saved. PURE.
//!
//! A draft is a head of comments, which goes, and the document below it.

use weir_proto::wire;

use crate::ctl::manifest::{Fault, File, Manifests};
use crate::ctl::render::{reference, reference_of};

/// The resource that is edited, and what was opened of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) of: wire::ResourceRef,
    /// The document, without the head.
    pub(super) body: String,
    /// Why it was refused, with the line of the document that a reason is about.
    pub(super) reasons: Vec<(Option<usize>, String)>,
    /// What is there by now, where that is something else than was opened.
    pub(super) now: Option<String>,
}

/// What was saved.
#[derive(Debug, PartialEq)]
pub(super) enum Saved {
    /// Nothing else than was opened, or nothing at all.
    Unchanged,
    /// Something to apply.
    Changed(Manifests, String),
    /// Something that cannot be.
    Wrong(Draft),
}

impl Draft {
    /// Begins with the document as it is.
    pub(super) fn new(of: wire::ResourceRef, body: String) -> Self {
        Self {
            of,
            body,
            reasons: Vec::new(),
            now: None,
        }
    }

    /// Gives the text to open. Reasons name the lines of this very text.
    pub(super) fn text(&self) -> String {
        let name = reference(&self.of);
        let mut head = vec![
            format!(
                "Edit {name}: what is saved is applied. Lines at the top that begin with # are left out;"
            ),
            "an empty file changes nothing. What is refused is opened again, with the reasons."
                .to_owned(),
            String::new(),
        ];
        if !self.reasons.is_empty() {
            head.push(format!("{name} was not changed:"));
            let below = head.len()
                + self.reasons.len()
                + 1
                + self.now.as_ref().map_or(0, |now| now.lines().count() + 2);
            head.extend(self.reasons.iter().map(|(line, reason)| match line {
                Some(line) => format!("- line {}: {reason}", line + below),
                None => format!("- {reason}"),
            }));
            head.push(String::new());
        }
        if let Some(now) = &self.now {
            head.push("What is there by now:".to_owned());
            head.extend(now.lines().map(|line| format!("  {line}")));
            head.push(String::new());
        }
        let head: String = head
            .iter()
            .map(|line| format!("# {line}").trim_end().to_owned() + "\n")
            .collect();
        head + &self.body
    }

    /// Takes what was saved.
    pub(super) fn saved(&self, text: &str) -> Saved {
        let body = document(text);
        if body.trim().is_empty() || body == self.body {
            return Saved::Unchanged;
        }
        let file = File {
            name: String::new(),
            text: body.to_owned(),
        };
        let manifests = match Manifests::read(&[file]) {
            Ok(manifests) => manifests,
            Err(faults) => {
                return Saved::Wrong(self.refused(body, faults.iter().map(told).collect()));
            }
        };
        match manifests.references().as_slice() {
            [named] if *named == self.of => Saved::Changed(manifests, body.to_owned()),
            [named] => {
                let (other, own) = (reference(named), reference(&self.of));
                let reason = format!("this is {other}, and {own} is edited");
                Saved::Wrong(self.refused(body, vec![(None, reason)]))
            }
            many => {
                let reason = format!("{} resources are here, and one is edited", many.len());
                Saved::Wrong(self.refused(body, vec![(None, reason)]))
            }
        }
    }

    /// Gives the draft that was refused.
    pub(super) fn refused(&self, body: &str, reasons: Vec<(Option<usize>, String)>) -> Self {
        Self {
            body: body.to_owned(),
            reasons,
            now: None,
            of: self.of.clone(),
        }
    }
}

fn told(fault: &Fault) -> (Option<usize>, String) {
    (Some(fault.line), fault.text.clone())
}

/// Gives what is below the comments at the top.
fn document(text: &str) -> &str {
    let mut rest = text;
    while rest.starts_with('#') {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    rest
}

/// Gives the one resource that was asked for, where there is one.
pub(super) fn only(
    resources: Vec<wire::Resource>,
    of: &wire::ResourceRef,
) -> Option<wire::Resource> {
    resources
        .into_iter()
        .find(|it| reference_of(it).as_ref() == Some(of))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: &str =
        "apiVersion: weir/v1\nkind: Node\nmetadata:\n  name: a\nspec:\n  addresses: []\n";

    fn draft() -> Draft {
        let of = wire::ResourceRef {
            kind: wire::Kind::Node.into(),
            name: "a".to_owned(),
        };
        Draft::new(of, NODE.to_owned())
    }

    const HEAD: &str = "\
# Edit node/a: what is saved is applied. Lines at the top that begin with # are left out;
# an empty file changes nothing. What is refused is opened again, with the reasons.
#
";

    #[test]
    fn what_is_saved_as_it_was_opened_changes_nothing() {
        let text = draft().text();
        assert_eq!(text, format!("{HEAD}{NODE}"));
        for saved in [text.as_str(), NODE, "", "# nothing\n\n"] {
            assert_eq!(draft().saved(saved), Saved::Unchanged, "{saved:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_opened_again_with_the_reason_at_its_line() {
        let bad = NODE.replace(
            "addresses: []",
            "addresses: [10.0.0.1]\n  strictArp: 1\n  x: 2",
        );
        let Saved::Wrong(draft) = draft().saved(&format!("{HEAD}{bad}")) else {
            panic!("it is wrong");
        };
        let text = draft.text();
        let reasons = "\
# node/a was not changed:
# - line 14: nodes[a].strictArp: expected true or false, found the number 1
# - line 15: unknown field \"x\" in spec (there is addresses, strictArp, connectionTimeouts, syncDaemons, cordoned)
#
";
        assert_eq!(text, format!("{HEAD}{reasons}{bad}"));
        let line = |number: usize| text.lines().nth(number - 1);
        assert_eq!(
            (line(14), line(15)),
            (Some("  strictArp: 1"), Some("  x: 2"))
        );
        assert_eq!(draft.saved(&text), Saved::Unchanged);
    }

    #[test]
    fn what_is_there_by_now_stands_above_what_was_written() {
        let mut conflict = draft().refused(NODE, vec![(Some(2), "x".to_owned())]);
        conflict.now = Some("kind: Node\n".to_owned());
        let text = conflict.text();
        let above = "\
# node/a was not changed:
# - line 11: x
#
# What is there by now:
#   kind: Node
#
";
        assert_eq!(text, format!("{HEAD}{above}{NODE}"));
        assert_eq!(text.lines().nth(10), Some("kind: Node"));
    }

    #[test]
    fn one_resource_is_edited_and_keeps_its_name() {
        for (text, reason) in [
            (
                NODE.replace("name: a", "name: b"),
                "this is node/b, and node/a is edited",
            ),
            (
                format!("{NODE}---\n{}", NODE.replace("name: a", "name: b")),
                "2 resources are here, and one is edited",
            ),
        ] {
            let Saved::Wrong(draft) = draft().saved(&text) else {
                panic!("{text}");
            };
            assert_eq!(draft.reasons, [(None, reason.to_owned())]);
        }
    }
}
