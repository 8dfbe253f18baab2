//! What would be done, and what is not the same, as people and programs read it. PURE.

mod document;

use std::collections::BTreeMap;

use anyhow::Result;
use weir_proto::wire;
use weir_proto::wire::change::Outcome;
use weir_proto::wire::kernel_step::Verb;

use super::rows::NONE;
use super::{Table, counted, outcome, reference, table};
use crate::ctl::args::DocumentForm;

/// What applying would do, put together of its parts.
#[derive(Debug, Default)]
pub(crate) struct PlanPage {
    revision: u64,
    changes: Vec<wire::Change>,
    nodes: BTreeMap<String, wire::NodePlan>,
}

/// What is not the same, put together of its parts.
#[derive(Debug, Default)]
pub(crate) struct DiffPage {
    with_file: bool,
    nodes: BTreeMap<String, wire::NodeDiff>,
}

impl PlanPage {
    pub(crate) fn staged(&mut self, staged: wire::Staged) {
        self.revision = staged.revision;
        self.changes = staged.changes;
    }

    /// Takes the next part of what a node says.
    pub(crate) fn node(&mut self, part: wire::NodePlan) {
        match self.nodes.get_mut(&part.node) {
            Some(known) => {
                known.unanswered = part.unanswered.or(known.unanswered.take());
                known.steps.extend(part.steps);
                known.conflicts.extend(part.conflicts);
                known.left_out += part.left_out;
            }
            None => {
                self.nodes.insert(part.node.clone(), part);
            }
        }
    }

    pub(crate) fn changes_nothing(&self) -> bool {
        let same = |change: &wire::Change| change.outcome() == Outcome::Unchanged;
        self.changes.iter().all(same) && self.nodes.is_empty()
    }

    /// Writes it.
    pub(crate) fn text(&self, form: Option<DocumentForm>) -> Result<String> {
        if let Some(form) = form {
            return document::plan(self, form);
        }
        let mut text = String::new();
        for change in &self.changes {
            let of = change.r#ref.as_ref().map(reference).unwrap_or_default();
            text += &format!("{of} {} (plan)\n", outcome(change.outcome()));
        }
        for node in self.nodes.values() {
            text += &node_plan(node);
        }
        if self.nodes.is_empty() {
            text += "no node would change\n";
        }
        Ok(text)
    }
}

fn node_plan(node: &wire::NodePlan) -> String {
    let name = &node.node;
    if let Some(why) = &node.unanswered {
        return format!("\n{name}: not known: {}\n", why.detail);
    }
    let steps = counted(node.steps.len(), "step");
    let mut text = match (node.held_back.as_str(), node.steps.as_slice()) {
        ("", []) => format!("\n{name}: nothing changes in its kernel\n"),
        ("", _) => format!("\n{name}: {steps}\n"),
        (why, _) => format!("\n{name}: held back until it is released: {why}\n"),
    };
    for of in &node.steps {
        text += &format!("  {}\n", step(of));
    }
    if node.left_out > 0 {
        text += &format!("  and {} more, too many to be told\n", node.left_out);
    }
    for conflict in &node.conflicts {
        text += &format!("  cannot: {conflict}\n");
    }
    text
}

/// Says what a step does: `add backend 10.0.0.1:80 to 10.100.0.1:80/TCP weight 1, masquerade`.
fn step(step: &wire::KernelStep) -> String {
    let is_backend = step.kind == "backend";
    let of = |word: &str| match is_backend {
        true => step.object.replacen(" of ", &format!(" {word} "), 1),
        false => step.object.clone(),
    };
    let words = |object: Option<&wire::KernelObject>| -> Option<String> {
        let object = object?;
        // of what is there and nothing more there is nothing to say
        object.value.as_ref().map(|_| object.words.clone())
    };
    let (found, wanted) = (words(step.found.as_ref()), words(step.wanted.as_ref()));
    let mut text = match step.verb() {
        Verb::Add => {
            let gap = if is_backend { " " } else { ": " };
            let wanted = wanted.map_or_else(String::new, |wanted| format!("{gap}{wanted}"));
            format!("add {}{wanted}", of("to"))
        }
        Verb::Edit => {
            let found = found.unwrap_or_else(|| NONE.to_owned());
            let wanted = wanted.unwrap_or_else(|| NONE.to_owned());
            format!("edit {}: {found} -> {wanted}", of("of"))
        }
        Verb::Remove => format!("remove {}", of("from")),
        Verb::Unspecified => format!("change {}", step.object),
    };
    if step.once_drained {
        text += ", once it is drained";
    }
    if let (Some(active), Some(inactive)) = (step.active_connections, step.inactive_connections) {
        text += &format!(" ({active} active, {inactive} inactive connections)");
    }
    text
}

impl DiffPage {
    /// Begins with nothing; says whether there are files to compare with.
    pub(crate) fn new(with_file: bool) -> Self {
        Self {
            with_file,
            ..Self::default()
        }
    }

    /// Takes the next part of what a node says.
    pub(crate) fn node(&mut self, part: wire::NodeDiff) {
        match self.nodes.get_mut(&part.node) {
            Some(known) => {
                known.unanswered = part.unanswered.or(known.unanswered.take());
                known.differences.extend(part.differences);
                known.left_out += part.left_out;
            }
            None => {
                self.nodes.insert(part.node.clone(), part);
            }
        }
    }

    /// Says whether every node that answered has what it should.
    pub(crate) fn is_same(&self) -> bool {
        let same = |node: &wire::NodeDiff| {
            node.differences.is_empty()
                && node.left_out == 0
                && node.refused == 0
                && node.held_back.is_empty()
        };
        self.nodes.values().all(same)
    }

    /// Counts the nodes that did not answer.
    pub(crate) fn unanswered(&self) -> usize {
        let nodes = self.nodes.values();
        nodes.filter(|node| node.unanswered.is_some()).count()
    }

    /// Writes it; nothing where all is the same.
    pub(crate) fn text(&self, form: Option<DocumentForm>) -> Result<String> {
        if let Some(form) = form {
            return document::diff(self, form);
        }
        let rows: Vec<Vec<String>> = self
            .nodes
            .values()
            .flat_map(|node| self.rows(node))
            .collect();
        let mut header = vec!["NODE", "OBJECT", "FILE", "DESIRED", "KERNEL"];
        if !self.with_file {
            header.remove(2);
        }
        let mut text = match rows.is_empty() {
            true => String::new(),
            false => table(&Table { header, rows }),
        };
        let told: String = self.nodes.values().map(beside).collect();
        if !told.is_empty() && !text.is_empty() {
            text += "\n";
        }
        Ok(text + &told)
    }

    fn rows(&self, node: &wire::NodeDiff) -> Vec<Vec<String>> {
        let words = |object: Option<&wire::KernelObject>| {
            object.map_or_else(|| NONE.to_owned(), |object| object.words.clone())
        };
        let row = |it: &wire::KernelDifference| {
            let mut kernel = words(it.kernel.as_ref());
            if it.foreign {
                kernel += " (somebody else's)";
            }
            let mut row = vec![node.node.clone(), it.object.clone()];
            if self.with_file {
                row.push(words(it.file.as_ref()));
            }
            row.extend([words(it.desired.as_ref()), kernel]);
            row
        };
        node.differences.iter().map(row).collect()
    }
}

/// Says what of a node is no row.
fn beside(node: &wire::NodeDiff) -> String {
    let name = &node.node;
    let mut text = String::new();
    if let Some(why) = &node.unanswered {
        text += &format!("{name}: not known: {}\n", why.detail);
    }
    if !node.held_back.is_empty() {
        text += &format!(
            "{name}: held back until it is released: {}\n",
            node.held_back
        );
    }
    if node.refused > 0 {
        let items = counted(usize::try_from(node.refused).unwrap_or(usize::MAX), "item");
        text += &format!("{name}: does not take {items} of what is desired: see weirctl status\n");
    }
    if node.left_out > 0 {
        text += &format!(
            "{name}: {} more differ, too many to be told\n",
            node.left_out
        );
    }
    text
}
