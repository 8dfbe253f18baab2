//! What one node is to hold beside what its kernel holds, as rows. PURE.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use weir_proto::wire;
use weir_proto::wire::item::Kind as Item;
use weir_proto::wire::kernel_object::Value;

use crate::ctl::manifest::{BINDINGS, FORWARDINGS};
use crate::ctl::render::{frontend_name, socket_name, word};

/// What stands where there is nothing.
pub(super) const NONE: &str = "<none>";
const UNKNOWN: &str = "-";

/// What can be shown of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Services,
    Backends,
    Vips,
    Events,
}

/// Every word for each kind; the first is the one weirctl uses itself. On a node a service is its frontends.
const WORDS: [(Kind, &[&str]); 4] = [
    (
        Kind::Services,
        &["services", "service", "svc", "frontends", "frontend", "fe"],
    ),
    (Kind::Backends, &["backends", "backend", "be"]),
    (Kind::Vips, &["vips", "vip"]),
    (Kind::Events, &["events", "event", "ev"]),
];

/// A node as its agent tells it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Node {
    pub(super) state: wire::AgentState,
    pub(super) objects: Vec<wire::AgentObject>,
}

/// How something stands on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Stand {
    /// The kernel holds it as wanted.
    Converged,
    /// The kernel does not take it.
    Refused,
    /// It is wanted and not there yet.
    Missing,
    /// It is there and no longer wanted: it goes, once it is drained.
    Leaving,
    /// It is somebody else's.
    Foreign,
}

/// A row, or one of the items of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Row {
    Service(Service),
    Backend(Backend),
    Vip(Vip),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Service {
    name: String,
    service: String,
    scheduler: String,
    affinity_seconds: u32,
    backends: usize,
    #[serde(flatten)]
    stands: Stands,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Backend {
    name: String,
    frontend: String,
    service: String,
    weight: u32,
    forwarding: String,
    #[serde(flatten)]
    stands: Stands,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Vip {
    name: String,
    vip_binding: String,
    silent: bool,
    #[serde(flatten)]
    stands: Stands,
}

/// How something stands, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Stands {
    state: Stand,
    cause: String,
}

impl Kind {
    /// Reads what to show: one kind, and names of it.
    pub(super) fn asked(words: &[String]) -> Result<(Self, Vec<String>), String> {
        let (first, rest) = words.split_first().ok_or("name a kind")?;
        let known = |word: &str| {
            let lower = word.to_lowercase();
            let found = WORDS
                .iter()
                .find(|(_, words)| words.contains(&lower.as_str()));
            found.map(|(kind, _)| *kind)
        };
        let unknown = |word: &str| {
            let all: Vec<&str> = WORDS.iter().map(|(kind, _)| kind.plural()).collect();
            format!("an agent shows no {word:?} (it has {})", all.join(", "))
        };
        if let Some(kind) = known(first) {
            if kind == Self::Events && !rest.is_empty() {
                return Err("an event has no name".to_owned());
            }
            return Ok((kind, rest.to_vec()));
        }
        let mut named = None;
        let mut names = Vec::new();
        for one in words {
            let (word, name) = one.split_once('/').ok_or_else(|| unknown(one))?;
            let kind = known(word).ok_or_else(|| unknown(word))?;
            if *named.get_or_insert(kind) != kind {
                return Err("get shows one kind at a time".to_owned());
            }
            names.push(name.to_owned());
        }
        named
            .map(|kind| (kind, names))
            .ok_or_else(|| unknown(first))
    }

    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Backends => "backends",
            Self::Vips => "vips",
            Self::Events => "events",
        }
    }

    /// Gives the word of `KIND/NAME`.
    pub(super) fn singular(self) -> &'static str {
        match self {
            Self::Services => "service",
            Self::Backends => "backend",
            Self::Vips => "vip",
            Self::Events => "event",
        }
    }

    pub(super) fn header(self, wide: bool) -> Vec<&'static str> {
        let always: &[&'static str] = match self {
            Self::Services => &[
                "NAME",
                "SERVICE",
                "SCHEDULER",
                "AFFINITY",
                "BACKENDS",
                "STATE",
            ],
            Self::Backends => &[
                "NAME",
                "FRONTEND",
                "SERVICE",
                "WEIGHT",
                "FORWARDING",
                "STATE",
            ],
            Self::Vips => &["NAME", "BINDING", "ARP", "STATE"],
            Self::Events => &["KIND", "OBJECT", "DETAIL", "AGE"],
        };
        let more: &[&'static str] = if wide { &["CAUSE"] } else { &[] };
        [always, more].concat()
    }
}

/// What is known of one thing: by what is to be held, and by the kernel.
#[derive(Debug, Clone, Copy, Default)]
struct Both<'a> {
    item: Option<&'a wire::AgentItem>,
    seen: Option<&'a wire::AgentObject>,
}

/// Gives the rows of a kind, and what was named and is not there, as `KIND/NAME`.
pub(super) fn rows(kind: Kind, node: &Node, names: &[String]) -> (Vec<Row>, Vec<String>) {
    let mut all: Vec<Row> = both(node)
        .into_iter()
        .filter_map(|both| row(kind, both))
        .collect();
    if kind == Kind::Services {
        let backends = rows(Kind::Backends, node, &[]).0;
        for row in &mut all {
            if let Row::Service(service) = row {
                let of =
                    |row: &&Row| matches!(row, Row::Backend(it) if it.frontend == service.name);
                service.backends = backends.iter().filter(of).count();
            }
        }
    }
    let asked = |row: &Row, name: &String| row.name() == name || row.service() == Some(name);
    let missing = names
        .iter()
        .filter(|name| !all.iter().any(|row| asked(row, name)));
    let missing = missing
        .map(|name| format!("{}/{name}", kind.singular()))
        .collect();
    all.retain(|row| names.is_empty() || names.iter().any(|name| asked(row, name)));
    (all, missing)
}

/// Puts together what is to be held and what is there: first the one, in its order, then the rest of the other.
fn both(node: &Node) -> Vec<Both<'_>> {
    let objects = node.objects.iter();
    let seen: BTreeMap<&str, &wire::AgentObject> = objects
        .filter_map(|it| Some((it.object.as_ref()?.object.as_str(), it)))
        .collect();
    let items = node.state.items.iter();
    let wanted: BTreeSet<&str> = items.clone().map(|item| item.object.as_str()).collect();
    let all = items.map(|item| Both {
        item: Some(item),
        seen: seen.get(item.object.as_str()).copied(),
    });
    let rest = node.objects.iter().filter(|it| {
        let name = it.object.as_ref().map(|object| object.object.as_str());
        name.is_some_and(|name| !wanted.contains(name))
    });
    let rest = rest.map(|seen| Both {
        item: None,
        seen: Some(seen),
    });
    all.chain(rest).collect()
}

fn row(kind: Kind, both: Both<'_>) -> Option<Row> {
    let value = both
        .seen
        .and_then(|seen| seen.object.as_ref()?.value.as_ref());
    let item = both.item.and_then(|item| item.item.as_ref()?.kind.as_ref());
    let service = both
        .seen
        .map_or_else(String::new, |seen| seen.service.clone());
    let stands = stands(both);
    match (kind, value, item) {
        (Kind::Services, Some(Value::Service(seen)), _) => Some(Row::Service(Service {
            name: frontend_name(seen.frontend.as_ref()?),
            service,
            scheduler: seen.scheduler.clone(),
            affinity_seconds: seen.affinity_seconds,
            backends: 0,
            stands,
        })),
        (Kind::Services, None, Some(Item::VirtualService(item))) => Some(Row::Service(Service {
            name: frontend_name(item.frontend.as_ref()?),
            service: item.service.clone(),
            scheduler: item.scheduler.clone(),
            affinity_seconds: item.affinity_timeout_seconds,
            backends: 0,
            stands,
        })),
        (Kind::Backends, Some(Value::Backend(seen)), _) => Some(Row::Backend(Backend {
            name: socket_name(&seen.address, seen.port),
            frontend: frontend_name(seen.frontend.as_ref()?),
            service,
            weight: seen.weight,
            forwarding: seen
                .forwarding
                .map_or(UNKNOWN, |it| word(&FORWARDINGS, it))
                .to_owned(),
            stands,
        })),
        (Kind::Backends, None, Some(Item::Backend(item))) => Some(Row::Backend(Backend {
            name: socket_name(&item.address, item.port),
            frontend: frontend_name(item.frontend.as_ref()?),
            service,
            weight: item.weight,
            forwarding: word(&FORWARDINGS, item.forwarding).to_owned(),
            stands,
        })),
        (Kind::Vips, Some(Value::Vip(seen)), _) => Some(Row::Vip(Vip {
            name: seen.address.clone(),
            vip_binding: word(&BINDINGS, seen.binding).to_owned(),
            silent: seen.silent,
            stands,
        })),
        (Kind::Vips, None, Some(Item::Vip(item))) => Some(Row::Vip(Vip {
            name: item.address.clone(),
            vip_binding: word(&BINDINGS, item.binding).to_owned(),
            silent: false,
            stands,
        })),
        (Kind::Vips, None, Some(Item::SilentVip(item))) => Some(Row::Vip(Vip {
            name: item.address.clone(),
            vip_binding: UNKNOWN.to_owned(),
            silent: true,
            stands,
        })),
        _ => None,
    }
}

fn stands(both: Both<'_>) -> Stands {
    let failure = both.item.and_then(|item| item.failure.as_ref());
    let foreign = both.seen.is_some_and(|seen| seen.foreign);
    let state = match (both.item, both.seen) {
        _ if failure.is_some() => Stand::Refused,
        _ if foreign => Stand::Foreign,
        (Some(_), Some(_)) => Stand::Converged,
        (Some(_), None) => Stand::Missing,
        (None, _) => Stand::Leaving,
    };
    Stands {
        state,
        cause: failure.map_or_else(String::new, |failure| failure.cause.clone()),
    }
}

impl Row {
    pub(super) fn name(&self) -> &String {
        match self {
            Self::Service(Service { name, .. })
            | Self::Backend(Backend { name, .. })
            | Self::Vip(Vip { name, .. }) => name,
        }
    }

    fn service(&self) -> Option<&String> {
        match self {
            Self::Service(Service { service, .. }) | Self::Backend(Backend { service, .. }) => {
                Some(service).filter(|service| !service.is_empty())
            }
            Self::Vip(_) => None,
        }
    }

    pub(super) fn cells(&self, wide: bool) -> Vec<String> {
        let or_none = |text: &str| if text.is_empty() { NONE } else { text }.to_owned();
        let (mut cells, stands) = match self {
            Self::Service(it) => {
                let affinity = match it.affinity_seconds {
                    0 => NONE.to_owned(),
                    seconds => format!("{seconds}s"),
                };
                let service = or_none(&it.service);
                let backends = it.backends.to_string();
                let cells = vec![
                    it.name.clone(),
                    service,
                    it.scheduler.clone(),
                    affinity,
                    backends,
                ];
                (cells, &it.stands)
            }
            Self::Backend(it) => {
                let (service, weight) = (or_none(&it.service), it.weight.to_string());
                let frontend = it.frontend.clone();
                let cells = vec![
                    it.name.clone(),
                    frontend,
                    service,
                    weight,
                    it.forwarding.clone(),
                ];
                (cells, &it.stands)
            }
            Self::Vip(it) => {
                let arp = if it.silent { "silent" } else { "answered" };
                let cells = vec![it.name.clone(), it.vip_binding.clone(), arp.to_owned()];
                (cells, &it.stands)
            }
        };
        cells.push(stands.state.word().to_owned());
        if wide {
            cells.push(or_none(&stands.cause));
        }
        cells
    }
}

impl Stand {
    fn word(self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::Refused => "refused",
            Self::Missing => "missing",
            Self::Leaving => "leaving",
            Self::Foreign => "foreign",
        }
    }
}

#[cfg(test)]
mod tests;
