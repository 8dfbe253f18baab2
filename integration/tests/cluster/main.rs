//! Controller and agents in one process, over loopback gRPC, each agent with a kernel in memory.

mod fleet;
mod questions;
mod rollouts;
mod why;

use std::collections::BTreeSet;

use fleet::{Fleet, backend, entry, service, vip};
use weir_agent::kernel::StepError;
use weir_agent::plan::{Key, Problem};

/// Two backends on node-a, one on node-b.
const SPREAD: [(&str, &str); 3] = [
    ("10.0.0.11", "node-a"),
    ("10.0.0.21", "node-a"),
    ("10.0.1.11", "node-b"),
];

#[tokio::test]
async fn a_service_reaches_the_kernel_of_every_node_with_its_own_loopback_entries() {
    let fleet = Fleet::start(&["node-a", "node-b"]).await;
    let revision = fleet.apply(service("web", "10.100.0.1", &SPREAD)).await;
    fleet.converged(revision).await;
    for (node, own) in [("node-a", &SPREAD[..2]), ("node-b", &SPREAD[2..])] {
        let kernel = fleet.kernel(node).table();
        for (address, _) in SPREAD {
            assert!(
                kernel.contains_key(&backend("10.100.0.1", address)),
                "{node} {address}"
            );
        }
        assert!(kernel.contains_key(&vip("10.100.0.1")), "{node}");
        let entries: BTreeSet<Key> = kernel.into_keys().filter(fleet::is_entry).collect();
        let wanted: BTreeSet<Key> = own.iter().map(|(address, _)| entry(address)).collect();
        assert_eq!(entries, wanted, "{node}");
    }
}

#[tokio::test]
async fn a_changed_weight_is_one_step_on_each_node() {
    let fleet = Fleet::start(&["node-a", "node-b"]).await;
    let revision = fleet.apply(service("web", "10.100.0.1", &SPREAD)).await;
    fleet.converged(revision).await;
    fleet.take_steps();
    let mut heavier = service("web", "10.100.0.1", &SPREAD);
    heavier.backends[0].weight = Some(7);
    let revision = fleet.apply(heavier).await;
    fleet.converged(revision).await;
    let changed = backend("10.100.0.1", "10.0.0.11");
    for (node, steps) in fleet.take_steps() {
        let keys: Vec<Key> = steps.iter().map(|step| step.key()).collect();
        assert_eq!(keys, [changed], "{node}");
    }
}

#[tokio::test]
async fn a_node_that_a_change_does_not_touch_hears_nothing() {
    let fleet = Fleet::start(&["node-a", "node-b"]).await;
    let revision = fleet.apply(service("web", "10.100.0.1", &SPREAD)).await;
    fleet.converged(revision).await;
    let before = fleet.status("node-b").await.accepted_generation;
    fleet.take_steps();
    let mut only_a = service("shop", "10.100.0.2", &SPREAD[..1]);
    only_a
        .node_selector
        .insert("name".to_owned(), "node-a".to_owned());
    let response = fleet.apply(only_a).await;
    let targets: Vec<&str> = response
        .targets
        .iter()
        .map(|target| target.node.as_str())
        .collect();
    assert_eq!(targets, ["node-a"]);
    fleet.converged(response).await;
    assert_eq!(fleet.status("node-b").await.accepted_generation, before);
    let steps = fleet.take_steps();
    assert_eq!(steps["node-b"], []);
    assert!(!steps["node-a"].is_empty());
}

#[tokio::test]
async fn one_refused_item_is_told_and_its_neighbours_converge() {
    let fleet = Fleet::start(&["node-a", "node-b"]).await;
    let refused = StepError::from(Problem::new(12, "no memory".to_owned()));
    let bad = backend("10.100.0.1", "10.0.0.21");
    fleet.kernel("node-a").fail(bad, refused);
    let response = fleet.apply(service("web", "10.100.0.1", &SPREAD)).await;
    let generation = response.targets[0].generation;
    let status = fleet
        .until("node-a", |node| {
            node.converged_generation == generation && node.failure_count == 1
        })
        .await;
    assert_eq!(status.failures[0].errno, 12);
    assert_eq!(status.failures[0].cause, "no memory");
    // it is tried again, and then all is well everywhere
    fleet.converged(response).await;
    assert!(fleet.kernel("node-a").table().contains_key(&bad));
}

#[tokio::test]
async fn a_restarted_controller_changes_nothing_on_any_node() {
    let mut fleet = Fleet::start(&["node-a", "node-b"]).await;
    let response = fleet.apply(service("web", "10.100.0.1", &SPREAD)).await;
    fleet.converged(response.clone()).await;
    let before: Vec<_> = fleet.tables();
    fleet.take_steps();
    fleet.stop_controller().await;
    fleet.start_controller().await;
    fleet.converged(response).await;
    assert!(fleet.take_steps().values().all(Vec::is_empty));
    assert_eq!(fleet.tables(), before);
}

#[tokio::test]
async fn an_empty_controller_empties_no_node() {
    let mut fleet = Fleet::start(&["node-a", "node-b"]).await;
    let response = fleet.apply(service("web", "10.100.0.1", &SPREAD)).await;
    fleet.converged(response).await;
    let before = fleet.tables();
    fleet.take_steps();
    fleet.stop_controller().await;
    fleet.lose_store();
    fleet.start_controller().await;
    for node in ["node-a", "node-b"] {
        fleet.until(node, |node| node.connected).await;
    }
    assert!(fleet.take_steps().values().all(Vec::is_empty));
    assert_eq!(fleet.tables(), before);
}

#[tokio::test]
async fn a_node_that_was_away_gets_what_it_missed() {
    let mut fleet = Fleet::start(&["node-a", "node-b"]).await;
    let response = fleet.apply(service("web", "10.100.0.1", &SPREAD)).await;
    fleet.converged(response).await;
    fleet.stop_agent("node-b").await;
    let response = fleet
        .apply(service("web", "10.100.0.1", &SPREAD[..2]))
        .await;
    fleet.until("node-b", |node| !node.connected).await;
    let gone = backend("10.100.0.1", "10.0.1.11");
    assert!(
        fleet.kernel("node-b").table().contains_key(&gone),
        "it serves on"
    );
    fleet.start_agent("node-b");
    fleet.converged(response).await;
    // it is drained first
    let kernel = fleet.kernel("node-b").clone();
    fleet
        .eventually(|| !kernel.table().contains_key(&gone))
        .await;
}

#[tokio::test]
async fn a_controller_that_lost_its_store_takes_nothing_away_until_an_operator_says_so() {
    let mut fleet = Fleet::start(&["node-a"]).await;
    let response = fleet.apply(service("web", "10.100.0.1", &SPREAD)).await;
    fleet.converged(response).await;
    let before = fleet.tables();
    fleet.stop_controller().await;
    fleet.lose_store();
    fleet.start_controller().await;
    fleet.until("node-a", |node| node.connected).await;
    fleet
        .apply(service("new", "10.100.0.9", &SPREAD[..1]))
        .await;
    fleet.until("node-a", |node| node.hold.is_some()).await;
    assert_eq!(fleet.tables(), before, "nothing is taken away, nor added");
    fleet.release("node-a").await;
    fleet.until("node-a", |node| node.hold.is_none()).await;
    let kernel = fleet.kernel("node-a").clone();
    let gone = backend("10.100.0.1", "10.0.1.11");
    let new = backend("10.100.0.9", "10.0.0.11");
    fleet
        .eventually(|| {
            let table = kernel.table();
            !table.contains_key(&gone) && table.contains_key(&new)
        })
        .await;
}

#[tokio::test]
async fn a_node_that_lost_its_journal_is_told_everything_and_touches_nothing() {
    let mut fleet = Fleet::start(&["node-a"]).await;
    let response = fleet
        .apply(service("web", "10.100.0.1", &SPREAD[..2]))
        .await;
    fleet.converged(response.clone()).await;
    let before = fleet.tables();
    fleet.stop_agent("node-a").await;
    fleet.lose_journal("node-a");
    fleet.take_steps();
    fleet.start_agent("node-a");
    fleet.converged(response).await;
    assert!(
        fleet.take_steps().values().all(Vec::is_empty),
        "all is as wanted already"
    );
    assert_eq!(fleet.tables(), before);
}

#[tokio::test]
async fn a_deleted_service_is_gone_from_every_kernel() {
    let fleet = Fleet::start(&["node-a", "node-b"]).await;
    let response = fleet.apply(service("web", "10.100.0.1", &SPREAD)).await;
    fleet.converged(response).await;
    fleet.delete("web").await;
    for node in ["node-a", "node-b"] {
        fleet
            .until(node, |node| {
                node.wanted_items == 0 && fleet::caught_up(node)
            })
            .await;
        let left: Vec<Key> = fleet.kernel(node).table().into_keys().collect();
        assert!(
            !left.iter().any(|key| matches!(key, Key::Item(_))),
            "{left:?}"
        );
    }
}
