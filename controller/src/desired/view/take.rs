//! Makes a change of what nodes must hold true. PURE
//!
//! Who leaves a group goes to the one whose signature it has from now on; if there is none, the group is divided. Groups that
//! become equal become one.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_proto::digest::Digest;
use weir_proto::faults::{Bug, planted};
use weir_proto::model::{Generation, ItemKey, NodeName};

use super::groups::{GroupId, Groups, Views};
use super::own::Move;
use super::prepare::{Transition, ViewsChange};

/// How many nodes are passed over in the time that one is searched for.
const SEARCHED: usize = 8;

/// Nodes that are on their way to another group.
struct Leaving {
    nodes: Vec<NodeName>,
    to: GroupId,
    left: u64,
    /// What is common to them from now on.
    digest: Digest,
    /// The keys in which the group they come to differs from what they had; none: it begins with what they had.
    between: Option<Arc<[ItemKey]>>,
}

type Moves = BTreeMap<NodeName, (GroupId, Move)>;

impl Views {
    /// Takes a change that was prepared on just this.
    pub(crate) fn take(&mut self, change: ViewsChange) {
        let ViewsChange {
            transitions,
            own,
            fresh,
            joining,
            seen,
        } = change;
        let gone = seen.iter().filter(|(_, seen)| seen.is_none());
        // most changes leave every node where it is
        let mut regrouped = !joining.is_empty();
        for (name, _) in gone {
            self.forget(name);
            regrouped = true;
        }
        let (leaving, staying): (Vec<_>, Vec<_>) =
            transitions.into_iter().partition(|it| it.leaving.is_some());
        regrouped |= !leaving.is_empty();
        let leaving = match leaving.is_empty() {
            true => Vec::new(),
            false => self.groups.leave(leaving, &staying),
        };
        for transition in staying {
            if planted(Bug::StaleSnapshot) {
                let kept = self.kept.entry(transition.from).or_default();
                kept.retain(|base, _| base.is_none());
            } else {
                self.kept.remove(&transition.from);
            }
            regrouped |= self.groups.stay(transition);
        }
        let mut moves = Moves::new();
        if regrouped {
            let merged = self.groups.merge(&mut moves);
            self.groups.arrive(leaving, &merged, &mut moves);
        }

        let mut keys: BTreeMap<NodeName, Vec<ItemKey>> = BTreeMap::new();
        for (name, change) in own {
            if let Some(own) = self.nodes.get_mut(&name) {
                keys.insert(name, own.take(change));
            }
        }
        for (name, (to, moved)) in moves {
            let keys = keys.remove(&name).unwrap_or_default();
            if let Some(own) = self.nodes.get_mut(&name) {
                own.go_on(keys, to, Some(moved));
            }
        }
        for (name, keys) in keys {
            if let Some(own) = self.nodes.get_mut(&name) {
                own.go_on(keys, own.group(), None);
            }
        }
        for (signature, common) in fresh {
            self.groups.add(signature, common);
        }
        for (name, (signature, mut own)) in joining {
            if let Some(id) = self.groups.by_signature.get(&signature).copied() {
                own.begin(id);
                self.groups.admit(id, &name);
                self.nodes.insert(name, own);
            }
        }
        self.lift(seen);
        if regrouped {
            self.end_empty();
        }
    }

    /// Gives nodes the generations that they are at from now on.
    fn lift(&mut self, seen: BTreeMap<NodeName, Option<(Generation, Digest)>>) {
        if seen.len() * SEARCHED < self.nodes.len() {
            for (name, seen) in seen {
                if let Some((own, (generation, _))) = self.nodes.get_mut(&name).zip(seen) {
                    own.generation = generation;
                }
            }
            return;
        }
        let mut seen = seen.into_iter().peekable();
        for (name, own) in &mut self.nodes {
            while seen.next_if(|(other, _)| other < name).is_some() {}
            let seen = seen.next_if(|(other, _)| other == name);
            if let Some((_, Some((generation, _)))) = seen {
                own.generation = generation;
            }
        }
    }

    fn forget(&mut self, name: &NodeName) {
        let own = self.nodes.remove(name);
        let group = own.and_then(|own| self.groups.live.get_mut(&own.group()));
        if let Some(group) = group {
            group.members.remove(name);
        }
    }

    fn end_empty(&mut self) {
        let groups = self.groups.live.iter();
        let empty = groups.filter(|(_, group)| group.members.is_empty());
        let empty: Vec<GroupId> = empty.map(|(id, _)| *id).collect();
        for id in empty {
            if let Some(group) = self.groups.end(id) {
                self.groups.remember(id, group.common.into_history());
            }
        }
        let live = &self.groups.live;
        self.kept.retain(|id, _| live.contains_key(id));
    }
}

impl Groups {
    /// Takes those who leave out of their groups, and finds where they go; a group is divided for those who go nowhere else.
    fn leave(&mut self, leaving: Vec<Transition>, staying: &[Transition]) -> Vec<Leaving> {
        let mut next: BTreeMap<GroupId, Digest> = BTreeMap::new();
        for (id, group) in &self.live {
            if !group.members.is_empty() {
                next.insert(*id, group.signature);
            }
        }
        next.extend(staying.iter().map(|it| (it.from, it.signature)));
        let mut places: BTreeMap<Digest, GroupId> = next
            .into_iter()
            .map(|(id, signature)| (signature, id))
            .collect();
        let mut all = Vec::new();
        for transition in leaving {
            let Transition {
                from,
                signature,
                common,
                leaving,
            } = transition;
            let nodes = leaving.unwrap_or_default();
            let Some(group) = self.live.get_mut(&from) else {
                continue;
            };
            nodes.iter().for_each(|name| {
                group.members.remove(name);
            });
            let left = group.common.history().last();
            let digest = common.digest();
            let keys = Arc::clone(common.keys());
            let (to, between) = match places.get(&signature) {
                Some(to) => (*to, Some(keys)),
                None => {
                    let mut branch = group.common.branch();
                    branch.take(common);
                    let to = self.add(signature, branch);
                    places.insert(signature, to);
                    (to, None)
                }
            };
            all.push(Leaving {
                nodes,
                to,
                left,
                digest,
                between,
            });
        }
        all
    }

    /// Changes what is common to those who stay. Says whether the group has another signature now.
    fn stay(&mut self, transition: Transition) -> bool {
        let Some(group) = self.live.get_mut(&transition.from) else {
            return false;
        };
        group.common.take(transition.common);
        let before = std::mem::replace(&mut group.signature, transition.signature);
        before != transition.signature
    }

    /// Makes one group of those that have the same signature now. Gives where the members of those that are no more went.
    fn merge(&mut self, moves: &mut Moves) -> BTreeMap<GroupId, GroupId> {
        let mut merged = BTreeMap::new();
        let mut largest: BTreeMap<Digest, (usize, GroupId)> = BTreeMap::new();
        for (id, group) in &self.live {
            let size = group.members.len();
            let known = largest.entry(group.signature).or_insert((size, *id));
            if size > known.0 {
                *known = (size, *id);
            }
        }
        // none goes by way of another: a node knows one way from where it was
        let pairs = self.live.iter().filter_map(|(id, group)| {
            let (_, large) = *largest.get(&group.signature)?;
            (*id != large).then_some((*id, large))
        });
        let pairs: Vec<_> = pairs.collect();
        for (small, large) in pairs {
            let (Some(group), Some(into)) = (self.end(small), self.live.get_mut(&large)) else {
                continue;
            };
            let same = group.common.digest() == into.common.digest();
            let moved = Move {
                left: group.common.history().last(),
                came: into.common.history().last(),
                between: same.then(|| Arc::new([]) as Arc<[ItemKey]>),
            };
            for name in group.members {
                into.members.insert(name.clone());
                moves.insert(name, (large, moved.clone()));
            }
            self.remember(small, group.common.into_history());
            merged.insert(small, large);
        }
        let first = largest
            .into_iter()
            .map(|(signature, (_, id))| (signature, id));
        self.by_signature = first.collect();
        merged
    }

    /// Brings those who left to where they go.
    fn arrive(
        &mut self,
        leaving: Vec<Leaving>,
        merged: &BTreeMap<GroupId, GroupId>,
        moves: &mut Moves,
    ) {
        for leaving in leaving {
            let Leaving {
                nodes,
                to,
                left,
                digest,
                between,
            } = leaving;
            let to = merged.get(&to).copied().unwrap_or(to);
            let Some(group) = self.live.get_mut(&to) else {
                continue;
            };
            let moved = match between {
                None => Move {
                    left,
                    came: 0,
                    between: Some(Arc::new([])),
                },
                Some(keys) => Move {
                    left,
                    came: group.common.history().last(),
                    between: (group.common.digest() == digest).then_some(keys),
                },
            };
            for name in nodes {
                group.members.insert(name.clone());
                moves.insert(name, (to, moved.clone()));
            }
        }
    }

    fn admit(&mut self, id: GroupId, name: &NodeName) {
        if let Some(group) = self.live.get_mut(&id) {
            group.members.insert(name.clone());
        }
    }
}
