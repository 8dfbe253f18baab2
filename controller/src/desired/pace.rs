//! How long the answers of a fleet may wait. PURE
//!
//! Each agent answers what it is sent, and each answer is a message to read. A fleet that is changed all the time says the same
//! with fewer of them, each for all that came since the one before.

use std::time::Duration;

/// What a thousand agents say if each is sent something every 200 ms: a tenth of a core, whatever the fleet's size.
const ANSWERS_PER_SECOND: u64 = 5_000;
/// With less the answers of two updates seldom meet.
const LEAST: Duration = Duration::from_millis(10);
/// Whoever waits for a change waits no longer, as node.proto says.
const MOST: Duration = Duration::from_secs(1);

/// How many answers all agents together give in a second, as far as the longest wait allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Answers in a second; 0: each agent waits as long as it may.
    pub(crate) answers_per_second: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            answers_per_second: ANSWERS_PER_SECOND,
        }
    }
}

impl Pace {
    /// Gives how long two answers of each of so many agents may lie apart; zero: each answers at once.
    pub(crate) fn answer_within(self, agents: u64) -> Duration {
        let all = Duration::from_secs(1).saturating_mul(u32::try_from(agents).unwrap_or(u32::MAX));
        let rate = u32::try_from(self.answers_per_second).unwrap_or(u32::MAX);
        let each = all.checked_div(rate).unwrap_or(MOST).min(MOST);
        match each < LEAST {
            true => Duration::ZERO,
            false => each,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_answers_so_often_in_all_and_each_agent_once_a_second_at_least() {
        let within = |agents| Pace::default().answer_within(agents).as_millis();
        assert_eq!([0, 1, 49].map(within), [0, 0, 0]);
        assert_eq!([50, 100, 1_000].map(within), [10, 20, 200]);
        assert_eq!([5_000, 100_000, u64::MAX].map(within), [1_000; 3]);
    }
}
