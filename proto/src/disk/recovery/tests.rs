use std::fs;
use std::path::Path;

use super::super::Batch;
use super::*;

const SCHEMA: u8 = 1;

fn put(key: &str, payload: &str) -> Batch {
    let mut batch = Batch::default();
    batch.put(key.into(), payload.into());
    batch
}

fn records(some: &[(&str, &str)]) -> Records {
    some.iter()
        .map(|(key, payload)| ((*key).into(), (*payload).into()))
        .collect()
}

/// A directory `journal` with three commits, of which the first is in a snapshot, in a directory of its own.
fn three_commits() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("dir");
    let (disk, _) = Disk::open(&dir.path().join("journal"), SCHEMA).expect("open");
    for (key, payload) in [("a", "1"), ("b", "2"), ("a", "3")] {
        disk.commit(&put(key, payload)).expect("commit");
    }
    dir
}

fn ruin(file: &Path) {
    let mut bytes = fs::read(file).expect("read");
    // sled keeps what counts in the first KiB of a small file; all of it goes
    bytes.fill(0xa5);
    fs::write(file, bytes).expect("write");
}

/// Recovers and lets go.
fn recovered(path: &Path) -> (Records, Option<Recovered>) {
    let (_, records, recovered) = recover(path, SCHEMA).expect("recover");
    (records, recovered)
}

#[test]
fn what_is_whole_is_opened_as_it_is() {
    let dir = three_commits();
    assert_eq!(
        recovered(&dir.path().join("journal")),
        (records(&[("a", "3"), ("b", "2")]), None)
    );
}

#[test]
fn a_damaged_database_starts_again_from_its_snapshot() {
    let dir = three_commits();
    let path = dir.path().join("journal");
    ruin(&path.join("db/db"));
    ruin(&path.join("db/conf"));
    let why = Disk::open(&path, SCHEMA).expect_err("damaged").to_string();
    let told = Recovered {
        why,
        aside: dir.path().join("journal.damaged-1"),
        commit: Some(1),
        complete: false,
    };
    for _ in 0..2 {
        assert_eq!(
            recovered(&path),
            (records(&[("a", "1")]), Some(told.clone())),
            "told until something is committed"
        );
    }
    for kept in ["db/db", "db/conf", "watermark", "snapshot-1"] {
        assert!(told.aside.join(kept).exists(), "{kept}");
    }
    let (disk, ..) = recover(&path, SCHEMA).expect("recover");
    disk.commit(&put("c", "4")).expect("commit");
    drop(disk);
    assert_eq!(recovered(&path), (records(&[("a", "1"), ("c", "4")]), None));
}

#[test]
fn nothing_is_lost_where_the_snapshot_is_of_the_last_commit() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("journal");
    let (disk, _) = Disk::open(&path, SCHEMA).expect("open");
    disk.commit(&put("a", "1")).expect("commit");
    drop(disk);
    fs::remove_dir_all(path.join("db")).expect("remove");
    let (content, told) = recovered(&path);
    assert_eq!(content, records(&[("a", "1")]));
    let told = told.expect("recovered");
    assert_eq!((told.commit, told.complete), (Some(1), true), "{told:?}");
}

#[test]
fn an_older_database_is_better_than_an_older_snapshot() {
    let dir = three_commits();
    let path = dir.path().join("journal");
    let (disk, _) = Disk::open(&path, SCHEMA).expect("open");
    let copy = path.join("copy");
    fs::create_dir(&copy).expect("dir");
    for file in ["conf", "db"] {
        fs::copy(path.join("db").join(file), copy.join(file)).expect("copy");
    }
    disk.commit(&put("a", "4")).expect("commit");
    drop(disk);
    for snapshot in ["snapshot-1", "snapshot-4"] {
        fs::remove_file(path.join(snapshot)).expect("remove");
    }
    fs::remove_dir_all(path.join("db")).expect("remove");
    fs::rename(copy, path.join("db")).expect("rename");
    let (content, told) = recovered(&path);
    assert_eq!(content, records(&[("a", "3"), ("b", "2")]));
    let told = told.expect("recovered");
    assert_eq!((told.commit, told.complete), (Some(3), false), "{told:?}");
}

#[test]
fn without_anything_whole_it_starts_empty_and_says_so() {
    let dir = three_commits();
    let path = dir.path().join("journal");
    ruin(&path.join("db/db"));
    ruin(&path.join("db/conf"));
    ruin(&path.join("snapshot-1"));
    ruin(&path.join("watermark"));
    let (content, told) = recovered(&path);
    assert_eq!(content, Records::new());
    let told = told.expect("recovered");
    assert_eq!((told.commit, told.complete), (None, false), "{told:?}");
    assert!(told.aside.join("snapshot-1").exists());
    assert!(!path.join("snapshot-1").exists(), "it is of no use here");
}

#[test]
fn the_three_newest_stay_aside() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("journal");
    for _ in 0..5 {
        let (disk, ..) = recover(&path, SCHEMA).expect("recover");
        disk.commit(&put("a", "1")).expect("commit");
        drop(disk);
        fs::remove_file(path.join("watermark")).expect("remove");
    }
    let (_, told) = recovered(&path);
    assert_eq!(
        told.expect("recovered").aside,
        dir.path().join("journal.damaged-5")
    );
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .expect("list")
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "journal",
            "journal.damaged-3",
            "journal.damaged-4",
            "journal.damaged-5"
        ]
    );
}

#[test]
fn what_another_version_wrote_is_left_alone() {
    let dir = three_commits();
    let path = dir.path().join("journal");
    let error = recover(&path, SCHEMA + 1).expect_err("schema");
    assert!(matches!(error, DiskError::Schema { .. }), "{error:?}");
    let names = fs::read_dir(dir.path()).expect("list").count();
    assert_eq!(names, 1, "nothing is set aside");
}

#[test]
fn what_somebody_has_open_is_left_alone() {
    let dir = three_commits();
    let path = dir.path().join("journal");
    let _held = Disk::open(&path, SCHEMA).expect("open");
    let error = recover(&path, SCHEMA).expect_err("held");
    assert!(matches!(error, DiskError::Held { .. }), "{error:?}");
    let error = rebuild(&path, SCHEMA, &Records::new()).expect_err("held");
    assert!(matches!(error, DiskError::Held { .. }), "{error:?}");
}

#[test]
fn what_is_in_memory_becomes_a_new_database() {
    let dir = three_commits();
    let path = dir.path().join("journal");
    ruin(&path.join("db/conf"));
    let memory = records(&[("a", "5"), ("z", "6")]);
    let disk = rebuild(&path, SCHEMA, &memory).expect("rebuild");
    disk.commit(&put("z", "7")).expect("commit");
    drop(disk);
    assert_eq!(recovered(&path), (records(&[("a", "5"), ("z", "7")]), None));
    assert!(dir.path().join("journal.damaged-1/db/conf").exists());
}

#[test]
fn a_database_that_never_was_is_built_with_nothing_aside() {
    let dir = tempfile::tempdir().expect("dir");
    let path = dir.path().join("journal");
    let memory = records(&[("a", "5")]);
    drop(rebuild(&path, SCHEMA, &memory).expect("rebuild"));
    assert_eq!(recovered(&path), (memory, None));
    assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 1);
}

#[test]
fn a_note_is_read_as_it_was_written() {
    for commit in [None, Some(7)] {
        let note = Note {
            why: "it is damaged".to_owned(),
            commit,
            complete: commit.is_some(),
        };
        assert_eq!(Note::from_bytes(&note.to_bytes()), Some(note));
    }
    assert_eq!(Note::from_bytes(&[1; 9]), None);
}
