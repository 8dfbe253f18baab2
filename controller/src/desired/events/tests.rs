use super::*;
use crate::desired::samples::node_name;

/// An hour after the epoch.
const START: u64 = 3_600_000;

fn connected(name: &str) -> Happening {
    told::about_node(&node_name(name), Reason::NodeConnected, "it came")
}

fn applied(name: &str) -> Happening {
    let object = EventObject::new(ObjectKind::Service, name);
    told::anywhere(Some(object), Reason::Applied, "by somebody".to_owned())
}

fn drift(node: &str, part: &str) -> Happening {
    Happening {
        part: part.to_owned(),
        ..told::about_node(&node_name(node), Reason::DriftRepaired, "it was gone")
    }
}

/// Who, when first and last, and how often.
type Told = (String, u64, u64, u64);

fn told(events: &Events, after: u64) -> Vec<Told> {
    let name = |event: &Event| event.object.as_ref().map(|it| it.name.clone());
    let all = events.after(after).map(|it| {
        let name = name(it).unwrap_or_default();
        (name, it.first_unix_ms, it.last_unix_ms, it.count)
    });
    all.collect()
}

fn one(name: &str, first: u64, last: u64, count: u64) -> Told {
    (name.to_owned(), first, last, count)
}

#[test]
fn the_same_event_within_ten_minutes_is_counted_up_and_later_is_another_one() {
    let mut events = Events::default();
    assert!(events.add(connected("a"), START));
    assert!(events.add(connected("b"), START + 1));
    let seen = events.changes();
    let again = Happening {
        message: "it came again".to_owned(),
        times: 3,
        ..connected("a")
    };
    let last = START + WINDOW_MS;
    assert!(events.add(again, last));
    assert_eq!(
        told(&events, 0),
        [one("b", START + 1, START + 1, 1), one("a", START, last, 4)],
        "by their last time"
    );
    assert_eq!(told(&events, seen), [one("a", START, last, 4)]);
    let newest = events.after(0).next_back().map(|it| it.message.as_str());
    assert_eq!(newest, Some("it came again"));

    let later = last + WINDOW_MS + 1;
    assert!(events.add(connected("a"), later));
    let all = [
        one("b", START + 1, START + 1, 1),
        one("a", START, last, 4),
        one("a", later, later, 1),
    ];
    assert_eq!(told(&events, 0), all);
    // a clock that was set back moves nothing back
    assert!(events.add(connected("a"), START));
    assert_eq!(told(&events, 0)[2], one("a", later, later, 2));
}

#[test]
fn what_differs_in_more_than_its_message_is_another_event() {
    let by = |who: &str| Happening {
        who: who.to_owned(),
        ..applied("web")
    };
    let replaced = Happening {
        reason: Reason::NodeReplaced,
        ..connected("a")
    };
    let mut events = Events::default();
    let all = [
        by("admin/alice"),
        by("operator/bob"),
        applied("dns"),
        connected("a"),
        connected("b"),
        replaced,
        drift("a", "link weir0"),
        drift("a", "vip 10.1.0.1"),
    ];
    for happening in all.clone() {
        assert!(events.add(happening, START));
    }
    assert_eq!(events.after(0).count(), all.len());
    let numbers = events.after(0).map(|it| it.number);
    assert_eq!(numbers.collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
}

#[test]
fn a_node_that_comes_and_goes_for_a_day_costs_one_record_of_each() {
    let mut events = Events::default();
    for minute in 0..24 * 60 {
        let gone = told::about_node(&node_name("a"), Reason::NodeDisconnected, "closed");
        assert!(events.add(connected("a"), START + minute * 60_000));
        assert!(events.add(gone, START + minute * 60_000 + 1));
    }
    let counts = events.after(0).map(|it| it.count);
    assert_eq!(counts.collect::<Vec<_>>(), [24 * 60, 24 * 60]);
    assert_eq!(events.take_pending(usize::MAX).len(), 2);
}

#[test]
fn the_newest_are_kept_in_as_many_slots_and_no_more() {
    let mut events = Events::of(3);
    for (at, name) in (START..).zip(["a", "b", "c"]) {
        assert!(events.add(applied(name), at));
    }
    let first: Vec<u16> = events.take_pending(usize::MAX).into_keys().collect();
    assert_eq!(first, [0, 1, 2]);
    // "a" happens again, so that "b" is the oldest
    assert!(events.add(applied("a"), START + 3));
    assert!(events.add(applied("d"), START + 4));
    let names = |events: &Events| -> Vec<String> {
        told(events, 0).into_iter().map(|(name, ..)| name).collect()
    };
    assert_eq!(names(&events), ["c", "a", "d"]);
    let batch = events.take_pending(usize::MAX);
    let changed = batch.iter().map(|(slot, it)| (*slot, it.number));
    assert_eq!(changed.collect::<Vec<_>>(), [(0, 1), (1, 4)]);
    // what went is not counted up, but comes anew
    assert!(events.add(applied("b"), START + 5));
    assert_eq!(told(&events, 0)[2], one("b", START + 5, START + 5, 1));
    assert_eq!(names(&events), ["a", "d", "b"]);
}

#[test]
fn what_waits_is_taken_in_parts_and_once() {
    let mut events = Events::default();
    for number in 0..5 {
        assert!(events.add(applied(&format!("s{number}")), START));
    }
    assert!(events.is_pending());
    assert_eq!(events.take_pending(2).len(), 2);
    assert_eq!(events.take_pending(2).len(), 2);
    assert_eq!(events.take_pending(2).len(), 1);
    assert!(!events.is_pending());
    assert_eq!(events.take_pending(2), EventBatch::new());
}

#[test]
fn what_was_kept_goes_on_where_it_was() {
    let mut events = Events::default();
    for (at, name) in (START..).zip(["a", "b", "c"]) {
        assert!(events.add(connected(name), at));
    }
    assert!(events.add(connected("a"), START + 9));
    let kept = events.take_pending(usize::MAX).into_iter();
    let kept = kept.map(|(slot, event)| (slot, Event::clone(&event)));
    let mut again = Events::restore(kept.collect());
    assert_eq!(told(&again, 0), told(&events, 0));
    assert!(!again.is_pending());
    assert!(again.add(connected("b"), START + 10));
    assert!(again.add(connected("d"), START + 11));
    let batch = again.take_pending(usize::MAX);
    let changed = batch.iter();
    let changed = changed.map(|(slot, it)| (*slot, it.number, it.count));
    assert_eq!(changed.collect::<Vec<_>>(), [(1, 2, 2), (3, 4, 1)]);
}

#[test]
fn a_node_that_tells_too_many_leaves_room_for_others() {
    let mut events = Events::default();
    let taken = |events: &mut Events, node: &str, from: u64, at: u64| -> usize {
        let all = (from..from + 100).map(|it| drift(node, &format!("thing {it}")));
        all.filter(|it| events.add(it.clone(), at)).count()
    };
    assert_eq!(taken(&mut events, "a", 0, START), 64);
    assert_eq!(taken(&mut events, "b", 0, START), 64);
    // what it tells again is counted up, and that it comes and goes is told in any case
    assert!(events.add(drift("a", "thing 0"), START + 1));
    assert!(events.add(connected("a"), START + 1));
    assert!(!events.add(drift("a", "thing 100"), START + WINDOW_MS));
    assert_eq!(taken(&mut events, "a", 200, START + WINDOW_MS + 1), 64);
    events.forget(&node_name("a"));
    assert_eq!(taken(&mut events, "a", 300, START + WINDOW_MS + 1), 64);
}

#[test]
fn a_message_has_a_bounded_length_and_whole_letters() {
    let mut events = Events::default();
    let long = Happening {
        message: "ü".repeat(2_000),
        ..applied("web")
    };
    assert!(events.add(long, START));
    let message = events.after(0).next().map(|it| it.message.clone());
    assert_eq!(message, Some("ü".repeat(510) + "..."));
}
