//! What becomes of the drains of one node, from what its agent says of them. PURE
//!
//! An agent says how far each drain is, whenever that changes, and all of it again on each stream: this finds when one
//! begins, when its time is over, and when it ends.

use std::collections::BTreeMap;

use weir_proto::model::{DrainProgress, ItemKey, OnDeadline};

/// A drain that began longer ago was told of by the controller that ran then.
const RECENT_MS: u64 = 10 * 60 * 1_000;

/// The drains of a node as they were told last.
#[derive(Debug, Default)]
pub(crate) struct DrainWatch(BTreeMap<ItemKey, Seen>);

/// What happens to a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turned {
    Began,
    /// Its time is over, and connections are left.
    Deadline,
    Ended,
}

/// What happens to which drain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DrainTurn {
    pub(crate) key: ItemKey,
    pub(crate) turned: Turned,
    /// The connections that were left.
    pub(crate) left: u64,
    pub(crate) on_deadline: OnDeadline,
    /// How long it may take, in milliseconds.
    pub(crate) allowed_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Draining,
    Past,
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    stage: Stage,
    left: u64,
    on_deadline: OnDeadline,
    started_unix_ms: u64,
    deadline_unix_ms: u64,
}

impl DrainWatch {
    /// Takes what an agent says. One that it says nothing of any more is over, if it says of all (`whole`) and the backend or
    /// node does not take connections again.
    pub(crate) fn take(
        &mut self,
        (told, whole): (&[DrainProgress], bool),
        takes_again: impl Fn(&ItemKey) -> bool,
        now_unix_ms: u64,
    ) -> Vec<DrainTurn> {
        let before = std::mem::take(&mut self.0);
        let mut turns = Vec::new();
        for progress in told {
            let was = before.get(&progress.key);
            let same = was.filter(|was| was.started_unix_ms == progress.started_unix_ms);
            let mut seen = Seen {
                stage: same.map_or(Stage::Draining, |was| was.stage),
                left: progress.active.saturating_add(progress.inactive),
                on_deadline: progress.on_deadline,
                started_unix_ms: progress.started_unix_ms,
                deadline_unix_ms: progress.deadline_unix_ms,
            };
            let key = &progress.key;
            let recent = now_unix_ms.abs_diff(progress.started_unix_ms) <= RECENT_MS;
            match (same, progress.done) {
                (None, false) if recent => turns.push(seen.turn(key, Turned::Began)),
                (None, false) => {}
                (None, true) => {
                    seen.stage = Stage::Over;
                    if recent {
                        turns.push(seen.turn(key, Turned::Ended));
                    }
                }
                (Some(was), true) if was.stage != Stage::Over => {
                    turns.extend(was.end(key, now_unix_ms));
                    seen.stage = Stage::Over;
                }
                (Some(_), _) => {}
            }
            turns.extend(seen.pass(key, now_unix_ms));
            self.0.insert(*key, seen);
        }
        let went = before.iter().filter(|(key, was)| {
            whole && was.stage != Stage::Over && !self.0.contains_key(*key) && !takes_again(key)
        });
        turns.extend(went.flat_map(|(key, was)| was.end(key, now_unix_ms)));
        turns
    }

    /// Gives the drains whose time is over by now, each once.
    pub(crate) fn due(&mut self, now_unix_ms: u64) -> Vec<DrainTurn> {
        let all = self.0.iter_mut();
        all.filter_map(|(key, seen)| seen.pass(key, now_unix_ms))
            .collect()
    }

    /// Says when the time of a drain is over next, in Unix milliseconds.
    pub(crate) fn next_unix_ms(&self) -> Option<u64> {
        let all = self.0.values().filter(|seen| seen.may_pass());
        all.map(|seen| seen.deadline_unix_ms).min()
    }
}

impl Seen {
    fn may_pass(&self) -> bool {
        self.stage == Stage::Draining && self.left > 0
    }

    /// Notes that its time is over.
    fn pass(&mut self, key: &ItemKey, now_unix_ms: u64) -> Option<DrainTurn> {
        if !self.may_pass() || now_unix_ms < self.deadline_unix_ms {
            return None;
        }
        self.stage = Stage::Past;
        Some(self.turn(key, Turned::Deadline))
    }

    /// Gives what is to be told of its end: connections that were cut, too.
    fn end(mut self, key: &ItemKey, now_unix_ms: u64) -> Vec<DrainTurn> {
        let passed = self.pass(key, now_unix_ms).into_iter();
        let ended = DrainTurn {
            left: 0,
            ..self.turn(key, Turned::Ended)
        };
        passed.chain([ended]).collect()
    }

    fn turn(&self, key: &ItemKey, turned: Turned) -> DrainTurn {
        DrainTurn {
            key: *key,
            turned,
            left: self.left,
            on_deadline: self.on_deadline,
            allowed_ms: self.deadline_unix_ms.saturating_sub(self.started_unix_ms),
        }
    }
}

#[cfg(test)]
mod tests;
