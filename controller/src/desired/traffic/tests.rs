use weir_proto::model::Resource;

use super::*;
use crate::desired::samples::{
    endpoint, frontend, node, node_name, service, service_name, set, stored_at,
};

/// A service on 10.1.0.1:80 with two backends, and two nodes.
fn cluster() -> RollUp {
    let mut roll_up = RollUp::default();
    put(&mut roll_up, Resource::Node(node("a", &[])));
    put(&mut roll_up, Resource::Node(node("b", &[])));
    put(&mut roll_up, web(&["10.0.0.1:80", "10.0.0.2:80"]));
    roll_up
}

fn web(behind: &[&str]) -> Resource {
    Resource::Service(service("web", &["10.1.0.1:80"], behind))
}

fn put(roll_up: &mut RollUp, resource: Resource) {
    let reference = resource.reference();
    roll_up.place(&reference, Some(Arc::new(stored_at(resource, 1))));
}

fn remove(roll_up: &mut RollUp, kind: Kind, name: &str) {
    roll_up.place(&crate::desired::reference(kind, name), None);
}

/// Connections through a backend of 10.1.0.1:80: new ones, each of one packet of 100 bytes, and those there are.
fn passed(at: &str, connections: u64, active: u64) -> Increment {
    Increment {
        backend: BackendKey {
            frontend: frontend("10.1.0.1:80"),
            endpoint: endpoint(at),
        },
        connections,
        failed: 0,
        packets_in: connections,
        packets_out: 0,
        bytes_in: connections.saturating_mul(100),
        bytes_out: 0,
        active,
        inactive: 0,
        silent: false,
    }
}

fn told(name: &str, increments: &[Increment]) -> Report {
    Report {
        node: node_name(name),
        interval_ms: 10_000,
        increments: increments.to_vec(),
        conntrack: None,
        vips: Vec::new(),
        first: false,
    }
}

fn all() -> TrafficQuery {
    TrafficQuery {
        services: Vec::new(),
        backends: true,
        nodes: true,
    }
}

/// Connections in all, those there are, and those in a second.
type Seen = (u64, u64, f64);

fn seen(sum: &Sum) -> Seen {
    let per_second = sum.now.per_second(|rates| rates.connections);
    (sum.total.connections, sum.now.active, per_second)
}

/// What is seen of the fleet, of each service, backend and node.
fn seen_all(roll_up: &RollUp) -> (Seen, Vec<Seen>, Vec<Seen>, Vec<Seen>) {
    let passing = roll_up.passing(&all()).expect("all");
    let services = passing.services.iter().map(|it| seen(&it.sum));
    let backends = passing.backends.iter().map(|it| seen(&it.sum));
    let nodes = passing.nodes.iter().map(|it| seen(&it.sum));
    (
        seen(&passing.fleet),
        services.collect(),
        backends.collect(),
        nodes.collect(),
    )
}

const NOTHING: Seen = (0, 0, 0.0);

#[test]
fn reports_add_up_for_backends_services_nodes_and_all() {
    let mut roll_up = cluster();
    let a = told(
        "a",
        &[passed("10.0.0.1:80", 50, 3), passed("10.0.0.2:80", 10, 1)],
    );
    roll_up.report(&a, 0);
    roll_up.report(&told("b", &[passed("10.0.0.1:80", 100, 5)]), 0);
    assert_eq!(
        seen_all(&roll_up),
        (
            (160, 9, 16.0),
            vec![(160, 9, 16.0)],
            vec![(150, 8, 15.0), (10, 1, 1.0)],
            vec![(60, 4, 6.0), (100, 5, 10.0)],
        )
    );
    // the next interval: what is not told again rests, with the connections it has
    roll_up.report(&told("a", &[passed("10.0.0.1:80", 20, 2)]), 10_000);
    assert_eq!(
        seen_all(&roll_up),
        (
            (180, 8, 12.0),
            vec![(180, 8, 12.0)],
            vec![(170, 7, 12.0), (10, 1, 0.0)],
            vec![(80, 3, 2.0), (100, 5, 10.0)],
        )
    );
}

#[test]
fn a_long_report_comes_in_parts_that_are_of_one_interval() {
    let mut roll_up = cluster();
    roll_up.report(&told("a", &[passed("10.0.0.1:80", 10, 0)]), 0);
    roll_up.report(&told("a", &[passed("10.0.0.2:80", 10, 0)]), 1);
    assert_eq!(seen_all(&roll_up).0, (20, 0, 2.0));
    // another look, which came late, told of the same again
    roll_up.report(&told("a", &[passed("10.0.0.2:80", 10, 0)]), 2);
    assert_eq!(seen_all(&roll_up).0, (30, 0, 1.0));
}

#[test]
fn a_node_that_is_not_there_for_30_s_counts_in_totals_alone_until_it_is_back() {
    let mut roll_up = cluster();
    let mut report = told("a", &[passed("10.0.0.1:80", 10, 4)]);
    report.interval_ms = 5_000;
    roll_up.report(&report, 0);
    roll_up.age(14_999);
    assert_eq!(seen_all(&roll_up).0, (10, 4, 2.0));
    // three intervals: nothing passes
    roll_up.age(15_000);
    assert_eq!(seen_all(&roll_up).0, (10, 4, 0.0));
    roll_up.age(29_999);
    assert_eq!(seen_all(&roll_up).0, (10, 4, 0.0));
    roll_up.age(30_000);
    roll_up.age(35_000);
    let silent = (10, 0, 0.0);
    assert_eq!(
        seen_all(&roll_up),
        (
            silent,
            vec![silent],
            vec![silent, NOTHING],
            vec![silent, NOTHING]
        )
    );
    // what it had it still has: it tells what is new
    roll_up.report(&told("a", &[]), 40_000);
    assert_eq!(seen_all(&roll_up).0, (10, 4, 0.0));
    // while it is there it may have nothing to tell
    roll_up.hear(&node_name("a"), 65_000);
    roll_up.age(94_999);
    assert_eq!(seen_all(&roll_up).0, (10, 4, 0.0));
    roll_up.age(95_000);
    assert_eq!(seen_all(&roll_up).0, silent);
    roll_up.hear(&node_name("a"), 95_001);
    roll_up.hear(&node_name("nobody"), 95_001);
    assert_eq!(seen_all(&roll_up).0, (10, 4, 0.0));
}

#[test]
fn the_first_report_of_a_stream_tells_all_connections_anew() {
    let mut roll_up = cluster();
    let both = [passed("10.0.0.1:80", 10, 4), passed("10.0.0.2:80", 0, 2)];
    roll_up.report(&told("a", &both), 0);
    let mut first = told("a", &[passed("10.0.0.1:80", 0, 3)]);
    first.first = true;
    roll_up.report(&first, 1_000);
    assert_eq!(seen_all(&roll_up).0, (10, 3, 0.0));
}

#[test]
fn totals_never_go_back_whatever_comes_and_goes() {
    let mut roll_up = cluster();
    roll_up.report(&told("a", &[passed("10.0.0.1:80", u64::MAX, 4)]), 0);
    roll_up.report(&told("a", &[passed("10.0.0.1:80", 7, 4)]), 10_000);
    assert_eq!(seen_all(&roll_up).0, (u64::MAX, 4, 0.7));
    // the service stays, its backend goes
    put(&mut roll_up, web(&["10.0.0.2:80"]));
    let (fleet, services, backends, _) = seen_all(&roll_up);
    assert_eq!((fleet.0, services[0].0), (u64::MAX, u64::MAX));
    assert_eq!(backends, [NOTHING]);
    // the connections that go on are told, and are of the service
    roll_up.report(&told("a", &[passed("10.0.0.1:80", 0, 2)]), 20_000);
    let (_, services, backends, _) = seen_all(&roll_up);
    assert_eq!((services[0].1, backends), (2, vec![NOTHING]));
    // nobody tells of them any more
    roll_up.report(&told("a", &[]), 50_000);
    roll_up.age(50_000);
    assert_eq!(seen_all(&roll_up).1, [(u64::MAX, 0, 0.0)]);
}

#[test]
fn what_is_not_placed_is_not_kept() {
    let mut roll_up = cluster();
    let mut elsewhere = passed("10.0.0.1:80", 10, 1);
    elsewhere.backend.frontend = frontend("10.9.0.1:80");
    let mut report = told("a", &[elsewhere]);
    let vip = |last: u8, connections| VipConnections {
        address: [10, last, 0, 1].into(),
        protocol: Protocol::Tcp,
        state: ConnectionState::Established,
        connections,
    };
    report.vips = vec![vip(9, 5), vip(1, 7)];
    roll_up.report(&report, 0);
    roll_up.report(&told("nobody", &[passed("10.0.0.1:80", 10, 1)]), 0);
    assert_eq!(seen_all(&roll_up).0, NOTHING);
    let nodes = roll_up.passing(&all()).expect("all").nodes;
    assert_eq!(nodes[0].vips, [vip(1, 7)]);
    // a service that comes again begins anew
    roll_up.report(&told("a", &[passed("10.0.0.1:80", 10, 1)]), 1_000);
    remove(&mut roll_up, Kind::Service, "web");
    put(&mut roll_up, web(&["10.0.0.1:80"]));
    let (_, services, backends, nodes) = seen_all(&roll_up);
    assert_eq!((services, backends), (vec![NOTHING], vec![NOTHING]));
    assert_eq!(nodes[0], (10, 1, 1.0));
    roll_up.report(&told("a", &[passed("10.0.0.1:80", 5, 2)]), 10_000);
    let (fleet, services, ..) = seen_all(&roll_up);
    assert_eq!((fleet, services), ((15, 2, 0.5), vec![(5, 2, 0.5)]));
    // with its node goes what there is on it
    remove(&mut roll_up, Kind::Node, "a");
    let (fleet, services, _, nodes) = seen_all(&roll_up);
    assert_eq!(
        (fleet, services, nodes),
        ((15, 0, 0.0), vec![(5, 0, 0.0)], vec![NOTHING])
    );
}

#[test]
fn a_frontend_that_goes_to_another_service_counts_there_from_then_on() {
    let mut roll_up = cluster();
    roll_up.report(&told("a", &[passed("10.0.0.1:80", 10, 1)]), 0);
    let other = service("other", &["10.1.0.1:80"], &["10.0.0.1:80"]);
    // in the order of their names, as a batch has them
    put(&mut roll_up, Resource::Service(other));
    let emptied = service("web", &["10.1.0.2:80"], &["10.0.0.1:80"]);
    put(&mut roll_up, Resource::Service(emptied));
    roll_up.report(&told("a", &[passed("10.0.0.1:80", 20, 2)]), 10_000);
    let (fleet, services, ..) = seen_all(&roll_up);
    assert_eq!(fleet, (30, 2, 2.0));
    assert_eq!(services, [(20, 2, 2.0), (10, 0, 0.0)]);
}

#[test]
fn backends_of_sets_count_and_one_that_is_in_two_counts_once() {
    let mut roll_up = cluster();
    let more = ["10.0.0.2:80", "10.0.0.3:80"];
    put(
        &mut roll_up,
        Resource::BackendSet(set("more", "web", &more)),
    );
    roll_up.report(&told("a", &[passed("10.0.0.3:80", 30, 0)]), 0);
    let passing = roll_up.passing(&all()).expect("all");
    assert_eq!(passing.services[0].backends, 3);
    let at: Vec<_> = passing
        .backends
        .iter()
        .map(|it| (it.endpoint, it.sum.total.connections))
        .collect();
    let wanted = [("10.0.0.1:80", 0), ("10.0.0.2:80", 0), ("10.0.0.3:80", 30)];
    assert_eq!(
        at,
        wanted.map(|(at, connections)| (endpoint(at), connections))
    );
    // a set may be told before its service, and stay after it
    let mut late = RollUp::default();
    put(&mut late, Resource::BackendSet(set("more", "web", &more)));
    assert_eq!(late.passing(&all()), Ok(Passing::default()));
    put(&mut late, web(&[]));
    assert_eq!(
        late.passing(&all()).map(|it| it.services[0].backends),
        Ok(2)
    );
    remove(&mut late, Kind::Service, "web");
    assert_eq!(late.passing(&all()), Ok(Passing::default()));
    put(&mut late, web(&["10.0.0.1:80"]));
    assert_eq!(
        late.passing(&all()).map(|it| it.services[0].backends),
        Ok(3)
    );
    remove(&mut late, Kind::BackendSet, "more");
    assert_eq!(
        late.passing(&all()).map(|it| it.services[0].backends),
        Ok(1)
    );
}

#[test]
fn imbalance_is_the_busiest_over_the_mean_of_all() {
    // connections there are, and of the interval, of backends among so many
    for (loads, count, imbalance) in [
        (&[][..], 2, 0.0),
        (&[(0, 9)][..], 1, 0.0),
        (&[(4, 0), (4, 0)], 2, 1.0),
        (&[(6, 0), (2, 0)], 2, 1.5),
        // short connections are there at no look
        (&[(0, 6), (2, 0)], 2, 1.5),
        (&[(4, 0)], 4, 4.0),
    ] {
        let places: Vec<String> = (1..=count)
            .map(|last| format!("10.0.0.{last}:80"))
            .collect();
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        let mut roll_up = cluster();
        put(&mut roll_up, web(&places));
        let increments = loads.iter().zip(&places);
        let increments = increments.map(|((active, opened), at)| passed(at, *opened, *active));
        roll_up.report(&told("a", &increments.collect::<Vec<_>>()), 0);
        let passing = roll_up.passing(&all()).expect("all");
        assert_eq!(
            passing.services[0].imbalance, imbalance,
            "{loads:?} of {count}"
        );
    }
}

#[test]
fn a_backend_is_silent_while_any_node_says_so() {
    let mut roll_up = cluster();
    let mut silent = passed("10.0.0.1:80", 3, 0);
    silent.silent = true;
    let heard = passed("10.0.0.1:80", 3, 0);
    let count = |roll_up: &RollUp| {
        let passing = roll_up.passing(&all()).expect("all");
        (
            passing.services[0].silent,
            passing.backends[0].sum.now.silent,
        )
    };
    roll_up.report(&told("a", &[silent]), 0);
    roll_up.report(&told("b", &[silent]), 0);
    assert_eq!(count(&roll_up), (1, 2));
    roll_up.report(&told("b", &[heard]), 10_000);
    assert_eq!(count(&roll_up), (1, 1));
    // what is not told again stays
    roll_up.report(&told("a", &[]), 10_000);
    assert_eq!(count(&roll_up), (1, 1));
    roll_up.report(&told("a", &[heard]), 20_000);
    assert_eq!(count(&roll_up), (0, 0));
}

#[test]
fn losses_of_connection_tracking_add_up_and_its_entries_are_the_last_told() {
    let mut roll_up = cluster();
    let conntrack = |entries, dropped| Conntrack {
        entries,
        max_entries: 100,
        dropped,
        insert_failed: 1,
        early_dropped: 2,
    };
    let mut report = told("a", &[]);
    report.conntrack = Some(conntrack(50, 3));
    roll_up.report(&report, 0);
    report.conntrack = Some(conntrack(40, 4));
    roll_up.report(&report, 10_000);
    roll_up.report(&told("a", &[]), 20_000);
    let track = |roll_up: &RollUp| roll_up.passing(&all()).expect("all").nodes[0].conntrack;
    let wanted = Conntrack {
        entries: 40,
        max_entries: 100,
        dropped: 7,
        insert_failed: 2,
        early_dropped: 4,
    };
    assert_eq!(track(&roll_up), Some(wanted));
    roll_up.age(50_000);
    assert_eq!(track(&roll_up), None);
}

#[test]
fn only_named_services_are_told_and_those_that_are_missing_named() {
    let mut roll_up = cluster();
    put(
        &mut roll_up,
        Resource::Service(service("dns", &["10.1.0.2:53/udp"], &[])),
    );
    let query = |names: &[&str]| TrafficQuery {
        services: names.iter().map(|name| service_name(name)).collect(),
        ..TrafficQuery::default()
    };
    let names = |names: &[&str]| {
        let passing = roll_up.passing(&query(names));
        passing.map(|it| {
            it.services
                .into_iter()
                .map(|it| it.name.to_string())
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(names(&[]), Ok(vec!["dns".to_owned(), "web".to_owned()]));
    assert_eq!(names(&["web", "web"]), Ok(vec!["web".to_owned()]));
    assert_eq!(names(&["web", "x"]), Err(vec![service_name("x")]));
}

#[test]
fn what_is_not_among_all_there_is_went() {
    let mut roll_up = cluster();
    put(
        &mut roll_up,
        Resource::BackendSet(set("more", "web", &["10.0.0.3:80"])),
    );
    let kept = web(&["10.0.0.1:80"]);
    let stored = Arc::new(stored_at(kept.clone(), 2));
    roll_up.place_all(vec![(kept.reference(), stored)]);
    let passing = roll_up.passing(&all()).expect("all");
    assert_eq!((passing.services[0].backends, passing.nodes.len()), (1, 0));
}

#[test]
fn an_hour_of_random_reports_leaves_nothing_when_all_is_over() {
    let mut roll_up = cluster();
    let mut state = 7_u64;
    let mut random = |below: u64| {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % below
    };
    let places = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];
    let mut before = 0;
    for turn in 0..2_000_u64 {
        let name = ["a", "b"][random(2) as usize];
        let at = places[random(3) as usize];
        let mut increment = passed(at, random(1_000), random(50));
        increment.silent = random(9) == 0;
        let mut report = told(name, &[increment]);
        report.first = random(20) == 0;
        report.interval_ms = 1 + random(20_000);
        roll_up.report(&report, turn * 1_800);
        match random(12) {
            0 => put(&mut roll_up, web(&places[..2])),
            1 => put(&mut roll_up, web(&places)),
            2 => remove(&mut roll_up, Kind::Service, "web"),
            3 => remove(&mut roll_up, Kind::Node, "b"),
            4 => put(&mut roll_up, Resource::Node(node("b", &[]))),
            _ => roll_up.age(turn * 1_800),
        }
        let total = seen_all(&roll_up).0.0;
        assert!(total >= before, "{total} after {before}");
        before = total;
    }
    assert!(before > 0, "something was counted");
    put(&mut roll_up, web(&places));
    roll_up.age(u64::MAX);
    let passing = roll_up.passing(&all()).expect("all");
    let now = passing.services.iter().map(|it| it.sum.now);
    let now = now.chain(passing.backends.iter().map(|it| it.sum.now));
    let now = now.chain(passing.nodes.iter().map(|it| it.sum.now));
    for now in now.chain([passing.fleet.now]) {
        assert_eq!(now, Sum::default().now);
    }
}
