//! The rows of each table. PURE.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_proto::model::{
    AffinityTimeout, DrainDeadline, Forwarding, OnDeadline, Scheduler, VipBinding,
};
use weir_proto::wire;

use super::document::word;
use super::listing::Listing;
use super::{Table, expiry, human, is_unheard, missing_capabilities, silence};
use crate::ctl::manifest::{BINDINGS, FAMILIES, FORWARDINGS, ON_DEADLINES, PROTOCOLS};

/// How many of a list's entries a table shows before it counts the rest; `wide` shows all. As kubectl does
/// with endpoints.
pub(super) const SHOWN: usize = 3;

/// What stands where there is nothing.
pub(super) const NONE: &str = "<none>";

/// What stands where nothing is known, or nothing is to be said.
pub(super) const UNKNOWN: &str = "-";

/// What stands where nothing means each node.
const ALL: &str = "<all>";

/// Gives one row a service.
pub(crate) fn service_rows(listing: &Listing, wide: bool) -> Table {
    let mut header = vec![
        "NAME",
        "FRONTENDS",
        "SCHEDULER",
        "FORWARDING",
        "BACKENDS",
        "REVISION",
    ];
    if wide {
        header.extend([
            "AFFINITY", "HAIRPIN", "BINDING", "LOCKDOWN", "DRAIN", "SELECTOR", "LABELS",
        ]);
    }
    let rows = listing.services.iter().map(|(service, revision)| {
        let frontends = service.frontends.iter().map(frontend).collect();
        let default = Scheduler::DEFAULT.as_str();
        let mut row = vec![
            service.name.clone(),
            list(frontends, wide),
            service.scheduler.as_deref().unwrap_or(default).to_owned(),
            service.forwarding.map_or_else(
                || Forwarding::default().to_string(),
                |forwarding| word(&FORWARDINGS, forwarding).to_owned(),
            ),
            listing.backends(service).len().to_string(),
            revision.to_string(),
        ];
        if wide {
            row.extend([
                affinity(service),
                service.hairpin.unwrap_or(true).to_string(),
                service.vip_binding.map_or_else(
                    || VipBinding::default().to_string(),
                    |binding| word(&BINDINGS, binding).to_owned(),
                ),
                service.lockdown.unwrap_or(true).to_string(),
                drain(service),
                labels(&service.node_selector, ALL),
                labels(&service.labels, NONE),
            ]);
        }
        row
    });
    Table {
        header,
        rows: rows.collect(),
    }
}

/// Gives one row a backend of each service.
pub(crate) fn backend_rows(listing: &Listing) -> Table {
    let rows = listing.services.iter().flat_map(|(service, _)| {
        listing
            .backends(service)
            .into_iter()
            .map(|(backend, set)| {
                vec![
                    service.name.clone(),
                    socket(&backend.address, backend.port),
                    backend.weight.unwrap_or(1).to_string(),
                    or(&backend.node, ALL),
                    set.unwrap_or(NONE).to_owned(),
                ]
            })
            .collect::<Vec<_>>()
    });
    Table {
        header: vec!["SERVICE", "ADDRESS", "WEIGHT", "NODE", "SET"],
        rows: rows.collect(),
    }
}

/// Gives one row a backend set.
pub(crate) fn set_rows(listing: &Listing, wide: bool) -> Table {
    let mut header = vec!["NAME", "SERVICE", "BACKENDS", "REVISION"];
    if wide {
        header.extend(["ADDRESSES", "LABELS"]);
    }
    let rows = listing.sets.iter().map(|(set, revision)| {
        let mut row = vec![
            set.name.clone(),
            set.service.clone(),
            set.backends.len().to_string(),
            revision.to_string(),
        ];
        if wide {
            let backends = set.backends.iter();
            let sockets = backends.map(|backend| socket(&backend.address, backend.port));
            row.extend([list(sockets.collect(), wide), labels(&set.labels, NONE)]);
        }
        row
    });
    Table {
        header,
        rows: rows.collect(),
    }
}

/// Gives one row a node, with how far it is where that is known.
pub(crate) fn node_rows(
    nodes: &[wire::Node],
    states: &BTreeMap<String, wire::NodeState>,
    wide: bool,
) -> Table {
    let mut header = vec![
        "NAME",
        "STATE",
        "WANTED",
        "ACCEPTED",
        "CONVERGED",
        "ADDRESSES",
    ];
    if wide {
        header.extend(["VERSION", "LABELS", "MISSING"]);
    }
    let rows = nodes.iter().map(|node| {
        let unknown = wire::NodeState::default();
        let state = states.get(&node.name).unwrap_or(&unknown);
        let mut row = vec![
            node.name.clone(),
            state_word(state).to_owned(),
            state.wanted_generation.to_string(),
            reached(state, state.accepted_generation),
            reached(state, state.converged_generation),
            list(node.addresses.clone(), wide),
        ];
        if wide {
            let missing = missing_capabilities(state);
            let names = missing.iter().map(|missing| missing.name.clone());
            row.extend([
                or(&state.agent_version, NONE),
                labels(&node.labels, NONE),
                list(names.collect(), wide),
            ]);
        }
        row
    });
    Table {
        header,
        rows: rows.collect(),
    }
}

/// Gives one row a node's state. `now` is in Unix milliseconds. What is left of certificates is shown where there are any.
pub(crate) fn status_rows(states: &[wire::NodeState], now: u64) -> Table {
    let certified = states.iter().any(|state| expiry::known(state).is_some());
    let rows = states.iter().map(|state| {
        let heard = match silence(state, now) {
            Some(silence) => format!("{} ago", human(silence)),
            None => UNKNOWN.to_owned(),
        };
        let mut row = vec![
            state.name.clone(),
            state_word(state).to_owned(),
            state.wanted_generation.to_string(),
            reached(state, state.accepted_generation),
            reached(state, state.converged_generation),
            state.wanted_items.to_string(),
            state.failure_count.to_string(),
            state.drain_count.to_string(),
            state.repair_counts.values().sum::<u64>().to_string(),
            heard,
        ];
        if certified {
            let left = expiry::known(state).map(|expires| expiry::left(expires, now));
            row.push(left.unwrap_or_else(|| UNKNOWN.to_owned()));
        }
        row
    });
    let mut header = vec![
        "NODE",
        "STATE",
        "WANTED",
        "ACCEPTED",
        "CONVERGED",
        "ITEMS",
        "FAILED",
        "DRAINS",
        "REPAIRS",
        "HEARD",
    ];
    if certified {
        header.push("CERTIFICATE");
    }
    Table {
        header,
        rows: rows.collect(),
    }
}

fn state_word(state: &wire::NodeState) -> &'static str {
    match (state.connected, is_unheard(state)) {
        (true, _) if state.hold.is_some() => "HELD",
        (true, _) if state.degraded.is_some() => "DEGRADED",
        (true, _) => "connected",
        (false, true) => "unheard",
        (false, false) => "gone",
    }
}

/// Shows a generation that a node reached. Of one that was not heard from, none is known.
fn reached(state: &wire::NodeState, generation: u64) -> String {
    if is_unheard(state) {
        return UNKNOWN.to_owned();
    }
    generation.to_string()
}

fn frontend(frontend: &wire::Frontend) -> String {
    if frontend.firewall_mark != 0 {
        let family = word(&FAMILIES, frontend.address_family);
        return format!("mark {}/{family}", frontend.firewall_mark);
    }
    let socket = socket(&frontend.address, frontend.port);
    format!("{socket}/{}", word(&PROTOCOLS, frontend.protocol))
}

pub(super) fn socket(address: &str, port: u32) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

fn affinity(service: &wire::Service) -> String {
    service.session_affinity.as_ref().map_or_else(
        || NONE.to_owned(),
        |affinity| {
            let default = AffinityTimeout::DEFAULT.seconds();
            format!("{}s", affinity.timeout_seconds.unwrap_or(default))
        },
    )
}

fn drain(service: &wire::Service) -> String {
    let drain = service.drain.unwrap_or_default();
    let default = DrainDeadline::default().seconds();
    let seconds = drain.deadline_seconds.unwrap_or(default);
    let end = match drain.on_deadline {
        0 => OnDeadline::default().to_string(),
        end => word(&ON_DEADLINES, end).to_owned(),
    };
    let deadline = human(Duration::from_secs(seconds.into()));
    format!("{deadline},{end}")
}

fn labels(labels: &BTreeMap<String, String>, empty: &str) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    or(&pairs.join(","), empty)
}

fn list(entries: Vec<String>, wide: bool) -> String {
    let rest = entries.len().saturating_sub(SHOWN);
    if wide || rest == 0 {
        return or(&entries.join(","), NONE);
    }
    format!("{} + {rest} more...", entries[..SHOWN].join(","))
}

fn or(text: &str, empty: &str) -> String {
    if text.is_empty() { empty } else { text }.to_owned()
}
