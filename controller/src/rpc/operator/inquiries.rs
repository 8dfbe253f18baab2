//! Plan and Diff: what a batch would do on each node, and what is not the same there. Nothing is written; each node that
//! is connected is asked, some at once.

mod trial;

use std::sync::Arc;

use prost::Message as _;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use weir_proto::convert::{Problems, resources_from_wire};
use weir_proto::model::{NodeName, Revision, Role};
use weir_proto::wire;
use weir_proto::wire::ErrorReason;
use weir_proto::wire::diff_response::Part as DiffPart;
use weir_proto::wire::plan_response::Part as PlanPart;

use super::Answers;
use crate::cluster::{Asking, Call, Cluster, Inquired, Inquiry, Line};
use crate::rpc::caller::{caller, may};
use crate::rpc::encode;
use crate::rpc::ending::{Ending, last_word};
use crate::rpc::places::places;
use crate::rpc::status::{invalid, refusal};

/// How many nodes are asked at once: each keeps an answer of at most some megabytes here.
pub(super) const AT_ONCE: usize = 16;
/// How long a node may take for each chunk of an answer: it reads its kernel when its pass is over, and a pass over the largest
/// tables takes seconds. Less than weirctl waits by default, so that people are told which node does not answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// The chunks of one answer: an agent sends 8 MiB at most, in chunks that are at least half full.
const CHUNKS: usize = 80;
/// Parts that wait for the operator to read them.
pub(super) const PARTS: usize = 4;

/// How a node is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    /// What differs is wanted, not the steps.
    compare: bool,
    /// Everything is looked at.
    everything: bool,
    allow_mass_delete: bool,
}

/// Makes a part of the answer to an operator out of what a node says.
trait Part: Send + Sized + 'static {
    fn staged(staged: wire::Staged) -> Self;
    fn node(of: &Asking, answer: wire::Answer, more: bool) -> Self;
    fn unanswered(of: &Asking, why: wire::Unanswered) -> Self;
}

pub(super) async fn plan(
    cluster: &Cluster,
    stopping: &watch::Receiver<bool>,
    request: Request<wire::PlanRequest>,
) -> Result<Response<Answers<wire::PlanResponse>>, Status> {
    let ending = Ending::of(stopping, &request);
    let who = caller(&request)?;
    let wire::PlanRequest {
        resources,
        expected_revision,
        allow_mass_delete,
    } = request.into_inner();
    if allow_mass_delete {
        may(&who, Role::Admin, "allow_mass_delete")?;
    }
    let inquiry = Inquiry {
        places: places(&resources),
        resources: resources_from_wire(resources).map_err(|errors| invalid(&errors))?,
        expected: expected_revision.map(Revision),
        nodes: None,
    };
    let inquired = cluster.inquire(inquiry).await.map_err(refusal)?;
    let how = How {
        compare: false,
        everything: false,
        allow_mass_delete,
    };
    Ok(answering(inquired, how, ending))
}

pub(super) async fn diff(
    cluster: &Cluster,
    stopping: &watch::Receiver<bool>,
    request: Request<wire::DiffRequest>,
) -> Result<Response<Answers<wire::DiffResponse>>, Status> {
    let ending = Ending::of(stopping, &request);
    let wire::DiffRequest { resources, nodes } = request.into_inner();
    let mut problems = Problems::default();
    let mut names = Vec::with_capacity(nodes.len());
    for (place, name) in nodes.iter().enumerate() {
        names.extend(problems.take(format!("nodes[{place}]"), NodeName::new(name)));
    }
    let names = problems.finish(Some(names));
    let names = names.map_err(|errors| invalid(&errors))?;
    let how = How {
        compare: true,
        everything: resources.is_empty(),
        // what is held back has not changed
        allow_mass_delete: true,
    };
    let inquiry = Inquiry {
        places: places(&resources),
        resources: resources_from_wire(resources).map_err(|errors| invalid(&errors))?,
        expected: None,
        nodes: Some(names),
    };
    let inquired = cluster.inquire(inquiry).await.map_err(refusal)?;
    Ok(answering(inquired, how, ending))
}

/// Asks the nodes, and answers until all have answered, or the caller is gone or not to be told any more.
fn answering<P: Part>(inquired: Inquired, how: How, ending: Ending) -> Response<Answers<P>> {
    let (answers, stream) = mpsc::channel(PARTS);
    tokio::spawn(async move {
        let end = tokio::select! {
            () = ask_all(inquired, how, &answers) => None,
            status = ending.comes() => Some(status),
            () = answers.closed() => None,
        };
        if let Some(end) = end {
            last_word(&answers, end).await;
        }
    });
    Response::new(ReceiverStream::new(stream))
}

async fn ask_all<P: Part>(inquired: Inquired, how: How, answers: &mpsc::Sender<Result<P, Status>>) {
    let Inquired {
        revision,
        changes,
        nodes,
    } = inquired;
    let staged = wire::Staged {
        revision: revision.0,
        changes: encode::changes(changes),
    };
    if answers.send(Ok(P::staged(staged))).await.is_err() {
        return;
    }
    let room = Arc::new(Semaphore::new(AT_ONCE));
    // those that are asked are let be when this ends
    let mut asked = JoinSet::new();
    for of in nodes {
        let (room, answers) = (Arc::clone(&room), answers.clone());
        asked.spawn(async move {
            // it is never closed
            let _room = room.acquire_owned().await;
            ask(&of, how, &answers).await;
        });
    }
    while asked.join_next().await.is_some() {}
}

/// Asks one node, and passes on what it says.
async fn ask<P: Part>(of: &Asking, how: How, answers: &mpsc::Sender<Result<P, Status>>) {
    if let Err(why) = converse(of, how, answers).await {
        let _ = answers.send(Ok(P::unanswered(of, why))).await;
    }
}

async fn converse<P: Part>(
    of: &Asking,
    how: How,
    answers: &mpsc::Sender<Result<P, Status>>,
) -> Result<(), wire::Unanswered> {
    let line = match &of.line {
        Line::To(line) => line,
        Line::Away => return Err(unanswered(ErrorReason::NodeAway, "it is not connected")),
        Line::Behind => {
            let text = format!(
                "it holds generation {} and has still to take what was written since: see weirctl status",
                of.held
            );
            return Err(unanswered(ErrorReason::NodeBehind, text));
        }
        Line::TooMuch => {
            let text = "what would change on it and on the nodes before it is more than is asked about at once: plan it in parts";
            return Err(unanswered(ErrorReason::QuestionTooLarge, text));
        }
    };
    let question = trial::chunks(of, how).ok_or_else(|| {
        let text = "what would change on it is more than a question may say (16 MiB)";
        unanswered(ErrorReason::QuestionTooLarge, text)
    })?;
    let (sender, mut answered) = mpsc::channel(CHUNKS);
    let call = Call {
        question,
        answers: sender,
    };
    line.try_send(call).map_err(|_| busy())?;
    loop {
        let answer = hear(of, &mut answered).await?;
        let last = answer.last;
        if answers.send(Ok(P::node(of, answer, !last))).await.is_err() || last {
            return Ok(());
        }
    }
}

/// Asks one node, and gives all that it says.
pub(super) async fn put(
    of: &Asking,
    question: wire::Question,
) -> Result<Vec<wire::Answer>, wire::Unanswered> {
    let Line::To(line) = &of.line else {
        return Err(unanswered(ErrorReason::NodeAway, "it is not connected"));
    };
    let (sender, mut answered) = mpsc::channel(CHUNKS);
    let call = Call {
        question: vec![question.encode_to_vec()],
        answers: sender,
    };
    line.try_send(call).map_err(|_| busy())?;
    let mut answers = Vec::new();
    loop {
        let answer = hear(of, &mut answered).await?;
        let last = answer.last;
        answers.push(answer);
        if last {
            return Ok(answers);
        }
    }
}

/// Waits for the next chunk of an answer.
async fn hear(
    of: &Asking,
    answered: &mut mpsc::Receiver<Vec<u8>>,
) -> Result<wire::Answer, wire::Unanswered> {
    let chunk = timeout(PATIENCE, answered.recv()).await;
    let chunk = chunk.map_err(|_| late(&of.version))?;
    let chunk = chunk.and_then(|chunk| wire::Answer::decode(chunk.as_slice()).ok());
    let answer = chunk.ok_or_else(|| {
        unanswered(
            ErrorReason::AnswerFailed,
            "its stream ended before it had answered",
        )
    })?;
    match answer.failure.is_empty() {
        true => Ok(answer),
        false => Err(failed(of, answer)),
    }
}

fn busy() -> wire::Unanswered {
    unanswered(ErrorReason::NodeBusy, "it has too many questions before it")
}

fn failed(of: &Asking, answer: wire::Answer) -> wire::Unanswered {
    // what it was asked about is not what it holds: it took something meanwhile
    let moved = of.staged.is_some() && answer.held_generation > of.held.0;
    let reason = match moved {
        true => ErrorReason::NodeBehind,
        false => ErrorReason::AnswerFailed,
    };
    unanswered(reason, answer.failure)
}

fn late(version: &str) -> wire::Unanswered {
    let text = format!(
        "it did not answer within {} s; its agent is of version {version}, and one older than this controller may know no questions",
        PATIENCE.as_secs()
    );
    unanswered(ErrorReason::AnswerLate, text)
}

fn unanswered(reason: ErrorReason, detail: impl Into<String>) -> wire::Unanswered {
    wire::Unanswered {
        reason: reason.into(),
        detail: detail.into(),
    }
}

impl Part for wire::PlanResponse {
    fn staged(staged: wire::Staged) -> Self {
        let part = Some(PlanPart::Staged(staged));
        Self { part }
    }

    fn node(of: &Asking, answer: wire::Answer, more: bool) -> Self {
        let part = Some(PlanPart::Node(wire::NodePlan {
            held_back: answer.held_back,
            steps: answer.steps,
            left_out: answer.left_out,
            conflicts: answer.conflicts,
            more,
            ..node_plan(of)
        }));
        Self { part }
    }

    fn unanswered(of: &Asking, why: wire::Unanswered) -> Self {
        let part = Some(PlanPart::Node(wire::NodePlan {
            unanswered: Some(why),
            ..node_plan(of)
        }));
        Self { part }
    }
}

fn node_plan(of: &Asking) -> wire::NodePlan {
    wire::NodePlan {
        node: of.node.to_string(),
        generation: of.generation.0,
        ..wire::NodePlan::default()
    }
}

impl Part for wire::DiffResponse {
    fn staged(staged: wire::Staged) -> Self {
        let part = Some(DiffPart::Staged(staged));
        Self { part }
    }

    fn node(of: &Asking, answer: wire::Answer, more: bool) -> Self {
        let part = Some(DiffPart::Node(wire::NodeDiff {
            held_back: answer.held_back,
            differences: answer.differences,
            left_out: answer.left_out,
            refused: answer.refused,
            more,
            ..node_diff(of)
        }));
        Self { part }
    }

    fn unanswered(of: &Asking, why: wire::Unanswered) -> Self {
        let part = Some(DiffPart::Node(wire::NodeDiff {
            unanswered: Some(why),
            ..node_diff(of)
        }));
        Self { part }
    }
}

fn node_diff(of: &Asking) -> wire::NodeDiff {
    wire::NodeDiff {
        node: of.node.to_string(),
        generation: of.generation.0,
        held_generation: of.held.0,
        ..wire::NodeDiff::default()
    }
}

#[cfg(test)]
mod tests;
