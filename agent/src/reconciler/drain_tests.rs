use weir_proto::model::{
    Drain, DrainDeadline, Item, NodeBackend, OnDeadline, Protocol, Scheduler, ServiceName, Vip,
    VirtualService,
};

use super::tests::{Rig, backend, frontend, key, service, web};
use super::*;
use crate::kernel::fake::Fake;
use crate::plan::{Connections, Object};

fn backend_key(item: &Item) -> BackendKey {
    match item.key() {
        ItemKey::Backend(key) => key,
        other => panic!("{other} is no backend"),
    }
}

fn connect(kernel: &Fake, to: &Item, active: u32) {
    let inactive = 0;
    kernel.connect(backend_key(to), Connections { active, inactive });
}

fn weight(kernel: &Fake, of: &Item) -> Option<u32> {
    match kernel.table().get(&key(of)) {
        Some(Object::Backend(spec)) => Some(spec.weight),
        _ => None,
    }
}

fn resetting(seconds: u32) -> Drain {
    Drain {
        deadline: DrainDeadline::new(seconds).expect("seconds"),
        on_deadline: OnDeadline::Reset,
    }
}

/// Serves two backends, the first with connections.
async fn serving(kernel: &Fake) -> (Rig, Item) {
    let mut rig = Rig::start(kernel);
    rig.change(web(), &[]).await;
    let first = backend(11, 1);
    connect(kernel, &first, 3);
    kernel.take_steps();
    (rig, first)
}

/// Waits, on the test's own clock, until something is so.
async fn eventually(mut so: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within a thousand seconds");
}

/// Waits until nothing is drained.
async fn drained(rig: &mut Rig) {
    let waited = rig.drains.wait_for(|drains| drains.is_empty());
    let waited = tokio::time::timeout(Duration::from_secs(3_600), waited);
    waited.await.expect("in time").expect("running");
}

#[tokio::test(start_paused = true)]
async fn a_backend_taken_out_keeps_its_connections_and_goes_with_the_last() {
    let kernel = Fake::new();
    let (mut rig, first) = serving(&kernel).await;
    let without: Vec<ItemKey> = vec![first.key()];
    rig.change(vec![], &without).await;
    assert_eq!(weight(&kernel, &first), Some(0));
    let told = rig
        .drains
        .wait_for(|drains| drains.iter().any(|drain| drain.active == 3));
    told.await.expect("running");
    // an audit finds it as it should be
    let audits = rig.status().counts.audits;
    eventually(|| rig.status().counts.audits > audits).await;
    assert_eq!(weight(&kernel, &first), Some(0));
    connect(&kernel, &first, 0);
    drained(&mut rig).await;
    eventually(|| weight(&kernel, &first).is_none()).await;
    let verbs: Vec<&str> = kernel.take_steps().iter().map(verb).collect();
    assert_eq!(verbs, ["edit", "remove"], "and no more");
    assert_eq!(rig.status().counts.repairs, 0, "nobody else did this");
    assert_eq!(
        kernel.take_forgotten(),
        [],
        "what ended by itself is forgotten by itself"
    );
}

#[tokio::test(start_paused = true)]
async fn a_backend_without_connections_goes_at_once() {
    let kernel = Fake::new();
    let (mut rig, first) = serving(&kernel).await;
    connect(&kernel, &first, 0);
    rig.change(vec![], &[first.key()]).await;
    drained(&mut rig).await;
    eventually(|| weight(&kernel, &first).is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_is_back_is_edited_and_its_connections_go_on() {
    let kernel = Fake::new();
    let (mut rig, first) = serving(&kernel).await;
    rig.change(vec![], &[first.key()]).await;
    rig.change(vec![first.clone()], &[]).await;
    assert_eq!(weight(&kernel, &first), Some(1));
    drained(&mut rig).await;
    let verbs: Vec<&str> = kernel.take_steps().iter().map(verb).collect();
    assert_eq!(verbs, ["edit", "edit"]);
}

#[tokio::test(start_paused = true)]
async fn connections_that_outlast_a_deadline_are_cut_backend_first_and_conntrack_second() {
    let kernel = Fake::new();
    let (mut rig, first) = serving(&kernel).await;
    let service = match service(Scheduler::RoundRobin) {
        Item::VirtualService(service) => Item::VirtualService(VirtualService {
            drain: resetting(2),
            ..service
        }),
        other => other,
    };
    rig.change(vec![service], &[first.key()]).await;
    assert_eq!(weight(&kernel, &first), Some(0));
    // the clock of deadlines is the one on the wall
    let over = Begun {
        deadline_unix_ms: 0,
        ..begun_of(&first, Generation(9))
    };
    let change = Change {
        generation: Generation(9),
        ..Change::default()
    };
    rig.begin(change, vec![over]).await;
    drained(&mut rig).await;
    let cut: BTreeSet<BackendKey> = [backend_key(&first)].into();
    eventually(|| weight(&kernel, &first).is_none()).await;
    let mut forgotten = Vec::new();
    eventually(|| {
        forgotten = kernel.take_forgotten();
        !forgotten.is_empty()
    })
    .await;
    assert_eq!(forgotten, [cut]);
}

fn begun_of(item: &Item, generation: Generation) -> Begun {
    let Item::Backend(backend) = item else {
        panic!("no backend");
    };
    Begun {
        generation,
        what: crate::plan::Drained::Backend(backend.clone()),
        started_unix_ms: now_unix_ms(),
        deadline_unix_ms: now_unix_ms() + 1_000,
        on_deadline: OnDeadline::Reset,
    }
}

#[tokio::test(start_paused = true)]
async fn flows_of_udp_are_forgotten_with_their_backend_and_with_their_service() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    let listener = weir_proto::model::Listener {
        protocol: Protocol::Udp,
        ..super::tests::listener()
    };
    let udp = weir_proto::model::Frontend::Address(listener);
    let name = ServiceName::new("dns").expect("name");
    let backends = [11, 21].map(|last| {
        Item::Backend(NodeBackend::new(BackendKey {
            frontend: udp,
            ..backend_key(&backend(last, 1))
        }))
    });
    let [first, second] = &backends;
    let service = Item::VirtualService(VirtualService::new(udp, name));
    let vip = Item::Vip(Vip::new(listener.address));
    let all = vec![vip, service.clone(), first.clone(), second.clone()];
    rig.change(all, &[]).await;
    connect(&kernel, first, 3);
    rig.change(vec![], &[first.key()]).await;
    assert_eq!(weight(&kernel, first), None);
    rig.change(vec![], &[service.key(), second.key()]).await;
    rig.change(vec![backend(11, 1)], &[]).await;
    let expected = [first, second].map(|item| BTreeSet::from([backend_key(item)]));
    assert_eq!(kernel.take_forgotten(), expected);
    assert_ne!(udp, frontend());
}

#[tokio::test(start_paused = true)]
async fn what_somebody_takes_away_is_back_before_the_next_audit() {
    let kernel = Fake::new();
    let (rig, _) = serving(&kernel).await;
    let vip = key(&web()[0]);
    for round in 1..=3 {
        kernel.tamper(|table| {
            table.remove(&vip);
        });
        kernel.disturb(Scope::Units([vip.unit()].into()));
        let audits = rig.status().counts.audits;
        eventually(|| rig.status().counts.repairs == round).await;
        let now = rig.status().counts.audits;
        assert_eq!(now, audits, "a notice is no audit");
        assert!(kernel.table().contains_key(&vip));
    }
}

/// What is left of a journal that is older than the kernel: one backend is not in it, the other was another, and there was a
/// third.
fn left_of_a_journal() -> (Held, [Item; 3]) {
    let items = [backend(11, 1), backend(21, 7), backend(31, 1)];
    let [first, second, third] = &items;
    let mut left = web();
    left.retain(|item| item.key() != first.key() && item.key() != second.key());
    left.extend([second.clone(), third.clone()]);
    let held = Held {
        generation: Generation(1),
        state: left.into_iter().collect(),
        ..Held::default()
    };
    (held, items)
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_unsure_leaves_a_kernel_that_serves_as_it_is() {
    let kernel = Fake::new();
    let (rig, _) = serving(&kernel).await;
    let dir = rig.stop().await;
    let (journal, mut remembered) = Journal::open(dir.path(), "boot").expect("journal");
    let (held, [first, second, third]) = left_of_a_journal();
    remembered.keeping.unsure = true;
    remembered.keeping.accepted = held;
    // as where the ledger is lost with the rest
    remembered.ledger = Ledger::default();
    remembered.drains = vec![Begun {
        on_deadline: OnDeadline::Keep,
        ..begun_of(&first, Generation(1))
    }];
    let (reconciler, mut status) = Reconciler::new(kernel.clone(), journal, remembered);
    let (changes, queue) = mpsc::channel(1);
    let task = tokio::spawn(reconciler.run(queue, Duration::from_secs(10)));
    let settled = status.wait_for(|status| status.settled).await;
    settled.expect("running");
    // nothing is counted meanwhile, and time goes on: nothing turns round and round for it
    eventually(|| status.borrow().counts.audits >= 3).await;
    assert_eq!(kernel.take_steps(), []);
    // the controller has spoken: what it said counts, and what it does not know of is drained
    let accepted = Accepted {
        change: Change {
            generation: Generation(2),
            ..Change::default()
        },
        begun: vec![],
        span: Span::none(),
    };
    changes.send(accepted).await.expect("running");
    eventually(|| weight(&kernel, &second) == Some(7)).await;
    let weights = [&first, &third].map(|item| weight(&kernel, item));
    assert_eq!(weights, [Some(0), Some(1)]);
    connect(&kernel, &first, 0);
    eventually(|| weight(&kernel, &first).is_none()).await;
    drop(changes);
    task.await.expect("stopped");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_is_unsure_fills_a_kernel_that_is_empty() {
    let kernel = Fake::new();
    let dir = tempfile::tempdir().expect("dir");
    let (journal, mut remembered) = Journal::open(dir.path(), "boot").expect("journal");
    let (held, [_, second, third]) = left_of_a_journal();
    remembered.keeping.unsure = true;
    remembered.keeping.accepted = held;
    let (reconciler, mut status) = Reconciler::new(kernel.clone(), journal, remembered);
    let (changes, queue) = mpsc::channel::<Accepted>(1);
    let task = tokio::spawn(reconciler.run(queue, Duration::from_secs(10)));
    let settled = status.wait_for(|status| status.settled).await;
    settled.expect("running");
    let weights = [&second, &third].map(|item| weight(&kernel, item));
    assert_eq!(weights, [Some(7), Some(1)]);
    drop(changes);
    task.await.expect("stopped");
}

#[tokio::test(start_paused = true)]
async fn one_item_that_failed_hides_no_repair() {
    let kernel = Fake::new();
    let (mut rig, first) = serving(&kernel).await;
    let other = backend(41, 1);
    for _ in 0..100 {
        kernel.fail(
            key(&other),
            crate::plan::Problem::new(22, "no".to_owned()).into(),
        );
    }
    let status = rig.change(vec![other], &[]).await;
    assert_eq!(status.report.count, 1);
    kernel.tamper(|table| {
        table.remove(&key(&first));
    });
    kernel.disturb(Scope::Units([key(&first).unit()].into()));
    eventually(|| rig.status().counts.repairs == 1).await;
    assert_eq!(weight(&kernel, &first), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_drain_goes_on_after_a_restart() {
    let kernel = Fake::new();
    let (mut rig, first) = serving(&kernel).await;
    rig.change(vec![], &[first.key()]).await;
    let dir = rig.stop().await;
    let (journal, mut remembered) = Journal::open(dir.path(), "boot").expect("journal");
    // as the session would have written it
    let begun = begun_of(&first, Generation(2));
    let deadline_unix_ms = now_unix_ms() + 3_600_000;
    remembered.drains = vec![Begun {
        deadline_unix_ms,
        ..begun
    }];
    let mut left = web();
    left.retain(|item| item.key() != first.key());
    remembered.keeping.accepted = Held {
        generation: Generation(2),
        state: left.into_iter().collect(),
        ..Held::default()
    };
    let (reconciler, mut status) = Reconciler::new(kernel.clone(), journal, remembered);
    let mut drains = reconciler.drains();
    let (changes, queue) = mpsc::channel(1);
    let task = tokio::spawn(reconciler.run(queue, Duration::from_secs(10)));
    let settled = status.wait_for(|status| status.settled).await;
    settled.expect("running");
    assert_eq!(weight(&kernel, &first), Some(0));
    assert_eq!(drains.borrow()[0].deadline_unix_ms, deadline_unix_ms);
    connect(&kernel, &first, 0);
    let over = drains.wait_for(|drains| drains.is_empty()).await;
    over.expect("running");
    eventually(|| weight(&kernel, &first).is_none()).await;
    drop(changes);
    task.await.expect("stopped");
}
