use std::net::IpAddr;

use weir_proto::convert::{FieldError, FieldErrors};
use weir_proto::model::Role;

use super::*;
use crate::desired::reference;

fn alice() -> Identity {
    Identity::Operator {
        role: Role::Admin,
        name: node_name("alice"),
    }
}

fn options() -> WriteOptions {
    WriteOptions::by(alice())
}

/// What the history says, the newest first: the revision, who, what, the changes and the drains.
async fn history(cluster: &Cluster) -> Vec<String> {
    let history = cluster.history(100).await.expect("a history");
    let told = history.writes.iter().map(|past| {
        let changes = past.changes.iter();
        let changes: Vec<String> = changes
            .map(|(reference, outcome)| format!("{reference} {outcome:?}"))
            .chain(past.drains.iter().map(ToString::to_string))
            .collect();
        let changes = changes.join(", ");
        format!("{} {} {}: {changes}", past.revision, past.who, past.what)
    });
    told.collect()
}

async fn roll_back(cluster: &Cluster, to: u64) -> Result<Written, Refusal> {
    cluster.roll_back(Revision(to), options()).await
}

async fn resource(cluster: &Cluster, of: &Resource) -> Option<Resource> {
    let got = cluster.get(of.reference()).await.ok()?;
    Some(got.resource.clone())
}

#[tokio::test]
async fn the_history_tells_who_did_what_when_and_survives_a_restart() {
    let store = MemoryStore::default();
    let cluster = start(&store);
    apply(&cluster, vec![web(1)]).await.expect("written");
    let _session = connect(&cluster, "a", None).await;
    let dns = Resource::Service(service("dns", &["10.1.0.2:53"], &[]));
    let both = cluster.apply(vec![web(1), dns], Places::default(), options());
    assert_eq!(both.await.expect("written").revision, Revision(3));
    let target = vec![DrainTarget::Node(node_name("a"))];
    let drained = cluster.drain(target.clone(), DrainTerms::default(), alice());
    drained.await.expect("drained");
    cluster.undrain(target, alice()).await.expect("undrained");
    let refs = vec![reference(Kind::Service, "dns")];
    cluster.delete(refs, options()).await.expect("deleted");
    let told = [
        "6 admin/alice delete: services[dns] Deleted",
        "5 admin/alice undrain: nodes[a]",
        "4 admin/alice drain: nodes[a]",
        "3 admin/alice apply: services[dns] Created",
        "1 anonymous apply: services[web] Created",
    ];
    assert_eq!(history(&cluster).await, told);
    let newest = cluster.history(1).await.expect("a history");
    assert_eq!((newest.writes.len(), newest.revision), (1, Revision(6)));
    assert!(newest.writes[0].unix_ms > 0);

    let cluster = start(&store);
    assert_eq!(history(&cluster).await, told);
    roll_back(&cluster, 3).await.expect("it is known");
    assert_eq!(
        history(&cluster).await[0],
        "7 admin/alice rollback to 3: services[dns] Created"
    );
}

#[tokio::test]
async fn a_rollback_gives_back_what_was_and_can_be_rolled_back_itself() {
    let store = MemoryStore::default();
    let cluster = start(&store);
    let dns = Resource::Service(service("dns", &["10.1.0.2:53"], &[]));
    apply(&cluster, vec![web(1)]).await.expect("written");
    apply(&cluster, vec![web(2)]).await.expect("written");
    apply(&cluster, vec![web(3), dns.clone()])
        .await
        .expect("written");
    let refs = vec![web(1).reference()];
    cluster.delete(refs, options()).await.expect("deleted");

    let tried = WriteOptions {
        dry_run: true,
        ..options()
    };
    let tried = cluster.roll_back(Revision(2), tried).await.expect("tried");
    let changes = vec![
        (dns.reference(), Outcome::Deleted),
        (web(2).reference(), Outcome::Created),
    ];
    assert_eq!((tried.revision, &tried.changes), (Revision(4), &changes));
    assert_eq!(resource(&cluster, &web(2)).await, None);
    let late = WriteOptions {
        expected: Some(Revision(3)),
        ..options()
    };
    let late = cluster.roll_back(Revision(2), late).await;
    assert!(matches!(late, Err(Refusal::Revision { .. })), "{late:?}");

    let back = roll_back(&cluster, 2).await.expect("it is known");
    assert_eq!((back.revision, back.changes), (Revision(5), changes));
    assert_eq!(resource(&cluster, &web(2)).await, Some(web(2)));
    assert_eq!(resource(&cluster, &dns).await, None);
    roll_back(&cluster, 4).await.expect("it is known");
    assert_eq!(resource(&cluster, &web(2)).await, None);
    assert_eq!(resource(&cluster, &dns).await, Some(dns));
    let same = roll_back(&cluster, 6).await.expect("it is now");
    assert_eq!((same.revision, same.changes), (Revision(6), Vec::new()));
    roll_back(&cluster, 0).await.expect("before the oldest");
    assert_eq!(store.saved().resources, []);
}

#[tokio::test]
async fn a_revision_that_is_not_kept_or_yet_to_come_is_out_of_range() {
    let store = MemoryStore::default();
    let cluster = start(&store);
    for number in 0..103 {
        apply(&cluster, vec![web(number % 2)])
            .await
            .expect("written");
    }
    for to in [2, 104] {
        let refused = roll_back(&cluster, to).await.expect_err("out of range");
        let text = format!(
            "revision {to} cannot be gone back to: the history knows what was from revision 3 on, and the cluster is at 103"
        );
        assert_eq!(refused.to_string(), text);
    }
    assert_eq!(store.saved().history.len(), 100);
    let back = roll_back(&cluster, 3).await.expect("the oldest");
    assert_eq!(back.changes, [(web(0).reference(), Outcome::Unchanged)]);
    assert_eq!(resource(&cluster, &web(0)).await, Some(web(0)));
}

#[tokio::test]
async fn what_can_no_longer_be_applied_is_refused_with_its_field() {
    let cluster = start(&MemoryStore::default());
    apply(&cluster, vec![web(1)]).await.expect("written");
    let refs = vec![web(1).reference()];
    cluster.delete(refs, options()).await.expect("deleted");
    let mut there = node("a", &[]);
    there.addresses = vec![IpAddr::from([10, 1, 0, 1])];
    let there = Resource::Node(there);
    apply(&cluster, vec![there]).await.expect("written");
    let refused = roll_back(&cluster, 1).await;
    let Err(Refusal::Fields(FieldErrors(errors))) = refused else {
        panic!("{refused:?}");
    };
    let paths = errors.iter().map(|FieldError { path, .. }| path.as_str());
    let paths: Vec<&str> = paths.collect();
    assert_eq!(paths, ["services[web].frontends[10.1.0.1:80/TCP]"]);
}

#[tokio::test]
async fn which_nodes_there_are_where_and_what_is_drained_is_left_alone() {
    let cluster = start(&MemoryStore::default());
    let at = |name: &str, host: u8, rack: &str| Node {
        addresses: vec![IpAddr::from([10, 2, 0, host])],
        ..node(name, &[("rack", rack)])
    };
    let resources = ["a", "b"].map(|name| Resource::Node(at(name, 1, "1")));
    apply(&cluster, resources.into()).await.expect("written");
    apply(&cluster, vec![web(1)]).await.expect("written");
    let a = Resource::Node(at("a", 1, "2"));
    apply(&cluster, vec![a.clone()]).await.expect("written");
    let refs = vec![reference(Kind::Node, "b")];
    cluster.delete(refs, options()).await.expect("deleted");
    let hello = |name: &str, host| Hello {
        node: at(name, host, "9"),
        agent_version: "1".to_owned(),
        held: None,
        capabilities: Vec::new(),
    };
    cluster.hello(hello("a", 7)).await.expect("a session");
    cluster.hello(hello("c", 3)).await.expect("a session");
    let target = vec![DrainTarget::Node(node_name("a"))];
    let drained = cluster.drain(target, DrainTerms::default(), alice());
    drained.await.expect("drained");

    // c was not there at 2, and nobody wants it now
    let refs = vec![reference(Kind::Node, "c")];
    cluster.delete(refs, options()).await.expect("deleted");
    roll_back(&cluster, 2).await.expect("it is known");
    let a = Resource::Node(at("a", 7, "1"));
    assert_eq!(resource(&cluster, &a).await, Some(a));
    for gone in [at("b", 1, "1"), at("c", 3, "9")] {
        assert_eq!(resource(&cluster, &Resource::Node(gone)).await, None);
    }
    // what registers again has the labels that an operator gave it
    cluster.hello(hello("b", 8)).await.expect("a session");
    roll_back(&cluster, 2).await.expect("it is known");
    let b = Resource::Node(at("b", 8, "1"));
    assert_eq!(resource(&cluster, &b).await, Some(b));
    let drains = cluster.drains().await.expect("drains").drains;
    assert_eq!(drains.len(), 1);
}
