//! Certificates that change while they are used.

use std::path::Path;
use std::time::{Duration, SystemTime};

use weir_controller::ctl::pki::Validity;
use weir_proto::model::{Identity, Role};
use weir_proto::tls::Certificate;

use crate::stranger;
use crate::world::{self, World, node};

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
