//! All that the agent counts: what the last looks found, what the controller was not told, and totals.

use std::time::Duration;

use weir_proto::model::{Conntrack, Increment, VipConnections};

use super::{Counted, SavedTotals, Totals, TotalsChange, Tracking, Traffic, VipStates};

/// The numbers of one node.
#[derive(Debug, Clone, Default)]
pub struct Numbers {
    /// What passed from look to look.
    pub traffic: Traffic,
    /// What passed, ever.
    pub totals: Totals,
    /// What connection tracking holds.
    pub tracking: Tracking,
    /// How long looks took.
    pub looks: Durations,
    /// Looks at which something could not be read.
    pub failed_looks: u64,
}

/// What one look found; none of what could not be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Look {
    /// The services of which anything is new.
    pub counted: Option<Counted>,
    /// Connection tracking as the kernel counts it; none inside: there is none.
    pub conntrack: Option<Option<Conntrack>>,
    /// How long it took.
    pub took: Duration,
}

/// What is to be told to the controller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// Of backends.
    pub increments: Vec<Increment>,
    /// Of connection tracking.
    pub conntrack: Option<Conntrack>,
    /// Of the connections of VIPs.
    pub vips: Vec<VipConnections>,
}

/// How often something took how long.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Durations {
    /// By the first of [`Self::BOUNDS`] that it did not pass; the last passed them all.
    pub buckets: [u64; 10],
    /// Seconds, all together.
    pub sum: f64,
}

impl Numbers {
    /// Goes on from the totals that are remembered; tells those of backends, too, where that is asked for.
    pub fn new(saved: SavedTotals, backends: bool) -> Self {
        Self {
            totals: Totals::new(saved, backends),
            ..Self::default()
        }
    }

    /// Takes a look.
    pub fn look(&mut self, look: Look) {
        let Look {
            counted,
            conntrack,
            took,
        } = look;
        self.looks.add(took);
        if counted.is_none() || conntrack.is_none() {
            self.failed_looks += 1;
        }
        if let Some(counted) = counted {
            self.totals.look(&counted);
            let increments = self.traffic.look(counted);
            self.totals.fail(&increments);
            if !increments.is_empty() {
                self.tracking.passed();
            }
        }
        if let Some(conntrack) = conntrack {
            if let Some(conntrack) = &conntrack {
                self.totals.lose(conntrack);
            }
            self.tracking.look(conntrack);
        }
    }

    /// Takes a look at the connections of VIPs that ended so long after the start and took so long; none if it failed.
    pub fn look_at_vips(&mut self, at: Duration, took: Duration, vips: Option<VipStates>) {
        if vips.is_none() {
            self.failed_looks += 1;
        }
        self.tracking.look_at_vips(at, took, vips);
    }

    /// Notes that nothing was told yet on a stream that begins.
    pub fn begin(&mut self) {
        self.traffic.begin();
        self.tracking.begin();
    }

    /// Takes what is to be told, at most so many numbers of VIPs.
    pub fn tell(&mut self, most_vips: usize) -> News {
        let (conntrack, vips) = self.tracking.tell(most_vips);
        News {
            increments: self.traffic.tell(),
            conntrack,
            vips,
        }
    }

    /// Takes what must be made durable now, or all that changed.
    pub fn unsaved(&mut self, all: bool) -> TotalsChange {
        self.totals.unsaved(all)
    }
}

impl News {
    /// Says whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.increments.is_empty() && self.conntrack.is_none() && self.vips.is_empty()
    }
}

impl Durations {
    /// Upper bounds in seconds: from a look at a few services to one at many.
    pub const BOUNDS: [f64; 9] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5];

    /// Gives how often there was anything.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let place = Self::BOUNDS.iter().take_while(|bound| seconds > **bound);
        if let Some(bucket) = self.buckets.get_mut(place.count()) {
            *bucket += 1;
        }
        self.sum += seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_by_the_first_bound_they_do_not_pass() {
        let mut durations = Durations::default();
        for micros in [0, 500, 501, 2_500_000, 2_500_001, 9_000_000] {
            durations.add(Duration::from_micros(micros));
        }
        assert_eq!(durations.buckets, [2, 1, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(durations.count(), 6);
        assert!((durations.sum - 14.001_002).abs() < 1e-9);
    }
}
