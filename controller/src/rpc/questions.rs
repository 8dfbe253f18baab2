//! The questions under way on one agent's stream, known to both its halves: the one puts them, the other hears the answers.
//! Nobody who asks, and no answer, holds up an update.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::vec;

use prost::Message as _;
use tokio::sync::mpsc;
use tracing::{debug, warn};
use weir_proto::wire;
use weir_proto::wire::sync_request::Message;

use crate::cluster::Call;

/// How many questions one agent is asked at once: each has it read its kernel.
const MOST: usize = 4;

/// Who waits for which answer: they wait no longer once this is gone.
#[derive(Debug, Default)]
pub(super) struct Questions(Arc<Mutex<Waiting>>);

/// Puts questions for as long as their answers are heard.
#[derive(Debug)]
pub(super) struct Asks(Weak<Mutex<Waiting>>);

/// A question on its way to the agent.
#[derive(Debug)]
pub(super) struct Asked {
    id: u64,
    /// What did not go yet, as it is encoded.
    chunks: vec::IntoIter<Vec<u8>>,
}

#[derive(Debug, Default)]
struct Waiting {
    answers: BTreeMap<u64, mpsc::Sender<Vec<u8>>>,
    asked: u64,
}

impl Questions {
    /// Gives what puts questions whose answers are heard here.
    pub(super) fn asks(&self) -> Asks {
        Asks(Arc::downgrade(&self.0))
    }

    /// Passes on an answer to whoever waits for it; gives back what is none.
    pub(super) fn answered(&self, request: wire::SyncRequest) -> Option<wire::SyncRequest> {
        let answer = match request.message {
            Some(Message::Answer(answer)) => answer,
            _ => return Some(request),
        };
        let id = answer.id;
        let waiting = &mut lock(&self.0).answers;
        if let Some(answers) = waiting.get(&id) {
            // the channel has room for the longest answer: who is not there for all of it gets none
            let passed = answers.try_send(answer.encode_to_vec());
            if answer.last || passed.is_err() {
                waiting.remove(&id);
            }
        } else {
            debug!(id, "an answer that nobody waits for");
        }
        None
    }
}

impl Asks {
    /// Takes a call, and gives what goes to the agent; none, if too many are under way, or no answer would be heard.
    pub(super) fn begin(&self, call: Call) -> Option<Asked> {
        let Call { question, answers } = call;
        let waiting = self.0.upgrade()?;
        let mut waiting = lock(&waiting);
        // who does not wait any more leaves room
        waiting.answers.retain(|_, answers| !answers.is_closed());
        waiting.asked += 1;
        let id = waiting.asked;
        if waiting.answers.len() >= MOST {
            let failed = wire::Answer {
                last: true,
                failure: "too many questions are under way to this node".to_owned(),
                ..wire::Answer::default()
            };
            let _ = answers.try_send(failed.encode_to_vec());
            return None;
        }
        waiting.answers.insert(id, answers);
        let chunks = question.into_iter();
        Some(Asked { id, chunks })
    }

    /// Gives what goes of a question next; none: it went, or nobody waits for its answer any more. The agent begins anew with the
    /// next one.
    pub(super) fn next(&self, asked: &mut Asked) -> Option<wire::Question> {
        let Asked { id, chunks } = asked;
        let waiting = self.0.upgrade()?;
        let waiting = lock(&waiting);
        if waiting.answers.get(id).is_none_or(mpsc::Sender::is_closed) {
            return None;
        }
        let question = wire::Question::decode(chunks.next()?.as_slice());
        let question = question.inspect_err(|error| warn!(%error, "not a question"));
        Some(wire::Question {
            id: *id,
            ..question.ok()?
        })
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(|held| held.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> (Call, mpsc::Receiver<Vec<u8>>) {
        let (answers, answered) = mpsc::channel(2);
        let question = vec![wire::Question::default().encode_to_vec(); 2];
        (Call { question, answers }, answered)
    }

    fn answer(id: u64, last: bool) -> wire::SyncRequest {
        let answer = wire::Answer {
            id,
            last,
            ..wire::Answer::default()
        };
        wire::SyncRequest {
            message: Some(Message::Answer(answer)),
        }
    }

    /// Gives under which number each chunk of a question goes.
    fn ids(asks: &Asks, call: Call) -> Vec<u64> {
        let mut asked = asks.begin(call);
        let next = || Some(asks.next(asked.as_mut()?)?.id);
        std::iter::from_fn(next).take(10).collect()
    }

    #[test]
    fn an_answer_goes_to_who_asked_and_to_nobody_once_it_is_over() {
        let questions = Questions::default();
        let asks = questions.asks();
        let ((first, mut one), (second, mut two)) = (call(), call());
        assert_eq!(ids(&asks, first), [1, 1]);
        assert_eq!(ids(&asks, second), [2, 2]);
        for (id, last) in [(2, false), (2, true), (1, true), (1, true), (7, true)] {
            assert_eq!(questions.answered(answer(id, last)), None);
        }
        let read = |bytes: Vec<u8>| wire::Answer::decode(bytes.as_slice()).expect("an answer");
        assert_eq!(one.try_recv().map(|it| read(it).id), Ok(1));
        assert!(one.try_recv().is_err());
        assert_eq!(two.try_recv().map(|it| read(it).last), Ok(false));
        assert_eq!(two.try_recv().map(|it| read(it).last), Ok(true));
        let other = wire::SyncRequest::default();
        assert_eq!(questions.answered(other.clone()), Some(other));
    }

    #[test]
    fn too_many_questions_are_refused_until_somebody_waits_no_more() {
        let questions = Questions::default();
        let asks = questions.asks();
        let mut waiting = Vec::new();
        for id in 1..=MOST as u64 {
            let (call, answered) = call();
            assert_eq!(ids(&asks, call), [id, id]);
            waiting.push(answered);
        }
        let (over, mut refused) = call();
        assert_eq!(ids(&asks, over), Vec::<u64>::new());
        let failed = refused.try_recv().expect("an answer");
        let failed = wire::Answer::decode(failed.as_slice()).expect("an answer");
        assert_eq!(
            failed.failure,
            "too many questions are under way to this node"
        );
        waiting.pop();
        let (again, _answered) = call();
        assert_eq!(ids(&asks, again).len(), 2);
    }

    #[test]
    fn the_rest_of_a_question_stays_when_nobody_waits_for_its_answer_any_more() {
        let questions = Questions::default();
        let asks = questions.asks();
        let (left, answered) = call();
        let mut asked = asks.begin(left).expect("there is room");
        assert_eq!(asks.next(&mut asked).map(|it| it.id), Some(1));
        drop(answered);
        assert_eq!(asks.next(&mut asked), None);
        let (failed, _answered) = call();
        let mut asked = asks.begin(failed).expect("there is room");
        assert_eq!(questions.answered(answer(2, true)), None);
        assert_eq!(asks.next(&mut asked), None);
    }

    #[test]
    fn who_waits_is_told_at_once_that_no_answer_is_heard_any_more() {
        let questions = Questions::default();
        let asks = questions.asks();
        let ((put, mut one), (late, mut two)) = (call(), call());
        let mut asked = asks.begin(put).expect("there is room");
        drop(questions);
        assert!(asks.next(&mut asked).is_none() && asks.begin(late).is_none());
        let closed = mpsc::error::TryRecvError::Disconnected;
        assert_eq!((one.try_recv(), two.try_recv()), (Err(closed), Err(closed)));
    }
}
