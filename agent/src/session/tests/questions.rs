//! What the controller asks: what is tried of it, what is answered, and that nothing is accepted by it.

use weir_proto::wire::kernel_step::Verb;
use weir_proto::wire::question::Question;

use super::*;
use crate::plan::{Key, Object, Plan, Step, Tried, VipSpec, Visit, Visited, Visits};
use weir_proto::model::{ConnectionState, Frontend, Listener, Port, Protocol};

/// A trial of generation 6, which brings one item upon another generation.
fn trial(id: u64, base: u64, item: &Item, result: &[Item]) -> wire::sync_response::Message {
    let trial = wire::Trial {
        generation: 6,
        base_generation: base,
        upserted: vec![encoded(item)],
        digest: digest(result).to_bytes().to_vec(),
        last: true,
        ..wire::Trial::default()
    };
    question(id, trial)
}

fn question(id: u64, trial: wire::Trial) -> wire::sync_response::Message {
    wire::sync_response::Message::Question(wire::Question {
        id,
        question: Some(Question::Trial(trial)),
    })
}

async fn answer(stream: &mut Stream) -> wire::Answer {
    match stream.next().await {
        Message::Answer(answer) => answer,
        other => panic!("{other:?}"),
    }
}

/// An agent that holds a VIP by generation 5.
async fn holding() -> (Rig, Stream) {
    let mut rig = Rig::start().await;
    let (mut stream, _) = rig.stream().await;
    stream.send(snapshot(5, &[vip(1)])).await;
    assert!(matches!(stream.next().await, Message::Accepted(_)));
    rig.changes.recv().await.expect("a change");
    (rig, stream)
}

fn added(last: u8) -> (Key, Step) {
    let key = Key::Item(vip(last).key());
    let object = Object::Vip(VipSpec::default());
    (key, Step::Add { key, object })
}

#[tokio::test]
async fn a_trial_is_tried_and_answered_and_nothing_is_accepted() {
    let (mut rig, mut stream) = holding().await;
    stream.say(trial(7, 5, &vip(2), &[vip(1), vip(2)])).await;
    let asked = rig.inquiries.recv().await.expect("an inquiry");
    let change = Change {
        generation: Generation(6),
        upserted: vec![vip(2)],
        removed: vec![],
    };
    assert_eq!(asked.trial.change, Some(change));
    let (key, step) = added(2);
    let tried = Tried {
        plan: Plan {
            steps: vec![step],
            ..Plan::default()
        },
        ..Tried::default()
    };
    asked.answer.send(Ok(tried)).expect("somebody waits");
    let told = answer(&mut stream).await;
    assert_eq!((told.id, told.last, told.held_generation), (7, true, 5));
    assert_eq!((&*told.failure, &*told.held_back), ("", ""));
    let steps: Vec<_> = told
        .steps
        .iter()
        .map(|it| (it.verb(), &*it.object))
        .collect();
    assert_eq!(steps, [(Verb::Add, &*key.to_string())]);
    // the same generation still comes as an update, with what it says then
    stream.send(snapshot(6, &[vip(3)])).await;
    let accepted = stream.next().await;
    assert!(matches!(accepted, Message::Accepted(accepted) if accepted.generation == 6));
}

#[tokio::test]
async fn a_trial_upon_another_generation_is_not_tried() {
    let (mut rig, mut stream) = holding().await;
    stream.say(trial(1, 4, &vip(2), &[vip(2)])).await;
    let told = answer(&mut stream).await;
    assert_eq!((told.id, told.last, told.held_generation), (1, true, 5));
    assert_eq!(
        told.failure,
        "the update changes generation 4, and this node holds 5"
    );
    assert!(rig.inquiries.try_recv().is_err());
}

#[tokio::test]
async fn a_question_that_is_not_known_is_said_to_be_so() {
    let (_rig, mut stream) = holding().await;
    let unknown = wire::Question {
        id: 3,
        question: None,
    };
    stream
        .say(wire::sync_response::Message::Question(unknown))
        .await;
    let told = answer(&mut stream).await;
    assert_eq!(told.failure, "this agent does not know the question");
}

#[tokio::test]
async fn a_question_too_many_is_refused_and_updates_go_on() {
    let (_rig, mut stream) = holding().await;
    let look = wire::Trial {
        everything: true,
        compare: true,
        last: true,
        ..wire::Trial::default()
    };
    stream.say(question(1, look.clone())).await;
    stream.say(question(2, look)).await;
    let told = answer(&mut stream).await;
    let failure = "this agent has too many questions before it";
    assert_eq!((told.id, &*told.failure), (2, failure));
    stream.send(snapshot(6, &[vip(3)])).await;
    assert!(matches!(stream.next().await, Message::Accepted(_)));
}

#[tokio::test]
async fn a_long_answer_comes_in_chunks_and_ends() {
    let (mut rig, mut stream) = holding().await;
    let look = wire::Trial {
        last: true,
        ..wire::Trial::default()
    };
    stream.say(question(9, look)).await;
    let asked = rig.inquiries.recv().await.expect("an inquiry");
    const STEPS: usize = 10_000;
    let (_, step) = added(1);
    let tried = Tried {
        plan: Plan {
            steps: vec![step; STEPS],
            ..Plan::default()
        },
        ..Tried::default()
    };
    asked.answer.send(Ok(tried)).expect("somebody waits");
    let (mut steps, mut chunks) = (0, 0);
    loop {
        let told = answer(&mut stream).await;
        assert!(told.encoded_len() < 1 << 20);
        steps += told.steps.len();
        chunks += 1;
        if told.last {
            break;
        }
    }
    assert_eq!(steps, STEPS);
    assert!(chunks > 1);
}

fn look(id: u64, frontend: wire::Frontend, client: &str) -> wire::sync_response::Message {
    wire::sync_response::Message::Question(wire::Question {
        id,
        question: Some(Question::Look(wire::Look {
            frontend: Some(frontend),
            client: client.to_owned(),
        })),
    })
}

#[tokio::test]
async fn a_look_tells_what_is_seen_and_the_connections_of_the_client() {
    let (mut rig, mut stream) = holding().await;
    let frontend = Frontend::Address(Listener {
        address: [10, 1, 0, 1].into(),
        port: Port::new(80).expect("a port"),
        protocol: Protocol::Tcp,
    });
    let asked_for = weir_proto::convert::frontend_to_wire(frontend);
    stream.say(look(4, asked_for.clone(), "10.1.2.3")).await;
    let asked = rig.inquiries.recv().await.expect("an inquiry");
    let visit = Some(Visit {
        frontend,
        client: Some([10, 1, 2, 3].into()),
    });
    assert_eq!(asked.trial.visit, visit);
    let vip = Key::Item(weir_proto::model::ItemKey::Vip([10, 1, 0, 1].into()));
    let tried = Tried {
        before: [(vip, Object::Vip(VipSpec::default()))].into(),
        visit,
        visits: Some(Ok(Visits {
            connections: vec![Visited {
                port: Some(40_000),
                backend: None,
                state: ConnectionState::SynSent,
            }],
            count: 7,
        })),
        ..Tried::default()
    };
    asked.answer.send(Ok(tried)).expect("somebody waits");
    let told = answer(&mut stream).await;
    assert_eq!((told.id, told.last, &*told.failure), (4, true, ""));
    let sight = told.sight.expect("a sight");
    let objects: Vec<_> = sight
        .objects
        .iter()
        .map(|it| (&*it.object, it.desired.is_some(), it.kernel.is_some()))
        .collect();
    assert_eq!(objects, [("vip 10.1.0.1", true, false)]);
    let connection = wire::ClientConnection {
        client_port: 40_000,
        state: "SYN_SENT".to_owned(),
        ..wire::ClientConnection::default()
    };
    assert_eq!(
        (sight.connections, sight.connection_count),
        (vec![connection], 7)
    );
    // who cannot be a client of it
    for (client, failure) in [
        ("fd00::1", "look.client: is of another family"),
        ("me", "look.client: \"me\" is not an IP address"),
    ] {
        stream.say(look(5, asked_for.clone(), client)).await;
        assert_eq!(answer(&mut stream).await.failure, failure);
    }
}
