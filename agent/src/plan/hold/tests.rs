use weir_proto::model::{Frontend, Listener, Port, Protocol, ServiceName, VirtualService};

use super::*;

fn service(number: u8) -> Item {
    let frontend = Frontend::Address(Listener {
        address: [10, 1, 0, number].into(),
        port: Port::new(80).expect("port"),
        protocol: Protocol::Tcp,
    });
    Item::VirtualService(VirtualService::new(
        frontend,
        ServiceName::new("web").expect("name"),
    ))
}

fn services(numbers: std::ops::Range<u8>) -> Vec<Item> {
    numbers.map(service).collect()
}

fn snapshot(generation: u64, items: Vec<Item>) -> Update {
    Update {
        generation: Generation(generation),
        digest: items.iter().cloned().collect::<NodeState>().digest(),
        upserted: items,
        cluster: "a".to_owned(),
        ..Update::default()
    }
}

/// A node that serves 24 services of the cluster "a".
fn serving() -> Keeping {
    let mut keeping = Keeping::default();
    must_serve(&mut keeping, snapshot(1, services(0..24)));
    keeping
}

fn taken(keeping: &mut Keeping, update: Update) -> Taking {
    let taking = keeping.take(update, 1_000).expect("taken").expect("news");
    keeping.apply(&taking);
    taking
}

fn must_serve(keeping: &mut Keeping, update: Update) {
    let accepted = update.upserted.clone();
    let taking = taken(keeping, update);
    assert!(taking.served.is_some(), "{taking:?}");
    assert_eq!(keeping.hold, None);
    let served: Vec<Item> = keeping.serving().state.items().values().cloned().collect();
    assert_eq!(served, accepted);
}

fn must_hold(keeping: &mut Keeping, update: Update) -> model::Hold {
    let before = keeping.serving();
    let generation = update.generation;
    let taking = taken(keeping, update);
    assert_eq!(taking.served, None);
    assert_eq!(keeping.serving(), before, "what is served stays");
    assert_eq!(keeping.accepted.generation, generation);
    keeping.hold.as_ref().expect("a hold").told.clone()
}

#[test]
fn more_than_half_and_more_than_ten_are_held_back() {
    must_serve(&mut serving(), snapshot(2, services(0..12)));
    let held = must_hold(&mut serving(), snapshot(2, services(0..11)));
    let expected = model::Hold {
        generation: Generation(2),
        dropped: 13,
        served: 24,
        since_unix_ms: 1_000,
        cause: "would take away 13 of 24 virtual services".to_owned(),
    };
    assert_eq!(held, expected);
    let mut few = Keeping::default();
    must_serve(&mut few, snapshot(1, services(0..10)));
    must_serve(&mut few, snapshot(2, Vec::new()));
}

#[test]
fn what_an_operator_confirmed_is_not_held_back() {
    let confirmed = Update {
        allow_mass_delete: true,
        ..snapshot(2, Vec::new())
    };
    must_serve(&mut serving(), confirmed);
}

#[test]
fn everything_after_what_is_held_back_waits_with_it_until_it_is_released() {
    let mut keeping = serving();
    must_hold(&mut keeping, snapshot(2, services(0..2)));
    // an addition, and a removal more
    let held = must_hold(
        &mut keeping,
        snapshot(3, [services(1..2), services(30..31)].concat()),
    );
    assert_eq!((held.dropped, held.since_unix_ms), (23, 1_000));
    assert_eq!(keeping.release(Generation(2)), None, "there is more by now");
    let taking = keeping.release(Generation(3)).expect("released");
    let served = taking.served.clone().expect("a change");
    assert_eq!(served.generation, Generation(3));
    assert_eq!(served.upserted, [service(30)]);
    assert_eq!(served.removed.len(), 23);
    keeping.apply(&taking);
    assert_eq!(keeping.serving(), keeping.accepted);
    assert_eq!(keeping.release(Generation(9)), None, "nothing is held");
}

#[test]
fn what_comes_back_ends_the_hold_by_itself() {
    let mut keeping = serving();
    must_hold(&mut keeping, snapshot(2, services(0..2)));
    let taking = taken(&mut keeping, snapshot(3, services(0..20)));
    let served = taking.served.expect("a change");
    assert_eq!((served.upserted.len(), served.removed.len()), (0, 4));
    assert_eq!(keeping.hold, None);
}

#[test]
fn another_cluster_takes_nothing_away_unasked() {
    let of_b = |update: Update| Update {
        cluster: "b".to_owned(),
        ..update
    };
    let mut keeping = serving();
    let held = must_hold(&mut keeping, of_b(snapshot(2, services(1..24))));
    assert_eq!(
        held.cause,
        "the controller's store is not the one that what is served came from; it would take away 1 of 24 virtual \
         services"
    );
    must_hold(&mut keeping, of_b(snapshot(3, services(2..24))));
    let taking = keeping.release(Generation(3)).expect("released");
    keeping.apply(&taking);
    assert_eq!((keeping.cluster.as_str(), &keeping.hold), ("b", &None));
    // one that has all that is served is as good as the first
    let mut keeping = serving();
    must_serve(&mut keeping, of_b(snapshot(2, services(0..25))));
    assert_eq!(keeping.cluster, "b");
}

#[test]
fn a_doubt_is_over_with_the_next_word_of_the_controller_even_if_that_is_no_news() {
    let mut keeping = serving();
    keeping.unsure = true;
    let same = snapshot(1, services(0..24));
    let taking = keeping.take(same.clone(), 1_000);
    let taking = taking.expect("taken").expect("news");
    let nothing = Change {
        generation: Generation(1),
        ..Change::default()
    };
    assert_eq!((&taking.served, taking.sure), (&Some(nothing), true));
    keeping.apply(&taking);
    assert!(!keeping.unsure);
    assert_eq!(keeping.take(same, 1_000), Ok(None));
}

#[test]
fn what_is_held_back_ends_no_doubt() {
    let mut keeping = serving();
    keeping.unsure = true;
    must_hold(&mut keeping, snapshot(2, services(0..2)));
    assert!(keeping.unsure);
    let taking = keeping.release(Generation(2)).expect("released");
    keeping.apply(&taking);
    assert!(!keeping.unsure);
}

#[test]
fn a_store_that_was_restored_is_the_one_that_is_known() {
    let mut keeping = serving();
    let other = Update {
        cluster: "b".to_owned(),
        ..snapshot(2, services(0..2))
    };
    must_hold(&mut keeping, other);
    // a backup of the first, one service short
    let taking = taken(&mut keeping, snapshot(3, services(0..23)));
    assert!(taking.served.is_some());
    assert_eq!((keeping.cluster.as_str(), &keeping.hold), ("a", &None));
}
