//! The page of a node. PURE.

use weir_proto::wire;
use weir_proto::wire::drain_target::Target;

use super::{Facts, Page, named, or_unknown};
use crate::ctl::manifest::ROLES;
use crate::ctl::render::document::word;
use crate::ctl::render::page::troubles;
use crate::ctl::render::rows::{NONE, UNKNOWN, age, certificate, labels, reached, state_words};
use crate::ctl::render::{Style, drains::repair_rows, expiry, missing_capabilities};

/// Tells everything about a node; none: it is not there.
pub(crate) fn describe_node(facts: &Facts, name: &str, style: Style) -> Option<String> {
    let known = facts.listing.nodes.get(name)?;
    let node = &known.it;
    let unknown = wire::NodeState::default();
    let state = facts.states.get(name).unwrap_or(&unknown);
    let mut page = Page::new(facts, style);
    page.field("Name", &node.name);
    page.field("Labels", labels(&node.labels, NONE));
    page.field("Age", age(known.created_unix_ms, facts.now));
    page.field("Revision", known.revision.to_string());
    page.fields("Addresses", node.addresses.iter().cloned());
    page.field("Strict ARP", node.strict_arp.unwrap_or(false).to_string());
    page.field("Cordoned", node.cordoned.unwrap_or(false).to_string());
    page.field("Time-outs", timeouts(node));
    page.fields("Sync daemons", node.sync_daemons.iter().map(daemon));
    page.field("State", state_words(state, node.cordoned.unwrap_or(false)));
    page.field("Agent", or_unknown(&state.agent_version));
    let words = |expires| expiry::when(expires, facts.now);
    page.field("Certificate", certificate(state, words));
    page.field(
        "Wanted",
        format!(
            "generation {}, {} items",
            state.wanted_generation, state.wanted_items
        ),
    );
    page.field("Accepted", generation(state, state.accepted_generation));
    page.field("Converged", generation(state, state.converged_generation));
    page.fields("Troubles", troubles(state, facts.now));
    let optional = missing_capabilities(state).into_iter();
    let optional = optional.filter(|it| it.optional).map(|it| it.name.clone());
    let optional: Vec<String> = optional.collect();
    page.field(
        "Optional, missing",
        if optional.is_empty() {
            NONE.to_owned()
        } else {
            optional.join(",")
        },
    );
    page.drains(|drain| {
        let target = drain.target.as_ref().and_then(|it| it.target.as_ref());
        matches!(target, Some(Target::Node(node)) if node == name)
            || drain.nodes.iter().any(|on| on.node == name)
    });
    let counts = state.repair_counts.iter();
    let counts: Vec<String> = counts
        .map(|(kind, count)| format!("{kind} {count}"))
        .collect();
    page.field(
        "Repairs in all",
        if counts.is_empty() {
            "0".to_owned()
        } else {
            counts.join(", ")
        },
    );
    page.table(
        "Last repairs",
        &repair_rows(std::slice::from_ref(state), facts.now),
    );
    page.writes(
        &[named(wire::Kind::Node, name)],
        |target| matches!(&target.target, Some(Target::Node(node)) if node == name),
    );
    page.events("node", name);
    Some(page.finish())
}

fn generation(state: &wire::NodeState, generation: u64) -> String {
    match reached(state, generation) {
        unknown if unknown == UNKNOWN => unknown,
        known => format!("generation {known}"),
    }
}

fn timeouts(node: &wire::Node) -> String {
    let Some(set) = node.connection_timeouts else {
        return "as the kernel has them".to_owned();
    };
    let seconds = [
        ("TCP", set.tcp_seconds),
        ("TCP after FIN", set.tcp_fin_seconds),
        ("UDP", set.udp_seconds),
    ];
    let seconds = seconds.map(|(what, seconds)| match seconds {
        0 => format!("{what} as the kernel has it"),
        seconds => format!("{what} {seconds}s"),
    });
    seconds.join(", ")
}

fn daemon(daemon: &wire::SyncDaemon) -> String {
    let role = word(&ROLES, daemon.role);
    let mut text = format!("{role} on {}, id {}", daemon.interface, daemon.sync_id);
    if !daemon.group.is_empty() {
        text += &format!(", group {}", daemon.group);
    }
    for (what, number) in [
        ("port", daemon.port),
        ("ttl", daemon.ttl),
        ("at most", daemon.max_length),
    ] {
        if number != 0 {
            text += &format!(", {what} {number}");
        }
    }
    text
}
