use weir_proto::model::{Forwarding, Generation, ItemKey, Revision, Service};
use weir_proto::state::NodeState;

use super::super::samples::{batch, entry, flat, labels, node, node_name, service};
use super::super::view::{CatchUp, Content};
use super::super::{Batch, Desired};
use super::*;
use weir_proto::model::Protocol;

fn write(desired: &mut Desired, batch: Batch) {
    let change = desired.prepare(batch);
    desired.take(change, Revision(1));
}

fn put(desired: &mut Desired, resource: Resource) {
    write(desired, batch(vec![resource]));
}

fn drop_service(desired: &mut Desired, name: &str) {
    let gone = Resource::Service(service(name, &[], &[])).reference();
    write(desired, Batch::from([(gone, None)]));
}

/// A service on VIP 10.1.0.`vip`, for the nodes with a label.
fn selected(name: &str, vip: u8, weight: u32, pairs: &[(&str, &str)]) -> Resource {
    Resource::Service(Service {
        node_selector: labels(pairs),
        ..service(
            name,
            &[&format!("10.1.0.{vip}:80")],
            &[&format!("10.0.0.{vip}:80*{weight}")],
        )
    })
}

/// Nodes a and b in rack 3, c and d in rack 4; a service for all, and one for each rack.
fn racks() -> Desired {
    let mut desired = Desired::default();
    let mut all: Vec<Resource> = [("a", "3"), ("b", "3"), ("c", "4"), ("d", "4")]
        .map(|(name, rack)| Resource::Node(node(name, &[("rack", rack)])))
        .into();
    all.push(selected("all", 1, 1, &[]));
    all.push(selected("three", 3, 1, &[("rack", "3")]));
    all.push(selected("four", 4, 1, &[("rack", "4")]));
    write(&mut desired, batch(all));
    desired
}

fn group(desired: &Desired, name: &str) -> GroupId {
    desired.views().group_of(&node_name(name)).expect("a group")
}

fn state(desired: &Desired, name: &str) -> NodeState {
    desired.view(&node_name(name)).expect("a view").state()
}

fn generations(desired: &Desired) -> Vec<u64> {
    let views = desired.views().iter();
    views.map(|(_, view)| view.generation().0).collect()
}

fn catch_up(desired: &mut Desired, name: &str, held: Digest) -> CatchUp {
    let mut view = desired.view_mut(&node_name(name)).expect("a view");
    view.catch_up(Some(held))
}

fn delta(desired: &mut Desired, name: &str, held: Digest) -> Content {
    match catch_up(desired, name, held) {
        CatchUp::Delta(content) => content,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nodes_that_hold_the_same_services_are_a_group_whatever_their_labels() {
    let mut desired = racks();
    assert_eq!(desired.views().groups(), 2);
    assert_eq!(group(&desired, "a"), group(&desired, "b"));
    assert_ne!(group(&desired, "a"), group(&desired, "c"));
    put(&mut desired, Resource::Node(node("e", &[("rack", "5")])));
    put(&mut desired, Resource::Node(node("f", &[("rack", "6")])));
    assert_eq!(desired.views().groups(), 3);
    assert_eq!(group(&desired, "e"), group(&desired, "f"));
}

#[test]
fn what_a_group_misses_is_made_once_and_goes_to_all_of_it() {
    let mut desired = racks();
    let held = ["a", "b", "c", "d"].map(|name| state(&desired, name).digest());
    put(&mut desired, selected("all", 1, 9, &[]));
    let sent: Vec<Content> = ["a", "b", "c", "d"]
        .into_iter()
        .zip(held)
        .map(|(name, held)| delta(&mut desired, name, held))
        .collect();
    let common = |place: usize| sent[place].common.as_ref().expect("something common");
    assert!(std::sync::Arc::ptr_eq(common(0), common(1)));
    assert!(std::sync::Arc::ptr_eq(common(2), common(3)));
    assert!(!std::sync::Arc::ptr_eq(common(0), common(2)));
    for content in &sent {
        assert_eq!((content.upserted.len(), content.removed.len()), (0, 0));
        assert_eq!(common(0).upserted().len(), 1, "{content:?}");
    }
}

#[test]
fn groups_that_become_equal_are_one_and_each_node_knows_the_way() {
    let mut desired = racks();
    let held = ["a", "c"].map(|name| state(&desired, name));
    drop_service(&mut desired, "three");
    assert_eq!(desired.views().groups(), 2);
    drop_service(&mut desired, "four");
    assert_eq!(desired.views().groups(), 1);
    assert_eq!(generations(&desired), [2, 2, 2, 2]);
    put(&mut desired, selected("all", 1, 9, &[]));
    for (name, mut held) in ["a", "c"].into_iter().zip(held) {
        let content = delta(&mut desired, name, held.digest());
        apply(&mut held, content);
        assert_eq!(held, state(&desired, name));
    }
}

#[test]
fn three_groups_that_become_equal_at_once_are_one_and_each_node_knows_the_way() {
    for sizes in [
        [1, 2, 3],
        [1, 3, 2],
        [2, 1, 3],
        [2, 3, 1],
        [3, 1, 2],
        [3, 2, 1],
    ] {
        let mut desired = Desired::default();
        let mut all = vec![selected("all", 1, 1, &[])];
        let mut names = Vec::new();
        for (rack, size) in ["3", "4", "5"].into_iter().zip(sizes) {
            for number in 0..size {
                let name = format!("n{rack}{number}");
                all.push(Resource::Node(node(&name, &[("rack", rack)])));
                names.push(name);
            }
        }
        all.push(selected("three", 3, 1, &[("rack", "3")]));
        all.push(selected("four", 4, 1, &[("rack", "4")]));
        write(&mut desired, batch(all));
        for weight in 2..6 {
            put(&mut desired, selected("three", 3, weight, &[("rack", "3")]));
        }
        put(&mut desired, selected("four", 4, 2, &[("rack", "4")]));
        let held: Vec<NodeState> = names.iter().map(|name| state(&desired, name)).collect();
        let gone = ["three", "four"].map(|name| {
            let gone = Resource::Service(service(name, &[], &[])).reference();
            (gone, None)
        });
        write(&mut desired, Batch::from(gone));
        assert_eq!(desired.views().groups(), 1);
        put(&mut desired, selected("all", 1, 9, &[]));
        for (name, mut held) in names.iter().zip(held) {
            let content = delta(&mut desired, name, held.digest());
            apply(&mut held, content);
            assert_eq!(held, state(&desired, name), "{name} of {sizes:?}");
        }
    }
}

#[test]
fn a_group_of_which_some_change_is_divided_and_each_node_knows_the_way() {
    let mut desired = Desired::default();
    let nodes = [("a", "3"), ("b", "3"), ("c", "4")];
    let nodes = nodes.map(|(name, rack)| Resource::Node(node(name, &[("rack", rack)])));
    write(&mut desired, batch(nodes.into()));
    put(&mut desired, selected("all", 1, 1, &[]));
    assert_eq!(desired.views().groups(), 1);
    let held = state(&desired, "a");
    put(&mut desired, selected("all", 1, 2, &[]));
    put(&mut desired, selected("four", 4, 1, &[("rack", "4")]));
    assert_eq!(desired.views().groups(), 2);
    assert_eq!(
        generations(&desired),
        [2, 2, 3],
        "who is not touched hears nothing"
    );
    put(&mut desired, selected("all", 1, 3, &[]));
    for name in ["a", "b", "c"] {
        let mut held = held.clone();
        let content = delta(&mut desired, name, held.digest());
        apply(&mut held, content);
        assert_eq!(held, state(&desired, name));
    }
}

#[test]
fn a_node_with_other_labels_goes_to_the_group_that_holds_the_same() {
    let mut desired = racks();
    let mut held = state(&desired, "a");
    put(&mut desired, Resource::Node(node("a", &[("rack", "4")])));
    assert_eq!(group(&desired, "a"), group(&desired, "c"));
    assert_eq!(generations(&desired), [2, 1, 1, 1]);
    let content = delta(&mut desired, "a", held.digest());
    apply(&mut held, content);
    assert_eq!(held, state(&desired, "c"));
}

#[test]
fn an_item_that_is_claimed_in_common_and_for_one_node_counts_once() {
    let mut desired = Desired::default();
    let nodes = ["a", "b"].map(|name| Resource::Node(node(name, &[])));
    write(&mut desired, batch(nodes.into()));
    let shared = entry(Protocol::Tcp, "10.0.0.1:80").key();
    let here = service("here", &["10.1.0.1:80"], &["10.0.0.1:80@a"]);
    let everywhere = service("everywhere", &["10.1.0.2:80"], &["10.0.0.1:80"]);
    let has =
        |desired: &Desired| ["a", "b"].map(|name| state(desired, name).get(&shared).is_some());
    put(&mut desired, Resource::Service(here.clone()));
    assert_eq!(has(&desired), [true, false]);
    let mut held = ["a", "b"].map(|name| state(&desired, name));
    put(&mut desired, Resource::Service(everywhere.clone()));
    assert_eq!(has(&desired), [true, true]);
    follow(&mut desired, &mut held);
    drop_service(&mut desired, "everywhere");
    assert_eq!(has(&desired), [true, false], "a keeps what b lets go");
    follow(&mut desired, &mut held);
    put(&mut desired, Resource::Service(everywhere));
    drop_service(&mut desired, "here");
    assert_eq!(has(&desired), [true, true]);
    follow(&mut desired, &mut held);
    drop_service(&mut desired, "everywhere");
    assert_eq!(has(&desired), [false, false]);
    follow(&mut desired, &mut held);
}

#[test]
fn what_only_the_own_part_and_the_common_part_exchange_no_node_sees() {
    let mut desired = Desired::default();
    put(&mut desired, Resource::Node(node("a", &[])));
    let with = |behind: &str| Resource::Service(service("web", &["10.1.0.1:80"], &[behind]));
    put(&mut desired, with("10.0.0.1:80@a"));
    let (digest, generation) = (state(&desired, "a").digest(), generations(&desired));
    put(&mut desired, with("10.0.0.1:80"));
    assert_eq!(state(&desired, "a").digest(), digest);
    assert_eq!(generations(&desired), generation);
    put(&mut desired, with("10.0.0.1:80*7"));
    assert_eq!(
        desired.view(&node_name("a")).expect("a view").generation(),
        Generation(2)
    );
    assert!(matches!(
        catch_up(&mut desired, "a", digest),
        CatchUp::Delta(_)
    ));
}

fn follow(desired: &mut Desired, held: &mut [NodeState; 2]) {
    for (name, held) in ["a", "b"].into_iter().zip(held) {
        let content = delta(desired, name, held.digest());
        apply(held, content);
        assert_eq!(*held, state(desired, name));
    }
}

/// Takes a delta as an agent does, which refuses one that names a key twice.
fn apply(state: &mut NodeState, content: Content) {
    let (upserted, removed) = flat(&content);
    let keys = upserted
        .iter()
        .map(Item::key)
        .chain(removed.iter().copied());
    let once: BTreeSet<ItemKey> = keys.collect();
    assert_eq!(
        once.len(),
        upserted.len() + removed.len(),
        "a key comes twice"
    );
    for key in removed {
        state.remove(&key);
    }
    upserted.into_iter().for_each(|item| state.insert(item));
}

/// The same numbers at each run: a linear congruential generator (Knuth's MMIX).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }
}

/// Changes something: a weight, which nodes hold a service, where a backend runs, the labels of a node.
fn change_something(desired: &mut Desired, dice: &mut Dice) {
    const RACKS: [&[(&str, &str)]; 3] = [&[], &[("rack", "3")], &[("rack", "4")]];
    if dice.throw(8) == 0 {
        let name = format!("node-{}", dice.throw(10));
        let rack = RACKS[dice.throw(3)];
        let node = Node {
            strict_arp: dice.throw(2) == 0,
            cordoned: dice.throw(3) == 0,
            ..node(&name, rack)
        };
        return put(desired, Resource::Node(node));
    }
    let number = dice.throw(20);
    let name = format!("service-{number}");
    if dice.throw(10) == 0 {
        return drop_service(desired, &name);
    }
    let at = match dice.throw(3) {
        0 => format!("@node-{}", dice.throw(10)),
        _ => String::new(),
    };
    // some loopback entries are wanted by several services
    let behind = format!("10.0.0.{}:80{at}*{}", dice.throw(5) + 1, dice.throw(60) + 1);
    let forwarding = match dice.throw(4) {
        0 => Forwarding::DirectRoute,
        _ => Forwarding::Masquerade,
    };
    let service = Service {
        node_selector: labels(RACKS[dice.throw(3).min(number % 3)]),
        forwarding,
        ..service(&name, &[&format!("10.1.0.{}:80", number + 1)], &[&behind])
    };
    put(desired, Resource::Service(service));
}

#[test]
fn nodes_that_come_back_within_the_window_get_what_changed_since_and_hardly_ever_all() {
    let mut desired = Desired::default();
    let nodes = (0..10).map(|number| Resource::Node(node(&format!("node-{number}"), &[])));
    write(&mut desired, batch(nodes.collect()));
    let mut dice = Dice(7);
    let mut past: BTreeMap<NodeName, Vec<NodeState>> = BTreeMap::new();
    let (mut deltas, mut wholes) = (0_u32, 0_u32);
    for _ in 0..3_000 {
        change_something(&mut desired, &mut dice);
        for (name, view) in desired.views().iter() {
            let states = past.entry(name.clone()).or_default();
            if states
                .last()
                .is_none_or(|last| last.digest() != view.digest())
            {
                states.push(view.state());
            }
            // far within what each node's own history was before there were groups
            let beyond = states.len().saturating_sub(200);
            states.drain(..beyond);
        }
        let name = format!("node-{}", dice.throw(10));
        let states = &past[&node_name(&name)];
        let mut held = states[dice.throw(states.len())].clone();
        if held.items().is_empty() {
            continue;
        }
        match catch_up(&mut desired, &name, held.digest()) {
            CatchUp::Nothing => {}
            CatchUp::Delta(content) => {
                apply(&mut held, content);
                deltas += 1;
            }
            CatchUp::Snapshot(content) => {
                held = flat(&content).0.into_iter().collect();
                wholes += 1;
            }
        }
        assert_eq!(held, state(&desired, &name));
    }
    assert!(deltas > 2_000, "{deltas} deltas");
    assert!(
        wholes * 100 <= deltas,
        "{wholes} snapshots beside {deltas} deltas"
    );
}
