use std::time::Duration;

use super::*;
use crate::desired::{MOST_UNDER_WAY, Pace};

/// A cluster whose agents answer so often, with a node that holds what it must.
async fn with_a_node(answers_per_second: u64) -> (Cluster, Session) {
    let store = MemoryStore::default();
    let (saved, metrics) = (store.saved(), Metrics::default());
    let pace = Pace { answers_per_second };
    let (cluster, _) = Cluster::start_at(pace, store, saved, metrics);
    apply(&cluster, vec![web(1)]).await.expect("written");
    let mut session = connect(&cluster, "a", None).await;
    let (whole, within) = sent(&mut session).await;
    assert_eq!((whole.base, within), (None, Duration::ZERO));
    accept(&cluster, "a", &session, whole.generation).await;
    (cluster, session)
}

async fn sent(session: &mut Session) -> (Update, Duration) {
    match session.outbox.recv().await {
        Some(Outgoing::Update { update, beside }) => (*update, beside.answer_within),
        other => panic!("{other:?}"),
    }
}

async fn weights(cluster: &Cluster, weights: std::ops::RangeInclusive<u32>) -> Generation {
    let mut wanted = Generation(0);
    for weight in weights {
        let written = apply(cluster, vec![web(weight)]).await.expect("written");
        wanted = written.targets[0].1;
    }
    wanted
}

#[tokio::test]
async fn a_node_whose_answers_may_wait_is_sent_each_change_at_once_and_answers_for_all() {
    let (cluster, mut session) = with_a_node(10).await;
    let wanted = weights(&cluster, 2..=4).await;
    for base in 1..=3 {
        let (update, within) = sent(&mut session).await;
        let ids = (update.base, update.generation);
        assert_eq!(ids, (Some(Generation(base)), Generation(base + 1)));
        assert_eq!(update.content.len(), 1);
        assert_eq!(within, Duration::from_millis(100));
    }
    assert_eq!(status(&cluster, "a").await.accepted, Generation(1));
    accept(&cluster, "a", &session, wanted).await;
    assert_eq!(status(&cluster, "a").await.accepted, wanted);
    nothing_is_sent(&cluster, &mut session).await;
}

#[tokio::test]
async fn what_changes_beyond_what_may_be_under_way_goes_as_one_update() {
    let (cluster, mut session) = with_a_node(10).await;
    let most = MOST_UNDER_WAY as u32;
    let last = weights(&cluster, 2..=most + 1).await;
    let wanted = weights(&cluster, most + 2..=most + 20).await;
    for _ in 0..MOST_UNDER_WAY {
        sent(&mut session).await;
    }
    nothing_is_sent(&cluster, &mut session).await;
    accept(&cluster, "a", &session, last).await;
    let (rest, _) = sent(&mut session).await;
    let ids = (rest.base, rest.generation, rest.content.len());
    assert_eq!(ids, (Some(last), wanted, 1));
}

#[tokio::test]
async fn a_node_that_answers_at_once_is_waited_for() {
    let (cluster, mut session) = with_a_node(5_000).await;
    let wanted = weights(&cluster, 2..=4).await;
    let (first, within) = sent(&mut session).await;
    assert_eq!((first.generation, within), (Generation(2), Duration::ZERO));
    nothing_is_sent(&cluster, &mut session).await;
    accept(&cluster, "a", &session, first.generation).await;
    let (rest, _) = sent(&mut session).await;
    assert_eq!((rest.base, rest.generation), (Some(Generation(2)), wanted));
}

#[tokio::test]
async fn after_a_refusal_the_state_goes_whole_and_what_is_said_of_what_followed_changes_nothing() {
    let (cluster, mut session) = with_a_node(10).await;
    weights(&cluster, 2..=4).await;
    let mut held = None;
    for generation in 2..=4 {
        let (update, _) = sent(&mut session).await;
        let reason = match generation {
            2 => RejectedReason::Digest,
            _ => RejectedReason::Base,
        };
        let rejected = Rejected {
            generation: update.generation,
            reason,
            cause: format!("cause {generation}"),
            held: Some(*held.get_or_insert((Generation(1), update.digest))),
        };
        let said = vec![Said::Rejected(rejected)];
        assert_eq!(cluster.said(node_name("a"), session.id, said).await, Ok(()));
    }
    let told = status(&cluster, "a").await.rejection;
    assert_eq!(told.as_deref(), Some("generation 2: DIGEST: cause 2"));
    let (whole, _) = sent(&mut session).await;
    assert_eq!((whole.base, whole.generation), (None, Generation(5)));
    nothing_is_sent(&cluster, &mut session).await;
    accept(&cluster, "a", &session, Generation(5)).await;
    let status = status(&cluster, "a").await;
    assert_eq!((status.rejection, status.accepted), (None, status.wanted));
}

#[tokio::test]
async fn a_node_whose_answer_waits_is_asked_behind_what_it_was_sent() {
    for (rate, behind) in [(10, false), (5_000, true)] {
        let (cluster, _session) = with_a_node(rate).await;
        let sent = weights(&cluster, 2..=2).await;
        let inquiry = Inquiry {
            resources: vec![web(3)],
            places: Places::default(),
            expected: None,
            nodes: None,
        };
        let inquired = cluster.inquire(inquiry).await.expect("it fits");
        let [asking] = &inquired.nodes[..] else {
            panic!("one node: {:?}", inquired.nodes);
        };
        assert_eq!(matches!(asking.line, Line::Behind), behind, "{asking:?}");
        assert_eq!((asking.held, asking.generation), (sent, sent.next()));
    }
}
