mod cordons;
mod events;
mod groups;
mod history;
mod pace;
mod rollouts;

use weir_proto::digest::Digest;

use super::*;
use weir_proto::model::{Capability, Node, Scheduler, Service};

use crate::desired::Content;
use crate::desired::RejectedReason;
use crate::desired::samples::{backend, capability, flat, labels, node, node_name, service, vip};
use crate::store::memory::MemoryStore;

fn start(store: &MemoryStore) -> Cluster {
    let saved = store.saved();
    Cluster::start(store.clone(), saved, Metrics::default()).0
}

fn web(weight: u32) -> Resource {
    let behind = format!("10.0.0.1:80*{weight}");
    let web = service("web", &["10.1.0.1:80"], &[behind.as_str(), "10.0.0.2:80"]);
    Resource::Service(web)
}

async fn apply(cluster: &Cluster, resources: Vec<Resource>) -> Result<Written, Refusal> {
    let options = WriteOptions::default();
    cluster.apply(resources, Places::default(), options).await
}

async fn connect(cluster: &Cluster, name: &str, held: Option<(Generation, Digest)>) -> Session {
    let hello = Hello {
        node: node(name, &[]),
        agent_version: "1".to_owned(),
        held,
        capabilities: Vec::new(),
    };
    cluster.hello(hello).await.expect("a session")
}

async fn update(session: &mut Session) -> Update {
    match session.outbox.recv().await {
        Some(Outgoing::Update { update, .. }) => *update,
        other => panic!("{other:?}"),
    }
}

async fn accept(cluster: &Cluster, name: &str, session: &Session, generation: Generation) {
    let said = Said::Accepted {
        generation,
        refused: Vec::new(),
        refused_count: 0,
    };
    let said = cluster.said(node_name(name), session.id, vec![said]).await;
    assert_eq!(said, Ok(()));
}

async fn status(cluster: &Cluster, name: &str) -> NodeStatus {
    let statuses = cluster.statuses(vec![node_name(name)]).await;
    let mut nodes = statuses.expect("statuses").nodes;
    nodes.pop().expect("one node")
}

/// Everything said before this was heard: commands are served in order.
async fn nothing_is_sent(cluster: &Cluster, session: &mut Session) {
    let statuses = cluster.statuses(Vec::new()).await;
    assert!(statuses.is_ok());
    let waiting = session.outbox.try_recv();
    assert!(waiting.is_err(), "{waiting:?}");
}

#[tokio::test]
async fn a_failed_commit_leaves_nothing_changed_and_ends_the_task_with_its_cause() {
    let store = MemoryStore::default();
    let (cluster, task) = Cluster::start(store.clone(), store.saved(), Metrics::default());
    apply(&cluster, vec![web(1)]).await.expect("written");
    let mut session = connect(&cluster, "a", None).await;
    let first = update(&mut session).await;
    accept(&cluster, "a", &session, first.generation).await;
    status(&cluster, "a").await;
    let saved = store.saved();

    store.refuse(true);
    let refused = apply(&cluster, vec![web(9)]).await;
    assert!(matches!(refused, Err(Refusal::Store(_))), "{refused:?}");
    assert_eq!(store.saved(), saved);
    let ended = task.await.expect("it ends by itself");
    let cause = ended.expect_err("with an error").to_string();
    assert_eq!(cause, "cannot make the change durable");
    assert_eq!(session.outbox.recv().await, None, "nothing is sent");
    let late = apply(&cluster, vec![web(9)]).await;
    assert!(matches!(late, Err(Refusal::Stopped(_))), "{late:?}");

    store.refuse(false);
    let cluster = start(&store);
    let kept = cluster.get(web(1).reference()).await.expect("it is there");
    assert_eq!((&kept.resource, kept.revision), (&web(1), Revision(1)));
    let written = apply(&cluster, vec![web(9)]).await.expect("written");
    assert_eq!(written.revision, Revision(3), "the hello of node a was 2");
}

#[tokio::test]
async fn a_batch_is_written_whole_and_says_what_changed() {
    let cluster = start(&MemoryStore::default());
    let dns = Resource::Service(service("dns", &["10.1.0.2:53"], &[]));
    let written = apply(&cluster, vec![web(1), dns.clone()]).await;
    let changes = vec![
        (web(1).reference(), Outcome::Created),
        (dns.reference(), Outcome::Created),
    ];
    assert_eq!(written.expect("written").changes, changes);
    let written = apply(&cluster, vec![web(2), dns.clone()]).await;
    let written = written.expect("written");
    let changes = vec![
        (web(1).reference(), Outcome::Updated),
        (dns.reference(), Outcome::Unchanged),
    ];
    assert_eq!((written.revision, written.changes), (Revision(2), changes));
    let written = apply(&cluster, vec![web(2), dns]).await.expect("written");
    assert_eq!(written.revision, Revision(2), "nothing changed");
}

#[tokio::test]
async fn a_clash_is_refused_by_name_and_nothing_of_the_batch_is_stored() {
    let store = MemoryStore::default();
    let cluster = start(&store);
    apply(&cluster, vec![web(1)]).await.expect("written");
    let good = Resource::Service(service("good", &["10.1.0.2:80"], &[]));
    let bad = Resource::Service(service("bad", &["10.1.0.1:80"], &[]));
    let refused = apply(&cluster, vec![good.clone(), bad]).await;
    let said = refused.expect_err("refused").to_string();
    assert!(said.contains("is claimed by services[web]"), "{said}");
    let missing = cluster.get(good.reference()).await;
    assert!(matches!(missing, Err(Refusal::NotFound(_))), "{missing:?}");
    assert_eq!(store.saved().revision, Revision(1));
}

#[tokio::test]
async fn a_dry_run_answers_as_if_and_changes_nothing() {
    let store = MemoryStore::default();
    let cluster = start(&store);
    apply(&cluster, vec![web(1)]).await.expect("written");
    let mut session = connect(&cluster, "a", None).await;
    update(&mut session).await;
    let options = WriteOptions {
        dry_run: true,
        ..WriteOptions::default()
    };
    let tried = cluster
        .apply(vec![web(5)], Places::default(), options)
        .await;
    assert_eq!(
        tried.expect("tried"),
        Written {
            revision: Revision(2),
            changes: vec![(web(5).reference(), Outcome::Updated)],
            targets: vec![(node_name("a"), Generation(2))],
        }
    );
    let kept = cluster.get(web(1).reference()).await.expect("it is there");
    assert_eq!(kept.resource, web(1));
}

#[tokio::test]
async fn a_write_that_expects_another_revision_is_refused() {
    let cluster = start(&MemoryStore::default());
    apply(&cluster, vec![web(1)]).await.expect("written");
    let options = |expected| WriteOptions {
        expected: Some(Revision(expected)),
        ..WriteOptions::default()
    };
    let late = cluster
        .apply(vec![web(2)], Places::default(), options(0))
        .await;
    let said = late.expect_err("refused").to_string();
    assert_eq!(said, "the cluster is at revision 1, not 0");
    let late = cluster.delete(vec![web(1).reference()], options(7)).await;
    assert!(matches!(late, Err(Refusal::Revision { .. })), "{late:?}");
    let written = cluster
        .apply(vec![web(2)], Places::default(), options(1))
        .await;
    assert_eq!(written.expect("written").revision, Revision(2));
}

#[tokio::test]
async fn a_restarted_controller_goes_on_with_its_revision_and_generations() {
    let store = MemoryStore::default();
    let held = {
        let cluster = start(&store);
        apply(&cluster, vec![web(1)]).await.expect("written");
        let mut session = connect(&cluster, "a", None).await;
        let first = update(&mut session).await;
        accept(&cluster, "a", &session, first.generation).await;
        apply(&cluster, vec![web(2)]).await.expect("written");
        let second = update(&mut session).await;
        (second.generation, second.digest)
    };
    assert_eq!(held.0, Generation(2));
    let cluster = start(&store);
    let statuses = cluster.statuses(Vec::new()).await.expect("statuses");
    assert_eq!(statuses.revision, Revision(3));
    let mut session = connect(&cluster, "a", Some(held)).await;
    nothing_is_sent(&cluster, &mut session).await;
    let status = status(&cluster, "a").await;
    assert_eq!(
        (status.wanted, status.accepted),
        (Generation(2), Generation(2))
    );
    let written = apply(&cluster, vec![web(3)]).await.expect("written");
    assert_eq!(written.revision, Revision(4));
    assert_eq!(written.targets, [(node_name("a"), Generation(3))]);
}

#[tokio::test]
async fn an_empty_controller_empties_no_node() {
    let cluster = start(&MemoryStore::default());
    let held = Some((Generation(7), Digest::from_bytes([3; 16])));
    let mut session = connect(&cluster, "a", held).await;
    nothing_is_sent(&cluster, &mut session).await;
    let bystander = Resource::Node(node("b", &[]));
    apply(&cluster, vec![bystander]).await.expect("written");
    nothing_is_sent(&cluster, &mut session).await;
    let written = apply(&cluster, vec![web(1)]).await.expect("written");
    let first = update(&mut session).await;
    assert_eq!((first.generation, first.base), (Generation(8), None));
    assert!(written.targets.contains(&(node_name("a"), Generation(8))));
}

#[tokio::test]
async fn a_store_that_had_services_serves_their_absence() {
    let store = MemoryStore::default();
    let cluster = start(&store);
    apply(&cluster, vec![web(1)]).await.expect("written");
    let gone = cluster.delete(vec![web(1).reference()], WriteOptions::default());
    gone.await.expect("deleted");
    let cluster = start(&store);
    let held = Some((Generation(7), Digest::from_bytes([3; 16])));
    let mut session = connect(&cluster, "a", held).await;
    let whole = update(&mut session).await;
    assert_eq!((whole.base, whole.content), (None, Content::default()));
}

#[tokio::test]
async fn one_changed_backend_is_one_item_and_waits_for_the_update_under_way() {
    let cluster = start(&MemoryStore::default());
    apply(&cluster, vec![web(1)]).await.expect("written");
    let mut session = connect(&cluster, "a", None).await;
    let whole = update(&mut session).await;
    assert!(flat(&whole.content).0.contains(&vip("10.1.0.1")));
    apply(&cluster, vec![web(2)]).await.expect("written");
    apply(&cluster, vec![web(3)]).await.expect("written");
    nothing_is_sent(&cluster, &mut session).await;
    accept(&cluster, "a", &session, whole.generation).await;
    let delta = update(&mut session).await;
    assert_eq!(delta.base, Some(whole.generation));
    assert_eq!(delta.generation, Generation(3));
    let heavier = vec![backend("10.1.0.1:80", "10.0.0.1:80", 3)];
    assert_eq!(flat(&delta.content), (heavier, vec![]));
}

#[tokio::test]
async fn a_second_stream_of_a_node_takes_the_place_of_the_first() {
    let cluster = start(&MemoryStore::default());
    apply(&cluster, vec![web(1)]).await.expect("written");
    let mut first = connect(&cluster, "a", None).await;
    let sent = update(&mut first).await;
    let mut second = connect(&cluster, "a", None).await;
    assert_eq!(first.outbox.recv().await, Some(Outgoing::Replaced));
    assert_eq!(first.outbox.recv().await, None);
    assert_eq!(update(&mut second).await, sent);
    // what the first one still says no longer counts
    accept(&cluster, "a", &first, sent.generation).await;
    let gone = cluster
        .said(
            node_name("a"),
            first.id,
            vec![Said::Gone("closed".to_owned())],
        )
        .await;
    assert_eq!(gone, Ok(()));
    let status = status(&cluster, "a").await;
    assert_eq!((status.connected, status.accepted), (true, Generation(0)));
}

#[tokio::test]
async fn a_deleted_node_loses_its_stream_and_registers_again() {
    let cluster = start(&MemoryStore::default());
    apply(&cluster, vec![web(1)]).await.expect("written");
    let mut session = connect(&cluster, "a", None).await;
    let sent = update(&mut session).await;
    let node = Resource::Node(node("a", &[])).reference();
    let deleted = cluster
        .delete(vec![node.clone()], WriteOptions::default())
        .await;
    assert_eq!(
        deleted.expect("deleted").changes,
        [(node, Outcome::Deleted)]
    );
    assert_eq!(session.outbox.recv().await, Some(Outgoing::Deleted));
    let held = Some((sent.generation, sent.digest));
    let mut session = connect(&cluster, "a", held).await;
    // what is known of it went with it: it may come from another cluster
    let again = update(&mut session).await;
    assert_eq!(
        (again.base, again.digest),
        (Some(Generation(1)), sent.digest)
    );
    assert_eq!(again.content, Content::default());
}

#[tokio::test]
async fn a_rejection_is_told_in_the_status_and_not_sent_for_ever() {
    let cluster = start(&MemoryStore::default());
    apply(&cluster, vec![web(1)]).await.expect("written");
    let mut session = connect(&cluster, "a", None).await;
    for _ in 0..2 {
        let sent = update(&mut session).await;
        let rejected = Said::Rejected(Rejected {
            generation: sent.generation,
            reason: RejectedReason::Digest,
            cause: "it adds up to something else".to_owned(),
            held: None,
        });
        let said = cluster
            .said(node_name("a"), session.id, vec![rejected])
            .await;
        assert_eq!(said, Ok(()));
    }
    nothing_is_sent(&cluster, &mut session).await;
    let rejection = status(&cluster, "a").await.rejection;
    let text = "generation 1: DIGEST: it adds up to something else";
    assert_eq!(rejection.as_deref(), Some(text));
    apply(&cluster, vec![web(2)]).await.expect("written");
    assert_eq!(update(&mut session).await.generation, Generation(2));
}

#[tokio::test]
async fn a_watcher_gets_what_was_and_then_what_happens() {
    let cluster = start(&MemoryStore::default());
    apply(&cluster, vec![web(1)]).await.expect("written");
    let mut watching = cluster.watch(Revision(0)).await.expect("a watch");
    let kept = cluster.get(web(1).reference()).await.expect("it is there");
    // an update leaves it as it is
    let created_unix_ms = kept.created_unix_ms;
    assert!(created_unix_ms > 0);
    let event = |revision, outcome, resource: Resource| Entry {
        revision: Revision(revision),
        events: vec![Event {
            reference: resource.reference(),
            outcome,
            resource: Some(Arc::new(Stored {
                resource,
                revision: Revision(revision),
                created_unix_ms,
            })),
        }],
    };
    assert_eq!(
        watching.past,
        [Arc::new(event(1, Outcome::Created, web(1)))]
    );
    apply(&cluster, vec![web(2)]).await.expect("written");
    let live = watching.live.recv().await.expect("a change");
    assert_eq!(*live, event(2, Outcome::Updated, web(2)));
    let again = cluster.watch(Revision(1)).await.expect("a watch");
    assert_eq!(again.past, [live]);
    let never = cluster.watch(Revision(9)).await;
    assert!(
        matches!(never, Err(Refusal::OutOfRange { .. })),
        "{never:?}"
    );
}

#[tokio::test]
async fn a_hello_registers_a_node_and_changes_nothing_but_addresses_of_one_that_is_known() {
    let cluster = start(&MemoryStore::default());
    let first = connect(&cluster, "a", None).await;
    let again = connect(&cluster, "a", None).await;
    assert!(again.id > first.id);
    let page = cluster
        .list(Kind::Node, String::new(), 10)
        .await
        .expect("a page");
    assert_eq!(
        page.revision,
        Revision(1),
        "the second hello said nothing new"
    );
    assert_eq!(page.resources[0].resource, Resource::Node(node("a", &[])));
    let addresses = vec![[192, 0, 2, 7].into()];
    let moved = Hello {
        node: Node {
            addresses: addresses.clone(),
            ..node("a", &[("rack", "3")])
        },
        agent_version: "1".to_owned(),
        held: None,
        capabilities: Vec::new(),
    };
    cluster.hello(moved).await.expect("a session");
    let page = cluster
        .list(Kind::Node, String::new(), 10)
        .await
        .expect("a page");
    assert_eq!(page.revision, Revision(2));
    let known = Node {
        addresses,
        ..node("a", &[])
    };
    assert_eq!(page.resources[0].resource, Resource::Node(known));
}

async fn connect_with(cluster: &Cluster, name: &str, capabilities: &[Capability]) {
    let hello = Hello {
        node: node(name, &[]),
        agent_version: "1".to_owned(),
        held: None,
        capabilities: capabilities.to_vec(),
    };
    cluster.hello(hello).await.expect("a session");
}

fn twos() -> Resource {
    Resource::Service(Service {
        scheduler: Scheduler::TwoChoices,
        ..service("web", &["10.1.0.1:80"], &[])
    })
}

#[tokio::test]
async fn what_a_kernel_lacks_counts_while_its_node_is_away_and_after_a_restart() {
    let store = MemoryStore::default();
    let cluster = start(&store);
    let known = [capability("scheduler_twos", "load it")];
    connect_with(&cluster, "a", &known).await;
    let refused = |applied: Result<Written, Refusal>| match applied {
        Err(Refusal::Fields(errors)) => errors.to_string(),
        other => panic!("{other:?}"),
    };
    let said =
        "services[web].scheduler: no selected node can run it: a lacks scheduler_twos: load it";
    assert_eq!(refused(apply(&cluster, vec![twos()]).await), said);
    let restarted = start(&store);
    assert_eq!(refused(apply(&restarted, vec![twos()]).await), said);
    let waiting = status(&restarted, "a").await;
    assert_eq!(
        (waiting.connected, waiting.capabilities),
        (false, known.to_vec())
    );
    // the module is there now, and the agent was started again
    connect_with(&restarted, "a", &[capability("scheduler_twos", "")]).await;
    apply(&restarted, vec![twos()]).await.expect("written");
}

#[tokio::test]
async fn what_a_kernel_can_do_is_written_when_it_is_news_and_is_no_change_of_the_cluster() {
    let store = MemoryStore::default();
    let cluster = start(&store);
    let known = [capability("scheduler_twos", "load it")];
    connect_with(&cluster, "a", &known).await;
    let saved = store.saved();
    assert_eq!(saved.capabilities[&node_name("a")], known);
    assert_eq!(saved.revision, Revision(1), "of the node alone");
    // a store that takes no write is not asked for one
    store.refuse(true);
    connect_with(&cluster, "a", &known).await;
    store.refuse(false);
    connect_with(&cluster, "a", &[]).await;
    assert_eq!(
        store.saved().capabilities.len(),
        0,
        "an agent that says nothing"
    );
    apply(&cluster, vec![twos()]).await.expect("written");
}

#[tokio::test]
async fn what_a_deleted_nodes_kernel_can_do_is_forgotten() {
    let store = MemoryStore::default();
    let cluster = start(&store);
    connect_with(&cluster, "a", &[capability("scheduler_twos", "load it")]).await;
    let gone = vec![node("a", &[])].into_iter().map(Resource::Node);
    let gone = gone.map(|node| node.reference()).collect();
    let deleted = cluster.delete(gone, WriteOptions::default()).await;
    deleted.expect("deleted");
    assert_eq!(store.saved().capabilities.len(), 0);
    apply(&cluster, vec![Resource::Node(node("a", &[])), twos()])
        .await
        .expect("nothing is known of the node that has its name now");
}

#[tokio::test]
async fn leave_is_for_the_nodes_of_the_batch_and_not_for_what_others_hold_back() {
    let store = MemoryStore::default();
    let cluster = start(&store);
    let on_rack = |name: &str, rack: &str, weight: u32| {
        let backend = format!("10.0.0.1:80*{weight}");
        let frontend = format!("10.1.0.{rack}:80");
        Resource::Service(Service {
            node_selector: labels(&[("rack", rack)]),
            ..service(name, &[frontend.as_str()], &[backend.as_str()])
        })
    };
    let a = Resource::Node(node("a", &[("rack", "1")]));
    let b = Resource::Node(node("b", &[("rack", "2")]));
    let all = vec![a.clone(), b, on_rack("one", "1", 1), on_rack("two", "2", 1)];
    apply(&cluster, all).await.expect("written");
    let session = connect(&cluster, "a", None).await;
    let hold = Some(Hold {
        generation: Generation(1),
        ..Hold::default()
    });
    let condition = Said::Condition {
        hold,
        degraded: None,
    };
    let said = cluster
        .said(node_name("a"), session.id, vec![condition])
        .await;
    assert_eq!(said, Ok(()));
    let with_leave = WriteOptions {
        allow_mass_delete: true,
        ..WriteOptions::default()
    };
    let of_b = vec![on_rack("two", "2", 2)];
    let written = cluster
        .apply(of_b, Places::default(), with_leave.clone())
        .await;
    written.expect("written");
    let confirmed = store.saved().confirmed;
    assert_eq!(confirmed, [(node_name("b"), Generation(2))].into());
    let written = cluster.apply(vec![a], Places::default(), with_leave).await;
    written.expect("written");
    assert_eq!(
        store.saved().confirmed,
        [
            (node_name("a"), Generation(1)),
            (node_name("b"), Generation(2))
        ]
        .into()
    );
}

#[tokio::test]
async fn a_node_that_holds_what_a_lost_store_is_told_again_learns_which_cluster_this_is() {
    let lost = start(&MemoryStore::default());
    apply(&lost, vec![web(1)]).await.expect("written");
    let mut session = connect(&lost, "a", None).await;
    let digest = update(&mut session).await.digest;

    let store = MemoryStore::default();
    let cluster = start(&store);
    let held = Some((Generation(40), digest));
    let mut session = connect(&cluster, "a", held).await;
    nothing_is_sent(&cluster, &mut session).await;
    apply(&cluster, vec![web(1)]).await.expect("written");
    let nothing = Update {
        generation: Generation(41),
        base: Some(Generation(40)),
        content: Content::default(),
        digest,
    };
    assert_eq!(update(&mut session).await, nothing);
    // it may not have taken it
    let mut session = connect(&cluster, "a", held).await;
    assert_eq!(update(&mut session).await, nothing);
    accept(&cluster, "a", &session, Generation(41)).await;
    nothing_is_sent(&cluster, &mut session).await;
    assert_eq!(store.saved().named, [node_name("a")].into());

    // once it knows it hears nothing, from a controller that starts too
    let held = Some((Generation(41), digest));
    let mut session = connect(&cluster, "a", held).await;
    nothing_is_sent(&cluster, &mut session).await;
    let cluster = start(&store);
    let mut session = connect(&cluster, "a", held).await;
    nothing_is_sent(&cluster, &mut session).await;
    let gone = vec![Resource::Node(node("a", &[])).reference()];
    let deleted = cluster.delete(gone, WriteOptions::default()).await;
    deleted.expect("deleted");
    assert_eq!(store.saved().named, [].into());
}
