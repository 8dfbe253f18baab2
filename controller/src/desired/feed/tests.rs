use super::super::compile::Part;
use super::super::samples::{Alone, flat, vip};
use super::super::view::Shared;
use super::*;
use std::sync::Arc;
use weir_proto::model::Item;

fn view(addresses: &[&str]) -> Alone {
    let items: Vec<Item> = addresses.iter().map(|address| vip(address)).collect();
    Alone::new(&items)
}

fn add(view: &mut Alone, address: &str) {
    let item = vip(address);
    let part = Part {
        claimed: vec![&item],
        ..Part::default()
    };
    view.change(&[part]);
}

fn common(upserted: Vec<Item>) -> Content {
    Content {
        common: Some(Arc::new(Shared::new(upserted, Vec::new()))),
        ..Content::default()
    }
}

fn reject(feed: &mut Feed, update: &Update, reason: RejectedReason) -> bool {
    let held = feed.held();
    feed.rejected(&Rejected {
        generation: update.generation,
        reason,
        cause: "because".to_owned(),
        held,
    })
}

fn digest(number: u8) -> Digest {
    Digest::from_bytes([number; 16])
}

#[test]
fn a_node_that_holds_nothing_gets_a_snapshot() {
    let mut view = view(&["10.1.0.1"]);
    let mut feed = Feed::hello(None, &mut view.view_mut());
    assert_eq!(
        feed.next(&mut view.view_mut()),
        Some(Update {
            generation: Generation(1),
            base: None,
            content: common(vec![vip("10.1.0.1")]),
            digest: view.view().digest(),
        })
    );
}

#[test]
fn a_node_that_holds_what_it_must_hears_nothing_and_its_generation_is_adopted() {
    let mut view = view(&["10.1.0.1"]);
    let held = Some((Generation(70), view.view().digest()));
    let mut feed = Feed::hello(held, &mut view.view_mut());
    assert_eq!(feed.next(&mut view.view_mut()), None);
    assert_eq!(view.view().generation(), Generation(70));
    assert!(feed.is_current(&view.view()));
}

#[test]
fn what_a_node_is_sent_is_above_all_it_holds() {
    let mut view = view(&["10.1.0.1"]);
    let held = Some((Generation(70), digest(9)));
    let mut feed = Feed::hello(held, &mut view.view_mut());
    let update = feed.next(&mut view.view_mut()).expect("an update");
    assert_eq!((update.generation, update.base), (Generation(71), None));
    assert_eq!(view.view().generation(), Generation(71));
}

#[test]
fn changes_wait_while_an_update_is_under_way_and_go_as_one() {
    let mut view = view(&["10.1.0.1"]);
    let mut feed = Feed::hello(None, &mut view.view_mut());
    let first = feed.next(&mut view.view_mut()).expect("an update");
    add(&mut view, "10.1.0.2");
    add(&mut view, "10.1.0.3");
    assert_eq!(feed.next(&mut view.view_mut()), None);
    assert!(!feed.accepted(Generation(99)), "it was not sent");
    assert!(feed.accepted(first.generation));
    assert_eq!(
        feed.next(&mut view.view_mut()),
        Some(Update {
            generation: Generation(3),
            base: Some(Generation(1)),
            content: common(vec![vip("10.1.0.2"), vip("10.1.0.3")]),
            digest: view.view().digest(),
        })
    );
}

#[test]
fn a_delta_that_does_not_fit_is_sent_whole_once_and_then_waits_for_a_change() {
    for reason in [
        RejectedReason::Stale,
        RejectedReason::Conflict,
        RejectedReason::Base,
        RejectedReason::Digest,
    ] {
        let mut view = view(&["10.1.0.1"]);
        let held = Some((Generation(1), view.view().digest()));
        let mut feed = Feed::hello(held, &mut view.view_mut());
        add(&mut view, "10.1.0.2");
        let delta = feed.next(&mut view.view_mut()).expect("a delta");
        assert_eq!(delta.base, Some(Generation(1)));
        assert!(reject(&mut feed, &delta, reason));
        let whole = feed.next(&mut view.view_mut()).expect("a snapshot");
        assert_eq!(whole.base, None, "{reason:?}");
        assert!(reject(&mut feed, &whole, reason));
        assert_eq!(feed.next(&mut view.view_mut()), None, "{reason:?}");
        add(&mut view, "10.1.0.3");
        let next = feed.next(&mut view.view_mut()).expect("a snapshot");
        assert_eq!(next.base, None, "{reason:?}");
    }
}

#[test]
fn a_node_that_is_ahead_gets_a_snapshot_above_what_it_holds() {
    let mut view = view(&["10.1.0.1"]);
    let mut feed = Feed::hello(None, &mut view.view_mut());
    let sent = feed.next(&mut view.view_mut()).expect("an update");
    assert!(feed.rejected(&Rejected {
        generation: sent.generation,
        reason: RejectedReason::Stale,
        cause: "older than 40".to_owned(),
        held: Some((Generation(40), digest(4))),
    }));
    let again = feed.next(&mut view.view_mut()).expect("an update");
    assert_eq!((again.generation, again.base), (Generation(41), None));
}

#[test]
fn what_a_node_cannot_read_or_keep_is_not_sent_again() {
    for reason in [RejectedReason::Invalid, RejectedReason::Journal] {
        let mut view = view(&["10.1.0.1"]);
        let mut feed = Feed::hello(None, &mut view.view_mut());
        let sent = feed.next(&mut view.view_mut()).expect("an update");
        assert!(reject(&mut feed, &sent, reason));
        assert_eq!(feed.next(&mut view.view_mut()), None, "{reason:?}");
        add(&mut view, "10.1.0.2");
        assert!(feed.next(&mut view.view_mut()).is_some(), "{reason:?}");
    }
}

#[test]
fn a_rejection_of_what_is_not_under_way_changes_nothing() {
    let mut view = view(&["10.1.0.1"]);
    let mut feed = Feed::hello(None, &mut view.view_mut());
    let sent = feed.next(&mut view.view_mut()).expect("an update");
    let other = Update {
        generation: Generation(9),
        ..sent
    };
    assert!(!reject(&mut feed, &other, RejectedReason::Base));
    assert!(feed.accepted(Generation(1)));
}

#[test]
fn an_empty_state_has_a_generation_too() {
    let mut view = Alone::new(&[]);
    let mut feed = Feed::hello(Some((Generation(3), digest(1))), &mut view.view_mut());
    let update = feed.next(&mut view.view_mut()).expect("an update");
    assert_eq!(update.generation, Generation(4));
    assert_eq!(flat(&update.content), (vec![], vec![]));
}

#[test]
fn what_is_confirmed_is_said_of_the_update_that_leads_to_it_and_no_further() {
    let confirmed = |held: Option<u64>, generation: u64| {
        let mut view = Alone::new(&[vip("10.1.0.1")]);
        view.view_mut().raise(Generation(generation));
        let held = held.map(|held| (Generation(held), digest(9)));
        let mut feed = Feed::hello(held, &mut view.view_mut());
        let update = feed.next(&mut view.view_mut()).expect("an update");
        feed.brings_confirmed(Generation(5), &update)
    };
    assert!(confirmed(Some(4), 5));
    assert!(confirmed(Some(1), 5), "together with earlier changes");
    assert!(
        !confirmed(Some(4), 6),
        "nobody has confirmed what came later"
    );
    assert!(!confirmed(Some(3), 4), "it is not there yet");
    assert!(!confirmed(Some(5), 9), "the node has it");
    assert!(!confirmed(None, 5), "what the node would drop is not known");
}
