//! How the cluster changes: checked, prepared, made durable, and only then true.

use std::collections::BTreeMap;
use std::sync::Arc;

use tracing::{error, info};
use weir_proto::digest::Digest;
use weir_proto::model::{
    Capability, Generation, Identity, Kind, Node, NodeName, Resource, ResourceRef,
};
use weir_proto::trace::traceparent;

use super::log::{Entry, Event};
use super::owner::Owner;
use super::{Outgoing, Refusal, WriteOptions, Written, release};
use crate::desired::{Batch, Change, Outcome, Places};
use crate::store::{Store, Write};

impl<S: Store> Owner<S> {
    /// Writes resources: all of them, or none. Gives what became of each, in the order given.
    pub(super) async fn apply(
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
        let change = self.desired.prepare(batch);
        let mut written = self.write(change, options).await?;
        let outcomes: BTreeMap<ResourceRef, Outcome> = written.changes.into_iter().collect();
        let in_order = order.into_iter().filter_map(|reference| {
            let outcome = *outcomes.get(&reference)?;
            Some((reference, outcome))
        });
        written.changes = in_order.collect();
        Ok(written)
    }

    /// Deletes resources: all of them, or none.
    pub(super) async fn delete(
        &mut self,
        refs: &[ResourceRef],
        options: &WriteOptions,
    ) -> Result<Written, Refusal> {
        self.expect(options)?;
        let batch = self.desired.deletion(refs).map_err(Refusal::NotFound)?;
        let change = self.desired.prepare(batch);
        self.write(change, options).await
    }

    /// Writes a node that says hello.
    pub(super) async fn register(&mut self, node: Node) -> Result<(), Refusal> {
        let options = WriteOptions::by(Identity::Node(node.name.clone()));
        let node = Resource::Node(node);
        let batch = Batch::from([(node.reference(), Some(node))]);
        let change = self.desired.prepare(batch);
        self.write(change, &options).await?;
        Ok(())
    }

    /// Writes what a node's kernel can do, which is no change of the cluster: an apply is checked against it, also by
    /// a controller that starts while the node is away.
    pub(super) async fn learn(
        &mut self,
        name: &NodeName,
        capabilities: &[Capability],
    ) -> Result<(), Refusal> {
        if self.desired.capabilities(name) == capabilities {
            return Ok(());
        }
        let write = Write {
            revision: self.revision,
            served: self.served,
            capabilities: BTreeMap::from([(name.clone(), capabilities.to_vec())]),
            ..Write::default()
        };
        self.commit(write).await?;
        self.desired.learn(name.clone(), capabilities.to_vec());
        Ok(())
    }

    /// Writes that a node has taken an update that names this cluster, and the generation, which may have been
    /// lifted for that.
    pub(super) async fn name(&mut self, name: &NodeName) -> Result<(), Refusal> {
        let view = self.desired.view(name);
        let node = view.map(|view| (name.clone(), Some((view.generation(), view.digest()))));
        let write = Write {
            revision: self.revision,
            served: self.served,
            nodes: node.into_iter().collect(),
            named: BTreeMap::from([(name.clone(), true)]),
            ..Write::default()
        };
        self.commit(write).await?;
        self.nodes.entry(name.clone()).or_default().named = true;
        Ok(())
    }

    pub(super) async fn commit(&mut self, write: Write) -> Result<(), Refusal> {
        let revision = write.revision;
        let committed = self.store.commit(write).await;
        committed.map_err(|error| {
            error!(error = &error as &dyn std::error::Error, %revision, "the store took no write");
            let error = Arc::new(error);
            self.lost = Some(Arc::clone(&error));
            Refusal::Store(error)
        })
    }

    fn expect(&self, options: &WriteOptions) -> Result<(), Refusal> {
        match options.expected {
            Some(expected) if expected != self.revision => Err(Refusal::Revision {
                expected,
                actual: self.revision,
            }),
            _ => Ok(()),
        }
    }

    /// Makes a change durable and then true, and sends it on its way. What it confirms is durable with it.
    pub(super) async fn write(
        &mut self,
        change: Change,
        options: &WriteOptions,
    ) -> Result<Written, Refusal> {
        let changes = change.outcomes.iter();
        let changes = changes.map(|(reference, outcome)| (reference.clone(), *outcome));
        let mut written = Written {
            revision: self.revision,
            changes: changes.collect(),
            targets: change.targets().into_iter().collect(),
        };
        if options.dry_run {
            return Ok(written);
        }
        let confirmed = if options.allow_mass_delete {
            self.confirmed_by(&change)
        } else {
            BTreeMap::new()
        };
        if change.writes.is_empty() && change.drains.is_empty() {
            // what is asked for again may still be held back
            self.confirm(confirmed.clone()).await?;
            self.pump_all(confirmed.into_keys());
            return Ok(written);
        }
        let revision = self.revision.next();
        let nodes = change.nodes().clone();
        let write = Write {
            revision,
            resources: change.writes.clone(),
            nodes: nodes.clone(),
            served: self.served || names_a_service(&change),
            capabilities: gone(&nodes).map(|name| (name, Vec::new())).collect(),
            drains: change.drains.clone(),
            confirmed: gone(&nodes)
                .map(|name| (name, None))
                .chain(release::written(&confirmed))
                .collect(),
            named: gone(&nodes).map(|name| (name, false)).collect(),
        };
        let served = write.served;
        self.commit(write).await?;
        self.revision = revision;
        written.revision = revision;
        self.publish(change);
        self.take_confirmed(&confirmed);
        let first = served && !self.served;
        self.served = served;
        info!(%revision, changes = written.changes.len(), nodes = nodes.len(), "cluster written");

        let traceparent: Arc<str> = traceparent().into();
        for (name, node) in nodes {
            match node {
                None => self.forget(&name),
                Some(_) => {
                    self.nodes.entry(name.clone()).or_default().traceparent =
                        Arc::clone(&traceparent);
                    self.pump(&name);
                }
            }
        }
        if first {
            // the nodes that said hello before there was anything to say
            let names: Vec<NodeName> = self.nodes.keys().cloned().collect();
            self.pump_all(names);
        }
        self.pump_all(confirmed.into_keys());
        self.measure();
        self.ring();
        Ok(written)
    }

    fn pump_all(&mut self, names: impl IntoIterator<Item = NodeName>) {
        for name in names {
            self.pump(&name);
        }
    }

    fn publish(&mut self, change: Change) {
        let events = self.desired.take(change, self.revision).into_iter();
        let events = events.map(|(reference, outcome, resource)| Event {
            reference,
            outcome,
            resource,
        });
        let entry = Arc::new(Entry {
            revision: self.revision,
            events: events.collect(),
        });
        self.log.push(entry.clone());
        // an error only says that nobody watches
        let _ = self.live.send(entry);
    }

    fn forget(&mut self, name: &NodeName) {
        let Some(entry) = self.nodes.remove(name) else {
            return;
        };
        self.tally = self.tally.without(entry.progress.tally());
        if let Some(session) = entry.session {
            self.connected = self.connected.saturating_sub(1);
            session.end(Outgoing::Deleted);
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
