//! Why a client reaches a frontend, or does not: facts go in, a verdict comes out. PURE

mod rules;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weir_proto::model::{
    DrainTarget, Endpoint, Frontend, Item, ItemKey, Kind, LoopbackEntry, NodeBackend, NodeName,
    Resource, ServiceName, Sources, Vip, VirtualService,
};

pub(crate) use rules::{Rule, RuleKind, rules};
pub(crate) use verdict::{everywhere, verdict};

use super::{Desired, NodeStatus, reference};

/// What is in the way of new connections, as why.proto lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    VipUnknown,
    PortUnknown,
    NoNode,
    NoBackend,
    NoWeight,
    NotSelected,
    SourceRefused,
    NodeDrained,
    NodeAway,
    HeldBack,
    Refused,
    Behind,
    NotSeen,
    Setting,
    NoService,
    Foreign,
    NoAddress,
    NoRoute,
    Locked,
    KernelWeight,
    Silent,
}

/// Whether new connections get through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// None: nothing that is known of is in the way.
    pub(crate) obstacle: Option<Obstacle>,
    /// For people.
    pub(crate) sentence: String,
}

/// Who asks for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) frontend: Frontend,
    /// None: nobody in particular.
    pub(crate) client: Option<IpAddr>,
}

/// What the cluster has of a frontend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Claim {
    /// None: no service has it.
    pub(crate) service: Option<ServiceName>,
    /// Who may connect.
    pub(crate) sources: Sources,
    /// The backends of the service.
    pub(crate) backends: Vec<Behind>,
    /// What else there is on its VIP.
    pub(crate) others: Vec<Frontend>,
    /// Whether the VIP, if others have it, is locked down.
    pub(crate) lockdown: bool,
    /// How many nodes should hold it.
    pub(crate) nodes: usize,
}

/// A backend of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Behind {
    pub(crate) endpoint: Endpoint,
    /// It is drained by an operator, or its node is.
    pub(crate) drained: bool,
    /// The node on which it runs is cordoned.
    pub(crate) cordoned: bool,
    pub(crate) weight: u16,
}

/// What one node should hold of a frontend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) service: VirtualService,
    /// None of a mark.
    pub(crate) vip: Option<Vip>,
    pub(crate) backends: Vec<NodeBackend>,
    /// Whether the node is drained.
    pub(crate) drained: bool,
    /// Those backends that are helped to reach themselves.
    pub(crate) loopback: BTreeSet<Endpoint>,
}

/// Something that the kernel of a node holds of a frontend, or should hold, in words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) object: String,
    pub(crate) kind: String,
    /// None: it should not be there.
    pub(crate) desired: Option<String>,
    /// None: it is not there.
    pub(crate) kernel: Option<String>,
    pub(crate) foreign: bool,
    /// Of a backend that is there.
    pub(crate) backend: Option<(Endpoint, u32)>,
}

/// All that is known of a frontend on one node.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) visit: Visit,
    pub(crate) status: &'a NodeStatus,
    /// None: the node is not selected by the service.
    pub(crate) wanted: Option<&'a Wanted>,
    /// What its kernel holds, or why that is not known.
    pub(crate) seen: Result<&'a [Seen], &'a str>,
    /// Backends that answer nothing, as nodes report.
    pub(crate) silent: &'a BTreeSet<Endpoint>,
}

impl Verdict {
    /// Says what is in the way.
    fn not(obstacle: Obstacle, sentence: String) -> Option<Self> {
        Some(Self {
            obstacle: Some(obstacle),
            sentence,
        })
    }
}

impl Desired {
    /// Gives what the cluster has of a frontend.
    pub(crate) fn claim(&self, frontend: Frontend) -> Claim {
        let on_vip = frontend
            .vip()
            .map(|vip| self.resources.frontends_at(vip).collect::<Vec<_>>());
        let on_vip = on_vip.unwrap_or_default();
        let lockdown = on_vip.iter().any(|(_, service)| {
            let service = self.resources.service(service);
            service.is_some_and(|service| service.lockdown)
        });
        let service = self.resources.claimant(&frontend).cloned();
        let mut claim = Claim {
            others: on_vip.iter().map(|(other, _)| *other).collect(),
            lockdown,
            ..Claim::default()
        };
        claim.others.retain(|other| *other != frontend);
        let Some(name) = service else {
            return claim;
        };
        if let Some(service) = self.resources.service(&name) {
            let sources = service.frontends.get(&frontend);
            claim.sources = sources.cloned().unwrap_or_default();
            let sets = self.resources.sets_of(name.as_str());
            let sets = sets.filter_map(|set| {
                let set = reference(Kind::BackendSet, set.as_str());
                match &self.resources.get(&set)?.resource {
                    Resource::BackendSet(set) => Some(&set.backends),
                    Resource::Service(_) | Resource::Node(_) => None,
                }
            });
            // where both name one, the service's own counts
            let mut all = BTreeMap::new();
            for backends in sets.chain([&service.backends]) {
                all.extend(backends);
            }
            claim.backends = all
                .values()
                .map(|backend| {
                    let itself = DrainTarget::Backend(name.clone(), backend.endpoint);
                    let node = backend.node.as_ref();
                    let targets = [Some(itself), node.cloned().map(DrainTarget::Node)];
                    let mut targets = targets.iter().flatten();
                    Behind {
                        endpoint: backend.endpoint,
                        drained: targets.any(|target| self.drains.get(target).is_some()),
                        cordoned: node
                            .and_then(|name| self.resources.node(name))
                            .is_some_and(|node| node.cordoned),
                        weight: backend.weight.get(),
                    }
                })
                .collect();
        }
        claim.nodes = self.holders(frontend).count();
        claim.service = Some(name);
        claim
    }

    /// Gives the nodes that should hold a frontend. Walks over all nodes.
    pub(crate) fn holders(&self, frontend: Frontend) -> impl Iterator<Item = &NodeName> {
        let key = ItemKey::VirtualService(frontend);
        let holds = move |name: &&NodeName| {
            let view = self.view(name);
            view.is_some_and(|view| view.get(&key).is_some())
        };
        self.views.keys().filter(holds)
    }

    /// Gives what a node should hold of a frontend; none: it is not selected.
    pub(crate) fn wanted_of(&self, name: &NodeName, frontend: Frontend) -> Option<Wanted> {
        let view = self.view(name)?;
        let Some(Item::VirtualService(service)) = view.get(&ItemKey::VirtualService(frontend))
        else {
            return None;
        };
        let vip = frontend
            .vip()
            .and_then(|vip| match view.get(&ItemKey::Vip(vip))? {
                Item::Vip(vip) => Some(*vip),
                _ => None,
            });
        let backends: Vec<NodeBackend> = view.backends(frontend).cloned().collect();
        let helped = |endpoint: &Endpoint| {
            let entry = frontend.listener().map(|listener| {
                ItemKey::LoopbackEntry(LoopbackEntry {
                    address: endpoint.address,
                    protocol: listener.protocol,
                    port: endpoint.port,
                    source: endpoint.address,
                })
            });
            entry.is_some_and(|entry| view.get(&entry).is_some())
        };
        let endpoints = backends.iter().map(|backend| backend.key.endpoint);
        Some(Wanted {
            service: service.clone(),
            vip,
            loopback: endpoints.filter(helped).collect(),
            backends,
            drained: view.get(&ItemKey::NodeDrain).is_some(),
        })
    }
}
