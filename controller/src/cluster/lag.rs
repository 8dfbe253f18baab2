//! Since when a node is behind: what it is to have and has not yet.

use std::collections::VecDeque;

use tokio::time::Instant;
use weir_proto::model::Generation;

/// How many updates are told apart at most: where the kernel is behind by more, the ones after that count as the last of them.
const MOST: usize = 64;

/// Changes that a node has not yet, by when the first of those that go together was asked for.
#[derive(Debug, Default)]
pub(super) struct Lag {
    /// Not sent yet.
    waits: Option<Instant>,
    /// Sent, the oldest first.
    sent: VecDeque<(Generation, Instant)>,
}

impl Lag {
    /// Notes a change that the node is to have, asked for then.
    pub(super) fn wants(&mut self, asked: Instant) {
        self.waits.get_or_insert(asked);
    }

    /// Notes that all that waited was sent.
    pub(super) fn sent(&mut self, generation: Generation) {
        let Some(asked) = self.waits.take() else {
            return;
        };
        let full = self.sent.len() == MOST;
        match self.sent.back_mut() {
            Some((last, _)) if full => *last = generation,
            _ => self.sent.push_back((generation, asked)),
        }
    }

    /// Notes that what was sent has to be sent again.
    pub(super) fn again(&mut self) {
        self.waits = self.since();
        self.sent.clear();
    }

    /// Notes that the node has a generation, and all before it. Gives when each update that it has by that was asked for.
    pub(super) fn has(&mut self, generation: Generation) -> impl Iterator<Item = Instant> {
        let later = self.sent.iter().position(|(sent, _)| *sent > generation);
        let here = later.unwrap_or(self.sent.len());
        self.sent.drain(..here).map(|(_, asked)| asked)
    }

    /// Notes that the node has all that it is to have. Gives when each update was asked for that it has by that.
    pub(super) fn has_all(&mut self) -> impl Iterator<Item = Instant> {
        let waited = self.waits.take();
        self.sent.drain(..).map(|(_, asked)| asked).chain(waited)
    }

    /// Gives when the first change was asked for that the node has not yet; none: it has all that it is to have.
    pub(super) fn since(&self) -> Option<Instant> {
        let first = self.sent.front().map(|(_, asked)| *asked);
        first.or(self.waits)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_node_is_behind_since_the_first_change_that_it_has_not() {
        let begun = Instant::now();
        let at = |second| begun + Duration::from_secs(second);
        let mut lag = Lag::default();
        assert_eq!(lag.since(), None);
        lag.wants(at(1));
        lag.wants(at(2));
        lag.sent(Generation(3));
        lag.wants(at(4));
        lag.sent(Generation(5));
        lag.sent(Generation(6));
        lag.wants(at(7));
        assert_eq!(lag.since(), Some(at(1)));
        assert!(lag.has(Generation(2)).next().is_none());
        assert_eq!(Vec::from_iter(lag.has(Generation(4))), [at(1)]);
        assert_eq!(lag.since(), Some(at(4)));
        lag.again();
        assert_eq!(lag.since(), Some(at(4)), "it is sent as one");
        lag.sent(Generation(8));
        lag.wants(at(9));
        assert_eq!(Vec::from_iter(lag.has_all()), [at(4), at(9)]);
        assert_eq!(lag.since(), None);
    }

    #[test]
    fn a_kernel_that_is_far_behind_takes_no_more_memory_for_it() {
        let begun = Instant::now();
        let mut lag = Lag::default();
        for generation in 1..=1_000 {
            lag.wants(begun + Duration::from_secs(generation));
            lag.sent(Generation(generation));
        }
        assert_eq!(lag.has(Generation(999)).count(), MOST - 1);
        let last = begun + Duration::from_secs(MOST as u64);
        assert_eq!(lag.since(), Some(last));
        assert_eq!(Vec::from_iter(lag.has(Generation(1_000))), [last]);
    }
}
