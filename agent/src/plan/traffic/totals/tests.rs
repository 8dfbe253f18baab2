use weir_proto::model::{BackendKey, Listener, Port, Protocol};

use super::super::{CountedService, Counters};
use super::*;

fn frontend(last: u8) -> Frontend {
    Frontend::Address(Listener {
        address: [10, 100, 0, last].into(),
        port: Port::new(80).expect("a port"),
        protocol: Protocol::Tcp,
    })
}

fn endpoint(last: u8) -> Endpoint {
    Endpoint {
        address: [10, 0, 0, last].into(),
        port: Port::new(80).expect("a port"),
    }
}

fn passed(connections: u64) -> Passed {
    Passed {
        connections,
        packets_in: 10 * connections,
        packets_out: 9 * connections,
        bytes_in: 1_000 * connections,
        bytes_out: 2_000 * connections,
    }
}

/// A service with one backend through which half of its connections went.
fn counted(service: u8, connections: u64) -> Counted {
    let backend = Counters {
        passed: passed(connections / 2),
        ..Counters::default()
    };
    let service_counted = CountedService {
        passed: passed(connections),
        backends: [(endpoint(1), backend)].into(),
    };
    [(frontend(service), Some(service_counted))].into()
}

fn gone(service: u8) -> Counted {
    [(frontend(service), None)].into()
}

fn failing(service: u8, failed: u64) -> Increment {
    Increment {
        backend: BackendKey {
            frontend: frontend(service),
            endpoint: endpoint(1),
        },
        connections: failed,
        failed,
        packets_in: 0,
        packets_out: 0,
        bytes_in: 0,
        bytes_out: 0,
        active: 0,
        inactive: 0,
        silent: false,
    }
}

/// What is told of services: which, how many connections, how many of them failed.
fn told(totals: &Totals) -> Vec<(Counter, u64, u64)> {
    let each = totals.passed();
    let each = each.map(|(counter, total)| (*counter, total.passed().connections, total.failed));
    each.collect()
}

fn of(service: u8, connections: u64) -> Vec<(Counter, u64, u64)> {
    vec![((frontend(service), None), connections, 0)]
}

/// An agent that starts again with what was made durable.
fn again(durable: &SavedTotals) -> Totals {
    Totals::new(durable.clone(), false)
}

/// Makes durable what must be, or all.
fn save(totals: &mut Totals, all: bool, durable: &mut SavedTotals) {
    let change = totals.unsaved(all);
    for counter in &change.forgotten {
        durable.passed.remove(counter);
    }
    durable.passed.extend(change.passed);
    durable.lost = change.lost.unwrap_or(durable.lost);
}

#[test]
fn a_total_goes_on_when_the_kernel_begins_anew() {
    let mut totals = Totals::default();
    totals.look(&counted(1, 100));
    assert_eq!(
        told(&totals),
        of(1, 100),
        "what the kernel has counted already"
    );
    totals.look(&counted(1, 160));
    totals.look(&counted(1, 6));
    assert_eq!(told(&totals), of(1, 166), "zeroed");
    totals.look(&gone(1));
    assert_eq!(told(&totals), []);
    totals.look(&counted(1, 4));
    assert_eq!(told(&totals), of(1, 170), "made anew");
    totals.look(&counted(1, 40));
    assert_eq!(told(&totals), of(1, 206));
}

#[test]
fn an_agent_that_is_killed_goes_on_where_it_was() {
    let mut durable = SavedTotals::default();
    let mut totals = Totals::default();
    totals.look(&counted(1, 100));
    save(&mut totals, false, &mut durable);
    assert_eq!(durable, SavedTotals::default(), "the kernel knows it");
    totals.look(&counted(1, 6));
    totals.fail(&[failing(1, 3)]);
    save(&mut totals, false, &mut durable);
    let [(_, connections, failed)] = told(&totals)[..] else {
        panic!("one service");
    };
    assert_eq!((connections, failed), (106, 3));
    totals.look(&counted(1, 50));
    save(&mut totals, false, &mut durable);
    let mut totals = again(&durable);
    assert_eq!(told(&totals), [], "nobody has looked");
    totals.look(&counted(1, 51));
    assert_eq!(told(&totals), [((frontend(1), None), 151, 3)]);
}

#[test]
fn a_kernel_that_began_anew_while_the_agent_was_away_is_told_by_what_it_showed_at_the_stop() {
    let mut durable = SavedTotals::default();
    let mut totals = Totals::default();
    totals.look(&counted(1, 100));
    totals.look(&counted(2, 70));
    save(&mut totals, true, &mut durable);
    // booted: one service has counted a little since, the other is not there yet
    let mut totals = again(&durable);
    totals.look(&counted(1, 2));
    assert_eq!(told(&totals), of(1, 102));
    totals.look(&counted(2, 80));
    let both = [of(1, 102), of(2, 150)].concat();
    assert_eq!(
        told(&totals),
        both,
        "though it counts more than before already"
    );
}

#[test]
fn nothing_is_made_durable_of_what_does_not_change() {
    let mut totals = Totals::default();
    totals.look(&counted(1, 0));
    assert!(
        totals.unsaved(true).is_empty(),
        "there is nothing to forget"
    );
    totals.look(&counted(1, 5));
    assert!(totals.unsaved(false).is_empty());
    let change = totals.unsaved(true);
    let counters: Vec<&Counter> = change.passed.keys().collect();
    assert_eq!(counters, [&(frontend(1), None)]);
    assert!(totals.unsaved(true).is_empty());
    totals.not_saved(change.clone());
    assert_eq!(totals.unsaved(false), change);
    totals.nothing_saved();
    assert_eq!(totals.unsaved(false), change);
}

#[test]
fn backends_have_totals_where_they_are_told() {
    let mut durable = SavedTotals::default();
    let mut totals = Totals::new(SavedTotals::default(), true);
    totals.look(&counted(1, 100));
    totals.fail(&[failing(1, 2)]);
    let service = (frontend(1), None);
    let backend = (frontend(1), Some(endpoint(1)));
    assert_eq!(told(&totals), [(service, 100, 2), (backend, 50, 2)]);
    let mut without = counted(1, 100);
    for service in without.values_mut().flatten() {
        service.backends.clear();
    }
    totals.look(&without);
    assert_eq!(told(&totals), [(service, 100, 2)], "it has gone");
    totals.look(&counted(1, 104));
    assert_eq!(told(&totals), [(service, 104, 2), (backend, 102, 2)]);
    totals.look(&gone(1));
    assert_eq!(told(&totals), []);
    save(&mut totals, true, &mut durable);
    assert_eq!(durable.passed.len(), 2);
    let mut totals = again(&durable);
    save(&mut totals, false, &mut durable);
    let left: Vec<&Counter> = durable.passed.keys().collect();
    assert_eq!(left, [&service], "nobody asks for backends any more");
}

#[test]
fn of_services_that_have_gone_some_are_remembered() {
    let mut totals = Totals::default();
    let mut durable = SavedTotals::default();
    let service = |number: usize| {
        let [.., high, low] = number.to_be_bytes();
        Frontend::Address(Listener {
            address: [10, 100, high, low].into(),
            port: Port::new(80).expect("a port"),
            protocol: Protocol::Udp,
        })
    };
    for number in 0..MOST_GONE + 10 {
        let counted = CountedService {
            passed: passed(1),
            ..CountedService::default()
        };
        totals.look(&[(service(number), Some(counted))].into());
        totals.look(&[(service(number), None)].into());
        save(&mut totals, false, &mut durable);
    }
    assert_eq!(
        (totals.passed.len(), durable.passed.len()),
        (MOST_GONE, MOST_GONE)
    );
    // through which nothing ever went is forgotten at once
    totals.look(&[(frontend(1), Some(CountedService::default()))].into());
    totals.look(&gone(1));
    assert_eq!(totals.passed.len(), MOST_GONE);
}

#[test]
fn what_connection_tracking_lost_goes_on_when_the_kernel_begins_anew() {
    let losing = |lost: [u64; 3]| Conntrack {
        dropped: lost[0],
        insert_failed: lost[1],
        early_dropped: lost[2],
        ..Conntrack::default()
    };
    let mut durable = SavedTotals::default();
    let mut totals = Totals::default();
    totals.lose(&losing([5, 0, 9]));
    totals.lose(&losing([6, 0, 9]));
    assert_eq!(totals.lost(), [6, 0, 9]);
    assert_eq!(totals.unsaved(false), TotalsChange::default());
    totals.lose(&losing([1, 0, 0]));
    save(&mut totals, false, &mut durable);
    assert_eq!(totals.lost(), [7, 0, 9]);
    let mut totals = again(&durable);
    totals.lose(&losing([2, 0, 0]));
    assert_eq!(totals.lost(), [8, 0, 9]);
}
