//! What it costs to bring the real kernel to a table, in messages and system calls. Never in time: a count is the same
//! on every machine. Needs root and ip_vs: it fails without.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use tokio::sync::mpsc;
use tracing::Span;
use weir_agent::journal::Journal;
use weir_agent::kernel::linux::Linux;
use weir_agent::kernel::linux::netlink::Counts;
use weir_agent::kernel::{Kernel, KernelError, Verdict};
use weir_agent::plan::{
    BackendSpec, Change, Connections, Key, Ledger, LedgerChange, Object, Problem, Scope,
    ServiceSpec, Step, Table, Unit, Visit, Visits, plan,
};
use weir_agent::reconciler::{Accepted, Reconciler, Status};
use weir_proto::model::{
    BackendKey, Endpoint, Forwarding, Frontend, Generation, Item, ItemKey, Listener, LoopbackEntry,
    NodeBackend, Port, Protocol, ServiceName, Vip, VirtualService,
};

const BACKENDS: u16 = 10;

/// Runs a test in a network namespace of its own.
fn in_new_netns<F: Future<Output = ()>>(test: impl FnOnce(Linux) -> F + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace: this test needs root");
        // the kernel takes no backend while no link of the namespace was ever up
        let up = Command::new("ip")
            .args(["link", "set", "lo", "up"])
            .status();
        assert!(up.expect("ip").success(), "the loopback link is up");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (kernel, _) = Linux::open(Vec::new()).await;
            test(kernel).await;
        });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn port(number: u16) -> Port {
    Port::new(number.into()).expect("a port")
}

fn frontend(service: u16) -> Frontend {
    let [high, low] = service.to_be_bytes();
    Frontend::Address(Listener {
        address: Ipv4Addr::new(10, 100, high, low).into(),
        port: port(80),
        protocol: Protocol::Tcp,
    })
}

fn backend(service: u16, number: u16) -> Key {
    Key::Item(ItemKey::Backend(BackendKey {
        frontend: frontend(service),
        endpoint: Endpoint {
            address: Ipv4Addr::new(10, 0, 0, 1).into(),
            port: port(8000 + number),
        },
    }))
}

fn weighing(weight: u32) -> Object {
    Object::Backend(BackendSpec {
        weight,
        forwarding: Some(Forwarding::Masquerade),
        ..BackendSpec::default()
    })
}

fn table(services: u16) -> Table {
    let mut table = Table::new();
    for service in 0..services {
        let spec = ServiceSpec {
            scheduler: "rr".to_owned(),
            ..ServiceSpec::default()
        };
        let key = Key::Item(ItemKey::VirtualService(frontend(service)));
        table.insert(key, Object::Service(spec));
        table.extend((0..BACKENDS).map(|number| (backend(service, number), weighing(1))));
    }
    table
}

/// A ledger that has every service of a table.
fn owning(table: &Table) -> Ledger {
    let mut ledger = Ledger::default();
    ledger.apply(&LedgerChange {
        made: table
            .keys()
            .filter(|key| key.container().is_none())
            .copied()
            .collect(),
        ..LedgerChange::default()
    });
    ledger
}

/// Takes steps, all of which must be taken, and gives what that cost.
async fn cost(kernel: &mut Linux, steps: &[Step]) -> Counts {
    let before = kernel.ipvs_counts();
    for (step, verdict) in steps.iter().zip(kernel.apply(steps).await) {
        assert_eq!(verdict, Ok(()), "{step:?}");
    }
    since(kernel, before)
}

fn since(kernel: &Linux, before: Counts) -> Counts {
    let now = kernel.ipvs_counts();
    Counts {
        messages: now.messages - before.messages,
        sends: now.sends - before.sends,
        receives: now.receives - before.receives,
        dumps: now.dumps - before.dumps,
    }
}

#[test]
fn a_cold_load_takes_one_message_an_object_and_a_send_and_a_receive_for_some_four_hundred() {
    in_new_netns(|mut kernel| async move {
        let wanted = table(1_000);
        let steps = plan(&Table::new(), &wanted, &Ledger::default()).steps;
        let cost = cost(&mut kernel, &steps).await;
        let objects = wanted.len() as u64;
        // one more to learn the number of the family
        assert_eq!((cost.messages, cost.dumps), (objects + 1, 0));
        // a request to add takes at most 152 bytes, and 64 KiB are a send; services and backends do not share one
        let most = objects * 152 / (64 * 1024) + 4;
        assert!(cost.sends <= most, "{cost:?}, at most {most}");
        assert!(cost.receives <= most, "{cost:?}, at most {most}");
    });
}

#[test]
fn a_changed_backend_of_a_large_table_is_one_request_and_reads_its_own_service() {
    in_new_netns(|mut kernel| async move {
        let whole = table(2_000);
        let ledger = owning(&whole);
        cost(&mut kernel, &plan(&Table::new(), &whole, &ledger).steps).await;
        let changed = backend(1_234, 5);
        let before = kernel.ipvs_counts();
        let scope = Scope::Units([Unit::Service(frontend(1_234))].into());
        let actual = kernel.read(&scope).await.expect("the service");
        let read = since(&kernel, before);
        // the service by its key, and the dump of its own backends
        assert_eq!((read.messages, read.dumps), (2, 1), "{read:?}");
        assert!(read.sends <= 2 && read.receives <= 4, "{read:?}");
        assert_eq!(actual.len(), 1 + usize::from(BACKENDS));
        let mut wanted = actual.clone();
        wanted.insert(changed, weighing(7));
        let change = cost(&mut kernel, &plan(&actual, &wanted, &ledger).steps).await;
        let once = Counts {
            messages: 1,
            sends: 1,
            receives: 1,
            dumps: 0,
        };
        assert_eq!(change, once);
        assert_eq!(kernel.read(&scope).await.expect("the service"), wanted);
    });
}

#[test]
fn an_audit_with_nothing_to_change_only_dumps_and_each_dump_is_a_send_and_at_most_two_receives() {
    in_new_netns(|mut kernel| async move {
        let wanted = table(500);
        let ledger = owning(&wanted);
        cost(&mut kernel, &plan(&Table::new(), &wanted, &ledger).steps).await;
        let before = kernel.ipvs_counts();
        let mut actual = kernel.read(&Scope::All).await.expect("everything");
        actual.retain(|key, _| wanted.contains_key(key));
        assert_eq!(plan(&actual, &wanted, &ledger).steps, []);
        let read = since(&kernel, before);
        // one dump of the services, one of each one's backends, and nothing that is no dump
        assert_eq!((read.messages, read.dumps), (501, 501), "{read:?}");
        assert_eq!(read.sends, 501, "{read:?}");
        assert!(read.receives <= 2 * 501, "{read:?}");
    });
}

#[test]
fn what_was_refused_is_told_by_its_place_however_many_sends_it_takes() {
    in_new_netns(|mut kernel| async move {
        let steps: Vec<Step> = plan(&Table::new(), &table(300), &Ledger::default()).steps;
        let (services, backends) = steps.split_at(300);
        // every third service is missing
        let numbered = services.iter().enumerate();
        let kept = numbered.filter(|(place, _)| place % 3 > 0);
        let there: Vec<Step> = kept.map(|(_, step)| step.clone()).collect();
        cost(&mut kernel, &there).await;
        let before = kernel.ipvs_counts();
        let verdicts = kernel.apply(backends).await;
        let orphan = |place: usize| (place / usize::from(BACKENDS)).is_multiple_of(3);
        let refused: Vec<usize> = (0..backends.len())
            .filter(|at| verdicts[*at].is_err())
            .collect();
        let expected: Vec<usize> = (0..backends.len()).filter(|at| orphan(*at)).collect();
        assert_eq!(refused, expected);
        let cost = since(&kernel, before);
        assert_eq!(cost.messages, backends.len() as u64);
        assert!(cost.sends > 1, "{cost:?}");
    });
}

/// A kernel of which is told, to whoever holds the other end, what was asked of it.
struct Watched {
    kernel: Linux,
    asked: Arc<Mutex<Asked>>,
}

/// What was asked of a kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Asked {
    reads: Vec<Scope>,
    applies: usize,
    said: Vec<(u64, u64)>,
}

impl Watched {
    fn note(&self, change: impl FnOnce(&mut Asked)) {
        let mut asked = self.asked.lock().expect("nobody panicked");
        change(&mut asked);
        asked.said = said(&self.kernel);
    }
}

impl Kernel for Watched {
    async fn read(&mut self, scope: &Scope) -> Result<Table, KernelError> {
        let table = self.kernel.read(scope).await;
        self.note(|asked| asked.reads.push(scope.clone()));
        table
    }

    async fn apply(&mut self, steps: &[Step]) -> Vec<Verdict> {
        let verdicts = self.kernel.apply(steps).await;
        self.note(|asked| asked.applies += 1);
        verdicts
    }

    async fn refusals(&mut self, steps: &[Step]) -> Result<BTreeMap<Key, Problem>, KernelError> {
        self.kernel.refusals(steps).await
    }

    async fn connections(
        &mut self,
        of: &BTreeSet<Frontend>,
    ) -> Result<BTreeMap<BackendKey, Connections>, KernelError> {
        self.kernel.connections(of).await
    }

    async fn forget_flows(&mut self, of: &BTreeSet<BackendKey>) -> Result<u64, KernelError> {
        self.kernel.forget_flows(of).await
    }

    async fn visits(&mut self, of: &Visit) -> Result<Visits, KernelError> {
        self.kernel.visits(of).await
    }

    async fn disturbed(&mut self) -> Scope {
        self.kernel.disturbed().await
    }
}

/// Messages and dumps through each door that counts.
fn said(kernel: &Linux) -> Vec<(u64, u64)> {
    let [ipset, nftables] = kernel.loopback_counts();
    [kernel.ipvs_counts(), kernel.vip_counts(), ipset, nftables]
        .map(|counts| (counts.messages, counts.dumps))
        .to_vec()
}

/// Services as the controller would send them, with VIPs, and loopback entries of some backends.
fn items(services: u16) -> Vec<Item> {
    let name = ServiceName::new("web").expect("a name");
    let mut items = Vec::new();
    for number in 0..services {
        let frontend = frontend(number);
        items.push(Item::Vip(Vip::new(frontend.vip().expect("an address"))));
        items.push(Item::VirtualService(VirtualService::new(
            frontend,
            name.clone(),
        )));
        for place in 0..BACKENDS {
            if let Key::Item(ItemKey::Backend(key)) = backend(number, place) {
                items.push(Item::Backend(NodeBackend::new(key)));
            }
        }
        items.push(Item::LoopbackEntry(LoopbackEntry {
            address: Ipv4Addr::new(10, 0, 0, 1).into(),
            protocol: Protocol::Tcp,
            port: port(20_000 + number),
            source: Ipv4Addr::new(10, 0, 0, 1).into(),
        }));
    }
    items
}

/// Runs a reconciler until it is settled at a generation, and gives what it asked of the kernel.
async fn settled(
    kernel: Linux,
    dir: &std::path::Path,
    change: Option<Change>,
    generation: u64,
) -> (Asked, Status) {
    let asked = Arc::new(Mutex::new(Asked::default()));
    let watched = Watched {
        kernel,
        asked: Arc::clone(&asked),
    };
    let (journal, remembered) = Journal::open(dir, "boot").expect("a journal");
    let (reconciler, mut status) = Reconciler::new(watched, journal, remembered);
    let (changes, queue) = mpsc::channel(1);
    let task = tokio::spawn(reconciler.run(queue, Duration::from_secs(3600)));
    if let Some(change) = change {
        let span = Span::none();
        let begun = Vec::new();
        let accepted = Accepted {
            change,
            begun,
            span,
        };
        changes.send(accepted).await.expect("it runs");
    }
    let there = |status: &Status| status.settled && status.converged == Generation(generation);
    let waited = tokio::time::timeout(Duration::from_secs(60), status.wait_for(there)).await;
    let status = waited.expect("in time").expect("it runs").clone();
    drop(changes);
    task.await.expect("it ended");
    let asked = asked.lock().expect("nobody panicked").clone();
    (asked, status)
}

#[test]
fn a_restart_with_nothing_changed_says_no_more_than_one_look_at_everything() {
    in_new_netns(|kernel| async move {
        let dir = tempfile::tempdir().expect("a directory");
        let change = Change {
            generation: Generation(1),
            upserted: items(200),
            removed: Vec::new(),
        };
        let (asked, status) = settled(kernel, dir.path(), Some(change.clone()), 1).await;
        assert!(asked.applies > 0);
        assert_eq!(status.report.failures, []);
        let (journal, _) = Journal::open(dir.path(), "boot").expect("a journal");
        journal.accept(&change.into(), &[]).await.expect("accepted");
        drop(journal);
        let written = std::fs::read(dir.path().join("watermark")).expect("a watermark");
        let (kernel, _) = Linux::open(Vec::new()).await;
        let (asked, status) = settled(kernel, dir.path(), None, 1).await;
        assert_eq!(status.report.failures, []);
        let (mut looker, _) = Linux::open(Vec::new()).await;
        looker.read(&Scope::All).await.expect("everything");
        let only_looked = Asked {
            reads: vec![Scope::All],
            applies: 0,
            said: said(&looker),
        };
        assert_eq!(asked, only_looked);
        let now = std::fs::read(dir.path().join("watermark")).expect("a watermark");
        assert_eq!(now, written, "nothing went to the journal");
    });
}
