//! The resources that operators write.

use std::collections::{BTreeMap, BTreeSet};

use super::drain::{drain_or, drain_to_wire};
use super::settings::{
    binding_from_wire, binding_to_wire, daemon_from_wire, daemon_to_wire, engine_from_wire,
    engine_to_wire, flags_from_wire, flags_to_wire, forwarding_from_wire, forwarding_to_wire,
    sources_from_wire, sources_to_wire, timeouts_from_wire, timeouts_to_wire,
};
use super::{
    FieldErrors, Problems, address_from_wire, frontend_from_wire, frontend_to_wire,
    labels_from_wire, labels_to_wire,
};
use crate::model::{
    AffinityTimeout, Backend, BackendSet, BackendSetName, Drain, Endpoint, Family, Frontend, Kind,
    Node, NodeName, Port, PrefixLength, Protocol, Refused, Resource, ResourceRef, Revision,
    Scheduler, Service, ServiceName, SessionAffinity, Sources, Thresholds, VipBinding, Weight,
};
use crate::wire;

/// Reads a batch. A bad field is named from its kind and the resource's name, or its place in the batch
/// where it has no good one: `services[web].frontends[0].port`, `resources[3]`.
pub fn resources_from_wire(batch: Vec<wire::Resource>) -> Result<Vec<Resource>, FieldErrors> {
    let mut problems = Problems::default();
    let mut taken = Vec::with_capacity(batch.len());
    let mut seen = BTreeSet::new();
    for (place, resource) in batch.into_iter().enumerate() {
        let Some(resource) = read_resource(resource, place, &mut problems) else {
            continue;
        };
        let reference = resource.reference();
        if !seen.insert(reference.clone()) {
            problems.add(reference.to_string(), Refused::Twice(reference.name));
            continue;
        }
        taken.push(resource);
    }
    problems.finish(Some(taken))
}

/// Reads one resource.
pub fn resource_from_wire(resource: wire::Resource) -> Result<Resource, FieldErrors> {
    let mut problems = Problems::default();
    let resource = read_resource(resource, 0, &mut problems);
    problems.finish(resource)
}

/// Writes a resource with the revision of its last change. When it was created is left to those who know.
pub fn resource_to_wire(resource: &Resource, revision: Revision) -> wire::Resource {
    use wire::resource::Kind as Wire;
    let kind = match resource {
        Resource::Service(service) => Wire::Service(service_to_wire(service)),
        Resource::Node(node) => Wire::Node(node_to_wire(node)),
        Resource::BackendSet(set) => Wire::BackendSet(wire::BackendSet {
            name: set.name.to_string(),
            labels: labels_to_wire(&set.labels),
            service: set.service.to_string(),
            backends: set.backends.values().map(backend_to_wire).collect(),
        }),
    };
    wire::Resource {
        kind: Some(kind),
        revision: revision.0,
        ..wire::Resource::default()
    }
}

/// Reads a kind that must be named.
pub fn kind_from_wire(number: i32) -> Result<Kind, Refused> {
    match wire::Kind::try_from(number) {
        Ok(wire::Kind::Service) => Ok(Kind::Service),
        Ok(wire::Kind::Node) => Ok(Kind::Node),
        Ok(wire::Kind::BackendSet) => Ok(Kind::BackendSet),
        Ok(wire::Kind::Unspecified) => Err(Refused::Missing),
        Err(_) => Err(Refused::Enum(number, "kind")),
    }
}

/// Writes a kind.
pub fn kind_to_wire(kind: Kind) -> wire::Kind {
    match kind {
        Kind::Service => wire::Kind::Service,
        Kind::Node => wire::Kind::Node,
        Kind::BackendSet => wire::Kind::BackendSet,
    }
}

/// Reads a reference that stands at `path`.
pub fn reference_from_wire(
    reference: &wire::ResourceRef,
    path: &str,
    problems: &mut Problems,
) -> Option<ResourceRef> {
    let kind = problems.take(format!("{path}.kind"), kind_from_wire(reference.kind));
    if reference.name.is_empty() {
        problems.add(format!("{path}.name"), Refused::Missing);
        return None;
    }
    Some(ResourceRef {
        kind: kind?,
        name: reference.name.clone(),
    })
}

/// Writes a reference.
pub fn reference_to_wire(reference: &ResourceRef) -> wire::ResourceRef {
    wire::ResourceRef {
        kind: kind_to_wire(reference.kind).into(),
        name: reference.name.clone(),
    }
}

fn read_resource(
    resource: wire::Resource,
    place: usize,
    problems: &mut Problems,
) -> Option<Resource> {
    use wire::resource::Kind as Wire;
    match resource.kind {
        Some(Wire::Service(service)) => {
            read_service(service, place, problems).map(Resource::Service)
        }
        Some(Wire::Node(node)) => read_node(node, place, problems).map(Resource::Node),
        Some(Wire::BackendSet(set)) => {
            read_backend_set(set, place, problems).map(Resource::BackendSet)
        }
        None => {
            problems.add(format!("resources[{place}]"), Refused::Missing);
            None
        }
    }
}

/// Names a resource in paths by its name, or by its place in the batch when it has none.
fn path(kind: Kind, name: &str, place: usize) -> String {
    if name.is_empty() {
        format!("{}[{place}]", kind.plural())
    } else {
        format!("{}[{name}]", kind.plural())
    }
}

fn named<T>(name: &str, new: fn(&str) -> Result<T, Refused>) -> Result<T, Refused> {
    if name.is_empty() {
        Err(Refused::Missing)
    } else {
        new(name)
    }
}

fn read_service(service: wire::Service, place: usize, problems: &mut Problems) -> Option<Service> {
    let at = path(Kind::Service, &service.name, place);
    let name = problems.take(format!("{at}.name"), named(&service.name, ServiceName::new));
    let labels = labels_from_wire(service.labels, &format!("{at}.labels"), problems);
    let frontends = read_frontends(&service.frontends, &at, problems);
    let scheduler = problems.take(
        format!("{at}.scheduler"),
        service
            .scheduler
            .map_or(Ok(Scheduler::DEFAULT), |name| name.parse()),
    );
    let scheduler_flags = scheduler.and_then(|scheduler| {
        problems.take(
            format!("{at}.scheduler_flags"),
            flags_from_wire(service.scheduler_flags, scheduler),
        )
    });
    let forwarding =
        forwarding_from_wire(service.forwarding, service.tunnel.as_ref(), &at, problems);
    let backends = read_backends(service.backends, &at, problems);
    let affinity = match &service.session_affinity {
        None => Some(None),
        Some(affinity) => read_affinity(affinity, &at, problems).map(Some),
    };
    let one_packet = service.one_packet.unwrap_or(false);
    if let (Some(frontends), Some(affinity)) = (&frontends, &affinity) {
        check_datagrams(frontends, *affinity, one_packet, &at, problems);
    }
    let vip_binding = problems.take(
        format!("{at}.vip_binding"),
        service
            .vip_binding
            .map_or(Ok(VipBinding::default()), binding_from_wire),
    );
    let node_selector = labels_from_wire(
        service.node_selector,
        &format!("{at}.node_selector"),
        problems,
    );
    let path = format!("{at}.drain");
    let drain = drain_or(Drain::default(), service.drain.as_ref(), &path, problems);
    let service = Service {
        name: name?,
        labels: labels?,
        frontends: frontends?,
        scheduler: scheduler?,
        scheduler_flags: scheduler_flags?,
        forwarding: forwarding?,
        backends: BTreeMap::new(),
        affinity: affinity?,
        one_packet,
        hairpin: service.hairpin.unwrap_or(true),
        node_selector: node_selector?,
        vip_binding: vip_binding?,
        lockdown: service.lockdown.unwrap_or(true),
        drain: drain?,
    };
    let mut fitting = BTreeMap::new();
    for (place, backend) in backends? {
        for misfit in service.misfits(&backend) {
            problems.add(format!("{at}.backends[{place}]"), misfit);
        }
        fitting.insert(backend.endpoint, backend);
    }
    Some(Service {
        backends: fitting,
        ..service
    })
}

fn read_frontends(
    frontends: &[wire::Frontend],
    at: &str,
    problems: &mut Problems,
) -> Option<BTreeMap<Frontend, Sources>> {
    if frontends.is_empty() {
        problems.add(format!("{at}.frontends"), Refused::Missing);
        return None;
    }
    let mut taken = BTreeMap::new();
    for (place, written) in frontends.iter().enumerate() {
        let path = format!("{at}.frontends[{place}]");
        let key = wire::Frontend {
            allow_sources: Vec::new(),
            ..written.clone()
        };
        let Some(frontend) = frontend_from_wire(&key, &path, problems) else {
            continue;
        };
        let family = frontend.listener().map(|_| frontend.family());
        let at = format!("{path}.allow_sources");
        let sources = sources_from_wire(&written.allow_sources, family, &at, problems);
        if taken.insert(frontend, sources?).is_some() {
            problems.add(path, Refused::Twice(frontend.to_string()));
        }
    }
    Some(taken)
}

fn read_affinity(
    affinity: &wire::SessionAffinity,
    at: &str,
    problems: &mut Problems,
) -> Option<SessionAffinity> {
    let at = format!("{at}.session_affinity");
    let timeout = problems.take(
        format!("{at}.timeout_seconds"),
        affinity
            .timeout_seconds
            .map_or(Ok(AffinityTimeout::DEFAULT), AffinityTimeout::new),
    );
    let prefix = |family, bits: Option<u32>| {
        bits.map_or(Ok(PrefixLength::whole(family)), |bits| {
            PrefixLength::new(family, bits)
        })
    };
    let ipv4_prefix = problems.take(
        format!("{at}.ipv4_prefix_length"),
        prefix(Family::V4, affinity.ipv4_prefix_length),
    );
    let ipv6_prefix = problems.take(
        format!("{at}.ipv6_prefix_length"),
        prefix(Family::V6, affinity.ipv6_prefix_length),
    );
    let engine = problems.take(
        format!("{at}.persistence_engine"),
        engine_from_wire(&affinity.persistence_engine),
    );
    Some(SessionAffinity {
        timeout: timeout?,
        ipv4_prefix: ipv4_prefix?,
        ipv6_prefix: ipv6_prefix?,
        engine: engine?,
    })
}

/// Checks what only datagrams can have: the kernel takes one-packet scheduling of others and ignores it, and its SIP engine
/// finds no Call-ID in them (`ip_vs_sip_fill_param` in `net/netfilter/ipvs/ip_vs_pe_sip.c`).
fn check_datagrams(
    frontends: &BTreeMap<Frontend, Sources>,
    affinity: Option<SessionAffinity>,
    one_packet: bool,
    at: &str,
    problems: &mut Problems,
) {
    let streams = |frontend: &Frontend| {
        let listener = frontend.listener();
        listener.is_some_and(|listener| listener.protocol != Protocol::Udp)
    };
    let streams = frontends.keys().any(streams);
    let engine = affinity.is_some_and(|affinity| affinity.engine.is_some());
    if engine && streams {
        let path = format!("{at}.session_affinity.persistence_engine");
        problems.add(path, Refused::OnlyWith("UDP frontends"));
    }
    if one_packet && streams {
        problems.add(
            format!("{at}.one_packet"),
            Refused::OnlyWith("UDP frontends"),
        );
    }
    if one_packet && affinity.is_some() {
        let why = Refused::Other("not with session affinity".to_owned());
        problems.add(format!("{at}.one_packet"), why);
    }
}

/// Reads the good ones of a list of backends, each with its place in it.
fn read_backends(
    backends: Vec<wire::Backend>,
    at: &str,
    problems: &mut Problems,
) -> Option<Vec<(usize, Backend)>> {
    let mut taken = Vec::with_capacity(backends.len());
    let mut seen = BTreeSet::new();
    for (place, backend) in backends.into_iter().enumerate() {
        let path = format!("{at}.backends[{place}]");
        if let Some(backend) = read_backend(&backend, &path, problems) {
            if seen.insert(backend.endpoint) {
                taken.push((place, backend));
            } else {
                problems.add(path, Refused::Twice(backend.endpoint.to_string()));
            }
        }
    }
    Some(taken)
}

fn read_backend(backend: &wire::Backend, at: &str, problems: &mut Problems) -> Option<Backend> {
    let address = problems.take(format!("{at}.address"), address_from_wire(&backend.address));
    let port = problems.take(format!("{at}.port"), Port::new(backend.port));
    let weight = problems.take(
        format!("{at}.weight"),
        backend.weight.map_or(Ok(Weight::DEFAULT), Weight::new),
    );
    let node = if backend.node.is_empty() {
        Some(None)
    } else {
        problems
            .take(format!("{at}.node"), NodeName::new(&backend.node))
            .map(Some)
    };
    let thresholds = problems.take(
        format!("{at}.lower_threshold"),
        Thresholds::new(
            backend.upper_threshold.unwrap_or(0),
            backend.lower_threshold.unwrap_or(0),
        ),
    );
    Some(Backend {
        endpoint: Endpoint {
            address: address?,
            port: port?,
        },
        weight: weight?,
        node: node?,
        thresholds: thresholds?,
    })
}

fn read_backend_set(
    set: wire::BackendSet,
    place: usize,
    problems: &mut Problems,
) -> Option<BackendSet> {
    let at = path(Kind::BackendSet, &set.name, place);
    let name = problems.take(format!("{at}.name"), named(&set.name, BackendSetName::new));
    let labels = labels_from_wire(set.labels, &format!("{at}.labels"), problems);
    let service = problems.take(
        format!("{at}.service"),
        named(&set.service, ServiceName::new),
    );
    let backends = read_backends(set.backends, &at, problems);
    Some(BackendSet {
        name: name?,
        labels: labels?,
        service: service?,
        backends: backends?
            .into_iter()
            .map(|(_, backend)| (backend.endpoint, backend))
            .collect(),
    })
}

fn read_node(node: wire::Node, place: usize, problems: &mut Problems) -> Option<Node> {
    let at = path(Kind::Node, &node.name, place);
    let name = problems.take(format!("{at}.name"), named(&node.name, NodeName::new));
    let labels = labels_from_wire(node.labels, &format!("{at}.labels"), problems);
    let mut addresses = Vec::with_capacity(node.addresses.len());
    for (place, address) in node.addresses.iter().enumerate() {
        let path = format!("{at}.addresses[{place}]");
        addresses.extend(problems.take(path, address_from_wire(address)));
    }
    let connection_timeouts = node.connection_timeouts.as_ref().and_then(|timeouts| {
        timeouts_from_wire(timeouts, &format!("{at}.connection_timeouts"), problems)
    });
    let mut sync_daemons = BTreeMap::new();
    for (place, daemon) in node.sync_daemons.iter().enumerate() {
        let path = format!("{at}.sync_daemons[{place}]");
        if let Some(daemon) = daemon_from_wire(daemon, &path, problems) {
            let role = daemon.role;
            if sync_daemons.insert(role, daemon).is_some() {
                problems.add(path, Refused::Twice(role.to_string()));
            }
        }
    }
    Some(Node {
        name: name?,
        labels: labels?,
        addresses,
        strict_arp: node.strict_arp.unwrap_or(false),
        connection_timeouts,
        sync_daemons,
        cordoned: node.cordoned.unwrap_or(false),
    })
}

fn service_to_wire(service: &Service) -> wire::Service {
    let (forwarding, tunnel) = forwarding_to_wire(service.forwarding);
    wire::Service {
        name: service.name.to_string(),
        labels: labels_to_wire(&service.labels),
        frontends: service
            .frontends
            .iter()
            .map(|(frontend, sources)| wire::Frontend {
                allow_sources: sources_to_wire(sources),
                ..frontend_to_wire(*frontend)
            })
            .collect(),
        scheduler: Some(service.scheduler.to_string()),
        forwarding: Some(forwarding.into()),
        backends: service.backends.values().map(backend_to_wire).collect(),
        session_affinity: service.affinity.map(affinity_to_wire),
        hairpin: Some(service.hairpin),
        node_selector: labels_to_wire(&service.node_selector),
        scheduler_flags: service.scheduler_flags.map(flags_to_wire),
        tunnel,
        one_packet: service.one_packet.then_some(true),
        vip_binding: Some(binding_to_wire(service.vip_binding).into()),
        lockdown: Some(service.lockdown),
        drain: Some(drain_to_wire(service.drain)),
    }
}

fn affinity_to_wire(affinity: SessionAffinity) -> wire::SessionAffinity {
    wire::SessionAffinity {
        timeout_seconds: Some(affinity.timeout.seconds()),
        ipv4_prefix_length: shorter(affinity.ipv4_prefix, Family::V4),
        ipv6_prefix_length: shorter(affinity.ipv6_prefix, Family::V6),
        persistence_engine: engine_to_wire(affinity.engine),
    }
}

/// Gives a prefix length that does not take every client by itself.
fn shorter(prefix: PrefixLength, family: Family) -> Option<u32> {
    (prefix != PrefixLength::whole(family)).then(|| prefix.get().into())
}

fn positive(number: u32) -> Option<u32> {
    (number > 0).then_some(number)
}

fn backend_to_wire(backend: &Backend) -> wire::Backend {
    wire::Backend {
        address: backend.endpoint.address.to_string(),
        port: backend.endpoint.port.get().into(),
        weight: Some(backend.weight.get().into()),
        node: backend
            .node
            .as_ref()
            .map_or_else(String::new, NodeName::to_string),
        upper_threshold: positive(backend.thresholds.upper()),
        lower_threshold: positive(backend.thresholds.lower()),
    }
}

fn node_to_wire(node: &Node) -> wire::Node {
    wire::Node {
        name: node.name.to_string(),
        labels: labels_to_wire(&node.labels),
        addresses: node.addresses.iter().map(ToString::to_string).collect(),
        strict_arp: node.strict_arp.then_some(true),
        connection_timeouts: node.connection_timeouts.map(timeouts_to_wire),
        sync_daemons: node.sync_daemons.values().map(daemon_to_wire).collect(),
        cordoned: node.cordoned.then_some(true),
    }
}
