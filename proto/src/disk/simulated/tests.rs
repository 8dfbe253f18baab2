use super::super::{Disk, Writer, aside, rebuild, recover};
use super::*;

const SCHEMA: u8 = 1;

fn behaviour(seed: u64) -> Behaviour {
    Behaviour {
        seed,
        sync: Duration::from_millis(10),
        tears: true,
        snapshots: Some(64),
    }
}

fn put(key: &str, payload: &str) -> Batch {
    let mut batch = Batch::default();
    batch.put(key.into(), payload.into());
    batch
}

fn own(records: &[(&str, &str)]) -> Records {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let all = records.iter();
    all.map(|(key, payload)| (bytes(key), bytes(payload)))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_committed_is_there_when_it_is_opened_again() {
    let medium = Medium::new("/simulated/again", behaviour(1));
    let path = medium.path().to_owned();
    let (disk, records) = Disk::open(&path, SCHEMA).expect("open");
    assert_eq!(records, Records::new());
    let writer = Writer::new(disk);
    let large = "x".repeat(5_000);
    writer.commit(put("a", &large)).await.expect("commit");
    writer.commit(put("b", "2")).await.expect("commit");
    assert!(matches!(
        Disk::open(&path, SCHEMA),
        Err(DiskError::Held { .. })
    ));
    drop(writer);
    let opened = {
        let path = path.clone();
        aside(&path.clone(), move || recover(&path, SCHEMA)).await
    };
    let (disk, records, recovered) = opened.expect("a task").expect("open");
    assert_eq!(records, own(&[("a", &large), ("b", "2")]));
    assert_eq!(recovered, None);
    drop(disk);
    // a record of one byte less is none of what was committed
    medium.lock().put([(b"b".to_vec(), None)]);
    assert!(Disk::open(&path, SCHEMA).is_err_and(|error| error.is_damage()));
    medium.erase();
    let (_, records) = Disk::open(&path, SCHEMA).expect("open");
    assert_eq!(records, Records::new());
}

#[test]
fn a_batch_that_is_cut_is_there_or_not_and_what_was_acknowledged_before_it_never_goes_unsaid() {
    let mut cuts = Cuts::default();
    for seed in 0..200 {
        let medium = Medium::new("/simulated/cut", behaviour(seed));
        let path = medium.path().to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().start_paused(true).build();
        runtime.expect("runtime").block_on(async {
            let writer = Writer::new(Disk::open(&path, SCHEMA).expect("open").0);
            writer.commit(put("a", "1")).await.expect("commit");
            let mut batch = put("a", "2");
            batch.put("b".into(), "2".into());
            let cut = writer.commit(batch);
            let polled = tokio::time::timeout(Duration::from_nanos(1), cut).await;
            assert!(polled.is_err(), "{polled:?}");
        });
        let (_, records, recovered) = recover(&path, SCHEMA).expect("recovered");
        let before = own(&[("a", "1")]);
        let after = own(&[("a", "2"), ("b", "2")]);
        assert!(records == before || records == after, "{seed}: {records:?}");
        if let Some(Recovered { complete, .. }) = recovered {
            assert!(complete, "{seed}: a snapshot has all that was committed");
        }
        let Cuts { lost, whole, torn } = medium.cuts();
        cuts.lost += lost;
        cuts.whole += whole;
        cuts.torn += torn;
    }
    assert!(
        cuts.lost > 20 && cuts.whole > 20 && cuts.torn > 20,
        "{cuts:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_sync_that_failed_nothing_is_taken_until_it_is_rebuilt() {
    let medium = Medium::new("/simulated/failed", behaviour(2));
    let path = medium.path().to_owned();
    let writer = Writer::new(Disk::open(&path, SCHEMA).expect("open").0);
    medium.fail_syncs(1);
    assert!(writer.commit(put("a", "1")).await.is_err());
    assert!(writer.commit(put("b", "1")).await.is_err());
    assert!(writer.has_failed());
    let rebuilt = rebuild(&path, SCHEMA, &own(&[("c", "3")])).expect("rebuilt");
    let writer = Writer::new(rebuilt);
    writer.commit(put("d", "4")).await.expect("commit");
    drop(writer);
    let (_, records) = Disk::open(&path, SCHEMA).expect("open");
    assert_eq!(records, own(&[("c", "3"), ("d", "4")]));
}

#[test]
fn an_instant_disk_commits_without_a_runtime_that_waits() {
    let medium = Medium::instant("/simulated/instant");
    let writer = Writer::new(Disk::open(medium.path(), SCHEMA).expect("open").0);
    let committed = writer.commit(put("a", "1"));
    futures_now(committed).expect("commit");
    drop(writer);
    let (_, records) = Disk::open(medium.path(), SCHEMA).expect("open");
    assert_eq!(records, own(&[("a", "1")]));
}

/// Gives what a future has at once.
fn futures_now<T>(future: impl Future<Output = T>) -> T {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => panic!("it waits"),
    }
}
