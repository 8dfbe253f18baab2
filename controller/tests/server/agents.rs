//! What agents say and hear.

use prost::Message as _;
use tonic::Code;
use weir_proto::convert::item_from_sent;
use weir_proto::model::{Item, ItemKey};
use weir_proto::state::NodeState;
use weir_proto::wire;
use weir_proto::wire::rejected::Reason;
use weir_proto::wire::sync_request::Message;

use crate::rig::{Rig, reference, service, web};

fn read(update: &wire::Update) -> Vec<Item> {
    let items = update.upserted.iter();
    items
        .map(|item| item_from_sent(item, "item", &mut Vec::new()).expect("an item"))
        .collect()
}

#[tokio::test]
async fn a_node_gets_a_snapshot_and_is_followed_until_it_has_converged() {
    let rig = Rig::start().await;
    rig.apply(vec![web("web", 1, &[1])]).await;
    let mut agent = rig.agent("a", None).await;
    let snapshot = agent.update().await;
    assert_eq!((snapshot.generation, snapshot.base_generation), (1, 0));
    let state: NodeState = read(&snapshot).into_iter().collect();
    assert_eq!(state.items().len(), 4);
    assert_eq!(snapshot.digest, state.digest().to_bytes());
    let waiting = rig.node("a", |node| node.connected).await;
    assert_eq!(
        (waiting.wanted_generation, waiting.accepted_generation),
        (1, 0)
    );

    let accepted = wire::Accepted {
        generation: 1,
        ..wire::Accepted::default()
    };
    agent.say(Message::Accepted(accepted)).await;
    rig.node("a", |node| node.accepted_generation == 1).await;
    let key = weir_proto::convert::item_key_to_wire(&ItemKey::Vip([10, 1, 0, 1].into()));
    let failure = wire::ItemFailure {
        key: Some(key),
        errno: 1,
        cause: "not permitted".to_owned(),
        field: String::new(),
    };
    let converged = wire::Converged {
        generation: 1,
        failures: vec![failure.clone()],
        failure_count: 1,
    };
    agent.say(Message::Converged(converged)).await;
    let node = rig.node("a", |node| node.converged_generation == 1).await;
    assert_eq!((node.failures, node.failure_count), (vec![failure], 1));
    assert_eq!(node.agent_version, "1.2.3");
    assert!(node.last_heard_unix_ms > 0);
    drop(agent);
    rig.node("a", |node| !node.connected).await;
}

#[tokio::test]
async fn one_changed_backend_is_one_item_on_the_wire() {
    let rig = Rig::start().await;
    rig.apply(vec![web("web", 1, &[1, 1, 1])]).await;
    let mut agent = rig.agent("a", None).await;
    let snapshot = agent.update().await;
    agent.converge(&snapshot).await;
    let applied = rig.apply(vec![web("web", 1, &[1, 7, 1])]).await;
    let target = wire::NodeTarget {
        node: "a".to_owned(),
        generation: 2,
    };
    assert_eq!(applied.targets, [target]);
    let delta = agent.update().await;
    assert_eq!((delta.generation, delta.base_generation), (2, 1));
    assert_eq!((delta.upserted.len(), delta.removed.len()), (1, 0));
    let mut state: NodeState = read(&snapshot).into_iter().collect();
    state.insert(read(&delta).remove(0));
    assert_eq!(delta.digest, state.digest().to_bytes());
}

#[tokio::test]
async fn a_node_that_a_change_does_not_touch_hears_nothing() {
    let rig = Rig::start().await;
    let on = |rack: &str, name: &str, vip: u8, weight: u32| {
        let mut resource = web(name, vip, &[weight]);
        if let Some(wire::resource::Kind::Service(service)) = &mut resource.kind {
            service.node_selector = [("rack".to_owned(), rack.to_owned())].into();
        }
        resource
    };
    rig.apply(vec![on("1", "one", 1, 1), on("2", "two", 2, 1)])
        .await;
    let mut agents = Vec::new();
    for (node, rack) in [("a", "1"), ("b", "2")] {
        let mut agent = rig.silent_agent().await;
        let hello = wire::Hello {
            node: node.to_owned(),
            labels: [("rack".to_owned(), rack.to_owned())].into(),
            ..wire::Hello::default()
        };
        agent.say(Message::Hello(hello)).await;
        let snapshot = agent.hears_next(1).await;
        agent.converge(&snapshot).await;
        rig.node(node, |node| node.converged_generation == 1).await;
        agents.push(agent);
    }
    let applied = rig.apply(vec![on("1", "one", 1, 9)]).await;
    let nodes: Vec<&str> = applied
        .targets
        .iter()
        .map(|target| target.node.as_str())
        .collect();
    assert_eq!(nodes, ["a"]);
    agents[0].hears_next(2).await;
    // had b heard of it, its next update would not be its second
    rig.apply(vec![on("2", "two", 2, 9)]).await;
    let update = agents[1].hears_next(2).await;
    assert_eq!(update.base_generation, 1);
}

#[tokio::test]
async fn a_node_that_comes_back_hears_nothing_a_delta_or_a_snapshot() {
    let rig = Rig::start().await;
    rig.apply(vec![web("web", 1, &[1])]).await;
    let mut agent = rig.agent("a", None).await;
    let first = agent.update().await;
    agent.converge(&first).await;
    rig.node("a", |node| node.converged_generation == 1).await;
    drop(agent);

    // it holds what it must: the next thing it hears is the next change
    let mut agent = rig.agent("a", Some((1, &first.digest))).await;
    let node = rig.node("a", |node| node.connected).await;
    assert_eq!(
        (node.accepted_generation, node.converged_generation),
        (1, 1)
    );
    rig.apply(vec![web("web", 1, &[2])]).await;
    let second = agent.hears_next(2).await;
    assert_eq!(second.base_generation, 1);
    drop(agent);

    // it missed that one
    rig.node("a", |node| !node.connected).await;
    let mut agent = rig.agent("a", Some((1, &first.digest))).await;
    let again = agent.hears_next(2).await;
    assert_eq!((again.base_generation, again.upserted.len()), (1, 1));
    drop(agent);

    // it holds what nobody knows, by a generation far ahead
    rig.node("a", |node| !node.connected).await;
    let mut agent = rig.agent("a", Some((40, &[9; 16]))).await;
    let whole = agent.hears_next(41).await;
    assert_eq!((whole.base_generation, whole.upserted.len()), (0, 4));
}

#[tokio::test]
async fn a_restarted_controller_says_nothing_to_a_node_that_holds_what_it_must() {
    let rig = Rig::start().await;
    rig.apply(vec![web("web", 1, &[1])]).await;
    let mut agent = rig.agent("a", None).await;
    let first = agent.update().await;
    agent.converge(&first).await;
    rig.node("a", |node| node.converged_generation == 1).await;
    let rig = rig.restart().await;
    let end = agent.hear().await.expect_err("the end");
    assert_eq!(end.code(), Code::Unavailable);
    let mut agent = rig.agent("a", Some((1, &first.digest))).await;
    let applied = rig.apply(vec![web("web", 1, &[2])]).await;
    assert_eq!(applied.revision, 3);
    let second = agent.hears_next(2).await;
    assert_eq!((second.base_generation, second.upserted.len()), (1, 1));
}

#[tokio::test]
async fn an_empty_controller_empties_no_node() {
    let rig = Rig::start().await;
    let mut agent = rig.agent("a", Some((7, &[3; 16]))).await;
    rig.apply(vec![web("web", 1, &[1])]).await;
    let first = agent.hears_next(8).await;
    assert_eq!((first.base_generation, first.upserted.len()), (0, 4));
}

#[tokio::test]
async fn a_large_state_comes_in_chunks_that_add_up() {
    let rig = Rig::start().await;
    for vip in 1..=2 {
        let backends = (0..20_000_u32).map(|number| wire::Backend {
            address: format!("10.{}.{}.{}", 9 + vip, number / 250, number % 250 + 1),
            port: 80,
            ..wire::Backend::default()
        });
        let large = service(wire::Service {
            name: format!("large-{vip}"),
            frontends: vec![wire::Frontend {
                address: format!("10.1.0.{vip}"),
                port: 80,
                protocol: wire::Protocol::Tcp.into(),
                ..wire::Frontend::default()
            }],
            backends: backends.collect(),
            ..wire::Service::default()
        });
        rig.apply(vec![large]).await;
    }
    let mut agent = rig.agent("a", None).await;
    let mut state = NodeState::default();
    let mut chunks = 0;
    let digest = loop {
        let chunk = agent.hear().await.expect("a chunk");
        assert_eq!((chunk.chunk, chunk.base_generation), (chunks, 0));
        assert!(
            chunk.encoded_len() <= 1 << 20,
            "{} bytes",
            chunk.encoded_len()
        );
        chunks += 1;
        read(&chunk).into_iter().for_each(|item| state.insert(item));
        if chunk.last {
            break chunk.digest;
        }
        assert!(chunk.digest.is_empty());
    };
    assert!(chunks >= 2, "{chunks} chunks");
    assert_eq!(state.items().len(), 2 * (2 * 20_000 + 2));
    assert_eq!(digest, state.digest().to_bytes());
}

#[tokio::test]
async fn a_rejected_delta_is_followed_by_a_snapshot_and_then_by_silence() {
    let rig = Rig::start().await;
    rig.apply(vec![web("web", 1, &[1])]).await;
    let mut agent = rig.agent("a", None).await;
    let first = agent.update().await;
    agent.converge(&first).await;
    rig.apply(vec![web("web", 1, &[2])]).await;
    let reject = |generation: u64| {
        Message::Rejected(wire::Rejected {
            generation,
            reason: Reason::Digest.into(),
            cause: "it adds up to something else".to_owned(),
            items: Vec::new(),
            held_generation: 1,
            held_digest: first.digest.clone(),
        })
    };
    let delta = agent.hears_next(2).await;
    assert_eq!(delta.base_generation, 1);
    agent.say(reject(2)).await;
    let whole = agent.hears_next(2).await;
    assert_eq!(whole.base_generation, 0);
    agent.say(reject(2)).await;
    let node = rig.node("a", |node| !node.rejection.is_empty()).await;
    let text = "generation 2: DIGEST: it adds up to something else";
    assert_eq!(node.rejection, text);
    rig.apply(vec![web("web", 1, &[3])]).await;
    agent.hears_next(3).await;
}

#[tokio::test]
async fn a_second_stream_takes_the_place_of_the_first() {
    let rig = Rig::start().await;
    let mut first = rig.agent("a", None).await;
    let mut second = rig.silent_agent().await;
    let hello = wire::Hello {
        node: "a".to_owned(),
        ..wire::Hello::default()
    };
    second.say(Message::Hello(hello)).await;
    let end = first.hear().await.expect_err("the end");
    assert_eq!(end.code(), Code::Aborted);
    rig.apply(vec![web("web", 1, &[1])]).await;
    second.hears_next(1).await;
}

#[tokio::test]
async fn a_deleted_node_registers_again_with_its_next_hello() {
    let rig = Rig::start().await;
    let mut agent = rig.agent("a", None).await;
    let request = wire::DeleteRequest {
        refs: vec![reference(wire::Kind::Node, "a")],
        ..wire::DeleteRequest::default()
    };
    let deleted = rig.operator().await.delete(request).await;
    assert_eq!(deleted.expect("deleted").into_inner().revision, 2);
    let end = agent.hear().await.expect_err("the end");
    assert_eq!(end.code(), Code::Aborted);
    let _agent = rig.agent("a", None).await;
}

#[tokio::test]
async fn a_stream_that_begins_or_goes_on_wrongly_is_ended_with_the_reason() {
    let rig = Rig::start().await;
    let mut agent = rig.silent_agent().await;
    agent
        .say(Message::Accepted(wire::Accepted {
            generation: 1,
            ..wire::Accepted::default()
        }))
        .await;
    let end = agent.hear().await.expect_err("the end");
    assert_eq!(end.message(), "hello: missing, and it comes first");
    let mut agent = rig.silent_agent().await;
    agent.say(Message::Hello(wire::Hello::default())).await;
    let end = agent.hear().await.expect_err("the end");
    assert_eq!(end.code(), Code::InvalidArgument);
    assert!(
        end.message().starts_with("hello.node: "),
        "{}",
        end.message()
    );
    let mut agent = rig.agent("a", None).await;
    agent
        .say(Message::Rejected(wire::Rejected::default()))
        .await;
    let end = agent.hear().await.expect_err("the end");
    assert_eq!(end.message(), "rejected.reason: missing");
}

#[tokio::test]
async fn what_only_a_later_agent_says_does_not_end_its_stream() {
    let rig = Rig::start().await;
    rig.apply(vec![web("web", 1, &[1])]).await;
    let mut agent = rig.agent("a", None).await;
    agent.hears_next(1).await;
    agent.say_what_nobody_knows().await;
    let rejected = wire::Rejected {
        generation: 1,
        reason: 99,
        cause: "the moon is full".to_owned(),
        ..wire::Rejected::default()
    };
    agent.say(Message::Rejected(rejected)).await;
    let node = rig.node("a", |node| !node.rejection.is_empty()).await;
    assert_eq!(node.rejection, "generation 1: INVALID: the moon is full");
    rig.apply(vec![web("web", 1, &[2])]).await;
    agent.hears_next(2).await;
}
