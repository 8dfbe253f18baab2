use super::super::feed::RejectedReason;
use super::super::samples::{node, node_name, vip};
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

fn view() -> View {
    View::restore(
        [vip("10.1.0.1")].iter(),
        Some((Generation(5), Digest::default())),
    )
}

fn status(progress: &NodeProgress, view: &View, feed: &Feed) -> NodeStatus {
    progress.status(&node_name("a"), view, feed)
}

#[test]
fn nothing_is_claimed_of_a_node_that_was_not_heard_from() {
    let empty = View::restore([].iter(), Some((Generation(5), Digest::default())));
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
    let mut feed = Feed::hello(None, &mut view);
    progress.hello(&hello(None), 100);
    let sent = feed.next(&mut view).expect("an update").generation;
    assert!(feed.accepted(sent));
    progress.accepted(200);
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
        }
    );
}

#[test]
fn a_node_that_holds_the_content_by_an_older_generation_is_up_to_date() {
    let mut view = view();
    let held = Some((Generation(2), view.digest()));
    let feed = Feed::hello(held, &mut view);
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
    let held = Some((Generation(2), view.digest()));
    let feed = Feed::hello(held, &mut view);
    let mut progress = NodeProgress::default();
    progress.hello(&hello(held), 1);
    progress.converged(Generation(2), Vec::new(), 0, 2);
    let reached = |progress: &NodeProgress, view: &View| {
        let status = status(progress, view, &feed);
        (status.wanted, status.accepted, status.converged)
    };
    let then = view.generation();
    progress.disconnected(&view, &feed, 9);
    assert_eq!(reached(&progress, &view), (then, then, then));
    assert_eq!(status(&progress, &view, &feed).last_heard_unix_ms, 9);

    // the content changes, and changes back
    view.raise(Generation(9));
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
    let feed = Feed::hello(held, &mut view);
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
    progress.accepted(10);
    assert_eq!(told(&progress), None);
}
