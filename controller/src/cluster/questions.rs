//! What is asked of nodes: worked out on what the cluster is, and put to their streams by whoever asks. Nothing is written.

use std::collections::BTreeSet;

use tokio::sync::mpsc;
use weir_proto::model::{Generation, ItemKey, Kind, NodeName, Resource, ResourceRef, Revision};

use super::owner::Owner;
use super::{Cluster, Command, Refusal, WriteOptions};
use crate::desired::{Batch, Change, Outcome, Places, Staged, reference};
use crate::store::Store;

/// How many questions wait for a stream to take them: it does so at once, unless it waits for its agent to read.
pub(super) const CALLS: usize = 4;

/// How many items would come and go on all nodes together at most: so many are worked out while nothing else is served, which
/// takes some 100 ms. A new service with 100 backends is that on 500 nodes.
const MOST_STAGED: usize = 200_000;

/// What is to be asked of the nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inquiry {
    /// What would be written; nothing: what there is is asked about.
    pub(crate) resources: Vec<Resource>,
    pub(crate) places: Places,
    /// Only at this revision.
    pub(crate) expected: Option<Revision>,
    /// Whom to ask: these, or all that hold anything or would. None: those alone that would be changed.
    pub(crate) nodes: Option<Vec<NodeName>>,
}

/// What would be written, and whom to ask what that does.
#[derive(Debug)]
pub(crate) struct Inquired {
    pub(crate) revision: Revision,
    /// What would become of each resource, in the order given.
    pub(crate) changes: Vec<(ResourceRef, Outcome)>,
    pub(crate) nodes: Vec<Asking>,
}

/// A node, and what to ask it.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) node: NodeName,
    /// The generation that the node should hold, by what would be written.
    pub(crate) generation: Generation,
    /// The one that it holds.
    pub(crate) held: Generation,
    /// What would be sent to it; none: nothing.
    pub(crate) staged: Option<Staged>,
    /// What of the node the resources are; nothing: they are not of it, or none were given.
    pub(crate) keys: Vec<ItemKey>,
    pub(crate) version: String,
    pub(crate) line: Line,
}

/// How a node is reached.
#[derive(Debug)]
pub(crate) enum Line {
    To(mpsc::Sender<Call>),
    /// It is not connected.
    Away,
    /// It has not taken yet what it was sent, or will not take it.
    Behind,
    /// What would change on the nodes before it is all that can be asked about at once.
    TooMuch,
}

/// A question on its way to an agent.
#[derive(Debug)]
pub(crate) struct Call {
    /// As it is encoded, in chunks.
    pub(crate) question: Vec<Vec<u8>>,
    /// Where the chunks of the answer go, as they are encoded. It is closed when the stream ends.
    pub(crate) answers: mpsc::Sender<Vec<u8>>,
}

impl Cluster {
    /// Works out what to ask of which nodes.
    pub(crate) async fn inquire(&self, inquiry: Inquiry) -> Result<Inquired, Refusal> {
        self.ask(|answer| Command::Inquire { inquiry, answer })
            .await
    }
}

impl<S: Store> Owner<S> {
    /// Works out what to ask whom: resources are checked and compiled as they are when they are written.
    pub(super) fn inquire(&self, inquiry: Inquiry) -> Result<Inquired, Refusal> {
        let Inquiry {
            resources,
            places,
            expected,
            nodes: asked,
        } = inquiry;
        let options = WriteOptions {
            expected,
            dry_run: true,
            ..WriteOptions::default()
        };
        self.expect(&options)?;
        let order: Vec<ResourceRef> = resources.iter().map(Resource::reference).collect();
        let resources = resources.into_iter().map(Some);
        let batch: Batch = order.iter().cloned().zip(resources).collect();
        self.desired
            .check(&batch, &places)
            .map_err(Refusal::Fields)?;
        let change = self.prepare(batch, &options)?;
        let compares = asked.is_some();
        let names = self.whom(asked, change.nodes().keys())?;
        let mut room = MOST_STAGED;
        let mut nodes = Vec::with_capacity(names.len());
        for name in names {
            let keys = match compares {
                true => self.desired.keys_of(&change, &name),
                false => Vec::new(),
            };
            let asking = self.asking(&change, name, &mut room);
            nodes.push(Asking { keys, ..asking });
        }
        let outcome = |reference: ResourceRef| {
            let outcome = *change.outcomes.get(&reference)?;
            Some((reference, outcome))
        };
        Ok(Inquired {
            revision: self.revision,
            changes: order.into_iter().filter_map(outcome).collect(),
            nodes,
        })
    }

    /// Works out what to ask one node; `room` is how many items may still come and go.
    fn asking(&self, change: &Change, node: NodeName, room: &mut usize) -> Asking {
        let (view, entry) = (self.desired.view(&node), self.nodes.get(&node));
        let seen = change.nodes().get(&node).copied().flatten();
        let staged = seen.filter(|_| *room > 0);
        let staged = staged.and_then(|_| self.desired.staged(change, &node));
        let size = staged.as_ref().map_or(0, Staged::len);
        let enough = size <= *room && (*room > 0 || seen.is_none());
        *room = room.saturating_sub(size);
        let open = entry.and_then(|entry| Some((entry, entry.session.as_ref()?)));
        let line = match view.zip(open) {
            None => Line::Away,
            // an update that is not answered is taken before a question that follows it
            Some((view, (entry, _))) if !entry.feed.is_told(&view, self.answers_wait()) => {
                Line::Behind
            }
            Some(_) if !enough => Line::TooMuch,
            Some((_, (_, open))) => Line::To(open.calls()),
        };
        let wanted = view.map_or(Generation(0), |view| view.generation());
        let held = entry.and_then(|entry| entry.feed.sent());
        Asking {
            generation: seen.map_or(wanted, |(generation, _)| generation),
            held: held.map_or(Generation(0), |(generation, _)| generation),
            staged: staged.filter(|_| enough),
            keys: Vec::new(),
            version: entry.map_or_else(String::new, |entry| entry.progress.version().to_owned()),
            line,
            node,
        }
    }

    fn whom<'a>(
        &self,
        asked: Option<Vec<NodeName>>,
        changed: impl Iterator<Item = &'a NodeName>,
    ) -> Result<BTreeSet<NodeName>, Refusal> {
        let mut names: BTreeSet<NodeName> = changed.cloned().collect();
        match asked {
            None => Ok(names),
            Some(asked) if asked.is_empty() => {
                let holds =
                    |name: &&NodeName| self.desired.view(name).is_some_and(|view| view.len() > 0);
                names.extend(self.desired.views().keys().filter(holds).cloned());
                Ok(names)
            }
            Some(asked) => {
                let known =
                    |name: &&NodeName| names.contains(*name) || self.desired.view(name).is_some();
                let missing = asked.iter().filter(|name| !known(name));
                let missing = missing.map(|name| reference(Kind::Node, name.as_str()));
                let missing: Vec<ResourceRef> = missing.collect();
                match missing.is_empty() {
                    true => Ok(asked.into_iter().collect()),
                    false => Err(Refusal::NotFound(missing)),
                }
            }
        }
    }
}
