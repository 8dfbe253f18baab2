//! Counters on a timer: what came since on a stream to the controller, and totals for whoever asks here.
//!
//! It reads by a door of its own, and changes nothing in the kernel. It tells only while the session has its stream, on the same
//! connection; what comes meanwhile is added up. What is lost costs accuracy and nothing else.

mod outlet;
mod shared;

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::debug;
use weir_proto::convert::{conntrack_to_wire, increment_to_wire, vip_connections_to_wire};
use weir_proto::model::{Degraded, NodeName};
use weir_proto::wire;

use self::outlet::Outlet;
use crate::journal::Journal;
use crate::kernel::{KernelError, Meter};
use crate::plan::{Look, News, Numbers, SavedTotals, TotalsChange};
use crate::session::Link;
pub use shared::{Connection, Shared};

/// Between two looks: often enough to see a bad rollout in seconds, seldom enough that a dump of many services costs nothing.
pub const EVERY: Duration = Duration::from_secs(5);
/// Between two times at which all that changed is made durable. Only a kernel that begins anew while no agent runs makes
/// a difference of it; with 10,000 busy services it is 1 MB.
const SAVED_EVERY: Duration = Duration::from_secs(300);
/// How many backends one message tells of: each takes some 100 bytes, and the controller takes 1 MiB.
const MOST_BACKENDS: usize = 4_096;
/// How many numbers of VIPs one message tells: each takes some 40 bytes.
const MOST_VIPS: usize = 4_096;

/// Looks at counters, and tells of them while there is a stream.
#[derive(Debug)]
pub struct Sampler<M> {
    node: NodeName,
    meter: M,
    /// None: totals end with the agent.
    journal: Option<Journal>,
    degraded: Option<watch::Receiver<Option<Degraded>>>,
    numbers: watch::Sender<Numbers>,
    every: Duration,
    started: Instant,
    /// Since when what comes is told by the next report.
    since: Instant,
    saved: Instant,
}

impl<M: Meter> Sampler<M> {
    /// Begins; looks at `meter` every so often.
    pub fn new(node: NodeName, meter: M, every: Duration) -> Self {
        let now = Instant::now();
        Self {
            node,
            meter,
            journal: None,
            degraded: None,
            numbers: watch::Sender::new(Numbers::default()),
            every,
            started: now,
            since: now,
            saved: now,
        }
    }

    /// Goes on from the totals that a journal remembers, and keeps them there; those of backends, too, where that is asked for.
    pub fn remembering(mut self, journal: Journal, totals: SavedTotals, backends: bool) -> Self {
        self.degraded = Some(journal.degraded());
        self.journal = Some(journal);
        self.numbers.send_replace(Numbers::new(totals, backends));
        self
    }

    /// Gives where the newest numbers are seen.
    pub fn numbers(&self) -> watch::Receiver<Numbers> {
        self.numbers.subscribe()
    }

    /// Runs until nobody tells any more whether there is a stream.
    pub async fn run(mut self, mut link: watch::Receiver<Link>, connection: Connection) {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut outlet = Outlet::default();
        loop {
            let (looks, over) = tokio::select! {
                _ = ticks.tick() => (true, false),
                changed = link.changed() => (false, changed.is_err()),
            };
            if over {
                break;
            }
            let connected = link.borrow().contact.is_now();
            outlet.follow(connected, &connection);
            if looks {
                self.look().await;
                self.tell(&mut outlet).await;
                self.save(false).await;
            }
        }
        self.save(true).await;
    }

    /// Takes a look at everything, and makes what was found seen.
    async fn look(&mut self) {
        let begun = Instant::now();
        let counted = said(self.meter.counters().await);
        let conntrack = said(self.meter.conntrack().await);
        let look = Look {
            counted,
            conntrack,
            took: begun.elapsed(),
        };
        self.numbers.send_modify(|numbers| numbers.look(look));
        let at = self.started.elapsed();
        let vips = {
            let numbers = self.numbers.borrow();
            let wanted = numbers.tracking.wants_vips(at);
            wanted.then(|| numbers.traffic.vips())
        };
        if let Some(vips) = vips {
            let begun = Instant::now();
            let found = said(self.meter.vip_connections(&vips).await);
            let (at, took) = (self.started.elapsed(), begun.elapsed());
            self.numbers
                .send_modify(|numbers| numbers.look_at_vips(at, took, found));
        }
    }

    /// Tells what is new, if there is somebody to tell it to.
    async fn tell(&mut self, outlet: &mut Outlet) {
        let Some(first) = outlet.takes() else { return };
        let mut news = News::default();
        self.numbers.send_modify(|numbers| {
            if first {
                numbers.begin();
            }
            news = numbers.tell(MOST_VIPS);
        });
        if news.is_empty() {
            return;
        }
        let interval_ms = self.since.elapsed().as_millis();
        let interval_ms = u32::try_from(interval_ms).unwrap_or(u32::MAX).max(1);
        let News {
            mut increments,
            conntrack,
            vips,
        } = news;
        let mut rest = increments.split_off(increments.len().min(MOST_BACKENDS));
        let mut report = wire::ReportRequest {
            node: self.node.to_string(),
            interval_ms,
            backends: increments.iter().map(increment_to_wire).collect(),
            conntrack: conntrack.as_ref().map(conntrack_to_wire),
            vips: vips.iter().map(vip_connections_to_wire).collect(),
        };
        while outlet.send(report).await {
            if rest.is_empty() {
                self.since = Instant::now();
                return;
            }
            increments = rest;
            rest = increments.split_off(increments.len().min(MOST_BACKENDS));
            report = wire::ReportRequest {
                node: self.node.to_string(),
                interval_ms,
                backends: increments.iter().map(increment_to_wire).collect(),
                ..wire::ReportRequest::default()
            };
        }
        // what is not on its way waits for the next time
        self.numbers.send_modify(|numbers| {
            numbers.traffic.keep(&increments);
            numbers.traffic.keep(&rest);
        });
    }

    /// Makes durable what nobody could find out again; now and then all that changed.
    async fn save(&mut self, all: bool) {
        let Some(journal) = &self.journal else { return };
        let anew = self.degraded.as_mut().is_some_and(|degraded| {
            // a journal that was made anew has none of it
            degraded.has_changed().unwrap_or(false) && degraded.borrow_and_update().is_none()
        });
        let all = all || self.saved.elapsed() >= SAVED_EVERY;
        if all {
            self.saved = Instant::now();
        }
        let mut change = TotalsChange::default();
        self.numbers.send_modify(|numbers| {
            if anew {
                numbers.totals.nothing_saved();
            }
            change = numbers.totals.unsaved(all);
        });
        if change.is_empty() {
            return;
        }
        if let Err(error) = journal.count(&change).await {
            debug!(
                error = &error as &dyn std::error::Error,
                "totals are not durable"
            );
            self.numbers
                .send_modify(|numbers| numbers.totals.not_saved(change));
        }
    }
}

/// Gives what was read.
fn said<T>(read: Result<T, KernelError>) -> Option<T> {
    read.map_err(|error| debug!(error = &error as &dyn std::error::Error, "not counted"))
        .ok()
}

#[cfg(test)]
mod tests;
