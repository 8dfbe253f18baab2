use weir_proto::model::{
    BackendKey, Endpoint, Family, Frontend, Generation, Item, Listener, LoopbackEntry, NodeBackend,
    Port, Protocol, Scheduler, SchedulerFlags, ServiceName, Vip, VirtualService,
};

use super::*;
use crate::plan::{Key, Setting};

/// One item of each kind, in both families.
fn items() -> Vec<Item> {
    let port = Port::new(8080).expect("port");
    let mut items = Vec::new();
    for (vip, backend) in [("10.1.0.1", "10.0.0.1"), ("fd00:1::1", "fd00::1")] {
        let vip = vip.parse().expect("address");
        let backend = backend.parse().expect("address");
        let frontend = Frontend::Address(Listener {
            address: vip,
            port,
            protocol: Protocol::Udp,
        });
        items.push(Item::Vip(Vip::new(vip)));
        let service = ServiceName::new("web").expect("name");
        items.push(Item::VirtualService(VirtualService {
            scheduler: Scheduler::Maglev,
            scheduler_flags: SchedulerFlags::default_of(Scheduler::Maglev),
            ..VirtualService::new(frontend, service)
        }));
        items.push(Item::Backend(NodeBackend::new(BackendKey {
            frontend,
            endpoint: Endpoint {
                address: backend,
                port,
            },
        })));
        items.push(Item::LoopbackEntry(LoopbackEntry {
            address: backend,
            protocol: Protocol::Udp,
            port,
            source: backend,
        }));
    }
    items
}

fn change(generation: u64, upserted: Vec<Item>, removed: &[Item]) -> Change {
    Change {
        generation: Generation(generation),
        upserted,
        removed: removed.iter().map(Item::key).collect(),
    }
}

#[tokio::test]
async fn what_was_accepted_is_remembered() {
    let dir = tempfile::tempdir().expect("dir");
    let (journal, remembered) = Journal::open(dir.path(), "boot").expect("open");
    assert_eq!(remembered, Remembered::default());
    let first = change(1, items(), &[]);
    let second = change(2, vec![], &items()[..3]);
    journal.accept(&first).await.expect("accept");
    journal.accept(&second).await.expect("accept");
    drop(journal);
    let (_, remembered) = Journal::open(dir.path(), "boot").expect("open");
    let mut held = Held::default();
    held.apply(first);
    held.apply(second);
    assert_eq!(remembered.held, held);
}

#[tokio::test]
async fn what_is_ours_is_remembered() {
    let dir = tempfile::tempdir().expect("dir");
    let (journal, _) = Journal::open(dir.path(), "boot").expect("open");
    let mut made: std::collections::BTreeSet<Key> =
        items().iter().map(|item| Key::Item(item.key())).collect();
    made.insert(Key::Link);
    for family in Family::ALL {
        made.insert(Key::LoopbackSet(family));
        made.insert(Key::LoopbackRule(family));
        made.insert(Key::Lockdown(family));
    }
    let found = |value: &str| {
        Setting::ALL
            .map(|setting| (setting, value.to_owned()))
            .into()
    };
    let first = LedgerChange {
        made,
        found: found("0"),
        ..LedgerChange::default()
    };
    let second = LedgerChange {
        gone: [Key::Link, Key::LoopbackRule(Family::V6)].into(),
        restored: [Setting::Conntrack].into(),
        ..LedgerChange::default()
    };
    journal.record(&first).await.expect("record");
    journal.record(&second).await.expect("record");
    drop(journal);
    let (_, remembered) = Journal::open(dir.path(), "boot").expect("open");
    let mut ledger = Ledger::default();
    ledger.apply(&first);
    ledger.apply(&second);
    assert_eq!(remembered.ledger, ledger);
}

#[tokio::test]
async fn what_is_forgotten_is_gone_and_what_is_ours_stays() {
    let dir = tempfile::tempdir().expect("dir");
    let (journal, _) = Journal::open(dir.path(), "boot").expect("open");
    let mut held = Held::default();
    let all = change(1, items(), &[]);
    journal.accept(&all).await.expect("accept");
    held.apply(all);
    let ours = LedgerChange {
        made: [Key::Link].into(),
        ..LedgerChange::default()
    };
    journal.record(&ours).await.expect("record");
    journal.forget(&held).await.expect("forget");
    drop(journal);
    let (_, remembered) = Journal::open(dir.path(), "boot").expect("open");
    let mut ledger = Ledger::default();
    ledger.apply(&ours);
    assert_eq!(
        remembered,
        Remembered {
            held: Held::default(),
            ledger
        }
    );
}

#[tokio::test]
async fn a_look_gives_what_opening_would_and_writes_nothing() {
    let dir = tempfile::tempdir().expect("dir");
    let (journal, _) = Journal::open(dir.path(), "first boot").expect("open");
    let all = change(1, items(), &[]);
    journal.accept(&all).await.expect("accept");
    let ours = LedgerChange {
        made: [Key::Link].into(),
        ..LedgerChange::default()
    };
    journal.record(&ours).await.expect("record");
    let refused = Journal::look(dir.path(), "first boot");
    let refused = refused.expect_err("the journal is in use").to_string();
    assert_eq!(refused, "the journal failed");
    drop(journal);
    let mut remembered = Remembered::default();
    remembered.held.apply(all);
    let looked = Journal::look(dir.path(), "second boot").expect("look");
    assert_eq!(looked, remembered, "nothing of another boot is ours");
    remembered.ledger.apply(&ours);
    let (_, opened) = Journal::open(dir.path(), "first boot").expect("open");
    assert_eq!(opened, remembered);
}

#[tokio::test]
async fn what_is_ours_is_forgotten_with_the_kernel_it_was_in() {
    let dir = tempfile::tempdir().expect("dir");
    let (journal, _) = Journal::open(dir.path(), "first boot").expect("open");
    let all = change(1, items(), &[]);
    journal.accept(&all).await.expect("accept");
    let ours = LedgerChange {
        made: [Key::Link].into(),
        found: [(Setting::ForwardV4, "0".to_owned())].into(),
        ..LedgerChange::default()
    };
    journal.record(&ours).await.expect("record");
    drop(journal);
    let mut held = Held::default();
    held.apply(all);
    for _ in 0..2 {
        let (_, remembered) = Journal::open(dir.path(), "second boot").expect("open");
        assert_eq!(remembered.held, held, "what is wanted stays wanted");
        assert!(remembered.ledger.is_empty());
    }
}
