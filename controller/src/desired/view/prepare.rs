//! What a change of what services claim does to the nodes, worked out before anything does. PURE
//!
//! What is common to a group changes once, however many nodes are in it. Nodes of a group of which services want something
//! else than of the rest leave it; most stay.

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::digest::Digest;
use weir_proto::model::{Generation, Item, ItemKey, NodeName};

use super::super::compile::Part;
use super::alike::{Common, CommonChange};
use super::groups::{Group, GroupId, Views};
use super::own::{Held, Own, OwnChange};

/// How what services want of the nodes changes.
#[derive(Default)]
pub(crate) struct Proposal<'a> {
    /// Nodes that go.
    pub(crate) gone: BTreeSet<NodeName>,
    /// Nodes of which services want something else than of the rest of their group. No node is in two.
    pub(crate) classes: Vec<Class<'a>>,
    /// What becomes of the rest of each group.
    pub(crate) rest: BTreeMap<GroupId, Vec<Part<'a>>>,
    /// What becomes of what only one node holds.
    pub(crate) own: BTreeMap<NodeName, Vec<Part<'a>>>,
    /// Nodes that come.
    pub(crate) joining: BTreeMap<NodeName, Joining<'a>>,
}

/// Some nodes of a group.
#[derive(Debug)]
pub(crate) struct Class<'a> {
    pub(crate) group: GroupId,
    pub(crate) nodes: Vec<NodeName>,
    /// What becomes of what is common to them.
    pub(crate) parts: Vec<Part<'a>>,
    /// What is added to the signature of their group.
    pub(crate) shift: Digest,
}

/// A node that was not there, with what services want of it.
pub(crate) struct Joining<'a> {
    pub(crate) signature: Digest,
    /// Gives what services want of all nodes that hold them; asked for where there is no group of the signature.
    pub(crate) common: Box<dyn Fn() -> Vec<&'a Item> + 'a>,
    pub(crate) own: Vec<Item>,
}

/// A change of what nodes must hold that could be taken.
#[derive(Debug, Default)]
pub(crate) struct ViewsChange {
    pub(super) transitions: Vec<Transition>,
    pub(super) own: BTreeMap<NodeName, OwnChange>,
    /// What is common to nodes that come, where no group has it.
    pub(super) fresh: BTreeMap<Digest, Common>,
    pub(super) joining: BTreeMap<NodeName, (Digest, Own)>,
    /// The nodes whose state changes, with its generation and digest; none: the node goes.
    pub(super) seen: BTreeMap<NodeName, Option<(Generation, Digest)>>,
}

/// What becomes of nodes of one group.
#[derive(Debug)]
pub(super) struct Transition {
    pub(super) from: GroupId,
    /// Of the group they are in after it.
    pub(super) signature: Digest,
    pub(super) common: CommonChange,
    /// Who leaves; none: those that stay, of which there is at least one.
    pub(super) leaving: Option<Vec<NodeName>>,
}

impl ViewsChange {
    /// Gives the nodes whose state changes, with its generation and digest; none: the node goes.
    pub(crate) fn seen(&self) -> &BTreeMap<NodeName, Option<(Generation, Digest)>> {
        &self.seen
    }
}

impl Views {
    /// Works out what a proposal does. Costs as much as there are groups, and nodes that see it.
    pub(crate) fn prepare(&self, proposal: Proposal<'_>) -> ViewsChange {
        let Proposal {
            gone,
            classes,
            rest,
            own,
            joining,
        } = proposal;
        let transitions = self.transitions(&gone, classes, &rest);
        let own = self.own_changes(&gone, &transitions, &own);
        let mut change = ViewsChange {
            transitions,
            own,
            ..ViewsChange::default()
        };
        self.see(&gone, &mut change);
        self.join(&gone, joining, &mut change);
        change
            .seen
            .extend(gone.into_iter().map(|name| (name, None)));
        change
    }

    fn transitions<'a>(
        &self,
        gone: &BTreeSet<NodeName>,
        classes: Vec<Class<'a>>,
        rest: &BTreeMap<GroupId, Vec<Part<'a>>>,
    ) -> Vec<Transition> {
        let mut by_group: BTreeMap<GroupId, Vec<Class<'a>>> = BTreeMap::new();
        for class in classes {
            by_group.entry(class.group).or_default().push(class);
        }
        for id in rest.keys() {
            by_group.entry(*id).or_default();
        }
        let mut transitions = Vec::new();
        for (id, classes) in by_group {
            let Some(group) = self.groups.live.get(&id) else {
                continue;
            };
            let parts = rest.get(&id).map(Vec::as_slice).unwrap_or_default();
            self.split(id, group, classes, (gone, parts), &mut transitions);
        }
        transitions
    }

    /// Divides a group. The most stay.
    fn split(
        &self,
        id: GroupId,
        group: &Group,
        mut classes: Vec<Class<'_>>,
        (gone, parts): (&BTreeSet<NodeName>, &[Part<'_>]),
        transitions: &mut Vec<Transition>,
    ) {
        let moving: usize = classes.iter().map(|class| class.nodes.len()).sum();
        let going = gone.iter().filter(|name| group.members.contains(*name));
        let rest = group.members.len().saturating_sub(moving + going.count());
        classes.sort_by_key(|class| class.nodes.len());
        let largest = classes.pop_if(|class| class.nodes.len() > rest);
        let mut leave = |class: &Class<'_>, leaving: Option<Vec<NodeName>>| {
            transitions.push(Transition {
                from: id,
                signature: group.signature + class.shift,
                common: group.common.prepare(&class.parts),
                leaving,
            });
        };
        let keep = Class {
            group: id,
            nodes: Vec::new(),
            parts: parts.to_vec(),
            shift: Digest::default(),
        };
        match largest {
            None if rest > 0 => leave(&keep, None),
            None => {}
            Some(largest) => {
                if rest > 0 {
                    let moving = classes.iter().chain([&largest]);
                    let moving: BTreeSet<&NodeName> =
                        moving.flat_map(|class| &class.nodes).chain(gone).collect();
                    let left = group.members.iter().filter(|name| !moving.contains(name));
                    leave(&keep, Some(left.cloned().collect()));
                }
                leave(&largest, None);
            }
        }
        for class in classes {
            leave(&class, Some(class.nodes.clone()));
        }
    }

    fn own_changes(
        &self,
        gone: &BTreeSet<NodeName>,
        transitions: &[Transition],
        parts: &BTreeMap<NodeName, Vec<Part<'_>>>,
    ) -> BTreeMap<NodeName, OwnChange> {
        let by_node = transitions.iter().filter_map(|transition| {
            let leaving = transition.leaving.as_ref()?;
            Some(leaving.iter().map(move |name| (name, transition)))
        });
        let by_node: BTreeMap<&NodeName, &Transition> = by_node.flatten().collect();
        let staying = transitions.iter().filter(|it| it.leaving.is_none());
        let staying: BTreeMap<GroupId, &Transition> = staying.map(|it| (it.from, it)).collect();
        let mut changes = BTreeMap::new();
        let mut prepare = |name: &NodeName, own: &Own, parts: &[Part<'_>]| {
            let Some(group) = self.groups.live.get(&own.group()) else {
                return;
            };
            let transition = by_node.get(name).or_else(|| staying.get(&own.group()));
            let turned = transition.map(|it| it.common.turned());
            let after = |key: &ItemKey| match transition {
                Some(transition) => transition.common.holds(&group.common, key),
                None => group.common.holds(key),
            };
            let held = Held {
                before: |key: &ItemKey| group.common.holds(key),
                after,
            };
            let change = own.prepare(parts, turned.unwrap_or_default(), held);
            changes.extend(change.map(|change| (name.clone(), change)));
        };
        for (name, parts) in parts {
            if let Some(own) = self.nodes.get(name) {
                prepare(name, own, parts);
            }
        }
        for transition in transitions {
            if transition.common.turned().is_empty() {
                continue;
            }
            self.each(gone, transition, &by_node, |name, own| {
                if !own.is_empty() && !parts.contains_key(name) {
                    prepare(name, own, &[]);
                }
            });
        }
        changes
    }

    /// Passes the nodes of a transition to `with`.
    fn each<T>(
        &self,
        gone: &BTreeSet<NodeName>,
        transition: &Transition,
        leaving: &BTreeMap<&NodeName, T>,
        mut with: impl FnMut(&NodeName, &Own),
    ) {
        let pass = |name: &NodeName| {
            if let Some(own) = self.nodes.get(name) {
                with(name, own);
            }
        };
        match (&transition.leaving, self.groups.live.get(&transition.from)) {
            (Some(names), _) => names.iter().for_each(pass),
            (None, Some(group)) => {
                let members = group.members.iter();
                let stay = members.filter(|name| !leaving.contains_key(name));
                stay.filter(|name| !gone.contains(*name)).for_each(pass);
            }
            (None, None) => {}
        }
    }

    /// Finds the nodes whose state changes: those whose digest does.
    fn see(&self, gone: &BTreeSet<NodeName>, change: &mut ViewsChange) {
        let ViewsChange {
            transitions,
            own: changes,
            seen,
            ..
        } = change;
        let leaving = transitions.iter().flat_map(|it| &it.leaving).flatten();
        let leaving: BTreeMap<&NodeName, ()> = leaving.map(|name| (name, ())).collect();
        let mut rest: BTreeSet<&NodeName> = changes.keys().collect();
        let mut look = |name: &NodeName, own: &Own, before: Digest, after: Digest| {
            let next = changes
                .get(name)
                .map_or(own.digest(), |change| change.digest);
            let digest = after + next;
            if before + own.digest() != digest {
                seen.insert(name.clone(), Some((own.generation.next(), digest)));
            }
        };
        for transition in &*transitions {
            let Some(group) = self.groups.live.get(&transition.from) else {
                continue;
            };
            let (before, after) = (group.common.digest(), transition.common.digest());
            if before == after {
                continue;
            }
            self.each(gone, transition, &leaving, |name, own| {
                rest.remove(name);
                look(name, own, before, after);
            });
        }
        for name in rest {
            let own = self.nodes.get(name);
            let group = own.and_then(|own| self.groups.live.get(&own.group()));
            if let Some((own, group)) = own.zip(group) {
                look(name, own, group.common.digest(), group.common.digest());
            }
        }
    }

    fn join(
        &self,
        gone: &BTreeSet<NodeName>,
        joining: BTreeMap<NodeName, Joining<'_>>,
        change: &mut ViewsChange,
    ) {
        for (name, joining) in joining {
            let signature = joining.signature;
            let own = joining.own.iter();
            // which group it is in is known when the change is taken
            let nowhere = GroupId::default();
            let (mut own, common) = match self.after(signature, gone, &change.transitions) {
                Some((before, None)) => {
                    let own = Own::new(own, nowhere, |key| before.holds(key));
                    (own, before.digest())
                }
                Some((before, Some(next))) => {
                    let own = Own::new(own, nowhere, |key| next.holds(before, key));
                    (own, next.digest())
                }
                None => {
                    let fresh = change.fresh.entry(signature);
                    let fresh =
                        fresh.or_insert_with(|| Common::new((joining.common)().into_iter()));
                    let own = Own::new(own, nowhere, |key| fresh.holds(key));
                    (own, fresh.digest())
                }
            };
            let digest = common + own.digest();
            // the empty state has no generation
            if digest != Digest::default() {
                own.generation = own.generation.next();
            }
            let seen = (own.generation, digest);
            change.seen.insert(name.clone(), Some(seen));
            change.joining.insert(name, (signature, own));
        }
    }

    /// Gives what a group of a signature has in common after transitions, as what it has before and how that changes.
    fn after<'a>(
        &'a self,
        signature: Digest,
        gone: &BTreeSet<NodeName>,
        transitions: &'a [Transition],
    ) -> Option<(&'a Common, Option<&'a CommonChange>)> {
        let next = transitions.iter().find(|it| it.signature == signature);
        if let Some(next) = next {
            let group = self.groups.live.get(&next.from)?;
            return Some((&group.common, Some(&next.common)));
        }
        let id = self.groups.by_signature.get(&signature)?;
        if transitions.iter().any(|transition| transition.from == *id) {
            return None;
        }
        let group = self.groups.live.get(id)?;
        let stays = group.members.iter().any(|name| !gone.contains(name));
        stays.then_some((&group.common, None))
    }
}
