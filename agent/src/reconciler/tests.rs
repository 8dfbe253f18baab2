use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use tempfile::TempDir;
use tokio::task::JoinHandle;
use weir_proto::disk::DiskError;
use weir_proto::model::{
    BackendKey, Endpoint, Frontend, Item, ItemKey, Listener, LoopbackEntry, NodeBackend, Port,
    Protocol, Scheduler, ServiceName, Vip, VipBinding, VirtualService, Weight,
};

use super::*;
use crate::journal::{JournalError, Remembered};
use crate::kernel::fake::Fake;
use crate::plan::{Guard, Object, Setting, Table, VipSpec, begun};

const AUDIT: Duration = Duration::from_secs(10);

/// A reconciler at work on a kernel in memory.
pub(super) struct Rig {
    pub(super) dir: TempDir,
    changes: mpsc::Sender<Accepted>,
    pub(super) inquiries: mpsc::Sender<Inquiry>,
    status: watch::Receiver<Status>,
    pub(super) drains: watch::Receiver<Vec<DrainProgress>>,
    task: JoinHandle<()>,
    pub(super) held: Held,
}

/// Opens a journal whose last owner may still be exporting it: each attempt waits some seconds for it.
pub(super) fn opened(path: &Path) -> (Journal, Remembered) {
    const ATTEMPTS: usize = 15;
    let mut attempts = (0..ATTEMPTS).map(|_| Journal::open(path, "boot"));
    let is_held = |opened: &Result<_, JournalError>| {
        matches!(opened, Err(JournalError::Disk(DiskError::Held { .. })))
    };
    let opened = attempts.find(|opened| !is_held(opened));
    opened.expect("nobody else has it").expect("journal")
}

impl Rig {
    pub(super) fn start(kernel: &Fake) -> Self {
        Self::start_in(tempfile::tempdir().expect("dir"), kernel)
    }

    pub(super) fn start_in(dir: TempDir, kernel: &Fake) -> Self {
        let (journal, remembered) = opened(dir.path());
        let held = remembered.keeping.serving();
        let (reconciler, status) = Reconciler::new(kernel.clone(), journal, remembered);
        let drains = reconciler.drains();
        let (changes, queue) = mpsc::channel(8);
        let (inquiries, asked) = mpsc::channel(1);
        let reconciler = reconciler.questioned(asked);
        let task = tokio::spawn(reconciler.run(queue, AUDIT));
        Self {
            dir,
            changes,
            inquiries,
            status,
            drains,
            task,
            held,
        }
    }

    /// Sends a change and waits until a pass has taken it.
    pub(super) async fn change(&mut self, upserted: Vec<Item>, removed: &[ItemKey]) -> Status {
        let wanted = self.held.generation.next();
        let change = Change {
            generation: wanted,
            upserted,
            removed: removed.to_vec(),
        };
        let begun = begun(&change, |key| self.held.state.get(key), now_unix_ms());
        self.begin(change, begun).await
    }

    /// The same, with drains of the test's choice.
    pub(super) async fn begin(&mut self, change: Change, begun: Vec<Begun>) -> Status {
        let wanted = change.generation;
        self.held.apply(change.clone());
        let accepted = Accepted {
            change,
            begun,
            span: Span::none(),
        };
        self.changes.send(accepted).await.expect("running");
        self.until(|status| status.converged == wanted && status.settled)
            .await
    }

    pub(super) async fn until(&mut self, so: impl FnMut(&Status) -> bool) -> Status {
        let waited = tokio::time::timeout(AUDIT * 10, self.status.wait_for(so)).await;
        waited.expect("in time").expect("running").clone()
    }

    /// Sends a change, ends the task as a crash would once `at` holds, and gives the directory of its journal.
    pub(super) async fn change_and_cut(
        self,
        upserted: Vec<Item>,
        at: impl Fn() -> bool,
    ) -> TempDir {
        let change = Change {
            generation: self.held.generation.next(),
            upserted,
            removed: Vec::new(),
        };
        let accepted = Accepted {
            change,
            begun: vec![],
            span: Span::none(),
        };
        self.changes.send(accepted).await.expect("running");
        let cut = async {
            while !at() {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(AUDIT, cut).await;
        waited.expect("in time");
        self.task.abort();
        let _ = self.task.await;
        self.dir
    }

    /// Gives what is told now.
    pub(super) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Stops the task and gives the directory of its journal.
    pub(super) async fn stop(self) -> TempDir {
        drop(self.changes);
        self.task.await.expect("stopped");
        self.dir
    }
}

fn port(number: u32) -> Port {
    Port::new(number).expect("port")
}

fn address(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

pub(super) fn listener() -> Listener {
    Listener {
        address: [10, 100, 100, 100].into(),
        port: port(8080),
        protocol: Protocol::Tcp,
    }
}

pub(super) fn frontend() -> Frontend {
    Frontend::Address(listener())
}

pub(super) fn service(scheduler: Scheduler) -> Item {
    let service = ServiceName::new("web").expect("name");
    Item::VirtualService(VirtualService {
        scheduler,
        ..VirtualService::new(frontend(), service)
    })
}

pub(super) fn backend(last: u8, weight: u32) -> Item {
    let key = BackendKey {
        frontend: frontend(),
        endpoint: Endpoint {
            address: address(last),
            port: port(8080),
        },
    };
    Item::Backend(NodeBackend {
        weight: Weight::new(weight).expect("weight"),
        ..NodeBackend::new(key)
    })
}

fn entry(last: u8) -> Item {
    Item::LoopbackEntry(LoopbackEntry {
        address: address(last),
        protocol: Protocol::Tcp,
        port: port(8080),
        source: address(last),
    })
}

fn vip() -> Item {
    Item::Vip(Vip::new(frontend().vip().expect("an address")))
}

pub(super) fn web() -> Vec<Item> {
    vec![
        vip(),
        service(Scheduler::RoundRobin),
        backend(11, 1),
        backend(21, 1),
        entry(11),
        entry(21),
    ]
}

pub(super) fn key(item: &Item) -> Key {
    Key::Item(item.key())
}

/// What of the table is not a setting.
fn objects(table: &Table) -> BTreeSet<Key> {
    let keys = table.keys().copied();
    keys.filter(|key| !matches!(key, Key::Setting(_))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_change_reaches_the_kernel() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    let status = rig.change(web(), &[]).await;
    assert_eq!(status.report, Report::default());
    let mut wanted: BTreeSet<Key> = web().iter().map(key).collect();
    wanted.extend([
        Key::Link,
        Key::LoopbackSet(weir_proto::model::Family::V4),
        Key::LoopbackRule(weir_proto::model::Family::V4),
        Key::Lockdown(weir_proto::model::Family::V4),
        Key::Guard(Guard::Opening(listener(), None)),
        Key::Guard(Guard::Vip(listener().address)),
    ]);
    assert_eq!(objects(&kernel.table()), wanted);
    let forward = kernel.table()[&Key::Setting(Setting::ForwardV4)].clone();
    assert_eq!(forward, Object::Value("1".to_owned()));
    let forward = kernel.table()[&Key::Setting(Setting::ForwardV6)].clone();
    assert_eq!(
        forward,
        Object::Value("0".to_owned()),
        "no IPv6 service asks for it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_changed_backend_is_one_step_and_reads_its_own_service() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    kernel.take_steps();
    kernel.take_reads();
    rig.change(vec![backend(11, 9)], &[]).await;
    let steps: Vec<Key> = kernel.take_steps().iter().map(Step::key).collect();
    assert_eq!(steps, [key(&backend(11, 9))]);
    let units = [Unit::Service(frontend())].into();
    assert_eq!(kernel.take_reads(), [Scope::Units(units)]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_kernel_is_filled_from_the_journal() {
    let dir = tempfile::tempdir().expect("dir");
    let (journal, _) = Journal::open(dir.path(), "boot").expect("journal");
    let change = Change {
        generation: Generation(5),
        upserted: web(),
        removed: vec![],
    };
    journal.accept(&change.into(), &[]).await.expect("accept");
    drop(journal);
    let kernel = Fake::new();
    let mut rig = Rig::start_in(dir, &kernel);
    let status = rig.until(|status| status.settled).await;
    assert_eq!(status.converged, Generation(5));
    assert!(kernel.table().contains_key(&key(&vip())));
}

#[tokio::test(start_paused = true)]
async fn an_agent_without_its_journal_takes_over_what_hangs_on_its_link() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    rig.stop().await;
    let before = kernel.table();
    kernel.take_steps();
    let mut rig = Rig::start(&kernel);
    rig.until(|status| status.settled).await;
    assert_eq!(
        kernel.take_steps(),
        [],
        "nothing is pruned before a state is known"
    );
    assert_eq!(kernel.table(), before);
    // the controller's word: the service has one backend less
    let fewer: Vec<Item> = web()
        .into_iter()
        .filter(|item| *item != backend(21, 1))
        .collect();
    let status = rig.change(fewer, &[]).await;
    assert_eq!(status.report, Report::default());
    let steps: Vec<Key> = kernel.take_steps().iter().map(Step::key).collect();
    assert_eq!(steps, [key(&backend(21, 1))]);
    // and all of it goes with the service
    let all: Vec<ItemKey> = web().iter().map(Item::key).collect();
    rig.change(vec![], &all).await;
    let left = objects(&kernel.table());
    assert!(
        left.iter().all(|key| !matches!(key, Key::Item(_))),
        "{left:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn one_refused_item_does_not_stop_the_others() {
    let kernel = Fake::new();
    let refused = StepError::from(Problem::new(2, "no such thing".to_owned()));
    for _ in 0..3 {
        kernel.fail(key(&backend(11, 1)), refused.clone());
    }
    let mut rig = Rig::start(&kernel);
    let status = rig.change(web(), &[]).await;
    let failed: Vec<ItemKey> = status.report.failures.iter().map(|f| f.key).collect();
    assert_eq!(failed, [backend(11, 1).key()]);
    assert!(kernel.table().contains_key(&key(&vip())));
    // and it is tried again until the kernel takes it
    let status = rig.until(|status| status.report.count == 0).await;
    assert_eq!(status.converged, Generation(1));
    assert!(kernel.table().contains_key(&key(&backend(11, 1))));
}

#[tokio::test(start_paused = true)]
async fn a_foreign_service_just_like_ours_is_told_and_stays() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web()[4..].to_vec(), &[]).await;
    let twin = key(&service(Scheduler::RoundRobin));
    let spec = crate::plan::ServiceSpec {
        scheduler: "rr".to_owned(),
        ..crate::plan::ServiceSpec::default()
    };
    kernel.tamper(|table| {
        table.insert(twin, Object::Service(spec.clone()));
    });
    let status = rig.change(web(), &[]).await;
    assert_eq!(
        status.report.failures[0].key,
        service(Scheduler::RoundRobin).key()
    );
    assert_eq!(status.report.count, 3);
    let all: Vec<ItemKey> = web().iter().map(Item::key).collect();
    rig.change(vec![], &all).await;
    assert_eq!(kernel.table().get(&twin), Some(&Object::Service(spec)));
}

#[tokio::test(start_paused = true)]
async fn a_backend_never_lands_in_somebody_elses_service() {
    let kernel = Fake::new();
    // between the read and the step somebody makes the same service
    let theirs = Object::Service(crate::plan::ServiceSpec {
        scheduler: "wlc".to_owned(),
        ..crate::plan::ServiceSpec::default()
    });
    let service = service(Scheduler::RoundRobin);
    kernel.race(key(&service), theirs.clone());
    let mut rig = Rig::start(&kernel);
    let status = rig.change(web(), &[]).await;
    let failed: BTreeSet<ItemKey> = status.report.failures.iter().map(|f| f.key).collect();
    let wanted = [service.key(), backend(11, 1).key(), backend(21, 1).key()];
    assert_eq!(failed, wanted.into());
    assert_eq!(kernel.table()[&key(&service)], theirs);
    assert!(!kernel.table().contains_key(&key(&backend(11, 1))));
    assert!(
        kernel.table().contains_key(&key(&vip())),
        "the rest goes on"
    );
    // and it is theirs from then on, wanted or not
    let all: Vec<ItemKey> = web().iter().map(Item::key).collect();
    rig.change(vec![], &all).await;
    assert_eq!(kernel.table()[&key(&service)], theirs);
}

#[tokio::test(start_paused = true)]
async fn what_a_dump_overlooks_stays_ours() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    let before = kernel.table();
    let service = key(&service(Scheduler::RoundRobin));
    kernel.overlook(service);
    kernel.take_steps();
    tokio::time::sleep(AUDIT + AUDIT / 2).await;
    assert_eq!(kernel.take_steps(), [], "it was asked for again by its key");
    assert_eq!(kernel.table(), before);
    let all: Vec<ItemKey> = web().iter().map(Item::key).collect();
    rig.change(vec![], &all).await;
    assert!(!kernel.table().contains_key(&service));
}

#[tokio::test(start_paused = true)]
async fn what_somebody_removed_and_made_anew_is_theirs() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    let service = key(&service(Scheduler::RoundRobin));
    kernel.tamper(|table| {
        table.retain(|key, _| *key != service && key.container() != Some(service));
    });
    let all: Vec<ItemKey> = web().iter().map(Item::key).collect();
    rig.change(vec![], &all).await;
    let theirs = Object::Service(crate::plan::ServiceSpec {
        scheduler: "wlc".to_owned(),
        ..crate::plan::ServiceSpec::default()
    });
    kernel.tamper(|table| {
        table.insert(service, theirs.clone());
    });
    tokio::time::sleep(AUDIT * 2).await;
    assert_eq!(kernel.table().get(&service), Some(&theirs));
}

#[tokio::test(start_paused = true)]
async fn a_failed_audit_does_not_hold_up_a_change() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    let audits = rig.status.borrow().counts.audits;
    kernel.fail_reads(1);
    let failed = |status: &Status| status.counts.audits > audits && status.report.count > 0;
    rig.until(failed).await;
    kernel.take_reads();
    rig.change(vec![backend(11, 9)], &[]).await;
    let units = [Unit::Service(frontend())].into();
    assert_eq!(kernel.take_reads()[0], Scope::Units(units));
    rig.until(|status| status.report.count == 0).await;
}

#[tokio::test(start_paused = true)]
async fn what_somebody_took_away_is_put_back_by_the_audit() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    let before = kernel.table();
    kernel.tamper(|table| {
        table.remove(&key(&vip()));
        table.remove(&key(&backend(21, 1)));
    });
    kernel.take_steps();
    tokio::time::sleep(AUDIT * 2).await;
    assert_eq!(kernel.table(), before);
    assert_eq!(kernel.take_steps().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_service_in_the_way_is_reported_and_left_alone() {
    let kernel = Fake::new();
    let spec = crate::plan::ServiceSpec {
        scheduler: "wlc".to_owned(),
        ..crate::plan::ServiceSpec::default()
    };
    let theirs = key(&service(Scheduler::RoundRobin));
    kernel.tamper(|table| {
        table.insert(theirs, Object::Service(spec.clone()));
    });
    let mut rig = Rig::start(&kernel);
    let status = rig.change(web(), &[]).await;
    assert_eq!(
        status.report.count, 3,
        "the service and both backends: {status:?}"
    );
    assert_eq!(status.report.failures[0].errno, EEXIST);
    assert_eq!(kernel.table()[&theirs], Object::Service(spec));
    // once it is gone, ours comes
    kernel.tamper(|table| {
        table.remove(&theirs);
    });
    rig.until(|status| status.report.count == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_kernel_that_cannot_be_read_is_not_changed() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    kernel.take_steps();
    kernel.fail_reads(3);
    let gone: Vec<ItemKey> = web().iter().map(Item::key).collect();
    let status = rig.change(vec![], &gone).await;
    assert_eq!(status.counts.failed_passes, 3);
    assert!(!kernel.table().contains_key(&key(&vip())));
    assert!(
        kernel.table().contains_key(&Key::Link),
        "the base stays until clean-up"
    );
}

#[tokio::test(start_paused = true)]
async fn a_kernel_that_cannot_be_read_is_told_as_every_item_it_should_hold() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    kernel.fail_reads(1);
    kernel.take_reads();
    let accepted = Accepted {
        change: Change {
            generation: Generation(2),
            upserted: vec![backend(11, 9)],
            removed: vec![],
        },
        begun: vec![],
        span: Span::none(),
    };
    rig.changes.send(accepted).await.expect("running");
    let status = rig.until(|status| status.report.count > 0).await;
    assert_eq!(status.converged, Generation(1), "not there yet");
    let failed: Vec<ItemKey> = status.report.failures.iter().map(|f| f.key).collect();
    let service: Vec<ItemKey> = web()[1..4].iter().map(Item::key).collect();
    assert_eq!(
        failed, service,
        "what the change did not touch is not in doubt"
    );
    let cause = "the kernel could not be read: cannot read the table from the kernel: a fault was asked for";
    assert_eq!(status.report.failures[0].cause, cause);
    let status = rig.until(|status| status.report.count == 0).await;
    assert_eq!(status.converged, Generation(2));
}

#[tokio::test(start_paused = true)]
async fn a_failed_base_object_is_told_as_the_items_that_need_it() {
    let kernel = Fake::new();
    let rule = Key::LoopbackRule(weir_proto::model::Family::V4);
    let refused = StepError::from(Problem::new(95, "no iptables".to_owned()));
    kernel.fail(rule, refused);
    let mut rig = Rig::start(&kernel);
    let status = rig.change(web(), &[]).await;
    let failed: Vec<String> = status
        .report
        .failures
        .iter()
        .map(|f| f.cause.clone())
        .collect();
    assert_eq!(failed, ["IPv4 loopback rule: no iptables"; 2]);
    rig.until(|status| status.report.count == 0).await;
}

#[tokio::test(start_paused = true)]
async fn changes_that_wait_are_taken_in_one_pass() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    kernel.take_steps();
    kernel.take_reads();
    for (generation, weight) in [(2, 5), (3, 6), (4, 7)] {
        let change = Change {
            generation: Generation(generation),
            upserted: vec![backend(11, weight)],
            removed: vec![],
        };
        let accepted = Accepted {
            change,
            begun: vec![],
            span: Span::none(),
        };
        rig.changes.try_send(accepted).expect("room");
    }
    rig.until(|status| status.converged == Generation(4)).await;
    assert_eq!(kernel.take_steps().len(), 1);
    assert_eq!(kernel.take_reads().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_vip_sets_how_arp_is_answered_and_puts_it_back() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    let mut items = web();
    let address = frontend().vip().expect("an address");
    items.push(Item::Vip(Vip {
        binding: VipBinding::Route,
        ..Vip::new(address)
    }));
    rig.change(items, &[]).await;
    let seen = || {
        let table = kernel.table();
        let at = |last: u8| table.get(&Key::Item(ItemKey::Vip([10, 100, 100, last].into())));
        let ignore = &table[&Key::Setting(Setting::ArpIgnore)];
        (ignore.clone(), at(100).cloned(), at(101).cloned())
    };
    let bound = |binding, silent| Some(Object::Vip(VipSpec { binding, silent }));
    let value = |text: &str| Object::Value(text.to_owned());
    let alone = (value("0"), bound(VipBinding::Route, false), None);
    assert_eq!(seen(), alone);
    let silent = Item::SilentVip([10, 100, 100, 101].into());
    rig.change(vec![silent.clone()], &[]).await;
    let beside = (
        value("3"),
        bound(VipBinding::Address, false),
        bound(VipBinding::Address, true),
    );
    assert_eq!(seen(), beside);
    rig.change(vec![], &[silent.key()]).await;
    assert_eq!(seen(), alone);
}
