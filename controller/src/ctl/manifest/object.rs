//! The shape of each kind of resource in a file. PURE.

use std::collections::BTreeMap;

use weir_proto::model::Refused;
use weir_proto::{convert, wire};

use super::Problem;
use super::fields::{Fields, Object, hint};
use super::tree::{Node, Value};

/// The one version of the file form.
pub(crate) const API_VERSION: &str = "weir/v1";

/// The kinds as files name them.
pub(crate) const KINDS: [(&str, wire::Kind); 3] = [
    ("Service", wire::Kind::Service),
    ("BackendSet", wire::Kind::BackendSet),
    ("Node", wire::Kind::Node),
];

/// The protocols as files name them.
pub(crate) const PROTOCOLS: [(&str, wire::Protocol); 3] = [
    ("TCP", wire::Protocol::Tcp),
    ("UDP", wire::Protocol::Udp),
    ("SCTP", wire::Protocol::Sctp),
];

/// The ways to forward as files name them.
pub(crate) const FORWARDINGS: [(&str, wire::Forwarding); 3] = [
    ("MASQUERADE", wire::Forwarding::Masquerade),
    ("DIRECT_ROUTE", wire::Forwarding::DirectRoute),
    ("TUNNEL", wire::Forwarding::Tunnel),
];

/// The families as files name them.
pub(crate) const FAMILIES: [(&str, wire::AddressFamily); 2] = [
    ("IPV4", wire::AddressFamily::Ipv4),
    ("IPV6", wire::AddressFamily::Ipv6),
];

/// The kinds of tunnel as files name them.
pub(crate) const TUNNELS: [(&str, wire::TunnelType); 3] = [
    ("IPIP", wire::TunnelType::Ipip),
    ("GUE", wire::TunnelType::Gue),
    ("GRE", wire::TunnelType::Gre),
];

/// The checksums of tunnels as files name them.
pub(crate) const CHECKSUMS: [(&str, wire::TunnelChecksum); 3] = [
    ("NONE", wire::TunnelChecksum::None),
    ("FULL", wire::TunnelChecksum::Full),
    ("REMOTE", wire::TunnelChecksum::Remote),
];

/// The ways to bind a VIP as files name them.
pub(crate) const BINDINGS: [(&str, wire::VipBinding); 2] = [
    ("ADDRESS", wire::VipBinding::Address),
    ("ROUTE", wire::VipBinding::Route),
];

/// What becomes of connections when the time of a drain is over, as files name it.
pub(crate) const ON_DEADLINES: [(&str, wire::OnDeadline); 2] = [
    ("KEEP", wire::OnDeadline::Keep),
    ("RESET", wire::OnDeadline::Reset),
];

/// The ends of synchronisation as files name them.
pub(crate) const ROLES: [(&str, wire::SyncRole); 2] = [
    ("MASTER", wire::SyncRole::Master),
    ("BACKUP", wire::SyncRole::Backup),
];

/// What became of one document.
pub(super) struct Read {
    /// What it says; none when it is not even clear of what kind it is. Good only without problems.
    pub(super) resource: Option<wire::Resource>,
    pub(super) problems: Vec<Problem>,
    pub(super) lines: BTreeMap<String, usize>,
}

/// Gives the resources of one document: itself, or the items of a `List`, as `get` writes it.
pub(super) fn split(root: &Node) -> Vec<&Node> {
    let Value::Map(entries) = &root.value else {
        return vec![root];
    };
    let get = |key: &str| entries.iter().find(|entry| entry.key == key);
    let list = get("kind").is_some_and(|kind| kind.value.value == Value::Text("List".to_owned()));
    match get("items").map(|items| &items.value.value) {
        Some(Value::List(items)) if list => items.iter().collect(),
        _ => vec![root],
    }
}

/// Reads one resource and checks it by the rules of the language.
pub(super) fn read(root: &Node) -> Read {
    let mut fields = Fields::default();
    fields.lines.insert(String::new(), root.line);
    let kind = fields.root(root).and_then(|root| body(&root, &mut fields));
    let resource = kind.map(|kind| wire::Resource {
        kind: Some(kind),
        ..wire::Resource::default()
    });
    if let Some(resource) = &resource
        && let Err(errors) = convert::resource_from_wire(resource.clone())
    {
        for error in errors.0 {
            // The first segment names the resource; the fields know it as their owner.
            let path = error.path.split_once("].").map_or("", |(_, path)| path);
            let problem = match (path, &error.problem) {
                ("frontends", Refused::Missing) => "at least one is needed".to_owned(),
                (_, problem) => problem.to_string(),
            };
            fields.refuse(path, &problem);
        }
    }
    Read {
        resource,
        problems: fields.problems,
        lines: fields.lines,
    }
}

fn body(root: &Object<'_>, fields: &mut Fields) -> Option<wire::resource::Kind> {
    let version = required(root, "apiVersion", fields);
    let kind = required(root, "kind", fields);
    if let Some(version) = version
        && version != API_VERSION
    {
        let hint = hint(&version, &[API_VERSION]);
        fields.say(
            "apiVersion",
            format!("unknown apiVersion {version:?}{hint}"),
        );
    }
    let kind = kind?;
    let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
    let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == kind) else {
        let hint = hint(&kind, &names);
        fields.say("kind", format!("unknown kind {kind:?}{hint}"));
        return None;
    };
    fields.only(root, &["apiVersion", "kind", "metadata", "spec"]);
    let meta = metadata(root, *kind, fields);
    let spec = fields.object(root, "spec", "");
    if spec.is_none() && fields.is_bad("spec") {
        return None;
    }
    match kind {
        wire::Kind::Service => Some(wire::resource::Kind::Service(service(
            meta,
            spec.as_ref(),
            fields,
        ))),
        wire::Kind::BackendSet => Some(wire::resource::Kind::BackendSet(backend_set(
            meta,
            spec.as_ref(),
            fields,
        ))),
        wire::Kind::Node => Some(wire::resource::Kind::Node(node(
            meta,
            spec.as_ref(),
            fields,
        ))),
        wire::Kind::Unspecified => None,
    }
}

fn required(root: &Object<'_>, name: &str, fields: &mut Fields) -> Option<String> {
    let text = fields.text(root, name, name);
    if text.is_none() {
        fields.complain(name, "missing");
    }
    text
}

#[derive(Default)]
struct Metadata {
    name: String,
    labels: BTreeMap<String, String>,
}

fn metadata(root: &Object<'_>, kind: wire::Kind, fields: &mut Fields) -> Metadata {
    let Some(meta) = fields.object(root, "metadata", "") else {
        if !fields.is_bad("metadata") {
            fields.complain("metadata.name", "missing");
        }
        // The language would miss the name as well.
        fields.excuse("name");
        return Metadata::default();
    };
    fields.stand_in("name", &meta);
    fields.only(&meta, &["name", "labels", "revision", "createdUnixMs"]);
    let name = fields.text(&meta, "name", "name").unwrap_or_default();
    if !name.is_empty()
        && let Ok(kind) = convert::kind_from_wire(kind.into())
    {
        fields.owner = format!("{}[{name}]", kind.plural());
    }
    // `get` writes it for people; the controller gives it.
    let _: Option<u64> = fields.number(&meta, "revision", "revision");
    let _: Option<u64> = fields.number(&meta, "createdUnixMs", "created_unix_ms");
    let labels = fields.labels(&meta, "labels", "labels");
    Metadata { name, labels }
}

fn service(meta: Metadata, spec: Option<&Object<'_>>, fields: &mut Fields) -> wire::Service {
    let mut service = wire::Service {
        name: meta.name,
        labels: meta.labels,
        ..wire::Service::default()
    };
    let Some(spec) = spec else {
        return service;
    };
    fields.only(
        spec,
        &[
            "frontends",
            "scheduler",
            "schedulerFlags",
            "forwarding",
            "tunnel",
            "hairpin",
            "onePacket",
            "sessionAffinity",
            "vipBinding",
            "lockdown",
            "drain",
            "nodeSelector",
            "backends",
        ],
    );
    service.frontends = frontends(spec, fields);
    service.scheduler = fields.text(spec, "scheduler", "scheduler");
    service.forwarding = fields
        .word(spec, ("forwarding", "forwarding"), &FORWARDINGS)
        .map(Into::into);
    service.scheduler_flags = fields
        .object(spec, "schedulerFlags", "scheduler_flags")
        .map(|flags| {
            fields.only(&flags, &["fallback", "port"]);
            wire::SchedulerFlags {
                fallback: fields.flag(&flags, "fallback", "fallback"),
                port: fields.flag(&flags, "port", "port"),
            }
        });
    service.tunnel = fields
        .object(spec, "tunnel", "tunnel")
        .map(|it| tunnel(&it, fields));
    service.hairpin = fields.flag(spec, "hairpin", "hairpin");
    service.one_packet = fields.flag(spec, "onePacket", "one_packet");
    service.session_affinity = fields
        .object(spec, "sessionAffinity", "session_affinity")
        .map(|it| affinity(&it, fields));
    service.vip_binding = fields
        .word(spec, ("vipBinding", "vip_binding"), &BINDINGS)
        .map(Into::into);
    service.lockdown = fields.flag(spec, "lockdown", "lockdown");
    service.drain = fields
        .object(spec, "drain", "drain")
        .map(|it| drain(&it, fields));
    service.node_selector = fields.labels(spec, "nodeSelector", "node_selector");
    service.backends = backends(spec, fields);
    service
}

fn tunnel(tunnel: &Object<'_>, fields: &mut Fields) -> wire::Tunnel {
    fields.only(tunnel, &["type", "port", "checksum"]);
    wire::Tunnel {
        r#type: fields
            .word(tunnel, ("type", "type"), &TUNNELS)
            .map(Into::into),
        port: fields.number(tunnel, "port", "port"),
        checksum: fields
            .word(tunnel, ("checksum", "checksum"), &CHECKSUMS)
            .map(Into::into),
    }
}

fn affinity(affinity: &Object<'_>, fields: &mut Fields) -> wire::SessionAffinity {
    let known = [
        "timeoutSeconds",
        "ipv4PrefixLength",
        "ipv6PrefixLength",
        "persistenceEngine",
    ];
    fields.only(affinity, &known);
    wire::SessionAffinity {
        timeout_seconds: fields.number(affinity, "timeoutSeconds", "timeout_seconds"),
        ipv4_prefix_length: fields.number(affinity, "ipv4PrefixLength", "ipv4_prefix_length"),
        ipv6_prefix_length: fields.number(affinity, "ipv6PrefixLength", "ipv6_prefix_length"),
        persistence_engine: fields
            .text(affinity, "persistenceEngine", "persistence_engine")
            .unwrap_or_default(),
    }
}

fn drain(drain: &Object<'_>, fields: &mut Fields) -> wire::Drain {
    fields.only(drain, &["deadlineSeconds", "onDeadline"]);
    wire::Drain {
        deadline_seconds: fields.number(drain, "deadlineSeconds", "deadline_seconds"),
        on_deadline: fields
            .word(drain, ("onDeadline", "on_deadline"), &ON_DEADLINES)
            .map_or(0, Into::into),
    }
}

fn backend_set(meta: Metadata, spec: Option<&Object<'_>>, fields: &mut Fields) -> wire::BackendSet {
    let mut set = wire::BackendSet {
        name: meta.name,
        labels: meta.labels,
        ..wire::BackendSet::default()
    };
    if let Some(spec) = spec {
        fields.only(spec, &["service", "backends"]);
        set.service = fields.text(spec, "service", "service").unwrap_or_default();
        set.backends = backends(spec, fields);
    }
    set
}

fn node(meta: Metadata, spec: Option<&Object<'_>>, fields: &mut Fields) -> wire::Node {
    let mut node = wire::Node {
        name: meta.name,
        labels: meta.labels,
        ..wire::Node::default()
    };
    if let Some(spec) = spec {
        let known = [
            "addresses",
            "strictArp",
            "connectionTimeouts",
            "syncDaemons",
            "cordoned",
        ];
        fields.only(spec, &known);
        node.addresses = fields.texts(spec, "addresses", "addresses");
        node.strict_arp = fields.flag(spec, "strictArp", "strict_arp");
        node.connection_timeouts = fields
            .object(spec, "connectionTimeouts", "connection_timeouts")
            .map(|it| timeouts(&it, fields));
        for daemon in fields.objects(spec, "syncDaemons", "sync_daemons") {
            node.sync_daemons.push(sync_daemon(&daemon, fields));
        }
        node.cordoned = fields.flag(spec, "cordoned", "cordoned");
    }
    node
}

fn timeouts(timeouts: &Object<'_>, fields: &mut Fields) -> wire::ConnectionTimeouts {
    fields.only(timeouts, &["tcpSeconds", "tcpFinSeconds", "udpSeconds"]);
    let mut seconds = |name, path| fields.number(timeouts, name, path).unwrap_or(0);
    wire::ConnectionTimeouts {
        tcp_seconds: seconds("tcpSeconds", "tcp_seconds"),
        tcp_fin_seconds: seconds("tcpFinSeconds", "tcp_fin_seconds"),
        udp_seconds: seconds("udpSeconds", "udp_seconds"),
    }
}

fn sync_daemon(daemon: &Object<'_>, fields: &mut Fields) -> wire::SyncDaemon {
    let known = [
        "role",
        "interface",
        "syncId",
        "group",
        "port",
        "ttl",
        "maxLength",
    ];
    fields.only(daemon, &known);
    wire::SyncDaemon {
        role: fields
            .word(daemon, ("role", "role"), &ROLES)
            .map_or(0, Into::into),
        interface: fields
            .text(daemon, "interface", "interface")
            .unwrap_or_default(),
        sync_id: fields.number(daemon, "syncId", "sync_id").unwrap_or(0),
        group: fields.text(daemon, "group", "group").unwrap_or_default(),
        port: fields.number(daemon, "port", "port").unwrap_or(0),
        ttl: fields.number(daemon, "ttl", "ttl").unwrap_or(0),
        max_length: fields
            .number(daemon, "maxLength", "max_length")
            .unwrap_or(0),
    }
}

fn frontends(spec: &Object<'_>, fields: &mut Fields) -> Vec<wire::Frontend> {
    let mut taken = Vec::new();
    let known = [
        "address",
        "port",
        "protocol",
        "firewallMark",
        "addressFamily",
        "allowSources",
    ];
    for frontend in fields.objects(spec, "frontends", "frontends") {
        fields.only(&frontend, &known);
        let firewall_mark = fields
            .number(&frontend, "firewallMark", "firewall_mark")
            .unwrap_or(0);
        taken.push(wire::Frontend {
            address: fields
                .text(&frontend, "address", "address")
                .unwrap_or_default(),
            port: match firewall_mark {
                0 => port(&frontend, fields),
                _ => fields.number(&frontend, "port", "port").unwrap_or(0),
            },
            protocol: fields
                .word(&frontend, ("protocol", "protocol"), &PROTOCOLS)
                .map_or(0, Into::into),
            firewall_mark,
            address_family: fields
                .word(&frontend, ("addressFamily", "address_family"), &FAMILIES)
                .map_or(0, Into::into),
            allow_sources: fields.texts(&frontend, "allowSources", "allow_sources"),
        });
    }
    taken
}

fn backends(spec: &Object<'_>, fields: &mut Fields) -> Vec<wire::Backend> {
    let mut taken = Vec::new();
    let known = [
        "address",
        "port",
        "weight",
        "node",
        "upperThreshold",
        "lowerThreshold",
    ];
    for backend in fields.objects(spec, "backends", "backends") {
        fields.only(&backend, &known);
        taken.push(wire::Backend {
            address: fields
                .text(&backend, "address", "address")
                .unwrap_or_default(),
            port: port(&backend, fields),
            weight: fields.number(&backend, "weight", "weight"),
            node: fields.text(&backend, "node", "node").unwrap_or_default(),
            upper_threshold: fields.number(&backend, "upperThreshold", "upper_threshold"),
            lower_threshold: fields.number(&backend, "lowerThreshold", "lower_threshold"),
        });
    }
    taken
}

/// Takes a port. The wire has no absent one, so that one left out is told from a 0 here.
fn port(inside: &Object<'_>, fields: &mut Fields) -> u32 {
    match fields.number(inside, "port", "port") {
        Some(port) => port,
        None => {
            fields.missing(inside, "port");
            0
        }
    }
}
