//! Every drain there is: those that operators asked for, and those that nodes tell of by themselves. PURE

use std::collections::BTreeMap;

use weir_proto::model::{
    AskedDrain, BackendKey, Drain, DrainProgress, DrainTarget, Endpoint, ItemKey, NodeName,
    ServiceName,
};

use crate::desired::Desired;

/// What is drained. That a backend was of a service may be forgotten.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Drained {
    Backend(Option<ServiceName>, Endpoint),
    Node(NodeName),
}

/// A drain with how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedDrain {
    pub(crate) of: Drained,
    /// How an operator asked for it, and when first, in Unix milliseconds; none: nobody did, the backend was taken out of
    /// its service.
    pub(crate) asked: Option<(Drain, u64)>,
    /// How far it is on each node that tells of it, of a backend once for each frontend.
    pub(crate) nodes: Vec<(NodeName, DrainProgress)>,
}

impl Desired {
    /// Lists every drain, with what nodes tell: of a backend that is drained with its node it counts to the node's drain.
    pub(crate) fn list_drains<'a>(
        &self,
        told: impl Iterator<Item = (&'a NodeName, &'a [DrainProgress])>,
    ) -> Vec<ListedDrain> {
        let asked = self.drains.all().map(|(target, asked)| {
            let how = (self.how(&target, asked), asked.at_unix_ms);
            let of = drained(target);
            let listed = ListedDrain {
                of: of.clone(),
                asked: Some(how),
                nodes: Vec::new(),
            };
            (of, listed)
        });
        let mut listed: BTreeMap<Drained, ListedDrain> = asked.collect();
        for (name, progress) in told {
            for progress in progress {
                let Some(of) = self.drained_by(name, &progress.key) else {
                    continue;
                };
                let drain = listed.entry(of.clone()).or_insert_with(|| ListedDrain {
                    of,
                    asked: None,
                    nodes: Vec::new(),
                });
                drain.nodes.push((name.clone(), progress.clone()));
            }
        }
        listed.into_values().collect()
    }

    /// Says how something is drained that an operator asked for.
    fn how(&self, target: &DrainTarget, asked: &AskedDrain) -> Drain {
        let default = match target {
            DrainTarget::Backend(service, _) => self.resources.service(service),
            DrainTarget::Node(_) => None,
        };
        asked
            .terms
            .or(default.map_or(Drain::default(), |service| service.drain))
    }

    /// Says whether what an item of a node is of takes connections: nobody drains it, and it was not taken out.
    pub(crate) fn takes_connections(&self, on: &NodeName, key: &ItemKey) -> bool {
        let ItemKey::Backend(BackendKey { frontend, endpoint }) = key else {
            return self.drains.node(on).is_none();
        };
        let Some(service) = self.resources.service_behind(frontend) else {
            return false;
        };
        let Some(backend) = self.resources.backend(service, endpoint) else {
            return false;
        };
        let own = DrainTarget::Backend(service.clone(), *endpoint);
        let node = backend.node.as_ref();
        self.drains.get(&own).is_none() && node.is_none_or(|node| self.drains.node(node).is_none())
    }

    /// Finds the drain that an item of a node belongs to.
    pub(crate) fn drained_by(&self, on: &NodeName, key: &ItemKey) -> Option<Drained> {
        let BackendKey { frontend, endpoint } = match key {
            ItemKey::Backend(key) => *key,
            ItemKey::NodeDrain => return Some(Drained::Node(on.clone())),
            ItemKey::LoopbackEntry(_)
            | ItemKey::VirtualService(_)
            | ItemKey::TunnelEnd(_)
            | ItemKey::SilentVip(_)
            | ItemKey::Vip(_)
            | ItemKey::StrictArp
            | ItemKey::ConnectionTimeouts
            | ItemKey::SyncDaemon(_)
            | ItemKey::Unread(_) => return None,
        };
        let Some(service) = self.resources.service_behind(&frontend) else {
            return Some(Drained::Backend(None, endpoint));
        };
        let own = DrainTarget::Backend(service.clone(), endpoint);
        if self.drains.get(&own).is_none()
            && let Some(backend) = self.resources.backend(service, &endpoint)
            && let Some(node) = &backend.node
            && self.drains.node(node).is_some()
        {
            return Some(Drained::Node(node.clone()));
        }
        Some(drained(own))
    }
}

fn drained(target: DrainTarget) -> Drained {
    match target {
        DrainTarget::Backend(service, endpoint) => Drained::Backend(Some(service), endpoint),
        DrainTarget::Node(name) => Drained::Node(name),
    }
}
