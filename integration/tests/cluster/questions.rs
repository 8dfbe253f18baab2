//! What a change would do, asked before it is made; and what is not the same in files, at the controller and in the kernels.

use std::collections::BTreeMap;

use weir_agent::plan::{Connections, Key, Object, Step};
use weir_proto::model::ItemKey;
use weir_proto::wire;
use weir_proto::wire::ErrorReason;
use weir_proto::wire::diff_response::Part as DiffPart;
use weir_proto::wire::kernel_step::Verb;
use weir_proto::wire::plan_response::Part as PlanPart;

use super::SPREAD;
use super::fleet::{Fleet, backend, service, vip};

const BOTH: [&str; 2] = ["node-a", "node-b"];

fn resource(service: wire::Service) -> Vec<wire::Resource> {
    vec![wire::Resource {
        kind: Some(wire::resource::Kind::Service(service)),
        ..wire::Resource::default()
    }]
}

/// Gives what each node would do.
async fn plan(fleet: &Fleet, service: wire::Service) -> BTreeMap<String, wire::NodePlan> {
    let request = wire::PlanRequest {
        resources: resource(service),
        ..wire::PlanRequest::default()
    };
    let parts = fleet.operator().await.plan(request).await;
    let mut parts = parts.expect("a plan").into_inner();
    let mut nodes = BTreeMap::new();
    let mut staged = 0;
    while let Some(part) = parts.message().await.expect("a part") {
        match part.part.expect("a part") {
            PlanPart::Staged(_) => staged += 1,
            PlanPart::Node(node) => {
                assert!(!node.more, "a few steps are one part");
                nodes.insert(node.node.clone(), node);
            }
        }
    }
    assert_eq!(staged, 1);
    nodes
}

/// Gives what is not the same on each node; without a service, of everything.
async fn diff(
    fleet: &Fleet,
    service: Option<wire::Service>,
    nodes: &[&str],
) -> BTreeMap<String, wire::NodeDiff> {
    let request = wire::DiffRequest {
        resources: service.map(resource).unwrap_or_default(),
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
    };
    let parts = fleet.operator().await.diff(request).await;
    let mut parts = parts.expect("a comparison").into_inner();
    let mut all = BTreeMap::new();
    while let Some(part) = parts.message().await.expect("a part") {
        if let Some(DiffPart::Node(node)) = part.part {
            all.insert(node.node.clone(), node);
        }
    }
    all
}

/// Gives steps as a plan tells them.
fn told(steps: &[Step]) -> Vec<(Verb, String)> {
    let step = |step: &Step| {
        let verb = match step {
            Step::Add { .. } => Verb::Add,
            Step::Edit { .. } => Verb::Edit,
            Step::Remove { .. } => Verb::Remove,
        };
        (verb, step.key().to_string())
    };
    steps.iter().map(step).collect()
}

fn planned(plan: &wire::NodePlan) -> Vec<(Verb, String)> {
    let at_once = plan.steps.iter().filter(|step| !step.once_drained);
    at_once
        .map(|step| (step.verb(), step.object.clone()))
        .collect()
}

fn words(object: Option<&wire::KernelObject>) -> &str {
    object.map_or("", |object| &object.words)
}

#[tokio::test]
async fn what_is_planned_is_what_applying_then_does() {
    let fleet = Fleet::start(&BOTH).await;
    let first = service("web", "10.100.0.1", &SPREAD[..2]);
    let mut heavier = service("web", "10.100.0.1", &SPREAD);
    heavier.backends[0].weight = Some(7);
    let fewer = service("web", "10.100.0.1", &SPREAD[1..]);
    let moved = service("web", "10.100.0.2", &SPREAD[1..]);
    for change in [first, heavier, fewer, moved] {
        fleet.take_steps();
        let before = fleet.tables();
        let plans = plan(&fleet, change.clone()).await;
        assert!(
            fleet.take_steps().values().all(Vec::is_empty),
            "nothing is done by asking"
        );
        assert_eq!(fleet.tables(), before);
        let response = fleet.apply(change).await;
        let generations: BTreeMap<&str, u64> = response
            .targets
            .iter()
            .map(|target| (target.node.as_str(), target.generation))
            .collect();
        let foretold = plans
            .iter()
            .map(|(node, plan)| (node.as_str(), plan.generation));
        assert_eq!(foretold.collect::<BTreeMap<_, _>>(), generations);
        let kernels = BOTH.map(|node| fleet.kernel(node).clone());
        let settled: Vec<usize> = BOTH
            .iter()
            .map(|node| planned(&plans[*node]).len())
            .collect();
        fleet.converged(response.clone()).await;
        // a drain goes on by itself: what follows the steps of the change is not compared
        for ((node, kernel), count) in BOTH.iter().zip(kernels).zip(settled) {
            let done = told(&kernel.take_steps());
            assert_eq!(
                planned(&plans[*node]),
                done[..count.min(done.len())],
                "{node}"
            );
            assert!(done.len() >= count, "{node}");
        }
        let kernel = fleet.kernel("node-a").clone();
        let web = |key: &Key| matches!(key, Key::Item(ItemKey::Backend(_)));
        let backends = fleet.status("node-a").await;
        assert!(
            backends.connected,
            "{}",
            kernel.table().keys().filter(|key| web(key)).count()
        );
    }
}

#[tokio::test]
async fn a_backend_that_goes_is_planned_to_be_drained_with_the_connections_it_has() {
    let fleet = Fleet::start(&["node-a"]).await;
    let response = fleet.apply(service("web", "10.100.0.1", &SPREAD)).await;
    fleet.converged(response).await;
    let gone = backend("10.100.0.1", SPREAD[0].0);
    let Key::Item(ItemKey::Backend(key)) = gone else {
        panic!("{gone}");
    };
    let connections = Connections {
        active: 3,
        inactive: 2,
    };
    fleet.kernel("node-a").connect(key, connections);
    let plans = plan(&fleet, service("web", "10.100.0.1", &SPREAD[1..])).await;
    let steps = &plans["node-a"].steps;
    let of_it: Vec<_> = steps
        .iter()
        .filter(|step| step.object == gone.to_string())
        .map(|step| {
            (
                step.verb(),
                step.once_drained,
                words(step.found.as_ref()),
                words(step.wanted.as_ref()),
            )
        })
        .collect();
    assert_eq!(
        of_it,
        [
            (
                Verb::Edit,
                false,
                "weight 1, masquerade",
                "weight 0, masquerade"
            ),
            (Verb::Remove, true, "weight 1, masquerade", ""),
        ]
    );
    let counts = steps.iter().find(|step| step.object == gone.to_string());
    let counts = counts.map(|step| (step.active_connections, step.inactive_connections));
    assert_eq!(counts, Some((Some(3), Some(2))));
}

#[tokio::test]
async fn a_node_that_is_not_connected_is_named_as_such() {
    let mut fleet = Fleet::start(&BOTH).await;
    fleet.stop_agent("node-b").await;
    fleet.until("node-b", |node| !node.connected).await;
    let plans = plan(&fleet, service("web", "10.100.0.1", &SPREAD)).await;
    assert_eq!(plans["node-a"].unanswered, None);
    let away = plans["node-b"].unanswered.clone().expect("nobody to ask");
    assert_eq!(away.reason(), ErrorReason::NodeAway);
    assert_eq!(away.detail, "it is not connected");
}

#[tokio::test]
async fn what_cannot_be_applied_cannot_be_planned() {
    let fleet = Fleet::start(&["node-a"]).await;
    let mut bad = service("web", "10.100.0.1", &SPREAD);
    bad.scheduler = Some("best".to_owned());
    let request = wire::PlanRequest {
        resources: resource(bad),
        ..wire::PlanRequest::default()
    };
    let refused = fleet.operator().await.plan(request).await;
    let refused = refused.expect_err("refused");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused:?}");
}

#[tokio::test]
async fn a_change_that_would_be_held_back_says_so() {
    let fleet = Fleet::start(&["node-a"]).await;
    for number in 1..=24 {
        let (name, at) = (format!("web-{number}"), format!("10.100.0.{number}"));
        let response = fleet.apply(service(&name, &at, &SPREAD[..1])).await;
        fleet.converged(response).await;
    }
    // every service leaves the node in one batch
    let elsewhere = |number: u32| {
        let mut service = service(
            &format!("web-{number}"),
            &format!("10.100.0.{number}"),
            &SPREAD[..1],
        );
        service
            .node_selector
            .insert("name".to_owned(), "node-z".to_owned());
        resource(service)
    };
    let request = wire::PlanRequest {
        resources: (1..=24).flat_map(elsewhere).collect(),
        ..wire::PlanRequest::default()
    };
    let parts = fleet.operator().await.plan(request).await;
    let mut parts = parts.expect("a plan").into_inner();
    let mut held = None;
    while let Some(part) = parts.message().await.expect("a part") {
        if let Some(PlanPart::Node(node)) = part.part {
            held = Some((node.held_back, node.steps.len()));
        }
    }
    let (cause, steps) = held.expect("the node");
    assert!(!cause.is_empty());
    assert_eq!(steps, 0);
}

#[tokio::test]
async fn a_tampered_kernel_differs_and_what_is_foreign_does_not() {
    let fleet = Fleet::start(&BOTH).await;
    let web = service("web", "10.100.0.1", &SPREAD);
    let response = fleet.apply(web.clone()).await;
    fleet.converged(response).await;
    let same = |all: &BTreeMap<String, wire::NodeDiff>| {
        let node = |node: &wire::NodeDiff| node.unanswered.is_none() && node.differences.is_empty();
        assert_eq!(all.keys().collect::<Vec<_>>(), BOTH);
        assert!(all.values().all(node), "{all:?}");
    };
    same(&diff(&fleet, None, &[]).await);
    same(&diff(&fleet, Some(web.clone()), &[]).await);

    let (changed, gone, foreign) = (
        backend("10.100.0.1", SPREAD[0].0),
        vip("10.100.0.1"),
        vip("192.0.2.9"),
    );
    fleet.kernel("node-b").tamper(|table| {
        table.remove(&gone);
        if let Some(Object::Backend(spec)) = table.get_mut(&changed) {
            spec.weight = 9;
        }
        table.insert(foreign, Object::Vip(Default::default()));
    });
    let by_hand = |all: &BTreeMap<String, wire::NodeDiff>| {
        assert_eq!(all["node-a"].differences, []);
        let differences = all["node-b"].differences.iter().map(|it| {
            let object = |it: &Option<wire::KernelObject>| words(it.as_ref()).to_owned();
            (
                it.object.clone(),
                object(&it.file),
                object(&it.desired),
                object(&it.kernel),
            )
        });
        let differences: Vec<_> = differences.collect();
        let text = |key: Key| key.to_string();
        let backend = "weight 1, masquerade".to_owned();
        let vip = "address".to_owned();
        assert_eq!(
            differences,
            [
                (
                    text(changed),
                    backend.clone(),
                    backend,
                    "weight 9, masquerade".to_owned()
                ),
                (text(gone), vip.clone(), vip, String::new()),
            ]
        );
    };
    by_hand(&diff(&fleet, None, &[]).await);
    by_hand(&diff(&fleet, Some(web.clone()), &[]).await);
    // of the file alone
    let mut heavier = web;
    heavier.backends[1].weight = Some(4);
    let all = diff(&fleet, Some(heavier), &["node-a"]).await;
    assert_eq!(all.len(), 1);
    let differences = all["node-a"].differences.iter();
    let differences: Vec<_> = differences
        .map(|it| {
            (
                &*it.object,
                words(it.file.as_ref()),
                words(it.kernel.as_ref()),
            )
        })
        .collect();
    let key = backend("10.100.0.1", SPREAD[1].0).to_string();
    assert_eq!(
        differences,
        [(&*key, "weight 4, masquerade", "weight 1, masquerade")]
    );
}

#[tokio::test]
async fn a_node_that_nobody_knows_cannot_be_compared() {
    let fleet = Fleet::start(&["node-a"]).await;
    let request = wire::DiffRequest {
        nodes: vec!["node-x".to_owned()],
        ..wire::DiffRequest::default()
    };
    let refused = fleet.operator().await.diff(request).await;
    let refused = refused.expect_err("refused");
    assert_eq!(refused.code(), tonic::Code::NotFound);
    assert_eq!(refused.message(), "not found: nodes[node-x]");
}
