//! What an agent was sent and when it must have read and answered it, known to both halves of its stream.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;
use weir_proto::model::Generation;

/// How long an agent may read nothing, or leave an update without an answer. A disk that takes an update may hang for
/// some seconds; who takes longer comes back with what it has, and meanwhile its node is not shown as connected.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What is due. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Due(Arc<Mutex<Sent>>);

#[derive(Debug, Default)]
struct Sent {
    /// Until when what is on its way must be read; none: nothing is.
    read_by: Option<Instant>,
    /// Which generations were sent and must be answered, and when that was, the oldest first.
    answers: VecDeque<(Generation, Instant)>,
}

impl Due {
    /// Notes that something is on its way; with the generation that it is the last part of. Gives when that was.
    pub(super) fn sent(&self, last_of: Option<Generation>) -> Instant {
        let now = Instant::now();
        let mut sent = self.lock();
        sent.read_by = Some(now + PATIENCE);
        if let Some(generation) = last_of {
            sent.answers.push_back((generation, now));
        }
        now
    }

    /// Notes that what was on its way is read, or has room where it waits for that.
    pub(super) fn read(&self) {
        self.lock().read_by = None;
    }

    /// Notes that a generation is answered, and all before it. Gives when it was sent; none: it was not, or is answered already.
    pub(super) fn answered(&self, generation: Generation) -> Option<Instant> {
        // what it says again of what it held before answers nothing
        let mut sent = self.lock();
        let mut answers = sent.answers.iter();
        let place = answers.position(|(sent, _)| *sent == generation)?;
        let answered = sent.answers.drain(..=place).next_back();
        answered.map(|(_, at)| at)
    }

    /// Gives until when the agent must do something; none: nothing is due.
    pub(super) fn by(&self) -> Option<Instant> {
        let sent = self.lock();
        let answer = sent.answers.front().map(|(_, at)| *at + PATIENCE);
        sent.read_by.into_iter().chain(answer).min()
    }

    /// Says whether something is on its way that is not read.
    pub(super) fn is_unread(&self) -> bool {
        self.lock().read_by.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Sent> {
        self.0.lock().unwrap_or_else(|held| held.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_due_first_counts_until_it_is_read_and_answered() {
        let due = Due::default();
        assert_eq!((due.by(), due.is_unread()), (None, false));
        let first = due.sent(Some(Generation(1))) + PATIENCE;
        tokio::time::advance(Duration::from_secs(1)).await;
        due.sent(None);
        assert_eq!((due.by(), due.is_unread()), (Some(first), true));
        let began = due.answered(Generation(1)).map(|at| at + PATIENCE);
        assert_eq!(began, Some(first));
        let second = first + Duration::from_secs(1);
        assert_eq!((due.by(), due.is_unread()), (Some(second), true));
        due.read();
        assert_eq!((due.by(), due.is_unread()), (None, false));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_one_to_all_before_it_and_the_oldest_without_one_is_due_first() {
        let due = Due::default();
        let first = due.sent(Some(Generation(3)));
        tokio::time::advance(Duration::from_secs(1)).await;
        let second = due.sent(Some(Generation(5)));
        tokio::time::advance(Duration::from_secs(1)).await;
        let third = due.sent(Some(Generation(6)));
        due.read();
        assert_eq!(due.by(), Some(first + PATIENCE));
        assert_eq!(due.answered(Generation(4)), None, "it was not sent");
        assert_eq!(due.answered(Generation(5)), Some(second));
        assert_eq!(due.answered(Generation(3)), None, "that was said already");
        assert_eq!(due.by(), Some(third + PATIENCE));
    }

    #[tokio::test(start_paused = true)]
    async fn another_generation_answers_nothing() {
        let due = Due::default();
        due.sent(Some(Generation(2)));
        due.read();
        assert_eq!(due.answered(Generation(1)), None);
        let now = Instant::now();
        assert_eq!(due.by(), Some(now + PATIENCE));
        assert_eq!(due.answered(Generation(2)), Some(now));
        assert_eq!((due.answered(Generation(2)), due.by()), (None, None));
    }
}
