//! Who may call and who may be called: a controller over TCP and TLS in this process, and others of every kind.

mod callers;
mod controllers;
mod nodes;
mod roles;
mod rotation;
mod stranger;
mod world;

use weir_proto::model::Role;
use weir_proto::wire;
use world::World;

#[tokio::test]
async fn an_operator_and_an_agent_are_served_over_tls() {
    let world = World::start().await;
    let mut operator = world.operator(Role::Operator).await;
    let applied = operator.apply(world::service("web", "10.100.0.1", &["node-a"]));
    applied.await.expect("applied");
    let agent = world.agent("node-a");
    let state = world.until("node-a", world::caught_up).await;
    assert!(state.certificate_expires_unix_ms > 0, "{state:?}");
    assert!(state.wanted_items > 0, "{state:?}");
    assert!(!agent.kernel.table().is_empty());
    agent.stop().await;
    let request = wire::ListRequest {
        kind: wire::Kind::Node.into(),
        ..wire::ListRequest::default()
    };
    let listed = operator.list(request).await.expect("listed").into_inner();
    assert_eq!(listed.resources.len(), 1);
    world.stop().await;
}
