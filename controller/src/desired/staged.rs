//! What a change that is not made would bring the nodes, for those who ask before they make it. PURE

use std::collections::BTreeSet;

use weir_proto::digest::Digest;
use weir_proto::model::{Generation, Item, ItemKey, Kind, NodeName, Resource, ServiceName};

use super::compile::{Version, own_items};
use super::resources::service_of;
use super::{Change, Desired};

/// What would be sent to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Staged {
    /// The generation that would carry it.
    pub(crate) generation: Generation,
    pub(crate) upserted: Vec<Item>,
    pub(crate) removed: Vec<ItemKey>,
    /// Of the state that would result.
    pub(crate) digest: Digest,
}

impl Staged {
    /// Counts the items that come and go.
    pub(crate) fn len(&self) -> usize {
        self.upserted.len() + self.removed.len()
    }
}

impl Desired {
    /// Gives what a change would bring a node; none: nothing.
    pub(crate) fn staged(&self, change: &Change, name: &NodeName) -> Option<Staged> {
        let (generation, digest) = (*change.nodes().get(name)?)?;
        let (upserted, removed) = self.views.staged(&change.views, name)?;
        Some(Staged {
            generation,
            upserted,
            removed,
            digest,
        })
    }

    /// Gives the keys of what a node holds, or would hold, for the resources of a change; of backends their services alone.
    pub(crate) fn keys_of(&self, change: &Change, name: &NodeName) -> Vec<ItemKey> {
        let mut keys = BTreeSet::new();
        for reference in change.outcomes.keys() {
            let old = self.resources.get(reference).map(|old| &old.resource);
            let new = change.writes.get(reference).and_then(Option::as_ref);
            let services = [old, new].into_iter().flatten().filter_map(service_of);
            let services: BTreeSet<ServiceName> = services.collect();
            for service in &services {
                let before = self.compiled.get(service);
                let after = change.compiled.get(service).and_then(Option::as_ref);
                for compiled in [before, after].into_iter().flatten() {
                    let version = Some(Version::Current);
                    keys.extend(compiled.common(version).keys());
                    keys.extend(compiled.own(name, version).keys());
                }
            }
            if reference.kind == Kind::Node && reference.name == name.as_str() {
                for resource in [old, new].into_iter().flatten() {
                    if let Resource::Node(node) = resource {
                        keys.extend(own_items(node, None).keys());
                    }
                }
            }
        }
        keys.retain(|key| !matches!(key, ItemKey::Backend(_)));
        keys.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use weir_proto::state::NodeState;

    use super::super::samples::{entry, node, node_name, service, vip, virtual_service};
    use super::*;
    use crate::desired::{Batch, reference};

    fn state(desired: &Desired, name: &str) -> NodeState {
        let view = desired.view(&node_name(name)).expect("a node");
        view.state()
    }

    /// Stages writes on two nodes, takes them, and compares what each holds then with what it was said to get.
    fn staged_is_what_comes(desired: &mut Desired, batch: Batch) {
        let names = ["node-a", "node-b"];
        let change = desired.prepare(batch);
        let staged = names.map(|name| {
            let mut state = state(desired, name);
            let staged = desired.staged(&change, &node_name(name));
            if let Some(staged) = &staged {
                staged.removed.iter().for_each(|key| {
                    state.remove(key);
                });
                staged
                    .upserted
                    .iter()
                    .cloned()
                    .for_each(|item| state.insert(item));
                assert_eq!(state.digest(), staged.digest, "{name}");
            }
            (state.digest(), staged)
        });
        desired.take(change, weir_proto::model::Revision(9));
        for (name, (digest, staged)) in names.into_iter().zip(staged) {
            let view = desired.view(&node_name(name)).expect("a node");
            assert_eq!(view.digest(), digest, "{name}");
            if let Some(staged) = staged {
                assert_eq!(view.generation(), staged.generation, "{name}");
            }
        }
    }

    fn put(resource: Resource) -> Batch {
        Batch::from([(resource.reference(), Some(resource))])
    }

    #[test]
    fn what_is_staged_is_what_each_node_gets() {
        let mut desired = Desired::default();
        for name in ["node-a", "node-b"] {
            let change = desired.prepare(put(Resource::Node(node(name, &[("name", name)]))));
            desired.take(change, weir_proto::model::Revision(1));
        }
        let backends = ["10.0.0.1:80", "10.0.0.2:80"];
        let web = |weight: u32| {
            let first = format!("10.0.0.1:80*{weight}");
            Resource::Service(service("web", &["10.1.0.1:80"], &[&first, backends[1]]))
        };
        let shop = Resource::Service(service("shop", &["10.1.0.2:80"], &backends));
        staged_is_what_comes(&mut desired, put(web(1)));
        staged_is_what_comes(&mut desired, put(web(7)));
        staged_is_what_comes(&mut desired, put(shop));
        let mut only_a = service("web", &["10.1.0.1:80"], &backends);
        only_a.node_selector =
            weir_proto::model::Labels::new([("name".to_owned(), "node-a".to_owned())])
                .expect("labels");
        // node-b leaves the group
        staged_is_what_comes(&mut desired, put(Resource::Service(only_a)));
        staged_is_what_comes(&mut desired, put(web(3)));
        let gone = Batch::from([(reference(Kind::Service, "web"), None)]);
        staged_is_what_comes(&mut desired, gone);
    }

    #[test]
    fn nothing_is_staged_for_a_node_that_gets_nothing() {
        let mut desired = Desired::default();
        let change = desired.prepare(put(Resource::Node(node("node-a", &[]))));
        desired.take(change, weir_proto::model::Revision(1));
        let web = Resource::Service(service("web", &["10.1.0.1:80"], &["10.0.0.1:80"]));
        let change = desired.prepare(put(web.clone()));
        // of its backends their service alone
        let mut keys = vec![
            entry(weir_proto::model::Protocol::Tcp, "10.0.0.1:80").key(),
            virtual_service("10.1.0.1:80", "web").key(),
            vip("10.1.0.1").key(),
        ];
        keys.sort();
        assert_eq!(desired.keys_of(&change, &node_name("node-a")), keys);
        desired.take(change, weir_proto::model::Revision(2));
        let change = desired.prepare(put(web));
        assert_eq!(desired.staged(&change, &node_name("node-a")), None);
        // what stays as it is can be compared all the same
        assert_eq!(desired.keys_of(&change, &node_name("node-a")), keys);
    }
}
