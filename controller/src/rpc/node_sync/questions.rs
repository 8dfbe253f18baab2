//! The questions under way on one agent's stream. Nobody who asks, and no answer, holds up an update.

use std::collections::BTreeMap;

use prost::Message as _;
use tokio::sync::mpsc;
use tracing::{debug, warn};
use weir_proto::wire;
use weir_proto::wire::sync_request::Message;

use crate::cluster::Call;

/// How many questions one agent is asked at once: each has it read its kernel.
const MOST: usize = 4;

/// Who waits for which answer.
#[derive(Debug, Default)]
pub(super) struct Questions {
    waiting: BTreeMap<u64, mpsc::Sender<Vec<u8>>>,
    asked: u64,
}

impl Questions {
    /// Takes a call, and gives its chunks as they go to the agent; nothing, if too many are under way.
    pub(super) fn begin(&mut self, call: Call) -> Vec<wire::Question> {
        let Call { question, answers } = call;
        // who does not wait any more leaves room
        self.waiting.retain(|_, answers| !answers.is_closed());
        self.asked += 1;
        let id = self.asked;
        if self.waiting.len() >= MOST {
            let failed = wire::Answer {
                last: true,
                failure: "too many questions are under way to this node".to_owned(),
                ..wire::Answer::default()
            };
            let _ = answers.try_send(failed.encode_to_vec());
            return Vec::new();
        }
        self.waiting.insert(id, answers);
        let chunks = question.iter().filter_map(|chunk| {
            let question = wire::Question::decode(chunk.as_slice());
            let question = question.inspect_err(|error| warn!(%error, "not a question"));
            Some(wire::Question {
                id,
                ..question.ok()?
            })
        });
        chunks.collect()
    }

    /// Passes on an answer to whoever waits for it; gives back what is none.
    pub(super) fn answered(&mut self, request: wire::SyncRequest) -> Option<wire::SyncRequest> {
        let answer = match request.message {
            Some(Message::Answer(answer)) => answer,
            _ => return Some(request),
        };
        let id = answer.id;
        if let Some(answers) = self.waiting.get(&id) {
            // the channel has room for the longest answer: who is not there for all of it gets none
            let passed = answers.try_send(answer.encode_to_vec());
            if answer.last || passed.is_err() {
                self.waiting.remove(&id);
            }
        } else {
            debug!(id, "an answer that nobody waits for");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> (Call, mpsc::Receiver<Vec<u8>>) {
        let (answers, answered) = mpsc::channel(2);
        let question = vec![wire::Question::default().encode_to_vec()];
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

    #[test]
    fn an_answer_goes_to_who_asked_and_to_nobody_once_it_is_over() {
        let mut questions = Questions::default();
        let ((first, mut one), (second, mut two)) = (call(), call());
        let ids = |chunks: Vec<wire::Question>| chunks.iter().map(|it| it.id).collect::<Vec<_>>();
        assert_eq!(ids(questions.begin(first)), [1]);
        assert_eq!(ids(questions.begin(second)), [2]);
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
        let mut questions = Questions::default();
        let mut waiting = Vec::new();
        for _ in 0..MOST {
            let (call, answered) = call();
            assert_eq!(questions.begin(call).len(), 1);
            waiting.push(answered);
        }
        let (over, mut refused) = call();
        assert_eq!(questions.begin(over), []);
        let failed = refused.try_recv().expect("an answer");
        let failed = wire::Answer::decode(failed.as_slice()).expect("an answer");
        assert_eq!(
            failed.failure,
            "too many questions are under way to this node"
        );
        waiting.pop();
        let (again, _answered) = call();
        assert_eq!(questions.begin(again).len(), 1);
    }
}
