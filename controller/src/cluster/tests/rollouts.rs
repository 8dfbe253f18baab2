mod halts;

use std::collections::BTreeSet;

use weir_proto::model::{Item, ItemKey, Role, RolloutPhase};

use super::*;
use crate::desired::reference;
use crate::desired::samples::{endpoint, frontend, service_name, set};

/// Nodes that take what they are sent when they are told to, and keep it.
struct Fleet {
    store: MemoryStore,
    cluster: Cluster,
    nodes: BTreeMap<String, FakeNode>,
}

struct FakeNode {
    session: Session,
    held: Option<(Generation, Digest)>,
    items: BTreeMap<ItemKey, Item>,
    /// What it was sent and has not taken.
    sent: Option<Update>,
    /// What its kernel refuses.
    refuses: Option<ItemKey>,
}

impl Fleet {
    /// Makes nodes n0, n1, ... that hold web(1).
    async fn new(nodes: usize) -> Self {
        let store = MemoryStore::default();
        let mut fleet = Self {
            cluster: start(&store),
            store,
            nodes: BTreeMap::new(),
        };
        apply(&fleet.cluster, vec![web(1)]).await.expect("written");
        for number in 0..nodes {
            fleet.join(&format!("n{number}")).await;
        }
        fleet.take_all().await;
        fleet
    }

    async fn join(&mut self, name: &str) {
        let node = FakeNode {
            session: connect(&self.cluster, name, None).await,
            held: None,
            items: BTreeMap::new(),
            sent: None,
            refuses: None,
        };
        self.nodes.insert(name.to_owned(), node);
    }

    /// Starts the controller again; every node comes back with what it holds.
    async fn restart(&mut self) {
        self.cluster = start(&self.store);
        for (name, node) in &mut self.nodes {
            node.session = connect(&self.cluster, name, node.held).await;
            node.sent = None;
            if let Some((generation, _)) = node.held {
                converge(&self.cluster, name, node, generation).await;
            }
        }
    }

    /// Reads what nodes were sent.
    async fn read(&mut self) {
        // everything said before this was heard
        assert!(self.cluster.statuses(Vec::new()).await.is_ok());
        for node in self.nodes.values_mut() {
            while let Ok(outgoing) = node.session.outbox.try_recv() {
                if let Outgoing::Update { update, .. } = outgoing {
                    node.sent = Some(*update);
                }
            }
        }
    }

    /// Lets nodes take what they were sent, and converge.
    async fn take(&mut self, names: &[String]) {
        self.read().await;
        for name in names {
            let node = self.nodes.get_mut(name).expect("a node");
            let Some(update) = node.sent.take() else {
                continue;
            };
            if update.base.is_none() {
                node.items.clear();
            }
            let (upserted, removed) = flat(&update.content);
            for key in removed {
                node.items.remove(&key);
            }
            let upserted = upserted.into_iter().map(|item| (item.key(), item));
            node.items.extend(upserted);
            node.held = Some((update.generation, update.digest));
            accept(&self.cluster, name, &node.session, update.generation).await;
            converge(&self.cluster, name, node, update.generation).await;
        }
        self.read().await;
    }

    /// Lets all nodes take what they are sent until nothing is sent any more.
    async fn take_all(&mut self) {
        loop {
            self.read().await;
            let sent = self.sent();
            if sent.is_empty() {
                return;
            }
            self.take(&sent).await;
        }
    }

    /// Gives the nodes that were sent something and have not taken it.
    fn sent(&self) -> Vec<String> {
        let sent = self.nodes.iter().filter(|(_, node)| node.sent.is_some());
        sent.map(|(name, _)| name.clone()).collect()
    }

    /// Gives the nodes that hold a weight of the first backend.
    fn holding(&self, weight: u32) -> usize {
        let item = backend("10.1.0.1:80", "10.0.0.1:80", weight);
        let holding = self.nodes.values();
        holding
            .filter(|node| node.items.get(&item.key()) == Some(&item))
            .count()
    }

    async fn roll_out(&self, resources: Vec<Resource>, steps: &str) -> Result<Written, Refusal> {
        let options = WriteOptions {
            canary: Some(steps.parse().expect("steps")),
            ..WriteOptions::default()
        };
        let cluster = &self.cluster;
        cluster.apply(resources, Places::default(), options).await
    }

    async fn rollout(&self) -> Rollout {
        let state = self.cluster.rollout().await.expect("an answer");
        state.rollout.expect("a rollout")
    }

    async fn steer(&self, steering: Steering) -> Result<Written, Refusal> {
        self.cluster
            .steer(steering, None, Identity::Anonymous)
            .await
    }

    async fn stands(&self) -> (RolloutPhase, usize, usize) {
        let rollout = self.rollout().await;
        let holds = rollout.members.values().filter(|member| member.holds());
        (rollout.phase, rollout.step, holds.count())
    }
}

async fn converge(cluster: &Cluster, name: &str, node: &FakeNode, generation: Generation) {
    let failures = node.refuses.into_iter().map(|key| ItemFailure {
        key,
        errno: 2,
        cause: "the scheduler is not there".to_owned(),
        field: String::new(),
    });
    let said = Said::Converged {
        generation,
        failures: failures.collect(),
        failure_count: 0,
    };
    let said = cluster
        .said(node_name(name), node.session.id, vec![said])
        .await;
    assert_eq!(said, Ok(()));
}

fn count(failed: u64, connections: u64) -> BTreeMap<Frontend, Count> {
    let count = Count {
        connections,
        failed,
    };
    [(frontend("10.1.0.1:80"), count)].into()
}

fn said(refused: Result<Written, Refusal>) -> String {
    refused.expect_err("refused").to_string()
}

#[tokio::test]
async fn three_steps_each_wait_for_every_node_of_the_one_before() {
    let mut fleet = Fleet::new(6).await;
    let written = fleet.roll_out(vec![web(2)], "1,50%,100%").await;
    let written = written.expect("written");
    assert_eq!(written.targets.len(), 1, "{:?}", written.targets);
    // everybody sees the new resource at once
    let stored = fleet.cluster.get(web(2).reference()).await.expect("there");
    assert_eq!(stored.resource, web(2));
    fleet.read().await;
    let first = fleet.sent();
    assert_eq!(first, [written.targets[0].0.to_string()]);
    assert_eq!(fleet.stands().await, (RolloutPhase::Running, 0, 0));
    fleet.take(&first).await;
    let second = fleet.sent();
    assert_eq!(second.len(), 2);
    assert_eq!(fleet.stands().await, (RolloutPhase::Running, 1, 1));
    fleet.take(&second[..1]).await;
    assert_eq!(fleet.sent(), second[1..], "one is not there yet");
    fleet.take(&second[1..]).await;
    assert_eq!(fleet.sent().len(), 3);
    fleet.take_all().await;
    assert_eq!(fleet.stands().await, (RolloutPhase::Done, 2, 6));
    assert_eq!(fleet.holding(2), 6);
}

#[tokio::test]
async fn what_a_node_refuses_of_the_batch_halts_it_and_nothing_else_does() {
    let mut fleet = Fleet::new(4).await;
    let dns = Resource::Service(service("dns", &["10.1.0.2:53"], &["10.0.0.9:53"]));
    apply(&fleet.cluster, vec![dns]).await.expect("written");
    fleet.take_all().await;
    fleet
        .roll_out(vec![web(2)], "1,2,100%")
        .await
        .expect("written");
    fleet.read().await;
    let first = fleet.sent();
    let key = |at: &str, of: &str| backend(at, of, 1).key();
    let node = fleet.nodes.get_mut(&first[0]).expect("a node");
    node.refuses = Some(key("10.1.0.2:53", "10.0.0.9:53"));
    fleet.take(&first).await;
    let second = fleet.sent();
    assert_eq!(second.len(), 1, "that is of another service");
    let node = fleet.nodes.get_mut(&second[0]).expect("a node");
    node.refuses = Some(key("10.1.0.1:80", "10.0.0.1:80"));
    fleet.take(&second).await;
    assert_eq!(fleet.stands().await, (RolloutPhase::Halted, 1, 1));
    let reason = format!(
        "node {} refuses backend 10.0.0.1:80 of 10.1.0.1:80/TCP: the scheduler is not there",
        second[0]
    );
    assert_eq!(fleet.rollout().await.reason, reason);
    assert_eq!(fleet.sent(), Vec::<String>::new(), "it goes no further");
    fleet.steer(Steering::Resume).await.expect("resumed");
    fleet.take_all().await;
    assert_eq!(fleet.stands().await, (RolloutPhase::Done, 2, 4));
}

#[tokio::test]
async fn connections_that_fail_more_often_halt_it() {
    let mut fleet = Fleet::new(4).await;
    let cluster = fleet.cluster.clone();
    let counted = async |name: &str, counts| {
        let counted = cluster.counted(node_name(name), counts, 0).await;
        assert_eq!(counted, Ok(()));
    };
    counted("n0", count(2, 200)).await;
    fleet
        .roll_out(vec![web(2)], "1,100%")
        .await
        .expect("written");
    fleet.read().await;
    let first = fleet.sent();
    fleet.take(&first).await;
    // there are connections: it is looked at for a while before it goes on
    assert_eq!(fleet.sent(), Vec::<String>::new());
    assert_eq!(fleet.stands().await, (RolloutPhase::Running, 0, 1));
    counted(&first[0], count(1, 100)).await;
    assert_eq!(fleet.stands().await, (RolloutPhase::Running, 0, 1));
    counted(&first[0], count(20, 100)).await;
    // the halt becomes durable before the next command is served
    fleet.read().await;
    assert_eq!(fleet.stands().await, (RolloutPhase::Halted, 0, 1));
    assert_eq!(
        fleet.rollout().await.reason,
        "connections fail more often where the batch is: 21 of 200 (10.5%), against 2 of 200 (1.0%) \
         elsewhere and before"
    );
    let kept = fleet.store.saved().rollout.expect("it is kept");
    assert_eq!(kept.phase, RolloutPhase::Halted);
}

#[tokio::test]
async fn one_that_is_paused_goes_on_when_it_is_told_to() {
    let mut fleet = Fleet::new(3).await;
    fleet
        .roll_out(vec![web(2)], "1,100%")
        .await
        .expect("written");
    fleet.steer(Steering::Pause).await.expect("paused");
    fleet.take_all().await;
    assert_eq!(fleet.stands().await, (RolloutPhase::Paused, 0, 1));
    assert_eq!(
        said(fleet.steer(Steering::Pause).await),
        "rollout 5 is paused: it does not go on by itself"
    );
    let other = fleet
        .cluster
        .steer(Steering::Resume, Some(Revision(4)), Identity::Anonymous);
    assert_eq!(said(other.await), "the rollout is that of revision 5");
    fleet.steer(Steering::Resume).await.expect("resumed");
    fleet.take_all().await;
    assert_eq!(fleet.stands().await, (RolloutPhase::Done, 1, 3));
    assert_eq!(
        said(fleet.steer(Steering::Undo).await),
        "rollout 5 is done: every node has it; roll back to the revision before it instead"
    );
}

#[tokio::test]
async fn an_undo_brings_back_what_was_there_and_nodes_that_were_not_reached_hear_nothing() {
    let mut fleet = Fleet::new(4).await;
    let new = Resource::Service(service("new", &["10.1.0.3:80"], &["10.0.0.3:80"]));
    let more = Resource::BackendSet(set("web-b", "web", &["10.0.0.7:80"]));
    let batch = vec![web(2), new.clone(), more.clone()];
    fleet.roll_out(batch, "2,100%").await.expect("written");
    fleet.read().await;
    let reached = fleet.sent();
    assert_eq!(reached.len(), 2);
    fleet.take(&reached[..1]).await;
    let undone = fleet.steer(Steering::Undo).await.expect("undone");
    let names: Vec<String> = undone
        .targets
        .iter()
        .map(|(name, _)| name.to_string())
        .collect();
    assert_eq!((undone.revision, names), (Revision(7), reached));
    fleet.take_all().await;
    assert_eq!(fleet.stands().await.0, RolloutPhase::Undone);
    assert_eq!(fleet.holding(1), 4);
    let heard = fleet.nodes.values().filter(|node| {
        let generation = node.held.map(|(generation, _)| generation);
        generation != Some(Generation(1))
    });
    assert_eq!(heard.count(), 2, "the others hold what they held");
    for gone in [new, more] {
        let missing = fleet.cluster.get(gone.reference()).await;
        assert!(matches!(missing, Err(Refusal::NotFound(_))), "{missing:?}");
    }
    let history = fleet.cluster.history(2).await.expect("a history");
    let what: Vec<&str> = history
        .writes
        .iter()
        .map(|past| past.what.as_str())
        .collect();
    assert_eq!(what, ["undo of rollout 6", "rollout"]);
    // and all is free again
    apply(&fleet.cluster, vec![web(3)]).await.expect("written");
    fleet.take_all().await;
    assert_eq!(fleet.holding(3), 4);
}

#[tokio::test]
async fn a_controller_that_starts_again_goes_on_where_it_was() {
    let mut fleet = Fleet::new(5).await;
    fleet
        .roll_out(vec![web(2)], "1,40%,100%")
        .await
        .expect("written");
    fleet.read().await;
    let first = fleet.sent();
    fleet.restart().await;
    fleet.read().await;
    assert_eq!(fleet.sent(), first, "the others hold what they must");
    fleet.take(&first).await;
    let second = fleet.sent();
    assert_eq!(second.len(), 1);
    fleet.take(&second).await;
    assert_eq!(fleet.stands().await, (RolloutPhase::Running, 2, 2));
    fleet.restart().await;
    fleet.take_all().await;
    assert_eq!(fleet.stands().await, (RolloutPhase::Done, 2, 5));
    assert_eq!(fleet.holding(2), 5);
    fleet.restart().await;
    assert_eq!(fleet.stands().await.0, RolloutPhase::Done);
    fleet.read().await;
    assert_eq!(fleet.sent(), Vec::<String>::new());
}

#[tokio::test]
async fn what_it_is_of_waits_for_its_end_and_all_else_goes_on() {
    let mut fleet = Fleet::new(3).await;
    let moved = service("web", &["10.1.0.1:81"], &["10.0.0.1:80*2"]);
    let moved = Resource::Service(moved);
    fleet
        .roll_out(vec![moved.clone()], "1,100%")
        .await
        .expect("written");
    let cluster = fleet.cluster.clone();
    let held =
        "rollout 5 is running, and service web is of it: wait until it is over, or undo it first";
    assert_eq!(said(apply(&cluster, vec![web(3)]).await), held);
    let more = Resource::BackendSet(set("web-b", "web", &["10.0.0.7:80"]));
    assert_eq!(said(apply(&cluster, vec![more]).await), held);
    let refs = vec![reference(Kind::Service, "web")];
    let deleted = cluster.delete(refs, WriteOptions::default()).await;
    assert_eq!(said(deleted), held);
    let taken = Resource::Service(service("other", &["10.1.0.1:80"], &[]));
    assert_eq!(
        said(apply(&cluster, vec![taken]).await),
        "rollout 5 is running, and frontend 10.1.0.1:80/TCP of service web is of it: wait until it is \
         over, or undo it first"
    );
    let under_way = "rollout 5 is running: wait until it is over, or undo it first";
    let dns = Resource::Service(service("dns", &["10.1.0.2:53"], &["10.0.0.9:53"]));
    assert_eq!(
        said(fleet.roll_out(vec![dns.clone()], "100%").await),
        under_way
    );
    let back = cluster
        .roll_back(Revision(1), WriteOptions::default())
        .await;
    assert_eq!(said(back), under_way);
    // what stays as it is, and other services
    apply(&cluster, vec![moved, dns]).await.expect("written");
    fleet.read().await;
    assert_eq!(fleet.sent().len(), 3);
}

#[tokio::test]
async fn a_drain_touches_both_versions() {
    let mut fleet = Fleet::new(3).await;
    let without = service("web", &["10.1.0.1:80"], &["10.0.0.1:80*2"]);
    let target = |at: &str| vec![DrainTarget::Backend(service_name("web"), endpoint(at))];
    let rolled = fleet.roll_out(vec![Resource::Service(without)], "1,100%");
    rolled.await.expect("written");
    fleet.read().await;
    let first = fleet.sent();
    fleet.steer(Steering::Pause).await.expect("paused");
    fleet.take(&first).await;
    let drain = async |fleet: &Fleet, at: &str| {
        let drained = fleet
            .cluster
            .drain(target(at), DrainTerms::default(), Identity::Anonymous);
        drained.await.expect("drained").targets.len()
    };
    assert_eq!(drain(&fleet, "10.0.0.1:80").await, 3);
    assert_eq!(
        drain(&fleet, "10.0.0.2:80").await,
        2,
        "the third is without it"
    );
    fleet.take_all().await;
    let drained = |fleet: &Fleet, at: &str| {
        let key = backend("10.1.0.1:80", at, 1).key();
        let nodes = fleet.nodes.values();
        let items = nodes.filter_map(move |node| node.items.get(&key));
        items
            .filter(|item| matches!(item, Item::Backend(backend) if backend.drain.is_some()))
            .count()
    };
    assert_eq!(drained(&fleet, "10.0.0.1:80"), 3);
    assert_eq!(drained(&fleet, "10.0.0.2:80"), 2);
    fleet.steer(Steering::Resume).await.expect("resumed");
    fleet.take_all().await;
    assert_eq!(fleet.stands().await, (RolloutPhase::Done, 1, 3));
    // the drain of what is gone went with it
    let drains = fleet.cluster.drains().await.expect("drains").drains;
    assert_eq!(drains.len(), 1);
}

#[tokio::test]
async fn a_node_that_comes_meanwhile_holds_what_was_there_before_until_it_is_reached() {
    let mut fleet = Fleet::new(3).await;
    fleet
        .roll_out(vec![web(2)], "1,100%")
        .await
        .expect("written");
    fleet.steer(Steering::Pause).await.expect("paused");
    fleet.join("late").await;
    fleet.take_all().await;
    assert_eq!((fleet.holding(1), fleet.holding(2)), (3, 1));
    let waiting: BTreeSet<NodeName> = fleet.rollout().await.members.into_keys().collect();
    assert!(waiting.contains(&node_name("late")), "{waiting:?}");
    // one that goes is waited for no longer
    let gone = vec![reference(Kind::Node, "n0")];
    let deleted = fleet.cluster.delete(gone, WriteOptions::default());
    deleted.await.expect("deleted");
    fleet.nodes.remove("n0");
    fleet.steer(Steering::Resume).await.expect("resumed");
    fleet.take_all().await;
    assert_eq!(fleet.stands().await, (RolloutPhase::Done, 1, 3));
    assert_eq!(fleet.holding(2), 3);
}

#[tokio::test]
async fn a_batch_that_changes_nothing_begins_nothing_and_a_dry_run_neither() {
    let fleet = Fleet::new(1).await;
    let written = fleet.roll_out(vec![web(1)], "100%").await.expect("written");
    assert_eq!(written.changes, [(web(1).reference(), Outcome::Unchanged)]);
    let options = WriteOptions {
        canary: Some("100%".parse().expect("steps")),
        dry_run: true,
        ..WriteOptions::default()
    };
    let cluster = &fleet.cluster;
    let tried = cluster.apply(vec![web(2)], Places::default(), options);
    tried.await.expect("checked");
    let state = cluster.rollout().await.expect("an answer");
    assert_eq!(state.rollout, None);
    assert_eq!(
        said(fleet.steer(Steering::Undo).await),
        "there is no rollout"
    );
}

#[tokio::test]
async fn what_a_node_says_again_that_it_refuses_halts_it_after_a_restart() {
    let mut fleet = Fleet::new(3).await;
    fleet
        .roll_out(vec![web(2)], "1,100%")
        .await
        .expect("written");
    fleet.read().await;
    let first = fleet.sent();
    let sent = fleet.nodes[&first[0]].sent.clone().expect("an update");
    // it takes the update, and nobody hears of what it refuses of it
    fleet.cluster = start(&fleet.store);
    let held = Some((sent.generation, sent.digest));
    let session = connect(&fleet.cluster, &first[0], held).await;
    let again = Said::Accepted {
        generation: sent.generation,
        refused: vec![ItemFailure {
            key: backend("10.1.0.1:80", "10.0.0.1:80", 1).key(),
            errno: 0,
            cause: "an unknown kind".to_owned(),
            field: String::new(),
        }],
        refused_count: 1,
    };
    let name = node_name(&first[0]);
    let converged = Said::Converged {
        generation: sent.generation,
        failures: Vec::new(),
        failure_count: 0,
    };
    for said in [again, converged] {
        let said = fleet
            .cluster
            .said(name.clone(), session.id, vec![said])
            .await;
        assert_eq!(said, Ok(()));
    }
    assert_eq!(status(&fleet.cluster, &first[0]).await.failure_count, 1);
    assert_eq!(fleet.stands().await, (RolloutPhase::Halted, 0, 0));
}

#[tokio::test]
async fn the_drain_of_a_backend_that_goes_goes_with_it_whatever_is_rolled_out() {
    let mut fleet = Fleet::new(2).await;
    let cluster = fleet.cluster.clone();
    let dns = |behind: &[&str]| Resource::Service(service("dns", &["10.1.0.2:53"], behind));
    let both = dns(&["10.0.0.8:53", "10.0.0.9:53"]);
    apply(&cluster, vec![both]).await.expect("written");
    let at = DrainTarget::Backend(service_name("dns"), endpoint("10.0.0.9:53"));
    let drained = cluster.drain(vec![at], DrainTerms::default(), Identity::Anonymous);
    drained.await.expect("drained");
    fleet.take_all().await;
    fleet
        .roll_out(vec![web(2)], "1,100%")
        .await
        .expect("written");
    let one = dns(&["10.0.0.8:53"]);
    apply(&cluster, vec![one]).await.expect("written");
    let drains = cluster.drains().await.expect("drains").drains;
    assert_eq!(drains, Vec::new());
}

#[tokio::test]
async fn an_undo_by_who_is_no_admin_lets_nothing_go_that_a_node_held_back_before() {
    for (role, expected) in [(Role::Operator, 1), (Role::Admin, 2)] {
        let mut fleet = Fleet::new(2).await;
        fleet
            .roll_out(vec![web(2)], "1,100%")
            .await
            .expect("written");
        fleet.read().await;
        let first = fleet.sent();
        fleet.take(&first).await;
        assert_eq!(
            fleet.sent().len(),
            1,
            "the other has yet to do as it is told"
        );
        let who = Identity::Operator {
            name: node_name("alice"),
            role,
        };
        let undone = fleet.cluster.steer(Steering::Undo, None, who).await;
        assert_eq!(undone.expect("undone").targets.len(), 2);
        let confirmed = fleet.store.saved().confirmed;
        assert_eq!(confirmed.len(), expected, "{role}: {confirmed:?}");
        assert!(confirmed.contains_key(&node_name(&first[0])));
    }
}
