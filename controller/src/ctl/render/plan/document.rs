//! Plans and comparisons for programs. PURE.

use anyhow::Result;
use serde::Serialize;
use weir_proto::wire;
use weir_proto::wire::kernel_step::Verb;

use super::super::{outcome, reference, written};
use super::{DiffPage, PlanPage};
use crate::ctl::args::DocumentForm;
use crate::ctl::manifest::API_VERSION;

/// Writes what would be done.
pub(super) fn plan(page: &PlanPage, form: DocumentForm) -> Result<String> {
    let changes = page.changes.iter().map(|change| Changed {
        resource: change.r#ref.as_ref().map(reference).unwrap_or_default(),
        outcome: outcome(change.outcome()),
    });
    let nodes = page.nodes.values().map(|node| NodePlan {
        node: &node.node,
        generation: node.generation,
        not_known: node.unanswered.as_ref().map(NotKnown::new),
        held_back: text(&node.held_back),
        steps: node.steps.iter().map(Step::new).collect(),
        left_out: node.left_out,
        conflicts: &node.conflicts,
    });
    let plan = Plan {
        api_version: API_VERSION,
        kind: "Plan",
        revision: page.revision,
        changes: changes.collect(),
        nodes: nodes.collect(),
    };
    written(&plan, form)
}

/// Writes what is not the same.
pub(super) fn diff(page: &DiffPage, form: DocumentForm) -> Result<String> {
    let nodes = page.nodes.values().map(|node| NodeDiff {
        node: &node.node,
        generation: node.generation,
        held_generation: node.held_generation,
        not_known: node.unanswered.as_ref().map(NotKnown::new),
        held_back: text(&node.held_back),
        refused: node.refused,
        differences: node
            .differences
            .iter()
            .map(|it| Difference {
                object: &it.object,
                kind: &it.kind,
                file: page.with_file.then(|| words(it.file.as_ref())),
                desired: words(it.desired.as_ref()),
                kernel: words(it.kernel.as_ref()),
                foreign: it.foreign,
            })
            .collect(),
        left_out: node.left_out,
    });
    let diff = Diff {
        api_version: API_VERSION,
        kind: "Diff",
        nodes: nodes.collect(),
    };
    written(&diff, form)
}

fn text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn words(object: Option<&wire::KernelObject>) -> Option<&str> {
    object.map(|object| object.words.as_str())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Plan<'a> {
    api_version: &'static str,
    kind: &'static str,
    revision: u64,
    changes: Vec<Changed>,
    nodes: Vec<NodePlan<'a>>,
}

#[derive(Serialize)]
struct Changed {
    resource: String,
    outcome: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodePlan<'a> {
    node: &'a str,
    generation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_known: Option<NotKnown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_back: Option<&'a str>,
    steps: Vec<Step<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    left_out: u64,
    #[serde(skip_serializing_if = "is_empty")]
    conflicts: &'a [String],
}

#[derive(Serialize)]
struct NotKnown<'a> {
    reason: &'static str,
    detail: &'a str,
}

impl<'a> NotKnown<'a> {
    fn new(why: &'a wire::Unanswered) -> Self {
        Self {
            reason: why.reason().as_str_name(),
            detail: &why.detail,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Step<'a> {
    verb: &'static str,
    object: &'a str,
    kind: &'a str,
    /// Null: it is not there.
    found: Option<&'a str>,
    /// Null: it goes.
    wanted: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    active_connections: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inactive_connections: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    once_drained: bool,
}

impl<'a> Step<'a> {
    fn new(step: &'a wire::KernelStep) -> Self {
        Self {
            verb: match step.verb() {
                Verb::Add => "add",
                Verb::Edit => "edit",
                Verb::Remove => "remove",
                Verb::Unspecified => "change",
            },
            object: &step.object,
            kind: &step.kind,
            found: words(step.found.as_ref()),
            wanted: words(step.wanted.as_ref()),
            active_connections: step.active_connections,
            inactive_connections: step.inactive_connections,
            once_drained: step.once_drained,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Diff<'a> {
    api_version: &'static str,
    kind: &'static str,
    nodes: Vec<NodeDiff<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeDiff<'a> {
    node: &'a str,
    generation: u64,
    held_generation: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_known: Option<NotKnown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_back: Option<&'a str>,
    #[serde(skip_serializing_if = "is_zero")]
    refused: u64,
    differences: Vec<Difference<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    left_out: u64,
}

/// Null: it is not there.
#[derive(Serialize)]
struct Difference<'a> {
    object: &'a str,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<Option<&'a str>>,
    desired: Option<&'a str>,
    kernel: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    foreign: bool,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_empty(all: &[String]) -> bool {
    all.is_empty()
}
