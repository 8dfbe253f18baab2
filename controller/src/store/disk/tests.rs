use std::collections::BTreeMap;
use std::sync::Arc;

use weir_proto::model::{
    AskedDrain, Capability, DrainTarget, DrainTerms, Kind, OnDeadline, Resource, RolloutPhase,
};

use super::*;
use crate::desired::samples::{
    capability, endpoint, node, node_name, service, service_name, set, stored_at,
};
use crate::desired::{Count, Outcome, Past, Rollout, reference};

fn resources() -> Vec<Resource> {
    vec![
        Resource::Service(service("web", &["10.1.0.1:80"], &["10.0.0.1:80@a*3"])),
        Resource::BackendSet(set("pods", "web", &["10.0.0.2:80"])),
        Resource::Node(node("a", &[("rack", "3")])),
    ]
}

fn known() -> Vec<Capability> {
    vec![
        capability("ip_vs", ""),
        capability("scheduler_twos", "load the module ip_vs_twos"),
    ]
}

fn past(revision: u64) -> Past {
    let before = stored_at(resources().remove(0), revision - 1);
    let changes = [
        (before.resource.reference(), Outcome::Updated),
        (reference(Kind::Node, "a"), Outcome::Created),
    ];
    Past {
        revision: Revision(revision),
        unix_ms: 1_000 + revision,
        who: "admin/alice".to_owned(),
        what: "rollback to 3".to_owned(),
        changes: changes.clone().into(),
        drains: vec![DrainTarget::Node(node_name("b"))],
        before: Some([(changes[0].0.clone(), written_resource(&before).into())].into()),
    }
}

fn forgotten(revision: u64) -> Past {
    Past {
        before: None,
        ..past(revision)
    }
}

#[tokio::test]
async fn what_was_committed_is_there_when_the_store_is_opened_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = || DiskStore::open(directory.path().to_owned());
    let digest = Digest::from_bytes([7; 16]);
    let cluster;
    let drained = |name| DrainTarget::Node(node_name(name));
    let asked = AskedDrain {
        terms: DrainTerms {
            deadline: None,
            on_deadline: Some(OnDeadline::Reset),
        },
        at_unix_ms: 77,
    };
    let backend = DrainTarget::Backend(service_name("web"), endpoint("10.0.0.1:80"));
    {
        let (store, saved) = open().await.expect("a store");
        assert_eq!(saved.cluster.len(), 32, "{:?}", saved.cluster);
        let nothing = Saved {
            cluster: saved.cluster.clone(),
            ..Saved::default()
        };
        assert_eq!(saved, nothing);
        cluster = saved.cluster;
        let resources = resources().into_iter();
        let write = Write {
            revision: Revision(4),
            resources: resources
                .map(|resource| {
                    let reference = resource.reference();
                    (reference, Some(Arc::new(stored_at(resource, 4))))
                })
                .collect(),
            nodes: BTreeMap::from([
                (node_name("a"), Some((Generation(9), digest))),
                (node_name("b"), Some((Generation(1), digest))),
            ]),
            served: true,
            capabilities: ["a", "b"].map(|name| (node_name(name), known())).into(),
            drains: BTreeMap::from([(backend.clone(), Some(asked)), (drained("b"), Some(asked))]),
            confirmed: BTreeMap::from([
                (node_name("a"), Some(Generation(8))),
                (node_name("b"), Some(Generation(1))),
            ]),
            named: ["a", "b"].map(|name| (node_name(name), true)).into(),
            history: [1, 2, 4]
                .map(|revision| (Revision(revision), Some(past(revision).into())))
                .into(),
            rollout: Some(rollout(4)),
        };
        store.commit(write).await.expect("durable");
        let write = Write {
            revision: Revision(5),
            resources: BTreeMap::from([(reference(Kind::BackendSet, "pods"), None)]),
            nodes: BTreeMap::from([(node_name("b"), None)]),
            served: true,
            capabilities: BTreeMap::from([(node_name("b"), Vec::new())]),
            drains: BTreeMap::from([(drained("b"), None)]),
            confirmed: BTreeMap::from([(node_name("b"), None)]),
            named: BTreeMap::from([(node_name("b"), false)]),
            history: BTreeMap::from([
                (Revision(1), None),
                (Revision(2), Some(forgotten(2).into())),
            ]),
            rollout: None,
        };
        store.commit(write).await.expect("durable");
    }
    let (_, mut saved) = open().await.expect("a store");
    saved
        .resources
        .sort_by_key(|stored| stored.resource.reference());
    let mut kept = resources();
    kept.retain(|resource| resource.reference().kind != Kind::BackendSet);
    kept.sort_by_key(Resource::reference);
    let kept = kept.into_iter().map(|resource| stored_at(resource, 4));
    assert_eq!(
        saved,
        Saved {
            cluster,
            revision: Revision(5),
            resources: kept.collect(),
            nodes: BTreeMap::from([(node_name("a"), (Generation(9), digest))]),
            served: true,
            capabilities: BTreeMap::from([(node_name("a"), known())]),
            drains: BTreeMap::from([(backend, asked)]),
            confirmed: BTreeMap::from([(node_name("a"), Generation(8))]),
            named: [node_name("a")].into(),
            history: [(2, forgotten(2)), (4, past(4))]
                .map(|(revision, past)| (Revision(revision), past))
                .into(),
            rollout: Some(rollout(4)),
        }
    );
}

fn rollout(revision: u64) -> Rollout {
    Rollout {
        revision: Revision(revision),
        canary: "1,100%".parse().expect("steps"),
        step: 0,
        phase: RolloutPhase::Running,
        reason: String::new(),
        before: Arc::default(),
        services: [service_name("web")].into(),
        members: BTreeMap::new(),
        who: "anonymous".to_owned(),
        begun_unix_ms: 1,
        changed_unix_ms: 1,
        allow_mass_delete: false,
        usual: Count::default(),
    }
}

#[tokio::test]
async fn every_store_is_another_cluster() {
    let mut clusters = Vec::new();
    for _ in 0..2 {
        let directory = tempfile::tempdir().expect("a directory");
        let (_, saved) = DiskStore::open(directory.path().to_owned())
            .await
            .expect("a store");
        clusters.push(saved.cluster);
    }
    assert_ne!(clusters[0], clusters[1]);
}

#[test]
fn a_record_that_cannot_be_read_is_named() {
    for (key, payload) in [
        ("meta/revision", &b"short"[..]),
        ("node/a", b"short"),
        ("node/A B", &[0; 24]),
        ("capabilities/a", b"\xff\xff"),
        ("meta/cluster", b"\xff\xff"),
        ("drain/nodes[a]", b"\xff\xff"),
        ("drain/nodes[a]", b""),
        ("confirmed/a", b"short"),
        ("resource/services/web", b"\xff\xff"),
        ("history/7", b"\xff\xff"),
        ("history/7", b"\x02\x08\x08"),
        ("history/7", b"\x02\x08\x07\x03"),
        ("something/else", b""),
    ] {
        let records = Records::from([(key.as_bytes().to_vec(), payload.to_vec())]);
        let error = read(&records).expect_err(key);
        assert_eq!(error.to_string(), format!("record {key:?} cannot be read"));
    }
}
