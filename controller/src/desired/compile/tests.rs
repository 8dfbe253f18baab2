use super::super::drains::{DrainBatch, Drains, ProposedDrains};
use super::super::samples::{
    backend, batch, entry, labels, node as node_called, node_name, service, set, vip,
    virtual_service,
};
use super::*;
use crate::desired::resources::Resources;
use weir_proto::model::{Protocol, Resource, Weight};

const CURRENT: Option<Version> = Some(Version::Current);

fn items(compiled: &Compiled, node: &str) -> Vec<Item> {
    let node = node_called(node, &[]);
    let mut items: Vec<Item> = items_for(compiled, &node).cloned().collect();
    items.sort_by_key(Item::key);
    items
}

fn items_for<'a>(compiled: &'a Compiled, node: &Node) -> impl Iterator<Item = &'a Item> {
    let version = compiled.version_for(node);
    let own = compiled.own(&node.name, version).values();
    compiled.common(version).values().chain(own)
}

/// Compiles a service of which nothing is drained, and no node cordoned.
fn compile<'a>(service: &Service, sets: impl Iterator<Item = &'a BackendSet>) -> Compiled {
    compile_beside(service, sets, &[])
}

/// Compiles a service of which nothing is drained, with nodes that are cordoned.
fn compile_beside<'a>(
    service: &Service,
    sets: impl Iterator<Item = &'a BackendSet>,
    cordoned: &[&str],
) -> Compiled {
    let nodes = cordoned.iter().map(|name| {
        Resource::Node(Node {
            cordoned: true,
            ..node_called(name, &[])
        })
    });
    let (resources, batch) = (Resources::default(), batch(nodes.collect()));
    let cordons = Cordons::new(&resources, &batch);
    let (drains, same) = (Drains::default(), DrainBatch::new());
    let drains = ProposedDrains::new(&drains, &same);
    super::compile(service, sets, &drains.of(&service.name), &cordons)
}

#[test]
fn a_node_holds_a_vip_a_virtual_service_a_backend_and_a_loopback_entry() {
    let web = service("web", &["10.1.0.1:80"], &["10.0.0.1:8080@a"]);
    let compiled = compile(&web, [].into_iter());
    assert_eq!(
        items(&compiled, "a"),
        [
            entry(Protocol::Tcp, "10.0.0.1:8080"),
            virtual_service("10.1.0.1:80", "web"),
            backend("10.1.0.1:80", "10.0.0.1:8080", 1),
            vip("10.1.0.1"),
        ]
    );
}

#[test]
fn a_loopback_entry_is_only_where_the_backend_lives() {
    let web = service("web", &["10.1.0.1:80"], &["10.0.0.1:80@a", "10.0.0.2:80"]);
    let compiled = compile(&web, [].into_iter());
    let entries = |node: &str| {
        let mut items = items(&compiled, node);
        items.retain(|item| matches!(item, Item::LoopbackEntry(_)));
        items
    };
    let (one, two) = (
        entry(Protocol::Tcp, "10.0.0.1:80"),
        entry(Protocol::Tcp, "10.0.0.2:80"),
    );
    assert_eq!(entries("a"), [one, two.clone()]);
    assert_eq!(entries("b"), [two]);
}

#[test]
fn a_loopback_entry_has_the_protocol_of_each_frontend() {
    let dns = service(
        "dns",
        &["10.1.0.1:53", "10.1.0.1:53/udp"],
        &["10.0.0.1:5353"],
    );
    let compiled = compile(&dns, [].into_iter());
    let items = items(&compiled, "a");
    assert!(items.contains(&entry(Protocol::Tcp, "10.0.0.1:5353")));
    assert!(items.contains(&entry(Protocol::Udp, "10.0.0.1:5353")));
    // two entries, two virtual services with a backend each, one vip
    assert_eq!(items.len(), 7);
}

#[test]
fn only_masqueraded_backends_of_a_hairpin_service_get_a_loopback_entry() {
    let web = service("web", &["10.1.0.1:80"], &["10.0.0.1:80"]);
    let plain = Service {
        hairpin: false,
        ..web.clone()
    };
    let direct = Service {
        forwarding: Forwarding::DirectRoute,
        ..web
    };
    for service in [plain, direct] {
        let compiled = compile(&service, [].into_iter());
        let entry = |item: &Item| matches!(item, Item::LoopbackEntry(_));
        assert!(!items(&compiled, "a").iter().any(entry), "{service:?}");
    }
}

#[test]
fn the_backends_of_its_sets_stand_behind_a_service_and_its_own_count_first() {
    let web = service("web", &["10.1.0.1:80"], &["10.0.0.1:80*5"]);
    let sets = [
        set("one", "web", &["10.0.0.1:80*9", "10.0.0.2:80*2"]),
        set("two", "web", &["10.0.0.3:80*3"]),
    ];
    let compiled = compile(&web, sets.iter());
    let weights: Vec<Weight> = items(&compiled, "a")
        .into_iter()
        .filter_map(|item| match item {
            Item::Backend(backend) => Some(backend.weight),
            _ => None,
        })
        .collect();
    let wanted = [5, 2, 3].map(|weight| Weight::new(weight).expect("a weight"));
    assert_eq!(weights, wanted);
}

#[test]
fn a_backend_on_a_cordoned_node_has_weight_0_and_nothing_else_changes() {
    let web = service(
        "web",
        &["10.1.0.1:80"],
        &["10.0.0.1:80@a*5", "10.0.0.2:80@b*3", "10.0.0.3:80*2"],
    );
    let pods = set("pods", "web", &["10.0.0.4:80@a*7"]);
    let open = compile(&web, [&pods].into_iter());
    let weightless = |address: &str| backend("10.1.0.1:80", address, 0);
    let (own, of_set) = (weightless("10.0.0.1:80"), weightless("10.0.0.4:80"));
    let other = weightless("10.0.0.2:80");
    for (cordoned, edited) in [
        (&["a"][..], vec![&own, &of_set]),
        (&["b"], vec![&other]),
        (&["a", "b"], vec![&own, &other, &of_set]),
        (&["c"], vec![]),
    ] {
        let shut = compile_beside(&web, [&pods].into_iter(), cordoned);
        let change = part(open.common(CURRENT), shut.common(CURRENT));
        let edits = Part {
            edited,
            ..Part::default()
        };
        assert_eq!(change, edits, "{cordoned:?}");
        for node in ["a", "b", "c"] {
            let name = node_name(node);
            assert_eq!(open.own(&name, CURRENT), shut.own(&name, CURRENT));
        }
    }
}

#[test]
fn a_service_is_held_where_all_the_labels_it_wants_are() {
    let web = Service {
        node_selector: labels(&[("rack", "3")]),
        ..service("web", &["10.1.0.1:80"], &[])
    };
    let compiled = compile(&web, [].into_iter());
    let held = |labels| compiled.version_for(&node_called("a", labels));
    assert_eq!(held(&[("rack", "3"), ("tier", "edge")]), CURRENT);
    assert_eq!(held(&[("rack", "4")]), None);
}

#[test]
fn a_changed_weight_is_one_edit() {
    let before = compile(
        &service("web", &["10.1.0.1:80"], &["10.0.0.1:80", "10.0.0.2:80"]),
        [].into_iter(),
    );
    let after = compile(
        &service("web", &["10.1.0.1:80"], &["10.0.0.1:80*0", "10.0.0.2:80"]),
        [].into_iter(),
    );
    let edit = backend("10.1.0.1:80", "10.0.0.1:80", 0);
    assert_eq!(
        part(before.common(CURRENT), after.common(CURRENT)),
        Part {
            edited: vec![&edit],
            ..Part::default()
        }
    );
    assert_eq!(after.named().next(), None);
}

#[test]
fn a_backend_that_moves_takes_its_loopback_entry_along() {
    let before = service("web", &["10.1.0.1:80"], &["10.0.0.1:80@a"]);
    let after = service("web", &["10.1.0.1:80"], &["10.0.0.1:80@b"]);
    let before = compile(&before, [].into_iter());
    let after = compile(&after, [].into_iter());
    let entry = entry(Protocol::Tcp, "10.0.0.1:80");
    assert_eq!(before.common(CURRENT), after.common(CURRENT));
    let difference = |name: &str| {
        let name = node_name(name);
        part(before.own(&name, CURRENT), after.own(&name, CURRENT))
    };
    assert_eq!(
        difference("a"),
        Part {
            released: vec![entry.key()],
            ..Part::default()
        }
    );
    assert_eq!(
        difference("b"),
        Part {
            claimed: vec![&entry],
            ..Part::default()
        }
    );
}

#[test]
fn the_node_of_a_backend_that_gets_packets_as_they_are_takes_the_vip_silently() {
    let routed = Service {
        forwarding: Forwarding::DirectRoute,
        node_selector: labels(&[("role", "director")]),
        ..service("web", &["10.1.0.1:80"], &["10.0.0.1:80@a", "10.0.0.2:80"])
    };
    let tunnelled = Service {
        forwarding: Forwarding::Tunnel(Tunnel::Ipip),
        ..routed.clone()
    };
    let vip: std::net::IpAddr = [10, 1, 0, 1].into();
    let end = TunnelEnd {
        outer: Family::V4,
        inner: Family::V4,
    };
    let direct = compile(&routed, [].into_iter());
    assert_eq!(items(&direct, "a"), [Item::SilentVip(vip)]);
    assert_eq!(items(&direct, "b"), []);
    let tunnel = compile(&tunnelled, [].into_iter());
    assert_eq!(
        items(&tunnel, "a"),
        [Item::TunnelEnd(end), Item::SilentVip(vip)]
    );
    let director = node_called("a", &[("role", "director")]);
    let held: Vec<ItemKey> = items_for(&tunnel, &director).map(Item::key).collect();
    assert!(
        held.contains(&ItemKey::Vip(vip)) && !held.contains(&ItemKey::SilentVip(vip)),
        "a node that holds the service answers for the VIP: {held:?}"
    );
    let name = node_name("a");
    assert_eq!(
        part(direct.own(&name, None), tunnel.own(&name, None)),
        Part {
            claimed: vec![&Item::TunnelEnd(end)],
            ..Part::default()
        }
    );
}

#[test]
fn what_has_a_mark_needs_no_vip_and_no_loopback_entry() {
    let mark = Frontend::Mark(weir_proto::model::Mark {
        number: std::num::NonZeroU32::MIN,
        family: Family::V4,
    });
    let marked = Service {
        frontends: [(mark, weir_proto::model::Sources::new())].into(),
        ..service("web", &[], &["10.0.0.1:80@a"])
    };
    let compiled = compile(&marked, [].into_iter());
    let keys: Vec<ItemKey> = items(&compiled, "a").iter().map(Item::key).collect();
    let backend = BackendKey {
        frontend: mark,
        endpoint: super::super::samples::endpoint("10.0.0.1:80"),
    };
    assert_eq!(
        keys,
        [ItemKey::VirtualService(mark), ItemKey::Backend(backend)]
    );
}
