use tokio::sync::broadcast::error::TryRecvError;
use tokio::task::{JoinHandle, yield_now};

use super::*;

/// Lets the others go on until something is so.
async fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if so() {
            return;
        }
        yield_now().await;
    }
    panic!("never {what}");
}

fn numbered(number: usize) -> Resource {
    let at = format!("10.9.{}.{}:80", number / 250, number % 250 + 1);
    Resource::Service(service(
        &format!("s{number}"),
        &[at.as_str()],
        &["10.0.0.1:80"],
    ))
}

/// A write of somebody else's, under way as soon as this task waits.
fn write(cluster: &Cluster, resource: Resource, options: WriteOptions) -> Writing {
    let cluster = cluster.clone();
    tokio::spawn(async move {
        let places = Places::default();
        cluster.apply(vec![resource], places, options).await
    })
}

type Writing = JoinHandle<Result<Written, Refusal>>;

/// Asks for writes while the store is busy with the first of them: they wait in the inbox, in this order.
async fn pile_up(cluster: &Cluster, store: &MemoryStore, count: usize) -> Vec<Writing> {
    store.hold(true);
    let before = store.commits();
    let mut writing = vec![write(cluster, numbered(0), WriteOptions::default())];
    until("committing", || store.commits() == before + 1).await;
    let more = (1..count).map(|number| write(cluster, numbered(number), WriteOptions::default()));
    writing.extend(more);
    waiting(cluster, count - 1).await;
    writing
}

async fn waiting(cluster: &Cluster, count: usize) {
    let inbox = &cluster.commands;
    until("in the inbox", || {
        inbox.max_capacity() - inbox.capacity() == count
    })
    .await;
}

async fn revision(writing: Writing) -> u64 {
    let written = writing.await.expect("it ends");
    written.expect("written").revision.0
}

#[tokio::test]
async fn writes_that_wait_become_durable_together_and_in_their_order_and_nobody_sees_them_before() {
    let store = MemoryStore::default();
    let metrics = Metrics::default();
    let (cluster, _task) = Cluster::start(store.clone(), store.saved(), metrics.clone());
    let mut watching = cluster.watch(Revision(0)).await.expect("a watch");
    let writing = pile_up(&cluster, &store, 100).await;
    assert_eq!(watching.live.try_recv().err(), Some(TryRecvError::Empty));
    assert!(writing.iter().all(|writing| !writing.is_finished()));
    assert_eq!(store.saved(), Saved::default());

    store.hold(false);
    for (number, writing) in (1..).zip(writing) {
        assert_eq!(revision(writing).await, number);
    }
    assert_eq!(store.commits(), 2, "the first, and all that waited for it");
    assert_eq!(metrics.commits(), 2);
    for revision in 1..=100_usize {
        let entry = watching.live.recv().await.expect("an entry");
        assert_eq!(entry.revision, Revision(revision as u64));
        let told: Vec<_> = entry.events.iter().map(|it| &it.reference).collect();
        assert_eq!(told, [&numbered(revision - 1).reference()]);
    }
    let mut saved = store.saved().resources;
    saved.sort_by_key(|stored| stored.revision);
    let saved = saved.into_iter();
    let saved = saved.map(|stored| (stored.resource, stored.revision));
    let all = (0..100).map(|number| (numbered(number), Revision(number as u64 + 1)));
    assert_eq!(saved.collect::<Vec<_>>(), all.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_commit_takes_at_most_a_hundred_and_twenty_eight_writes() {
    let store = MemoryStore::default();
    let cluster = start(&store);
    let writing = pile_up(&cluster, &store, 1 + 128 + 128 + 1).await;
    store.hold(false);
    for (number, writing) in (1..).zip(writing) {
        assert_eq!(revision(writing).await, number);
    }
    assert_eq!(store.commits(), 4);
}

#[tokio::test]
async fn each_write_of_a_group_is_checked_against_what_those_before_it_left() {
    let store = MemoryStore::default();
    let cluster = start(&store);
    let mut first = pile_up(&cluster, &store, 1).await;
    let expecting = |revision| WriteOptions {
        expected: Some(Revision(revision)),
        ..WriteOptions::default()
    };
    let dry = WriteOptions {
        dry_run: true,
        ..WriteOptions::default()
    };
    let second = write(&cluster, numbered(1), expecting(1));
    let late = write(&cluster, numbered(2), expecting(1));
    let tried = write(&cluster, numbered(1), dry.clone());
    let untaken = write(&cluster, numbered(7), dry);
    let clash = Resource::Service(service("clash", &["10.9.0.2:80"], &[]));
    let clash = write(&cluster, clash, WriteOptions::default());
    let fourth = write(&cluster, numbered(7), WriteOptions::default());
    waiting(&cluster, 6).await;
    store.hold(false);

    assert_eq!(revision(first.remove(0)).await, 1);
    assert_eq!(revision(second).await, 2);
    let late = late.await.expect("it ends");
    assert!(
        matches!(
            late,
            Err(Refusal::Revision {
                expected: Revision(1),
                actual: Revision(2)
            })
        ),
        "{late:?}"
    );
    let outcome = |of: usize, outcome| vec![(numbered(of).reference(), outcome)];
    let tried = tried.await.expect("it ends").expect("tried");
    let unchanged = outcome(1, Outcome::Unchanged);
    assert_eq!((tried.revision, tried.changes), (Revision(2), unchanged));
    let untaken = untaken.await.expect("it ends").expect("tried");
    let created = outcome(7, Outcome::Created);
    assert_eq!(
        (untaken.revision, &untaken.changes),
        (Revision(2), &created)
    );
    let clash = clash.await.expect("it ends");
    assert!(matches!(clash, Err(Refusal::Fields(_))), "{clash:?}");
    let fourth = fourth.await.expect("it ends").expect("written");
    assert_eq!((fourth.revision, fourth.changes), (Revision(3), created));
    assert_eq!(store.commits(), 2);
}

#[tokio::test]
async fn when_the_store_fails_everybody_in_the_group_is_told_and_nobody_sees_any_of_it() {
    let store = MemoryStore::default();
    let (cluster, task) = Cluster::start(store.clone(), store.saved(), Metrics::default());
    let mut watching = cluster.watch(Revision(0)).await.expect("a watch");
    let mut session = connect(&cluster, "a", None).await;
    watching.live.recv().await.expect("the node");
    let saved = store.saved();
    let writing = pile_up(&cluster, &store, 3).await;
    let refused = WriteOptions {
        expected: Some(Revision(9)),
        ..WriteOptions::default()
    };
    let refused = write(&cluster, numbered(3), refused);
    let reading = tokio::spawn({
        let cluster = cluster.clone();
        async move { cluster.get(numbered(0).reference()).await }
    });
    waiting(&cluster, 4).await;
    store.refuse(true);
    store.hold(false);
    let mut ends = Vec::new();
    for writing in writing.into_iter().chain([refused]) {
        ends.push(writing.await.expect("it ends"));
    }
    // the first was alone in its commit; the task ended with it, and took up none of the others
    assert!(matches!(ends[0], Err(Refusal::Store(_))), "{ends:?}");
    let others = &ends[1..];
    assert!(
        others
            .iter()
            .all(|end| matches!(end, Err(Refusal::Stopped(_)))),
        "{ends:?}"
    );
    let read = reading.await.expect("it ends");
    assert!(matches!(read, Err(Refusal::Stopped(_))), "{read:?}");
    assert!(task.await.expect("it ends").is_err());
    assert_eq!(watching.live.try_recv().err(), Some(TryRecvError::Closed));
    assert_eq!(session.outbox.recv().await, None);
    assert_eq!(store.saved(), saved);
}

#[tokio::test]
async fn a_group_that_fails_fails_whole_refusals_included() {
    let store = MemoryStore::default();
    let cluster = start(&store);
    // all of them are in the inbox before the task takes up the first
    let mut writing: Vec<Writing> = (0..3)
        .map(|number| write(&cluster, numbered(number), WriteOptions::default()))
        .collect();
    let refused = WriteOptions {
        expected: Some(Revision(9)),
        ..WriteOptions::default()
    };
    writing.push(write(&cluster, numbered(3), refused));
    store.refuse(true);
    for writing in writing {
        let end = writing.await.expect("it ends");
        assert!(matches!(end, Err(Refusal::Store(_))), "{end:?}");
    }
    assert_eq!((store.commits(), store.saved()), (1, Saved::default()));
}

#[tokio::test]
async fn a_node_gets_one_update_for_a_group() {
    let store = MemoryStore::default();
    let cluster = start(&store);
    apply(&cluster, vec![web(1)]).await.expect("written");
    let mut session = connect(&cluster, "a", None).await;
    let first = update(&mut session).await;
    accept(&cluster, "a", &session, first.generation).await;
    nothing_is_sent(&cluster, &mut session).await;
    let writing = pile_up(&cluster, &store, 1).await;
    let more: Vec<Writing> = (2..=9)
        .map(|weight| write(&cluster, web(weight), WriteOptions::default()))
        .collect();
    waiting(&cluster, 8).await;
    assert!(session.outbox.try_recv().is_err(), "none of it is durable");
    store.hold(false);
    for writing in writing.into_iter().chain(more) {
        revision(writing).await;
    }
    let alone = update(&mut session).await;
    accept(&cluster, "a", &session, alone.generation).await;
    let group = update(&mut session).await;
    assert_eq!(group.base, Some(alone.generation));
    assert_eq!(group.generation, Generation(alone.generation.0 + 8));
    let weight = backend("10.1.0.1:80", "10.0.0.1:80", 9);
    let common = group.content.common.as_deref();
    assert_eq!(
        common.map(crate::desired::Shared::upserted),
        Some(&[weight][..])
    );
    assert_eq!(group.content.len(), 1);
    accept(&cluster, "a", &session, group.generation).await;
    nothing_is_sent(&cluster, &mut session).await;
}

#[tokio::test]
async fn a_fleet_that_comes_for_the_first_time_is_written_together() {
    let store = MemoryStore::default();
    let cluster = start(&store);
    let writing = pile_up(&cluster, &store, 1).await;
    let names: Vec<String> = (0..50).map(|number| format!("n{number}")).collect();
    let coming = names.iter().map(|name| {
        let (cluster, name) = (cluster.clone(), name.clone());
        tokio::spawn(async move {
            let hello = Hello {
                node: node(&name, &[]),
                agent_version: "1".to_owned(),
                held: None,
                capabilities: vec![capability("ip_vs", "")],
            };
            cluster.hello(hello).await.expect("a session")
        })
    });
    let coming: Vec<_> = coming.collect();
    waiting(&cluster, 50).await;
    store.hold(false);
    for writing in writing {
        revision(writing).await;
    }
    let mut sessions = Vec::new();
    for coming in coming {
        sessions.push(coming.await.expect("it comes"));
    }
    assert_eq!(store.commits(), 2);
    let saved = store.saved();
    assert_eq!((saved.nodes.len(), saved.capabilities.len()), (50, 50));

    // and that they know the cluster's name, too
    store.hold(true);
    let mut generations = Vec::new();
    for session in &mut sessions {
        generations.push(update(session).await.generation);
    }
    let busy = write(&cluster, numbered(1), WriteOptions::default());
    until("committing", || store.commits() == 3).await;
    for ((name, session), generation) in names.iter().zip(&sessions).zip(generations) {
        accept(&cluster, name, session, generation).await;
    }
    store.hold(false);
    revision(busy).await;
    until("named", || store.saved().named.len() == 50).await;
    assert_eq!(store.commits(), 4);
}

#[tokio::test]
async fn who_is_connected_is_counted_as_they_come_and_go() {
    let metrics = Metrics::default();
    let store = MemoryStore::default();
    let (cluster, _task) = Cluster::start(store.clone(), store.saved(), metrics.clone());
    apply(&cluster, vec![web(1)]).await.expect("written");
    let a = connect(&cluster, "a", None).await;
    let again = connect(&cluster, "a", None).await;
    let b = connect(&cluster, "b", None).await;
    assert_eq!(metrics.connected(), 2);
    drop(a);
    let gone = cluster
        .said(node_name("b"), b.id, vec![Said::Gone("gone".to_owned())])
        .await;
    assert_eq!(gone, Ok(()));
    status(&cluster, "b").await;
    assert_eq!(metrics.connected(), 1);
    let refs = [
        web(1).reference(),
        crate::desired::reference(Kind::Node, "a"),
    ];
    let deleted = cluster.delete(refs.into(), WriteOptions::default()).await;
    deleted.expect("deleted");
    assert_eq!(metrics.connected(), 0);
    drop(again);
}
