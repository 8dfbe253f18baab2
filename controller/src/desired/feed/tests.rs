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
        feed.next(&mut view.view_mut(), false),
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
    assert_eq!(feed.next(&mut view.view_mut(), false), None);
    assert_eq!(view.view().generation(), Generation(70));
    assert!(feed.is_current(&view.view()));
}

#[test]
fn what_a_node_is_sent_is_above_all_it_holds() {
    let mut view = view(&["10.1.0.1"]);
    let held = Some((Generation(70), digest(9)));
    let mut feed = Feed::hello(held, &mut view.view_mut());
    let update = feed.next(&mut view.view_mut(), false).expect("an update");
    assert_eq!((update.generation, update.base), (Generation(71), None));
    assert_eq!(view.view().generation(), Generation(71));
}

#[test]
fn changes_wait_while_an_update_is_under_way_and_go_as_one() {
    let mut view = view(&["10.1.0.1"]);
    let mut feed = Feed::hello(None, &mut view.view_mut());
    let first = feed.next(&mut view.view_mut(), false).expect("an update");
    add(&mut view, "10.1.0.2");
    add(&mut view, "10.1.0.3");
    assert_eq!(feed.next(&mut view.view_mut(), false), None);
    assert!(!feed.accepted(Generation(99)), "it was not sent");
    assert!(feed.accepted(first.generation));
    assert_eq!(
        feed.next(&mut view.view_mut(), false),
        Some(Update {
            generation: Generation(3),
            base: Some(Generation(1)),
            content: common(vec![vip("10.1.0.2"), vip("10.1.0.3")]),
            digest: view.view().digest(),
        })
    );
}

/// A node that holds what it must, by generation 1.
fn settled() -> (Alone, Feed) {
    let mut view = view(&["10.1.0.1"]);
    let held = Some((Generation(1), view.view().digest()));
    let feed = Feed::hello(held, &mut view.view_mut());
    (view, feed)
}

/// Adds a VIP and gives the update that goes for it.
fn follow(view: &mut Alone, feed: &mut Feed, address: &str) -> Option<(Generation, Generation)> {
    add(view, address);
    let update = feed.next(&mut view.view_mut(), true)?;
    let content = common(vec![vip(address)]);
    assert_eq!(
        (update.content, update.digest),
        (content, view.view().digest())
    );
    Some((update.base.expect("a delta"), update.generation))
}

#[test]
fn where_answers_may_wait_updates_follow_each_other_up_to_a_bound() {
    let (mut view, mut feed) = settled();
    for number in 1..=MOST_UNDER_WAY as u64 {
        let sent = follow(&mut view, &mut feed, &format!("10.1.1.{number}"));
        assert_eq!(sent, Some((Generation(number), Generation(number + 1))));
        assert_eq!(feed.next(&mut view.view_mut(), true), None, "it was sent");
    }
    assert_eq!(follow(&mut view, &mut feed, "10.1.2.1"), None);
    add(&mut view, "10.1.2.2");
    assert!(!feed.is_current(&view.view()));
    // an answer to one of them is one to all before it
    assert!(feed.accepted(Generation(5)));
    assert_eq!(feed.held().map(|(held, _)| held), Some(Generation(5)));
    assert!(!feed.accepted(Generation(4)), "that is said already");
    assert_eq!(
        feed.next(&mut view.view_mut(), false),
        None,
        "answers do not wait"
    );
    let rest = feed.next(&mut view.view_mut(), true).expect("an update");
    let both = common(vec![vip("10.1.2.1"), vip("10.1.2.2")]);
    assert_eq!((rest.base, rest.content), (Some(Generation(9)), both));
    assert!(feed.accepted(rest.generation));
    assert!(feed.is_current(&view.view()));
}

#[test]
fn what_goes_back_while_it_is_under_way_is_sent_back() {
    let (mut view, mut feed) = settled();
    let before = view.view().digest();
    assert!(follow(&mut view, &mut feed, "10.1.1.1").is_some());
    view.change(&[Part {
        released: vec![vip("10.1.1.1").key()],
        ..Part::default()
    }]);
    assert!(view.view().is(Some(before)));
    let back = feed.next(&mut view.view_mut(), true).expect("an update");
    let ids = (back.base, back.generation, back.digest);
    assert_eq!(ids, (Some(Generation(2)), Generation(3), before));
    assert_eq!(flat(&back.content), (vec![], vec![vip("10.1.1.1").key()]));
}

#[test]
fn what_followed_a_refused_update_counts_no_more_and_the_next_is_above_it() {
    let (mut view, mut feed) = settled();
    for address in ["10.1.1.1", "10.1.1.2", "10.1.1.3"] {
        assert!(follow(&mut view, &mut feed, address).is_some());
    }
    let refusal = |generation, reason, held| Rejected {
        generation: Generation(generation),
        reason,
        cause: "because".to_owned(),
        held,
    };
    assert!(feed.accepted(Generation(2)));
    let held = feed.held();
    let first = refusal(3, RejectedReason::Digest, held);
    assert!(!feed.passes_over(&first));
    assert!(feed.rejected(&first));
    let whole = feed.next(&mut view.view_mut(), true).expect("a snapshot");
    assert_eq!((whole.generation, whole.base), (Generation(5), None));
    // it builds on what the node did not take
    let second = refusal(4, RejectedReason::Base, held);
    assert!(feed.passes_over(&second));
    assert!(!feed.rejected(&second));
    assert!(feed.is_under_way());
    assert!(feed.accepted(Generation(5)));
    assert!(feed.is_current(&view.view()));
}

#[test]
fn nothing_follows_what_is_whole_or_names_the_cluster_before_it_is_answered() {
    let mut view = view(&["10.1.0.1"]);
    let mut feed = Feed::hello(None, &mut view.view_mut());
    let whole = feed.next(&mut view.view_mut(), true).expect("a snapshot");
    assert_eq!(follow(&mut view, &mut feed, "10.1.1.1"), None);
    assert!(feed.accepted(whole.generation));
    assert!(feed.next(&mut view.view_mut(), true).is_some());

    let (mut view, feed) = settled();
    let mut feed = feed.naming(true);
    let named = feed.next(&mut view.view_mut(), true).expect("an update");
    assert_eq!(named.content, Content::default());
    assert_eq!(feed.next(&mut view.view_mut(), true), None);
    assert_eq!(follow(&mut view, &mut feed, "10.1.1.1"), None);
    assert!(feed.accepted(named.generation));
    assert!(feed.next(&mut view.view_mut(), true).is_some());
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
        let delta = feed.next(&mut view.view_mut(), false).expect("a delta");
        assert_eq!(delta.base, Some(Generation(1)));
        assert!(reject(&mut feed, &delta, reason));
        let whole = feed.next(&mut view.view_mut(), false).expect("a snapshot");
        assert_eq!(whole.base, None, "{reason:?}");
        assert!(reject(&mut feed, &whole, reason));
        assert_eq!(feed.next(&mut view.view_mut(), false), None, "{reason:?}");
        add(&mut view, "10.1.0.3");
        let next = feed.next(&mut view.view_mut(), false).expect("a snapshot");
        assert_eq!(next.base, None, "{reason:?}");
    }
}

#[test]
fn a_node_that_is_ahead_gets_a_snapshot_above_what_it_holds() {
    let mut view = view(&["10.1.0.1"]);
    let mut feed = Feed::hello(None, &mut view.view_mut());
    let sent = feed.next(&mut view.view_mut(), false).expect("an update");
    assert!(feed.rejected(&Rejected {
        generation: sent.generation,
        reason: RejectedReason::Stale,
        cause: "older than 40".to_owned(),
        held: Some((Generation(40), digest(4))),
    }));
    let again = feed.next(&mut view.view_mut(), false).expect("an update");
    assert_eq!((again.generation, again.base), (Generation(41), None));
}

#[test]
fn what_a_node_cannot_read_or_keep_is_not_sent_again() {
    for reason in [RejectedReason::Invalid, RejectedReason::Journal] {
        let mut view = view(&["10.1.0.1"]);
        let mut feed = Feed::hello(None, &mut view.view_mut());
        let sent = feed.next(&mut view.view_mut(), false).expect("an update");
        assert!(reject(&mut feed, &sent, reason));
        assert_eq!(feed.next(&mut view.view_mut(), false), None, "{reason:?}");
        add(&mut view, "10.1.0.2");
        assert!(
            feed.next(&mut view.view_mut(), false).is_some(),
            "{reason:?}"
        );
    }
}

#[test]
fn a_rejection_of_what_is_not_under_way_changes_nothing() {
    let mut view = view(&["10.1.0.1"]);
    let mut feed = Feed::hello(None, &mut view.view_mut());
    let sent = feed.next(&mut view.view_mut(), false).expect("an update");
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
    let update = feed.next(&mut view.view_mut(), false).expect("an update");
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
        let update = feed.next(&mut view.view_mut(), false).expect("an update");
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
