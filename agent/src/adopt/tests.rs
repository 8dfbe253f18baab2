use std::time::Duration;

use tokio::sync::{mpsc, watch};
use weir_proto::model::{
    BackendKey, Endpoint, Frontend, Item, ItemKey, Listener, NodeBackend, Port, Protocol,
    ServiceName, Vip, VirtualService, Weight,
};

use super::*;
use crate::cleanup;
use crate::kernel::fake::Fake;
use crate::plan::{BackendSpec, Change, Key, Object};
use crate::reconciler::{Reconciler, Status};
use crate::release;

const PATIENCE: Duration = Duration::from_secs(60);

fn frontend() -> Frontend {
    Frontend::Address(Listener {
        address: [10, 1, 0, 1].into(),
        port: Port::new(80).expect("port"),
        protocol: Protocol::Tcp,
    })
}

fn backend(last: u8, weight: u32) -> NodeBackend {
    let key = BackendKey {
        frontend: frontend(),
        endpoint: Endpoint {
            address: [10, 0, 0, last].into(),
            port: Port::new(8080).expect("port"),
        },
    };
    NodeBackend {
        weight: Weight::new(weight).expect("weight"),
        ..NodeBackend::new(key)
    }
}

fn web() -> Vec<Item> {
    let name = ServiceName::new("web").expect("name");
    vec![
        Item::Vip(Vip::new([10, 1, 0, 1].into())),
        Item::VirtualService(VirtualService::new(frontend(), name)),
        Item::Backend(backend(1, 1)),
    ]
}

/// Runs an agent's reconciler on a kernel until it has settled at a generation, and stops it.
async fn run(kernel: &Fake, dir: &std::path::Path, change: Option<Change>) -> Status {
    let (journal, mut remembered) = Journal::open(dir, "boot").expect("journal");
    if let Some(change) = change {
        journal
            .accept(&change.clone().into(), &[])
            .await
            .expect("accepted");
        remembered.keeping.accepted.apply(change);
    }
    let generation = remembered.keeping.accepted.generation;
    let (reconciler, mut status): (_, watch::Receiver<Status>) =
        Reconciler::new(kernel.clone(), journal, remembered);
    let (changes, queue) = mpsc::channel(1);
    let task = tokio::spawn(reconciler.run(queue, PATIENCE));
    let settled = status.wait_for(|status| status.settled && status.converged == generation);
    let settled = tokio::time::timeout(PATIENCE, settled).await;
    let settled = settled.expect("in time").expect("running").clone();
    drop(changes);
    task.await.expect("stopped");
    settled
}

fn accepted() -> Change {
    Change {
        generation: Generation(3),
        upserted: web(),
        removed: vec![],
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_released_is_not_touched_until_it_is_adopted_and_is_ours_then() {
    let dir = tempfile::tempdir().expect("dir");
    let kernel = Fake::new();
    let before = kernel.table();
    assert_eq!(
        run(&kernel, dir.path(), Some(accepted()))
            .await
            .report
            .count,
        0
    );
    let serving = kernel.table();

    let (journal, remembered) = Journal::open(dir.path(), "boot").expect("journal");
    let outcome = release::release(&journal, &remembered).await;
    outcome.expect("released");
    drop(journal);
    kernel.take_steps();
    let remembered = Journal::look(dir.path(), "boot").expect("journal");
    let refused = adopt(&mut kernel.clone(), None, &remembered, &BTreeSet::new()).await;
    assert!(matches!(refused, Err(AdoptError::NothingAccepted)));

    let status = run(&kernel, dir.path(), Some(accepted())).await;
    assert_eq!(status.report.count, 3, "all of it is somebody else's");
    assert_eq!(
        (kernel.table(), kernel.take_steps()),
        (serving.clone(), vec![])
    );

    let (journal, remembered) = Journal::open(dir.path(), "boot").expect("journal");
    let none = BTreeSet::new();
    let rehearsed = adopt(&mut kernel.clone(), None, &remembered, &none).await;
    let outcome = adopt(&mut kernel.clone(), Some(&journal), &remembered, &none).await;
    let (rehearsed, outcome) = (rehearsed.expect("rehearsed"), outcome.expect("adopted"));
    assert_eq!(rehearsed.adoption, outcome.adoption);
    assert_eq!(kernel.take_steps(), []);
    drop(journal);

    let status = run(&kernel, dir.path(), None).await;
    assert_eq!(status.report.count, 0);
    assert_eq!((kernel.table(), kernel.take_steps()), (serving, vec![]));

    let (journal, remembered) = Journal::open(dir.path(), "boot").expect("journal");
    let outcome = cleanup::cleanup(&mut kernel.clone(), &journal, remembered).await;
    assert_eq!(outcome.expect("cleaned up").left, []);
    // what settings were before was forgotten at the release
    let mut expected = before;
    expected.extend(
        kernel
            .table()
            .into_iter()
            .filter(|(key, _)| matches!(key, Key::Setting(_))),
    );
    assert_eq!(kernel.table(), expected);
}

#[tokio::test(start_paused = true)]
async fn an_adopted_service_is_edited_in_place() {
    let dir = tempfile::tempdir().expect("dir");
    let kernel = Fake::new();
    let service = Key::Item(ItemKey::VirtualService(frontend()));
    let of = |backend: NodeBackend| Key::Item(ItemKey::Backend(backend.key));
    let weighing = |weight| {
        Object::Backend(BackendSpec {
            weight,
            forwarding: Some(weir_proto::model::Forwarding::Masquerade),
            ..BackendSpec::default()
        })
    };
    let by = |scheduler: &str| {
        Object::Service(plan::ServiceSpec {
            scheduler: scheduler.to_owned(),
            ..plan::ServiceSpec::default()
        })
    };
    kernel.tamper(|table| {
        table.insert(service, by("rr"));
        table.insert(of(backend(1, 1)), weighing(7));
        table.insert(of(backend(2, 1)), weighing(7));
    });
    let status = run(&kernel, dir.path(), Some(accepted())).await;
    assert_eq!(status.report.count, 2, "the service and its backend");

    let (journal, remembered) = Journal::open(dir.path(), "boot").expect("journal");
    let none = BTreeSet::new();
    let outcome = adopt(&mut kernel.clone(), Some(&journal), &remembered, &none).await;
    assert_eq!(
        outcome.expect("adopted").to_string(),
        "took virtual service 10.1.0.1:80/TCP\n\
         took backend 10.0.0.1:8080 of 10.1.0.1:80/TCP with it\n\
         took backend 10.0.0.2:8080 of 10.1.0.1:80/TCP with it, and it will go: it is not wanted\n\
         1 objects taken, with 2 in them, 0 left, 0 wanted and not there"
    );
    drop(journal);
    kernel.take_steps();
    run(&kernel, dir.path(), None).await;
    let touched: Vec<_> = kernel
        .take_steps()
        .into_iter()
        .filter(|step| step.key() == service || step.key() == of(backend(1, 1)))
        .collect();
    let edit = |key, object| plan::Step::Edit { key, object };
    let expected = [
        edit(service, by("wrr")),
        edit(of(backend(1, 1)), weighing(1)),
    ];
    assert_eq!(touched, expected);
}
