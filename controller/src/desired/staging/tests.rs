use weir_proto::model::{Forwarding, Service};

use super::*;
use crate::desired::Drains;
use crate::desired::samples::{batch, node, node_name, service};

/// Direct route, so that the nodes of backends must have something as well.
fn web(selector: &[(&str, &str)], behind: &[&str]) -> Resource {
    Resource::Service(Service {
        forwarding: Forwarding::DirectRoute,
        node_selector: crate::desired::samples::labels(selector),
        ..service("web", &["10.1.0.1:80"], behind)
    })
}

fn begin(desired: &Desired, resources: Vec<Resource>) -> Change {
    let begin = Begin {
        canary: "1,50%,100%".parse().expect("steps"),
        revision: Revision(2),
        who: "anonymous".to_owned(),
        now_unix_ms: 1,
        allow_mass_delete: false,
    };
    desired.prepare_rollout(batch(resources), begin, |_| Count::default())
}

/// Takes a change, and finds that whoever starts with what is kept holds every node to the same. Gives the nodes that see it.
fn take(desired: &mut Desired, change: Change) -> Vec<NodeName> {
    let seen = change.nodes().keys().cloned().collect();
    desired.take(change, Revision(2));
    let all = desired.resources.all();
    let all = all.map(|stored| (**stored).clone());
    let all: Vec<_> = all.collect();
    let rollout = desired.rollout.clone();
    let drains: Drains = desired.drains.clone();
    let restored = Desired::restore(all, drains, rollout, &BTreeMap::new());
    for node in desired.resources.nodes() {
        let digest = |of: &Desired| of.view(&node.name).map(|view| view.digest());
        assert_eq!(digest(desired), digest(&restored), "{}", node.name);
    }
    seen
}

/// Nodes l0-l3 hold services, b0 and b1 are where backends run.
fn cluster() -> Desired {
    let mut desired = Desired::default();
    let mut resources = vec![web(&[("lb", "yes")], &["10.0.0.1:80@b0"])];
    for number in 0..4 {
        let name = format!("l{number}");
        resources.push(Resource::Node(node(&name, &[("lb", "yes")])));
    }
    for name in ["b0", "b1"] {
        resources.push(Resource::Node(node(name, &[])));
    }
    let change = desired.prepare(batch(resources));
    take(&mut desired, change);
    desired
}

fn moved() -> Resource {
    web(&[("lb", "yes")], &["10.0.0.2:80@b1"])
}

fn reach(desired: &mut Desired, step: usize, nodes: &[&str]) -> Vec<NodeName> {
    let nodes = nodes.iter().map(|name| node_name(name)).collect();
    let change = desired.prepare_reach((step, &nodes), 2);
    take(desired, change.expect("under way"))
}

fn names(names: &[&str]) -> Vec<NodeName> {
    names.iter().map(|name| node_name(name)).collect()
}

#[test]
fn a_node_holds_what_is_new_when_it_is_reached_and_the_backends_both_meanwhile() {
    let mut desired = cluster();
    let change = begin(&desired, vec![moved()]);
    // only the node of the new backend, so that it takes packets before any are sent
    assert_eq!(take(&mut desired, change), names(&["b1"]));
    assert_eq!(reach(&mut desired, 0, &["l2"]), names(&["l2"]));
    assert_eq!(reach(&mut desired, 1, &["l0"]), names(&["l0"]));
    assert_eq!(reach(&mut desired, 2, &["l1", "l3"]), names(&["l1", "l3"]));
    let change = desired.prepare_finish(3).expect("under way");
    assert_eq!(take(&mut desired, change), names(&["b0"]));
    assert!(desired.under_way().is_none());
}

#[test]
fn an_undo_is_seen_where_it_was_reached_and_nowhere_else() {
    let mut desired = cluster();
    let before: BTreeMap<_, _> = desired
        .resources
        .nodes()
        .filter_map(|node| Some((node.name.clone(), desired.view(&node.name)?.digest())))
        .collect();
    let new = Resource::Service(service("new", &["10.1.0.2:80"], &["10.0.0.3:80"]));
    let change = begin(&desired, vec![moved(), new]);
    take(&mut desired, change);
    reach(&mut desired, 0, &["l2", "b0"]);
    let change = desired.prepare_undo(3).expect("under way");
    assert_eq!(take(&mut desired, change), names(&["b0", "b1", "l2"]));
    for (name, digest) in before {
        assert_eq!(desired.view(&name).map(|view| view.digest()), Some(digest));
    }
}

#[test]
fn nodes_that_come_go_or_change_their_labels_are_placed_as_a_restart_would() {
    let mut desired = cluster();
    let narrow = web(&[("lb", "yes"), ("rack", "3")], &["10.0.0.2:80@b1"]);
    let change = begin(&desired, vec![narrow]);
    take(&mut desired, change);
    reach(&mut desired, 0, &["l2"]);
    let write = |desired: &mut Desired, name: &str, labels: &[(&str, &str)]| {
        let change = desired.prepare(batch(vec![Resource::Node(node(name, labels))]));
        take(desired, change);
    };
    write(&mut desired, "late", &[("lb", "yes"), ("rack", "3")]);
    write(&mut desired, "l1", &[("lb", "yes"), ("rack", "3")]);
    // away, and back: it has lost what it had
    write(&mut desired, "l2", &[]);
    assert!(
        !desired
            .under_way()
            .expect("under way")
            .has(&node_name("l2"))
    );
    write(&mut desired, "l2", &[("lb", "yes"), ("rack", "3")]);
    let rollout = desired.under_way().expect("under way");
    assert!(rollout.has(&node_name("l2")) && !rollout.has_reached(&node_name("l2")));
    let gone = BTreeMap::from([(Resource::Node(node("l0", &[])).reference(), None)]);
    let change = desired.prepare(gone);
    take(&mut desired, change);
    reach(&mut desired, 2, &["late", "l1", "l2", "l3"]);
    let change = desired.prepare_finish(3).expect("under way");
    take(&mut desired, change);
}

#[test]
fn a_cordon_counts_at_once_in_both_versions_and_is_no_part_of_the_rollout() {
    let mut desired = cluster();
    let change = begin(&desired, vec![moved()]);
    take(&mut desired, change);
    reach(&mut desired, 0, &["l0"]);
    let weights = |desired: &Desired| {
        let weight = |name: &str| {
            let view = desired.view(&node_name(name)).expect("a view");
            let state = view.state();
            let mut weights = state.items().values().filter_map(|item| match item {
                weir_proto::model::Item::Backend(backend) => Some(backend.weight.get()),
                _ => None,
            });
            weights.next().expect("a backend")
        };
        (weight("l0"), weight("l1"))
    };
    let mut cordon = |name: &str, cordoned| {
        let node = weir_proto::model::Node {
            cordoned,
            ..node(name, &[])
        };
        let change = desired.prepare(batch(vec![Resource::Node(node)]));
        take(&mut desired, change);
        weights(&desired)
    };
    assert_eq!(cordon("b0", true), (1, 0), "where what was before is held");
    assert_eq!(cordon("b1", true), (0, 0));
    assert_eq!(cordon("b0", false), (0, 1));
    let undone = desired.prepare_undo(3).expect("under way");
    take(&mut desired, undone);
    let node = desired.resources.node(&node_name("b1"));
    assert!(node.is_some_and(|node| node.cordoned), "it stays");
}
