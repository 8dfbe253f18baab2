//! When the reconciler does what.

use std::time::Duration;

use tokio::time::Instant;
use weir_proto::faults::{self, Bug};

/// The wait before what failed is tried again; it doubles up to the audit's interval.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// How often the connections of what is drained are counted: an operator who waits sees them go, and one dump of the
/// services in question is cheap.
const COUNT_EVERY: Duration = Duration::from_millis(500);
/// The least time between two passes because something was taken away: a program that does so again and again is not
/// fought at its own speed, and what is gone is back well within a second.
const LEAST_PEACE: Duration = Duration::from_millis(250);

/// When what is next.
#[derive(Debug)]
pub(super) struct Pace {
    audit_interval: Duration,
    /// The wait before what failed is tried again.
    retry: Duration,
    pub(super) next_try: Instant,
    pub(super) next_audit: Instant,
    next_count: Instant,
    /// Until then notices of the kernel wait.
    peace: Instant,
    /// A notice was heard, and no pass has come to an end since.
    restless: bool,
}

impl Pace {
    pub(super) fn new(audit_interval: Duration) -> Self {
        let now = Instant::now();
        Self {
            audit_interval,
            retry: FIRST_RETRY,
            next_try: now + audit_interval,
            next_audit: now + audit_interval,
            next_count: now,
            peace: now,
            restless: false,
        }
    }

    /// Takes note of a pass: whether it was an audit that came to an end, or one that did not, and whether all is well.
    pub(super) fn passed(&mut self, audited: bool, failed_audit: bool, well: bool) {
        // after the pass: one that outlasts its interval must not be followed by the next at once
        let now = Instant::now();
        if std::mem::take(&mut self.restless) {
            self.peace = now + LEAST_PEACE;
        }
        if well || faults::planted(Bug::RetryForgotten) {
            self.retry = FIRST_RETRY;
            self.next_try = now + self.audit_interval;
        } else {
            self.next_try = now + self.retry;
            self.retry = (self.retry * 2).min(self.audit_interval);
        }
        if audited {
            self.next_audit = now + self.audit_interval;
        } else if failed_audit {
            self.next_audit = now + self.retry;
        }
    }

    pub(super) fn is_calm(&self) -> bool {
        !self.restless && Instant::now() >= self.peace
    }

    /// Gives when to wake at the latest.
    pub(super) fn wake(&self, draining: bool) -> Instant {
        let mut wake = self.next_try.min(self.next_audit);
        if draining {
            wake = wake.min(self.next_count);
        }
        if !self.is_calm() {
            wake = wake.min(self.peace);
        }
        wake
    }

    /// Has the connections of what is drained counted right behind the next pass.
    pub(super) fn count_soon(&mut self) {
        self.next_count = Instant::now();
    }

    /// Says whether it is time to count connections.
    pub(super) fn is_to_count(&self) -> bool {
        Instant::now() >= self.next_count
    }

    /// Takes note that they were counted, which took so long: a tenth of the time at most goes into that.
    pub(super) fn counted(&mut self, took: Duration) {
        self.next_count = Instant::now() + COUNT_EVERY.max(took * 10);
    }

    /// Takes note that the kernel told of something.
    pub(super) fn disturbed(&mut self) {
        self.restless = true;
    }
}
