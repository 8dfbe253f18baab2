//! Rollouts over ten agents.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use weir_agent::kernel::StepError;
use weir_agent::plan::{Counters, Key, Object, Problem};
use weir_proto::model::ItemKey;
use weir_proto::wire;
use weir_proto::wire::rollout::Phase;
use weir_proto::wire::steer_rollout_request::Action;

use super::SPREAD;
use super::fleet::{Fleet, backend, service};

const NODES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
/// Between two connections that fail.
const PAUSE: Duration = Duration::from_millis(50);

fn web(weight: u32) -> wire::Service {
    let mut web = service("web", "10.100.0.1", &SPREAD);
    web.backends[0].weight = Some(weight);
    web
}

fn first() -> Key {
    backend("10.100.0.1", "10.0.0.11")
}

/// Gives the nodes whose kernel holds a weight of the first backend.
fn holding(fleet: &Fleet, weight: u16) -> BTreeSet<String> {
    let holds = |node: &&str| match fleet.kernel(node).table().get(&first()) {
        Some(Object::Backend(spec)) => spec.weight == u32::from(weight),
        _ => false,
    };
    let nodes = NODES.iter().filter(|node| holds(node));
    nodes.map(|node| (*node).to_owned()).collect()
}

#[tokio::test]
async fn a_batch_reaches_ten_nodes_in_three_steps_and_the_next_one_halts_and_is_undone() {
    let mut fleet = Fleet::start(&NODES).await;
    let response = fleet.apply(web(1)).await;
    fleet.converged(response).await;
    fleet.roll_out(web(2), "1,30%,100%").await;
    let done = fleet.rolled(Phase::Done).await;
    let steps: Vec<u32> = done.nodes.iter().map(|node| node.step).collect();
    assert_eq!(steps, [0, 1, 1, 2, 2, 2, 2, 2, 2, 2]);
    assert!(done.nodes.iter().all(|node| node.converged));
    assert_eq!(holding(&fleet, 2).len(), NODES.len());

    fleet.take_steps();
    for node in NODES {
        let refused = StepError::from(Problem::new(12, "no memory".to_owned()));
        fleet.kernel(node).fail(first(), refused);
    }
    fleet.roll_out(web(3), "1,30%,100%").await;
    let halted = fleet.rolled(Phase::Halted).await;
    let reached: Vec<_> = halted.nodes.iter().filter(|node| node.reached).collect();
    let [reached] = reached.as_slice() else {
        panic!("{halted:?}");
    };
    let reason = format!("node {} refuses {}: no memory", reached.name, first());
    assert_eq!(halted.reason, reason);
    // what it refused it tries again by itself, and the others hear nothing
    let only = BTreeSet::from([reached.name.clone()]);
    fleet.eventually(|| holding(&fleet, 3) == only).await;

    // a controller that starts again knows where it was
    fleet.stop_controller().await;
    fleet.start_controller().await;
    assert_eq!(fleet.rolled(Phase::Halted).await.reason, reason);
    let undone = fleet.steer(Action::Undo).await;
    let told: BTreeSet<String> = undone.targets.into_iter().map(|it| it.node).collect();
    assert_eq!(told, only);
    fleet
        .eventually(|| holding(&fleet, 2).len() == NODES.len())
        .await;
    for (node, steps) in fleet.take_steps() {
        assert_eq!(steps.is_empty(), node != reached.name, "{node}: {steps:?}");
    }
}

#[tokio::test]
async fn connections_that_a_node_sees_fail_halt_it() {
    let mut fleet = Fleet::start(&["a", "b"]).await;
    let response = fleet.apply(web(1)).await;
    fleet.converged(response).await;
    // it is waited for, and so the rollout goes on for as long as it takes
    fleet.stop_agent("b").await;
    fleet.roll_out(web(2), "100%").await;
    let (kernel, over) = (fleet.kernel("a").clone(), Arc::new(AtomicBool::new(false)));
    let Key::Item(ItemKey::Backend(key)) = first() else {
        panic!("a backend");
    };
    let stop = Arc::clone(&over);
    let clients = tokio::spawn(async move {
        let mut refused = Counters::default();
        while !stop.load(Ordering::Relaxed) {
            refused.passed.connections += 1;
            refused.passed.packets_in += 1;
            refused.passed.packets_out += 1;
            kernel.count(key, refused);
            tokio::time::sleep(PAUSE).await;
        }
    });
    let halted = fleet.rolled(Phase::Halted).await;
    over.store(true, Ordering::Relaxed);
    clients.await.expect("no panic");
    let why = "connections fail more often where the batch is: ";
    assert!(halted.reason.starts_with(why), "{}", halted.reason);
    let a = halted.nodes.iter().find(|node| node.name == "a");
    let a = a.expect("it is of it");
    assert!(a.failed_connections >= 5, "{a:?}");
    assert_eq!(a.failed_connections, a.connections);
}
