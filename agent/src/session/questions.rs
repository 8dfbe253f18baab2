//! What the controller asks: taken as an update is, as far as to the reconciler, and answered in chunks.

use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use weir_proto::convert::{Problems, frontend_key_from_wire, item_key_from_wire};
use weir_proto::model::{Refused, unicast};
use weir_proto::trace::chain;
use weir_proto::wire;
use weir_proto::wire::question::Question;
use weir_proto::wire::sync_request::Message;

use super::messages::request;
use super::{Assembly, Connect, Session};
use crate::clock::now_unix_ms;
use crate::plan::{HoldChange, Trial, Tried, Visit, begun};
use crate::reconciler::Inquiry;
use crate::shown;

/// A chunk of an answer: little enough that what is told of an update never waits long behind one.
const CHUNK: usize = 256 << 10;
/// Of an answer at most: some 30,000 steps, more than anybody reads, and what a controller keeps for its asker.
const MOST: usize = 8 << 20;

/// The questions of one stream.
#[derive(Debug)]
pub(super) struct Questions {
    /// Of the trial whose chunks come now.
    assembly: Assembly,
    answers: mpsc::Sender<wire::SyncRequest>,
}

impl Questions {
    /// Begins with none; gives where the answers come.
    pub(super) fn new() -> (Self, mpsc::Receiver<wire::SyncRequest>) {
        // one on its way while the next is made
        let (answers, told) = mpsc::channel(1);
        let questions = Self {
            assembly: Assembly::default(),
            answers,
        };
        (questions, told)
    }
}

impl<C: Connect> Session<C> {
    /// Takes a question, or a chunk of one. Gives what there is to say at once: why there will be no answer.
    pub(super) fn question(
        &self,
        question: wire::Question,
        questions: &mut Questions,
    ) -> Option<wire::SyncRequest> {
        let id = question.id;
        let asked = match question.question {
            Some(Question::Trial(trial)) => self.trial(trial, &mut questions.assembly),
            Some(Question::Look(look)) => self.look(&look).map(Some),
            None => Err("this agent does not know the question".to_owned()),
        };
        let head = wire::Answer {
            id,
            last: true,
            held_generation: self.keeping.accepted.generation.0,
            refused: self.keeping.accepted.refused.count(),
            ..wire::Answer::default()
        };
        let failed = |failure| {
            let answer = wire::Answer {
                failure,
                ..head.clone()
            };
            Some(request(Message::Answer(answer)))
        };
        let Asked {
            trial,
            told,
            held_back,
        } = match asked {
            Ok(Some(asked)) => asked,
            Ok(None) => return None,
            Err(failure) => return failed(failure),
        };
        let (answer, tried) = oneshot::channel();
        match self.inquiries.try_send(Inquiry { trial, answer }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                return failed("this agent has too many questions before it".to_owned());
            }
            Err(mpsc::error::TrySendError::Closed(_)) => {
                return failed(
                    "this agent cannot open its journal, and looks at no kernel".to_owned(),
                );
            }
        }
        let head = wire::Answer { held_back, ..head };
        let answers = questions.answers.clone();
        // it ends with the answer, or with the stream: nobody takes up what it sends
        tokio::spawn(async move {
            let all = match tried.await {
                Ok(Ok(tried)) => chunks(head, &tried, told),
                Ok(Err(failure)) => vec![wire::Answer { failure, ..head }],
                Err(_) => return,
            };
            for answer in all {
                if answers
                    .send(request(Message::Answer(answer)))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
        None
    }

    /// Takes a look at a frontend, as the node is.
    fn look(&self, look: &wire::Look) -> Result<Asked, String> {
        let wire::Look { frontend, client } = look;
        let frontend = frontend.clone().unwrap_or_default();
        let frontend = frontend_key_from_wire(&frontend, "look.frontend");
        let frontend = frontend.map_err(|error| chain(&error))?;
        let client = match client.as_str() {
            "" => None,
            text => {
                let mut problems = Problems::default();
                let client = unicast(text).and_then(|client| match frontend.vip() {
                    Some(vip) if vip.is_ipv4() != client.is_ipv4() => {
                        Err(Refused::Other("is of another family".to_owned()))
                    }
                    _ => Ok(client),
                });
                let client = problems.take("look.client", client);
                Some(problems.finish(client).map_err(|error| chain(&error))?)
            }
        };
        let hold = self.keeping.hold.as_ref();
        Ok(Asked {
            trial: Trial {
                visit: Some(Visit { frontend, client }),
                ..Trial::default()
            },
            told: Told::Sight,
            held_back: hold.map_or_else(String::new, |hold| hold.told.cause.clone()),
        })
    }

    /// Takes a chunk of a trial; gives what is to be tried once the last is in.
    fn trial(&self, chunk: wire::Trial, assembly: &mut Assembly) -> Result<Option<Asked>, String> {
        let wire::Trial {
            generation,
            base_generation,
            upserted,
            removed,
            digest,
            chunk,
            last,
            allow_mass_delete,
            also,
            everything,
            compare,
        } = chunk;
        let mut keys = Vec::with_capacity(also.len());
        for (place, key) in also.iter().enumerate() {
            let key = item_key_from_wire(key, &format!("also[{place}]"));
            keys.push(key.map_err(|error| chain(&error))?);
        }
        let mut asked = Asked {
            trial: Trial {
                also: keys,
                everything,
                ..Trial::default()
            },
            told: match compare {
                true => Told::Differences,
                false => Told::Steps,
            },
            held_back: String::new(),
        };
        if let Some(hold) = &self.keeping.hold {
            asked.held_back.clone_from(&hold.told.cause);
        }
        if generation == 0 {
            return Ok(Some(asked));
        }
        let update = wire::Update {
            generation,
            base_generation,
            upserted,
            removed,
            digest,
            chunk,
            last,
            allow_mass_delete,
            ..wire::Update::default()
        };
        let assembled = assembly.take(update).map_err(|error| chain(&error))?;
        let Some(assembled) = assembled else {
            return Ok(None);
        };
        let now = now_unix_ms();
        let taking = self.keeping.take(assembled.update, now);
        let Some(taking) = taking.map_err(|refusal| refusal.to_string())? else {
            return Ok(Some(asked));
        };
        asked.held_back = match taking.hold {
            HoldChange::Held(hold) => hold.told.cause,
            HoldChange::None | HoldChange::Over(_) => String::new(),
        };
        if let Some(change) = taking.served {
            asked.trial.begun = begun(&change, |key| self.keeping.served(key), now);
            asked.trial.change = Some(change);
        }
        Ok(Some(asked))
    }
}

/// What the reconciler is to find out, and how that is told.
struct Asked {
    trial: Trial,
    told: Told,
    held_back: String,
}

/// What of it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// What would be done.
    Steps,
    /// What is not the same.
    Differences,
    /// What is seen of a frontend.
    Sight,
}

/// Writes what a trial found, in chunks.
fn chunks(head: wire::Answer, tried: &Tried, told: Told) -> Vec<wire::Answer> {
    let mut parts = Parts::new(head);
    if told == Told::Sight {
        return sight(parts, tried);
    }
    if told == Told::Differences {
        for key in tried.differing() {
            let difference = shown::difference(key, tried);
            parts.add(difference.encoded_len(), |answer| {
                answer.differences.push(difference)
            });
        }
        return parts.finish(Vec::new());
    }
    let steps = tried.plan.steps.iter().map(|step| shown::step(step, tried));
    let going = tried
        .going
        .iter()
        .map(|backend| shown::going(*backend, tried));
    for step in steps.chain(going) {
        parts.add(step.encoded_len(), |answer| answer.steps.push(step));
    }
    let failing = tried.failing().into_iter().take(MOST_CONFLICTS);
    parts.finish(
        failing
            .map(|(key, cause)| format!("{key}: {cause}"))
            .collect(),
    )
}

/// Writes what was seen of a frontend, its client's connections in the last chunk.
fn sight(mut parts: Parts, tried: &Tried) -> Vec<wire::Answer> {
    let keys = tried.visit.map(|visit| tried.seen(visit.frontend));
    for key in keys.into_iter().flatten() {
        let seen = shown::seen(key, tried);
        parts.add(seen.encoded_len(), |answer| {
            answer.sight.get_or_insert_default().objects.push(seen)
        });
    }
    let sight = parts.filling.sight.get_or_insert_default();
    match &tried.visits {
        None => {}
        Some(Ok(visits)) => {
            let connections = visits.connections.iter().map(shown::visited);
            sight.connections = connections.collect();
            sight.connection_count = visits.count;
        }
        Some(Err(why)) => sight.connections_unknown.clone_from(why),
    }
    parts.finish(Vec::new())
}

/// So many fit into one chunk; each is a sentence.
const MOST_CONFLICTS: usize = 500;

/// An answer that is filled chunk by chunk.
struct Parts {
    done: Vec<wire::Answer>,
    filling: wire::Answer,
    bytes: usize,
    all: usize,
}

impl Parts {
    fn new(head: wire::Answer) -> Self {
        Self {
            done: Vec::new(),
            filling: head,
            bytes: 0,
            all: 0,
        }
    }

    fn add(&mut self, bytes: usize, put: impl FnOnce(&mut wire::Answer)) {
        if self.all + bytes > MOST {
            self.filling.left_out += 1;
            return;
        }
        if self.bytes + bytes > CHUNK && self.bytes > 0 {
            let next = wire::Answer {
                id: self.filling.id,
                last: true,
                ..wire::Answer::default()
            };
            let mut full = std::mem::replace(&mut self.filling, next);
            full.last = false;
            self.done.push(full);
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.all += bytes;
        put(&mut self.filling);
    }

    fn finish(mut self, conflicts: Vec<String>) -> Vec<wire::Answer> {
        self.filling.conflicts = conflicts;
        self.done.push(self.filling);
        self.done
    }
}
