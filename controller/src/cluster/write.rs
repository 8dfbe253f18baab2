//! How the cluster changes: checked, prepared, true in memory, and, with all that its group has, made durable and known.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_proto::convert::Hello;
use weir_proto::digest::Digest;
use weir_proto::model::{
    Capability, Generation, Identity, Kind, Node, NodeName, Resource, ResourceRef, Revision, Role,
};
use weir_proto::trace::traceparent;

use super::group::Done;
use super::log::{Entry, Event};
use super::nodes::NodeEntry;
use super::owner::{Owner, now_unix_ms};
use super::{Refusal, WriteOptions, Written, release};
use crate::desired::events::told;
use crate::desired::{
    Batch, Before, Change, HistoryBatch, Outcome, Past, Places, What, going_back,
};
use crate::store::{Store, StoreError, Write, read_resource, written_resource};

impl<S: Store> Owner<S> {
    /// Writes resources: all of them, or none. Gives what became of each, in the order given.
    pub(super) fn apply(
        &mut self,
        resources: Vec<Resource>,
        places: &Places,
        options: &WriteOptions,
    ) -> Result<Written, Refusal> {
        let order: Vec<ResourceRef> = resources.iter().map(Resource::reference).collect();
        let batch: Batch = order
            .iter()
            .cloned()
            .zip(resources.into_iter().map(Some))
            .collect();
        self.expect(options)?;
        self.desired
            .check(&batch, places)
            .map_err(Refusal::Fields)?;
        let change = self.prepare(batch, options)?;
        let what = match change.rollout {
            Some(_) if options.canary.is_some() => What::Rollout,
            _ => What::Apply,
        };
        let mut written = self.write(change, what, options);
        if what == What::Rollout && !options.dry_run {
            written.targets = self.first_reached();
        }
        let outcomes: BTreeMap<ResourceRef, Outcome> = written.changes.into_iter().collect();
        let in_order = order.into_iter().filter_map(|reference| {
            let outcome = *outcomes.get(&reference)?;
            Some((reference, outcome))
        });
        written.changes = in_order.collect();
        Ok(written)
    }

    /// Deletes resources: all of them, or none.
    pub(super) fn delete(
        &mut self,
        refs: &[ResourceRef],
        options: &WriteOptions,
    ) -> Result<Written, Refusal> {
        self.expect(options)?;
        let batch = self.desired.deletion(refs).map_err(Refusal::NotFound)?;
        let change = self.prepare(batch, options)?;
        Ok(self.write(change, What::Delete, options))
    }

    /// Goes back to a revision: writes what each resource was then, if that can be applied now.
    pub(super) fn roll_back(
        &mut self,
        to: Revision,
        options: &WriteOptions,
    ) -> Result<Written, Refusal> {
        self.expect(options)?;
        self.none_under_way()?;
        let undone = self.history.undone(to, self.revision);
        let undone = undone.map_err(|oldest| Refusal::NotKept {
            to,
            oldest,
            newest: self.revision,
        })?;
        let mut before = Vec::with_capacity(undone.len());
        for (reference, bytes) in undone {
            let stored = bytes.map(|bytes| read_resource(bytes)).transpose();
            let stored = stored.map_err(|source| StoreError::Record {
                key: reference.to_string(),
                source,
            });
            let stored = stored.map_err(|error| Refusal::Store(Arc::new(error)))?;
            before.push((reference.clone(), stored.map(|stored| stored.resource)));
        }
        let batch = going_back(self.desired.resources(), before);
        self.desired
            .check(&batch, &Places::default())
            .map_err(Refusal::Fields)?;
        let change = self.desired.prepare(batch);
        Ok(self.write(change, What::Rollback(to), options))
    }

    /// Writes a node that says hello, and what its kernel can do, in memory: when it is served that is durable.
    pub(super) fn foresee(&mut self, hello: &Hello) {
        let node = self.as_registered(&hello.node);
        let name = node.name.clone();
        if self.desired.resources().node(&name) != Some(&node) {
            self.put_node(node);
        }
        self.put_capabilities(&name, &hello.capabilities);
    }

    /// Writes a node that says hello.
    pub(super) async fn register(&mut self, node: Node) -> Result<(), Refusal> {
        self.put_node(node);
        self.finish().await
    }

    /// Writes what a node's kernel can do, which is no change of the cluster: an apply is checked against it, also by
    /// a controller that starts while the node is away.
    pub(super) async fn learn(
        &mut self,
        name: &NodeName,
        capabilities: &[Capability],
    ) -> Result<(), Refusal> {
        self.put_capabilities(name, capabilities);
        self.finish().await
    }

    fn put_node(&mut self, node: Node) {
        let options = WriteOptions::by(Identity::Node(node.name.clone()));
        let node = Resource::Node(node);
        let batch = Batch::from([(node.reference(), Some(node))]);
        let change = self.desired.prepare(batch);
        self.write(change, What::Register, &options);
    }

    fn put_capabilities(&mut self, name: &NodeName, capabilities: &[Capability]) {
        if self.desired.capabilities(name) == capabilities {
            return;
        }
        self.group.write(Write {
            revision: self.revision,
            served: self.served,
            capabilities: BTreeMap::from([(name.clone(), capabilities.to_vec())]),
            ..Write::default()
        });
        self.desired.learn(name.clone(), capabilities.to_vec());
    }

    /// Writes that a node has taken an update that names this cluster, and the generation, which may have been
    /// lifted for that. It becomes durable with what comes next, and with what a whole fleet says at once: the node was sent
    /// both before, so a controller that dies in between is where it was when it had sent them.
    pub(super) fn name(&mut self, name: &NodeName) {
        let view = self.desired.view(name);
        let node = view.map(|view| (name.clone(), Some((view.generation(), view.digest()))));
        self.group.write(Write {
            revision: self.revision,
            served: self.served,
            nodes: node.into_iter().collect(),
            named: BTreeMap::from([(name.clone(), true)]),
            ..Write::default()
        });
        self.nodes.entry(name.clone()).or_default().named = true;
    }

    pub(super) fn expect(&self, options: &WriteOptions) -> Result<(), Refusal> {
        match options.expected {
            Some(expected) if expected != self.revision => Err(Refusal::Revision {
                expected,
                actual: self.revision,
            }),
            _ => Ok(()),
        }
    }

    /// Makes a change true in memory, and adds it to what becomes durable next, with what it confirms. Nobody may know of it
    /// before that.
    pub(super) fn write(&mut self, change: Change, what: What, options: &WriteOptions) -> Written {
        let changes = change.outcomes.iter();
        let changes = changes.map(|(reference, outcome)| (reference.clone(), *outcome));
        let mut written = Written {
            revision: self.revision,
            changes: changes.collect(),
            targets: change.targets().into_iter().collect(),
        };
        if options.dry_run {
            return written;
        }
        let mut confirmed = if options.allow_mass_delete {
            self.confirmed_by(&change)
        } else {
            BTreeMap::new()
        };
        if matches!(what, What::Undo(_)) && !options.who.has(Role::Admin) {
            // of what else a node holds back only an admin may say that it may go
            confirmed.retain(|name, _| self.is_where_it_must(name));
        }
        if change.writes.is_empty() && change.drains.is_empty() {
            // what is asked for again may still be held back
            if !confirmed.is_empty() {
                let named = change.outcomes.keys();
                let named = Done::new((&options.who, what), self.revision, named, [].iter());
                self.group.audit(named);
            }
            self.confirm(confirmed);
            return written;
        }
        let revision = self.revision.next();
        written.revision = revision;
        let (named, drained) = (change.writes.keys(), change.drains.keys());
        let done = Done::new((&options.who, what), revision, named, drained);
        self.group.audit(done);
        for happening in told::writes(&change, revision, (&options.who, what)) {
            self.happened(happening);
        }
        let history = self.remember(&change, revision, (&options.who, what));
        let events = self.take(change, revision, &confirmed, history);
        self.group.tell(Arc::new(Entry { revision, events }));
        written
    }

    /// Makes a change true in memory, and adds it to what becomes durable next. Gives what watchers are told.
    pub(super) fn take(
        &mut self,
        change: Change,
        revision: Revision,
        confirmed: &BTreeMap<NodeName, Generation>,
        history: HistoryBatch,
    ) -> Vec<Event> {
        let nodes = change.nodes().clone();
        let served = self.served || names_a_service(&change);
        let drains = change.drains.clone();
        let rollout = change.rollout.clone();
        let mut change = change;
        change.made_unix_ms = now_unix_ms();
        let events = self.desired.take(change, revision);
        self.revision = revision;
        if served && !self.served {
            self.group.is_first();
        }
        self.served = served;
        self.take_confirmed(confirmed);
        let trace = Arc::from(traceparent());
        for (name, node) in &nodes {
            match node {
                None => self.forget(name),
                Some(_) if self.nodes.contains_key(name) => {}
                Some(_) => {
                    self.nodes.insert(name.clone(), NodeEntry::default());
                }
            }
        }
        let touched = nodes.iter().filter(|(_, node)| node.is_some());
        let touched = touched.map(|(name, _)| name.clone());
        self.group.touch_all(touched, &trace);
        for name in confirmed.keys() {
            self.group.touch(name.clone(), None);
        }
        self.group.write(Write {
            revision,
            resources: events
                .iter()
                .map(|(reference, _, stored)| (reference.clone(), stored.clone()))
                .collect(),
            served,
            capabilities: gone(&nodes).map(|name| (name, Vec::new())).collect(),
            drains,
            confirmed: gone(&nodes)
                .map(|name| (name, None))
                .chain(release::written(confirmed))
                .collect(),
            named: gone(&nodes).map(|name| (name, false)).collect(),
            nodes,
            history,
            rollout,
            ..Write::default()
        });
        let events = events.into_iter();
        let events = events.map(|(reference, outcome, resource)| Event {
            reference,
            outcome,
            resource,
        });
        events.collect()
    }

    /// Begins a rollout that was written. Gives the nodes that its first step reaches.
    fn first_reached(&mut self) -> Vec<(NodeName, Generation)> {
        self.drive();
        let members = self.desired.rollout().map(|rollout| &rollout.members);
        let reached = members.into_iter().flatten().filter_map(|(name, member)| {
            let (_, generation) = member.reached?;
            Some((name.clone(), generation))
        });
        reached.collect()
    }

    /// Adds a change to the history, with what it is about to change as it is.
    fn remember(
        &mut self,
        change: &Change,
        revision: Revision,
        (who, what): (&Identity, What),
    ) -> HistoryBatch {
        if !what.is_kept() {
            return HistoryBatch::new();
        }
        let resources = self.desired.resources();
        let before = change.writes.keys().filter_map(|reference| {
            let stored = resources.get(reference)?;
            Some((reference.clone(), written_resource(stored).into()))
        });
        let before: Before = before.collect();
        let changes = change.outcomes.iter();
        let changes = changes.filter(|(reference, _)| change.writes.contains_key(reference));
        let changes = changes.map(|(reference, outcome)| (reference.clone(), *outcome));
        self.history.push(Past {
            revision,
            unix_ms: now_unix_ms(),
            who: who.to_string(),
            what: what.to_string(),
            changes: changes.collect(),
            drains: change.drains.keys().cloned().collect(),
            before: Some(before),
        })
    }

    fn forget(&mut self, name: &NodeName) {
        let Some(entry) = self.nodes.remove(name) else {
            return;
        };
        self.tally = self.tally.without(entry.progress.tally());
        self.events.forget(name);
        if let Some(session) = entry.session {
            self.group.end(session);
        }
    }
}

fn names_a_service(change: &Change) -> bool {
    let kinds = change.writes.keys().map(|reference| reference.kind);
    kinds.into_iter().any(|kind| kind == Kind::Service)
}

fn gone(
    nodes: &BTreeMap<NodeName, Option<(Generation, Digest)>>,
) -> impl Iterator<Item = NodeName> {
    let gone = nodes.iter().filter(|(_, node)| node.is_none());
    gone.map(|(name, _)| name.clone())
}
