//! Short ways to write resources in tests.

use std::collections::BTreeMap;

use weir_proto::digest::Digest;
use weir_proto::model::{
    Backend, BackendKey, BackendSet, BackendSetName, Capability, Drain, Endpoint, Forwarding,
    Frontend, Generation, Item, Labels, Listener, LoopbackEntry, Node, NodeBackend, NodeName, Port,
    Protocol, Resource, Revision, Scheduler, Service, ServiceName, Sources, Thresholds, Vip,
    VipBinding, VirtualService, Weight,
};

use super::compile::Part;
use super::resources::Stored;
use super::view::{Content, Joining, Proposal, View, ViewMut, Views};

/// A resource as a revision left it.
pub(crate) fn stored_at(resource: Resource, revision: u64) -> Stored {
    Stored {
        resource,
        revision: Revision(revision),
        created_unix_ms: 1_700_000_000_000,
    }
}

/// "10.0.0.1:80"
pub(crate) fn endpoint(text: &str) -> Endpoint {
    let (address, port) = text.rsplit_once(':').expect("address:port");
    Endpoint {
        address: address.parse().expect("an address"),
        port: Port::new(port.parse().expect("a number")).expect("a port"),
    }
}

/// "10.1.0.1:80", TCP; "10.1.0.1:53/udp"
pub(crate) fn frontend(text: &str) -> Frontend {
    let (at, protocol) = match text.split_once('/') {
        None => (text, Protocol::Tcp),
        Some((at, "udp")) => (at, Protocol::Udp),
        Some((_, other)) => panic!("{other}"),
    };
    let Endpoint { address, port } = endpoint(at);
    Frontend::Address(Listener {
        address,
        port,
        protocol,
    })
}

/// "10.0.0.1:80", "10.0.0.1:80@node", "10.0.0.1:80@node*3" for weight 3
pub(crate) fn backends(texts: &[&str]) -> BTreeMap<Endpoint, Backend> {
    let backend = |text: &&str| {
        let (text, weight) = text.split_once('*').unwrap_or((text, "1"));
        let (at, node) = match text.split_once('@') {
            None => (text, None),
            Some((at, node)) => (at, Some(node_name(node))),
        };
        let backend = Backend {
            endpoint: endpoint(at),
            weight: Weight::new(weight.parse().expect("a number")).expect("a weight"),
            node,
            thresholds: Thresholds::default(),
        };
        (backend.endpoint, backend)
    };
    texts.iter().map(backend).collect()
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pairs = pairs.iter();
    Labels::new(pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))).expect("labels")
}

pub(crate) fn node_name(name: &str) -> NodeName {
    NodeName::new(name).expect("a name")
}

pub(crate) fn service_name(name: &str) -> ServiceName {
    ServiceName::new(name).expect("a name")
}

pub(crate) fn service(name: &str, frontends: &[&str], behind: &[&str]) -> Service {
    Service {
        name: service_name(name),
        labels: Labels::default(),
        frontends: frontends
            .iter()
            .map(|text| (frontend(text), Sources::new()))
            .collect(),
        scheduler: Scheduler::DEFAULT,
        scheduler_flags: None,
        forwarding: Forwarding::Masquerade,
        backends: backends(behind),
        affinity: None,
        one_packet: false,
        hairpin: true,
        node_selector: Labels::default(),
        vip_binding: VipBinding::default(),
        lockdown: true,
        drain: Drain::default(),
    }
}

pub(crate) fn set(name: &str, service: &str, behind: &[&str]) -> BackendSet {
    BackendSet {
        name: BackendSetName::new(name).expect("a name"),
        labels: Labels::default(),
        service: service_name(service),
        backends: backends(behind),
    }
}

pub(crate) fn node(name: &str, pairs: &[(&str, &str)]) -> Node {
    Node::new(node_name(name), labels(pairs), Vec::new())
}

/// Something that a kernel lacks, with how to get it; it has what needs no such word.
pub(crate) fn capability(name: &str, how: &str) -> Capability {
    Capability {
        name: name.to_owned(),
        available: how.is_empty(),
        detail: how.to_owned(),
        optional: name != "ip_vs",
    }
}

/// Makes a batch.
pub(crate) fn batch(resources: Vec<Resource>) -> super::Batch {
    let resources = resources.into_iter();
    resources
        .map(|resource| (resource.reference(), Some(resource)))
        .collect()
}

pub(crate) fn vip(address: &str) -> Item {
    Item::Vip(Vip::new(address.parse().expect("an address")))
}

pub(crate) fn virtual_service(at: &str, service: &str) -> Item {
    Item::VirtualService(VirtualService::new(frontend(at), service_name(service)))
}

pub(crate) fn backend(of: &str, at: &str, weight: u32) -> Item {
    let key = BackendKey {
        frontend: frontend(of),
        endpoint: endpoint(at),
    };
    Item::Backend(NodeBackend {
        weight: Weight::new(weight).expect("a weight"),
        ..NodeBackend::new(key)
    })
}

pub(crate) fn entry(protocol: Protocol, at: &str) -> Item {
    let Endpoint { address, port } = endpoint(at);
    Item::LoopbackEntry(LoopbackEntry {
        address,
        protocol,
        port,
        source: address,
    })
}

/// The view of one node that nobody else has.
pub(crate) struct Alone(Views);

impl Alone {
    /// A node that holds these, claimed one after the other.
    pub(crate) fn new(items: &[Item]) -> Self {
        Self::left(items, None)
    }

    /// A node that was left with a generation and a digest.
    pub(crate) fn left(items: &[Item], left: Option<(Generation, Digest)>) -> Self {
        let joining = Joining {
            signature: Digest::of_encoded(b"alone"),
            common: Box::new(|| items.iter().collect()),
            own: Vec::new(),
        };
        let left = left.map(|left| (node_name("alone"), left));
        let left = left.into_iter().collect();
        Self(Views::restore([(node_name("alone"), joining)], &left))
    }

    pub(crate) fn view(&self) -> View<'_> {
        self.0.get(&node_name("alone")).expect("a view")
    }

    pub(crate) fn view_mut(&mut self) -> ViewMut<'_> {
        self.0.get_mut(&node_name("alone")).expect("a view")
    }

    /// Works out what a change does; gives the generation and digest that it makes.
    pub(crate) fn prepare(&self, parts: &[Part<'_>]) -> Option<(Generation, Digest)> {
        let change = self.0.prepare(self.proposal(parts));
        change.seen().values().next().copied().flatten()
    }

    pub(crate) fn change(&mut self, parts: &[Part<'_>]) {
        let change = self.0.prepare(self.proposal(parts));
        self.0.take(change);
    }

    fn proposal<'a>(&self, parts: &[Part<'a>]) -> Proposal<'a> {
        let group = self.0.group_of(&node_name("alone")).expect("a group");
        Proposal {
            rest: [(group, parts.to_vec())].into(),
            ..Proposal::default()
        }
    }
}

/// Gives what comes and what goes, whoever else is sent it.
pub(crate) fn flat(content: &Content) -> (Vec<Item>, Vec<weir_proto::model::ItemKey>) {
    let (mut upserted, mut removed) = (content.upserted.clone(), content.removed.clone());
    if let Some(common) = &content.common {
        upserted.extend_from_slice(common.upserted());
        removed.extend_from_slice(common.removed());
    }
    upserted.sort_by_key(Item::key);
    removed.sort();
    (upserted, removed)
}
