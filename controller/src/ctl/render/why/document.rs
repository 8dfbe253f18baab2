//! The same for programs. PURE.

use anyhow::Result;
use serde::Serialize;
use weir_proto::wire;

use super::super::{frontend_name, written};
use super::{WhyPage, entry, kind};
use crate::ctl::args::DocumentForm;
use crate::ctl::manifest::API_VERSION;

/// Writes it.
pub(super) fn why(page: &WhyPage, form: DocumentForm) -> Result<String> {
    let subject = &page.subject;
    let why = Why {
        api_version: API_VERSION,
        kind: "Why",
        frontend: subject.frontend.as_ref().map(frontend_name),
        client: text(&page.client),
        service: text(&subject.service),
        service_revision: subject.service_revision,
        revision: subject.revision,
        last_change: subject.last_change.as_ref().map(|last| LastChange {
            revision: last.revision,
            unix_ms: last.unix_ms,
            who: &last.who,
            what: &last.what,
        }),
        works: page.works(),
        obstacle: subject.verdict.as_ref().map(Obstacle::new),
        node_count: subject.node_count,
        left_out: subject.left_out,
        nodes: page.nodes.values().map(Node::new).collect(),
    };
    written(&why, form)
}

fn text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Why<'a> {
    api_version: &'static str,
    kind: &'static str,
    frontend: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    service: Option<&'a str>,
    service_revision: u64,
    revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_change: Option<LastChange<'a>>,
    works: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    obstacle: Option<Obstacle<'a>>,
    node_count: u64,
    left_out: u64,
    nodes: Vec<Node<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LastChange<'a> {
    revision: u64,
    unix_ms: u64,
    who: &'a str,
    what: &'a str,
}

#[derive(Serialize)]
struct Obstacle<'a> {
    reason: &'static str,
    detail: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Node<'a> {
    node: &'a str,
    generation: u64,
    held_generation: u64,
    works: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    obstacle: Option<Obstacle<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_known: Option<&'a str>,
    ipvsadm: Vec<String>,
    objects: Vec<Object<'a>>,
    left_out: u64,
    rules: Vec<Rule<'a>>,
    connection_count: u64,
    connections: Vec<Connection<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections_not_known: Option<&'a str>,
}

#[derive(Serialize)]
struct Object<'a> {
    object: &'a str,
    kind: &'a str,
    desired: Option<&'a str>,
    kernel: Option<&'a str>,
    foreign: bool,
}

#[derive(Serialize)]
struct Rule<'a> {
    kind: &'static str,
    words: &'a str,
    rejects: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Connection<'a> {
    client_port: u32,
    backend: Option<&'a str>,
    backend_port: u32,
    state: &'a str,
}

impl<'a> Obstacle<'a> {
    fn new(verdict: &'a wire::Verdict) -> Self {
        Self {
            reason: verdict.obstacle().as_str_name(),
            detail: &verdict.sentence,
        }
    }
}

impl<'a> Node<'a> {
    fn new(node: &'a wire::NodeWhy) -> Self {
        let words =
            |of: &'a Option<wire::KernelObject>| of.as_ref().map(|object| object.words.as_str());
        let verdict = node.verdict.as_ref();
        Self {
            node: &node.node,
            generation: node.generation,
            held_generation: node.held_generation,
            works: verdict.is_some_and(|verdict| verdict.works),
            obstacle: verdict.filter(|verdict| !verdict.works).map(Obstacle::new),
            not_known: node.unanswered.as_ref().map(|why| why.detail.as_str()),
            ipvsadm: entry::lines(node),
            objects: node
                .objects
                .iter()
                .map(|seen| Object {
                    object: &seen.object,
                    kind: &seen.kind,
                    desired: words(&seen.desired),
                    kernel: words(&seen.kernel),
                    foreign: seen.foreign,
                })
                .collect(),
            left_out: node.left_out,
            rules: node
                .rules
                .iter()
                .map(|rule| Rule {
                    kind: kind(rule.kind()),
                    words: &rule.words,
                    rejects: rule.rejects,
                })
                .collect(),
            connection_count: node.connection_count,
            connections: node
                .connections
                .iter()
                .map(|it| Connection {
                    client_port: it.client_port,
                    backend: text(&it.backend),
                    backend_port: it.backend_port,
                    state: &it.state,
                })
                .collect(),
            connections_not_known: text(&node.connections_unknown),
        }
    }
}
