use tokio::task::{JoinSet, yield_now};

use super::super::{Records, rebuild};
use super::*;

const SCHEMA: u8 = 1;

fn put(key: &str, payload: &str) -> Batch {
    let mut batch = Batch::default();
    batch.put(key.into(), payload.into());
    batch
}

fn open(dir: &Path) -> Writer {
    Writer::new(Disk::open(dir, SCHEMA).expect("open").0)
}

/// Holds the disk up until so many wait for it, each with a batch over the last one's.
#[allow(clippy::await_holding_lock)] // nobody but the blocking thread wants it
async fn crowd(writer: &Writer, count: usize) -> JoinSet<Result<(), DiskError>> {
    let mut tasks = JoinSet::new();
    let held_up = lock(&writer.0.disk);
    for number in 0..count {
        let mut batch = put(&format!("key-{number:04}"), "1");
        batch.put("last".into(), number.to_string().into());
        if number % 2 == 0 {
            batch.put("odd".into(), Vec::new());
        } else {
            batch.delete("odd".into());
        }
        let writer = writer.clone();
        tasks.spawn(async move { writer.commit(batch).await });
    }
    while lock(&writer.0.queue).waiting.len() < count {
        yield_now().await;
    }
    drop(held_up);
    tasks
}

#[tokio::test]
async fn a_thousand_commits_at_once_take_one_sync_and_keep_their_order() {
    let dir = tempfile::tempdir().expect("dir");
    let writer = open(dir.path());
    for done in crowd(&writer, 1000).await.join_all().await {
        done.expect("commit");
    }
    let Counts {
        batches, commits, ..
    } = writer.counts();
    assert_eq!((batches, commits), (1000, 1));
    writer.commit(put("after", "1")).await.expect("commit");
    assert_eq!(writer.counts().commits, 2);
    drop(writer);
    let (_, records) = Disk::open(dir.path(), SCHEMA).expect("open");
    assert_eq!(records["last".as_bytes()], b"999");
    let missing = !records.contains_key("odd".as_bytes());
    assert!(missing, "the last took it away");
    assert_eq!(records.len(), 1002);
}

#[tokio::test]
async fn a_failed_commit_is_told_to_all_in_it_and_to_all_after() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("journal");
    let writer = open(&path);
    // the watermark can no longer be replaced
    std::fs::create_dir(path.join("watermark.next")).expect("dir");
    let told = crowd(&writer, 10).await.join_all().await;
    for done in &told {
        let error = done.as_ref().expect_err("refused");
        assert!(matches!(error, DiskError::Sync { .. }), "{error:?}");
    }
    assert_eq!(told.len(), 10);
    std::fs::remove_dir(path.join("watermark.next")).expect("remove");
    let error = writer.commit(put("a", "0")).await.expect_err("refused");
    assert!(matches!(error, DiskError::Failed { .. }), "{error:?}");
    assert_eq!(writer.counts(), Counts::default());
    // the directory is free while there are handles, which stay refused
    let memory: Records = [(b"a".to_vec(), b"1".to_vec())].into();
    let rebuilt = Writer::new(rebuild(&path, SCHEMA, &memory).expect("rebuild"));
    rebuilt.commit(put("b", "2")).await.expect("commit");
    writer.commit(put("c", "3")).await.expect_err("refused");
    drop(rebuilt);
    let (_, records) = Disk::open(&path, SCHEMA).expect("open");
    let keys: Vec<&[u8]> = records.keys().map(Vec::as_slice).collect();
    assert_eq!(keys, [b"a", b"b"]);
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_is_done() {
    let dir = tempfile::tempdir().expect("dir");
    let writer = open(dir.path());
    crowd(&writer, 3).await.shutdown().await;
    drop(writer);
    let (_, records) = Disk::open(dir.path(), SCHEMA).expect("open");
    assert_eq!(records["last".as_bytes()], b"2");
}

#[test]
fn a_commit_that_a_runtime_leaves_undone_holds_up_nobody() {
    let dir = tempfile::tempdir().expect("dir");
    let writer = open(dir.path());
    let runtime = || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.build().expect("runtime")
    };
    // never written: its turn never came
    lock(&writer.0.queue).writing = true;
    drop(Turn {
        shared: Arc::clone(&writer.0),
        over: false,
    });
    let done = runtime().block_on(writer.commit(put("a", "1")));
    done.expect("commit");
}
