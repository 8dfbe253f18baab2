//! The rows of the tables of services and what is made of them. PURE.

mod nodes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use weir_proto::model::{
    AffinityTimeout, DrainDeadline, Forwarding, OnDeadline, Scheduler, VipBinding,
};
use weir_proto::wire;

use super::document::word;
use super::human;
use super::listing::{Known, Listing};
use crate::ctl::manifest::{BINDINGS, FAMILIES, FORWARDINGS, ON_DEADLINES, PROTOCOLS};

pub(super) use nodes::{certificate, reached, state_word, state_words};
pub(crate) use nodes::{node_header, node_row, status_rows};

/// How many of a list's entries a table shows before it counts the rest; `wide` shows all. As kubectl does
/// with endpoints.
pub(super) const SHOWN: usize = 3;

/// What stands where there is nothing.
pub(super) const NONE: &str = "<none>";

/// What stands where nothing is known, or nothing is to be said.
pub(super) const UNKNOWN: &str = "-";

/// What stands where nothing means each node.
pub(super) const ALL: &str = "<all>";

/// How much of each resource a row shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Detail {
    pub(crate) wide: bool,
    /// Unix milliseconds.
    pub(crate) now: u64,
}

/// Gives a header: what is always shown, what `wide` adds, and the age.
pub(super) fn header(
    always: &[&'static str],
    more: &[&'static str],
    wide: bool,
) -> Vec<&'static str> {
    let more = if wide { more } else { &[] };
    [always, more, &["AGE"]].concat()
}

/// Gives the columns of services.
pub(crate) fn service_header(wide: bool) -> Vec<&'static str> {
    let always = [
        "NAME",
        "FRONTENDS",
        "SCHEDULER",
        "FORWARDING",
        "BACKENDS",
        "REVISION",
    ];
    let more = [
        "AFFINITY", "HAIRPIN", "BINDING", "LOCKDOWN", "DRAIN", "SELECTOR", "LABELS",
    ];
    header(&always, &more, wide)
}

/// Gives the row of a service.
pub(crate) fn service_row(
    listing: &Listing,
    known: &Known<wire::Service>,
    detail: Detail,
) -> Vec<String> {
    let service = &known.it;
    let frontends = service.frontends.iter().map(frontend).collect();
    let mut row = vec![
        service.name.clone(),
        list(frontends, detail.wide),
        scheduler(service),
        forwarding(service),
        listing.backends(service).len().to_string(),
        known.revision.to_string(),
    ];
    if detail.wide {
        row.extend([
            affinity(service),
            service.hairpin.unwrap_or(true).to_string(),
            binding(service),
            lockdown(service).to_string(),
            drain(service),
            labels(&service.node_selector, ALL),
            labels(&service.labels, NONE),
        ]);
    }
    row.push(age(known.created_unix_ms, detail.now));
    row
}

/// Gives the columns of frontends.
pub(crate) fn frontend_header(wide: bool) -> Vec<&'static str> {
    let always = ["NAME", "SERVICE", "SCHEDULER", "FORWARDING", "BACKENDS"];
    header(
        &always,
        &["AFFINITY", "LOCKDOWN", "SOURCES", "SELECTOR"],
        wide,
    )
}

/// Gives one row a frontend of a service.
pub(crate) fn frontend_rows(
    listing: &Listing,
    known: &Known<wire::Service>,
    detail: Detail,
) -> Vec<Vec<String>> {
    let service = &known.it;
    let backends = listing.backends(service).len();
    let rows = service.frontends.iter().map(|one| {
        let mut row = vec![
            frontend(one),
            service.name.clone(),
            scheduler(service),
            forwarding(service),
            backends.to_string(),
        ];
        if detail.wide {
            row.extend([
                affinity(service),
                lockdown(service).to_string(),
                or(&one.allow_sources.join(","), ALL),
                labels(&service.node_selector, ALL),
            ]);
        }
        row.push(age(known.created_unix_ms, detail.now));
        row
    });
    rows.collect()
}

/// Gives the columns of backends.
pub(crate) fn backend_header(wide: bool) -> Vec<&'static str> {
    let always = ["NAME", "SERVICE", "ADDRESS", "WEIGHT", "NODE", "SET"];
    header(&always, &["UPPER", "LOWER"], wide)
}

/// Gives one row a backend of a service. It is as old as the resource that lists it.
pub(crate) fn backend_rows(
    listing: &Listing,
    known: &Known<wire::Service>,
    detail: Detail,
) -> Vec<Vec<String>> {
    let service = &known.it;
    let rows = listing.backends(service).into_iter().map(|(backend, set)| {
        let created = set.map_or(known.created_unix_ms, |set| set.created_unix_ms);
        let mut row = vec![
            backend_name(service, backend),
            service.name.clone(),
            socket(&backend.address, backend.port),
            weight(listing, backend),
            or(&backend.node, ALL),
            set.map_or(NONE, |set| &set.it.name).to_owned(),
        ];
        if detail.wide {
            row.extend([
                threshold(backend.upper_threshold),
                threshold(backend.lower_threshold),
            ]);
        }
        row.push(age(created, detail.now));
        row
    });
    rows.collect()
}

/// Shows the weight that nodes take of a backend; where that is not its own, why, and which that is.
pub(super) fn weight(listing: &Listing, backend: &wire::Backend) -> String {
    match backend.weight.unwrap_or(1) {
        own @ 1.. if listing.is_cordoned(backend) => format!("0 (cordoned, else {own})"),
        own => own.to_string(),
    }
}

/// Gives the columns of backend sets.
pub(crate) fn set_header(wide: bool) -> Vec<&'static str> {
    let always = ["NAME", "SERVICE", "BACKENDS", "REVISION"];
    header(&always, &["ADDRESSES", "LABELS"], wide)
}

/// Gives the row of a backend set.
pub(crate) fn set_row(known: &Known<wire::BackendSet>, detail: Detail) -> Vec<String> {
    let set = &known.it;
    let mut row = vec![
        set.name.clone(),
        set.service.clone(),
        set.backends.len().to_string(),
        known.revision.to_string(),
    ];
    if detail.wide {
        let backends = set.backends.iter();
        let sockets = backends.map(|backend| socket(&backend.address, backend.port));
        row.extend([list(sockets.collect(), true), labels(&set.labels, NONE)]);
    }
    row.push(age(known.created_unix_ms, detail.now));
    row
}

/// Gives the columns of VIPs.
pub(crate) fn vip_header(wide: bool) -> Vec<&'static str> {
    let always = ["NAME", "SERVICES", "PORTS", "BINDING", "LOCKDOWN"];
    header(&always, &["SELECTORS"], wide)
}

/// Gives the row of a VIP: of all services that have it, which agree in how it is bound and locked. It is as old as the oldest
/// of them. None: none has it.
pub(crate) fn vip_row(listing: &Listing, vip: IpAddr, detail: Detail) -> Option<Vec<String>> {
    let services: Vec<_> = listing.services_at(vip).collect();
    let first = &services.first()?.it;
    let names = services.iter().map(|known| known.it.name.clone());
    let ports = services.iter().flat_map(|known| &known.it.frontends);
    let ports = ports.filter(|frontend| frontend.address.parse() == Ok(vip));
    let ports = ports.map(|frontend| {
        let protocol = word(&PROTOCOLS, frontend.protocol);
        format!("{}/{protocol}", frontend.port)
    });
    let mut row = vec![
        vip.to_string(),
        list(names.collect(), detail.wide),
        list(ports.collect(), detail.wide),
        binding(first),
        lockdown(first).to_string(),
    ];
    if detail.wide {
        let selectors = services.iter();
        let selectors = selectors.map(|known| labels(&known.it.node_selector, ALL));
        let selectors: BTreeSet<String> = selectors.collect();
        row.push(selectors.into_iter().collect::<Vec<_>>().join(" | "));
    }
    let created = services.iter().map(|known| known.created_unix_ms).min();
    row.push(age(created.unwrap_or_default(), detail.now));
    Some(row)
}

/// Names a backend: `web/10.0.0.11:8080`.
pub(crate) fn backend_name(service: &wire::Service, backend: &wire::Backend) -> String {
    let socket = socket(&backend.address, backend.port);
    format!("{}/{socket}", service.name)
}

/// Gives how old a resource is.
pub(super) fn age(created: u64, now: u64) -> String {
    if created == 0 {
        return "<unknown>".to_owned();
    }
    human(Duration::from_secs(now.saturating_sub(created) / 1_000))
}

pub(super) fn scheduler(service: &wire::Service) -> String {
    let default = Scheduler::DEFAULT.as_str();
    service.scheduler.as_deref().unwrap_or(default).to_owned()
}

pub(super) fn forwarding(service: &wire::Service) -> String {
    service.forwarding.map_or_else(
        || Forwarding::default().to_string(),
        |forwarding| word(&FORWARDINGS, forwarding).to_owned(),
    )
}

pub(super) fn binding(service: &wire::Service) -> String {
    service.vip_binding.map_or_else(
        || VipBinding::default().to_string(),
        |binding| word(&BINDINGS, binding).to_owned(),
    )
}

pub(super) fn lockdown(service: &wire::Service) -> bool {
    service.lockdown.unwrap_or(true)
}

fn threshold(connections: Option<u32>) -> String {
    match connections {
        None | Some(0) => NONE.to_owned(),
        Some(connections) => connections.to_string(),
    }
}

/// Names a frontend: `10.100.100.100:8080/TCP`, `mark:7/IPV4`.
pub(crate) fn frontend(frontend: &wire::Frontend) -> String {
    if frontend.firewall_mark != 0 {
        let family = word(&FAMILIES, frontend.address_family);
        return format!("mark:{}/{family}", frontend.firewall_mark);
    }
    let socket = socket(&frontend.address, frontend.port);
    format!("{socket}/{}", word(&PROTOCOLS, frontend.protocol))
}

pub(crate) fn socket(address: &str, port: u32) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

pub(super) fn affinity(service: &wire::Service) -> String {
    service.session_affinity.as_ref().map_or_else(
        || NONE.to_owned(),
        |affinity| {
            let default = AffinityTimeout::DEFAULT.seconds();
            format!("{}s", affinity.timeout_seconds.unwrap_or(default))
        },
    )
}

pub(super) fn drain(service: &wire::Service) -> String {
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

pub(super) fn labels(labels: &BTreeMap<String, String>, empty: &str) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    or(&pairs.join(","), empty)
}

pub(super) fn list(entries: Vec<String>, wide: bool) -> String {
    let rest = entries.len().saturating_sub(SHOWN);
    if wide || rest == 0 {
        return or(&entries.join(","), NONE);
    }
    format!("{} + {rest} more...", entries[..SHOWN].join(","))
}

pub(super) fn or(text: &str, empty: &str) -> String {
    if text.is_empty() { empty } else { text }.to_owned()
}
