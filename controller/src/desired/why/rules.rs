//! What is done to packets of a client, in the order in which they meet it. PURE

use std::net::IpAddr;

use ipnet::IpNet;
use weir_proto::model::{Family, Forwarding, NodeBackend, Sources};

use super::verdict::few;
use super::{Visit, Wanted};

/// Something that is done to packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) kind: RuleKind,
    /// For people.
    pub(crate) words: String,
    /// New connections are turned away.
    pub(crate) rejects: bool,
}

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuleKind {
    Lockdown,
    SourceRange,
    Affinity,
    Loopback,
    Forwarding,
}

impl Rule {
    fn new(kind: RuleKind, words: String) -> Self {
        Self {
            kind,
            words,
            rejects: false,
        }
    }
}

/// Gives what applies to a client, or to all where none is named.
pub(crate) fn rules(visit: Visit, wanted: &Wanted) -> Vec<Rule> {
    let mut rules = Vec::new();
    if let Some(vip) = wanted.vip.filter(|vip| vip.lockdown) {
        let (vip, frontend) = (vip.address, visit.frontend);
        let words =
            format!("of {vip} only frontends are reached: {frontend} is one, and is let in");
        rules.push(Rule::new(RuleKind::Lockdown, words));
    }
    rules.extend(source_range(visit.client, &wanted.service.sources));
    rules.extend(affinity(visit, wanted));
    rules.extend(visit.client.and_then(|client| loopback(client, wanted)));
    rules.extend(wanted.backends.first().map(forwarding));
    rules
}

fn source_range(client: Option<IpAddr>, sources: &Sources) -> Option<Rule> {
    if sources.is_empty() {
        return None;
    }
    let ranges: Vec<&IpNet> = sources.iter().collect();
    let (words, rejects) = match client {
        None => (format!("{} may connect, nobody else", few(&ranges)), false),
        Some(client) => match sources.iter().find(|range| range.contains(&client)) {
            Some(range) => (format!("{range} lets {client} in"), false),
            None => (format!("{client} is not in {}", few(&ranges)), true),
        },
    };
    Some(Rule {
        kind: RuleKind::SourceRange,
        words,
        rejects,
    })
}

fn affinity(visit: Visit, wanted: &Wanted) -> Option<Rule> {
    let affinity = wanted.service.affinity?;
    let (seconds, bits) = (affinity.timeout.seconds(), affinity.prefix.get());
    let whole = match visit.frontend.family() {
        Family::V4 => 32,
        Family::V6 => 128,
    };
    let who = match visit.client {
        Some(client) if bits == whole => client.to_string(),
        Some(client) => match IpNet::new(client, bits) {
            Ok(range) => format!("{}, which counts as one client,", range.trunc()),
            Err(_) => client.to_string(),
        },
        None if bits == whole => "a client".to_owned(),
        None => format!("clients of one /{bits}"),
    };
    let engine = affinity.engine.map_or_else(String::new, |engine| {
        format!(", told apart by {}", engine.as_str())
    });
    let words =
        format!("{who} stays with one backend until {seconds} s after the last connection{engine}");
    Some(Rule::new(RuleKind::Affinity, words))
}

/// What becomes of the packets that a backend sends to itself.
fn loopback(client: IpAddr, wanted: &Wanted) -> Option<Rule> {
    let itself = |backend: &&NodeBackend| backend.key.endpoint.address == client;
    let backend = wanted.backends.iter().find(itself)?;
    if backend.forwarding != Forwarding::Masquerade {
        return None;
    }
    let endpoint = backend.key.endpoint;
    let words = match wanted.loopback.contains(&endpoint) {
        true => format!("{client} is a backend: what it sends to {endpoint} comes from the node"),
        false => {
            format!(
                "{client} is a backend, and does not reach itself at {endpoint}: hairpin is off"
            )
        }
    };
    Some(Rule::new(RuleKind::Loopback, words))
}

fn forwarding(backend: &NodeBackend) -> Rule {
    let words = match backend.forwarding {
        Forwarding::Masquerade => "masquerade: replies of backends must pass this node",
        Forwarding::DirectRoute => "direct route: backends hold the VIP too, and reply themselves",
        Forwarding::Tunnel(_) => "tunnel: backends hold the VIP too, and reply themselves",
    };
    Rule::new(RuleKind::Forwarding, words.to_owned())
}

#[cfg(test)]
mod tests;
