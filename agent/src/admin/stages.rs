//! How long a change takes on its way through the agent: until it is durable, and from then until the kernel has it.
//!
//! The latter is seen from outside, by what session and reconciler tell anyway: neither does anything for it.

use std::collections::VecDeque;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::time::Instant;
use weir_proto::metrics::{STAGE_BOUNDS, STAGES};
use weir_proto::model::Generation;

use crate::reconciler::Status;
use crate::session::Link;

/// How many generations may be on their way to the kernel that are measured: a pass takes all that came during the one before.
const MOST_WAITING: usize = 64;

/// The stages that the agent can tell by its own clock.
#[derive(Debug, Clone)]
pub struct Stages {
    journal: Histogram,
    kernel: Histogram,
    all: Family<Labels, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    stage: &'static str,
}

/// The generations that are durable and not in the kernel, oldest first.
#[derive(Debug)]
struct Waiting {
    newest: Generation,
    since: VecDeque<(Generation, Instant)>,
}

impl Default for Stages {
    fn default() -> Self {
        let all: Family<Labels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(STAGE_BOUNDS));
        Self {
            journal: all.get_or_create_owned(&Labels { stage: "journal" }),
            kernel: all.get_or_create_owned(&Labels { stage: "kernel" }),
            all,
        }
    }
}

impl Stages {
    /// Puts them on show.
    pub(super) fn show(&self, registry: &mut Registry) {
        registry.register(STAGES.name, STAGES.help, self.all.clone());
    }

    /// Counts an update that is durable, from when it was here as a whole.
    pub(crate) fn journaled(&self, took: Duration) {
        self.journal.observe(took.as_secs_f64());
    }

    /// Counts what comes into the kernel, from when it was durable, until nobody tells any more. What is held back is waited
    /// for by an operator, not by the kernel, and does not count.
    pub(crate) async fn watch(
        self,
        mut link: watch::Receiver<Link>,
        mut status: watch::Receiver<Status>,
    ) {
        let mut waiting = Waiting::after(link.borrow().accepted);
        loop {
            // in this order: what is in the kernel was durable before
            tokio::select! {
                biased;
                changed = link.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let link = link.borrow_and_update();
                    waiting.accepted(link.accepted, link.hold.is_some(), Instant::now());
                }
                changed = status.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let converged = status.borrow_and_update().converged;
                    let now = Instant::now();
                    while let Some(since) = waiting.next_of(converged) {
                        self.kernel.observe((now - since).as_secs_f64());
                    }
                }
            }
        }
    }
}

impl Waiting {
    fn after(newest: Generation) -> Self {
        Self {
            newest,
            since: VecDeque::with_capacity(MOST_WAITING),
        }
    }

    fn accepted(&mut self, generation: Generation, held: bool, now: Instant) {
        if held {
            self.since.clear();
        }
        if generation > self.newest {
            self.newest = generation;
            if !held && self.since.len() < MOST_WAITING {
                self.since.push_back((generation, now));
            }
        }
    }

    /// Gives since when the next generation waits that the kernel has.
    fn next_of(&mut self, converged: Generation) -> Option<Instant> {
        let (generation, since) = *self.since.front()?;
        if generation > converged {
            return None;
        }
        self.since.pop_front();
        Some(since)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use weir_proto::metrics::problems;
    use weir_proto::model::Hold;

    use super::*;

    fn page(stages: &Stages) -> String {
        let mut registry = Registry::default();
        stages.show(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        text
    }

    #[test]
    fn stages_are_there_before_anything_happened_and_named_as_at_the_controller() {
        let stages = Stages::default();
        stages.journaled(Duration::from_millis(3));
        let page = page(&stages);
        assert_eq!(problems(&page, &[STAGES]), Vec::<String>::new());
        let name = "weir_network_programming_duration_seconds";
        for line in [
            format!("{name}_count{{stage=\"journal\"}} 1"),
            format!("{name}_bucket{{le=\"0.004\",stage=\"journal\"}} 1"),
            format!("{name}_count{{stage=\"kernel\"}} 0"),
        ] {
            assert!(page.lines().any(|one| one == line), "{line}\n{page}");
        }
    }

    #[test]
    fn what_is_held_back_or_was_there_at_the_start_does_not_count() {
        let now = Instant::now();
        let mut waiting = Waiting::after(Generation(5));
        waiting.accepted(Generation(5), false, now);
        assert_eq!(waiting.next_of(Generation(5)), None);
        for generation in 6..=8 {
            waiting.accepted(Generation(generation), false, now);
        }
        assert_eq!(waiting.next_of(Generation(7)), Some(now));
        assert_eq!(waiting.next_of(Generation(7)), Some(now));
        assert_eq!(waiting.next_of(Generation(7)), None);
        waiting.accepted(Generation(9), true, now);
        assert_eq!(waiting.next_of(Generation(9)), None);
        for generation in 10..1_000 {
            waiting.accepted(Generation(generation), false, now);
        }
        assert_eq!(waiting.since.len(), MOST_WAITING);
    }

    #[tokio::test(start_paused = true)]
    async fn the_kernels_time_is_from_durable_to_converged() {
        let (link, links) = watch::channel(Link::default());
        let (status, statuses) = watch::channel(Status::default());
        let stages = Stages::default();
        let watching = tokio::spawn(stages.clone().watch(links, statuses));
        tokio::task::yield_now().await;
        link.send_modify(|link| link.accepted = Generation(1));
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_millis(100)).await;
        status.send_modify(|status| status.converged = Generation(1));
        tokio::task::yield_now().await;
        link.send_modify(|link| {
            link.accepted = Generation(2);
            link.hold = Some(Hold {
                generation: Generation(2),
                dropped: 1,
                served: 1,
                since_unix_ms: 0,
                cause: "much would go".to_owned(),
            });
        });
        drop((link, status));
        watching.await.expect("it ends");
        let page = page(&stages);
        let name = "weir_network_programming_duration_seconds";
        for line in [
            format!("{name}_count{{stage=\"kernel\"}} 1"),
            format!("{name}_sum{{stage=\"kernel\"}} 0.1"),
        ] {
            assert!(page.lines().any(|one| one == line), "{line}\n{page}");
        }
    }
}
