//! Connections and how many of them failed: whether that is more often than before. PURE

use std::collections::BTreeMap;

use weir_proto::model::ServiceName;

/// So many failures are no accident of a few connections: one client that probes a closed port opens one or two.
const LEAST_FAILED: u64 = 5;
/// A share counts as risen above this many points of a hundred: connections that are reset by clients, and handshakes that
/// are under way when a node counts, stay below it.
const MOST_POINTS: u64 = 5;
/// How long what was counted before a rollout is told of: 5-10 minutes are recent, and enough of a service that is used.
const WINDOW_MS: u64 = 5 * 60 * 1_000;

/// Connections that were opened, and of these those that failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) connections: u64,
    pub(crate) failed: u64,
}

/// What was counted of each service in the last minutes.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    now: BTreeMap<ServiceName, Count>,
    before: BTreeMap<ServiceName, Count>,
    /// When what is counted now began.
    since_unix_ms: u64,
}

impl Count {
    /// Adds another.
    pub(crate) fn add(&mut self, other: Self) {
        self.connections = self.connections.saturating_add(other.connections);
        self.failed = self.failed.saturating_add(other.failed);
    }

    /// Says why this is worse than `usual`; none: it is not. Where nothing usual is known, nothing failed.
    pub(crate) fn rise(self, usual: Self) -> Option<String> {
        let (own, other) = (u128::from(self.connections), u128::from(usual.connections));
        if self.failed < LEAST_FAILED || own == 0 {
            return None;
        }
        // self.failed / own > usual.failed / other + MOST_POINTS / 100
        let other = other.max(1);
        let share = u128::from(self.failed) * other * 100;
        let most = u128::from(usual.failed) * own * 100 + u128::from(MOST_POINTS) * own * other;
        (share > most).then(|| {
            format!(
                "connections fail more often where the batch is: {}, against {} elsewhere and before",
                self.told(),
                usual.told()
            )
        })
    }

    fn told(self) -> String {
        let Self {
            connections,
            failed,
        } = self;
        match failed.saturating_mul(1_000).checked_div(connections) {
            None => "0 of 0".to_owned(),
            Some(share) => format!("{failed} of {connections} ({}.{}%)", share / 10, share % 10),
        }
    }
}

impl Recent {
    /// Adds what was counted of a service; what is older than two windows is forgotten.
    pub(crate) fn add(&mut self, service: &ServiceName, count: Count, now_unix_ms: u64) {
        // a clock that went back begins a window, too
        let age = now_unix_ms.abs_diff(self.since_unix_ms);
        if age >= WINDOW_MS {
            let last = std::mem::take(&mut self.now);
            self.before = if age < 2 * WINDOW_MS {
                last
            } else {
                BTreeMap::new()
            };
            self.since_unix_ms = now_unix_ms;
        }
        match self.now.get_mut(service) {
            Some(counted) => counted.add(count),
            None => {
                self.now.insert(service.clone(), count);
            }
        }
    }

    /// Gives what was counted of a service.
    pub(crate) fn of(&self, service: &ServiceName) -> Count {
        let mut count = Count::default();
        for window in [&self.now, &self.before] {
            count.add(window.get(service).copied().unwrap_or_default());
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(failed: u64, connections: u64) -> Count {
        Count {
            connections,
            failed,
        }
    }

    #[test]
    fn a_rise_is_of_five_failures_and_five_points() {
        for (why, now, usual, rose) in [
            ("nothing ran", count(0, 0), count(0, 0), false),
            ("four are too few", count(4, 4), count(0, 100), false),
            ("five of five", count(5, 5), count(0, 100), true),
            (
                "five of a hundred are five points",
                count(5, 100),
                count(0, 100),
                false,
            ),
            ("six of a hundred", count(6, 100), count(0, 100), true),
            ("as often as ever", count(50, 100), count(500, 1_000), false),
            ("six points more", count(56, 100), count(500, 1_000), true),
            (
                "nothing is known of before",
                count(10, 100),
                count(0, 0),
                true,
            ),
        ] {
            assert_eq!(now.rise(usual).is_some(), rose, "{why}");
        }
        assert_eq!(
            count(12, 100).rise(count(1, 200)),
            Some(
                "connections fail more often where the batch is: 12 of 100 (12.0%), against 1 of 200 (0.5%) \
                 elsewhere and before"
                    .to_owned()
            )
        );
        assert_eq!(
            count(5, 5).rise(count(0, 0)),
            Some(
                "connections fail more often where the batch is: 5 of 5 (100.0%), against 0 of 0 elsewhere \
                 and before"
                    .to_owned()
            )
        );
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let web = crate::desired::samples::service_name("web");
        let mut recent = Recent::default();
        let start = 1_000_000_000;
        recent.add(&web, count(1, 10), start);
        recent.add(&web, count(1, 10), start + WINDOW_MS - 1);
        assert_eq!(recent.of(&web), count(2, 20));
        recent.add(&web, count(0, 5), start + WINDOW_MS);
        assert_eq!(recent.of(&web), count(2, 25));
        recent.add(&web, count(0, 1), start + 2 * WINDOW_MS);
        assert_eq!(recent.of(&web), count(0, 6));
        recent.add(&web, count(0, 1), start + 9 * WINDOW_MS);
        assert_eq!(recent.of(&web), count(0, 1));
    }
}
