//! What the nodes that hold a service must have for it, and what a change of it changes there. PURE
//!
//! A service is compiled once for all nodes: only the loopback entries of backends that name their node
//! differ from node to node.

use std::collections::BTreeMap;

use weir_proto::model::{
    Backend, BackendKey, BackendSet, Endpoint, Forwarding, Frontend, Item, ItemKey, Labels,
    LoopbackEntry, NodeBackend, NodeName, Service, VirtualService,
};

type Items = BTreeMap<ItemKey, Item>;

/// A service as nodes hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Compiled {
    selector: Labels,
    everywhere: Items,
    only_at: BTreeMap<NodeName, Items>,
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

/// How what a service wants of the nodes changes, of those that hold it before and after.
#[derive(Debug, Default)]
pub(crate) struct Difference<'a> {
    pub(crate) everywhere: Part<'a>,
    pub(crate) only_at: BTreeMap<&'a NodeName, Part<'a>>,
}

/// Works out what a service and its backend sets want of the nodes that hold it. Where the service itself and
/// a set name the same backend, the service's own counts.
pub(crate) fn compile<'a>(
    service: &Service,
    sets: impl Iterator<Item = &'a BackendSet>,
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
    };
    for frontend in &service.frontends {
        put(&mut compiled.everywhere, Item::Vip(frontend.address));
        put(
            &mut compiled.everywhere,
            Item::VirtualService(VirtualService {
                frontend: *frontend,
                scheduler: service.scheduler,
                affinity: service.affinity,
                service: service.name.clone(),
            }),
        );
        for backend in backends.values() {
            compiled.add(service, *frontend, backend);
        }
    }
    compiled
}

fn put(items: &mut Items, item: Item) {
    items.insert(item.key(), item);
}

impl Compiled {
    fn add(&mut self, service: &Service, frontend: Frontend, backend: &Backend) {
        let Endpoint { address, port } = backend.endpoint;
        put(
            &mut self.everywhere,
            Item::Backend(NodeBackend {
                key: BackendKey {
                    frontend,
                    endpoint: backend.endpoint,
                },
                weight: backend.weight,
                forwarding: service.forwarding,
            }),
        );
        // the others answer the client themselves, with the VIP as their own address
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
                protocol: frontend.protocol,
                port,
                source: address,
            }),
        );
    }

    /// Says whether a node with these labels holds the service.
    pub(crate) fn selects(&self, labels: &Labels) -> bool {
        labels.match_selector(&self.selector)
    }

    /// Gives what a node that holds the service must have for it.
    pub(crate) fn items_for(&self, node: &NodeName) -> impl Iterator<Item = &Item> {
        let here = self.only_at.get(node).into_iter().flat_map(Items::values);
        self.everywhere.values().chain(here)
    }

    /// Gives what changes on nodes that hold the service before and after.
    pub(crate) fn difference<'a>(&'a self, next: &'a Self) -> Difference<'a> {
        let none = Items::new();
        let names = self.only_at.keys().chain(next.only_at.keys());
        let mut only_at = BTreeMap::new();
        for name in names {
            if only_at.contains_key(name) {
                continue;
            }
            let before = self.only_at.get(name).unwrap_or(&none);
            let part = match next.only_at.get(name) {
                Some(after) => part(before, after),
                None => Part {
                    released: before.keys().copied().collect(),
                    ..Part::default()
                },
            };
            if !part.is_empty() {
                only_at.insert(name, part);
            }
        }
        Difference {
            everywhere: part(&self.everywhere, &next.everywhere),
            only_at,
        }
    }
}

fn part<'a>(before: &Items, after: &'a Items) -> Part<'a> {
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
