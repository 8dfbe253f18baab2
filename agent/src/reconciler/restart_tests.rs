//! What a restart must not do, and what it must know.

use std::net::Ipv4Addr;

use weir_proto::model::{
    BackendKey, Endpoint, Family, Frontend, Item, Listener, NodeBackend, Port, Protocol, Scheduler,
    ServiceName, Vip, VirtualService,
};

use super::tests::{Rig, backend, key, opened, service, web};
use super::*;
use crate::kernel::fake::Fake;
use crate::plan::Setting;

const SERVICES: u16 = 10_000;
const BACKENDS: u8 = 10;

/// Services with their VIPs and backends.
fn fleet() -> Vec<Item> {
    let port = Port::new(80).expect("port");
    let name = ServiceName::new("web").expect("name");
    let mut items = Vec::new();
    for number in 0..SERVICES {
        let [high, low] = number.to_be_bytes();
        let address = Ipv4Addr::new(10, 100, high, low).into();
        let frontend = Frontend::Address(Listener {
            address,
            port,
            protocol: Protocol::Tcp,
        });
        items.push(Item::Vip(Vip::new(address)));
        items.push(Item::VirtualService(VirtualService::new(
            frontend,
            name.clone(),
        )));
        items.extend((0..BACKENDS).map(|last| {
            let address = Ipv4Addr::new(10, last, high, low).into();
            Item::Backend(NodeBackend::new(BackendKey {
                frontend,
                endpoint: Endpoint { address, port },
            }))
        }));
    }
    items
}

/// What moves with every commit of a journal.
fn watermark(dir: &tempfile::TempDir) -> Vec<u8> {
    std::fs::read(dir.path().join("watermark")).expect("a watermark")
}

/// Brings a kernel to `items` and stops; the journal holds them as accepted, as the session would have written.
async fn left_behind(kernel: &Fake, items: Vec<Item>) -> tempfile::TempDir {
    let mut rig = Rig::start(kernel);
    rig.change(items.clone(), &[]).await;
    let dir = rig.stop().await;
    let (journal, _) = opened(dir.path());
    let change = Change {
        generation: Generation(1),
        upserted: items,
        removed: Vec::new(),
    };
    journal.accept(&change.into(), &[]).await.expect("accept");
    dir
}

#[tokio::test(start_paused = true)]
async fn a_restart_with_nothing_changed_reads_once_and_writes_nothing_at_all() {
    let kernel = Fake::new();
    let dir = left_behind(&kernel, fleet()).await;
    let objects = kernel.table().len();
    assert!(objects > usize::from(SERVICES) * usize::from(BACKENDS + 2));
    let written = watermark(&dir);
    kernel.take_steps();
    kernel.take_reads();
    let mut rig = Rig::start_in(dir, &kernel);
    let status = rig.until(|status| status.settled).await;
    assert_eq!(status.converged, Generation(1));
    assert_eq!(status.report, Report::default());
    assert_eq!(kernel.take_reads(), [Scope::All]);
    assert_eq!(kernel.take_steps(), []);
    assert_eq!(kernel.table().len(), objects);
    assert_eq!(watermark(&rig.dir), written, "nothing went to the journal");
}

#[tokio::test(start_paused = true)]
async fn an_agent_cut_off_in_the_middle_of_its_steps_knows_what_it_made() {
    let kernel = Fake::new();
    let rig = Rig::start(&kernel);
    kernel.fall_silent();
    let vip = key(&web()[0]);
    let dir = rig
        .change_and_cut(web(), || kernel.table().contains_key(&vip))
        .await;
    let (_, remembered) = Journal::open(dir.path(), "boot").expect("journal");
    let made: BTreeSet<Key> = remembered.ledger.made().collect();
    let ours = [
        vip,
        key(&service(Scheduler::RoundRobin)),
        Key::Link,
        Key::LoopbackSet(Family::V4),
        Key::LoopbackRule(Family::V4),
        Key::Lockdown(Family::V4),
    ];
    assert_eq!(made, ours.into());
    let settings: Vec<Setting> = remembered.ledger.settings().map(|(key, _)| key).collect();
    assert!(settings.contains(&Setting::ForwardV4), "{settings:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_tried_again_long_before_the_next_audit() {
    let kernel = Fake::new();
    let mut rig = Rig::start(&kernel);
    rig.change(web(), &[]).await;
    let refused = StepError::from(Problem::new(12, "no memory".to_owned()));
    kernel.fail(key(&backend(11, 9)), refused);
    let status = rig.change(vec![backend(11, 9)], &[]).await;
    assert_eq!(status.report.count, 1);
    let audits = status.counts.audits;
    let status = rig.until(|status| status.report.count == 0).await;
    assert_eq!(status.counts.audits, audits);
}
