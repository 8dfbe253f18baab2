//! What a node's kernel lacks, and what is refused for it.

use tonic::{Code, Status};
use weir_proto::wire;
use weir_proto::wire::sync_request::Message;

use crate::rig::{Agent, Rig, web};

/// Connects an agent that has tried some schedulers.
async fn agent(rig: &Rig, node: &str, schedulers: &[(&str, bool)]) -> Agent {
    let tried = |(name, available): &(&str, bool)| wire::Capability {
        name: format!("scheduler_{name}"),
        available: *available,
        detail: format!("load the module ip_vs_{name}"),
        optional: true,
    };
    let hello = wire::Hello {
        node: node.to_owned(),
        capabilities: schedulers.iter().map(tried).collect(),
        ..wire::Hello::default()
    };
    let mut agent = rig.silent_agent().await;
    agent.say(Message::Hello(hello)).await;
    rig.node(node, |state| state.connected).await;
    agent
}

async fn apply(rig: &Rig, scheduler: &str) -> Result<wire::ApplyResponse, Status> {
    let mut resource = web("web", 1, &[1]);
    if let Some(wire::resource::Kind::Service(service)) = &mut resource.kind {
        service.scheduler = Some(scheduler.to_owned());
    }
    let request = wire::ApplyRequest {
        resources: vec![resource],
        ..wire::ApplyRequest::default()
    };
    let applied = rig.operator().await.apply(request).await;
    applied.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_scheduler_that_no_selected_node_has_is_refused_naming_a_node_and_its_reason() {
    let rig = Rig::start().await;
    let _a = agent(&rig, "node-a", &[("mh", true), ("twos", false)]).await;
    let said = "services[web].scheduler: no selected node can run it: node-a lacks scheduler_twos: \
                load the module ip_vs_twos";
    let refused = apply(&rig, "twos").await.expect_err("refused");
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::InvalidArgument, said)
    );
    apply(&rig, "mh").await.expect("node-a has it");

    let rig = rig.restart().await;
    let refused = apply(&rig, "twos").await.expect_err("refused");
    assert_eq!(
        refused.message(),
        said,
        "after a restart, node-a still away"
    );
    let known = rig.node("node-a", |_| true).await.capabilities;
    let known: Vec<_> = known
        .iter()
        .map(|known| (&*known.name, known.available))
        .collect();
    assert_eq!(known, [("scheduler_mh", true), ("scheduler_twos", false)]);

    let _b = agent(&rig, "node-b", &[("twos", false)]).await;
    let refused = apply(&rig, "twos").await.expect_err("refused");
    assert_eq!(refused.message(), format!("{said}; nor can 1 more node"));
    let _c = agent(&rig, "node-c", &[("twos", true)]).await;
    let applied = apply(&rig, "twos").await.expect("node-c has it");
    assert_eq!(
        applied.targets.len(),
        3,
        "the others say that they have not"
    );
}

#[tokio::test]
async fn a_node_that_said_nothing_of_its_kernel_may_be_able() {
    let rig = Rig::start().await;
    let _silent = rig.agent("node-a", None).await;
    let _lacks = agent(&rig, "node-b", &[("twos", false)]).await;
    apply(&rig, "twos").await.expect("node-a may have it");
}
