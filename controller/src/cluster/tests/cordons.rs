//! A cordon is a write of its node like any other.

use super::*;
use crate::cluster::why::WhyQuery;
use crate::desired::reference;
use crate::desired::samples::frontend;
use crate::desired::why::Visit;

fn b(cordoned: bool) -> Resource {
    Resource::Node(Node {
        cordoned,
        ..node("b", &[])
    })
}

/// A service for the nodes of a rack.
fn of_rack(name: &str, rack: &str, frontend: &str, behind: &[&str]) -> Resource {
    Resource::Service(Service {
        node_selector: labels(&[("rack", rack)]),
        ..service(name, &[frontend], behind)
    })
}

/// Node a holds a service with a backend on node b, node c one without.
async fn cluster_of(store: &MemoryStore) -> Cluster {
    let cluster = start(store);
    let resources = vec![
        Resource::Node(node("a", &[("rack", "1")])),
        b(false),
        Resource::Node(node("c", &[("rack", "3")])),
        of_rack(
            "web",
            "1",
            "10.1.0.1:80",
            &["10.0.0.1:80@b*5", "10.0.0.2:80"],
        ),
        of_rack("dns", "3", "10.1.0.2:53", &["10.0.0.3:53@c"]),
    ];
    apply(&cluster, resources).await.expect("written");
    cluster
}

/// Connects a node, and gives it what it must hold.
async fn settled(cluster: &Cluster, name: &str) -> (Session, Update) {
    let mut session = connect(cluster, name, None).await;
    let whole = update(&mut session).await;
    accept(cluster, name, &session, whole.generation).await;
    (session, whole)
}

#[tokio::test]
async fn a_cordon_is_one_item_for_a_backend_that_runs_there_and_nothing_for_other_nodes() {
    let store = MemoryStore::default();
    let cluster = cluster_of(&store).await;
    let (mut a, _) = settled(&cluster, "a").await;
    let (mut c, _) = settled(&cluster, "c").await;
    let mut expected = 0;
    for (cordoned, weight) in [(true, 0), (false, 5), (true, 0)] {
        let written = apply(&cluster, vec![b(cordoned)]).await.expect("written");
        let delta = update(&mut a).await;
        let edited = vec![backend("10.1.0.1:80", "10.0.0.1:80", weight)];
        assert_eq!(flat(&delta.content), (edited, vec![]));
        assert_eq!(written.targets, [(node_name("a"), delta.generation)]);
        accept(&cluster, "a", &a, delta.generation).await;
        nothing_is_sent(&cluster, &mut c).await;
        expected = written.revision.0;
    }
    // it is what changed last for those who ask why the service is not reached
    let query = WhyQuery {
        visit: Visit {
            frontend: frontend("10.1.0.1:80"),
            client: None,
        },
        nodes: Vec::new(),
    };
    let last = cluster.why(query).await.expect("known").last;
    let last = last.map(|past| past.revision);
    assert_eq!(last, Some(Revision(expected)));
    let all = cluster.statuses(Vec::new()).await.expect("statuses").nodes;
    let cordoned = all.iter().filter(|status| status.cordoned);
    let cordoned: Vec<_> = cordoned.map(|status| status.name.as_str()).collect();
    assert_eq!(cordoned, ["b"]);

    let history = cluster.history(1).await.expect("a history");
    let newest = &history.writes[0];
    assert_eq!(
        (newest.revision, newest.what.clone(), newest.changes.clone()),
        (
            Revision(expected),
            "apply".to_owned(),
            vec![(reference(Kind::Node, "b"), Outcome::Updated)]
        )
    );

    // another controller, from what is durable
    let again = start(&store);
    let known = again.get(b(true).reference()).await.expect("there");
    assert_eq!(known.resource, b(true));
    let (_, whole) = settled(&again, "a").await;
    assert!(
        flat(&whole.content)
            .0
            .contains(&backend("10.1.0.1:80", "10.0.0.1:80", 0))
    );
}

#[tokio::test]
async fn an_agent_that_registers_again_and_a_drain_that_ends_leave_a_cordon_alone() {
    let cluster = cluster_of(&MemoryStore::default()).await;
    apply(&cluster, vec![b(true)]).await.expect("written");
    let _b = connect(&cluster, "b", None).await;
    let target = vec![DrainTarget::Node(node_name("b"))];
    let by = || WriteOptions::default().who;
    let drained = cluster.drain(target.clone(), DrainTerms::default(), by());
    drained.await.expect("drained");
    cluster.undrain(target, by()).await.expect("undrained");
    let known = cluster.get(b(true).reference()).await.expect("there");
    assert_eq!(known.resource, b(true));
    let (_a, whole) = settled(&cluster, "a").await;
    assert!(
        flat(&whole.content)
            .0
            .contains(&backend("10.1.0.1:80", "10.0.0.1:80", 0))
    );
}
