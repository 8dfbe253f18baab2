//! Why a client reaches a frontend, or does not, as people and programs read it. PURE.

mod document;
mod entry;

use std::collections::BTreeMap;

use anyhow::Result;
use weir_proto::wire;
use weir_proto::wire::client_rule::Kind;

use super::drains::age;
use super::frontend_name;
use crate::ctl::args::DocumentForm;

/// What is known, put together of its parts.
#[derive(Debug, Default)]
pub(crate) struct WhyPage {
    client: String,
    subject: wire::WhySubject,
    nodes: BTreeMap<String, wire::NodeWhy>,
}

impl WhyPage {
    /// Begins with nothing known of a client; empty: of none.
    pub(crate) fn new(client: &str) -> Self {
        Self {
            client: client.to_owned(),
            ..Self::default()
        }
    }

    pub(crate) fn subject(&mut self, subject: wire::WhySubject) {
        self.subject = subject;
    }

    pub(crate) fn node(&mut self, node: wire::NodeWhy) {
        self.nodes.insert(node.node.clone(), node);
    }

    /// Says whether nothing is known to be in the way anywhere.
    pub(crate) fn works(&self) -> bool {
        let works = |node: &wire::NodeWhy| node.verdict.as_ref().is_some_and(|it| it.works);
        self.subject.verdict.is_none() && self.nodes.values().all(works)
    }

    /// Writes it. `now` is in Unix milliseconds.
    pub(crate) fn text(&self, now: u64, form: Option<DocumentForm>) -> Result<String> {
        if let Some(form) = form {
            return document::why(self, form);
        }
        let mut text = self.head(now);
        for node in self.nodes.values() {
            text += &self.of_node(node);
        }
        if self.subject.left_out > 0 {
            let (more, all) = (self.subject.left_out, self.subject.node_count);
            text += &format!("\nand {more} more of {all} nodes: name those that are meant\n");
        }
        Ok(text)
    }

    fn head(&self, now: u64) -> String {
        let subject = &self.subject;
        let frontend = subject.frontend.as_ref().map(frontend_name);
        let frontend = frontend.unwrap_or_default();
        let mut text = match subject.service.as_str() {
            "" => format!("{frontend}: of no service\n"),
            service => format!(
                "{frontend}: of service/{service}, changed at revision {} of {}\n",
                subject.service_revision, subject.revision
            ),
        };
        if let Some(last) = &subject.last_change {
            let ago = match last.unix_ms {
                0 => String::new(),
                then => format!(", {} ago", age(then, now)),
            };
            let (what, who) = (&last.what, &last.who);
            text += &format!(
                "last change: {what} by {who} at revision {}{ago}\n",
                last.revision
            );
        }
        if let Some(verdict) = &subject.verdict {
            text += &format!("in the way: {}\n", verdict.sentence);
        }
        text
    }

    fn of_node(&self, node: &wire::NodeWhy) -> String {
        let verdict = node.verdict.clone().unwrap_or_default();
        let word = match verdict.works {
            true => "works",
            false => "in the way",
        };
        let mut text = format!("\n{}: {word}: {}\n", node.node, verdict.sentence);
        text += &match node.held_generation == node.generation {
            true => format!("  generation {}\n", node.generation),
            false => format!(
                "  generation {}, and should hold {}\n",
                node.held_generation, node.generation
            ),
        };
        for line in entry::lines(node) {
            text += &format!("  {line}\n");
        }
        if node.left_out > 0 {
            text += &format!("  and {} more backends\n", node.left_out);
        }
        for object in &node.objects {
            text += &otherwise(object);
        }
        for rule in &node.rules {
            let rejects = if rule.rejects { ": rejected" } else { "" };
            let kind = kind(rule.kind());
            text += &format!("  {kind:<12}  {}{rejects}\n", rule.words);
        }
        text + &self.connections(node)
    }

    fn connections(&self, node: &wire::NodeWhy) -> String {
        if self.client.is_empty() || node.unanswered.is_some() {
            return String::new();
        }
        let client = &self.client;
        if !node.connections_unknown.is_empty() {
            let why = &node.connections_unknown;
            return format!("  connections of {client} are not known: {why}\n");
        }
        let mut text = format!("  connections of {client}: {}\n", node.connection_count);
        for connection in &node.connections {
            let to = match connection.backend.as_str() {
                "" => "a backend that replies do not name".to_owned(),
                address => super::socket_name(address, connection.backend_port),
            };
            let (port, state) = (connection.client_port, &connection.state);
            text += &format!("    from port {port} to {to}, {state}\n");
        }
        text
    }
}

/// Says how an object is otherwise than it should be; nothing of one that is as it should.
fn otherwise(object: &wire::SeenObject) -> String {
    let words = |of: &Option<wire::KernelObject>| of.as_ref().map(|it| it.words.clone());
    let (desired, kernel) = (words(&object.desired), words(&object.kernel));
    let name = &object.object;
    match (desired, kernel) {
        _ if object.foreign => format!("  {name}: somebody else's\n"),
        (Some(desired), Some(kernel)) if desired != kernel => {
            format!("  {name}: {kernel}, and should be {desired}\n")
        }
        (Some(_), None) => format!("  {name}: not there\n"),
        (None, Some(_)) => format!("  {name}: there, and should not be\n"),
        _ => String::new(),
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Lockdown => "lockdown",
        Kind::SourceRange => "source range",
        Kind::Affinity => "affinity",
        Kind::Loopback => "loopback",
        Kind::Forwarding => "forwarding",
        Kind::Unspecified => "rule",
    }
}
