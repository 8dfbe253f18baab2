use super::super::compile::Part;
use super::super::feed::RejectedReason;
use super::super::samples::{Alone, flat, node, node_name, vip};
use super::*;
use weir_proto::digest::Digest;

fn hello(held: Option<(Generation, Digest)>) -> Hello {
    Hello {
        node: node("a", &[]),
        agent_version: "1.2.3".to_owned(),
        held,
        capabilities: Vec::new(),
    }
}

fn failures(count: usize) -> Vec<ItemFailure> {
    let failure = ItemFailure {
        key: vip("10.1.0.1").key(),
        errno: 13,
        cause: "not permitted".to_owned(),
        field: String::new(),
    };
    vec![failure; count]
}

fn view() -> Alone {
    Alone::left(&[vip("10.1.0.1")], Some((Generation(5), Digest::default())))
}

fn status(progress: &NodeProgress, view: &Alone, feed: &Feed) -> NodeStatus {
    progress.status(&node_name("a"), &view.view(), feed)
}

#[test]
fn nothing_is_claimed_of_a_node_that_was_not_heard_from() {
    let empty = Alone::left(&[], Some((Generation(5), Digest::default())));
    let status = status(&NodeProgress::default(), &empty, &Feed::default());
    assert_eq!(status.wanted, Generation(5));
    assert_eq!(status.accepted, Generation(0));
    assert_eq!(status.converged, Generation(0));
    assert!(!status.connected);
}

#[test]
fn a_node_is_followed_from_hello_to_convergence() {
    let mut view = view();
    let mut progress = NodeProgress::default();
    let mut feed = Feed::hello(None, &mut view.view_mut());
    progress.hello(&hello(None), 100);
    let sent = feed
        .next(&mut view.view_mut(), false)
        .expect("an update")
        .generation;
    assert!(feed.accepted(sent));
    progress.accepted(sent, (Vec::new(), 0), 200);
    progress.converged(sent, failures(300), 1_234, 300);
    assert_eq!(
        status(&progress, &view, &feed),
        NodeStatus {
            name: node_name("a"),
            connected: true,
            agent_version: "1.2.3".to_owned(),
            wanted: Generation(6),
            accepted: Generation(6),
            converged: Generation(6),
            wanted_items: 1,
            failures: failures(MOST_FAILURES),
            failure_count: 1_234,
            rejection: None,
            capabilities: Vec::new(),
            last_heard_unix_ms: 300,
            hold: None,
            degraded: None,
            drain_count: 0,
            repairs: Arc::default(),
            repair_counts: BTreeMap::new(),
            certificate_expires_unix_ms: 0,
            disconnection: String::new(),
            cordoned: false,
        }
    );
}

#[test]
fn a_node_that_holds_the_content_by_an_older_generation_is_up_to_date() {
    let mut view = view();
    let held = Some((Generation(2), view.view().digest()));
    let feed = Feed::hello(held, &mut view.view_mut());
    let mut progress = NodeProgress::default();
    progress.hello(&hello(held), 1);
    progress.converged(Generation(2), Vec::new(), 0, 2);
    let status = status(&progress, &view, &feed);
    assert_eq!(status.accepted, status.wanted);
    assert_eq!(status.converged, status.wanted);
}

#[test]
fn a_node_that_went_gets_no_further_by_itself() {
    let mut view = view();
    let held = Some((Generation(2), view.view().digest()));
    let feed = Feed::hello(held, &mut view.view_mut());
    let mut progress = NodeProgress::default();
    progress.hello(&hello(held), 1);
    progress.converged(Generation(2), Vec::new(), 0, 2);
    let reached = |progress: &NodeProgress, view: &Alone| {
        let status = status(progress, view, &feed);
        (status.wanted, status.accepted, status.converged)
    };
    let then = view.view().generation();
    progress.disconnected((&view.view(), &feed), "gone".to_owned(), 9);
    assert_eq!(reached(&progress, &view), (then, then, then));
    assert_eq!(status(&progress, &view, &feed).last_heard_unix_ms, 9);

    // the content changes, and changes back
    view.view_mut().raise(Generation(9));
    assert_eq!(reached(&progress, &view), (Generation(9), then, then));

    progress.hello(&hello(held), 10);
    let now = Generation(9);
    assert_eq!(reached(&progress, &view), (now, now, now));
}

#[test]
fn a_node_that_comes_back_with_something_else_has_yet_to_converge() {
    let mut view = view();
    let mut progress = NodeProgress::default();
    progress.converged(Generation(2), failures(1), 1, 1);
    let held = Some((Generation(3), Digest::from_bytes([1; 16])));
    progress.hello(&hello(held), 2);
    let feed = Feed::hello(held, &mut view.view_mut());
    let status = status(&progress, &view, &feed);
    assert_eq!(
        (status.accepted, status.converged),
        (Generation(3), Generation(0))
    );
    assert_eq!(status.failure_count, 0);
}

#[test]
fn a_rejection_is_told_until_something_is_accepted() {
    let view = view();
    let mut progress = NodeProgress::default();
    progress.rejected(
        &Rejected {
            generation: Generation(6),
            reason: RejectedReason::Journal,
            cause: "the disk is full".to_owned(),
            held: None,
        },
        9,
    );
    let told = |progress: &NodeProgress| status(progress, &view, &Feed::default()).rejection;
    let text = "generation 6: JOURNAL: the disk is full";
    assert_eq!(told(&progress).as_deref(), Some(text));
    progress.accepted(Generation(1), (Vec::new(), 0), 10);
    assert_eq!(told(&progress), None);
}

fn drain(done: bool) -> DrainProgress {
    DrainProgress {
        key: weir_proto::model::ItemKey::NodeDrain,
        active: 1,
        inactive: 0,
        started_unix_ms: 1,
        deadline_unix_ms: 2,
        on_deadline: weir_proto::model::OnDeadline::Keep,
        done,
    }
}

fn repair(number: u64) -> Repair {
    Repair {
        object: format!("vip 10.1.0.{number}"),
        kind: "vip".to_owned(),
        found: String::new(),
        expected: "bound".to_owned(),
        at_unix_ms: number,
    }
}

#[test]
fn what_a_node_tells_of_itself_is_shown_and_counted_until_its_agent_comes_anew() {
    let (view, feed) = (view(), Feed::default());
    let mut progress = NodeProgress::default();
    progress.hello(&hello(None), 1);
    let hold = Hold {
        generation: Generation(5),
        dropped: 12,
        served: 20,
        since_unix_ms: 4,
        cause: "more than half".to_owned(),
    };
    let degraded = Degraded {
        reason: "the disk is full".to_owned(),
        since_unix_ms: 3,
    };
    progress.condition(Some(hold.clone()), Some(degraded.clone()), 10);
    // three that it did not name
    progress.drains(vec![drain(false), drain(true)], 4, 11);
    let told = status(&progress, &view, &feed);
    assert_eq!((told.hold, told.degraded), (Some(hold), Some(degraded)));
    assert_eq!((told.drain_count, told.last_heard_unix_ms), (4, 11));
    let tally = Tally {
        connected: 1,
        held: 1,
        degraded: 1,
        drains: 4,
        failed_items: 0,
    };
    assert_eq!(progress.tally(), tally);
    assert_eq!(tally.with(tally).without(tally), tally);
    progress.disconnected((&view.view(), &feed), "gone".to_owned(), 12);
    let gone = Tally {
        connected: 0,
        ..tally
    };
    assert_eq!(progress.tally(), gone, "as it said last");
    progress.hello(&hello(None), 13);
    let anew = Tally {
        connected: 1,
        ..Tally::default()
    };
    assert_eq!(progress.tally(), anew);
}

#[test]
fn the_last_repairs_are_kept_and_all_are_counted() {
    let (view, feed) = (view(), Feed::default());
    let mut progress = NodeProgress::default();
    let counts = |vip: u64| BTreeMap::from([("vip".to_owned(), vip)]);
    progress.repaired((0..60).map(repair).collect(), &counts(1_000), 1);
    progress.repaired((60..150).map(repair).collect(), &counts(90), 2);
    // they are of the controller's time, not of a stream
    progress.hello(&hello(None), 3);
    let told = status(&progress, &view, &feed);
    let last: VecDeque<Repair> = (50..150).map(repair).collect();
    assert_eq!(*told.repairs, last);
    assert_eq!(told.repair_counts, counts(1_090));
}

#[test]
fn a_node_is_not_there_while_what_was_taken_back_is_on_its_way() {
    let a = vip("10.1.0.1");
    let b = vip("10.1.0.2");
    let mut view = Alone::new(&[a]);
    view.view_mut().raise(Generation(10));
    let held = Some((Generation(10), view.view().digest()));
    let mut progress = NodeProgress::default();
    progress.hello(&hello(held), 100);
    progress.converged(Generation(10), Vec::new(), 0, 100);
    let mut feed = Feed::hello(held, &mut view.view_mut());
    let reached = |progress: &NodeProgress, view: &Alone, feed: &Feed| {
        let status = status(progress, view, feed);
        (status.wanted.0, status.accepted.0, status.converged.0)
    };
    assert_eq!(reached(&progress, &view, &feed), (10, 10, 10));

    let more = Part {
        claimed: vec![&b],
        ..Part::default()
    };
    view.change(&[more]);
    let sent = feed.next(&mut view.view_mut(), false).expect("an update");
    assert_eq!(sent.generation, Generation(11));
    let back = Part {
        released: vec![b.key()],
        ..Part::default()
    };
    view.change(&[back]);
    assert_eq!(
        feed.next(&mut view.view_mut(), false),
        None,
        "one is under way"
    );
    assert_eq!(reached(&progress, &view, &feed), (12, 10, 10));

    assert!(feed.accepted(Generation(11)));
    progress.accepted(Generation(11), (Vec::new(), 0), 200);
    assert_eq!(reached(&progress, &view, &feed), (12, 11, 10));
    let again = feed.next(&mut view.view_mut(), false).expect("an update");
    assert_eq!(
        (again.generation, again.base, flat(&again.content).1),
        (Generation(12), Some(Generation(11)), vec![b.key()])
    );
    assert!(feed.accepted(Generation(12)));
    progress.converged(Generation(12), Vec::new(), 0, 300);
    assert_eq!(reached(&progress, &view, &feed), (12, 12, 12));
}

#[test]
fn what_a_node_refuses_stands_beside_what_its_kernel_does_until_it_accepts_again() {
    let mut view = view();
    let mut progress = NodeProgress::default();
    let mut feed = Feed::hello(None, &mut view.view_mut());
    progress.hello(&hello(None), 100);
    let sent = feed
        .next(&mut view.view_mut(), false)
        .expect("an update")
        .generation;
    assert!(feed.accepted(sent));
    progress.accepted(sent, (failures(1), 7), 200);
    progress.converged(sent, failures(2), 2, 300);
    let counted = |progress: &NodeProgress| {
        let status = status(progress, &view, &feed);
        (status.failures.len(), status.failure_count)
    };
    assert_eq!(counted(&progress), (3, 9));
    progress.converged(sent, Vec::new(), 0, 400);
    assert_eq!(counted(&progress), (1, 7));
    progress.accepted(sent.next(), (Vec::new(), 0), 500);
    assert_eq!(counted(&progress), (0, 0));
}

#[test]
fn why_a_stream_ended_is_told_until_there_is_another() {
    let mut view = view();
    let mut progress = NodeProgress::default();
    progress.hello(&hello(None), 100);
    let feed = Feed::hello(None, &mut view.view_mut());
    let why = "did not read for 30 s".to_owned();
    progress.disconnected((&view.view(), &feed), why.clone(), 200);
    assert_eq!(status(&progress, &view, &feed).disconnection, why);
    progress.hello(&hello(None), 300);
    assert_eq!(status(&progress, &view, &feed).disconnection, "");
}
