//! What a node holds beside what it has in common with others, and where it came from. PURE
//!
//! An item that is claimed here and in common counts once: it is shown here only while what is common does not hold it.
//! What is shown here changes, then, also when what is common does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use weir_proto::digest::Digest;
use weir_proto::model::{Generation, Item, ItemKey};

use super::super::compile::Part;
use super::groups::GroupId;
use super::history::{LONGEST_HISTORY, MOST_CHANGES};

/// What only one node holds, its generation, and the groups it was in.
#[derive(Debug)]
pub(super) struct Own {
    claims: BTreeMap<ItemKey, (Item, u32)>,
    /// How many items are shown.
    shown: usize,
    /// Of what is shown.
    digest: Digest,
    pub(super) generation: Generation,
    steps: VecDeque<OwnStep>,
    /// How many keys the steps hold.
    changes: usize,
}

/// What was shown after a change, and of which group the node was.
#[derive(Debug)]
pub(super) struct OwnStep {
    pub(super) digest: Digest,
    /// In which it differs from what was shown before.
    pub(super) keys: Box<[ItemKey]>,
    pub(super) group: GroupId,
    /// How the node came into the group; none: it was in it before, or nobody knows more.
    pub(super) moved: Option<Box<Move>>,
}

/// The way from one group to another.
#[derive(Debug, Clone)]
pub(super) struct Move {
    /// The state of the group before in which the node left it.
    pub(super) left: u64,
    /// The state of the group in which the node came.
    pub(super) came: u64,
    /// The keys in which the two differ; none: nobody knows.
    pub(super) between: Option<Arc<[ItemKey]>>,
}

/// A change of what only one node holds that could be taken.
#[derive(Debug)]
pub(super) struct OwnChange {
    slots: BTreeMap<ItemKey, Option<(Item, u32)>>,
    shown: usize,
    pub(super) digest: Digest,
    keys: Vec<ItemKey>,
}

/// Whether what is common holds a key, before a change and after.
pub(super) struct Held<B, A> {
    pub(super) before: B,
    pub(super) after: A,
}

impl OwnChange {
    /// Gives the keys of which something may become else.
    pub(super) fn touched(&self) -> impl Iterator<Item = &ItemKey> {
        self.slots.keys()
    }

    /// Gives what a key becomes, nothing if it goes; none: it stays as it is.
    pub(super) fn becomes(&self, key: &ItemKey) -> Option<Option<&Item>> {
        let slot = self.slots.get(key)?;
        Some(slot.as_ref().map(|(item, _)| item))
    }
}

impl Own {
    /// Begins with what is claimed for a node that is in a group, given what of that the group holds.
    pub(super) fn new<'a>(
        claims: impl Iterator<Item = &'a Item>,
        group: GroupId,
        in_common: impl Fn(&ItemKey) -> bool,
    ) -> Self {
        let mut own = Self {
            claims: BTreeMap::new(),
            shown: 0,
            digest: Digest::default(),
            generation: Generation::default(),
            steps: VecDeque::new(),
            changes: 0,
        };
        for item in claims {
            let key = item.key();
            let (_, claims) = own.claims.entry(key).or_insert_with(|| (item.clone(), 0));
            *claims += 1;
            if *claims == 1 && !in_common(&key) {
                own.shown += 1;
                own.digest.add(item);
            }
        }
        own.go_on(Vec::new(), group, None);
        own
    }

    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// Counts the items that are shown.
    pub(super) fn shown(&self) -> usize {
        self.shown
    }

    /// Gives the items, those that are not shown included.
    pub(super) fn items(&self) -> impl Iterator<Item = (&ItemKey, &Item)> {
        self.claims.iter().map(|(key, (item, _))| (key, item))
    }

    pub(super) fn get(&self, key: &ItemKey) -> Option<&Item> {
        self.claims.get(key).map(|(item, _)| item)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }

    /// Gives the group the node is in.
    pub(super) fn group(&self) -> GroupId {
        let newest = self.steps.back();
        newest.map_or(GroupId::default(), |step| step.group)
    }

    pub(super) fn steps(&self) -> &VecDeque<OwnStep> {
        &self.steps
    }

    /// Works out what a change of what services claim of this node alone, and of what is common, does; none: nothing.
    pub(super) fn prepare(
        &self,
        parts: &[Part<'_>],
        turned: &[ItemKey],
        held: Held<impl Fn(&ItemKey) -> bool, impl Fn(&ItemKey) -> bool>,
    ) -> Option<OwnChange> {
        let mut slots: BTreeMap<ItemKey, Option<(Item, u32)>> = BTreeMap::new();
        let slot = |key: &ItemKey| self.claims.get(key).cloned();
        for key in parts.iter().flat_map(|part| &part.released) {
            let slot = slots.entry(*key).or_insert_with(|| slot(key));
            *slot = slot.take().and_then(|(item, claims)| {
                let claims = claims.saturating_sub(1);
                (claims > 0).then_some((item, claims))
            });
        }
        for item in parts.iter().flat_map(|part| &part.claimed) {
            let key = item.key();
            let slot = slots.entry(key).or_insert_with(|| slot(&key));
            let claims = slot.as_ref().map_or(0, |(_, claims)| *claims);
            *slot = Some(((*item).clone(), claims + 1));
        }
        for item in parts.iter().flat_map(|part| &part.edited) {
            let key = item.key();
            let slot = slots.entry(key).or_insert_with(|| slot(&key));
            let claims = slot.as_ref().map_or(1, |(_, claims)| *claims);
            *slot = Some(((*item).clone(), claims));
        }
        for key in turned {
            if let Some(claimed) = self.claims.get(key) {
                slots.entry(*key).or_insert_with(|| Some(claimed.clone()));
            }
        }
        if slots.is_empty() {
            return None;
        }
        let mut change = OwnChange {
            slots,
            shown: self.shown,
            digest: self.digest,
            keys: Vec::new(),
        };
        for (key, slot) in &change.slots {
            let before = self.get(key).filter(|_| !(held.before)(key));
            let after = slot.as_ref().map(|(item, _)| item);
            let after = after.filter(|_| !(held.after)(key));
            if before != after {
                if let Some(item) = before {
                    change.digest.remove(item);
                    change.shown -= 1;
                }
                if let Some(item) = after {
                    change.digest.add(item);
                    change.shown += 1;
                }
                change.keys.push(*key);
            }
        }
        Some(change)
    }

    /// Takes a change that was prepared on just this. Gives the keys in which what is shown differs.
    pub(super) fn take(&mut self, change: OwnChange) -> Vec<ItemKey> {
        let OwnChange {
            slots,
            shown,
            digest,
            keys,
        } = change;
        for (key, slot) in slots {
            match slot {
                Some(slot) => self.claims.insert(key, slot),
                None => self.claims.remove(&key),
            };
        }
        self.shown = shown;
        self.digest = digest;
        keys
    }

    /// Notes what is shown now, in which group.
    pub(super) fn go_on(&mut self, keys: Vec<ItemKey>, group: GroupId, moved: Option<Move>) {
        if keys.is_empty() && moved.is_none() && !self.steps.is_empty() {
            return;
        }
        self.changes += keys.len();
        self.steps.push_back(OwnStep {
            digest: self.digest,
            keys: keys.into(),
            group,
            moved: moved.map(Box::new),
        });
        while self.steps.len() > 1
            && (self.steps.len() > LONGEST_HISTORY || self.changes > MOST_CHANGES)
        {
            if let Some(oldest) = self.steps.pop_front() {
                self.changes -= oldest.keys.len();
            }
            // what led to the oldest leads from nowhere
            if let Some(next) = self.steps.front_mut() {
                self.changes -= next.keys.len();
                next.keys = Box::default();
                next.moved = None;
            }
        }
    }

    /// Begins in a group that is known only now.
    pub(super) fn begin(&mut self, group: GroupId) {
        self.steps.clear();
        self.go_on(Vec::new(), group, None);
    }

    /// Gives the keys in which what is shown may differ from what was shown after a step.
    pub(super) fn keys_after(&self, step: usize) -> BTreeSet<ItemKey> {
        let since = self.steps.iter().skip(step + 1);
        since.flat_map(|step| step.keys.iter()).copied().collect()
    }
}
