use std::net::IpAddr;

use weir_proto::model::{
    DrainDeadline, Endpoint, Listener, Port, ServiceName, Vip, VirtualService, Weight,
};

use super::*;
use crate::plan::{Held, VipSpec};

const NOW: u64 = 1_000_000;

fn frontend(protocol: Protocol) -> Frontend {
    Frontend::Address(Listener {
        address: [10, 1, 0, 1].into(),
        port: Port::new(80).expect("port"),
        protocol,
    })
}

fn key(protocol: Protocol, last: u8) -> BackendKey {
    BackendKey {
        frontend: frontend(protocol),
        endpoint: Endpoint {
            address: [10, 0, 0, last].into(),
            port: Port::new(8080).expect("port"),
        },
    }
}

fn drain(seconds: u32, on_deadline: OnDeadline) -> Drain {
    Drain {
        deadline: DrainDeadline::new(seconds).expect("seconds"),
        on_deadline,
    }
}

fn backend(last: u8, drain: Option<Drain>) -> Item {
    Item::Backend(NodeBackend {
        weight: Weight::new(3).expect("weight"),
        drain,
        ..NodeBackend::new(key(Protocol::Tcp, last))
    })
}

fn service(protocol: Protocol, drain: Drain) -> Item {
    let name = ServiceName::new("web").expect("name");
    Item::VirtualService(VirtualService {
        drain,
        ..VirtualService::new(frontend(protocol), name)
    })
}

fn vip() -> Item {
    Item::Vip(Vip::new([10, 1, 0, 1].into()))
}

/// A node that serves two backends, and its kernel, which does.
fn node() -> (Held, Ledger, Table) {
    let items = [
        vip(),
        service(Protocol::Tcp, drain(60, OnDeadline::Reset)),
        backend(1, None),
        backend(2, None),
    ];
    let held = Held {
        generation: Generation(1),
        state: items.into_iter().collect(),
        ..Held::default()
    };
    let ledger = Ledger::default();
    let kernel = wanted(&held.state, &ledger, &Scope::All);
    (held, ledger, kernel)
}

/// Makes a change of a node, as a session and a reconciler do it together.
fn change(held: &mut Held, drains: &mut Drains, upserted: Vec<Item>, removed: Vec<ItemKey>) {
    let change = Change {
        generation: held.generation.next(),
        upserted,
        removed,
    };
    let started = begun(&change, |key| held.state.get(key), NOW);
    let keys: Vec<ItemKey> = change.keys().collect();
    held.apply(change);
    drains.begin(started);
    drains.revise(keys.into_iter(), &held.state);
}

/// Counts twice, which is what it takes to be sure that there is no connection.
fn count(drains: &mut Drains, held: &Held, of: &[(u8, u32)], now_unix_ms: u64) -> Vec<Over> {
    let first = drains.count(&counts(of), &held.state, now_unix_ms);
    let second = drains.count(&counts(of), &held.state, now_unix_ms);
    [first, second].concat()
}

fn weight(table: &Table, last: u8) -> Option<u32> {
    match table.get(&Key::Item(ItemKey::Backend(key(Protocol::Tcp, last)))) {
        Some(Object::Backend(spec)) => Some(spec.weight),
        _ => None,
    }
}

fn counts(of: &[(u8, u32)]) -> BTreeMap<BackendKey, Connections> {
    let one = |(last, active): &(u8, u32)| {
        let connections = Connections {
            active: *active,
            inactive: 0,
        };
        (key(Protocol::Tcp, *last), connections)
    };
    of.iter().map(one).collect()
}

#[test]
fn a_backend_that_is_taken_out_stays_at_weight_0_until_it_has_no_connection() {
    let (mut held, ledger, kernel) = node();
    let mut drains = Drains::default();
    let gone = ItemKey::Backend(key(Protocol::Tcp, 1));
    change(&mut held, &mut drains, vec![], vec![gone]);
    let wanted = drains.wanted(&held.state, &ledger, &Scope::All, &kernel);
    assert_eq!((weight(&wanted, 1), weight(&wanted, 2)), (Some(0), Some(3)));
    let frontends: BTreeSet<Frontend> = [frontend(Protocol::Tcp)].into();
    assert_eq!(drains.counted(&held.state), frontends);
    let over = drains.count(&counts(&[(1, 4), (2, 9)]), &held.state, NOW + 1_000);
    assert_eq!(over, []);
    let expected = DrainProgress {
        key: gone,
        active: 4,
        inactive: 0,
        started_unix_ms: NOW,
        deadline_unix_ms: NOW + 60_000,
        on_deadline: OnDeadline::Reset,
        done: false,
    };
    assert_eq!(drains.progress(), [expected]);
    let once = drains.count(&counts(&[(1, 0), (2, 9)]), &held.state, NOW + 2_000);
    assert_eq!(once, [], "one look may have missed it");
    let over = drains.count(&counts(&[(1, 0), (2, 9)]), &held.state, NOW + 3_000);
    let id = DrainId {
        generation: Generation(2),
        key: gone,
    };
    assert_eq!(over, [Over { id, cut: false }]);
    let wanted = drains.wanted(&held.state, &ledger, &Scope::All, &kernel);
    assert_eq!((weight(&wanted, 1), weight(&wanted, 2)), (None, Some(3)));
    assert_eq!(drains, Drains::default());
}

#[test]
fn what_is_left_at_the_deadline_is_cut_or_kept_as_the_service_says() {
    for (on_deadline, cut) in [(OnDeadline::Reset, true), (OnDeadline::Keep, false)] {
        let (mut held, ledger, kernel) = node();
        held.state
            .insert(service(Protocol::Tcp, drain(60, on_deadline)));
        let mut drains = Drains::default();
        let gone = ItemKey::Backend(key(Protocol::Tcp, 1));
        change(&mut held, &mut drains, vec![], vec![gone]);
        assert_eq!(
            drains.count(&counts(&[(1, 1)]), &held.state, NOW + 59_999),
            []
        );
        let over = drains.count(&counts(&[(1, 1)]), &held.state, NOW + 60_000);
        assert_eq!(over.iter().any(|over| over.cut), cut);
        let wanted = drains.wanted(&held.state, &ledger, &Scope::All, &kernel);
        assert_eq!(weight(&wanted, 1).is_none(), cut, "{on_deadline}");
    }
}

#[test]
fn a_backend_that_is_back_is_drained_no_more_and_gone_again_it_has_all_its_time() {
    let (mut held, ledger, kernel) = node();
    let mut drains = Drains::default();
    let gone = ItemKey::Backend(key(Protocol::Tcp, 1));
    change(&mut held, &mut drains, vec![], vec![gone]);
    change(&mut held, &mut drains, vec![backend(1, None)], vec![]);
    assert!(drains.is_empty());
    let wanted = drains.wanted(&held.state, &ledger, &Scope::All, &kernel);
    assert_eq!(weight(&wanted, 1), Some(3));
    change(&mut held, &mut drains, vec![], vec![gone]);
    assert_eq!(drains.count(&counts(&[(1, 1)]), &held.state, NOW + 1), []);
    assert_eq!(drains.progress().len(), 1);
}

#[test]
fn udp_goes_at_once_and_so_does_a_backend_with_its_service() {
    let udp = Item::Backend(NodeBackend::new(key(Protocol::Udp, 1)));
    let items = [
        service(Protocol::Udp, Drain::default()),
        udp.clone(),
        service(Protocol::Tcp, Drain::default()),
        backend(1, None),
    ];
    let mut held = Held {
        generation: Generation(1),
        state: items.into_iter().collect(),
        ..Held::default()
    };
    let mut drains = Drains::default();
    let tcp = [
        ItemKey::VirtualService(frontend(Protocol::Tcp)),
        ItemKey::Backend(key(Protocol::Tcp, 1)),
    ];
    let removed = [udp.key()].into_iter().chain(tcp).collect();
    change(&mut held, &mut drains, vec![], removed);
    assert_eq!(drains, Drains::default());
}

#[test]
fn a_backend_of_udp_that_an_operator_drains_is_done_with_at_once() {
    let udp = |drain| {
        Item::Backend(NodeBackend {
            drain,
            ..NodeBackend::new(key(Protocol::Udp, 1))
        })
    };
    let mut held = Held {
        generation: Generation(1),
        state: [service(Protocol::Udp, Drain::default()), udp(None)]
            .into_iter()
            .collect(),
        ..Held::default()
    };
    let mut drains = Drains::default();
    change(
        &mut held,
        &mut drains,
        vec![udp(Some(Drain::default()))],
        vec![],
    );
    assert!(drains.is_empty());
    assert_eq!(drains.progress().len(), 1);
    assert!(drains.progress()[0].done);
    change(&mut held, &mut drains, vec![udp(None)], vec![]);
    assert_eq!(drains, Drains::default());
}

#[test]
fn a_backend_that_an_operator_drains_is_out_when_it_is_done_and_in_again_when_he_says_so() {
    let (mut held, ledger, kernel) = node();
    let mut drains = Drains::default();
    let long = drain(600, OnDeadline::Keep);
    change(&mut held, &mut drains, vec![backend(1, Some(long))], vec![]);
    let wanted = drains.wanted(&held.state, &ledger, &Scope::All, &kernel);
    assert_eq!(weight(&wanted, 1), Some(0));
    // the same again is no news, and another deadline is another drain
    change(&mut held, &mut drains, vec![backend(1, Some(long))], vec![]);
    assert_eq!(drains.progress()[0].deadline_unix_ms, NOW + 600_000);
    let short = drain(6, OnDeadline::Keep);
    change(
        &mut held,
        &mut drains,
        vec![backend(1, Some(short))],
        vec![],
    );
    assert_eq!(drains.progress()[0].deadline_unix_ms, NOW + 6_000);
    let over = count(&mut drains, &held, &[], NOW);
    assert_eq!(over.len(), 1);
    assert!(drains.progress()[0].done);
    let without = drains.wanted(&held.state, &ledger, &Scope::All, &kernel);
    assert_eq!(weight(&without, 1), None);
    // an agent that starts again finds no record, and the backend done with
    let (again, ended) = Drains::restore(Vec::new(), &held.state);
    assert_eq!(ended, []);
    assert_eq!(
        again.wanted(&held.state, &ledger, &Scope::All, &kernel),
        without
    );
    change(&mut held, &mut drains, vec![backend(1, None)], vec![]);
    assert_eq!(drains, Drains::default());
    let wanted = drains.wanted(&held.state, &ledger, &Scope::All, &kernel);
    assert_eq!(weight(&wanted, 1), Some(3));
}

#[test]
fn what_was_written_down_is_taken_up_again_and_what_has_no_use_is_named() {
    let (held, ..) = node();
    let record = |generation, last| Begun {
        generation: Generation(generation),
        what: Drained::Backend(NodeBackend::new(key(Protocol::Tcp, last))),
        started_unix_ms: NOW,
        deadline_unix_ms: NOW + generation,
        on_deadline: OnDeadline::Keep,
    };
    let other = Begun {
        what: Drained::Backend(NodeBackend::new(key(Protocol::Udp, 9))),
        ..record(2, 9)
    };
    // 9 went twice, 1 is back, and the service of the other is gone
    let records = vec![record(5, 9), record(3, 9), record(4, 1), other.clone()];
    let (drains, ended) = Drains::restore(records, &held.state);
    let progress = drains.progress();
    assert_eq!(progress.len(), 1);
    assert_eq!(progress[0].deadline_unix_ms, NOW + 5);
    let ended: BTreeSet<DrainId> = ended.into_iter().collect();
    let expected = [record(3, 9).id(), record(4, 1).id(), other.id()];
    assert_eq!(ended, expected.into());
}

#[test]
fn a_backend_that_somebody_took_away_is_not_put_back_to_be_drained() {
    let (mut held, ledger, mut kernel) = node();
    let mut drains = Drains::default();
    let gone = ItemKey::Backend(key(Protocol::Tcp, 1));
    change(&mut held, &mut drains, vec![], vec![gone]);
    kernel.remove(&Key::Item(gone));
    let elsewhere = Scope::Units([Unit::Base].into());
    assert_eq!(drains.settle(&elsewhere, &Table::new(), &held.state), []);
    let scope = Scope::Units([Key::Item(gone).unit()].into());
    let wanted = drains.wanted(&held.state, &ledger, &scope, &kernel);
    assert_eq!(weight(&wanted, 1), None);
    assert_eq!(drains.settle(&scope, &kernel, &held.state).len(), 1);
    assert!(drains.is_empty());
}

#[test]
fn a_drained_node_has_its_vips_until_nothing_is_connected_through_it() {
    let (mut held, ledger, kernel) = node();
    let address: IpAddr = [10, 1, 0, 1].into();
    let is_vip = |table: &Table| table.get(&Key::Item(ItemKey::Vip(address))).cloned();
    let mut drains = Drains::default();
    let leaving = Item::NodeDrain(drain(60, OnDeadline::Keep));
    change(&mut held, &mut drains, vec![leaving], vec![]);
    let wanted = drains.wanted(&held.state, &ledger, &Scope::All, &kernel);
    assert!(is_vip(&wanted).is_some());
    assert_eq!(
        drains.count(&counts(&[(2, 1)]), &held.state, NOW + 90_000),
        []
    );
    let over = count(&mut drains, &held, &[(2, 0)], NOW + 90_000);
    assert_eq!(over.len(), 1);
    let wanted = drains.wanted(&held.state, &ledger, &Scope::All, &kernel);
    assert_eq!(is_vip(&wanted), None);
    assert_eq!(weight(&wanted, 1), Some(3), "services stay");
    // what another node sends here is taken all the same
    held.state.insert(Item::SilentVip(address));
    let wanted = drains.wanted(&held.state, &ledger, &Scope::All, &kernel);
    let silent = VipSpec {
        silent: true,
        ..VipSpec::default()
    };
    assert_eq!(is_vip(&wanted), Some(Object::Vip(silent)));
    change(&mut held, &mut drains, vec![], vec![ItemKey::NodeDrain]);
    assert_eq!(drains, Drains::default());
    let wanted = drains.wanted(&held.state, &ledger, &Scope::All, &kernel);
    assert!(is_vip(&wanted).is_some());
}
