//! What operators confirm: that nodes may take away much of what they serve.
//!
//! One number for each node says up to which of its generations an operator has confirmed whatever goes. It is durable,
//! so that a node that is away, or a controller that restarts, loses no word: an update that leads to it, and not past it,
//! says that much may go, and a node that says that it holds back nothing later is released.

use std::collections::BTreeMap;

use tracing::info;
use weir_proto::model::{Generation, Identity, Kind, NodeName};

use super::nodes::NodeEntry;
use super::owner::Owner;
use super::{Outgoing, Refusal};
use crate::desired::events::told;
use crate::desired::{Change, Happening, Outcome, Reason, reference};
use crate::store::{Store, Write};

impl<S: Store> Owner<S> {
    /// Lets a node do what it holds back. Gives up to which generation: the newest that it was sent. It may have taken that
    /// since it spoke of its hold, and while others go on writing it would else never be released.
    pub(super) async fn release(
        &mut self,
        name: &NodeName,
        who: &Identity,
    ) -> Result<Generation, Refusal> {
        let Some(entry) = self.nodes.get(name) else {
            let missing = reference(Kind::Node, name.as_str());
            return Err(Refusal::NotFound(vec![missing]));
        };
        if entry.session.is_none() {
            return Err(Refusal::Away(name.clone()));
        }
        let Some(hold) = entry.progress.held_back() else {
            return Err(Refusal::NothingHeld(name.clone()));
        };
        let generation = hold.generation.max(entry.feed.newest());
        let confirmed = entry.confirmed;
        let message = format!("{who} let go what it holds back up to generation {generation}");
        self.happened(Happening {
            who: who.to_string(),
            ..told::about_node(name, Reason::HoldReleased, message)
        });
        if confirmed < generation {
            let confirmed = BTreeMap::from([(name.clone(), generation)]);
            self.confirm(confirmed);
            self.finish().await?;
        }
        info!(target: "audit", %who, what = "release", node = %name, %generation, "released");
        self.pump(name);
        self.ring();
        Ok(generation)
    }

    /// Adds what an operator has confirmed, which is no change of the cluster, to what becomes durable next.
    pub(super) fn confirm(&mut self, confirmed: BTreeMap<NodeName, Generation>) {
        if confirmed.is_empty() {
            return;
        }
        self.group.write(Write {
            revision: self.revision,
            served: self.served,
            confirmed: written(&confirmed),
            ..Write::default()
        });
        self.take_confirmed(&confirmed);
        for name in confirmed.into_keys() {
            self.group.touch(name, None);
        }
    }

    /// Notes what is confirmed.
    pub(super) fn take_confirmed(&mut self, confirmed: &BTreeMap<NodeName, Generation>) {
        for (name, generation) in confirmed {
            let entry = self.nodes.entry(name.clone()).or_default();
            entry.confirmed = *generation;
        }
    }

    /// Gives what a change confirms that nodes may take away much: on nodes that see it, and on those that hold what it
    /// leaves as it is, each up to the generation that it must hold after the change. What another node holds back has
    /// reasons of its own, which whoever wrote this did not look at.
    pub(super) fn confirmed_by(&self, change: &Change) -> BTreeMap<NodeName, Generation> {
        let mut confirmed = change.targets();
        for (reference, outcome) in &change.outcomes {
            if (reference.kind, *outcome) != (Kind::Node, Outcome::Unchanged) {
                continue;
            }
            // a node that is named itself: other labels may be what it holds back
            let named = NodeName::new(&reference.name).ok();
            let view = named.and_then(|name| Some((self.desired.view(&name)?.generation(), name)));
            if let Some((generation, name)) = view {
                confirmed.entry(name).or_insert(generation);
            }
        }
        confirmed.retain(|name, generation| {
            let entry = self.nodes.get(name);
            entry.is_none_or(|entry| entry.confirmed < *generation)
        });
        confirmed
    }

    /// Says whether a node has converged on all that it must hold: what the next change takes away there is of that alone.
    pub(super) fn is_where_it_must(&self, name: &NodeName) -> bool {
        let both = self.desired.view(name).zip(self.nodes.get(name));
        both.is_some_and(|(view, entry)| {
            let (_, converged) = entry.progress.at(&view, &entry.feed);
            converged >= view.generation()
        })
    }
}

impl NodeEntry {
    /// Releases the node if it says that it holds back what is confirmed, once on each stream: it may not have heard of it.
    pub(super) fn pump_release(&mut self) {
        let (Some(session), Some(hold)) = (&self.session, self.progress.held_back()) else {
            return;
        };
        if hold.generation > self.confirmed || hold.generation <= self.released {
            return;
        }
        // one that reads nothing now is told when it says something next
        if session.send(Outgoing::Release(self.confirmed)) {
            self.released = self.confirmed;
        }
    }
}

/// Gives what is confirmed as it is written.
pub(super) fn written(
    confirmed: &BTreeMap<NodeName, Generation>,
) -> BTreeMap<NodeName, Option<Generation>> {
    let confirmed = confirmed.iter();
    confirmed
        .map(|(name, generation)| (name.clone(), Some(*generation)))
        .collect()
}
