//! A rollout: the page that `rollout status` shows, and its form for programs. PURE.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;
use weir_proto::model::Canary;
use weir_proto::wire::rollout::{Node, Phase};
use weir_proto::{convert, wire};

use super::rows::UNKNOWN;
use super::{Table, counted, human, reference, streamed, table, written};
use crate::ctl::args::DocumentForm;

/// Sets the whole of a rollout. `now` is in Unix milliseconds.
pub(crate) fn rollout_page(rollout: Option<&wire::Rollout>, now: u64) -> String {
    let Some(rollout) = rollout else {
        return "No rollout: weirctl apply --canary begins one.\n".to_owned();
    };
    let age = |since: u64| human(Duration::from_secs(now.saturating_sub(since) / 1_000));
    let mut text = format!("{}\n", rollout_line(rollout));
    if !rollout.reason.is_empty() {
        text += &format!("{}\n", rollout.reason);
    }
    let refs: Vec<String> = rollout.refs.iter().map(reference).collect();
    text += &format!(
        "{} by {}, begun {} ago, changed {} ago\n",
        refs.join(", "),
        rollout.who,
        age(rollout.begun_unix_ms),
        age(rollout.changed_unix_ms),
    );
    if rollout.nodes.is_empty() {
        return text + "It touches no node.\n";
    }
    text += "\n";
    text += &table(&rows(rollout));
    let held: Vec<&Node> = rollout
        .nodes
        .iter()
        .filter(|it| !it.held.is_empty())
        .collect();
    if !held.is_empty() {
        text += "\n";
    }
    for Node { name, held, .. } in held {
        text += &format!("{name}: {held}; weirctl node release {name}\n");
    }
    text
}

/// Says in one line where a rollout stands: `rollout 7: running, step 2 of 3 (1,10%,100%), 2 of 20 nodes have it`.
pub(crate) fn rollout_line(rollout: &wire::Rollout) -> String {
    let steps = rollout.canary.as_ref().map_or(0, |it| it.steps.len());
    let have = rollout.nodes.iter().filter(|node| node.converged).count();
    let phase = phase(rollout.phase());
    let (step, all) = (rollout.step + 1, counted(rollout.nodes.len(), "node"));
    let canary = canary(rollout);
    let revision = rollout.revision;
    let have = match rollout.phase() {
        Phase::Undone => String::new(),
        _ => format!(", {have} of {all} have it"),
    };
    format!("rollout {revision}: {phase}, step {step} of {steps} ({canary}){have}")
}

fn rows(rollout: &wire::Rollout) -> Table {
    let undone = rollout.phase() == Phase::Undone;
    let rows = rollout.nodes.iter().map(|node| {
        let counts = match node.reached {
            true => [
                node.connections.to_string(),
                node.failed_connections.to_string(),
            ],
            false => [UNKNOWN.to_owned(), UNKNOWN.to_owned()],
        };
        let state = if undone { "undone" } else { state(node) };
        let step = (node.step + 1).to_string();
        let mut row = vec![node.name.clone(), step, state.to_owned()];
        row.extend(counts);
        row
    });
    Table {
        header: vec!["NODE", "STEP", "STATE", "CONNECTIONS", "FAILED"],
        rows: rows.collect(),
    }
}

fn state(node: &Node) -> &'static str {
    match (node.reached, node.converged) {
        (_, true) => "converged",
        (true, false) => "reached",
        (false, false) => "waiting",
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Unspecified => UNKNOWN,
        Phase::Running => "running",
        Phase::Paused => "paused",
        Phase::Halted => "HALTED",
        Phase::Done => "done",
        Phase::Undone => "undone",
    }
}

/// Gives the steps as the command line has them.
fn canary(rollout: &wire::Rollout) -> String {
    let steps = rollout.canary.as_ref();
    let steps = steps.map(|steps| convert::canary_from_wire(steps, "canary"));
    match steps {
        Some(Ok(canary)) => Canary::to_string(&canary),
        _ => UNKNOWN.to_owned(),
    }
}

/// Writes a rollout for programs, null where there is none; with `more`, as one of several.
pub(crate) fn rollout_document(
    rollout: Option<&wire::Rollout>,
    (form, more): (DocumentForm, bool),
) -> Result<String> {
    let document = rollout.map(document);
    match more {
        true => streamed(&document, form),
        false => written(&document, form),
    }
}

/// As the API has it: steps count from 0.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    revision: u64,
    canary: String,
    step: u32,
    phase: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    refs: Vec<String>,
    who: String,
    begun_unix_ms: u64,
    changed_unix_ms: u64,
    nodes: Vec<NodeDocument>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeDocument {
    name: String,
    step: u32,
    reached: bool,
    converged: bool,
    connections: u64,
    failed_connections: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    held: String,
}

fn document(rollout: &wire::Rollout) -> Document {
    let nodes = rollout.nodes.iter().map(|node| NodeDocument {
        name: node.name.clone(),
        step: node.step,
        reached: node.reached,
        converged: node.converged,
        connections: node.connections,
        failed_connections: node.failed_connections,
        held: node.held.clone(),
    });
    let name = rollout.phase().as_str_name();
    Document {
        revision: rollout.revision,
        canary: canary(rollout),
        step: rollout.step,
        phase: name.strip_prefix("PHASE_").unwrap_or(name),
        reason: rollout.reason.clone(),
        refs: rollout.refs.iter().map(reference).collect(),
        who: rollout.who.clone(),
        begun_unix_ms: rollout.begun_unix_ms,
        changed_unix_ms: rollout.changed_unix_ms,
        nodes: nodes.collect(),
    }
}
