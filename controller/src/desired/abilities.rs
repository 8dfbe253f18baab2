//! What the kernels of the nodes can do, as their agents said last. PURE
//!
//! What nobody has said of a node, it may be able to do.

use std::collections::BTreeMap;

use weir_proto::model::{Capability, Node, NodeName};

use super::needs::Need;

/// What is known of each node.
#[derive(Debug, Default)]
pub(crate) struct Abilities(BTreeMap<NodeName, Vec<Capability>>);

/// Why none of some nodes can do what is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unable {
    /// What the first of them lacks.
    pub(crate) need: Need,
    /// One sentence for people.
    pub(crate) cause: String,
}

impl Abilities {
    /// Takes up what was kept.
    pub(crate) fn restore(kept: BTreeMap<NodeName, Vec<Capability>>) -> Self {
        Self(kept)
    }

    /// Gives what is known of a node.
    pub(crate) fn of(&self, node: &NodeName) -> &[Capability] {
        self.0.get(node).map_or(&[], Vec::as_slice)
    }

    /// Notes what a node's agent says; nothing: no more is known of it.
    pub(crate) fn learn(&mut self, node: NodeName, capabilities: Vec<Capability>) {
        if capabilities.is_empty() {
            self.0.remove(&node);
        } else {
            self.0.insert(node, capabilities);
        }
    }

    /// Finds why none of some nodes, in order, can do what is needed; none: one of them may, or there are no nodes.
    pub(crate) fn unable<'a>(
        &self,
        needs: &[Need],
        nodes: impl Iterator<Item = &'a Node>,
    ) -> Option<Unable> {
        let needed: Vec<(Need, String)> = needs
            .iter()
            .map(|need| (*need, need.ability.to_string()))
            .collect();
        let mut first = None;
        let mut others = 0_usize;
        for node in nodes {
            let lacked = self.lacked(&node.name, &needed)?;
            match first {
                None => first = Some((&node.name, lacked)),
                Some(_) => others += 1,
            }
        }
        let (node, (need, missing)) = first?;
        let Capability { name, detail, .. } = missing;
        let how = match detail.as_str() {
            "" => String::new(),
            detail => format!(": {detail}"),
        };
        let rest = match others {
            0 => String::new(),
            1 => "; nor can 1 more node".to_owned(),
            others => format!("; nor can {others} more nodes"),
        };
        Some(Unable {
            need,
            cause: format!("no selected node can run it: {node} lacks {name}{how}{rest}"),
        })
    }

    /// Gives the first need that a node is known to lack.
    fn lacked(&self, node: &NodeName, needed: &[(Need, String)]) -> Option<(Need, &Capability)> {
        let known = self.of(node);
        needed.iter().find_map(|(need, name)| {
            let lacks = |known: &&Capability| known.name == *name && !known.available;
            Some((*need, known.iter().find(lacks)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use weir_proto::model::{Ability, Scheduler};

    use super::super::needs::At;
    use super::super::samples::{capability, node, node_name};
    use super::*;

    const TWOS: Need = Need {
        at: At::Field("scheduler"),
        ability: Ability::Scheduler(Scheduler::TwoChoices),
    };
    const IPVS: Need = Need {
        at: At::Whole,
        ability: Ability::IpVs,
    };

    fn abilities(known: &[(&str, Vec<Capability>)]) -> Abilities {
        let mut abilities = Abilities::default();
        for (name, capabilities) in known {
            abilities.learn(node_name(name), capabilities.clone());
        }
        abilities
    }

    fn unable(abilities: &Abilities, names: &[&str]) -> Option<(Need, String)> {
        let nodes: Vec<Node> = names.iter().map(|name| node(name, &[])).collect();
        let unable = abilities.unable(&[IPVS, TWOS], nodes.iter())?;
        Some((unable.need, unable.cause))
    }

    #[test]
    fn what_every_node_lacks_is_told_of_the_first_with_its_reason() {
        let lacks = || {
            vec![
                capability("ip_vs", ""),
                capability("scheduler_twos", "load it"),
            ]
        };
        let known = abilities(&[("a", lacks()), ("b", lacks()), ("c", lacks())]);
        let said = "no selected node can run it: a lacks scheduler_twos: load it";
        assert_eq!(unable(&known, &["a"]), Some((TWOS, said.to_owned())));
        let one_more = format!("{said}; nor can 1 more node");
        assert_eq!(unable(&known, &["a", "b"]), Some((TWOS, one_more)));
        let two_more = format!("{said}; nor can 2 more nodes");
        assert_eq!(unable(&known, &["a", "b", "c"]), Some((TWOS, two_more)));
    }

    #[test]
    fn nodes_that_lack_different_things_can_do_no_more_together() {
        let known = abilities(&[
            ("a", vec![capability("ip_vs", "load ip_vs")]),
            ("b", vec![capability("scheduler_twos", "load it")]),
        ]);
        let said = "no selected node can run it: a lacks ip_vs: load ip_vs; nor can 1 more node";
        assert_eq!(unable(&known, &["a", "b"]), Some((IPVS, said.to_owned())));
    }

    #[test]
    fn a_node_of_which_nothing_is_said_may_be_able() {
        let lacks = vec![capability("scheduler_twos", "load it")];
        let mut known = abilities(&[
            ("a", lacks.clone()),
            ("other", vec![capability("scheduler_mh", "load it")]),
        ]);
        assert_eq!(unable(&known, &["a", "never-heard"]), None);
        assert_eq!(
            unable(&known, &["a", "other"]),
            None,
            "it says nothing of twos"
        );
        assert_eq!(unable(&known, &[]), None);
        known.learn(node_name("a"), Vec::new());
        assert_eq!(unable(&known, &["a"]), None);
    }
}
