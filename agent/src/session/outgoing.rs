//! What goes to the controller: at once, or with what comes next.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use weir_proto::wire;

/// How long the word that an update is durable waits for the word that the kernel holds it: mostly the kernel takes less, and
/// both go in one frame, which spares the controller half of its work with answers.
const TOGETHER: Duration = Duration::from_millis(2);

/// The way to the controller.
#[derive(Debug)]
pub(super) struct Outgoing {
    messages: mpsc::Sender<wire::SyncRequest>,
    waiting: Vec<wire::SyncRequest>,
    due: Option<Instant>,
}

impl Outgoing {
    /// Sends to whoever takes the messages up.
    pub(super) fn new(messages: mpsc::Sender<wire::SyncRequest>) -> Self {
        Self {
            messages,
            waiting: Vec::new(),
            due: None,
        }
    }

    /// Sends something before the next message, or after a moment at the latest, once [`Self::due`] says so.
    pub(super) fn soon(&mut self, messages: impl IntoIterator<Item = wire::SyncRequest>) {
        self.waiting.extend(messages);
        self.due.get_or_insert_with(|| Instant::now() + TOGETHER);
    }

    /// Sends what waits, and then something. Says whether the stream is still there.
    pub(super) async fn now(
        &mut self,
        messages: impl IntoIterator<Item = wire::SyncRequest>,
    ) -> bool {
        self.due = None;
        for message in self.waiting.drain(..).chain(messages) {
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
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;
    use weir_proto::wire::sync_request::Message;

    use super::*;

    fn accepted(generation: u64) -> wire::SyncRequest {
        let accepted = wire::Accepted {
            generation,
            ..wire::Accepted::default()
        };
        wire::SyncRequest {
            message: Some(Message::Accepted(accepted)),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_soon_waits_for_what_comes_next_and_goes_before_it() {
        let (messages, mut sent) = mpsc::channel(4);
        let mut outgoing = Outgoing::new(messages);
        outgoing.soon([accepted(1)]);
        assert!(sent.try_recv().is_err());
        assert!(outgoing.now([accepted(2)]).await);
        assert_eq!(
            [sent.recv().await, sent.recv().await],
            [Some(accepted(1)), Some(accepted(2))]
        );
        // nothing waits any more
        assert!(timeout(10 * TOGETHER, outgoing.due()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_soon_is_due_after_a_moment_if_nothing_comes() {
        let (messages, mut sent) = mpsc::channel(4);
        let mut outgoing = Outgoing::new(messages);
        let begun = Instant::now();
        outgoing.soon([accepted(1)]);
        outgoing.due().await;
        assert_eq!(begun.elapsed(), TOGETHER);
        assert!(outgoing.now([]).await);
        assert_eq!(sent.recv().await, Some(accepted(1)));
    }

    #[tokio::test]
    async fn a_stream_that_is_gone_is_told() {
        let (messages, sent) = mpsc::channel(1);
        drop(sent);
        assert!(!Outgoing::new(messages).now([accepted(1)]).await);
    }
}
