//! What happened of late, told once and as it comes.

use std::time::Duration;

use tokio::time::timeout;
use tonic::{Code, Streaming};
use weir_proto::wire;
use weir_proto::wire::event::{Object, Reason, Type};
use weir_proto::wire::sync_request::Message;

use crate::rig::{Rig, web};

const PATIENCE: Duration = Duration::from_secs(10);

async fn ask(rig: &Rig, request: wire::EventsRequest) -> Streaming<wire::EventsResponse> {
    let asked = rig.operator().await.events(request).await;
    asked.expect("a stream").into_inner()
}

/// Gives all that is told once.
async fn once(rig: &Rig, request: wire::EventsRequest) -> Vec<wire::Event> {
    let mut stream = ask(rig, request).await;
    let mut events = Vec::new();
    while let Some(answer) = stream.message().await.expect("it goes well") {
        events.extend(answer.events);
    }
    events
}

fn object(kind: &str, name: &str) -> Object {
    Object {
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

/// What is asked for when nothing is said.
fn all() -> wire::EventsRequest {
    wire::EventsRequest::default()
}

fn reasons(events: &[wire::Event]) -> Vec<Reason> {
    events.iter().map(wire::Event::reason).collect()
}

#[tokio::test]
async fn what_happened_is_told_by_what_it_is_of_also_by_a_controller_that_starts_again() {
    let rig = Rig::start().await;
    rig.apply(vec![web("web", 1, &[1])]).await;
    let mut agent = rig.agent("a", None).await;
    let sent = agent.update().await;
    agent.converge(&sent).await;
    let repairs = wire::Repairs {
        repairs: vec![wire::Repair {
            object: "vip 10.1.0.1".to_owned(),
            kind: "vip".to_owned(),
            found: String::new(),
            expected: "bound".to_owned(),
            at_unix_ms: 1,
        }],
        counts: [("vip".to_owned(), 1)].into(),
    };
    agent.say(Message::Repairs(repairs)).await;
    rig.node("a", |state| !state.repair_counts.is_empty()).await;

    let everything = once(&rig, all()).await;
    assert_eq!(
        reasons(&everything),
        [
            Reason::Applied,
            Reason::NodeRegistered,
            Reason::NodeConnected,
            Reason::DriftRepaired,
        ]
    );
    let mut drift = everything[3].clone();
    assert!(drift.first_unix_ms > 0 && drift.last_unix_ms == drift.first_unix_ms);
    let since = drift.last_unix_ms;
    (drift.first_unix_ms, drift.last_unix_ms) = (0, 0);
    assert_eq!(
        drift,
        wire::Event {
            number: 4,
            r#type: Type::Warning.into(),
            reason: Reason::DriftRepaired.into(),
            node: "a".to_owned(),
            object: Some(object("vip", "10.1.0.1")),
            part: "vip 10.1.0.1".to_owned(),
            message: "vip 10.1.0.1: found nothing, expected bound".to_owned(),
            count: 1,
            ..wire::Event::default()
        }
    );
    for (request, wanted) in [
        (
            wire::EventsRequest {
                node: "a".to_owned(),
                ..all()
            },
            &everything[1..],
        ),
        (
            wire::EventsRequest {
                objects: vec![object("service", "web")],
                ..all()
            },
            &everything[..1],
        ),
        (
            wire::EventsRequest {
                types: vec![Type::Warning.into()],
                ..all()
            },
            &everything[3..],
        ),
        (wire::EventsRequest { limit: 2, ..all() }, &everything[2..]),
        (
            wire::EventsRequest {
                since_unix_ms: since + 1,
                ..all()
            },
            &[],
        ),
    ] {
        assert_eq!(once(&rig, request.clone()).await, wanted, "{request:?}");
    }

    drop(agent);
    let rig = rig.restart().await;
    let after = once(&rig, all()).await;
    assert_eq!(
        after[..4],
        everything,
        "and how the stream of the node ended"
    );
}

#[tokio::test]
async fn who_watches_is_told_what_is_there_and_each_event_as_it_comes() {
    let rig = Rig::start().await;
    let watch = |limit| wire::EventsRequest {
        reasons: vec![Reason::Applied.into()],
        watch: true,
        limit,
        ..all()
    };
    let mut stream = ask(&rig, watch(0)).await;
    let mut hear = async || {
        let heard = timeout(PATIENCE, stream.message()).await;
        let heard = heard.expect("it is told in time").expect("it goes well");
        let events = heard.expect("it goes on").events.into_iter();
        let told = events.map(|it| (it.object.unwrap_or_default().name, it.count));
        told.collect::<Vec<_>>()
    };
    assert_eq!(hear().await, [], "there is nothing");
    for (weight, count) in [(1, 1), (2, 2)] {
        rig.apply(vec![web("web", 1, &[weight])]).await;
        assert_eq!(hear().await, [("web".to_owned(), count)]);
    }
    rig.agent("a", None).await;
    rig.apply(vec![web("dns", 2, &[1])]).await;
    assert_eq!(hear().await, [("dns".to_owned(), 1)], "and no other reason");

    let mut newest = ask(&rig, watch(1)).await;
    let told = newest.message().await.expect("it goes well");
    let told = told.expect("it goes on").events;
    let names: Vec<_> = told.iter().filter_map(|it| it.object.clone()).collect();
    assert_eq!(names, [object("service", "dns")]);
    rig.running.stop().await.expect("a clean stop");
    let ended = newest.message().await.expect_err("it ends");
    assert_eq!(ended.code(), Code::Unavailable);
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_named() {
    let rig = Rig::start().await;
    let request = wire::EventsRequest {
        objects: vec![object("pod", "web")],
        ..all()
    };
    let refused = rig.operator().await.events(request).await;
    let refused = refused.expect_err("there is no such kind");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(
        refused.message(),
        "objects[0].kind: \"pod\" is no kind of object (there are node, service, backendset, backend, vip, rollout)"
    );
}
