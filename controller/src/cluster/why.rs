//! What is known of a frontend, for those who ask why a client reaches it or does not. Nothing is written.

use std::sync::Arc;

use weir_proto::model::{
    DrainTarget, Generation, Kind, NodeName, ResourceRef, Revision, ServiceName,
};

use super::owner::Owner;
use super::{Asking, Cluster, Command, Line, Refusal};
use crate::desired::why::{Claim, Visit, Wanted};
use crate::desired::{NodeStatus, Past, reference};
use crate::store::Store;

/// How many nodes are told of where none is named: more nobody reads.
const MOST_NODES: usize = 16;

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct WhyQuery {
    pub(crate) visit: Visit,
    /// None: those that should hold it.
    pub(crate) nodes: Vec<NodeName>,
}

/// What the cluster knows.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) revision: Revision,
    pub(crate) claim: Claim,
    /// When the service changed last.
    pub(crate) service_revision: Revision,
    /// The last write that changed something of it; none: it is no longer kept.
    pub(crate) last: Option<Arc<Past>>,
    pub(crate) nodes: Vec<KnownNode>,
    /// How many nodes there are beside these.
    pub(crate) left_out: usize,
}

/// A node that is to be asked.
#[derive(Debug)]
pub(crate) struct KnownNode {
    pub(crate) asking: Asking,
    pub(crate) status: NodeStatus,
    /// None: it should not hold it.
    pub(crate) wanted: Option<Wanted>,
}

impl Cluster {
    /// Gives what is known of a frontend, and how to ask the nodes for the rest.
    pub(crate) async fn why(&self, query: WhyQuery) -> Result<Known, Refusal> {
        self.ask(|answer| Command::Why { query, answer }).await
    }
}

impl<S: Store> Owner<S> {
    pub(super) fn why(&self, query: WhyQuery) -> Result<Known, Refusal> {
        let WhyQuery { visit, nodes } = query;
        let there = |name: &&NodeName| self.desired.view(name).is_none();
        let missing = nodes.iter().filter(there);
        let missing = missing.map(|name| reference(Kind::Node, name.as_str()));
        let missing: Vec<ResourceRef> = missing.collect();
        if !missing.is_empty() {
            return Err(Refusal::NotFound(missing));
        }
        let claim = self.desired.claim(visit.frontend);
        let stored = claim.service.as_ref().and_then(|service| {
            let reference = reference(Kind::Service, service.as_str());
            self.desired.resources().get(&reference)
        });
        let last = claim.service.as_ref().and_then(|name| self.last_of(name));
        let (names, left_out) = self.told_of(visit, nodes, &claim);
        let known = names.iter().filter_map(|name| self.known(name, visit));
        Ok(Known {
            revision: self.revision,
            service_revision: stored.map_or(Revision(0), |stored| stored.revision),
            last,
            nodes: known.collect(),
            left_out,
            claim,
        })
    }

    /// Picks the nodes that are told of, those that are in trouble first; gives how many are left out.
    fn told_of(&self, visit: Visit, named: Vec<NodeName>, claim: &Claim) -> (Vec<NodeName>, usize) {
        if claim.service.is_none() {
            return (Vec::new(), 0);
        }
        if !named.is_empty() {
            return (named, 0);
        }
        let is_well = |name: &NodeName| {
            let entry = self.nodes.get(name);
            let view = self.desired.view(name);
            let of = entry.zip(view);
            of.is_some_and(|(entry, view)| entry.session.is_some() && entry.feed.is_current(&view))
        };
        let holders = self.desired.holders(visit.frontend);
        let mut holders: Vec<(bool, NodeName)> =
            holders.map(|name| (is_well(name), name.clone())).collect();
        holders.sort();
        let left_out = holders.len().saturating_sub(MOST_NODES);
        let told = holders.into_iter().take(MOST_NODES);
        (told.map(|(_, name)| name).collect(), left_out)
    }

    fn known(&self, name: &NodeName, visit: Visit) -> Option<KnownNode> {
        let (view, entry) = (self.desired.view(name)?, self.nodes.get(name)?);
        let held = entry.feed.held();
        let line = match &entry.session {
            Some(open) => Line::To(open.calls()),
            None => Line::Away,
        };
        Some(KnownNode {
            asking: Asking {
                node: name.clone(),
                generation: view.generation(),
                held: held.map_or(Generation(0), |(generation, _)| generation),
                staged: None,
                keys: Vec::new(),
                version: entry.progress.version().to_owned(),
                line,
            },
            status: entry.progress.status(name, &view, &entry.feed),
            wanted: self.desired.wanted_of(name, visit.frontend),
        })
    }

    fn last_of(&self, service: &ServiceName) -> Option<Arc<Past>> {
        let resources = self.desired.resources();
        let cordons = |reference: &ResourceRef| {
            let node = (reference.kind == Kind::Node).then(|| NodeName::new(&reference.name));
            let node = node.and_then(Result::ok);
            let node = node.and_then(|name| resources.node(&name));
            node.is_some_and(|node| {
                node.cordoned && resources.services_on(&node.name).contains(service)
            })
        };
        let sets = resources.sets_of(service.as_str());
        let sets = sets.map(|set| reference(Kind::BackendSet, set.as_str()));
        let mut of: Vec<ResourceRef> = sets.collect();
        of.push(reference(Kind::Service, service.as_str()));
        let touches = |past: &&Arc<Past>| {
            let drained = past
                .drains
                .iter()
                .any(|target| matches!(target, DrainTarget::Backend(other, _) if other == service));
            let mut changed = past.changes.iter();
            drained || changed.any(|(reference, _)| of.contains(reference) || cordons(reference))
        };
        self.history.last(usize::MAX).find(touches).cloned()
    }
}
