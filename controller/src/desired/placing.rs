//! Which nodes hold what of the services that a change touches, before and after it. PURE
//!
//! A service whose nodes stay what they are changes group by group. Only when it is placed otherwise is every node asked
//! which version it holds, and only a node whose labels change looks at every service.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use weir_proto::digest::Digest;
use weir_proto::model::{Item, Kind, Labels, Node, NodeName, Resource, ServiceName};

use super::Desired;
use super::compile::{Compiled, Items, Part, Version, own_items, part};
use super::drains::ProposedDrains;
use super::resources::Batch;
use super::view::{Class, GroupId, Joining, Proposal};

/// A change of services and nodes.
pub(super) struct Placing<'a> {
    pub(super) desired: &'a Desired,
    pub(super) writes: &'a Batch,
    pub(super) drains: ProposedDrains<'a>,
    /// What is set on nodes of which that changes, before and after.
    pub(super) set: &'a BTreeMap<NodeName, (Items, Items)>,
    pub(super) compiled: &'a BTreeMap<ServiceName, Option<Compiled>>,
}

/// A service before a change and after.
#[derive(Clone, Copy)]
struct Touched<'a> {
    name: &'a ServiceName,
    before: Option<&'a Compiled>,
    after: Option<&'a Compiled>,
}

/// Which versions of which services a node holds before a change and after.
type Profile<'a> = Vec<(&'a ServiceName, Option<Version>, Option<Version>)>;

/// The nodes of a group that hold the same before and after; those that look at every service are by themselves.
type Classes<'a> = BTreeMap<(GroupId, bool, Profile<'a>), Vec<NodeName>>;

impl<'a> Touched<'a> {
    fn versions(&self, old: &Node, new: &Node) -> (Option<Version>, Option<Version>) {
        let before = self.before.and_then(|before| before.version_for(old));
        let after = self.after.and_then(|after| after.version_for(new));
        (before, after)
    }

    /// Says whether every node goes on holding the version that it holds.
    fn stays(&self) -> bool {
        let both = self.before.zip(self.after);
        both.is_some_and(|(before, after)| after.is_placed_like(before))
    }

    /// Gives what changes for those that held one version and hold another now.
    fn common(&self, before: Option<Version>, after: Option<Version>) -> Part<'a> {
        part(common(self.before, before), common(self.after, after))
    }

    fn own(&self, old: &Node, new: &Node) -> Part<'a> {
        let (before, after) = self.versions(old, new);
        part(
            own(self.before, &old.name, before),
            own(self.after, &new.name, after),
        )
    }
}

impl<'a> Placing<'a> {
    /// Finds what changes on which nodes.
    pub(super) fn propose(&'a self) -> Proposal<'a> {
        let mut proposal = Proposal::default();
        let mut rewritten: BTreeMap<&'a NodeName, (&'a Node, &'a Node)> = BTreeMap::new();
        for (reference, resource) in self.writes {
            let (Kind::Node, Ok(name)) = (reference.kind, NodeName::new(&reference.name)) else {
                continue;
            };
            match (self.desired.resources.node(&name), resource) {
                (_, None) => {
                    proposal.gone.insert(name);
                }
                (None, Some(Resource::Node(node))) => {
                    proposal.joining.insert(name, self.joining(node));
                }
                (Some(old), Some(Resource::Node(node))) => {
                    rewritten.insert(&old.name, (old, node));
                }
                (_, Some(Resource::Service(_) | Resource::BackendSet(_))) => {}
            }
        }
        let relabelled: BTreeMap<&NodeName, (&'a Node, &'a Node)> = rewritten
            .iter()
            .filter(|(_, (old, new))| old.labels != new.labels)
            .map(|(name, both)| (*name, *both))
            .collect();
        self.propose_own(&rewritten, &relabelled, &mut proposal);
        self.propose_common(&relabelled, &mut proposal);
        proposal
    }

    fn touched(&self) -> impl Iterator<Item = Touched<'a>> {
        let compiled = self.compiled.iter();
        compiled.map(|(name, after)| Touched {
            name,
            before: self.desired.compiled.get(name),
            after: after.as_ref(),
        })
    }

    /// Gives every service, those that go and those that come included.
    fn all(&self) -> impl Iterator<Item = Touched<'a>> {
        let kept = self.desired.compiled.iter();
        let kept = kept.filter(|(name, _)| !self.compiled.contains_key(*name));
        let kept = kept.map(|(name, service)| Touched {
            name,
            before: Some(service),
            after: Some(service),
        });
        kept.chain(self.touched())
    }

    fn propose_common(
        &self,
        relabelled: &BTreeMap<&NodeName, (&'a Node, &'a Node)>,
        proposal: &mut Proposal<'a>,
    ) {
        let desired = self.desired;
        let (edited, placed): (Vec<_>, Vec<_>) =
            self.touched().partition(|service| service.stays());
        let mut classes = Classes::new();
        for (name, (old, new)) in relabelled {
            let profile = self.all().filter_map(|service| {
                let (before, after) = service.versions(old, new);
                let same = before == after && !self.compiled.contains_key(service.name);
                (!same).then_some((service.name, before, after))
            });
            if let Some(group) = desired.views.group_of(name) {
                let class = classes.entry((group, true, profile.collect())).or_default();
                class.push((*name).clone());
            }
        }
        if !placed.is_empty() {
            for node in desired.resources.nodes() {
                if relabelled.contains_key(&node.name) || proposal.gone.contains(&node.name) {
                    continue;
                }
                let profile = placed.iter().filter_map(|service| {
                    let (before, after) = service.versions(node, node);
                    let held = before.or(after).is_some();
                    held.then_some((service.name, before, after))
                });
                let profile: Profile<'_> = profile.collect();
                let group = desired.views.group_of(&node.name);
                if let (Some(group), false) = (group, profile.is_empty()) {
                    let class = classes.entry((group, false, profile)).or_default();
                    class.push(node.name.clone());
                }
            }
        }
        let mut rest = self.edits(&edited);
        for ((group, relabelled, profile), nodes) in classes {
            let mut shift = Digest::default();
            // whoever looks at every service has those that are edited among them
            let mut parts = match rest.get(&group) {
                Some(parts) if !relabelled => parts.clone(),
                _ => Vec::new(),
            };
            for (name, before, after) in profile {
                shift = shift + sign(name, after) - sign(name, before);
                parts.push(self.service(name).common(before, after));
            }
            parts.retain(|part| !part.is_empty());
            proposal.classes.push(Class {
                group,
                nodes,
                parts,
                shift,
            });
        }
        rest.retain(|_, parts| !parts.is_empty());
        proposal.rest = rest;
    }

    /// Gives what changes for each group of the services that stay where they are.
    fn edits(&self, edited: &[Touched<'a>]) -> BTreeMap<GroupId, Vec<Part<'a>>> {
        if edited.is_empty() {
            return BTreeMap::new();
        }
        let mut known: BTreeMap<(&ServiceName, Option<Version>), Part<'a>> = BTreeMap::new();
        let mut edits = BTreeMap::new();
        for (group, name) in self.desired.views.representatives() {
            let Some(node) = self.desired.resources.node(name) else {
                continue;
            };
            let parts = edited.iter().map(|service| {
                let (version, _) = service.versions(node, node);
                let part = known.entry((service.name, version));
                part.or_insert_with(|| service.common(version, version))
                    .clone()
            });
            let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
            edits.insert(group, parts);
        }
        edits
    }

    fn propose_own(
        &self,
        rewritten: &BTreeMap<&'a NodeName, (&'a Node, &'a Node)>,
        relabelled: &BTreeMap<&NodeName, (&'a Node, &'a Node)>,
        proposal: &mut Proposal<'a>,
    ) {
        let resources = &self.desired.resources;
        let mut own: BTreeMap<NodeName, Vec<Part<'a>>> = BTreeMap::new();
        let mut push = |name: &NodeName, part: Part<'a>| {
            if !part.is_empty() {
                own.entry(name.clone()).or_default().push(part);
            }
        };
        let both = |name: &NodeName| {
            let known = resources.node(name);
            let rewritten = rewritten.get(name).copied();
            rewritten.or_else(|| known.map(|node| (node, node)))
        };
        for service in self.touched() {
            let named = [service.before, service.after].into_iter().flatten();
            let named: BTreeSet<&NodeName> = named.flat_map(Compiled::named).collect();
            for name in named {
                if let Some((old, new)) = both(name) {
                    push(name, service.own(old, new));
                }
            }
        }
        for (name, (old, new)) in relabelled {
            for service in self.all() {
                if !self.compiled.contains_key(service.name) {
                    push(name, service.own(old, new));
                }
            }
        }
        for (name, (before, after)) in self.set {
            push(name, part(before, after));
        }
        for name in &proposal.gone {
            own.remove(name);
        }
        proposal.own = own;
    }

    fn joining(&'a self, node: &'a Node) -> Joining<'a> {
        let set = own_items(node, self.drains.node(&node.name));
        let mut own: Vec<Item> = set.into_values().collect();
        let mut signature = Digest::default();
        for service in self.all() {
            let Some(after) = service.after else {
                continue;
            };
            let version = after.version_for(node);
            own.extend(after.own(&node.name, version).values().cloned());
            signature += sign(service.name, version);
        }
        let services = || self.all().filter_map(|service| service.after);
        let common = move || {
            let common = services().map(|service| service.common(service.version_for(node)));
            common.flat_map(Items::values).collect()
        };
        Joining {
            signature,
            common: Box::new(common),
            own,
        }
    }

    fn service(&self, name: &'a ServiceName) -> Touched<'a> {
        let before = self.desired.compiled.get(name);
        let after = match self.compiled.get(name) {
            Some(after) => after.as_ref(),
            None => before,
        };
        Touched {
            name,
            before,
            after,
        }
    }
}

/// The services, to be asked by many nodes at once: nodes with the same labels hold the same.
pub(super) struct Census<'a> {
    services: &'a BTreeMap<ServiceName, Compiled>,
    /// The services that want something of a node that they do not want of others.
    naming: BTreeMap<&'a NodeName, BTreeSet<&'a ServiceName>>,
    /// The services of which nodes with the same labels hold different versions: those that are rolled out.
    divided: Vec<(&'a ServiceName, &'a Compiled)>,
    signatures: RefCell<BTreeMap<&'a Labels, Digest>>,
}

impl<'a> Census<'a> {
    pub(super) fn new(services: &'a BTreeMap<ServiceName, Compiled>) -> Self {
        let mut naming: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (name, service) in services {
            for node in service.named() {
                naming.entry(node).or_default().insert(name);
            }
        }
        let divided = services.iter().filter(|(_, it)| !it.is_placed_by_labels());
        Self {
            services,
            naming,
            divided: divided.collect(),
            signatures: RefCell::default(),
        }
    }

    /// Gives what services want of a node.
    pub(super) fn joining(&self, node: &'a Node, set: Items) -> Joining<'a> {
        let mut own: Vec<Item> = set.into_values().collect();
        let naming = self.naming.get(&node.name).into_iter().flatten();
        for service in naming.filter_map(|name| self.services.get(*name)) {
            let version = service.version_for(node);
            own.extend(service.own(&node.name, version).values().cloned());
        }
        let services = self.services;
        let add = |sum: Digest, (name, service): (&ServiceName, &Compiled)| {
            sum + sign(name, service.version_for(node))
        };
        let alike = || {
            let alike = services.iter().filter(|(_, it)| it.is_placed_by_labels());
            alike.fold(Digest::default(), add)
        };
        let mut signatures = self.signatures.borrow_mut();
        let by_labels = *signatures.entry(&node.labels).or_insert_with(alike);
        let common = move || {
            let services = services.values();
            let common = services.map(|service| service.common(service.version_for(node)));
            common.flat_map(Items::values).collect()
        };
        Joining {
            signature: self.divided.iter().copied().fold(by_labels, add),
            common: Box::new(common),
            own,
        }
    }
}

/// Gives what a version of a service adds to a signature.
fn sign(service: &ServiceName, version: Option<Version>) -> Digest {
    version.map_or(Digest::default(), |version| version.sign(service))
}

fn common(service: Option<&Compiled>, version: Option<Version>) -> &Items {
    service.map_or(&super::compile::NONE, |service| service.common(version))
}

fn own<'a>(service: Option<&'a Compiled>, name: &NodeName, version: Option<Version>) -> &'a Items {
    service.map_or(&super::compile::NONE, |service| service.own(name, version))
}

#[cfg(test)]
mod tests;
