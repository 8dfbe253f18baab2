//! Who may listen and speak: a controller over TCP and TLS in this process, and callers of every kind.

mod world;

use weir_proto::model::Role;
use weir_proto::wire;
use world::World;

#[tokio::test]
async fn an_operator_and_an_agent_are_served_over_tls() {
    let world = World::start().await;
    let mut operator = world.operator(Role::Operator).await;
    let applied = operator
        .apply(world::service("web", "10.100.0.1", &["node-a"]))
        .await;
    applied.expect("applied");
    let agent = world.agent("node-a").await;
    let state = world
        .until("node-a", |state| {
            state.connected && state.converged_generation == state.wanted_generation
        })
        .await;
    assert!(state.certificate_expires_unix_ms > 0, "{state:?}");
    assert!(state.wanted_items > 0, "{state:?}");
    agent.stop().await;
    let request = wire::ListRequest {
        kind: wire::Kind::Node.into(),
        ..wire::ListRequest::default()
    };
    let listed = operator.list(request).await.expect("listed").into_inner();
    assert_eq!(listed.resources.len(), 1);
}
