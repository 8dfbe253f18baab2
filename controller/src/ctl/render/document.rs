//! Resources in the form of a file, so that what `get` writes `apply` reads. PURE.
//!
//! What is absent on the wire stays absent: the text read back is the same resource.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;
use weir_proto::wire;

use super::{streamed, written};
use crate::ctl::args::DocumentForm;
use crate::ctl::manifest::{
    API_VERSION, BINDINGS, CHECKSUMS, FAMILIES, FORWARDINGS, KINDS, ON_DEADLINES, PROTOCOLS, ROLES,
    TUNNELS,
};

/// Writes a resource, as one of several.
pub(crate) fn resource(resource: &wire::Resource, form: DocumentForm) -> Result<String> {
    let one = documents(std::slice::from_ref(resource));
    one.iter().map(|it| streamed(it, form)).collect()
}

/// Writes one resource by itself; several, or none, as a `List`.
pub(crate) fn resources(
    resources: &[wire::Resource],
    single: bool,
    form: DocumentForm,
) -> Result<String> {
    match (single, documents(resources).as_slice()) {
        (true, [document]) => written(document, form),
        (_, documents) => written(&List::new(documents), form),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List<'a, T> {
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
    pub(super) items: &'a [T],
}

impl<'a, T> List<'a, T> {
    pub(super) fn new(items: &'a [T]) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "List",
            items,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    spec: Spec,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_zero")]
    revision: u64,
    #[serde(skip_serializing_if = "is_zero")]
    created_unix_ms: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Spec {
    Service(ServiceSpec),
    BackendSet(BackendSetSpec),
    Node(NodeSpec),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceSpec {
    frontends: Vec<Frontend>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduler: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scheduler_flags: Option<SchedulerFlags>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<Tunnel>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hairpin: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    one_packet: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session_affinity: Option<SessionAffinity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vip_binding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lockdown: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain: Option<Drain>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    node_selector: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backends: Vec<Backend>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Drain {
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_seconds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_deadline: Option<&'static str>,
}

#[derive(Serialize)]
struct BackendSetSpec {
    service: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backends: Vec<Backend>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeSpec {
    addresses: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict_arp: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection_timeouts: Option<ConnectionTimeouts>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sync_daemons: Vec<SyncDaemon>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cordoned: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConnectionTimeouts {
    #[serde(skip_serializing_if = "is_nothing")]
    tcp_seconds: u32,
    #[serde(skip_serializing_if = "is_nothing")]
    tcp_fin_seconds: u32,
    #[serde(skip_serializing_if = "is_nothing")]
    udp_seconds: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SyncDaemon {
    role: &'static str,
    interface: String,
    sync_id: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    #[serde(skip_serializing_if = "is_nothing")]
    port: u32,
    #[serde(skip_serializing_if = "is_nothing")]
    ttl: u32,
    #[serde(skip_serializing_if = "is_nothing")]
    max_length: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Frontend {
    #[serde(skip_serializing_if = "String::is_empty")]
    address: String,
    #[serde(skip_serializing_if = "is_nothing")]
    port: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "is_nothing")]
    firewall_mark: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    address_family: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    allow_sources: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Backend {
    address: String,
    port: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    #[serde(skip_serializing_if = "String::is_empty")]
    node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    upper_threshold: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lower_threshold: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionAffinity {
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_seconds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv4_prefix_length: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipv6_prefix_length: Option<u32>,
    #[serde(skip_serializing_if = "String::is_empty")]
    persistence_engine: String,
}

#[derive(Serialize)]
struct SchedulerFlags {
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<bool>,
}

#[derive(Serialize)]
struct Tunnel {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<&'static str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_nothing(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn documents(resources: &[wire::Resource]) -> Vec<Document> {
    resources.iter().filter_map(document).collect()
}

fn document(resource: &wire::Resource) -> Option<Document> {
    use wire::resource::Kind;
    let (kind, name, labels, spec) = match resource.kind.as_ref()? {
        Kind::Service(service) => (
            wire::Kind::Service,
            &service.name,
            &service.labels,
            Spec::Service(service_spec(service)),
        ),
        Kind::BackendSet(set) => (
            wire::Kind::BackendSet,
            &set.name,
            &set.labels,
            Spec::BackendSet(BackendSetSpec {
                service: set.service.clone(),
                backends: set.backends.iter().map(backend).collect(),
            }),
        ),
        Kind::Node(node) => (
            wire::Kind::Node,
            &node.name,
            &node.labels,
            Spec::Node(node_spec(node)),
        ),
    };
    Some(Document {
        api_version: API_VERSION,
        kind: word(&KINDS, kind.into()),
        metadata: Metadata {
            name: name.clone(),
            labels: labels.clone(),
            revision: resource.revision,
            created_unix_ms: resource.created_unix_ms,
        },
        spec,
    })
}

fn service_spec(service: &wire::Service) -> ServiceSpec {
    ServiceSpec {
        frontends: service.frontends.iter().map(frontend).collect(),
        scheduler: service.scheduler.clone(),
        scheduler_flags: service.scheduler_flags.map(|flags| SchedulerFlags {
            fallback: flags.fallback,
            port: flags.port,
        }),
        forwarding: service
            .forwarding
            .map(|forwarding| word(&FORWARDINGS, forwarding)),
        tunnel: service.tunnel.map(|tunnel| Tunnel {
            kind: tunnel.r#type.map(|kind| word(&TUNNELS, kind)),
            port: tunnel.port,
            checksum: tunnel.checksum.map(|checksum| word(&CHECKSUMS, checksum)),
        }),
        hairpin: service.hairpin,
        one_packet: service.one_packet,
        session_affinity: service
            .session_affinity
            .as_ref()
            .map(|affinity| SessionAffinity {
                timeout_seconds: affinity.timeout_seconds,
                ipv4_prefix_length: affinity.ipv4_prefix_length,
                ipv6_prefix_length: affinity.ipv6_prefix_length,
                persistence_engine: affinity.persistence_engine.clone(),
            }),
        vip_binding: service.vip_binding.map(|binding| word(&BINDINGS, binding)),
        lockdown: service.lockdown,
        drain: service.drain.map(|drain| Drain {
            deadline_seconds: drain.deadline_seconds,
            on_deadline: named(drain.on_deadline).map(|end| word(&ON_DEADLINES, end)),
        }),
        node_selector: service.node_selector.clone(),
        backends: service.backends.iter().map(backend).collect(),
    }
}

/// Gives a number of the wire that says something.
fn named(number: i32) -> Option<i32> {
    (number != 0).then_some(number)
}

pub(super) fn frontend(frontend: &wire::Frontend) -> Frontend {
    Frontend {
        address: frontend.address.clone(),
        port: frontend.port,
        protocol: named(frontend.protocol).map(|protocol| word(&PROTOCOLS, protocol)),
        firewall_mark: frontend.firewall_mark,
        address_family: named(frontend.address_family).map(|family| word(&FAMILIES, family)),
        allow_sources: frontend.allow_sources.clone(),
    }
}

fn node_spec(node: &wire::Node) -> NodeSpec {
    NodeSpec {
        addresses: node.addresses.clone(),
        strict_arp: node.strict_arp,
        connection_timeouts: node.connection_timeouts.map(|timeouts| ConnectionTimeouts {
            tcp_seconds: timeouts.tcp_seconds,
            tcp_fin_seconds: timeouts.tcp_fin_seconds,
            udp_seconds: timeouts.udp_seconds,
        }),
        sync_daemons: node.sync_daemons.iter().map(sync_daemon).collect(),
        cordoned: node.cordoned,
    }
}

fn sync_daemon(daemon: &wire::SyncDaemon) -> SyncDaemon {
    SyncDaemon {
        role: word(&ROLES, daemon.role),
        interface: daemon.interface.clone(),
        sync_id: daemon.sync_id,
        group: daemon.group.clone(),
        port: daemon.port,
        ttl: daemon.ttl,
        max_length: daemon.max_length,
    }
}

pub(super) fn backend(backend: &wire::Backend) -> Backend {
    Backend {
        address: backend.address.clone(),
        port: backend.port,
        weight: backend.weight,
        node: backend.node.clone(),
        upper_threshold: backend.upper_threshold,
        lower_threshold: backend.lower_threshold,
    }
}

/// Gives the word for a number of the wire; one that this version does not know is "UNKNOWN".
pub(crate) fn word<T: Copy + Into<i32>>(words: &[(&'static str, T)], number: i32) -> &'static str {
    words
        .iter()
        .find(|(_, value)| (*value).into() == number)
        .map_or("UNKNOWN", |(word, _)| word)
}
