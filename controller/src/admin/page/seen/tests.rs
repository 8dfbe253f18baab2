//! What is chosen and shown, from samples.

use weir_proto::model::{Generation, Increment, ItemFailure};

use super::*;
use crate::desired::samples::{
    endpoint, frontend, labels, node_name, service, service_name, set, stored_at,
};
use crate::desired::{Report, RollUp, TrafficQuery};

const NOW: u64 = 1_700_000_100_000;

fn node(name: &str, wanted: u64, converged: u64) -> NodeStatus {
    NodeStatus {
        name: node_name(name),
        connected: true,
        agent_version: "0.1.0".to_owned(),
        wanted: Generation(wanted),
        accepted: Generation(wanted),
        converged: Generation(converged),
        wanted_items: 4,
        failures: Vec::new(),
        failure_count: 0,
        rejection: None,
        capabilities: Vec::new(),
        last_heard_unix_ms: NOW - 1_500,
        hold: None,
        degraded: None,
        drain_count: 0,
        repairs: Arc::default(),
        repair_counts: BTreeMap::new(),
        certificate_expires_unix_ms: 0,
        disconnection: String::new(),
        cordoned: false,
    }
}

/// Services with what one node tells of them.
fn gathered(
    services: &[Service],
    sets: &[BackendSet],
    told: &[(&str, &str, u64)],
) -> (Arc<Gathered>, RollUp) {
    let services = services.iter().cloned().map(Resource::Service);
    let services: Vec<_> = services.map(|one| Arc::new(stored_at(one, 1))).collect();
    let sets = sets.iter().cloned().map(Resource::BackendSet);
    let sets: Vec<_> = sets.map(|one| Arc::new(stored_at(one, 1))).collect();
    let mut roll_up = RollUp::default();
    let here = Resource::Node(crate::desired::samples::node("node-a", &[]));
    roll_up.place(
        &here.reference(),
        Some(Arc::new(stored_at(here.clone(), 1))),
    );
    for stored in services.iter().chain(&sets) {
        roll_up.place(&stored.resource.reference(), Some(Arc::clone(stored)));
    }
    let increments = told.iter().map(|(at, backend, connections)| Increment {
        backend: BackendKey {
            frontend: frontend(at),
            endpoint: endpoint(backend),
        },
        connections: *connections,
        failed: 0,
        packets_in: 2 * connections,
        packets_out: 2 * connections,
        bytes_in: 100 * connections,
        bytes_out: 1_000 * connections,
        active: *connections,
        inactive: 0,
        silent: false,
    });
    let report = Report {
        node: node_name("node-a"),
        interval_ms: 1_000,
        increments: increments.collect(),
        first: true,
        conntrack: None,
        vips: Vec::new(),
    };
    roll_up.report(&report, 0);
    let passing = roll_up.passing(&TrafficQuery::default()).expect("passing");
    let gathered = Gathered {
        at_unix_ms: NOW,
        revision: Revision(9),
        services,
        sets,
        nodes: vec![node("node-a", 3, 3)],
        passing,
        events: Vec::new(),
    };
    (Arc::new(gathered), roll_up)
}

fn names(chosen: &Chosen) -> Vec<String> {
    chosen.services().iter().map(ToString::to_string).collect()
}

fn asked(filter: &str, order: Order) -> Query {
    Query {
        filter: filter.to_owned(),
        order,
        ..Query::default()
    }
}

#[test]
fn services_are_found_by_name_label_vip_and_backend_whatever_the_case() {
    let mut web = service("web", &["10.1.0.1:80"], &["10.0.0.1:80"]);
    web.labels = labels(&[("tier", "front")]);
    let dns = service("dns", &["10.1.0.53:53/udp"], &[]);
    let resolvers = set("resolvers", "dns", &["10.0.0.53:53"]);
    let (gathered, _) = gathered(&[dns, web], &[resolvers], &[]);
    for (filter, found) in [
        ("", vec!["dns", "web"]),
        ("WEB", vec!["web"]),
        ("tier=front", vec!["web"]),
        ("10.1.0.53", vec!["dns"]),
        ("10.0.0.53:53", vec!["dns"]),
        ("udp 53", vec!["dns"]),
        ("udp tier", vec![]),
    ] {
        let chosen = Chosen::of(&gathered, &asked(filter, Order::Name));
        assert_eq!(names(&chosen), found, "{filter:?}");
    }
}

#[test]
fn numbers_sort_from_the_largest_and_those_alike_by_name() {
    let services = [
        service("a", &["10.1.0.1:80"], &["10.0.0.1:80"]),
        service("b", &["10.1.0.2:80"], &["10.0.0.1:80"]),
        service("c", &["10.1.0.3:80"], &["10.0.0.1:80"]),
    ];
    let told = [("10.1.0.2:80", "10.0.0.1:80", 7)];
    let (gathered, _) = gathered(&services, &[], &told);
    for order in [
        Order::Active,
        Order::Connections,
        Order::BytesIn,
        Order::BytesOut,
    ] {
        let chosen = Chosen::of(&gathered, &asked("", order));
        assert_eq!(names(&chosen), ["b", "a", "c"], "{order:?}");
    }
    let chosen = Chosen::of(&gathered, &asked("", Order::Failed));
    assert_eq!(names(&chosen), ["a", "b", "c"]);
}

#[test]
fn a_page_past_the_last_is_the_last_and_no_page_has_more_than_its_rows() {
    let services: Vec<Service> = (0..=ROWS)
        .map(|number| {
            service(
                &format!("s{number:03}"),
                &[&format!("10.1.0.{number}:80")],
                &[],
            )
        })
        .collect();
    let (gathered, _) = gathered(&services[1..], &[], &[]);
    let beyond = Query {
        page: 9,
        node_page: 9,
        ..Query::default()
    };
    let chosen = Chosen::of(&gathered, &beyond);
    let seen = chosen.seen(&[]);
    assert_eq!((seen.asked.page, seen.asked.node_page), (1, 1));
    assert_eq!(seen.services.len(), ROWS);
    let (gathered, _) = self::gathered(&services[..], &[], &[]);
    let seen = Chosen::of(&gathered, &beyond).seen(&[]);
    assert_eq!((seen.asked.page, seen.matching), (2, ROWS + 1));
    assert_eq!(seen.services.len(), 1);
}

#[test]
fn of_a_service_the_busiest_backends_are_shown_those_of_its_sets_among_them() {
    let own: Vec<String> = (1..=BACKENDS)
        .map(|last| format!("10.0.0.{last}:80"))
        .collect();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let web = service("web", &["10.1.0.1:80"], &own);
    let more = set("more", "web", &["10.0.1.1:80@node-a*3"]);
    let told = [("10.1.0.1:80", "10.0.1.1:80", 5)];
    let (gathered, roll_up) = gathered(&[web], &[more], &told);
    let query = TrafficQuery {
        services: vec![service_name("web")],
        backends: true,
        nodes: false,
    };
    let passing = roll_up.passing(&query).expect("passing").backends;
    let seen = Chosen::of(&gathered, &Query::default()).seen(&passing);
    let web = &seen.services[0];
    assert_eq!(
        (web.backend_count, web.backends.len()),
        (BACKENDS + 1, BACKENDS)
    );
    let first = &web.backends[0];
    let told = (
        first.endpoint,
        first.weight,
        first.node.as_str(),
        first.sum.now.active,
    );
    assert_eq!(told, (endpoint("10.0.1.1:80"), 3, "node-a", 5));
    assert_eq!(web.backends[1].endpoint, endpoint("10.0.0.1:80"));
    assert_eq!(connections(&web.sum), 5.0);
}

#[test]
fn nodes_with_trouble_come_first_each_with_what_is_in_its_way() {
    let failure = |number: u8| ItemFailure {
        key: ItemKey::VirtualService(frontend(&format!("10.1.0.{number}:80"))),
        errno: 22,
        cause: "no such scheduler".to_owned(),
        field: String::new(),
    };
    let failing = NodeStatus {
        failures: (1..=9).map(failure).collect(),
        failure_count: 120,
        ..node("failing", 3, 3)
    };
    let gone = NodeStatus {
        connected: false,
        disconnection: "its agent stopped".to_owned(),
        ..node("gone", 3, 2)
    };
    let unheard = NodeStatus {
        connected: false,
        last_heard_unix_ms: 0,
        ..node("unheard", 3, 0)
    };
    let web = service("web", &["10.1.0.2:80"], &[]);
    let (with, _) = gathered(&[web], &[], &[]);
    let with = Gathered {
        nodes: vec![
            node("behind", 3, 2),
            failing,
            gone,
            node("fine", 3, 3),
            unheard,
        ],
        ..Arc::into_inner(with).expect("one")
    };
    let seen = Chosen::of(&Arc::new(with), &Query::default()).seen(&[]);
    let states: Vec<_> = seen
        .nodes
        .iter()
        .map(|node| (node.name.as_str(), node.state.word()))
        .collect();
    assert_eq!(
        states,
        [
            ("gone", "gone"),
            ("failing", "failing"),
            ("behind", "behind"),
            ("unheard", "not heard from"),
            ("fine", "converged"),
        ]
    );
    assert_eq!(seen.nodes[0].troubles, ["its agent stopped"]);
    let failing = &seen.nodes[1];
    assert_eq!(
        (failing.troubles.len(), failing.more_troubles),
        (TROUBLES, 115)
    );
    assert_eq!(
        failing.troubles[0],
        "virtual service 10.1.0.1:80/TCP: no such scheduler"
    );
    assert_eq!(seen.nodes[3].reached, None);
    let heard = [0, 2, 3].map(|place| seen.nodes[place].heard_ms_ago);
    // the second is connected: it is heard
    assert_eq!(heard, [Some(1_500), Some(0), None]);
    assert_eq!(
        seen.services[0].troubles,
        ["failing: virtual service 10.1.0.2:80/TCP: no such scheduler"]
    );
    let tally = Tally {
        services: 1,
        nodes: 5,
        connected: 3,
        converged: 1,
        failures: 120,
    };
    assert_eq!(seen.tally, tally);
}

#[test]
fn a_cordoned_node_and_what_runs_there_are_told() {
    let mut web = service("web", &["10.1.0.1:80"], &["10.0.0.1:80", "10.0.0.2:80"]);
    if let Some(first) = web.backends.values_mut().next() {
        first.node = Some(node_name("node-a"));
    }
    let (with, _) = gathered(&[web], &[], &[]);
    let with = Gathered {
        nodes: vec![
            NodeStatus {
                cordoned: true,
                ..node("node-a", 3, 3)
            },
            node("node-b", 3, 3),
        ],
        ..Arc::into_inner(with).expect("one")
    };
    let seen = Chosen::of(&Arc::new(with), &Query::default()).seen(&[]);
    let nodes: Vec<_> = seen.nodes.iter().map(|node| node.cordoned).collect();
    assert_eq!(nodes, [true, false]);
    let backends = &seen.services[0].backends;
    let backends: Vec<_> = backends.iter().map(|backend| backend.cordoned).collect();
    assert_eq!(backends, [true, false]);
}
