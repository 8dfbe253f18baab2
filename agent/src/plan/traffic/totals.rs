//! Totals that never go back, though the kernel's own do.
//!
//! The kernel counts a service as long as it stands, whoever looks: an agent that starts again finds its counts there. So a
//! total is what the kernel shows now, and what it had shown whenever it began anew (zeroed, the module loaded again, the
//! service made anew). Only the latter must be remembered, and it changes seldom: it is durable at the look that
//! finds it, like what is counted here alone (failed connections). What the kernel showed last is made durable at a slow pace and at a
//! stop, so that a kernel that began anew meanwhile is told from one that went on. What is lost if both an agent is killed and the
//! kernel begins anew is what passed since it was last made durable.

use std::collections::{BTreeMap, BTreeSet};

use weir_proto::model::{Conntrack, Endpoint, Frontend, Increment};

use super::{Counted, Passed};

/// Whose total: a service's, or one backend's of it.
pub type Counter = (Frontend, Option<Endpoint>);

/// Of services and backends that have gone so many are remembered, should they return.
const MOST_GONE: usize = 1_024;

/// What passed, ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// What the kernel had counted when it last began anew.
    pub before: Passed,
    /// What it has counted since.
    pub counted: Passed,
    /// Connections that failed.
    pub failed: u64,
}

/// Packets dropped, entries not inserted and entries thrown out early by connection tracking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// When the kernel last began anew.
    pub before: [u64; 3],
    /// Since.
    pub counted: [u64; 3],
}

/// What is remembered of totals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SavedTotals {
    /// Of services, and of backends where these are told.
    pub passed: BTreeMap<Counter, Total>,
    /// Of connection tracking.
    pub lost: Losses,
}

/// What is to be remembered from now on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TotalsChange {
    /// These have changed.
    pub passed: BTreeMap<Counter, Total>,
    /// These are forgotten.
    pub forgotten: BTreeSet<Counter>,
    /// None: as it was.
    pub lost: Option<Losses>,
}

/// The totals of all services, and of their backends where these are told.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    backends: bool,
    looked: bool,
    passed: BTreeMap<Counter, Total>,
    /// Those that the kernel does not have.
    gone: BTreeSet<Counter>,
    lost: Losses,
    unsaved: Unsaved,
}

/// What has changed since it was made durable.
#[derive(Debug, Clone, Default)]
struct Unsaved {
    /// What nobody could find out again.
    now: BTreeSet<Counter>,
    /// What the kernel knows, too.
    later: BTreeSet<Counter>,
    forgotten: BTreeSet<Counter>,
    lost_now: bool,
    lost_later: bool,
}

impl Total {
    /// Gives all of it.
    pub fn passed(&self) -> Passed {
        self.before.plus(&self.counted)
    }

    fn look(&mut self, now: Passed) -> bool {
        let anew = now.since(&self.counted).is_none();
        if anew {
            self.begin_anew();
        }
        self.counted = now;
        anew
    }

    fn begin_anew(&mut self) {
        self.before = self.passed();
        self.counted = Passed::default();
    }
}

impl Losses {
    /// Gives all of it.
    pub fn all(&self) -> [u64; 3] {
        let mut all = self.before;
        for (all, more) in all.iter_mut().zip(self.counted) {
            *all = all.saturating_add(more);
        }
        all
    }
}

impl From<SavedTotals> for TotalsChange {
    /// Gives what makes durable all that is remembered.
    fn from(saved: SavedTotals) -> Self {
        let SavedTotals { passed, lost } = saved;
        Self {
            passed,
            forgotten: BTreeSet::new(),
            lost: (lost != Losses::default()).then_some(lost),
        }
    }
}

impl TotalsChange {
    /// Says whether there is nothing to remember.
    pub fn is_empty(&self) -> bool {
        self.passed.is_empty() && self.forgotten.is_empty() && self.lost.is_none()
    }
}

impl Totals {
    /// Goes on from what is remembered; of backends, too, where these are told.
    pub fn new(saved: SavedTotals, backends: bool) -> Self {
        let SavedTotals { mut passed, lost } = saved;
        let mut unsaved = Unsaved::default();
        if !backends {
            let told = |counter: &Counter| counter.1.is_none();
            unsaved.forgotten = passed.keys().filter(|key| !told(key)).copied().collect();
            passed.retain(|counter, _| told(counter));
        }
        Self {
            backends,
            looked: false,
            gone: passed.keys().copied().collect(),
            passed,
            lost,
            unsaved,
        }
    }

    /// Takes a look at the services of which anything is new; at the first, at all.
    pub fn look(&mut self, counted: &Counted) {
        for (frontend, service) in counted {
            let Some(service) = service else {
                self.go((*frontend, None));
                self.go_but(*frontend, |_| false);
                continue;
            };
            self.count((*frontend, None), service.passed);
            if self.backends {
                self.go_but(*frontend, |endpoint| {
                    service.backends.contains_key(endpoint)
                });
                for (endpoint, counters) in &service.backends {
                    self.count((*frontend, Some(*endpoint)), counters.passed);
                }
            }
        }
        if !self.looked {
            self.looked = true;
            for counter in self.gone.clone() {
                self.go(counter);
            }
        }
    }

    /// Adds the connections that failed.
    pub fn fail(&mut self, increments: &[Increment]) {
        for increment in increments.iter().filter(|increment| increment.failed > 0) {
            let backend = increment.backend;
            let of_backend = (backend.frontend, Some(backend.endpoint));
            for counter in [(backend.frontend, None), of_backend] {
                if let Some(total) = self.passed.get_mut(&counter) {
                    total.failed = total.failed.saturating_add(increment.failed);
                    self.unsaved.now.insert(counter);
                }
            }
        }
    }

    /// Takes a look at what connection tracking has lost.
    pub fn lose(&mut self, now: &Conntrack) {
        let now = [now.dropped, now.insert_failed, now.early_dropped];
        if now == self.lost.counted {
            return;
        }
        let mut pairs = now.iter().zip(&self.lost.counted);
        if pairs.any(|(now, before)| now < before) {
            self.lost.before = self.lost.all();
            self.unsaved.lost_now = true;
        }
        self.lost.counted = now;
        self.unsaved.lost_later = true;
    }

    /// Gives the totals of what is there.
    pub fn passed(&self) -> impl Iterator<Item = (&Counter, &Total)> {
        let all = self.passed.iter();
        all.filter(|(counter, _)| !self.gone.contains(*counter))
    }

    /// Says whether those of backends are told.
    pub fn has_backends(&self) -> bool {
        self.backends
    }

    /// Gives what connection tracking has lost.
    pub fn lost(&self) -> [u64; 3] {
        self.lost.all()
    }

    /// Takes what must be made durable now, or all that changed.
    pub fn unsaved(&mut self, all: bool) -> TotalsChange {
        let mut keys = std::mem::take(&mut self.unsaved.now);
        let mut lost = std::mem::take(&mut self.unsaved.lost_now);
        if all {
            keys.append(&mut self.unsaved.later);
            lost |= std::mem::take(&mut self.unsaved.lost_later);
        }
        let total = |counter: Counter| Some((counter, *self.passed.get(&counter)?));
        TotalsChange {
            passed: keys.into_iter().filter_map(total).collect(),
            forgotten: std::mem::take(&mut self.unsaved.forgotten),
            lost: lost.then_some(self.lost),
        }
    }

    /// Notes that a change could not be made durable.
    pub fn not_saved(&mut self, change: TotalsChange) {
        let TotalsChange {
            passed,
            forgotten,
            lost,
        } = change;
        self.unsaved.now.extend(passed.into_keys());
        self.unsaved.forgotten.extend(forgotten);
        self.unsaved.lost_now |= lost.is_some();
    }

    /// Notes that nothing is durable.
    pub fn nothing_saved(&mut self) {
        let something = |total: &Total| *total != Total::default();
        let passed = self.passed.iter().filter(|(_, total)| something(total));
        self.unsaved.now = passed.map(|(counter, _)| *counter).collect();
        self.unsaved.lost_now = self.lost != Losses::default();
    }

    fn count(&mut self, counter: Counter, now: Passed) {
        self.gone.remove(&counter);
        self.unsaved.forgotten.remove(&counter);
        let total = self.passed.entry(counter).or_default();
        let before = total.counted;
        if total.look(now) {
            self.unsaved.now.insert(counter);
        } else if now != before {
            self.unsaved.later.insert(counter);
        }
    }

    /// Notes that backends of a service are not there, save for some.
    fn go_but(&mut self, frontend: Frontend, stays: impl Fn(&Endpoint) -> bool) {
        let of_service = self.passed.range((frontend, None)..);
        let of_service = of_service.take_while(|((of, _), _)| *of == frontend);
        let goes = of_service.filter_map(|((_, endpoint), _)| *endpoint);
        let goes: Vec<Endpoint> = goes.filter(|endpoint| !stays(endpoint)).collect();
        for endpoint in goes {
            self.go((frontend, Some(endpoint)));
        }
    }

    fn go(&mut self, counter: Counter) {
        let Some(total) = self.passed.get_mut(&counter) else {
            return;
        };
        self.gone.insert(counter);
        if total.counted != Passed::default() {
            total.begin_anew();
            self.unsaved.now.insert(counter);
        }
        if *total == Total::default() {
            self.forget(counter);
        } else if self.gone.len() > MOST_GONE
            && let Some(first) = self.gone.first().copied()
        {
            self.forget(first);
            self.unsaved.forgotten.insert(first);
        }
    }

    fn forget(&mut self, counter: Counter) {
        self.passed.remove(&counter);
        self.gone.remove(&counter);
        self.unsaved.now.remove(&counter);
        self.unsaved.later.remove(&counter);
    }
}

#[cfg(test)]
mod tests;
