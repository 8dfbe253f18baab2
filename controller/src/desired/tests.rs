use proptest::prelude::*;
use weir_proto::model::{DrainDeadline, Forwarding, Item, ItemKey, Node, Tunnel, VipBinding};
use weir_proto::state::NodeState;

use super::samples::{batch, endpoint, flat, labels, node, node_name, service, service_name, set};
use super::view::CatchUp;
use super::*;

fn write(desired: &mut Desired, batch: Batch, revision: u64) {
    let change = desired.prepare(batch);
    take(desired, change, revision);
}

/// Takes a change; each node whose state it changes is where the change says, and no other has another generation.
fn take(desired: &mut Desired, change: Change, revision: u64) {
    let mut expected = left(desired);
    for (name, seen) in change.nodes() {
        match seen {
            Some(seen) => expected.insert(name.clone(), *seen),
            None => expected.remove(name),
        };
    }
    desired.take(change, Revision(revision));
    assert_eq!(left(desired), expected);
}

fn left(desired: &Desired) -> BTreeMap<NodeName, (Generation, Digest)> {
    let left = desired.views().iter();
    let left = left.map(|(name, view)| (name.clone(), (view.generation(), view.digest())));
    left.collect()
}

/// Services a, b and c with a backend each, on nodes x and y.
fn three() -> Desired {
    let mut desired = Desired::default();
    let all = batch(vec![
        Resource::Node(node("x", &[])),
        Resource::Node(node("y", &[("rack", "3")])),
        Resource::Service(service("a", &["10.1.0.1:80"], &["10.0.0.1:80"])),
        Resource::Service(service("b", &["10.1.0.2:80"], &["10.0.0.2:80"])),
        Resource::Service(weir_proto::model::Service {
            node_selector: labels(&[("rack", "3")]),
            ..service("c", &["10.1.0.3:80"], &["10.0.0.3:80"])
        }),
    ]);
    write(&mut desired, all, 1);
    desired
}

fn generations(desired: &Desired) -> [u64; 2] {
    ["x", "y"].map(|name| {
        let view = desired.view(&node_name(name)).expect("a view");
        view.generation().0
    })
}

#[test]
fn a_change_compiles_only_the_services_it_touches() {
    let mut desired = three();
    assert_eq!(desired.compilations(), 3);
    let set = Resource::BackendSet(set("pods", "a", &["10.0.0.9:80"]));
    write(&mut desired, batch(vec![set]), 2);
    assert_eq!(desired.compilations(), 4);
    let node = Resource::Node(node("z", &[("rack", "3")]));
    write(&mut desired, batch(vec![node]), 3);
    assert_eq!(desired.compilations(), 4, "nodes need no compiling");
}

#[test]
fn a_node_that_a_change_does_not_touch_keeps_its_generation() {
    let mut desired = three();
    assert_eq!(generations(&desired), [1, 1]);
    let heavier = Resource::Service(weir_proto::model::Service {
        node_selector: labels(&[("rack", "3")]),
        ..service("c", &["10.1.0.3:80"], &["10.0.0.3:80*5"])
    });
    let change = desired.prepare(batch(vec![heavier]));
    let targets = BTreeMap::from([(node_name("y"), Generation(2))]);
    assert_eq!(change.targets(), targets);
    desired.take(change, Revision(2));
    assert_eq!(generations(&desired), [1, 2]);
}

#[test]
fn what_nodes_do_not_see_changes_no_generation() {
    let mut desired = three();
    let labelled = Resource::Service(weir_proto::model::Service {
        labels: labels(&[("tier", "front")]),
        ..service("a", &["10.1.0.1:80"], &["10.0.0.1:80"])
    });
    let change = desired.prepare(batch(vec![labelled]));
    assert_eq!(change.writes.len(), 1);
    assert_eq!(change.targets(), BTreeMap::new());
    desired.take(change, Revision(2));
    assert_eq!(generations(&desired), [1, 1]);
}

#[test]
fn an_unchanged_service_names_the_nodes_that_hold_it() {
    let desired = three();
    let same = Resource::Service(service("a", &["10.1.0.1:80"], &["10.0.0.1:80"]));
    let change = desired.prepare(batch(vec![same.clone()]));
    assert!(change.writes.is_empty());
    assert_eq!(
        change.outcomes,
        BTreeMap::from([(same.reference(), Outcome::Unchanged)])
    );
    let both = BTreeMap::from([
        (node_name("x"), Generation(1)),
        (node_name("y"), Generation(1)),
    ]);
    assert_eq!(change.targets(), both);
}

#[test]
fn a_service_takes_its_backend_sets_with_it() {
    let mut desired = three();
    let pods = Resource::BackendSet(set("pods", "a", &["10.0.0.9:80"]));
    write(&mut desired, batch(vec![pods]), 2);
    let web = reference(Kind::Service, "a");
    let deletion = desired.deletion(std::slice::from_ref(&web)).expect("there");
    assert_eq!(
        deletion,
        Batch::from([
            (web.clone(), None),
            (reference(Kind::BackendSet, "pods"), None)
        ])
    );
    write(&mut desired, deletion, 3);
    assert_eq!(desired.services(), 2);
    assert_eq!(desired.resources().backends(), 2);
    assert_eq!(desired.deletion(std::slice::from_ref(&web)), Err(vec![web]));
}

#[test]
fn a_node_whose_labels_change_holds_other_services() {
    let mut desired = three();
    let moved = Resource::Node(node("x", &[("rack", "3")]));
    write(&mut desired, batch(vec![moved]), 2);
    let view = desired.view(&node_name("x")).expect("a view");
    let vip = ItemKey::Vip(endpoint("10.1.0.3:80").address);
    assert!(view.state().get(&vip).is_some());
    assert_eq!(generations(&desired), [2, 1]);
}

#[test]
fn a_cordon_touches_the_services_that_have_a_backend_on_the_node_and_no_other() {
    let mut desired = Desired::default();
    let here = service(
        "here",
        &["10.1.0.1:80"],
        &["10.0.0.1:80@x*5", "10.0.0.2:80*3"],
    );
    let there = service("there", &["10.1.0.2:80"], &["10.0.0.3:80@y"]);
    let by_set = service("by-set", &["10.1.0.3:80"], &["10.0.0.4:80"]);
    let pods = set("pods", "by-set", &["10.0.0.5:80@x*7"]);
    let mut resources = vec![Resource::BackendSet(pods)];
    resources.extend([here, there, by_set].map(Resource::Service));
    resources.extend(["x", "y"].map(|name| Resource::Node(node(name, &[]))));
    write(&mut desired, batch(resources), 1);
    let cordon = |cordoned| {
        let x = Node {
            cordoned,
            ..node("x", &[])
        };
        batch(vec![Resource::Node(x)])
    };
    let weights = |desired: &Desired| {
        let view = desired.view(&node_name("y")).expect("a view");
        let state = view.state();
        let weights = state.items().values().filter_map(|item| match item {
            Item::Backend(backend) => Some(backend.weight.get()),
            _ => None,
        });
        weights.collect::<Vec<u16>>()
    };
    assert_eq!(weights(&desired), [5, 3, 1, 1, 7]);
    let (compiled, seen) = (desired.compilations(), generations(&desired));
    write(&mut desired, cordon(true), 2);
    assert_eq!(weights(&desired), [0, 3, 1, 1, 0]);
    assert_eq!(desired.compilations(), compiled + 2);
    assert_eq!(generations(&desired), [seen[0] + 1, seen[1] + 1]);
    write(&mut desired, cordon(true), 3);
    assert_eq!(desired.compilations(), compiled + 2, "nothing changes");
    let all = desired.resources().all();
    let all = all.map(|stored| (**stored).clone());
    let restored = Desired::restore(all, Drains::default(), None, &BTreeMap::new());
    assert_eq!(weights(&restored), [0, 3, 1, 1, 0]);
    write(&mut desired, cordon(false), 4);
    assert_eq!(weights(&desired), [5, 3, 1, 1, 7]);
    write(&mut desired, cordon(true), 5);
    let x = [Resource::Node(node("x", &[])).reference()];
    let gone = desired.deletion(&x).expect("there");
    write(&mut desired, gone, 6);
    assert_eq!(weights(&desired), [5, 3, 1, 1, 7], "it goes with its node");
}

#[test]
fn what_is_set_on_a_node_is_among_what_it_holds() {
    let mut desired = three();
    let strict = |strict_arp| {
        Resource::Node(Node {
            strict_arp,
            ..node("x", &[])
        })
    };
    write(&mut desired, batch(vec![strict(true)]), 2);
    let held = |desired: &Desired| {
        let view = desired.view(&node_name("x")).expect("a view");
        view.state().get(&ItemKey::StrictArp).cloned()
    };
    assert_eq!(held(&desired), Some(Item::StrictArp));
    let left = desired.views().iter();
    let left = left.map(|(name, view)| (name.clone(), (view.generation(), view.digest())));
    let all = desired.resources().all();
    let all = all.map(|stored| (**stored).clone());
    let restored = Desired::restore(all, Drains::default(), None, &left.collect());
    assert_eq!(generations(&restored), generations(&desired));
    write(&mut desired, batch(vec![strict(false)]), 3);
    assert_eq!(held(&desired), None);
}

#[test]
fn a_node_that_no_longer_holds_a_service_may_still_stand_behind_it() {
    let mut desired = Desired::default();
    let routed = weir_proto::model::Service {
        forwarding: weir_proto::model::Forwarding::DirectRoute,
        node_selector: labels(&[("role", "director")]),
        ..service("web", &["10.1.0.1:80"], &["10.0.0.1:80@x"])
    };
    let director = node("x", &[("role", "director")]);
    let first = vec![Resource::Service(routed), Resource::Node(director)];
    write(&mut desired, batch(first), 1);
    let vips = |desired: &Desired| {
        let view = desired.view(&node_name("x")).expect("a view");
        let state = view.state();
        let keys = state.items().keys().copied();
        let is_vip = |key: &ItemKey| matches!(key, ItemKey::Vip(_) | ItemKey::SilentVip(_));
        keys.filter(is_vip).collect::<Vec<_>>()
    };
    let address = endpoint("10.1.0.1:80").address;
    assert_eq!(vips(&desired), [ItemKey::Vip(address)]);
    let moved = Resource::Node(node("x", &[]));
    write(&mut desired, batch(vec![moved]), 2);
    assert_eq!(vips(&desired), [ItemKey::SilentVip(address)]);
    let gone = Resource::Service(service("web", &["10.1.0.1:80"], &[]));
    write(&mut desired, batch(vec![gone]), 3);
    assert_eq!(vips(&desired), [ItemKey::Vip(address)]);
}

#[test]
fn a_cluster_goes_on_where_it_was_left() {
    let mut desired = three();
    let more = Resource::Service(service("a", &["10.1.0.1:80"], &["10.0.0.1:80*7"]));
    write(&mut desired, batch(vec![more]), 2);
    let left = desired.views().iter();
    let left = left.map(|(name, view)| (name.clone(), (view.generation(), view.digest())));
    let all = desired.resources().all();
    let all = all.map(|stored| (**stored).clone());
    let restored = Desired::restore(all, Drains::default(), None, &left.collect());
    assert_eq!(generations(&restored), [2, 2]);
    for (name, view) in desired.views().iter() {
        let again = restored.view(name).expect("a view");
        assert_eq!(again.state(), view.state());
    }
    assert!(restored.compiled.contains_key(&service_name("a")));
}

/// One thing an operator may do; most clash with something, and are refused.
pub(super) fn operation() -> impl Strategy<Value = (ResourceRef, Option<Resource>)> {
    let pick = |from: &'static [&'static str], most| proptest::sample::subsequence(from, 0..=most);
    const FRONTENDS: &[&str] = &[
        "10.1.0.1:80",
        "10.1.0.1:81",
        "10.1.0.2:80",
        "10.1.0.1:53/udp",
    ];
    const BACKENDS: &[&str] = &[
        "10.0.0.1:80",
        "10.0.0.1:80*3",
        "10.0.0.2:80@x",
        "10.0.0.2:80@y",
        "10.0.0.3:80@x",
        "10.1.0.2:80",
    ];
    const NODES: &[&str] = &["v", "w", "x", "y"];
    const LABELS: [&[(&str, &str)]; 4] = [
        &[],
        &[("rack", "3")],
        &[("tier", "edge")],
        &[("rack", "3"), ("tier", "edge")],
    ];
    const FORWARDINGS: [Forwarding; 3] = [
        Forwarding::Masquerade,
        Forwarding::DirectRoute,
        Forwarding::Tunnel(Tunnel::Ipip),
    ];
    const NAMES: &[&str] = &["a", "b"];
    let name = proptest::sample::select(NAMES);
    let service = (
        name.clone(),
        pick(FRONTENDS, 2),
        pick(BACKENDS, 3),
        any::<bool>(),
        (
            proptest::sample::select(&FORWARDINGS[..]),
            any::<bool>(),
            any::<bool>(),
            proptest::sample::select(&LABELS[..3]),
        ),
    )
        .prop_map(|(name, frontends, behind, hairpin, kept)| {
            let (forwarding, route, lockdown, selector) = kept;
            Resource::Service(weir_proto::model::Service {
                hairpin,
                forwarding,
                vip_binding: match route {
                    true => VipBinding::Route,
                    false => VipBinding::Address,
                },
                lockdown,
                node_selector: labels(selector),
                ..service(name, &frontends, &behind)
            })
        });
    let set = (
        proptest::sample::select(&["p", "q"][..]),
        name,
        pick(BACKENDS, 3),
    )
        .prop_map(|(name, of, behind)| Resource::BackendSet(set(name, of, &behind)));
    let labelled = proptest::sample::select(&LABELS[..]);
    let set_on = (any::<bool>(), any::<bool>());
    let nodes = (proptest::sample::select(NODES), labelled, set_on);
    let nodes = nodes.prop_map(|(name, pairs, (strict_arp, cordoned))| {
        Resource::Node(Node {
            strict_arp,
            cordoned,
            ..node(name, pairs)
        })
    });
    (prop_oneof![4 => service, 3 => set, 2 => nodes], 0..5_u8).prop_map(|(resource, delete)| {
        let reference = resource.reference();
        (reference, (delete != 0).then_some(resource))
    })
}

/// A drain that an operator may ask for, or end; most are of nothing, and refused.
fn draining() -> impl Strategy<Value = (DrainTarget, Option<DrainTerms>)> {
    let at = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].map(endpoint);
    let backends = ["a", "b"]
        .into_iter()
        .flat_map(|name| at.map(|at| DrainTarget::Backend(service_name(name), at)));
    let nodes = ["x", "y"].map(|name| DrainTarget::Node(node_name(name)));
    let targets: Vec<DrainTarget> = backends.chain(nodes).collect();
    let terms = proptest::option::of(proptest::option::of(0..3_u32));
    (proptest::sample::select(targets), terms).prop_map(|(target, terms)| {
        let terms = terms.map(|seconds| DrainTerms {
            deadline: seconds.and_then(|seconds| DrainDeadline::new(seconds).ok()),
            on_deadline: None,
        });
        (target, terms)
    })
}

fn fold(state: &mut NodeState, catch_up: CatchUp) {
    match catch_up {
        CatchUp::Nothing => {}
        CatchUp::Snapshot(content) => *state = flat(&content).0.into_iter().collect(),
        CatchUp::Delta(content) => {
            let (upserted, removed) = flat(&content);
            let keys = upserted
                .iter()
                .map(Item::key)
                .chain(removed.iter().copied());
            let count = upserted.len() + removed.len();
            assert_eq!(
                keys.collect::<BTreeSet<_>>().len(),
                count,
                "no key comes twice"
            );
            upserted.into_iter().for_each(|item| state.insert(item));
            for key in removed {
                state.remove(&key);
            }
        }
    }
}

proptest! {
    /// Whatever operators do, one small change after the other: the views are what a compilation of the
    /// final cluster gives, and a node that hears of some of the generations has the same in the end.
    #[test]
    fn deltas_lead_where_a_full_compilation_does(
        batches in proptest::collection::vec(
            (proptest::collection::vec(operation(), 1..4), draining(), any::<u8>()),
            1..40,
        )
    ) {
        let mut desired = Desired::default();
        let mut nodes: BTreeMap<NodeName, NodeState> = BTreeMap::new();
        for (revision, (operations, (target, terms), heard)) in (1..).zip(batches) {
            let (deletions, puts): (Batch, Batch) =
                operations.into_iter().partition(|(_, resource)| resource.is_none());
            let mut refs: Vec<ResourceRef> = deletions.into_keys().collect();
            refs.retain(|reference| !puts.contains_key(reference));
            if let Ok(batch) = desired.deletion(&refs) {
                write(&mut desired, batch, revision);
            }
            if desired.check(&puts, &Places::default()).is_ok() {
                write(&mut desired, puts, revision);
            }
            let drains = match terms {
                Some(terms) => desired.draining(vec![target], terms, revision),
                None => desired.undraining(vec![target]),
            };
            if let Ok(drains) = drains {
                let change = desired.prepare_drains(drains);
                take(&mut desired, change, revision);
            }
            nodes.retain(|name, _| desired.view(name).is_some());
            let names: Vec<NodeName> = desired.views().keys().cloned().collect();
            for (place, name) in names.into_iter().enumerate() {
                let state = nodes.entry(name.clone()).or_default();
                if heard & (1 << place) != 0 {
                    let mut view = desired.view_mut(&name).expect("a view");
                    fold(state, view.catch_up(Some(state.digest())));
                    prop_assert_eq!(&*state, &view.look().state());
                }
            }
        }
        let all = desired.resources().all();
        let all = all.map(|stored| (**stored).clone());
        let drained = desired.drains.all().map(|(target, _)| target);
        prop_assert!(desired.draining(drained.collect(), DrainTerms::default(), 0).is_ok());
        let compiled = Desired::restore(all, desired.drains.clone(), None, &BTreeMap::new());
        prop_assert_eq!(&compiled.compiled, &desired.compiled);
        prop_assert_eq!(compiled.views().groups(), desired.views().groups());
        let names: Vec<NodeName> = desired.views().keys().cloned().collect();
        for name in &names {
            let mut view = desired.view_mut(name).expect("a view");
            let whole = compiled.view(name).expect("a view");
            prop_assert_eq!(whole.state(), view.look().state());
            prop_assert_eq!(whole.digest(), view.look().digest());
            let state = nodes.entry(name.clone()).or_default();
            fold(state, view.catch_up(Some(state.digest())));
            prop_assert_eq!(&*state, &whole.state());
        }
    }
}
