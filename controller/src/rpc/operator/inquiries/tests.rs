use weir_proto::digest::Digest;
use weir_proto::model::Generation;

use super::*;
use crate::desired::Staged;

const HOW: How = How {
    compare: false,
    everything: false,
    allow_mass_delete: false,
};

fn asking(line: Line) -> Asking {
    Asking {
        node: NodeName::new("node-a").expect("a name"),
        generation: Generation(6),
        held: Generation(5),
        staged: Some(Staged {
            generation: Generation(6),
            upserted: Vec::new(),
            removed: Vec::new(),
            digest: Digest::default(),
        }),
        keys: Vec::new(),
        version: "0.0.9".to_owned(),
        line,
    }
}

/// Asks a node of which `play` has the other end, and gives what the operator is told of it.
async fn told<F: Future<Output = ()>>(
    play: impl FnOnce(mpsc::Receiver<Call>) -> F,
) -> Vec<wire::NodePlan> {
    let (calls, called) = mpsc::channel(1);
    let of = asking(Line::To(calls));
    let (answers, mut parts) = mpsc::channel(8);
    tokio::join!(ask::<wire::PlanResponse>(&of, HOW, &answers), play(called));
    drop(answers);
    let mut nodes = Vec::new();
    while let Some(part) = parts.recv().await {
        match part.expect("no error").part {
            Some(PlanPart::Node(node)) => nodes.push(node),
            other => panic!("{other:?}"),
        }
    }
    nodes
}

fn why(nodes: &[wire::NodePlan]) -> (ErrorReason, &str) {
    let [node] = nodes else {
        panic!("{nodes:?}");
    };
    let why = node.unanswered.as_ref().expect("no answer");
    (why.reason(), &why.detail)
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_knows_no_questions_is_waited_for_and_named_with_its_version() {
    let nodes = told(|mut called| async move {
        let call = called.recv().await.expect("a call");
        call.answers.closed().await;
    })
    .await;
    let (reason, detail) = why(&nodes);
    assert_eq!(reason, ErrorReason::AnswerLate);
    assert_eq!(
        detail,
        "it did not answer within 8 s; its agent is of version 0.0.9, and one older than this controller may know no questions"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_passed_on_part_by_part() {
    let nodes = told(|mut called| async move {
        let call = called.recv().await.expect("a call");
        for last in [false, true] {
            let answer = wire::Answer {
                last,
                steps: vec![wire::KernelStep::default()],
                ..wire::Answer::default()
            };
            let sent = call.answers.send(answer.encode_to_vec()).await;
            sent.expect("somebody waits");
        }
    })
    .await;
    let more: Vec<(bool, usize)> = nodes.iter().map(|it| (it.more, it.steps.len())).collect();
    assert_eq!(more, [(true, 1), (false, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_and_a_node_that_went_on_are_told_apart() {
    let ended = told(|mut called| async move {
        drop(called.recv().await.expect("a call"));
    })
    .await;
    assert_eq!(why(&ended).0, ErrorReason::AnswerFailed);
    let went_on = told(|mut called| async move {
        let call = called.recv().await.expect("a call");
        let answer = wire::Answer {
            last: true,
            failure: "the update changes generation 5, and this node holds 6".to_owned(),
            held_generation: 6,
            ..wire::Answer::default()
        };
        let sent = call.answers.send(answer.encode_to_vec()).await;
        sent.expect("somebody waits");
    })
    .await;
    assert_eq!(
        why(&went_on),
        (
            ErrorReason::NodeBehind,
            "the update changes generation 5, and this node holds 6"
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_be_asked_is_named_with_the_reason() {
    let (full, _called) = mpsc::channel(1);
    let (answers, _) = mpsc::channel(1);
    let question = Vec::new();
    let waiting = Call { question, answers };
    full.try_send(waiting).expect("room for one");
    let cases = [
        (Line::Away, ErrorReason::NodeAway),
        (Line::Behind, ErrorReason::NodeBehind),
        (Line::TooMuch, ErrorReason::QuestionTooLarge),
        (Line::To(full), ErrorReason::NodeBusy),
    ];
    for (line, reason) in cases {
        let (answers, mut parts) = mpsc::channel(8);
        ask::<wire::DiffResponse>(&asking(line), HOW, &answers).await;
        let part = parts.recv().await.expect("a part").expect("no error").part;
        let Some(DiffPart::Node(node)) = part else {
            panic!("{part:?}");
        };
        assert_eq!(node.unanswered.map(|why| why.reason()), Some(reason));
    }
}
