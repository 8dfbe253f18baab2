//! One frontend as its client meets it: what of the kernel that takes, and the connections that there are.

use std::collections::BTreeSet;
use std::net::IpAddr;

use weir_proto::model::{ConnectionState, Endpoint, Frontend, Item, ItemKey, LoopbackEntry};
use weir_proto::state::NodeState;

use super::{Key, Tried, Unit, backends_of};

/// How many connections of one client are told at most: more nobody reads.
pub const MOST_VISITED: usize = 100;

/// A frontend that is looked at, and one of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    /// Which one.
    pub frontend: Frontend,
    /// Whose connections are looked for; none: nobody's.
    pub client: Option<IpAddr>,
}

/// The tracked connections of one client to one frontend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Visits {
    /// The first [`MOST_VISITED`] of them, as the kernel has them.
    pub connections: Vec<Visited>,
    /// How many there are.
    pub count: u64,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visited {
    /// The client's port; none of protocols without.
    pub port: Option<u16>,
    /// Where it goes; none: no reply has come by that names it.
    pub backend: Option<Endpoint>,
    /// How far it came.
    pub state: ConnectionState,
}

impl Visits {
    /// Adds one.
    pub fn add(&mut self, visited: Visited) {
        self.count += 1;
        if self.connections.len() < MOST_VISITED {
            self.connections.push(visited);
        }
    }
}

impl Visit {
    /// Gives the keys of what the state has for the frontend, its own and its VIP's in any case.
    pub(super) fn keys(&self, state: &NodeState) -> Vec<ItemKey> {
        let frontend = self.frontend;
        let mut keys = vec![ItemKey::VirtualService(frontend)];
        keys.extend(frontend.vip().map(ItemKey::Vip));
        for (key, item) in state.items().range(backends_of(frontend)) {
            keys.push(*key);
            let Item::Backend(backend) = item else {
                continue;
            };
            if let Some(listener) = frontend.listener() {
                let Endpoint { address, port } = backend.key.endpoint;
                let entry = ItemKey::LoopbackEntry(LoopbackEntry {
                    address,
                    protocol: listener.protocol,
                    port,
                    source: address,
                });
                keys.extend(state.get(&entry).map(Item::key));
            }
        }
        keys
    }
}

impl Tried {
    /// Gives the keys of what is seen of a frontend: all that should be there for it, and what is there in its place.
    pub fn seen(&self, of: Frontend) -> BTreeSet<Key> {
        let in_its_place = |key: &&Key| {
            let unit = key.unit();
            unit == Unit::Service(of) || of.vip().is_some_and(|vip| unit == Unit::Vip(vip))
        };
        let found = self.actual.keys().filter(in_its_place);
        let matters = |key: &&Key| match key {
            // one that a kernel may lack is none that is missing
            Key::Setting(setting) => {
                let is_there = self.actual.contains_key(key) || !setting.optional();
                is_there && setting.family().is_none_or(|family| family == of.family())
            }
            _ => true,
        };
        let wanted = self.before.keys().filter(matters);
        wanted.chain(found).copied().collect()
    }
}
