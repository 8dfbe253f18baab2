//! Nodes that take nothing of what they are sent, or hold it back.

use super::*;
use weir_proto::model::Hold;

impl Fleet {
    /// Lets a node refuse the whole of what it was sent.
    async fn reject(&mut self, name: &str, reason: RejectedReason) {
        self.read().await;
        let node = self.nodes.get_mut(name).expect("a node");
        let update = node.sent.take().expect("it was sent something");
        let said = Said::Rejected(Rejected {
            generation: update.generation,
            reason,
            cause: "it cannot be".to_owned(),
            held: node.held,
        });
        let said = self
            .cluster
            .said(node_name(name), node.session.id, vec![said]);
        assert_eq!(said.await, Ok(()));
        self.read().await;
    }

    fn generation(&self, name: &str) -> Generation {
        let sent = self.nodes[name].sent.as_ref();
        sent.expect("it was sent something").generation
    }
}

#[tokio::test]
async fn a_node_that_takes_nothing_halts_it_each_time_it_is_asked() {
    for (reason, tries) in [
        (RejectedReason::Invalid, 1),
        (RejectedReason::Journal, 1),
        (RejectedReason::Digest, 2),
    ] {
        let mut fleet = Fleet::new(3).await;
        let rolled = fleet.roll_out(vec![web(2)], "1,100%");
        let (first, _) = rolled.await.expect("written").targets[0].clone();
        fleet.read().await;
        let halted = RolloutPhase::Halted;
        for asked in 0..2 {
            for _ in 1..tries {
                fleet.reject(first.as_str(), reason).await;
                assert_eq!(fleet.stands().await, (RolloutPhase::Running, 0, 0));
            }
            let generation = fleet.generation(first.as_str());
            fleet.reject(first.as_str(), reason).await;
            assert_eq!(fleet.stands().await, (halted, 0, 0), "{reason:?} {asked}");
            let why = format!(
                "node {first} refuses generation {generation}: {}: it cannot be",
                reason.as_str()
            );
            assert_eq!(fleet.rollout().await.reason, why);
            assert_eq!(fleet.store.saved().rollout.expect("kept").reason, why);
            assert_eq!(fleet.sent(), Vec::<String>::new(), "nobody is sent more");
            fleet.steer(Steering::Resume).await.expect("resumed");
            fleet.read().await;
            assert_eq!(fleet.sent(), [first.to_string()], "it is asked once more");
            assert_eq!(fleet.stands().await, (RolloutPhase::Running, 0, 0));
        }
        fleet.take_all().await;
        assert_eq!(fleet.stands().await, (RolloutPhase::Done, 1, 3));
    }
}

#[tokio::test]
async fn what_a_node_did_not_take_before_halts_the_next_rollout_of_the_same() {
    let mut fleet = Fleet::new(1).await;
    let rolled = fleet.roll_out(vec![web(2)], "100%");
    rolled.await.expect("written");
    fleet.reject("n0", RejectedReason::Invalid).await;
    let undone = fleet.steer(Steering::Undo).await;
    undone.expect("undone");
    fleet.take_all().await;
    let rolled = fleet.roll_out(vec![web(2)], "100%");
    rolled.await.expect("written");
    fleet.read().await;
    assert_eq!(
        fleet.sent(),
        Vec::<String>::new(),
        "it is known what it says"
    );
    assert_eq!(fleet.stands().await, (RolloutPhase::Halted, 0, 0));
    assert_eq!(
        fleet.rollout().await.reason,
        "node n0 refuses generation 2: INVALID: it cannot be"
    );
}

#[tokio::test]
async fn a_later_step_confirms_nothing_that_others_wrote_since() {
    let mut fleet = Fleet::new(2).await;
    let options = WriteOptions {
        canary: Some("1,100%".parse().expect("steps")),
        allow_mass_delete: true,
        ..WriteOptions::default()
    };
    let cluster = fleet.cluster.clone();
    let rolled = cluster.apply(vec![web(2)], Places::default(), options);
    let (first, _) = rolled.await.expect("written").targets[0].clone();
    let second = fleet.nodes.keys().find(|name| **name != *first.as_str());
    let second = second.expect("two nodes").clone();
    let dns = Resource::Service(service("dns", &["10.1.0.2:53"], &["10.0.0.9:53"]));
    apply(&cluster, vec![dns]).await.expect("written");
    fleet.take(&[first.to_string()]).await;
    fleet.take(&[first.to_string()]).await;
    assert_eq!(fleet.stands().await, (RolloutPhase::Running, 0, 1));
    let confirmed: Vec<NodeName> = fleet.store.saved().confirmed.into_keys().collect();
    assert_eq!(confirmed, std::slice::from_ref(&first));
    // it is told why it is not its turn yet
    let hold = Hold {
        generation: fleet.generation(&second),
        dropped: 20,
        served: 30,
        since_unix_ms: 0,
        cause: "would take away 20 of 30 virtual services".to_owned(),
    };
    let node = &fleet.nodes[&second];
    for (hold, told) in [
        (
            Some(hold),
            Some("holds back generation 2: would take away 20 of 30 virtual services".to_owned()),
        ),
        (None, None),
    ] {
        let degraded = None;
        let said = Said::Condition { hold, degraded };
        let said = cluster.said(node_name(&second), node.session.id, vec![said]);
        assert_eq!(said.await, Ok(()));
        let rollout = fleet.rollout().await;
        assert_eq!(rollout.members[&node_name(&second)].held, told);
        assert_eq!(rollout.reached(), [first.clone()].into());
    }
    // it has done what others wrote: what it is sent now is the rollout's alone
    fleet.take(std::slice::from_ref(&second)).await;
    let reached = fleet.generation(&second);
    let confirmed = fleet.store.saved().confirmed;
    assert_eq!(confirmed.get(&node_name(&second)), Some(&reached));
    fleet.take_all().await;
    assert_eq!(fleet.stands().await, (RolloutPhase::Done, 1, 2));
}
