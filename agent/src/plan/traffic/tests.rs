use weir_proto::model::{Family, Listener, Mark, Port};

use super::*;

fn frontend(protocol: Protocol) -> Frontend {
    Frontend::Address(Listener {
        address: [10, 100, 0, 1].into(),
        port: Port::new(80).expect("a port"),
        protocol,
    })
}

fn endpoint(last: u8) -> Endpoint {
    Endpoint {
        address: [10, 0, 0, last].into(),
        port: Port::new(80).expect("a port"),
    }
}

fn counters(connections: u64, packets_in: u64, packets_out: u64) -> Counters {
    Counters {
        passed: Passed {
            connections,
            packets_in,
            packets_out,
            bytes_in: packets_in * 40,
            bytes_out: packets_out * 40,
        },
        now: Connections::default(),
        forwarding: Some(Forwarding::Masquerade),
    }
}

fn counted(backends: &[(u8, Counters)]) -> Counted {
    let backends = backends.iter();
    let backends = backends.map(|(last, counters)| (endpoint(*last), *counters));
    let service = CountedService {
        backends: backends.collect(),
        ..CountedService::default()
    };
    [(frontend(Protocol::Tcp), Some(service))].into()
}

fn seen(increments: &[Increment]) -> Vec<(Endpoint, u64, u64, u64)> {
    let seen = increments.iter().map(|increment| {
        let (connections, packets) = (increment.connections, increment.packets_in);
        let endpoint = increment.backend.endpoint;
        (endpoint, connections, packets, increment.failed)
    });
    seen.collect()
}

#[test]
fn the_first_look_tells_nothing_and_the_next_what_came_since() {
    let mut traffic = Traffic::default();
    let first = counted(&[(1, counters(5, 50, 40)), (2, counters(1, 2, 1))]);
    assert_eq!(traffic.look(first), []);
    let next = counted(&[
        (1, counters(7, 60, 48)),
        (2, counters(1, 2, 1)),
        (3, counters(4, 4, 0)),
    ]);
    let told = seen(&traffic.look(next));
    assert_eq!(told, [(endpoint(1), 2, 10, 0), (endpoint(3), 4, 4, 4)]);
    assert_eq!(
        traffic.look(Counted::new()),
        [],
        "nothing passed through any"
    );
}

#[test]
fn counters_that_went_back_began_anew() {
    let mut traffic = Traffic::default();
    traffic.look(counted(&[(1, counters(100, 1_000, 900))]));
    let told = seen(&traffic.look(counted(&[(1, counters(3, 30, 20))])));
    assert_eq!(told, [(endpoint(1), 3, 30, 0)]);
    // a backend that went and came back is another
    traffic.look(Counted::from([(frontend(Protocol::Tcp), None)]));
    let told = seen(&traffic.look(counted(&[(1, counters(4, 40, 30))])));
    assert_eq!(told, [(endpoint(1), 4, 40, 0)]);
}

#[test]
fn a_level_that_changes_is_told_without_an_increment() {
    let mut traffic = Traffic::default();
    let with = |active| Counters {
        now: Connections {
            active,
            inactive: 0,
        },
        ..counters(5, 50, 40)
    };
    traffic.look(counted(&[(1, with(5))]));
    assert_eq!(traffic.look(counted(&[(1, with(5))])), []);
    let told = traffic.look(counted(&[(1, with(2))]));
    assert_eq!(seen(&told), [(endpoint(1), 0, 0, 0)]);
    let levels: Vec<u64> = told.iter().map(|increment| increment.active).collect();
    assert_eq!(levels, [2]);
}

#[test]
fn connections_that_fail_are_estimated_from_packets() {
    let masquerade = Some(Forwarding::Masquerade);
    let direct = Some(Forwarding::DirectRoute);
    for (why, forwarding, [opened, inward, outward], lost) in [
        ("nothing", masquerade, [0, 0, 0], 0),
        ("packets of older connections", masquerade, [0, 9, 9], 0),
        ("handshakes alone", masquerade, [10, 20, 10], 0),
        ("all refused", masquerade, [10, 10, 10], 10),
        (
            "none answered, sent three times",
            masquerade,
            [10, 30, 0],
            10,
        ),
        ("three refused, the rest bare", masquerade, [10, 17, 10], 3),
        ("three not answered", masquerade, [10, 24, 7], 3),
        ("hidden by what goes well", masquerade, [10, 70, 60], 0),
        ("replies pass elsewhere", direct, [10, 20, 0], 0),
        ("refused behind direct route", direct, [10, 10, 0], 10),
        ("not ours to judge", None, [10, 10, 0], 0),
    ] {
        let passed = counters(opened, inward, outward).passed;
        let found = failed(&passed, forwarding, frontend(Protocol::Tcp));
        assert_eq!(found, lost, "{why}");
    }
    let refused = counters(10, 10, 10).passed;
    assert_eq!(failed(&refused, masquerade, frontend(Protocol::Sctp)), 10);
    assert_eq!(failed(&refused, masquerade, frontend(Protocol::Udp)), 0);
    let mark = Frontend::Mark(Mark {
        number: std::num::NonZeroU32::MIN,
        family: Family::V4,
    });
    assert_eq!(failed(&refused, masquerade, mark), 0);
}

fn told(traffic: &mut Traffic) -> Vec<(Endpoint, u64, u64, u64, bool)> {
    let told = traffic.tell().into_iter().map(|increment| {
        let (connections, failed) = (increment.connections, increment.failed);
        let endpoint = increment.backend.endpoint;
        (
            endpoint,
            connections,
            failed,
            increment.active,
            increment.silent,
        )
    });
    told.collect()
}

#[test]
fn what_nobody_takes_is_added_up_until_somebody_does() {
    let mut traffic = Traffic::default();
    traffic.look(counted(&[(1, counters(0, 0, 0))]));
    for connections in [2, 5, 6] {
        let open = Counters {
            now: Connections {
                active: connections,
                inactive: 0,
            },
            ..counters(
                connections.into(),
                2 * u64::from(connections),
                connections.into(),
            )
        };
        traffic.look(counted(&[(1, open)]));
    }
    assert_eq!(told(&mut traffic), [(endpoint(1), 6, 0, 6, false)]);
    assert_eq!(told(&mut traffic), []);
}

#[test]
fn an_agent_that_starts_again_tells_levels_and_nothing_of_what_was_told_before() {
    let mut traffic = Traffic::default();
    let open = Counters {
        now: Connections {
            active: 3,
            inactive: 1,
        },
        ..counters(1_000_000, 2_000_000, 2_000_000)
    };
    traffic.look(counted(&[(1, open), (2, counters(500, 1_000, 900))]));
    traffic.begin();
    assert_eq!(told(&mut traffic), [(endpoint(1), 0, 0, 3, false)]);
}

#[test]
fn a_backend_that_answers_none_is_silent_and_said_so_until_it_is_gone() {
    let mut traffic = Traffic::default();
    let mut last = Vec::new();
    for connections in 1..=4 {
        traffic.look(counted(&[(1, counters(connections, 3 * connections, 0))]));
        last = told(&mut traffic);
    }
    assert_eq!(last, [(endpoint(1), 1, 1, 0, true)]);
    let backend = BackendKey {
        frontend: frontend(Protocol::Tcp),
        endpoint: endpoint(1),
    };
    assert_eq!(traffic.silent(), &[backend].into());
    traffic.begin();
    let again = told(&mut traffic);
    assert_eq!(again, [(endpoint(1), 0, 0, 0, true)], "on another stream");
    traffic.look(counted(&[]));
    assert_eq!(traffic.silent(), &BTreeSet::new());
}

#[test]
fn vips_and_levels_are_those_of_the_last_look() {
    let mut traffic = Traffic::default();
    assert_eq!(traffic.vips(), BTreeSet::new());
    traffic.look(counted(&[(1, counters(1, 1, 1))]));
    assert_eq!(traffic.vips(), [IpAddr::from([10, 100, 0, 1])].into());
    let levels: Vec<_> = traffic.levels(frontend(Protocol::Tcp)).collect();
    assert_eq!(levels, [(endpoint(1), Connections::default())]);
    assert_eq!(traffic.levels(frontend(Protocol::Udp)).count(), 0);
}
