use std::collections::BTreeMap;
use std::sync::Arc;

use weir_proto::digest::Digest;
use weir_proto::model::{
    AskedDrain, Capability, DrainTarget, DrainTerms, Generation, Kind, OnDeadline, Resource,
    RolloutPhase,
};

use super::*;
use crate::desired::events::EventObject;
use crate::desired::samples::{
    capability, endpoint, node, node_name, service, service_name, set, stored_at,
};
use crate::desired::{Count, Event, Outcome, Past, Reason, Rollout, reference};

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
        let (mut store, saved) = open().await.expect("a store");
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
            events: [(0, 1), (1, 1)]
                .map(|(slot, count)| (slot, event(slot, count).into()))
                .into(),
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
            events: [(1, event(1, 2).into())].into(),
        };
        store.commit(write).await.expect("durable");
        let alone = [(9_999, event(7, 1).into())].into();
        store.keep(alone).await.expect("durable");
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
            events: [(0, event(0, 1)), (1, event(1, 2)), (9_999, event(7, 1))].into(),
        }
    );
}

fn event(number: u16, count: u64) -> Event {
    Event {
        number: number.into(),
        reason: Reason::NodeDisconnected,
        node: Some(node_name("a")),
        object: Some(EventObject::node(&node_name("a"))),
        part: String::new(),
        who: String::new(),
        message: "its stream ended: closed".to_owned(),
        first_unix_ms: 5,
        last_unix_ms: 6,
        count,
    }
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
        ("nodes/00", b"\x04node"),
        ("nodes/00", b""),
        ("nodes/40", b""),
        ("node/a", &[0; 24]),
        ("capabilities/a", b"\xff\xff"),
        ("meta/cluster", b"\xff\xff"),
        ("drain/nodes[a]", b"\xff\xff"),
        ("drain/nodes[a]", b""),
        ("resource/services/web", b"\xff\xff"),
        ("history/7", b"\xff\xff"),
        ("history/7", b"\x02\x08\x08"),
        ("history/7", b"\x02\x08\x07\x03"),
        ("event/0000", b"\xff\xff"),
        ("event/0000", b""),
        ("event/2710", b"\x18\x04"),
        ("event/00", b"\x18\x04"),
        ("meta/rises", b""),
        ("something/else", b""),
    ] {
        let records = Records::from([(key.as_bytes().to_vec(), payload.to_vec())]);
        let error = read(&records).expect_err(key);
        assert_eq!(error.to_string(), format!("record {key:?} cannot be read"));
    }
}

#[tokio::test]
async fn a_store_of_an_older_schema_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let (disk, _) = Disk::open(directory.path(), 1).expect("a database");
    let mut batch = Batch::default();
    batch.put(b"node/a".to_vec(), vec![0; 24]);
    disk.commit(&batch).expect("durable");
    drop(disk);
    let opened = DiskStore::open(directory.path().to_owned()).await;
    let error = opened.expect_err("it is of another schema");
    assert_eq!(error.to_string(), "cannot open the store");
    let cause = error.source().map(ToString::to_string);
    let wanted = r#"record "\\x00mark" has schema 1, and this version reads 2"#;
    assert_eq!(cause.as_deref(), Some(wanted));
}

#[tokio::test]
async fn a_change_of_many_nodes_writes_a_bounded_number_of_records_and_is_there_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = || DiskStore::open(directory.path().to_owned());
    let write = |revision, size: u64| {
        let nodes = (0..size).map(|number| {
            let digest = Digest::of_encoded(&[revision as u8]);
            let name = node_name(&format!("node-{number}"));
            (name, Some((Generation(revision), digest)))
        });
        let nodes: BTreeMap<_, _> = nodes.collect();
        Write {
            revision: Revision(revision),
            served: true,
            // as the first update that a fleet takes is written, and a change that takes much away
            named: nodes.keys().map(|name| (name.clone(), true)).collect(),
            confirmed: nodes
                .keys()
                .map(|name| (name.clone(), Some(Generation(revision))))
                .collect(),
            nodes,
            ..Write::default()
        }
    };
    let cluster;
    {
        let (mut store, saved) = open().await.expect("a store");
        cluster = saved.cluster;
        for (revision, size) in [(1, 1_000), (2, 1_000), (3, 1)] {
            let write = write(revision, size);
            let records = batch(
                write.clone(),
                &mut Blocks::of(&Saved::default(), Rises::new()),
            )
            .len();
            // the revision, that there is a service, and the blocks
            let most = 2 + usize::try_from(size)
                .expect("few")
                .min(blocks::BLOCKS.into());
            assert_eq!(records, most, "{size} nodes");
            store.commit(write).await.expect("durable");
        }
    }
    let (store, saved) = open().await.expect("a store");
    let mut wanted = write(2, 1_000);
    wanted.then(write(3, 1));
    let wanted = Saved {
        cluster,
        revision: Revision(3),
        served: true,
        nodes: kept(wanted.nodes),
        confirmed: kept(wanted.confirmed),
        named: wanted.named.into_keys().collect(),
        ..Saved::default()
    };
    assert_eq!(saved, wanted);
    assert_eq!(store.nodes, Blocks::of(&wanted, Rises::new()));
}

fn kept<T>(written: BTreeMap<NodeName, Option<T>>) -> BTreeMap<NodeName, T> {
    let written = written.into_iter();
    written
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

#[tokio::test]
async fn a_damaged_block_is_damage_of_the_store() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = || DiskStore::open(directory.path().to_owned());
    let name = "a-name-that-is-found";
    {
        let (mut store, _) = open().await.expect("a store");
        let state = (Generation(7), Digest::from_bytes([7; 16]));
        let write = Write {
            revision: Revision(1),
            nodes: BTreeMap::from([(node_name(name), Some(state))]),
            ..Write::default()
        };
        store.commit(write).await.expect("durable");
    }
    let file = directory.path().join("db/db");
    let mut bytes = std::fs::read(&file).expect("read");
    let found: Vec<usize> = (0..bytes.len() - name.len())
        .filter(|at| bytes[*at..].starts_with(name.as_bytes()))
        .collect();
    assert!(!found.is_empty());
    for at in found {
        bytes[at + 2] ^= 1;
    }
    std::fs::write(&file, bytes).expect("write");
    let error = open().await.expect_err("it is damaged");
    assert_eq!(error.to_string(), "cannot open the store");
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(
        cause.contains("is damaged") || cause.contains("older than its watermark"),
        "{cause}"
    );
}
