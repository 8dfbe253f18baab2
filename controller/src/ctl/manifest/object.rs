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
        revision: 0,
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
    let text = fields.text(root, name);
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
    fields.only(&meta, &["name", "labels", "revision"]);
    let name = fields.text(&meta, "name").unwrap_or_default();
    if !name.is_empty()
        && let Ok(kind) = convert::kind_from_wire(kind.into())
    {
        fields.owner = format!("{}[{name}]", kind.plural());
    }
    // `get` writes it for people; the controller gives it.
    let _: Option<u64> = fields.number(&meta, "revision", "revision");
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
            "forwarding",
            "hairpin",
            "sessionAffinity",
            "nodeSelector",
            "backends",
        ],
    );
    service.frontends = frontends(spec, fields);
    service.scheduler = fields.text(spec, "scheduler");
    service.forwarding = fields
        .word(spec, "forwarding", &FORWARDINGS)
        .map(Into::into);
    service.hairpin = fields.flag(spec, "hairpin");
    service.session_affinity = fields
        .object(spec, "sessionAffinity", "session_affinity")
        .map(|affinity| {
            fields.only(&affinity, &["timeoutSeconds"]);
            wire::SessionAffinity {
                timeout_seconds: fields.number(&affinity, "timeoutSeconds", "timeout_seconds"),
            }
        });
    service.node_selector = fields.labels(spec, "nodeSelector", "node_selector");
    service.backends = backends(spec, fields);
    service
}

fn backend_set(meta: Metadata, spec: Option<&Object<'_>>, fields: &mut Fields) -> wire::BackendSet {
    let mut set = wire::BackendSet {
        name: meta.name,
        labels: meta.labels,
        ..wire::BackendSet::default()
    };
    if let Some(spec) = spec {
        fields.only(spec, &["service", "backends"]);
        set.service = fields.text(spec, "service").unwrap_or_default();
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
        fields.only(spec, &["addresses"]);
        node.addresses = fields.texts(spec, "addresses");
    }
    node
}

fn frontends(spec: &Object<'_>, fields: &mut Fields) -> Vec<wire::Frontend> {
    let mut taken = Vec::new();
    for frontend in fields.objects(spec, "frontends") {
        fields.only(&frontend, &["address", "port", "protocol"]);
        taken.push(wire::Frontend {
            address: fields.text(&frontend, "address").unwrap_or_default(),
            port: port(&frontend, fields),
            protocol: fields
                .word(&frontend, "protocol", &PROTOCOLS)
                .map_or(0, Into::into),
        });
    }
    taken
}

fn backends(spec: &Object<'_>, fields: &mut Fields) -> Vec<wire::Backend> {
    let mut taken = Vec::new();
    for backend in fields.objects(spec, "backends") {
        fields.only(&backend, &["address", "port", "weight", "node"]);
        taken.push(wire::Backend {
            address: fields.text(&backend, "address").unwrap_or_default(),
            port: port(&backend, fields),
            weight: fields.number(&backend, "weight", "weight"),
            node: fields.text(&backend, "node").unwrap_or_default(),
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
