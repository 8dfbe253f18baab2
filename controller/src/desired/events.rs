//! What happened of late: a bounded list in which what happens again is counted up. PURE
//!
//! Each event that is kept has a slot of its own, which the next one gets when it goes: what is kept elsewhere is bounded by
//! the slots, whoever keeps it and however often events change. Events are in the order of their last change; whoever has
//! seen all up to one change asks for those after it.

mod drained;
mod reason;
pub(crate) mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_proto::model::NodeName;

pub(crate) use drained::DrainWatch;
pub(crate) use reason::{EventType, ObjectKind, Reason};

/// How many events are kept, as the operators' language says: of 200 bytes each some two megabytes. Another number is
/// another schema of the store.
pub(crate) const MOST_EVENTS: u16 = 10_000;
/// How long after its last time the same event is counted up.
const WINDOW_MS: u64 = 10 * 60 * 1_000;
/// How many events of a node begin within a window, of those of which it may tell any number: a hundred broken nodes leave
/// room for what everybody else tells.
const MOST_OF_NODE: u16 = 64;
/// What a message takes at most, as Kubernetes has it.
const LONGEST: usize = 1_024;

/// What it happened to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EventObject {
    pub(crate) kind: ObjectKind,
    pub(crate) name: String,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Happening {
    pub(crate) reason: Reason,
    pub(crate) node: Option<NodeName>,
    pub(crate) object: Option<EventObject>,
    /// Which part of that; empty: all of it.
    pub(crate) part: String,
    /// Who made it happen; empty: nobody asked for it.
    pub(crate) who: String,
    pub(crate) message: String,
    /// How often at once.
    pub(crate) times: u64,
}

/// Something that happened, once or several times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Tells it apart from every other.
    pub(crate) number: u64,
    pub(crate) reason: Reason,
    pub(crate) node: Option<NodeName>,
    pub(crate) object: Option<EventObject>,
    pub(crate) part: String,
    pub(crate) who: String,
    pub(crate) message: String,
    pub(crate) first_unix_ms: u64,
    pub(crate) last_unix_ms: u64,
    pub(crate) count: u64,
}

/// Events as they become durable, by their slot.
pub(crate) type EventBatch = BTreeMap<u16, Arc<Event>>;

/// What makes two events the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Same {
    reason: Reason,
    node: Option<NodeName>,
    object: Option<EventObject>,
    part: String,
    who: String,
}

/// The last events.
#[derive(Debug)]
pub(crate) struct Events {
    /// Each with its slot, by the number of its last change.
    by_change: BTreeMap<u64, (u16, Arc<Event>)>,
    /// The last change of the newest event of each sort.
    newest: BTreeMap<Same, u64>,
    free: BTreeSet<u16>,
    /// The number of the last change.
    changes: u64,
    /// The number of the newest event.
    number: u64,
    /// What changed and is not durable.
    pending: EventBatch,
    /// How many events of each node began, and since when that is counted.
    begun: BTreeMap<NodeName, (u64, u16)>,
}

impl EventObject {
    /// Names an object.
    pub(crate) fn new(kind: ObjectKind, name: impl ToString) -> Self {
        Self {
            kind,
            name: name.to_string(),
        }
    }

    /// Names a node.
    pub(crate) fn node(name: &NodeName) -> Self {
        Self::new(ObjectKind::Node, name)
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::of(MOST_EVENTS)
    }
}

impl Events {
    /// Keeps so many.
    fn of(most: u16) -> Self {
        Self {
            by_change: BTreeMap::new(),
            newest: BTreeMap::new(),
            free: (0..most).collect(),
            changes: 0,
            number: 0,
            pending: EventBatch::new(),
            begun: BTreeMap::new(),
        }
    }

    /// Takes up what was kept, by slot.
    pub(crate) fn restore(kept: BTreeMap<u16, Event>) -> Self {
        let mut events = Self::default();
        let mut kept: Vec<(u16, Event)> = kept.into_iter().collect();
        kept.sort_by_key(|(_, event)| (event.last_unix_ms, event.number));
        for (slot, event) in kept {
            events.free.remove(&slot);
            events.number = events.number.max(event.number);
            events.put(slot, event);
        }
        events
    }

    /// Adds what happens now. Says whether it is kept: a node may tell too much.
    pub(crate) fn add(&mut self, happening: Happening, now_unix_ms: u64) -> bool {
        let Happening {
            reason,
            node,
            object,
            part,
            who,
            mut message,
            times,
        } = happening;
        cut(&mut message);
        let same = Same {
            reason,
            node,
            object,
            part,
            who,
        };
        let before = self.newest.get(&same).copied();
        if let Some(change) = before
            && let Some((slot, event)) = self.by_change.get(&change)
            && now_unix_ms.saturating_sub(event.last_unix_ms) <= WINDOW_MS
        {
            let (slot, again) = (
                *slot,
                Event {
                    message,
                    // a clock that was set back moves nothing back
                    last_unix_ms: event.last_unix_ms.max(now_unix_ms),
                    count: event.count.saturating_add(times),
                    ..Event::clone(event)
                },
            );
            self.by_change.remove(&change);
            let again = self.put(slot, again);
            self.pending.insert(slot, again);
            return true;
        }
        if !self.may_begin(&same, now_unix_ms) {
            return false;
        }
        let slot = self.free.pop_first().or_else(|| self.take_oldest());
        let Some(slot) = slot else {
            return false;
        };
        self.number += 1;
        let Same {
            reason,
            node,
            object,
            part,
            who,
        } = same;
        let event = Event {
            number: self.number,
            reason,
            node,
            object,
            part,
            who,
            message,
            first_unix_ms: now_unix_ms,
            last_unix_ms: now_unix_ms,
            count: times.max(1),
        };
        let event = self.put(slot, event);
        self.pending.insert(slot, event);
        true
    }

    /// Gives the number of the last change.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Gives the events that changed after a change, as they are now, by their last change.
    pub(crate) fn after(&self, change: u64) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        let later = self.by_change.range(change.saturating_add(1)..);
        later.map(|(_, (_, event))| event)
    }

    /// Says whether something is not durable yet, nor on its way there.
    pub(crate) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes some of what is to become durable.
    pub(crate) fn take_pending(&mut self, most: usize) -> EventBatch {
        match self.pending.keys().nth(most).copied() {
            None => std::mem::take(&mut self.pending),
            Some(first_left) => {
                let left = self.pending.split_off(&first_left);
                std::mem::replace(&mut self.pending, left)
            }
        }
    }

    /// Forgets how much a node told that is gone.
    pub(crate) fn forget(&mut self, node: &NodeName) {
        self.begun.remove(node);
    }

    fn put(&mut self, slot: u16, event: Event) -> Arc<Event> {
        self.changes += 1;
        let event = Arc::new(event);
        self.newest.insert(same(&event), self.changes);
        self.by_change
            .insert(self.changes, (slot, Arc::clone(&event)));
        event
    }

    /// Lets the event go that changed longest ago. Gives its slot.
    fn take_oldest(&mut self) -> Option<u16> {
        let (change, (slot, event)) = self.by_change.pop_first()?;
        let same = same(&event);
        if self.newest.get(&same) == Some(&change) {
            self.newest.remove(&same);
        }
        Some(slot)
    }

    /// Counts that an event begins, if its node may begin one.
    fn may_begin(&mut self, same: &Same, now_unix_ms: u64) -> bool {
        let Some(node) = same.node.as_ref().filter(|_| same.reason.is_of_many()) else {
            return true;
        };
        let (since, begun) = self.begun.entry(node.clone()).or_insert((now_unix_ms, 0));
        // also after a clock was set back
        if now_unix_ms.abs_diff(*since) > WINDOW_MS {
            (*since, *begun) = (now_unix_ms, 0);
        }
        *begun = begun.saturating_add(1);
        *begun <= MOST_OF_NODE
    }
}

fn same(event: &Event) -> Same {
    Same {
        reason: event.reason,
        node: event.node.clone(),
        object: event.object.clone(),
        part: event.part.clone(),
        who: event.who.clone(),
    }
}

/// Leaves as much of a message as there is room for.
fn cut(message: &mut String) {
    if message.len() <= LONGEST {
        return;
    }
    let room = LONGEST - "...".len();
    let end = (0..=room).rev().find(|at| message.is_char_boundary(*at));
    message.truncate(end.unwrap_or_default());
    message.push_str("...");
}

#[cfg(test)]
mod tests;
