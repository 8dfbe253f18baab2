//! What a change that was prepared, and not taken, would bring one node. PURE

use std::collections::BTreeSet;

use weir_proto::model::{Item, ItemKey, NodeName};

use super::groups::Views;
use super::prepare::ViewsChange;

impl Views {
    /// Gives the items that would come to a node and those that would go from it; none: there is no such node.
    pub(crate) fn staged(
        &self,
        change: &ViewsChange,
        name: &NodeName,
    ) -> Option<(Vec<Item>, Vec<ItemKey>)> {
        let own = self.nodes.get(name)?;
        let view = self.get(name)?;
        let of_group = change
            .transitions
            .iter()
            .filter(|it| it.from == own.group());
        let leaves = |it: &&super::prepare::Transition| {
            it.leaving
                .as_ref()
                .is_some_and(|nodes| nodes.contains(name))
        };
        let transition = of_group.clone().find(leaves);
        let transition = transition.or_else(|| of_group.clone().find(|it| it.leaving.is_none()));
        let own_change = change.own.get(name);
        let mut keys: BTreeSet<ItemKey> = BTreeSet::new();
        keys.extend(transition.iter().flat_map(|it| it.common.keys().iter()));
        keys.extend(own_change.iter().flat_map(|it| it.touched()));
        let (mut upserted, mut removed) = (Vec::new(), Vec::new());
        for key in keys {
            let common = match transition.and_then(|it| it.common.becomes(&key)) {
                Some(becomes) => becomes,
                None => view.common.state().get(&key),
            };
            let alone = match own_change.and_then(|it| it.becomes(&key)) {
                Some(becomes) => becomes,
                None => own.get(&key),
            };
            let before = view.get(&key);
            match common.or(alone) {
                after if after == before => {}
                Some(item) => upserted.push(item.clone()),
                None => removed.push(key),
            }
        }
        Some((upserted, removed))
    }
}
