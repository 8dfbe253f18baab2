//! Certificates that change while they are used.

use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;
use tonic::Code;
use weir_controller::ctl::pki::Validity;
use weir_proto::model::{Identity, Role};
use weir_proto::tls::Certificate;
use weir_proto::wire::operator_client::OperatorClient;

use crate::stranger;
use crate::world::{self, PATIENCE, World, node, operator};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Another time than others have, so that it can be told apart.
fn longer() -> Validity {
    let now = SystemTime::now();
    Validity {
        begins: now - DAY,
        ends: now + DAY * 2,
    }
}

fn services(count: usize) -> impl Iterator<Item = weir_proto::wire::ApplyRequest> {
    (0..count).map(|place| {
        let name = format!("s{place}");
        world::service(&name, &format!("10.100.1.{place}"), &["node-a"])
    })
}

#[tokio::test]
async fn a_stream_outlives_the_exchange_of_both_certificates_and_loses_no_update() {
    let world = World::start().await;
    let agent = world.agent("node-a");
    let first = world.until("node-a", |state| state.certificate_expires_unix_ms > 0);
    let first = first.await;
    let mut operator = world.operator(Role::Operator).await;
    let before = stranger::shown(world.address, &world.root).await;
    let controllers = world.root.issue(&Identity::Controller);
    let nodes = world.root.issue_for(&node("node-a"), longer());
    for (place, request) in services(40).enumerate() {
        operator.apply(request).await.expect("applied");
        match place {
            10 => drop(world.keep(&Identity::Controller, &controllers)),
            20 => drop(world.keep(&node("node-a"), &nodes)),
            _ => {}
        }
    }
    let state = world.until("node-a", world::caught_up).await;
    // one VIP, one service, one backend and one loopback entry of each, and what they share
    assert!(state.wanted_items >= 40 * 3, "{state:?}");
    assert_eq!(
        state.certificate_expires_unix_ms, first.certificate_expires_unix_ms,
        "the stream is the one that there was"
    );
    // whoever connects now meets the new one
    let now = stranger::shown(world.address, &world.root).await;
    assert_ne!(now, before);
    assert_eq!(now, stranger::der(&controllers));
    agent.stop().await;
    let agent = world.agent_by("node-a", world.directory().files(&node("node-a")));
    let expires = Certificate::from_pem(nodes.certificate.as_bytes()).expect("read");
    let so = |state: &weir_proto::wire::NodeState| {
        state.certificate_expires_unix_ms == expires.expires_unix_ms
    };
    world.until("node-a", so).await;
    agent.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn half_written_and_mismatched_files_leave_the_old_certificate_in_use() {
    let world = World::start().await;
    let files = world.directory().files(&Identity::Controller);
    let old = stranger::shown(world.address, &world.root).await;
    let next = world.root.issue(&Identity::Controller);
    let write = |path: &Path, text: &str| std::fs::write(path, text).expect("written");
    let stays = async |what: &str| {
        // more than once: what could not be read is tried again
        for _ in 0..3 {
            let shown = stranger::shown(world.address, &world.root).await;
            assert_eq!(shown, old, "{what}");
        }
        world.operator(Role::Viewer).await;
    };
    let half = &next.certificate[..next.certificate.len() / 2];
    write(&files.certificate, half);
    stays("half a certificate").await;
    write(&files.certificate, "");
    stays("an empty file").await;
    write(&files.certificate, &next.certificate);
    stays("another certificate with the old key").await;
    write(&files.key, &next.key[..next.key.len() / 2]);
    stays("half a key").await;
    std::fs::remove_file(&files.key).expect("removed");
    stays("no key").await;
    let nodes = world.root.issue(&node("a"));
    write(&files.certificate, &nodes.certificate);
    write(&files.key, &nodes.key);
    stays("the certificate of a node").await;
    write(&files.certificate, &next.certificate);
    write(&files.key, &next.key);
    let shown = stranger::shown(world.address, &world.root).await;
    assert_eq!(shown, stranger::der(&next));
    world.stop().await;
}

#[tokio::test]
async fn an_agent_without_a_certificate_runs_and_connects_when_it_comes() {
    let world = World::start().await;
    let mut operator = world.operator(Role::Operator).await;
    let applied = operator.apply(world::service("web", "10.100.0.1", &["node-a"]));
    applied.await.expect("applied");
    let agent = world.agent_by("node-a", world.directory().files(&node("node-a")));
    // another node's is as good as none
    let issued = world.root.issue(&node("node-b"));
    world.keep(&node("node-a"), &issued);
    world.files(&node("node-a"));
    world.until("node-a", world::caught_up).await;
    agent.stop().await;
    world.stop().await;
}

/// A certificate that expires in some seconds: time enough to connect by it.
fn brief() -> Validity {
    let now = SystemTime::now();
    Validity {
        begins: now - DAY,
        ends: now + Duration::from_secs(8),
    }
}

#[tokio::test]
async fn a_stream_ends_with_the_certificate_that_opened_it_and_says_so() {
    let world = World::start().await;
    let viewer = operator(Role::Viewer);
    let issued = world.root.issue_for(&viewer, brief());
    let channel = world.connect(&viewer, &issued).await.expect("connected");
    let mut client = OperatorClient::new(channel);
    let everything = weir_proto::wire::WatchRequest::default();
    let watching = client.watch(everything).await.expect("watched");
    let mut watching = watching.into_inner();
    let issued = world.root.issue_for(&node("node-a"), brief());
    let agent = world.agent_by("node-a", world.keep(&node("node-a"), &issued));
    world.until("node-a", |state| state.connected).await;
    let state = world.until("node-a", |state| !state.connected).await;
    assert_eq!(state.disconnection, "its certificate expired");
    // it comes back as soon as there is another
    world.files(&node("node-a"));
    world.until("node-a", |state| state.connected).await;
    agent.stop().await;
    let told = timeout(PATIENCE, async {
        loop {
            if let Err(status) = watching.message().await {
                break status;
            }
        }
    });
    let told = told.await.expect("it ends");
    assert_eq!(
        (told.code(), told.message()),
        (
            Code::Unauthenticated,
            "the certificate of viewer/alice expired while it was connected; come back with another"
        )
    );
    let refused = client.node_status(weir_proto::wire::NodeStatusRequest::default());
    refused.await.expect_err("the connection is no better");
    world.stop().await;
}
