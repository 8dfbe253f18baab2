//! What one node is sent, and when. PURE
//!
//! - One update is under way at a time. What changes meanwhile waits, and goes as one update. Where answers may wait, a few
//!   follow each other without one, each a change to the one before; nothing follows a snapshot before it is answered.
//! - Generations never go back: each update is above everything the node holds.
//! - A node that holds what it must and may not know which cluster this is gets one update that changes nothing: it holds
//!   back what another cluster than the one it knows would take away.
//! - Content that a node refused is sent to it once more, whole, if the node asks for that; then it waits
//!   until the content is another.

use std::collections::VecDeque;

use weir_proto::digest::Digest;
use weir_proto::faults::{Bug, planted};
use weir_proto::model::Generation;

use super::view::{CatchUp, Content, View, ViewMut};

/// How many times one content is sent: as a delta, and whole. A third time would meet the same answer.
const MOST_TRIES: u32 = 2;

/// How many updates are under way at most, as node.proto says: some of them every 50 ms, as a fleet of a thousand takes them one
/// after the other, need no more, and a node that reads nothing keeps no more of them waiting.
pub(crate) const MOST_UNDER_WAY: usize = 8;

/// A node's next state, as a change to an earlier one or whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Update {
    pub(crate) generation: Generation,
    /// What it is a change to; none: it is whole.
    pub(crate) base: Option<Generation>,
    pub(crate) content: Content,
    /// Of the state that results.
    pub(crate) digest: Digest,
}

/// Why a node did not take a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RejectedReason {
    Stale,
    Conflict,
    Base,
    Digest,
    Invalid,
    Journal,
}

/// What a node says when it does not take a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) generation: Generation,
    pub(crate) reason: RejectedReason,
    pub(crate) cause: String,
    /// What it holds instead.
    pub(crate) held: Option<(Generation, Digest)>,
}

/// What one node holds, and what is on its way there.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    held: Option<(Generation, Digest)>,
    /// The oldest first.
    in_flight: VecDeque<(Generation, Digest)>,
    /// One of them is a snapshot, or says only which cluster this is.
    alone: bool,
    /// The newest generation that the node may still refuse although it counts no more: it followed a refused one.
    passed: Generation,
    /// The content refused last, and how many times.
    refused: Option<(Digest, u32)>,
    /// The node cannot build on what it holds.
    whole: bool,
    /// The node may know another cluster, or none.
    unnamed: bool,
}

impl Feed {
    /// Begins with what a node says it holds. Lifts the view's generation to that: a controller that lost
    /// its count takes it up again.
    pub(crate) fn hello(held: Option<(Generation, Digest)>, view: &mut ViewMut<'_>) -> Self {
        if !planted(Bug::GenerationReset) {
            view.raise(held.map_or(Generation(0), |(generation, _)| generation));
        }
        Self {
            whole: held.is_some() && planted(Bug::StaleSnapshot),
            ..Self::holding(held)
        }
    }

    /// Tells the node which cluster this is, if `unnamed`, even where nothing else is to be told.
    pub(crate) fn naming(self, unnamed: bool) -> Self {
        Self { unnamed, ..self }
    }

    fn holding(held: Option<(Generation, Digest)>) -> Self {
        Self {
            held,
            ..Self::default()
        }
    }

    /// Gives what the node holds.
    pub(crate) fn held(&self) -> Option<(Generation, Digest)> {
        self.held
    }

    /// Says whether the node holds a generation.
    pub(crate) fn holds(&self, generation: Generation) -> bool {
        self.held.is_some_and(|(held, _)| held == generation)
    }

    /// Gives what was sent to the node last, or what it holds.
    pub(crate) fn sent(&self) -> Option<(Generation, Digest)> {
        self.in_flight.back().copied().or(self.held)
    }

    /// Gives the newest generation that was sent to the node, or that it holds.
    pub(crate) fn newest(&self) -> Generation {
        self.sent()
            .map_or(Generation(0), |(generation, _)| generation)
    }

    /// Says whether the node holds what it must, by whatever generation it knows it, and goes on holding it: what is under
    /// way replaces it, even where the content has since gone back to what the node holds.
    pub(crate) fn is_current(&self, view: &View<'_>) -> bool {
        !self.is_under_way() && view.is(self.held_digest())
    }

    /// Says whether the node holds what it must, or takes it before whatever else it is sent now, and may say so later.
    pub(crate) fn is_told(&self, view: &View<'_>, answers_wait: bool) -> bool {
        let sent = self.sent().map(|(_, digest)| digest);
        self.is_current(view) || (answers_wait && !self.alone && view.is(sent))
    }

    /// Counts the updates that are under way, which the node has not answered.
    pub(crate) fn under_way(&self) -> usize {
        self.in_flight.len()
    }

    /// Says whether there is any.
    pub(crate) fn is_under_way(&self) -> bool {
        self.under_way() > 0
    }

    /// Says whether another update may go now, where answers may wait or not.
    pub(crate) fn has_room(&self, answers_wait: bool) -> bool {
        match self.under_way() {
            0 => true,
            under_way => answers_wait && !self.alone && under_way < MOST_UNDER_WAY,
        }
    }

    /// Gives the update to send now, if there is one; it is under way from here on. Those that are under way already are what it
    /// builds on, where answers may wait.
    pub(crate) fn next(&mut self, view: &mut ViewMut<'_>, answers_wait: bool) -> Option<Update> {
        if !self.has_room(answers_wait) {
            return None;
        }
        let digest = view.look().digest();
        if self.given_up() == Some(digest) {
            return None;
        }
        let names = self.must_name(&view.look());
        let before = self.sent();
        let catch_up = match view.catch_up(before.map(|(_, digest)| digest)) {
            CatchUp::Delta(_) if self.whole => view.snapshot(),
            CatchUp::Nothing if names => CatchUp::Delta(Content::default()),
            catch_up => catch_up,
        };
        let (base, content) = match catch_up {
            CatchUp::Nothing => return None,
            CatchUp::Snapshot(_) if self.is_under_way() => return None,
            CatchUp::Snapshot(content) => (None, content),
            CatchUp::Delta(content) => (before.map(|(generation, _)| generation), content),
        };
        // what it holds, or will, is not this update, so this is a later generation; and 0 would mean none
        let least = self.newest().max(self.passed).next();
        if !planted(Bug::GenerationReset) {
            view.raise(least);
        }
        let generation = view.look().generation();
        self.in_flight.push_back((generation, digest));
        self.alone = base.is_none() || names;
        let digest = match planted(Bug::StaleSnapshot) && base.is_none() {
            true => content.digest(),
            false => digest,
        };
        Some(Update {
            generation,
            base,
            content,
            digest,
        })
    }

    /// Gives the content that the node does not take and is not sent again; none: there is no such, or something else is under
    /// way.
    pub(crate) fn given_up(&self) -> Option<Digest> {
        let (digest, _) = self.refused.filter(|(_, times)| *times >= MOST_TRIES)?;
        (!self.is_under_way()).then_some(digest)
    }

    /// Has the node asked once more for what it did not take.
    pub(crate) fn ask_again(&mut self) {
        self.refused = None;
    }

    /// Says whether an operator has confirmed all that an update brings the node: what the node holds when it comes is older than
    /// what was confirmed, and nothing came after that. What came later nobody has confirmed, and in one update with it the two
    /// cannot be told apart. Of a node that holds nothing it is not known what it misses.
    pub(crate) fn brings_confirmed(&self, confirmed: Generation, update: &Update) -> bool {
        let held = self.held.map(|(held, _)| held);
        let older = update.base.or(held).is_some_and(|held| held < confirmed);
        older && confirmed == update.generation
    }

    /// Notes that a generation is durable on the node, and all before it. Says whether it was under way.
    pub(crate) fn accepted(&mut self, generation: Generation) -> bool {
        let mut under_way = self.in_flight.iter();
        let Some(place) = under_way.position(|(sent, _)| *sent == generation) else {
            return false;
        };
        self.held = self.in_flight.drain(..=place).next_back();
        self.refused = None;
        (self.whole, self.unnamed, self.alone) = (false, false, false);
        true
    }

    /// Says whether a node refuses what followed something that it refused before: it says nothing new.
    pub(crate) fn passes_over(&self, rejected: &Rejected) -> bool {
        let generation = rejected.generation;
        let mut under_way = self.in_flight.iter();
        generation <= self.passed && !under_way.any(|(sent, _)| *sent == generation)
    }

    /// Notes that a generation was not taken. Says whether it was under way. What followed it builds on what the node does not
    /// hold: it counts no more, and whatever the node says of it changes nothing.
    pub(crate) fn rejected(&mut self, rejected: &Rejected) -> bool {
        let mut under_way = self.in_flight.iter();
        let it = under_way.find(|(sent, _)| *sent == rejected.generation);
        let Some(&(generation, digest)) = it else {
            return false;
        };
        if self.newest() > generation {
            self.passed = self.newest();
        }
        self.in_flight.clear();
        self.alone = false;
        self.held = rejected.held;
        let times = match self.refused {
            Some((refused, times)) if refused == digest => times,
            _ => 0,
        };
        let (tries, whole) = match rejected.reason {
            RejectedReason::Stale
            | RejectedReason::Conflict
            | RejectedReason::Base
            | RejectedReason::Digest => (times + 1, true),
            // the same bytes would meet the same answer
            RejectedReason::Invalid | RejectedReason::Journal => (MOST_TRIES, self.whole),
        };
        self.refused = Some((digest, tries));
        self.whole = whole;
        true
    }

    /// With an empty state there is nothing to take away.
    fn must_name(&self, view: &View<'_>) -> bool {
        self.unnamed && !self.is_under_way() && self.held.is_some() && view.len() > 0
    }

    fn held_digest(&self) -> Option<Digest> {
        self.held.map(|(_, digest)| digest)
    }
}

impl RejectedReason {
    /// Gives the reason as the node writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "STALE",
            Self::Conflict => "CONFLICT",
            Self::Base => "BASE",
            Self::Digest => "DIGEST",
            Self::Invalid => "INVALID",
            Self::Journal => "JOURNAL",
        }
    }
}

#[cfg(test)]
mod tests;
