//! What one node is sent, and when. PURE
//!
//! - One update is under way at a time. What changes meanwhile waits, and goes as one update.
//! - Generations never go back: each update is above everything the node holds.
//! - A node that holds what it must and may not know which cluster this is gets one update that changes nothing: it holds
//!   back what another cluster than the one it knows would take away.
//! - Content that a node refused is sent to it once more, whole, if the node asks for that; then it waits
//!   until the content is another.

use weir_proto::digest::Digest;
use weir_proto::faults::{Bug, planted};
use weir_proto::model::Generation;

use super::view::{CatchUp, Content, View, ViewMut};

/// How many times one content is sent: as a delta, and whole. A third time would meet the same answer.
const MOST_TRIES: u32 = 2;

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
    in_flight: Option<(Generation, Digest)>,
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
        self.in_flight.or(self.held)
    }

    /// Gives the newest generation that was sent to the node, or that it holds.
    pub(crate) fn newest(&self) -> Generation {
        self.sent()
            .map_or(Generation(0), |(generation, _)| generation)
    }

    /// Says whether the node holds what it must, by whatever generation it knows it, and goes on holding it: what is under
    /// way replaces it, even where the content has since gone back to what the node holds.
    pub(crate) fn is_current(&self, view: &View<'_>) -> bool {
        self.in_flight.is_none() && view.is(self.held_digest())
    }

    /// Says whether an update is under way, which the node has not answered.
    pub(crate) fn is_under_way(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Gives the update to send now, if there is one; it is under way from here on.
    pub(crate) fn next(&mut self, view: &mut ViewMut<'_>) -> Option<Update> {
        if self.is_under_way() {
            return None;
        }
        let digest = view.look().digest();
        if self.given_up() == Some(digest) {
            return None;
        }
        let catch_up = match view.catch_up(self.held_digest()) {
            CatchUp::Delta(_) if self.whole => view.snapshot(),
            CatchUp::Nothing if self.must_name(&view.look()) => CatchUp::Delta(Content::default()),
            catch_up => catch_up,
        };
        let (base, content) = match catch_up {
            CatchUp::Nothing => return None,
            CatchUp::Snapshot(content) => (None, content),
            CatchUp::Delta(content) => (self.held.map(|(generation, _)| generation), content),
        };
        // what it holds is not this update, so this is a later generation; and 0 would mean none
        let held = self.held.map_or(Generation(0), |(held, _)| held);
        if !planted(Bug::GenerationReset) {
            view.raise(held.next());
        }
        let generation = view.look().generation();
        self.in_flight = Some((generation, digest));
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
        self.in_flight.is_none().then_some(digest)
    }

    /// Has the node asked once more for what it did not take.
    pub(crate) fn ask_again(&mut self) {
        self.refused = None;
    }

    /// Says whether an operator has confirmed all that an update brings the node: what the node holds is older than what
    /// was confirmed, and nothing came after that. What came later nobody has confirmed, and in one update with it the two
    /// cannot be told apart. Of a node that holds nothing it is not known what it misses.
    pub(crate) fn brings_confirmed(&self, confirmed: Generation, update: &Update) -> bool {
        let older = self.held.is_some_and(|(held, _)| held < confirmed);
        older && confirmed == update.generation
    }

    /// Notes that a generation is durable on the node. Says whether it was the one under way.
    pub(crate) fn accepted(&mut self, generation: Generation) -> bool {
        match self.in_flight {
            Some(sent) if sent.0 == generation => {
                *self = Self::holding(Some(sent));
                true
            }
            _ => false,
        }
    }

    /// Notes that a generation was not taken. Says whether it was the one under way.
    pub(crate) fn rejected(&mut self, rejected: &Rejected) -> bool {
        let Some((_, digest)) = self.in_flight.take_if(|sent| sent.0 == rejected.generation) else {
            return false;
        };
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
        self.unnamed && self.held.is_some() && view.len() > 0
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
