//! The pages of services, backend sets and VIPs. PURE.

use std::net::IpAddr;

use weir_proto::wire;
use weir_proto::wire::drain_target::{Backend, Target};
use weir_proto::wire::resource::Kind;

use super::{Facts, Page, joined, named, placed};
use crate::ctl::manifest::{CHECKSUMS, TUNNELS};
use crate::ctl::render::document::word;
use crate::ctl::render::listing::{Known, Listing, vips};
use crate::ctl::render::rows::{
    ALL, NONE, affinity, age, binding, drain, forwarding, frontend, labels, lockdown, scheduler,
    socket, weight,
};
use crate::ctl::render::{Style, Table};
use crate::ctl::wait::About;

/// Tells everything about a service; none: it is not there.
pub(crate) fn describe_service(facts: &Facts, name: &str, style: Style) -> Option<String> {
    let known = facts.listing.services.get(name)?;
    let service = &known.it;
    let mut page = Page::new(facts, style);
    page.field("Name", &service.name);
    page.field("Labels", labels(&service.labels, NONE));
    page.field("Age", age(known.created_unix_ms, facts.now));
    page.field("Revision", known.revision.to_string());
    spec(&mut page, service);
    let frontends = service.frontends.iter().map(|one| {
        let sources = one.allow_sources.join(",");
        match sources.is_empty() {
            true => frontend(one),
            false => format!("{} from {sources}", frontend(one)),
        }
    });
    page.fields("Frontends", frontends);
    let backends = facts.listing.backends(service);
    let rows = backends.iter().map(|(backend, set)| {
        let set = set.map_or(NONE, |set| &set.it.name);
        backend_row(&facts.listing, backend, set)
    });
    let table = backend_table(rows.collect());
    page.table("Backends", &table);
    page.traffic(name);
    let sets: Vec<&Known<wire::BackendSet>> = facts.listing.sets_of(name).collect();
    let mut touched = vec![named(wire::Kind::Service, name)];
    let sets_named = sets.iter();
    touched.extend(sets_named.map(|set| named(wire::Kind::BackendSet, &set.it.name)));
    let mut about = vec![resource(Kind::Service(service.clone()))];
    let of_sets = sets.into_iter();
    about.extend(of_sets.map(|set| resource(Kind::BackendSet(set.it.clone()))));
    page.nodes(&placed(&facts.listing, service), &About::new(about));
    let on: Vec<&str> = backends.iter().map(|(it, _)| it.node.as_str()).collect();
    page.drains(|drain| match target(drain) {
        Some(Target::Backend(backend)) => backend.service == name,
        Some(Target::Node(node)) => on.contains(&node.as_str()),
        None => false,
    });
    page.writes(&touched, |target| match &target.target {
        Some(Target::Backend(backend)) => backend.service == name,
        Some(Target::Node(_)) | None => false,
    });
    page.events("service", name);
    Some(page.finish())
}

fn spec(page: &mut Page<'_>, service: &wire::Service) {
    let flags = service.scheduler_flags.map(|flags| {
        let fallback = flags.fallback.unwrap_or(true);
        let port = flags.port.unwrap_or(false);
        format!(" (fallback {fallback}, port {port})")
    });
    let scheduler = scheduler(service) + &flags.unwrap_or_default();
    page.field("Scheduler", scheduler);
    let tunnel = service.tunnel.map(|tunnel| {
        let kind = tunnel.r#type.map_or("IPIP", |kind| word(&TUNNELS, kind));
        let port = tunnel.port.map(|port| format!(" to port {port}"));
        let checksum = tunnel.checksum.map(|it| word(&CHECKSUMS, it));
        let checksum = checksum.map(|it| format!(", checksum {it}"));
        let (port, checksum) = (port.unwrap_or_default(), checksum.unwrap_or_default());
        format!(" ({kind}{port}{checksum})")
    });
    page.field(
        "Forwarding",
        forwarding(service) + &tunnel.unwrap_or_default(),
    );
    page.field("Session affinity", affinity_words(service));
    page.field(
        "One packet",
        service.one_packet.unwrap_or(false).to_string(),
    );
    page.field("Hairpin", service.hairpin.unwrap_or(true).to_string());
    page.field("VIP binding", binding(service));
    page.field("Lockdown", lockdown(service).to_string());
    page.field("Drain", drain(service));
    page.field("Node selector", labels(&service.node_selector, ALL));
}

fn affinity_words(service: &wire::Service) -> String {
    let Some(set) = &service.session_affinity else {
        return NONE.to_owned();
    };
    let prefix =
        |length: Option<u32>, family: &str| length.map(|length| format!(", {family} /{length}"));
    let engine = match set.persistence_engine.as_str() {
        "" => String::new(),
        engine => format!(", by {engine}"),
    };
    let (four, six) = (
        prefix(set.ipv4_prefix_length, "IPv4"),
        prefix(set.ipv6_prefix_length, "IPv6"),
    );
    let (four, six) = (four.unwrap_or_default(), six.unwrap_or_default());
    format!("{}{four}{six}{engine}", affinity(service))
}

/// Tells everything about a backend set; none: it is not there.
pub(crate) fn describe_set(facts: &Facts, name: &str, style: Style) -> Option<String> {
    let known = facts.listing.sets.get(name)?;
    let set = &known.it;
    let mut page = Page::new(facts, style);
    page.field("Name", &set.name);
    page.field("Labels", labels(&set.labels, NONE));
    page.field("Age", age(known.created_unix_ms, facts.now));
    page.field("Revision", known.revision.to_string());
    page.field("Service", &set.service);
    let service = facts.listing.services.get(&set.service);
    let backends = service.map(|service| facts.listing.backends(&service.it));
    let counts = |backend: &wire::Backend| {
        let mut all = backends.iter().flatten();
        all.any(|(it, from)| {
            from.is_some_and(|from| from.it.name == *name)
                && (&it.address, it.port) == (&backend.address, backend.port)
        })
    };
    let rows = set.backends.iter().map(|backend| {
        let from = match counts(backend) {
            true => "this",
            // where both name an address and port the service's own counts
            false => "service",
        };
        backend_row(&facts.listing, backend, from)
    });
    let mut table = backend_table(rows.collect());
    if let Some(last) = table.header.last_mut() {
        *last = "COUNTS";
    }
    page.table("Backends", &table);
    let about = About::new(vec![resource(Kind::BackendSet(set.clone()))]);
    let nodes = service.map(|service| placed(&facts.listing, &service.it));
    page.nodes(&nodes.unwrap_or_default(), &about);
    let here = |backend: &Backend| {
        let mut all = set.backends.iter();
        backend.service == set.service
            && all.any(|it| (&it.address, it.port) == (&backend.address, backend.port))
    };
    page.drains(|drain| match target(drain) {
        Some(Target::Backend(backend)) => here(backend),
        Some(Target::Node(node)) => set.backends.iter().any(|it| it.node == *node),
        None => false,
    });
    let touched = [named(wire::Kind::BackendSet, name)];
    page.writes(&touched, |target| match &target.target {
        Some(Target::Backend(backend)) => here(backend),
        Some(Target::Node(_)) | None => false,
    });
    page.events("backendset", name);
    Some(page.finish())
}

/// Tells everything about a VIP; none: no service has it.
pub(crate) fn describe_vip(facts: &Facts, vip: IpAddr, style: Style) -> Option<String> {
    let services: Vec<_> = facts.listing.services_at(vip).collect();
    let first = services.first()?;
    let created = services.iter().map(|known| known.created_unix_ms).min();
    let mut page = Page::new(facts, style);
    page.field("Name", vip.to_string());
    page.field("Age", age(created.unwrap_or_default(), facts.now));
    page.field("VIP binding", binding(&first.it));
    page.field("Lockdown", lockdown(&first.it).to_string());
    let rows = services.iter().flat_map(|known| {
        let frontends = known.it.frontends.iter();
        let here = frontends.filter(|one| one.address.parse() == Ok(vip));
        here.map(|one| {
            let backends = facts.listing.backends(&known.it).len();
            let sources = one.allow_sources.join(",");
            vec![
                frontend(one),
                known.it.name.clone(),
                backends.to_string(),
                if sources.is_empty() {
                    ALL.to_owned()
                } else {
                    sources
                },
            ]
        })
    });
    let table = Table {
        header: vec!["NAME", "SERVICE", "BACKENDS", "SOURCES"],
        rows: rows.collect(),
    };
    page.table("Frontends", &table);
    let nodes = services
        .iter()
        .flat_map(|known| placed(&facts.listing, &known.it));
    let mut nodes: Vec<&str> = nodes.collect();
    nodes.sort_unstable();
    nodes.dedup();
    // of the services what bears this address alone
    let alone = services.iter().map(|known| {
        let mut service = known.it.clone();
        service
            .frontends
            .retain(|one| one.address.parse() == Ok(vip));
        resource(Kind::Service(service))
    });
    page.nodes(&nodes, &About::new(alone.collect()));
    let others = services.iter().filter(|known| vips(&known.it).len() > 1);
    let others = others.map(|known| known.it.name.as_str());
    page.field("With other VIPs", joined(others));
    page.drains(|drain| match target(drain) {
        Some(Target::Node(node)) => nodes.contains(&node.as_str()),
        Some(Target::Backend(_)) | None => false,
    });
    let touched = services.iter();
    let touched: Vec<_> = touched
        .map(|known| named(wire::Kind::Service, &known.it.name))
        .collect();
    page.writes(&touched, |_| false);
    page.events("vip", &vip.to_string());
    Some(page.finish())
}

fn backend_row(listing: &Listing, backend: &wire::Backend, from: &str) -> Vec<String> {
    let limit = |connections: Option<u32>| match connections {
        None | Some(0) => NONE.to_owned(),
        Some(connections) => connections.to_string(),
    };
    let node = match backend.node.as_str() {
        "" => ALL,
        node => node,
    };
    vec![
        socket(&backend.address, backend.port),
        weight(listing, backend),
        node.to_owned(),
        limit(backend.upper_threshold),
        limit(backend.lower_threshold),
        from.to_owned(),
    ]
}

fn backend_table(rows: Vec<Vec<String>>) -> Table {
    Table {
        header: vec!["ADDRESS", "WEIGHT", "NODE", "UPPER", "LOWER", "SET"],
        rows,
    }
}

fn target(drain: &wire::DrainState) -> Option<&Target> {
    drain.target.as_ref()?.target.as_ref()
}

fn resource(kind: Kind) -> wire::Resource {
    wire::Resource {
        kind: Some(kind),
        ..wire::Resource::default()
    }
}
