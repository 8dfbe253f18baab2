//! Every node's state, and the groups of those that hold the same services in the same versions. PURE
//!
//! A group is known by its signature: the sum of what names each service and its version, so that one service more or less is
//! one addition. Two groups never have the same one: they are one group.

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::digest::Digest;
use weir_proto::model::{Generation, NodeName};

use super::alike::Common;
use super::history::{History, MOST_CHANGES};
use super::own::Own;
use super::prepare::Joining;
use super::{Kept, View, ViewMut};

/// How many groups that are no more are remembered, for nodes that were away since; and with how many keys.
const MOST_PAST: usize = 256;
const MOST_PAST_CHANGES: usize = 4 * MOST_CHANGES;

/// Tells groups apart, those that were included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupId(u64);

/// Nodes that hold the same services in the same versions.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) signature: Digest,
    pub(super) members: BTreeSet<NodeName>,
    pub(super) common: Common,
}

/// The groups that are, and of those that were what they were.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) live: BTreeMap<GroupId, Group>,
    pub(super) by_signature: BTreeMap<Digest, GroupId>,
    past: BTreeMap<GroupId, History>,
    made: u64,
}

/// What every node must hold.
#[derive(Debug, Default)]
pub(crate) struct Views {
    pub(super) nodes: BTreeMap<NodeName, Own>,
    pub(super) groups: Groups,
    pub(super) kept: BTreeMap<GroupId, Kept>,
}

impl Groups {
    /// Makes a group without members.
    pub(super) fn add(&mut self, signature: Digest, common: Common) -> GroupId {
        self.made += 1;
        let id = GroupId(self.made);
        let group = Group {
            signature,
            members: BTreeSet::new(),
            common,
        };
        self.live.insert(id, group);
        self.by_signature.insert(signature, id);
        id
    }

    /// Gives what a group was and, if it still is, what it is.
    pub(super) fn history(&self, id: GroupId) -> Option<&History> {
        let live = self.live.get(&id).map(|group| group.common.history());
        live.or_else(|| self.past.get(&id))
    }

    /// Ends a group, and remembers what it was.
    pub(super) fn end(&mut self, id: GroupId) -> Option<Group> {
        let group = self.live.remove(&id)?;
        if self.by_signature.get(&group.signature) == Some(&id) {
            self.by_signature.remove(&group.signature);
        }
        Some(group)
    }

    pub(super) fn remember(&mut self, id: GroupId, history: History) {
        self.past.insert(id, history);
        let changes = |past: &BTreeMap<_, History>| past.values().map(History::changes).sum();
        let mut all: usize = changes(&self.past);
        while self.past.len() > MOST_PAST || all > MOST_PAST_CHANGES {
            let Some((_, oldest)) = self.past.pop_first() else {
                break;
            };
            all -= oldest.changes();
        }
    }
}

impl Views {
    /// Takes up what every node must hold, and the generation and digest it had. Content that is not what it was gets a
    /// generation of its own.
    pub(crate) fn restore<'a>(
        nodes: impl IntoIterator<Item = (NodeName, Joining<'a>)>,
        left: &BTreeMap<NodeName, (Generation, Digest)>,
    ) -> Self {
        let mut views = Self::default();
        for (name, joining) in nodes {
            let known = views.groups.by_signature.get(&joining.signature);
            let id = match known {
                Some(id) => *id,
                None => {
                    let common = Common::new((joining.common)().into_iter());
                    views.groups.add(joining.signature, common)
                }
            };
            let Some(group) = views.groups.live.get_mut(&id) else {
                continue;
            };
            group.members.insert(name.clone());
            let own = joining.own.iter();
            let mut own = Own::new(own, id, |key| group.common.holds(key));
            let (generation, digest) = left.get(&name).copied().unwrap_or_default();
            let same = group.common.digest() + own.digest() == digest;
            own.generation = if same { generation } else { generation.next() };
            views.nodes.insert(name, own);
        }
        views
    }

    /// Gives what a node must hold.
    pub(crate) fn get(&self, name: &NodeName) -> Option<View<'_>> {
        self.look(self.nodes.get(name)?)
    }

    /// Gives what a node must hold, to lift its generation and to tell it.
    pub(crate) fn get_mut(&mut self, name: &NodeName) -> Option<ViewMut<'_>> {
        let own = self.nodes.get_mut(name)?;
        let id = own.group();
        let group = self.groups.live.get(&id)?;
        Some(ViewMut {
            own,
            common: &group.common,
            groups: &self.groups,
            kept: self.kept.entry(id).or_default(),
        })
    }

    /// Gives the names of the nodes.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &NodeName> {
        self.nodes.keys()
    }

    /// Gives what each node must hold.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeName, View<'_>)> {
        let nodes = self.nodes.iter();
        nodes.filter_map(|(name, own)| Some((name, self.look(own)?)))
    }

    /// Counts the nodes.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Counts the groups: what is common to nodes is encoded once for each.
    pub(crate) fn groups(&self) -> usize {
        self.groups.live.len()
    }

    /// Gives the groups, each with one of its nodes: what holds of the services of one holds of all.
    pub(crate) fn representatives(&self) -> impl Iterator<Item = (GroupId, &NodeName)> {
        let groups = self.groups.live.iter();
        groups.filter_map(|(id, group)| Some((*id, group.members.first()?)))
    }

    /// Gives the group a node is in.
    pub(crate) fn group_of(&self, name: &NodeName) -> Option<GroupId> {
        Some(self.nodes.get(name)?.group())
    }

    fn look<'a>(&'a self, own: &'a Own) -> Option<View<'a>> {
        let group = self.groups.live.get(&own.group())?;
        Some(View {
            own,
            common: &group.common,
            groups: &self.groups,
        })
    }
}
