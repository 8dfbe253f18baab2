//! A node speaks for itself alone, whatever name it says.

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};
use weir_integration::random::Random;
use weir_proto::model::Role;
use weir_proto::wire;
use weir_proto::wire::node_reports_client::NodeReportsClient;
use weir_proto::wire::node_sync_client::NodeSyncClient;
use weir_proto::wire::sync_request::Message;

use crate::world::{self, PATIENCE, World, node};

const NAMES: usize = 10_000;
/// Under way at a time; a connection takes 256.
const AT_ONCE: usize = 64;
/// What names are made of, and some letters that none has.
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-.-.node-ab/A \0";

/// Says hello as a node, and gives what came: the first message, or why there is none.
async fn hello(channel: Channel, name: String) -> Result<wire::SyncResponse, Status> {
    let hello = wire::Hello {
        node: name,
        ..wire::Hello::default()
    };
    let (requests, stream) = mpsc::channel(1);
    let first = wire::SyncRequest {
        message: Some(Message::Hello(hello)),
    };
    requests.send(first).await.expect("room");
    let answered = NodeSyncClient::new(channel)
        .sync(ReceiverStream::new(stream))
        .await;
    let message = answered?.into_inner().next().await;
    drop(requests);
    message.unwrap_or_else(|| Err(Status::ok("nothing came")))
}

fn random_name(random: &mut Random) -> String {
    let length = 1 + random.below(20);
    let letters = (0..length).map(|_| char::from(*random.pick(LETTERS)));
    letters.collect()
}

#[tokio::test]
async fn ten_thousand_names_and_one_certificate_never_read_another_nodes_share() {
    let world = World::start().await;
    let mut operator = world.operator(Role::Operator).await;
    let others = ["node-b", "node-c", "b"];
    let agents: Vec<_> = others.iter().map(|name| world.agent(name)).collect();
    for name in others {
        world.until(name, |state| state.connected).await;
    }
    let applied = operator.apply(world::service("web", "10.100.0.1", &others));
    applied.await.expect("applied");
    for name in others {
        world.until(name, world::caught_up).await;
    }

    let channel = world.channel(&node("node-a")).await;
    let mut random = Random::new(5);
    let near = [
        "node-b",
        "node-c",
        "b",
        "node-a ",
        "NODE-A",
        "node-a.",
        "",
        "node-a/../node-b",
    ];
    let mut names = near.into_iter().map(str::to_owned).collect::<Vec<_>>();
    while names.len() < NAMES {
        let name = random_name(&mut random);
        if name != "node-a" {
            names.push(name);
        }
    }
    let mut under_way = JoinSet::new();
    let check = |ended: Result<(String, Result<wire::SyncResponse, Status>), _>| {
        let (name, answer) = ended.expect("no panic");
        match answer {
            Err(status) if status.code() == Code::PermissionDenied => 1,
            // no name at all
            Err(status) if status.code() == Code::InvalidArgument => 0,
            other => panic!("{name:?} got {other:?}"),
        }
    };
    let mut denied = 0;
    for name in names {
        if under_way.len() >= AT_ONCE
            && let Some(ended) = under_way.join_next().await
        {
            denied += check(ended);
        }
        let channel = channel.clone();
        under_way.spawn(async move {
            let answer = timeout(PATIENCE, hello(channel, name.clone())).await;
            (name, answer.expect("in time"))
        });
    }
    while let Some(ended) = under_way.join_next().await {
        denied += check(ended);
    }
    assert!(denied > NAMES / 10, "{denied} of these are names");

    // nothing was registered, and nobody lost their stream
    let request = wire::ListRequest {
        kind: wire::Kind::Node.into(),
        ..wire::ListRequest::default()
    };
    let listed = operator.list(request).await.expect("listed").into_inner();
    assert_eq!(listed.resources.len(), others.len());
    for name in others {
        let state = world.until(name, |state| state.connected).await;
        assert!(world::caught_up(&state), "{state:?}");
    }
    // and its own share it gets
    let own = timeout(PATIENCE, hello(channel, "node-a".to_owned())).await;
    let own = own.expect("in time").expect("its state");
    assert!(own.message.is_some(), "{own:?}");
    for agent in agents {
        agent.stop().await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_node_reports_as_itself() {
    let world = World::start().await;
    let channel = world.channel(&node("node-a")).await;
    let report = |name: &str| wire::ReportRequest {
        node: name.to_owned(),
        interval_ms: 1_000,
        ..wire::ReportRequest::default()
    };
    let mut client = NodeReportsClient::new(channel);
    let told = client.report(tokio_stream::iter([report("node-a")])).await;
    told.expect("taken");
    let reports = [report("node-a"), report("node-b")];
    let refused = client.report(tokio_stream::iter(reports)).await;
    let refused = refused.expect_err("refused");
    assert_eq!(
        (refused.code(), refused.message()),
        (
            Code::PermissionDenied,
            "to speak for it needs the certificate of node/node-b; the certificate is that of node/node-a"
        )
    );
    world.stop().await;
}
