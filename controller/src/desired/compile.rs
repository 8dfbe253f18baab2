//! What the nodes that hold a service must have for it, and what a change of it changes there. PURE
//!
//! A service is compiled once for all nodes: only the loopback entries of backends that name their node, and what nodes need
//! to be backends of direct route and tunnel, differ from node to node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_proto::digest::Digest;
use weir_proto::model::{
    Backend, BackendKey, BackendSet, Drain, Endpoint, Family, Forwarding, Frontend, Item, ItemKey,
    Labels, LoopbackEntry, Node, NodeBackend, NodeName, Service, ServiceName, Tunnel, TunnelEnd,
    UnreadKey, Vip, VirtualService, Weight,
};

use super::cordons::Cordons;
use super::drains::DrainsOf;

/// Items by key.
pub(crate) type Items = BTreeMap<ItemKey, Item>;

/// What nobody wants.
pub(super) static NONE: Items = Items::new();

/// Which of the versions of a service a node holds. All nodes that hold a service in one version hold the same of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// The one that is written.
    Current,
    /// The one that was written before, where a rollout has not come yet.
    Before,
}

/// A service as nodes hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compiled {
    selector: Labels,
    everywhere: Items,
    only_at: BTreeMap<NodeName, Items>,
    /// What nodes that do not hold it must have to be its backends; of both versions while there are two: nodes that hold
    /// either send packets.
    behind: BTreeMap<NodeName, Items>,
    staged: Option<Box<Staged>>,
}

/// What nodes hold that a rollout has not reached.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Staged {
    /// None: the service was not there.
    before: Option<Compiled>,
    reached: Arc<BTreeSet<NodeName>>,
}

/// What is done to a backend from outside of its service.
struct Means {
    weight: Weight,
    drain: Option<Drain>,
}

/// How what a service wants of one node changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    /// It wants these no longer.
    pub(crate) released: Vec<ItemKey>,
    /// It wants these and did not before.
    pub(crate) claimed: Vec<&'a Item>,
    /// It wants these otherwise.
    pub(crate) edited: Vec<&'a Item>,
}

/// Works out what a service and its backend sets want of the nodes that hold it. Where the service itself and
/// a set name the same backend, the service's own counts. A backend that is drained keeps its weight: the node takes 0. One on a
/// node that is cordoned has weight 0, and nothing else of it changes.
pub(crate) fn compile<'a>(
    service: &Service,
    sets: impl Iterator<Item = &'a BackendSet>,
    drains: &DrainsOf<'_>,
    cordons: &Cordons<'_>,
) -> Compiled {
    let mut backends: BTreeMap<Endpoint, &Backend> = BTreeMap::new();
    for set in sets {
        backends.extend(set.backends.iter().map(|(at, backend)| (*at, backend)));
    }
    backends.extend(service.backends.iter().map(|(at, backend)| (*at, backend)));

    let mut compiled = Compiled {
        selector: service.node_selector.clone(),
        everywhere: Items::new(),
        only_at: BTreeMap::new(),
        behind: BTreeMap::new(),
        staged: None,
    };
    for (frontend, sources) in &service.frontends {
        if let Some(address) = frontend.vip() {
            let vip = Vip {
                address,
                binding: service.vip_binding,
                lockdown: service.lockdown,
            };
            put(&mut compiled.everywhere, Item::Vip(vip));
        }
        put(
            &mut compiled.everywhere,
            Item::VirtualService(VirtualService {
                frontend: *frontend,
                scheduler: service.scheduler,
                scheduler_flags: service.scheduler_flags,
                affinity: service
                    .affinity
                    .map(|affinity| affinity.of(frontend.family())),
                one_packet: service.one_packet,
                sources: sources.clone(),
                service: service.name.clone(),
                drain: service.drain,
            }),
        );
        for backend in backends.values() {
            let means = Means {
                weight: cordons.weight(backend),
                drain: drains.drain(service, backend),
            };
            compiled.add(service, *frontend, backend, means);
        }
    }
    compiled
}

/// Gives what the node of a backend must have when another node sends it a frontend's packets.
fn receiving(service: &Service, frontend: Frontend, backend: &Backend) -> Vec<Item> {
    let mut items = Vec::new();
    match service.forwarding {
        Forwarding::Masquerade => return items,
        Forwarding::DirectRoute => {}
        Forwarding::Tunnel(Tunnel::Ipip) => items.push(Item::TunnelEnd(TunnelEnd {
            outer: Family::of(backend.endpoint.address),
            inner: frontend.family(),
        })),
        // how a backend takes these is not the kernel's to guess: ports and links are made by who chose them
        Forwarding::Tunnel(Tunnel::Gue { .. } | Tunnel::Gre { .. }) => {}
    }
    // what a mark is on is addressed to where the operator has it
    items.extend(frontend.vip().map(Item::SilentVip));
    items
}

fn put(items: &mut Items, item: Item) {
    items.insert(item.key(), item);
}

impl Compiled {
    fn add(
        &mut self,
        service: &Service,
        frontend: Frontend,
        backend: &Backend,
        Means { weight, drain }: Means,
    ) {
        let Endpoint { address, port } = backend.endpoint;
        put(
            &mut self.everywhere,
            Item::Backend(NodeBackend {
                key: BackendKey {
                    frontend,
                    endpoint: backend.endpoint,
                },
                weight,
                forwarding: service.forwarding,
                thresholds: backend.thresholds,
                drain,
            }),
        );
        if let Some(node) = &backend.node {
            for item in receiving(service, frontend, backend) {
                put(self.behind.entry(node.clone()).or_default(), item);
            }
        }
        // the others answer the client themselves, with the VIP as their own address; of what has a mark the protocol is
        // not known
        let Some(listener) = frontend.listener() else {
            return;
        };
        if !service.hairpin || service.forwarding != Forwarding::Masquerade {
            return;
        }
        let items = match &backend.node {
            None => &mut self.everywhere,
            Some(node) => self.only_at.entry(node.clone()).or_default(),
        };
        put(
            items,
            Item::LoopbackEntry(LoopbackEntry {
                address,
                protocol: listener.protocol,
                port,
                source: address,
            }),
        );
    }

    /// Lets only nodes that were reached hold it; the others hold what was there before, if it was.
    pub(crate) fn staged(mut self, before: Option<Self>, reached: Arc<BTreeSet<NodeName>>) -> Self {
        for (name, items) in before.iter().flat_map(|before| &before.behind) {
            let behind = self.behind.entry(name.clone()).or_default();
            for (key, item) in items {
                behind.entry(*key).or_insert_with(|| item.clone());
            }
        }
        self.staged = Some(Box::new(Staged { before, reached }));
        self
    }

    /// Gives which version of the service a node holds; none: it does not hold it. What a node holds in common with others,
    /// and with which others, depends on this answer alone.
    pub(crate) fn version_for(&self, node: &Node) -> Option<Version> {
        let selects = |service: &Self| node.labels.match_selector(&service.selector);
        match &self.staged {
            Some(staged) if !staged.reached.contains(&node.name) => {
                let held = staged.before.as_ref().is_some_and(selects);
                held.then_some(Version::Before)
            }
            _ => selects(self).then_some(Version::Current),
        }
    }

    /// Says whether a node holds the service, or may come to hold it by a rollout.
    pub(crate) fn touches(&self, node: &Node) -> bool {
        let versions = [Some(self), self.before()].into_iter().flatten();
        versions
            .into_iter()
            .any(|service| node.labels.match_selector(&service.selector))
    }

    /// Says whether a node must have an item for any version of the service.
    pub(crate) fn wants(&self, name: &NodeName, key: &ItemKey) -> bool {
        let has = |items: &Items| match key {
            // the node could not read which it is
            ItemKey::Unread(UnreadKey { digest, .. }) => {
                let mut items = items.values();
                items.any(|item| Digest::of(item).to_bytes() == *digest)
            }
            key => items.contains_key(key),
        };
        let own = |all: &BTreeMap<NodeName, Items>| all.get(name).is_some_and(has);
        let versions = [Some(self), self.before()].into_iter().flatten();
        versions.into_iter().any(|service| {
            has(&service.everywhere) || own(&service.only_at) || own(&service.behind)
        })
    }

    fn before(&self) -> Option<&Self> {
        self.staged.as_ref()?.before.as_ref()
    }

    /// Says whether nodes with the same labels hold the same version of the service.
    pub(crate) fn is_placed_by_labels(&self) -> bool {
        self.staged.is_none()
    }

    /// Says whether every node holds the same version of the service as of another state of it: whoever changes it so
    /// need not ask the nodes one by one.
    pub(crate) fn is_placed_like(&self, other: &Self) -> bool {
        let before = |service: &Self| service.before().map(|before| before.selector.clone());
        let reached = |service: &Self| {
            let staged = service.staged.as_ref();
            staged.map(|staged| Arc::clone(&staged.reached))
        };
        self.selector == other.selector
            && before(self) == before(other)
            && reached(self) == reached(other)
    }

    /// Says whether a node must have something for the service: it holds it, or is one of its backends that another
    /// node sends packets to as they are.
    pub(crate) fn concerns(&self, node: &Node) -> bool {
        self.version_for(node).is_some() || self.behind.contains_key(&node.name)
    }

    /// Gives what all nodes that hold a version must have for it.
    pub(crate) fn common(&self, version: Option<Version>) -> &Items {
        match version {
            Some(Version::Current) => &self.everywhere,
            Some(Version::Before) => self.before().map_or(&NONE, |before| &before.everywhere),
            None => &NONE,
        }
    }

    /// Gives what a node alone must have when it holds a version, or when it holds none.
    pub(crate) fn own(&self, name: &NodeName, version: Option<Version>) -> &Items {
        let own = match version {
            Some(Version::Current) => Some(&self.only_at),
            Some(Version::Before) => self.before().map(|before| &before.only_at),
            None => Some(&self.behind),
        };
        own.and_then(|own| own.get(name)).unwrap_or(&NONE)
    }

    /// Gives the nodes that must have something that others need not, some of them twice.
    pub(crate) fn named(&self) -> impl Iterator<Item = &NodeName> {
        let before = self.before().into_iter();
        let before = before.flat_map(|before| before.only_at.keys());
        self.only_at.keys().chain(self.behind.keys()).chain(before)
    }
}

impl Version {
    /// Gives what stands for a version of a service in the signature of a group.
    pub(crate) fn sign(self, service: &ServiceName) -> Digest {
        let side: u8 = match self {
            Self::Current => 0,
            Self::Before => 1,
        };
        let mut bytes = service.as_str().as_bytes().to_vec();
        // no name has a NUL
        bytes.extend([0, side]);
        Digest::of_encoded(&bytes)
    }
}

/// Gives what a node must have by what is set on itself, and by its own drain.
pub(crate) fn own_items(node: &Node, drain: Option<Drain>) -> Items {
    let mut items = Items::new();
    if let Some(drain) = drain {
        put(&mut items, Item::NodeDrain(drain));
    }
    if node.strict_arp {
        put(&mut items, Item::StrictArp);
    }
    if let Some(timeouts) = node.connection_timeouts {
        put(&mut items, Item::ConnectionTimeouts(timeouts));
    }
    for daemon in node.sync_daemons.values() {
        put(&mut items, Item::SyncDaemon(daemon.clone()));
    }
    items
}

/// Gives what turns some items into others.
pub(crate) fn part<'a>(before: &Items, after: &'a Items) -> Part<'a> {
    if std::ptr::eq(before, after) {
        return Part::default();
    }
    let mut part = Part::default();
    for (key, item) in after {
        match before.get(key) {
            None => part.claimed.push(item),
            Some(old) if old != item => part.edited.push(item),
            Some(_) => {}
        }
    }
    let gone = before.keys().filter(|key| !after.contains_key(key));
    part.released.extend(gone.copied());
    part
}

impl Part<'_> {
    /// Says whether nothing changes.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            released,
            claimed,
            edited,
        } = self;
        released.is_empty() && claimed.is_empty() && edited.is_empty()
    }
}

#[cfg(test)]
mod tests;
