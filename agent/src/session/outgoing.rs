//! What goes to the controller: at once, or with what comes next.
//!
//! What a node says of an update is said of all before it too. Where the controller lets answers wait and there is no news in
//! them, only the newest goes, and not too soon after the one before.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use weir_proto::wire;
use weir_proto::wire::sync_request::Message;

use super::messages::request;

/// How long the word that an update is durable waits for the word that the kernel holds it: mostly the kernel takes less, and
/// both go in one frame, which spares the controller half of its work with answers.
const TOGETHER: Duration = Duration::from_millis(2);
/// How long answers wait at most, as node.proto says, whatever they are allowed to.
const MOST: Duration = Duration::from_secs(1);

/// The way to the controller.
#[derive(Debug)]
pub(super) struct Outgoing {
    messages: mpsc::Sender<wire::SyncRequest>,
    /// How far apart answers may be.
    within: Duration,
    /// When the last went.
    answered: Option<Instant>,
    accepted: Option<wire::Accepted>,
    converged: Option<wire::Converged>,
    due: Option<Instant>,
    told: Told,
}

/// What was told on this stream.
#[derive(Debug, Default)]
struct Told {
    refused: (Vec<wire::ItemFailure>, u64),
    /// None: nothing of the kernel yet.
    failures: Option<(Vec<wire::ItemFailure>, u64)>,
}

impl Outgoing {
    /// Sends to whoever takes the messages up.
    pub(super) fn new(messages: mpsc::Sender<wire::SyncRequest>) -> Self {
        Self {
            messages,
            within: Duration::ZERO,
            answered: None,
            accepted: None,
            converged: None,
            due: None,
            told: Told::default(),
        }
    }

    /// Notes how far apart answers may be from here on.
    pub(super) fn may_wait(&mut self, within: Duration) {
        self.within = within.min(MOST);
    }

    /// Tells of an update that is durable: a moment later, or as late as it may where it refuses what was refused before.
    pub(super) fn durable(&mut self, accepted: wire::Accepted) {
        let soon = Instant::now() + TOGETHER;
        let (refused, count) = &self.told.refused;
        let due = match (refused, count) == (&accepted.refused, &accepted.refused_count) {
            true => soon.max(self.turn()),
            false => soon,
        };
        self.accepted = Some(accepted);
        self.wait_until(due);
    }

    /// Tells how far the kernel is: at once, or as late as it may where it fails in what it failed in before. Says whether the
    /// stream is still there.
    pub(super) async fn in_kernel(&mut self, converged: wire::Converged) -> bool {
        let turn = self.turn();
        let told = self.told.failures.as_ref();
        let told = told.is_some_and(|(told, count)| {
            (told, count) == (&converged.failures, &converged.failure_count)
        });
        self.converged = Some(converged);
        if told && turn > Instant::now() {
            self.wait_until(turn);
            return true;
        }
        self.now([]).await
    }

    /// Sends what waits, and then something. Says whether the stream is still there.
    pub(super) async fn now(
        &mut self,
        messages: impl IntoIterator<Item = wire::SyncRequest>,
    ) -> bool {
        self.due = None;
        let (accepted, converged) = (self.accepted.take(), self.converged.take());
        if accepted.is_some() || converged.is_some() {
            self.answered = Some(Instant::now());
        }
        if let Some(accepted) = &accepted {
            self.told.refused = (accepted.refused.clone(), accepted.refused_count);
        }
        if let Some(converged) = &converged {
            let failures = (converged.failures.clone(), converged.failure_count);
            self.told.failures = Some(failures);
        }
        let answers = [
            accepted.map(Message::Accepted),
            converged.map(Message::Converged),
        ];
        let answers = answers.into_iter().flatten().map(request);
        for message in answers.chain(messages) {
            if self.messages.send(message).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Waits until what waits must go; for ever when nothing does.
    pub(super) async fn due(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }

    /// Gives when an answer without news may go.
    fn turn(&self) -> Instant {
        let turn = self.answered.map(|answered| answered + self.within);
        turn.unwrap_or_else(Instant::now)
    }

    fn wait_until(&mut self, due: Instant) {
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    fn accepted(generation: u64) -> wire::Accepted {
        wire::Accepted {
            generation,
            ..wire::Accepted::default()
        }
    }

    fn converged(generation: u64) -> wire::Converged {
        wire::Converged {
            generation,
            ..wire::Converged::default()
        }
    }

    fn failing(generation: u64) -> wire::Converged {
        wire::Converged {
            failure_count: 1,
            ..converged(generation)
        }
    }

    fn answers(accepted: wire::Accepted, converged: wire::Converged) -> [wire::SyncRequest; 2] {
        let messages = [Message::Accepted(accepted), Message::Converged(converged)];
        messages.map(request)
    }

    /// Gives all that went so far.
    fn went(sent: &mut mpsc::Receiver<wire::SyncRequest>) -> Vec<wire::SyncRequest> {
        std::iter::from_fn(|| sent.try_recv().ok()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn that_an_update_is_durable_waits_for_the_kernel_and_goes_before_it() {
        let (messages, mut sent) = mpsc::channel(4);
        let mut outgoing = Outgoing::new(messages);
        outgoing.durable(accepted(1));
        assert_eq!(went(&mut sent), []);
        assert!(outgoing.in_kernel(converged(1)).await);
        assert_eq!(went(&mut sent), answers(accepted(1), converged(1)));
        // nothing waits any more
        assert!(timeout(10 * TOGETHER, outgoing.due()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn that_an_update_is_durable_is_due_after_a_moment_if_the_kernel_takes_longer() {
        let (messages, mut sent) = mpsc::channel(4);
        let mut outgoing = Outgoing::new(messages);
        let begun = Instant::now();
        outgoing.durable(accepted(1));
        outgoing.due().await;
        assert_eq!(begun.elapsed(), TOGETHER);
        assert!(outgoing.now([]).await);
        assert_eq!(went(&mut sent), [request(Message::Accepted(accepted(1)))]);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_may_wait_go_once_in_that_time_and_the_newest_stands_for_all() {
        let within = Duration::from_millis(200);
        let (messages, mut sent) = mpsc::channel(4);
        let mut outgoing = Outgoing::new(messages);
        outgoing.may_wait(within);
        outgoing.durable(accepted(1));
        assert!(outgoing.in_kernel(converged(1)).await);
        let first = answers(accepted(1), converged(1));
        assert_eq!(went(&mut sent), first, "the first waits for nothing");
        let begun = Instant::now();
        for generation in 2..=4 {
            advance(Duration::from_millis(50)).await;
            outgoing.durable(accepted(generation));
            assert!(outgoing.in_kernel(converged(generation)).await);
        }
        assert_eq!(went(&mut sent), []);
        outgoing.due().await;
        assert_eq!(begun.elapsed(), within);
        assert!(outgoing.now([]).await);
        assert_eq!(went(&mut sent), answers(accepted(4), converged(4)));
        advance(within).await;
        outgoing.durable(accepted(5));
        assert!(outgoing.in_kernel(converged(5)).await);
        let rested = answers(accepted(5), converged(5));
        assert_eq!(went(&mut sent), rested, "nor does one after a rest");
    }

    #[tokio::test(start_paused = true)]
    async fn news_wait_for_nothing() {
        let (messages, mut sent) = mpsc::channel(4);
        let mut outgoing = Outgoing::new(messages);
        outgoing.may_wait(MOST);
        outgoing.durable(accepted(1));
        assert!(outgoing.in_kernel(converged(1)).await);
        went(&mut sent);
        outgoing.durable(accepted(2));
        assert!(outgoing.in_kernel(failing(2)).await);
        assert_eq!(went(&mut sent), answers(accepted(2), failing(2)));
        outgoing.durable(accepted(3));
        assert!(outgoing.in_kernel(failing(3)).await);
        assert_eq!(went(&mut sent), [], "it fails in what it failed in before");
        let begun = Instant::now();
        let refusing = wire::Accepted {
            refused_count: 1,
            ..accepted(4)
        };
        outgoing.durable(refusing.clone());
        outgoing.due().await;
        assert_eq!(begun.elapsed(), TOGETHER);
        assert!(outgoing.now([]).await);
        assert_eq!(went(&mut sent), answers(refusing, failing(3)));
        // whatever else is said takes along what waits
        outgoing.durable(accepted(5));
        let condition = request(Message::Condition(wire::Condition::default()));
        assert!(outgoing.now([condition.clone()]).await);
        let all = [request(Message::Accepted(accepted(5))), condition];
        assert_eq!(went(&mut sent), all);
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_waits_longer_than_a_second_whatever_it_is_allowed() {
        let (messages, mut sent) = mpsc::channel(4);
        let mut outgoing = Outgoing::new(messages);
        outgoing.may_wait(Duration::from_secs(u64::from(u32::MAX)));
        assert!(outgoing.in_kernel(converged(1)).await);
        went(&mut sent);
        let begun = Instant::now();
        assert!(outgoing.in_kernel(converged(2)).await);
        outgoing.due().await;
        assert_eq!(begun.elapsed(), MOST);
    }

    #[tokio::test]
    async fn a_stream_that_is_gone_is_told() {
        let (messages, sent) = mpsc::channel(1);
        drop(sent);
        let mut outgoing = Outgoing::new(messages);
        assert!(!outgoing.in_kernel(converged(1)).await);
    }
}
