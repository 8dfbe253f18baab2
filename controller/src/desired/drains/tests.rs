use weir_proto::model::{
    BackendKey, DrainDeadline, DrainProgress, Generation, Item, ItemKey, Kind, NodeBackend,
    OnDeadline, Resource, Revision,
};

use super::super::samples::{
    batch, endpoint, frontend, node, node_name, service, service_name, set,
};
use super::*;
use crate::desired::{Batch, Desired, reference};

const RESET: DrainTerms = DrainTerms {
    deadline: None,
    on_deadline: Some(OnDeadline::Reset),
};

/// A service with a backend of its own and one of a set, and another one, on nodes x and y.
fn cluster() -> Desired {
    let mut desired = Desired::default();
    write(
        &mut desired,
        batch(vec![
            Resource::Node(node("x", &[])),
            Resource::Node(node("y", &[])),
            Resource::Service(Service {
                drain: lasting(60, OnDeadline::Keep),
                ..service("web", &["10.1.0.1:80", "10.1.0.1:81"], &["10.0.0.1:80@x*3"])
            }),
            Resource::BackendSet(set("pods", "web", &["10.0.0.2:80@y"])),
            Resource::Service(service("dns", &["10.1.0.2:53"], &["10.0.0.1:53@x"])),
        ]),
    );
    desired
}

fn lasting(seconds: u32, on_deadline: OnDeadline) -> Drain {
    Drain {
        deadline: DrainDeadline::new(seconds).expect("a deadline"),
        on_deadline,
    }
}

fn write(desired: &mut Desired, batch: Batch) {
    let change = desired.prepare(batch);
    desired.take(change, Revision(1));
}

fn backend(service: &str, at: &str) -> DrainTarget {
    DrainTarget::Backend(service_name(service), endpoint(at))
}

fn on(name: &str) -> DrainTarget {
    DrainTarget::Node(node_name(name))
}

fn drain(desired: &mut Desired, target: DrainTarget, terms: DrainTerms) {
    let batch = desired.draining(vec![target], terms, 7).expect("there");
    let change = desired.prepare_drains(batch);
    desired.take(change, Revision(2));
}

fn undrain(desired: &mut Desired, target: DrainTarget) {
    let batch = desired.undraining(vec![target]).expect("drained");
    let change = desired.prepare_drains(batch);
    desired.take(change, Revision(3));
}

/// Gives what is drained on a node, with the weight it has.
fn drained(desired: &Desired, name: &str) -> Vec<(String, Drain)> {
    let view = desired.view(&node_name(name)).expect("a view");
    let state = view.state();
    let items = state.items().values();
    let drained = items.filter_map(|item| match item {
        Item::Backend(NodeBackend {
            key,
            weight,
            drain: Some(drain),
            ..
        }) => {
            let BackendKey { frontend, endpoint } = key;
            Some((format!("{endpoint}*{weight} of {frontend}"), *drain))
        }
        Item::NodeDrain(drain) => Some(("node".to_owned(), *drain)),
        _ => None,
    });
    drained.collect()
}

fn names(desired: &Desired) -> Vec<String> {
    let all = desired.drains.all();
    all.map(|(target, _)| target.to_string()).collect()
}

#[test]
fn a_drained_backend_is_drained_at_every_frontend_on_every_node_as_its_service_says() {
    let mut desired = cluster();
    let compiled = desired.compilations();
    drain(&mut desired, backend("web", "10.0.0.1:80"), RESET);
    assert_eq!(desired.compilations(), compiled + 1);
    for name in ["x", "y"] {
        assert_eq!(
            drained(&desired, name),
            [
                (
                    "10.0.0.1:80*3 of 10.1.0.1:80/TCP".to_owned(),
                    lasting(60, OnDeadline::Reset)
                ),
                (
                    "10.0.0.1:80*3 of 10.1.0.1:81/TCP".to_owned(),
                    lasting(60, OnDeadline::Reset)
                ),
            ]
        );
    }
    // a file that is applied again ends no drain, and what it says anew counts
    let again = Resource::Service(Service {
        drain: lasting(90, OnDeadline::Keep),
        ..service("web", &["10.1.0.1:80"], &["10.0.0.1:80@x*4"])
    });
    write(&mut desired, batch(vec![again]));
    let again = (
        "10.0.0.1:80*4 of 10.1.0.1:80/TCP".to_owned(),
        lasting(90, OnDeadline::Reset),
    );
    assert_eq!(drained(&desired, "x"), [again]);
    undrain(&mut desired, backend("web", "10.0.0.1:80"));
    assert_eq!(drained(&desired, "x"), []);
}

#[test]
fn a_drained_node_drains_what_runs_on_it_everywhere_and_itself() {
    let mut desired = cluster();
    let compiled = desired.compilations();
    drain(&mut desired, on("x"), DrainTerms::default());
    assert_eq!(
        desired.compilations(),
        compiled + 2,
        "web and dns run there"
    );
    let backends = [
        (
            "10.0.0.1:80*3 of 10.1.0.1:80/TCP".to_owned(),
            lasting(60, OnDeadline::Keep),
        ),
        (
            "10.0.0.1:80*3 of 10.1.0.1:81/TCP".to_owned(),
            lasting(60, OnDeadline::Keep),
        ),
        (
            "10.0.0.1:53*1 of 10.1.0.2:53/TCP".to_owned(),
            Drain::default(),
        ),
    ];
    assert_eq!(drained(&desired, "y"), backends);
    let itself = ("node".to_owned(), Drain::default());
    assert_eq!(drained(&desired, "x"), [&backends[..], &[itself]].concat());
    // its own drain comes before that of its node, and outlives it
    drain(&mut desired, backend("dns", "10.0.0.1:53"), RESET);
    let own = (
        "10.0.0.1:53*1 of 10.1.0.2:53/TCP".to_owned(),
        lasting(300, OnDeadline::Reset),
    );
    assert_eq!(drained(&desired, "y").pop(), Some(own.clone()));
    undrain(&mut desired, on("x"));
    assert_eq!(drained(&desired, "x"), [own]);
    // a node on which nothing runs compiles nothing
    let compiled = desired.compilations();
    write(&mut desired, batch(vec![Resource::Node(node("z", &[]))]));
    drain(&mut desired, on("z"), RESET);
    assert_eq!(desired.compilations(), compiled);
    assert_eq!(drained(&desired, "z").len(), 2, "of dns, and itself");
}

#[test]
fn a_drain_goes_with_its_backend_its_service_or_its_node() {
    let mut desired = cluster();
    for target in [
        backend("web", "10.0.0.1:80"),
        backend("web", "10.0.0.2:80"),
        backend("dns", "10.0.0.1:53"),
        on("x"),
    ] {
        drain(&mut desired, target, RESET);
    }
    let moved = batch(vec![
        Resource::Service(service("web", &["10.1.0.1:80"], &["10.0.0.2:80"])),
        Resource::BackendSet(set("pods", "web", &[])),
    ]);
    write(&mut desired, moved);
    assert_eq!(
        names(&desired),
        [
            "services[dns].backends[10.0.0.1:53]",
            "services[web].backends[10.0.0.2:80]",
            "nodes[x]"
        ]
    );
    let deletion = desired.deletion(&[reference(Kind::Service, "dns")]);
    write(&mut desired, deletion.expect("there"));
    assert_eq!(
        names(&desired),
        ["services[web].backends[10.0.0.2:80]", "nodes[x]"]
    );
    let back = service("dns", &["10.1.0.2:53"], &["10.0.0.1:53@x"]);
    write(&mut desired, batch(vec![Resource::Service(back)]));
    assert_eq!(drained(&desired, "y").len(), 2, "with its node alone");
    let deletion = desired.deletion(&[reference(Kind::Node, "x")]);
    let change = desired.prepare(deletion.expect("there"));
    assert_eq!(change.drains, DrainBatch::from([(on("x"), None)]));
    desired.take(change, Revision(4));
    assert_eq!(names(&desired), ["services[web].backends[10.0.0.2:80]"]);
    assert_eq!(drained(&desired, "y").len(), 1);
}

#[test]
fn a_drain_that_is_asked_for_again_changes_how_and_not_since_when() {
    let mut desired = cluster();
    drain(&mut desired, backend("web", "10.0.0.1:80"), RESET);
    let again = desired.draining(vec![backend("web", "10.0.0.1:80")], RESET, 99);
    let change = desired.prepare_drains(again.expect("there"));
    assert_eq!(change.drains, DrainBatch::new());
    let holders = ["x", "y"].map(|name| (node_name(name), Generation(2)));
    assert_eq!(change.targets(), BTreeMap::from(holders));
    let longer = DrainTerms {
        deadline: Some(DrainDeadline::default()),
        ..RESET
    };
    let again = desired.draining(vec![backend("web", "10.0.0.1:80")], longer, 99);
    let change = desired.prepare_drains(again.expect("there"));
    let asked = AskedDrain {
        terms: longer,
        at_unix_ms: 7,
    };
    let changed = DrainBatch::from([(backend("web", "10.0.0.1:80"), Some(asked))]);
    assert_eq!(change.drains, changed);
}

#[test]
fn everything_that_is_not_there_is_named() {
    let mut desired = cluster();
    let missing = vec![
        backend("web", "10.0.0.9:80"),
        backend("shop", "10.0.0.1:80"),
    ];
    let asked = [missing.clone(), vec![on("x"), on("z")]].concat();
    assert_eq!(
        desired.draining(asked, RESET, 7),
        Err([missing, vec![on("z")]].concat())
    );
    drain(&mut desired, on("x"), RESET);
    assert_eq!(
        desired.undraining(vec![on("x"), on("y")]),
        Err(vec![on("y")])
    );
}

fn progress(of: &str, at: &str, active: u64) -> DrainProgress {
    DrainProgress {
        key: ItemKey::Backend(BackendKey {
            frontend: frontend(of),
            endpoint: endpoint(at),
        }),
        active,
        inactive: 0,
        started_unix_ms: 1,
        deadline_unix_ms: 2,
        on_deadline: OnDeadline::Keep,
        done: false,
    }
}

#[test]
fn what_nodes_tell_is_listed_with_the_drain_it_is_of() {
    let mut desired = cluster();
    drain(&mut desired, backend("web", "10.0.0.1:80"), RESET);
    drain(&mut desired, on("x"), RESET);
    // nobody asked for these: one was taken out, one with its service, and of one nothing is known any more
    write(
        &mut desired,
        batch(vec![Resource::BackendSet(set("pods", "web", &[]))]),
    );
    let told = [
        progress("10.1.0.1:80", "10.0.0.1:80", 1),
        progress("10.1.0.1:81", "10.0.0.1:80", 2),
        progress("10.1.0.2:53", "10.0.0.1:53", 3),
        progress("10.1.0.1:80", "10.0.0.2:80", 4),
        progress("10.9.0.1:80", "10.9.0.2:80", 5),
        DrainProgress {
            key: ItemKey::NodeDrain,
            ..progress("10.1.0.1:80", "10.0.0.1:80", 6)
        },
    ];
    let list = |desired: &Desired| {
        let on = node_name("x");
        let listed = desired.list_drains([(&on, &told[..])].into_iter());
        let summed = listed.into_iter().map(|drain| {
            let active = drain.nodes.iter().map(|(_, progress)| progress.active);
            (drain.of, drain.asked, active.collect::<Vec<_>>())
        });
        summed.collect::<Vec<_>>()
    };
    let of = |service: &str, at: &str| Drained::Backend(Some(service_name(service)), endpoint(at));
    let unknown = (
        Drained::Backend(None, endpoint("10.9.0.2:80")),
        None,
        vec![5],
    );
    assert_eq!(
        list(&desired),
        [
            unknown.clone(),
            (
                of("web", "10.0.0.1:80"),
                Some((lasting(60, OnDeadline::Reset), 7)),
                vec![1, 2]
            ),
            (of("web", "10.0.0.2:80"), None, vec![4]),
            (
                Drained::Node(node_name("x")),
                Some((lasting(300, OnDeadline::Reset), 7)),
                vec![3, 6]
            ),
        ]
    );
    let gone = ["web", "dns"].map(|name| reference(Kind::Service, name));
    let deletion = desired.deletion(&gone).expect("there");
    write(&mut desired, deletion);
    undrain(&mut desired, on("x"));
    assert_eq!(
        list(&desired),
        [
            unknown,
            (of("dns", "10.0.0.1:53"), None, vec![3]),
            (of("web", "10.0.0.1:80"), None, vec![1, 2]),
            (of("web", "10.0.0.2:80"), None, vec![4]),
            (Drained::Node(node_name("x")), None, vec![6]),
        ]
    );
}
