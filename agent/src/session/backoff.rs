//! How long to wait before the controller is tried again. PURE
//!
//! A fleet loses its controller in one instant. Each agent waits anything from nothing to the longest wait, so that they
//! come back spread over all of it and not in waves; and the longest wait doubles with each attempt that came to nothing.

use std::time::Duration;

/// The longest first wait, since a controller's restart takes a second: five thousand agents come back in it at five a
/// millisecond, which is less than what the controller takes.
const FIRST: Duration = Duration::from_secs(1);
/// The longest wait of all: short enough that a fleet is back soon after a long outage.
const LONGEST: Duration = Duration::from_secs(15);
/// The least of what one waits at most which the controller told that it has too much to do.
const OVERLOADED: Duration = Duration::from_secs(5);

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// There was no stream, or it was lost right away.
    Early,
    /// There was one for so long.
    Stream(Duration),
    /// The controller takes no more.
    Overloaded,
}

/// What is known of the attempts so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    /// The longest wait before the attempt that is under way.
    longest: Duration,
}

impl Backoff {
    /// Gives the wait before the next attempt. `random` is any number, each as likely as another.
    pub(super) fn wait(&mut self, ended: Ended, random: u64) -> Duration {
        let doubled = (self.longest * 2).clamp(FIRST, LONGEST);
        self.longest = match ended {
            // a controller that ends every stream at once is not to be asked without pause
            Ended::Stream(lasted) if lasted > LONGEST => FIRST,
            Ended::Stream(_) | Ended::Early => doubled,
            Ended::Overloaded => doubled.max(OVERLOADED),
        };
        jittered(self.longest, random)
    }
}

/// Gives any part of a wait, from none to all of it.
fn jittered(longest: Duration, random: u64) -> Duration {
    // the upper half of the bits is as random as all of them, and exact
    longest.mul_f64((random >> u32::BITS) as f64 / (u32::MAX as f64 + 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENTS: u64 = 5_000;

    /// The numbers of `agent`, the same at each run (splitmix64).
    fn numbers(agent: u64) -> impl Iterator<Item = u64> {
        (0u64..).map(move |step| {
            let mut z = (agent * 1_000 + step).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        })
    }

    /// The most agents whose times are within any window of a length.
    fn densest(mut times: Vec<Duration>, window: Duration) -> usize {
        times.sort_unstable();
        let mut first = 0;
        let mut most = 0;
        for (last, time) in times.iter().enumerate() {
            while *time - times[first] > window {
                first += 1;
            }
            most = most.max(last + 1 - first);
        }
        most
    }

    /// When each agent is there again, if the controller is gone from 0 until `back`.
    fn returned(back: Duration) -> Vec<Duration> {
        let agent = |agent| {
            let mut backoff = Backoff::default();
            let mut now = Duration::ZERO;
            let mut ended = Ended::Stream(Duration::from_secs(3_600));
            for random in numbers(agent) {
                now += backoff.wait(ended, random);
                if now >= back {
                    break;
                }
                ended = Ended::Early;
            }
            now
        };
        (0..AGENTS).map(agent).collect()
    }

    #[test]
    fn a_wait_is_any_part_of_the_longest_and_that_doubles() {
        let mut backoff = Backoff::default();
        let half = 1 << 63;
        let early = Ended::Early;
        let waits: Vec<u128> = (0..6)
            .map(|_| backoff.wait(early, half).as_millis())
            .collect();
        assert_eq!(waits, [500, 1_000, 2_000, 4_000, 7_500, 7_500]);
        assert_eq!(backoff.wait(early, 0), Duration::ZERO);
        let most = backoff.wait(early, u64::MAX);
        assert!(
            most < LONGEST && most > LONGEST - Duration::from_millis(1),
            "{most:?}"
        );
        let lasted = |seconds| Ended::Stream(Duration::from_secs(seconds));
        assert_eq!(backoff.wait(lasted(15), half).as_millis(), 7_500);
        assert_eq!(backoff.wait(lasted(16), half).as_millis(), 500);
    }

    #[test]
    fn a_controller_that_takes_no_more_is_left_alone_for_longer() {
        let half = 1 << 63;
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..4)
            .map(|_| backoff.wait(Ended::Overloaded, half).as_millis())
            .collect();
        assert_eq!(waits, [2_500, 5_000, 7_500, 7_500]);
    }

    #[test]
    fn five_thousand_agents_that_lose_their_controller_come_back_spread_over_the_whole_wait() {
        // a tenth of a second would hold a tenth of them if they were spread evenly over the first second
        let most = densest(returned(Duration::ZERO), FIRST / 10);
        assert!(most < 600, "{most} within a tenth of a second");
    }

    #[test]
    fn after_a_long_outage_five_thousand_agents_come_back_without_a_wave() {
        for outage in [30, 60, 61, 300] {
            let back = Duration::from_secs(outage);
            let times = returned(back);
            // of what is left of a wait that is spread evenly the first part is the likeliest: 2 / 15 of them a second
            let most = densest(times.clone(), Duration::from_secs(1));
            assert!(
                most < 800,
                "{most} within a second after {outage} s of outage"
            );
            let last = times.into_iter().max().expect("agents");
            assert!(last < back + LONGEST, "{last:?} after {outage} s of outage");
        }
    }
}
