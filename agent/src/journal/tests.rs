use weir_proto::digest::Digest;
use weir_proto::model::{
    BackendKey, Endpoint, Family, Frontend, Generation, Item, ItemKey, Listener, LoopbackEntry,
    NodeBackend, OnDeadline, Port, Protocol, Scheduler, SchedulerFlags, ServiceName, Vip,
    VirtualService,
};

use super::*;
use crate::plan::{
    Begun, Change, Counter, Drained, Folded, Held, Hold, Keeping, Key, Losses, Passed,
    RefusedChange, RefusedItem, Setting, Total,
};

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

fn refused_item(version: &str) -> RefusedItem {
    RefusedItem {
        digest: Digest::from_bytes([7; 16]),
        cause: "binding: 9 is none".to_owned(),
        field: "binding".to_owned(),
        version: version.to_owned(),
    }
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
    journal
        .accept(&first.clone().into(), &[])
        .await
        .expect("accept");
    journal
        .accept(&second.clone().into(), &[])
        .await
        .expect("accept");
    drop(journal);
    let (_, remembered) = Journal::open(dir.path(), "boot").expect("open");
    let mut held = Held::default();
    held.apply(first);
    held.apply(second);
    assert_eq!(remembered.keeping.accepted, held);
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
    let whole = everything();
    journal
        .commit(record::of_remembered(&whole))
        .await
        .expect("commit");
    let ours = LedgerChange {
        made: [Key::Link].into(),
        ..LedgerChange::default()
    };
    journal.record(&ours).await.expect("record");
    journal.forget(&whole).await.expect("forget");
    drop(journal);
    let (_, remembered) = Journal::open(dir.path(), "boot").expect("open");
    let mut ledger = Ledger::default();
    ledger.apply(&ours);
    assert_eq!(
        remembered,
        Remembered {
            ledger,
            ..Remembered::default()
        }
    );
}

#[tokio::test]
async fn a_look_gives_what_opening_would_and_writes_nothing() {
    let dir = tempfile::tempdir().expect("dir");
    let (journal, _) = Journal::open(dir.path(), "first boot").expect("open");
    let all = change(1, items(), &[]);
    journal
        .accept(&all.clone().into(), &[])
        .await
        .expect("accept");
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
    remembered.keeping.accepted.apply(all);
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
    journal
        .accept(&all.clone().into(), &[])
        .await
        .expect("accept");
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
        assert_eq!(
            remembered.keeping.accepted, held,
            "what is wanted stays wanted"
        );
        assert!(remembered.ledger.is_empty());
    }
}

/// Something of each kind that is remembered beside the ledger.
fn everything() -> Remembered {
    let backend = items().into_iter().find_map(|item| match item {
        Item::Backend(backend) => Some(backend),
        _ => None,
    });
    let backend = backend.expect("a backend");
    let drained = [Drained::Backend(backend), Drained::Node];
    let both = drained
        .into_iter()
        .zip([OnDeadline::Keep, OnDeadline::Reset]);
    let drains = both.map(|(what, on_deadline)| Begun {
        generation: Generation(7),
        what,
        started_unix_ms: 8,
        deadline_unix_ms: 9,
        on_deadline,
    });
    let mut kept: std::collections::BTreeMap<_, _> = items()
        .into_iter()
        .map(|item| (item.key(), Some(item)))
        .collect();
    kept.insert(ItemKey::StrictArp, None);
    let mut accepted = Held {
        generation: Generation(6),
        state: [Item::StrictArp].into_iter().collect(),
        ..Held::default()
    };
    for key in [ItemKey::StrictArp, items()[0].key()] {
        accepted.refuse(key, refused_item("0.0.9"));
    }
    Remembered {
        keeping: Keeping {
            accepted,
            cluster: "one".to_owned(),
            hold: Some(Hold {
                told: weir_proto::model::Hold {
                    generation: Generation(6),
                    dropped: 2,
                    served: 3,
                    since_unix_ms: 4,
                    cause: "would take away 2 of 3 virtual services".to_owned(),
                },
                served: Generation(5),
                cluster: "two".to_owned(),
                kept,
            }),
            unsure: true,
        },
        ledger: Ledger::default(),
        drains: drains.collect(),
        totals: SavedTotals::default(),
    }
}

#[tokio::test]
async fn what_is_held_back_and_drained_is_remembered_until_it_is_over() {
    let dir = tempfile::tempdir().expect("dir");
    let (journal, _) = Journal::open(dir.path(), "boot").expect("open");
    let whole = everything();
    let begin = record::of_remembered(&whole);
    journal.commit(begin).await.expect("commit");
    drop(journal);
    let (journal, mut remembered) = Journal::open(dir.path(), "boot").expect("open");
    remembered.drains.sort_by_key(|begun| begun.id());
    assert_eq!(remembered, whole);
    let taking = whole.keeping.release(Generation(6)).expect("released");
    journal.accept(&taking, &[]).await.expect("accept");
    let ids: Vec<DrainId> = whole.drains.iter().map(Begun::id).collect();
    journal.end(&ids).await.expect("end");
    drop(journal);
    let (_, remembered) = Journal::open(dir.path(), "boot").expect("open");
    let keeping = Keeping {
        cluster: "two".to_owned(),
        hold: None,
        unsure: false,
        ..whole.keeping
    };
    let expected = Remembered {
        keeping,
        ..Remembered::default()
    };
    assert_eq!(remembered, expected);
}

#[tokio::test]
async fn a_drain_does_not_outlive_the_kernel_it_was_in() {
    let dir = tempfile::tempdir().expect("dir");
    let (journal, _) = Journal::open(dir.path(), "first boot").expect("open");
    let begin = record::of_remembered(&everything());
    journal.commit(begin).await.expect("commit");
    drop(journal);
    for _ in 0..2 {
        let (_, remembered) = Journal::open(dir.path(), "second boot").expect("open");
        assert_eq!(remembered.drains, []);
        assert_eq!(remembered.keeping, everything().keeping);
    }
}

/// Totals of a service, of a mark and of a backend, and of connection tracking.
fn totals() -> SavedTotals {
    let total = |first: u64| Total {
        before: Passed::with([first, first + 1, first + 2, first + 3, u64::MAX]),
        counted: Passed::with([first + 5, first + 6, first + 7, first + 8, first + 9]),
        failed: first + 10,
    };
    let service = items().iter().find_map(|item| match item {
        Item::Backend(backend) => Some(backend.key),
        _ => None,
    });
    let backend = service.expect("a backend");
    let mark = Frontend::Mark(weir_proto::model::Mark {
        family: Family::V6,
        number: std::num::NonZeroU32::MAX,
    });
    SavedTotals {
        passed: [
            ((backend.frontend, None), total(100)),
            ((backend.frontend, Some(backend.endpoint)), total(200)),
            ((mark, None), total(300)),
        ]
        .into(),
        lost: Losses {
            before: [1, 2, 3],
            counted: [4, 5, 6],
        },
    }
}

#[tokio::test]
async fn totals_are_remembered_past_a_boot_and_until_they_are_released() {
    let dir = tempfile::tempdir().expect("dir");
    let (journal, _) = Journal::open(dir.path(), "first boot").expect("open");
    journal.count(&totals().into()).await.expect("counted");
    drop(journal);
    let (journal, remembered) = Journal::open(dir.path(), "second boot").expect("open");
    assert_eq!(remembered.totals, totals());
    let again = Remembered::from_records(&remembered.to_records());
    assert_eq!(again.expect("records").totals, totals());
    let forgotten: Vec<Counter> = totals().passed.into_keys().collect();
    let change = TotalsChange {
        passed: [(forgotten[0], Total::default())].into(),
        forgotten: [forgotten[1]].into(),
        lost: None,
    };
    journal.count(&change).await.expect("counted");
    drop(journal);
    let (journal, remembered) = Journal::open(dir.path(), "second boot").expect("open");
    let mut left = totals();
    left.passed.insert(forgotten[0], Total::default());
    left.passed.remove(&forgotten[1]);
    assert_eq!(remembered.totals, left);
    journal.release(&remembered).await.expect("released");
    drop(journal);
    let (_, remembered) = Journal::open(dir.path(), "second boot").expect("open");
    assert_eq!(remembered.totals, SavedTotals::default());
}

#[tokio::test]
async fn totals_of_what_cannot_be_are_left_behind() {
    let dir = tempfile::tempdir().expect("dir");
    let (journal, _) = Journal::open(dir.path(), "boot").expect("open");
    let service = Frontend::Address(Listener {
        address: [127, 0, 0, 1].into(),
        port: Port::new(80).expect("port"),
        protocol: Protocol::Tcp,
    });
    let change = TotalsChange {
        passed: [((service, None), Total::default())].into(),
        ..TotalsChange::default()
    };
    journal.count(&change).await.expect("counted");
    drop(journal);
    let (_, remembered) = Journal::open(dir.path(), "boot").expect("open");
    assert_eq!(remembered, Remembered::default());
}

/// Overwrites the database of a journal, and with it all that it held.
fn damage(dir: &std::path::Path) {
    for entry in std::fs::read_dir(dir.join("db")).expect("a database") {
        let file = entry.expect("entry").path();
        if file.is_file() {
            let length = std::fs::metadata(&file).expect("a file").len();
            std::fs::write(&file, vec![0x55; length as usize]).expect("written");
        }
    }
}

#[tokio::test]
async fn a_damaged_journal_is_made_anew_and_unsure_until_something_is_accepted() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("journal");
    let (journal, _) = Journal::open(&path, "boot").expect("open");
    let first = change(1, items(), &[]);
    journal.accept(&first.into(), &[]).await.expect("accept");
    drop(journal);
    damage(&path);
    let told = |journal: &Journal| journal.degraded().borrow().clone();
    for _ in 0..2 {
        let (journal, remembered) = Journal::open(&path, "boot").expect("open");
        assert!(told(&journal).is_some());
        assert!(remembered.keeping.unsure);
        assert!(remembered.ledger.is_empty(), "nothing is known to be ours");
        // what is written meanwhile does not end the doubt
        let ours = LedgerChange {
            made: [Key::Link].into(),
            ..LedgerChange::default()
        };
        journal.record(&ours).await.expect("record");
        let gone = LedgerChange {
            gone: [Key::Link].into(),
            ..LedgerChange::default()
        };
        journal.record(&gone).await.expect("record");
    }
    assert!(
        dir.path().join("journal.damaged-1").is_dir(),
        "the old one is kept"
    );
    let (journal, _) = Journal::open(&path, "boot").expect("open");
    let taking = Taking {
        sure: true,
        ..change(2, items(), &[]).into()
    };
    journal.accept(&taking, &[]).await.expect("accept");
    assert_eq!(told(&journal), None);
    drop(journal);
    let (journal, remembered) = Journal::open(&path, "boot").expect("open");
    assert_eq!(told(&journal), None);
    assert!(!remembered.keeping.unsure);
    let accepted = remembered.keeping.accepted.generation;
    assert_eq!(accepted, Generation(2));
}

#[tokio::test]
async fn what_is_not_taken_is_remembered_until_it_is_corrected_and_by_whom_it_was_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let (journal, _) = Journal::open(dir.path(), "boot").expect("open");
    // one is held under the same key, and one is not
    let [held, other] = [items()[0].clone(), items()[1].clone()];
    let refused = RefusedChange {
        refused: vec![
            (held.key(), refused_item("0.0.9")),
            (other.key(), refused_item("0.1.0")),
        ],
        gone: Vec::new(),
    };
    let mut expected = Held::default();
    for (generation, upserted, refused) in [
        (1, vec![held.clone()], RefusedChange::default()),
        (2, vec![], refused),
        (
            3,
            vec![other.clone()],
            RefusedChange {
                refused: Vec::new(),
                gone: vec![other.key()],
            },
        ),
    ] {
        let folded = Folded {
            change: change(generation, upserted, &[]),
            refused,
        };
        expected.take(folded.clone());
        let taking = Taking {
            refused: folded.refused,
            ..folded.change.into()
        };
        journal.accept(&taking, &[]).await.expect("accept");
    }
    drop(journal);
    let (_, remembered) = Journal::open(dir.path(), "boot").expect("open");
    assert_eq!(remembered.keeping.accepted, expected);
    let left: Vec<&RefusedItem> = expected.refused.iter().map(|(_, item)| item).collect();
    assert_eq!(left, [&refused_item("0.0.9")]);
}
