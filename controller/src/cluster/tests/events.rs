use std::time::Duration;

use tokio::time::{advance, sleep, timeout};
use weir_proto::model::{
    BackendKey, Degraded, DrainProgress, ItemFailure, ItemKey, OnDeadline, Role,
};

use super::*;
use crate::desired::samples::{endpoint, frontend, service_name};
use crate::desired::{Event, Reason};
use weir_proto::machine::now_unix_ms;

async fn events(cluster: &Cluster) -> Vec<Arc<Event>> {
    cluster.events(0).await.expect("events").events
}

fn text(event: &Event) -> String {
    let Event {
        reason,
        node,
        object,
        message,
        count,
        ..
    } = event;
    let node = node.as_ref().map_or("-", NodeName::as_str);
    let object = object.as_ref();
    let object = object.map(|it| format!("{}/{}", it.kind.as_str(), it.name));
    format!(
        "{reason} {node} {} {count} {message}",
        object.unwrap_or_default()
    )
}

async fn told(cluster: &Cluster) -> Vec<String> {
    events(cluster).await.iter().map(|it| text(it)).collect()
}

async fn say(cluster: &Cluster, name: &str, session: &Session, said: Vec<Said>) {
    let said = cluster.said(node_name(name), session.id, said).await;
    assert_eq!(said, Ok(()));
}

fn gone() -> Vec<Said> {
    vec![Said::Gone("closed".to_owned())]
}

/// Waits until so many events are durable.
async fn durable(store: &MemoryStore, count: usize) {
    let mut last = 0;
    for _ in 0..100 {
        last = store.saved().events.len();
        if last == count {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("{last} events are durable, not {count}");
}

#[tokio::test(start_paused = true)]
async fn five_thousand_nodes_that_come_back_at_once_are_one_commit() {
    let store = MemoryStore::default();
    let cluster = start(&store);
    let connect_all = async || {
        let all = (0..5_000).map(|number| {
            let cluster = cluster.clone();
            tokio::spawn(async move { connect(&cluster, &format!("n{number}"), None).await })
        });
        let mut sessions = Vec::new();
        for session in all.collect::<Vec<_>>() {
            sessions.push(session.await.expect("a session"));
        }
        sessions
    };
    let sessions = connect_all().await;
    durable(&store, 10_000).await;
    let before = (store.commits(), store.keeps());

    for (number, session) in sessions.iter().enumerate() {
        say(&cluster, &format!("n{number}"), session, gone()).await;
    }
    let _sessions = connect_all().await;
    let all = events(&cluster).await;
    let mut saved = Vec::new();
    for _ in 0..100 {
        saved = store.saved().events.into_values().collect();
        saved.sort_by_key(|event: &Event| event.number);
        if saved
            .iter()
            .all(|event| event.reason != Reason::NodeRegistered)
        {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    let (commits, keeps) = (store.commits() - before.0, store.keeps() - before.1);
    assert_eq!((commits, keeps), (0, 1), "of 10,000 events");
    let mut all: Vec<Event> = all.iter().map(|event| Event::clone(event)).collect();
    all.sort_by_key(|event| event.number);
    assert_eq!(saved, all, "and all of them are durable");
    let count = |reason| all.iter().filter(|it| it.reason == reason).count();
    let counts = [Reason::NodeConnected, Reason::NodeDisconnected].map(count);
    assert_eq!(counts, [5_000, 5_000], "what was longest ago went");
}

#[tokio::test(start_paused = true)]
async fn an_event_becomes_durable_with_a_write_that_is_made_anyway() {
    let store = MemoryStore::default();
    let cluster = start(&store);
    let bell = cluster.events_changed();
    store.hold(true);
    let writing = tokio::spawn({
        let cluster = cluster.clone();
        async move { apply(&cluster, vec![web(1)]).await }
    });
    while store.commits() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        bell.has_changed().ok(),
        Some(false),
        "nobody knows before that"
    );
    store.hold(false);
    writing.await.expect("it ends").expect("written");
    assert_eq!(bell.has_changed().ok(), Some(true));
    let created = "Applied - service/web 1 created at revision 1, by anonymous";
    assert_eq!(told(&cluster).await, [created]);
    durable(&store, 1).await;
    advance(Duration::from_secs(5)).await;
    told(&cluster).await;
    assert_eq!((store.commits(), store.keeps()), (1, 0));
}

#[tokio::test]
async fn events_are_there_after_a_restart_those_too_that_waited_when_it_stopped() {
    let store = MemoryStore::default();
    let (cluster, task) = Cluster::start(store.clone(), store.saved(), Metrics::default());
    let session = connect(&cluster, "a", None).await;
    say(&cluster, "a", &session, gone()).await;
    let before = events(&cluster).await;
    assert_eq!(before.len(), 3);
    drop(cluster);
    let ended = task.await.expect("it ends");
    assert!(ended.is_ok(), "{ended:?}");

    let cluster = start(&store);
    assert_eq!(events(&cluster).await, before);
    connect(&cluster, "a", None).await;
    let again = "NodeConnected a node/a 2 agent 1 connected; it holds nothing";
    assert_eq!(told(&cluster).await[2], again);
    assert_eq!(events(&cluster).await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_takes_no_events_ends_the_task_as_for_any_write() {
    let store = MemoryStore::default();
    let (cluster, task) = Cluster::start(store.clone(), store.saved(), Metrics::default());
    let session = connect(&cluster, "a", None).await;
    store.refuse(true);
    say(&cluster, "a", &session, gone()).await;
    let ended = task.await.expect("it ends by itself");
    let cause = ended.expect_err("with an error").to_string();
    assert_eq!(cause, "cannot make the change durable");
}

fn failure() -> ItemFailure {
    ItemFailure {
        key: ItemKey::VirtualService(frontend("10.1.0.1:80")),
        errno: 2,
        cause: "no scheduler rr".to_owned(),
        field: String::new(),
    }
}

#[tokio::test]
async fn what_a_node_tells_is_told_of_it_and_of_what_it_is_of() {
    let store = MemoryStore::default();
    let cluster = start(&store);
    apply(&cluster, vec![web(1)]).await.expect("written");
    let first = connect(&cluster, "a", None).await;
    let mut session = connect(&cluster, "a", None).await;
    drop(first);
    let sent = update(&mut session).await;
    let generation = sent.generation;
    let hold = Hold {
        generation,
        dropped: 11,
        served: 20,
        since_unix_ms: 1,
        cause: "too much".to_owned(),
    };
    let degraded = Degraded {
        reason: "the disk is full".to_owned(),
        since_unix_ms: 1,
    };
    let repair = Repair {
        object: "link weir0".to_owned(),
        kind: "link".to_owned(),
        found: "down".to_owned(),
        expected: "up".to_owned(),
        at_unix_ms: 1,
    };
    let converged = Said::Converged {
        generation,
        failures: vec![failure()],
        failure_count: 1,
    };
    let said = vec![
        Said::Accepted {
            generation,
            refused: vec![failure()],
            refused_count: 1,
        },
        converged.clone(),
        converged,
        Said::Repairs {
            repairs: vec![repair],
            counts: [("link".to_owned(), 1)].into(),
        },
        Said::Condition {
            hold: Some(hold),
            degraded: Some(degraded),
        },
    ];
    say(&cluster, "a", &session, said).await;
    let who = weir_proto::model::Identity::Operator {
        role: Role::Admin,
        name: node_name("alice"),
    };
    cluster
        .release(node_name("a"), who)
        .await
        .expect("released");
    let nothing = Said::Condition {
        hold: None,
        degraded: None,
    };
    let rejected = Said::Rejected(Rejected {
        generation,
        reason: RejectedReason::Digest,
        cause: "it adds up to something else".to_owned(),
        held: None,
    });
    say(&cluster, "a", &session, vec![nothing, rejected]).await;
    say(&cluster, "a", &session, gone()).await;
    assert_eq!(
        told(&cluster).await,
        [
            "Applied - service/web 1 created at revision 1, by anonymous",
            "NodeRegistered a node/a 1 created at revision 2, as its agent says",
            "NodeReplaced a node/a 1 another stream took the place of the one that it had",
            "NodeConnected a node/a 2 agent 1 connected; it holds nothing",
            "ItemsRefused a service/web 1 virtual service 10.1.0.1:80/TCP: no scheduler rr",
            "ItemsFailed a service/web 1 virtual service 10.1.0.1:80/TCP: no scheduler rr",
            "DriftRepaired a node/a 1 link weir0: found down, expected up",
            "HeldBack a node/a 1 it holds back generation 1, by which 11 of 20 virtual services would go: too much",
            "NodeDegraded a node/a 1 the disk is full",
            "HoldReleased a node/a 1 admin/alice let go what it holds back up to generation 1",
            "HoldEnded a node/a 1 it holds nothing back any more",
            "NodeRecovered a node/a 1 it makes things durable again",
            "UpdateRejected a node/a 1 generation 1: DIGEST: it adds up to something else",
            "NodeDisconnected a node/a 1 its stream ended: closed",
        ]
    );
    let deleted = Resource::Node(node("a", &[])).reference();
    let deleted = cluster.delete(vec![deleted], WriteOptions::default());
    deleted.await.expect("deleted");
    let last = told(&cluster).await.pop();
    let gone = "NodeDeleted a node/a 1 deleted at revision 3, by anonymous";
    assert_eq!(last.as_deref(), Some(gone));
}

#[tokio::test]
async fn a_drain_is_told_from_when_it_is_asked_for_and_its_deadline_without_anybody_saying_so() {
    let cluster = start(&MemoryStore::default());
    apply(&cluster, vec![web(1)]).await.expect("written");
    let mut session = connect(&cluster, "a", None).await;
    let sent = update(&mut session).await;
    accept(&cluster, "a", &session, sent.generation).await;
    let target = DrainTarget::Backend(service_name("web"), endpoint("10.0.0.1:80"));
    let terms = DrainTerms {
        deadline: None,
        on_deadline: None,
    };
    let who = Identity::Anonymous;
    let drained = cluster.drain(vec![target.clone()], terms, who.clone());
    drained.await.expect("drained");
    let before = events(&cluster).await.len();
    let now = now_unix_ms();
    let progress = |left, done| DrainProgress {
        key: ItemKey::Backend(BackendKey {
            frontend: frontend("10.1.0.1:80"),
            endpoint: endpoint("10.0.0.1:80"),
        }),
        active: left,
        inactive: 0,
        started_unix_ms: now,
        deadline_unix_ms: now + 50,
        on_deadline: OnDeadline::Keep,
        done,
    };
    let drains = |left, done| Said::Drains {
        drains: vec![progress(left, done)],
        count: u64::from(!done),
    };
    let mut bell = cluster.events_changed();
    say(&cluster, "a", &session, vec![drains(2, false)]).await;
    let passed = async {
        loop {
            let told = told(&cluster).await;
            if told.len() >= before + 2 {
                return told;
            }
            bell.changed().await.expect("a cluster");
        }
    };
    let passed = timeout(Duration::from_secs(10), passed).await;
    assert!(
        passed.is_ok(),
        "its deadline is told: {:?}",
        told(&cluster).await
    );
    say(&cluster, "a", &session, vec![drains(0, true)]).await;
    // a write would go before what was said
    told(&cluster).await;
    let ended = cluster.undrain(vec![target], who).await;
    ended.expect("drained no longer");
    let of = "backend/web/10.0.0.1:80";
    assert_eq!(
        told(&cluster).await[before - 1..],
        [
            format!("DrainAsked - {of} 1 by anonymous, at revision 3"),
            format!(
                "DrainBegan a {of} 1 2 connections may end within 0 s; then what is left is kept"
            ),
            format!("DrainDeadline a {of} 1 its time is over with 2 connections left, to be kept"),
            format!("DrainEnded a {of} 1 the drain is over"),
            format!("DrainCancelled - {of} 1 by anonymous, at revision 4"),
        ]
    );
}

#[tokio::test]
async fn a_rollout_is_told_from_its_beginning_to_its_end() {
    let cluster = start(&MemoryStore::default());
    apply(&cluster, vec![web(1)]).await.expect("written");
    let mut sessions = Vec::new();
    for name in ["a", "b"] {
        let mut session = connect(&cluster, name, None).await;
        let sent = update(&mut session).await;
        accept(&cluster, name, &session, sent.generation).await;
        sessions.push(session);
    }
    let before = events(&cluster).await.len();
    let options = WriteOptions {
        canary: Some("1,100%".parse().expect("steps")),
        ..WriteOptions::default()
    };
    let begun = cluster.apply(vec![web(2)], Places::default(), options);
    let number = begun.await.expect("begun").revision;
    for steering in [Steering::Pause, Steering::Resume, Steering::Undo] {
        let steered = cluster.steer(steering, None, Identity::Anonymous);
        steered.await.expect("steered");
    }
    let all = told(&cluster).await;
    let mut all = all[before - 1..].to_vec();
    all.sort();
    assert_eq!(number, Revision(4));
    assert_eq!(
        all,
        [
            "Applied - service/web 3 changed at revision 5, by anonymous, who undid rollout 4",
            "RolloutBegan - rollout/4 1 anonymous began it",
            "RolloutPaused - rollout/4 1 anonymous paused it",
            "RolloutResumed - rollout/4 1 anonymous resumed it",
            "RolloutUndone - rollout/4 1 anonymous undid it at revision 5",
        ]
    );
}
