//! What nodes hold back, and what operators confirm.

use tonic::{Code, Status};
use weir_proto::wire;
use weir_proto::wire::sync_request::Message;

use crate::rig::{Agent, Rig, reference, web};

fn hold(generation: u64) -> wire::Hold {
    wire::Hold {
        generation,
        dropped: 12,
        served: 20,
        since_unix_ms: 1_000,
        cause: "it drops 12 of 20 services".to_owned(),
    }
}

fn condition(hold: Option<wire::Hold>) -> Message {
    let degraded = None;
    Message::Condition(wire::Condition { hold, degraded })
}

async fn release(rig: &Rig, name: &str) -> Result<u64, Status> {
    let name = name.to_owned();
    let request = wire::ReleaseNodeRequest { name };
    let released = rig.operator().await.release_node(request).await;
    released.map(|answer| answer.into_inner().generation)
}

/// A node that took its second generation and holds it back.
async fn held(rig: &Rig) -> (Agent, Vec<u8>) {
    rig.apply(vec![web("web", 1, &[1])]).await;
    let mut agent = rig.agent("a", None).await;
    let first = agent.hears_next(1).await;
    agent.converge(&first).await;
    rig.apply(vec![web("web", 1, &[2])]).await;
    let second = agent.hears_next(2).await;
    assert!(!second.allow_mass_delete);
    let accepted = wire::Accepted {
        generation: 2,
        ..wire::Accepted::default()
    };
    agent.say(Message::Accepted(accepted)).await;
    agent.say(condition(Some(hold(2)))).await;
    rig.node("a", |node| node.hold.is_some()).await;
    (agent, second.digest)
}

#[tokio::test]
async fn a_node_that_holds_back_is_shown_and_released() {
    let rig = Rig::start().await;
    let (mut agent, _) = held(&rig).await;
    let node = rig.node("a", |node| node.hold.is_some()).await;
    assert_eq!(node.hold, Some(hold(2)));
    assert_eq!(release(&rig, "a").await.expect("released"), 2);
    assert_eq!(agent.release().await, 2);
    agent.say(condition(None)).await;
    rig.node("a", |node| node.hold.is_none()).await;
    // what it holds back later is another matter
    rig.apply(vec![web("web", 1, &[3])]).await;
    let third = agent.hears_next(3).await;
    assert!(!third.allow_mass_delete);
}

#[tokio::test]
async fn a_release_covers_what_was_sent_before_it() {
    let rig = Rig::start().await;
    let (mut agent, _) = held(&rig).await;
    rig.apply(vec![web("web", 1, &[3])]).await;
    agent.hears_next(3).await;
    assert_eq!(release(&rig, "a").await.expect("released"), 3);
    assert_eq!(agent.release().await, 3);
}

#[tokio::test]
async fn a_release_is_said_again_until_the_node_holds_nothing_back() {
    let rig = Rig::start().await;
    let (agent, digest) = held(&rig).await;
    release(&rig, "a").await.expect("released");
    drop(agent);
    rig.node("a", |node| !node.connected).await;
    let mut agent = rig.agent("a", Some((2, &digest))).await;
    let node = rig.node("a", |node| node.connected).await;
    assert_eq!(node.hold, None, "it has yet to say so on this stream");
    agent.say(condition(Some(hold(2)))).await;
    assert_eq!(agent.release().await, 2);
    // once on a stream: what is said next is an update
    agent.say(condition(Some(hold(2)))).await;
    rig.apply(vec![web("other", 2, &[1])]).await;
    agent.hears_next(3).await;
    // nor does a controller that restarts forget it
    let rig = rig.restart().await;
    let mut agent = rig.agent("a", Some((2, &digest))).await;
    agent.hears_next(3).await;
    agent.say(condition(Some(hold(2)))).await;
    assert_eq!(agent.release().await, 2);
}

#[tokio::test]
async fn what_cannot_be_released_is_told_apart() {
    let rig = Rig::start().await;
    let missing = release(&rig, "a").await.expect_err("refused");
    assert_eq!(
        (missing.code(), missing.message()),
        (Code::NotFound, "not found: nodes[a]")
    );
    let bad = release(&rig, "").await.expect_err("refused");
    assert_eq!(bad.code(), Code::InvalidArgument);
    let agent = rig.agent("a", None).await;
    let nothing = release(&rig, "a").await.expect_err("refused");
    assert_eq!(
        (nothing.code(), nothing.message()),
        (Code::FailedPrecondition, "node a holds nothing back")
    );
    drop(agent);
    rig.node("a", |node| !node.connected).await;
    let away = release(&rig, "a").await.expect_err("refused");
    assert_eq!(
        (away.code(), away.message()),
        (
            Code::FailedPrecondition,
            "node a is not connected: release it when it is back"
        )
    );
}

#[tokio::test]
async fn what_an_operator_allows_is_said_with_the_update_unless_more_came_since() {
    let rig = Rig::start().await;
    rig.apply(vec![web("web", 1, &[1])]).await;
    let mut agent = rig.agent("a", None).await;
    let first = agent.hears_next(1).await;
    assert!(!first.allow_mass_delete);
    agent.converge(&first).await;
    rig.apply_with(vec![web("web", 1, &[2])], true).await;
    let second = agent.hears_next(2).await;
    assert!(second.allow_mass_delete);
    agent.converge(&second).await;
    // it is of that change alone
    rig.apply(vec![web("web", 1, &[3])]).await;
    let third = agent.hears_next(3).await;
    assert!(!third.allow_mass_delete);
    agent.converge(&third).await;
    rig.node("a", |node| node.converged_generation == 3).await;
    drop(agent);
    rig.node("a", |node| !node.connected).await;

    rig.apply_with(vec![web("web", 1, &[4])], true).await;
    // late, as a delta
    let mut agent = rig.agent("a", Some((3, &third.digest))).await;
    let late = agent.hears_next(4).await;
    assert_eq!((late.base_generation, late.allow_mass_delete), (3, true));
    drop(agent);
    // after a restart, whole, since a controller that starts has no history
    let rig = rig.restart().await;
    let mut agent = rig.agent("a", Some((3, &third.digest))).await;
    let whole = agent.hears_next(4).await;
    assert_eq!((whole.base_generation, whole.allow_mass_delete), (0, true));
    drop(agent);
    rig.node("a", |node| !node.connected).await;
    // of one that holds nothing it is not known what it would drop
    let mut agent = rig.agent("a", None).await;
    assert!(!agent.hears_next(4).await.allow_mass_delete);
    drop(agent);
    rig.node("a", |node| !node.connected).await;
    // together with a change that nobody has confirmed: the node judges, and a person looks
    rig.apply(vec![web("web", 1, &[5])]).await;
    let mut agent = rig.agent("a", Some((3, &third.digest))).await;
    assert!(!agent.hears_next(5).await.allow_mass_delete);
}

#[tokio::test]
async fn the_same_batch_with_leave_lets_go_what_it_led_to() {
    let rig = Rig::start().await;
    let (mut agent, digest) = held(&rig).await;
    let same = rig.apply_with(vec![web("web", 1, &[2])], true).await;
    assert_eq!(same.revision, 3, "nothing is written");
    assert_eq!(agent.release().await, 2);
    drop(agent);
    let rig = rig.restart().await;
    let mut agent = rig.agent("a", Some((2, &digest))).await;
    agent.say(condition(Some(hold(2)))).await;
    assert_eq!(agent.release().await, 2);
}

#[tokio::test]
async fn a_dry_run_with_leave_releases_nobody() {
    let rig = Rig::start().await;
    let (mut agent, _) = held(&rig).await;
    let request = wire::ApplyRequest {
        resources: vec![web("web", 1, &[2])],
        dry_run: true,
        allow_mass_delete: true,
        ..wire::ApplyRequest::default()
    };
    let tried = rig.operator().await.apply(request).await;
    tried.expect("tried");
    rig.apply(vec![web("web", 1, &[3])]).await;
    assert!(!agent.hears_next(3).await.allow_mass_delete);
}

#[tokio::test]
async fn a_deletion_with_leave_releases_the_nodes_that_it_changes() {
    let rig = Rig::start().await;
    rig.apply(vec![web("other", 2, &[1])]).await;
    let (mut agent, _) = held(&rig).await;
    let request = wire::DeleteRequest {
        refs: vec![reference(wire::Kind::Service, "other")],
        allow_mass_delete: true,
        ..wire::DeleteRequest::default()
    };
    let deleted = rig.operator().await.delete(request).await;
    deleted.expect("deleted");
    assert_eq!(agent.release().await, 3);
    assert!(agent.hears_next(3).await.allow_mass_delete);
}

#[tokio::test]
async fn a_cluster_keeps_its_name_over_a_restart_and_an_empty_store_has_another() {
    let rig = Rig::start().await;
    rig.apply(vec![web("web", 1, &[1])]).await;
    let mut agent = rig.agent("a", None).await;
    let cluster = agent.update().await.cluster;
    assert_eq!(cluster.len(), 32, "{cluster:?}");
    let rig = rig.restart().await;
    let mut agent = rig.agent("a", None).await;
    assert_eq!(agent.update().await.cluster, cluster);
    let empty = Rig::start().await;
    let mut agent = empty.agent("a", Some((1, &[3; 16]))).await;
    // it says nothing before it has something to say
    empty.apply(vec![web("web", 1, &[1])]).await;
    let other = agent.hears_next(2).await;
    assert_ne!(other.cluster, cluster);
    assert!(!other.allow_mass_delete);
}
