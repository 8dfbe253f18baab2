//! What services and nodes are shown as besides resources, as YAML and JSON: to be read, not applied. PURE.

use std::net::IpAddr;

use anyhow::Result;
use serde::Serialize;
use weir_proto::wire;

use super::document::{Backend, Frontend, List, backend, frontend, word};
use super::drains::drain_target;
use super::listing::{Known, Listing};
use super::rows::{backend_name, binding, frontend as frontend_name, lockdown};
use super::written;
use crate::ctl::args::DocumentForm;
use crate::ctl::manifest::ON_DEADLINES;

/// One of them.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Derived {
    Frontend(PlacedFrontend),
    Backend(PlacedBackend),
    Vip(Vip),
    Drain(Drain),
    Repair(Repair),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlacedFrontend {
    name: String,
    service: String,
    #[serde(flatten)]
    frontend: Frontend,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlacedBackend {
    service: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend_set: Option<String>,
    #[serde(flatten)]
    backend: Backend,
    /// Its node is, so that it takes no new connection, whatever its weight.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cordoned: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Vip {
    address: String,
    vip_binding: String,
    lockdown: bool,
    services: Vec<String>,
    frontends: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Drain {
    name: String,
    kind: &'static str,
    asked: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_seconds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_deadline: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked_unix_ms: Option<u64>,
    nodes: Vec<DrainOnNode>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DrainOnNode {
    node: String,
    active_connections: u64,
    inactive_connections: u64,
    started_unix_ms: u64,
    deadline_unix_ms: u64,
    on_deadline: &'static str,
    done: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Repair {
    node: String,
    kind: String,
    object: String,
    found: String,
    expected: String,
    at_unix_ms: u64,
}

/// Gives the frontends of a service by name.
pub(crate) fn frontends(known: &Known<wire::Service>) -> Vec<(String, Derived)> {
    let service = &known.it;
    let all = service.frontends.iter().map(|one| {
        let name = frontend_name(one);
        let placed = PlacedFrontend {
            name: name.clone(),
            service: service.name.clone(),
            frontend: frontend(one),
        };
        (name, Derived::Frontend(placed))
    });
    all.collect()
}

/// Gives the backends of a service by name, each with its set.
pub(crate) fn backends(listing: &Listing, known: &Known<wire::Service>) -> Vec<(String, Derived)> {
    let service = &known.it;
    let all = listing.backends(service).into_iter().map(|(one, set)| {
        let placed = PlacedBackend {
            service: service.name.clone(),
            backend_set: set.map(|set| set.it.name.clone()),
            backend: backend(one),
            cordoned: listing.is_cordoned(one),
        };
        (backend_name(service, one), Derived::Backend(placed))
    });
    all.collect()
}

/// Gives a VIP by name; none: no service has it.
pub(crate) fn vip(listing: &Listing, vip: IpAddr) -> Option<(String, Derived)> {
    let services: Vec<_> = listing.services_at(vip).map(|known| &known.it).collect();
    let first = services.first()?;
    let frontends = services.iter().flat_map(|service| &service.frontends);
    let frontends = frontends.filter(|frontend| frontend.address.parse() == Ok(vip));
    let shown = Vip {
        address: vip.to_string(),
        vip_binding: binding(first),
        lockdown: lockdown(first),
        services: services.iter().map(|it| it.name.clone()).collect(),
        frontends: frontends.map(frontend_name).collect(),
    };
    Some((vip.to_string(), Derived::Vip(shown)))
}

/// Gives a drain by name.
pub(crate) fn drain(drain: &wire::DrainState) -> (String, Derived) {
    let (kind, name) = drain_target(&drain.target.clone().unwrap_or_default());
    let nodes = drain.nodes.iter().map(|on| {
        let progress = on.progress.clone().unwrap_or_default();
        DrainOnNode {
            node: on.node.clone(),
            active_connections: progress.active_connections,
            inactive_connections: progress.inactive_connections,
            started_unix_ms: progress.started_unix_ms,
            deadline_unix_ms: progress.deadline_unix_ms,
            on_deadline: word(&ON_DEADLINES, progress.on_deadline),
            done: progress.done,
        }
    });
    let shown = Drain {
        name: name.clone(),
        kind,
        asked: drain.asked,
        deadline_seconds: drain.drain.and_then(|drain| drain.deadline_seconds),
        on_deadline: drain
            .drain
            .map(|drain| word(&ON_DEADLINES, drain.on_deadline)),
        asked_unix_ms: drain.asked.then_some(drain.asked_unix_ms),
        nodes: nodes.collect(),
    };
    (name, Derived::Drain(shown))
}

/// Gives what a node repaired, the oldest first.
pub(crate) fn repairs(state: &wire::NodeState) -> impl Iterator<Item = Derived> {
    state.repairs.iter().map(|repair| {
        Derived::Repair(Repair {
            node: state.name.clone(),
            kind: repair.kind.clone(),
            object: repair.object.clone(),
            found: repair.found.clone(),
            expected: repair.expected.clone(),
            at_unix_ms: repair.at_unix_ms,
        })
    })
}

/// Writes them.
pub(crate) fn derived(kind: &'static str, items: &[Derived], form: DocumentForm) -> Result<String> {
    let list = List {
        kind,
        ..List::new(items)
    };
    written(&list, form)
}
