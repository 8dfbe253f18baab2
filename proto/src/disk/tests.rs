use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::*;

const SCHEMA: u8 = 1;

fn put(key: &str, payload: &str) -> Batch {
    let mut batch = Batch::default();
    batch.put(key.into(), payload.into());
    batch
}

fn content(path: &Path) -> Result<Vec<(String, String)>, DiskError> {
    let (_, records) = Disk::open(path, SCHEMA)?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ok(records
        .into_iter()
        .map(|(key, payload)| (text(key), text(payload)))
        .collect())
}

/// Does to the database what no commit does.
fn tamper(disk: &Disk, act: impl FnOnce(&sled::Db)) {
    let mut state = disk.files().state();
    let files::State::Live(live) = &mut *state else {
        panic!("failed before");
    };
    act(live.tampered());
}

fn own(records: &[(&str, &str)]) -> Vec<(String, String)> {
    records
        .iter()
        .map(|(key, payload)| ((*key).to_owned(), (*payload).to_owned()))
        .collect()
}

#[test]
fn what_was_committed_is_there_when_it_is_opened_again() {
    let dir = tempfile::tempdir().expect("dir");
    let (disk, records) = Disk::open(dir.path(), SCHEMA).expect("open");
    assert_eq!(records, BTreeMap::new());
    disk.commit(&put("a", "1")).expect("commit");
    disk.commit(&put("b", "2")).expect("commit");
    let mut batch = put("a", "3");
    batch.delete("b".into());
    batch.delete("never there".into());
    batch.put("c".into(), "4".into());
    disk.commit(&batch).expect("commit");
    drop(disk);
    assert_eq!(
        content(dir.path()).expect("open"),
        own(&[("a", "3"), ("c", "4")])
    );
}

#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let (_held, _) = Disk::open(dir.path(), SCHEMA).expect("open");
    let error = Disk::open(dir.path(), SCHEMA).expect_err("held");
    assert!(matches!(error, DiskError::Held { .. }), "{error:?}");
}

#[test]
fn an_empty_database_beside_a_watermark_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let (disk, _) = Disk::open(dir.path(), SCHEMA).expect("open");
    disk.commit(&put("a", "1")).expect("commit");
    drop(disk);
    fs::remove_dir_all(dir.path().join("db")).expect("remove");
    let error = content(dir.path()).expect_err("rolled back");
    assert!(
        matches!(
            error,
            DiskError::RolledBack {
                found: 0,
                wanted: 1,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn an_older_copy_of_the_database_is_refused() {
    let dir = tempfile::tempdir().expect("dir");
    let (disk, _) = Disk::open(dir.path(), SCHEMA).expect("open");
    disk.commit(&put("a", "1")).expect("commit");
    drop(disk);
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).expect("dir");
    for file in ["conf", "db"] {
        fs::copy(dir.path().join("db").join(file), copy.join(file)).expect("copy");
    }
    let (disk, _) = Disk::open(dir.path(), SCHEMA).expect("open");
    disk.commit(&put("a", "2")).expect("commit");
    drop(disk);
    fs::remove_dir_all(dir.path().join("db")).expect("remove");
    fs::rename(copy, dir.path().join("db")).expect("rename");
    let error = content(dir.path()).expect_err("rolled back");
    assert!(
        matches!(
            error,
            DiskError::RolledBack {
                found: 1,
                wanted: 2,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_record_that_vanished_is_damage() {
    let dir = tempfile::tempdir().expect("dir");
    let (disk, _) = Disk::open(dir.path(), SCHEMA).expect("open");
    disk.commit(&put("a", "1")).expect("commit");
    disk.commit(&put("b", "1")).expect("commit");
    tamper(&disk, |db| {
        db.remove("a").expect("remove").expect("record");
    });
    drop(disk);
    let error = content(dir.path()).expect_err("damaged");
    assert!(
        error
            .to_string()
            .ends_with("its records are not the ones last committed"),
        "{error}"
    );
}

#[test]
fn a_record_with_another_checksum_is_damage() {
    let dir = tempfile::tempdir().expect("dir");
    let (disk, _) = Disk::open(dir.path(), SCHEMA).expect("open");
    disk.commit(&put("a", "1")).expect("commit");
    tamper(&disk, |db| {
        let mut record = db.get("a").expect("get").expect("record").to_vec();
        record[envelope::HEAD] ^= 1;
        db.insert("a", record).expect("insert");
    });
    drop(disk);
    let error = content(dir.path()).expect_err("damaged");
    assert!(
        error.to_string().ends_with("record a has another checksum"),
        "{error}"
    );
}

#[test]
fn a_flipped_schema_number_is_damage() {
    let dir = tempfile::tempdir().expect("dir");
    let (disk, _) = Disk::open(dir.path(), SCHEMA).expect("open");
    disk.commit(&put("a", "1")).expect("commit");
    tamper(&disk, |db| {
        let mut record = db.get("a").expect("get").expect("record").to_vec();
        record[0] ^= 2;
        db.insert("a", record).expect("insert");
    });
    drop(disk);
    let error = content(dir.path()).expect_err("damaged");
    assert!(matches!(error, DiskError::Damaged { .. }), "{error:?}");
}

#[test]
fn a_record_of_another_schema_is_named() {
    let dir = tempfile::tempdir().expect("dir");
    let (disk, _) = Disk::open(dir.path(), 2).expect("open");
    disk.commit(&put("a", "1")).expect("commit");
    drop(disk);
    let error = content(dir.path()).expect_err("schema");
    assert!(
        matches!(
            &error,
            DiskError::Schema {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn garbage_in_the_database_file_never_panics() {
    for (place, length) in [(0, 16), (16, 64), (64, 4096), (4096, 512)] {
        let dir = tempfile::tempdir().expect("dir");
        let (disk, _) = Disk::open(dir.path(), SCHEMA).expect("open");
        for record in 0..50 {
            disk.commit(&put(&format!("key-{record}"), &"x".repeat(100)))
                .expect("commit");
        }
        drop(disk);
        let file = dir.path().join("db/db");
        let mut bytes = fs::read(&file).expect("read");
        let end = bytes.len().min(place + length);
        bytes[place..end].fill(0xa5);
        fs::write(&file, bytes).expect("write");
        // either nothing that counts was hit, or it is an error: never other records
        if let Ok(records) = content(dir.path()) {
            assert_eq!(records.len(), 50);
        }
    }
}

#[test]
fn after_a_failed_write_nothing_more_is_taken() {
    let dir = tempfile::tempdir().expect("dir");
    let (disk, _) = Disk::open(dir.path(), SCHEMA).expect("open");
    disk.commit(&put("a", "1")).expect("commit");
    // the watermark can no longer be replaced
    fs::create_dir(dir.path().join("watermark.next")).expect("dir");
    let error = disk.commit(&put("a", "2")).expect_err("sync");
    assert!(matches!(error, DiskError::Sync { .. }), "{error:?}");
    fs::remove_dir(dir.path().join("watermark.next")).expect("remove");
    let error = disk.commit(&put("a", "3")).expect_err("failed");
    assert!(
        matches!(&error, DiskError::Failed { source, .. } if matches!(**source, DiskError::Sync { .. })),
        "{error:?}"
    );
}

#[test]
fn content_newer_than_its_watermark_is_written_anew_before_it_is_told() {
    let dir = tempfile::tempdir().expect("dir");
    let (disk, _) = Disk::open(dir.path(), SCHEMA).expect("open");
    disk.commit(&put("a", "1")).expect("commit");
    fs::create_dir(dir.path().join("watermark.next")).expect("dir");
    disk.commit(&put("a", "2")).expect_err("sync");
    drop(disk);
    fs::remove_dir(dir.path().join("watermark.next")).expect("remove");
    let file = || {
        let file = fs::metadata(dir.path().join("db/db")).expect("metadata");
        std::os::unix::fs::MetadataExt::ino(&file)
    };
    let before = file();
    assert_eq!(content(dir.path()).expect("open"), own(&[("a", "2")]));
    let after = file();
    assert_ne!(after, before, "it may be in memory alone");
    assert_eq!(content(dir.path()).expect("open"), own(&[("a", "2")]));
    assert_eq!(file(), after, "it is certain now");
}

#[test]
fn a_database_without_its_watermark_is_damage() {
    let dir = tempfile::tempdir().expect("dir");
    let (disk, _) = Disk::open(dir.path(), SCHEMA).expect("open");
    disk.commit(&put("a", "1")).expect("commit");
    drop(disk);
    fs::remove_file(dir.path().join("watermark")).expect("remove");
    let error = content(dir.path()).expect_err("damaged");
    assert!(
        error.to_string().ends_with("its watermark is missing"),
        "{error}"
    );
}

#[test]
fn a_database_whose_making_was_cut_is_made_again() {
    let dir = tempfile::tempdir().expect("dir");
    fs::create_dir_all(dir.path().join("db.next/blobs")).expect("dir");
    fs::write(dir.path().join("db.next/conf"), "half").expect("write");
    assert_eq!(content(dir.path()).expect("open"), own(&[]));
    assert!(!dir.path().join("db.next").exists());
}

#[test]
fn a_replacement_that_was_cut_is_undone() {
    let dir = tempfile::tempdir().expect("dir");
    let (disk, _) = Disk::open(dir.path(), SCHEMA).expect("open");
    disk.commit(&put("a", "1")).expect("commit");
    drop(disk);
    content(dir.path()).expect("closed");
    fs::rename(dir.path().join("db"), dir.path().join("db.old")).expect("rename");
    fs::create_dir(dir.path().join("db.next")).expect("dir");
    assert_eq!(content(dir.path()).expect("open"), own(&[("a", "1")]));
    assert!(!dir.path().join("db.old").exists());
}

#[test]
fn a_commit_of_more_than_is_kept_takes_the_place_of_it() {
    let dir = tempfile::tempdir().expect("dir");
    let (disk, _) = Disk::open(dir.path(), SCHEMA).expect("open");
    let mut kept = put("a stays", "1");
    kept.extend(put("b changes", "2"));
    kept.extend(put("c goes", &"3".repeat(5_000)));
    disk.commit(&kept).expect("commit");
    let numbers = || (0..2_000).map(|number| (format!("n{number:04}"), number.to_string()));
    let mut large = put("b changes", "4");
    large.delete("c goes".into());
    for (key, payload) in numbers() {
        large.put(key.into(), payload.into());
    }
    let before = fs::metadata(dir.path().join("db/db")).expect("a file");
    disk.commit(&large).expect("commit");
    let after = fs::metadata(dir.path().join("db/db")).expect("a file");
    assert_ne!(before.ino(), after.ino(), "another database");
    disk.commit(&put("n0000", "5")).expect("commit");
    drop(disk);
    let mut wanted = own(&[("a stays", "1"), ("b changes", "4"), ("n0000", "5")]);
    wanted.extend(numbers().skip(1));
    assert_eq!(content(dir.path()).expect("open"), wanted);
}

#[test]
fn snapshots_are_written_as_commits_add_up_and_two_stay() {
    let dir = tempfile::tempdir().expect("dir");
    let (disk, _) = Disk::open(dir.path(), SCHEMA).expect("open");
    let large = "x".repeat(300_000);
    for number in 0..12 {
        disk.commit(&put("a", &format!("{number}{large}")))
            .expect("commit");
    }
    let mut names: Vec<String> = fs::read_dir(dir.path())
        .expect("list")
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .filter(|name| name.starts_with("snapshot"))
        .collect();
    names.sort();
    // the first commit, and each fourth after: 1 MiB
    assert_eq!(names, ["snapshot-5", "snapshot-9"]);
    let bytes = fs::read(dir.path().join("snapshot-9")).expect("read");
    let (commits, pieces) = snapshot::decode(SCHEMA, &bytes).expect("whole");
    let records = [(b"a".to_vec(), format!("8{large}").into_bytes())];
    assert_eq!(commits, 9);
    assert_eq!(pieces::join(pieces), Some(records.into()));
}

#[test]
fn a_snapshot_of_sleds_that_was_cut_is_no_damage() {
    let dir = tempfile::tempdir().expect("dir");
    let (disk, _) = Disk::open(dir.path(), SCHEMA).expect("open");
    disk.commit(&put("a", "1")).expect("commit");
    drop(disk);
    let half = dir.path().join("db/snap.00000000000000FF.generating");
    fs::write(&half, "half").expect("write");
    assert_eq!(content(dir.path()).expect("open"), own(&[("a", "1")]));
    assert!(!half.exists());
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let dir = tempfile::tempdir().expect("dir");
    let file = dir.path().join("file");
    fs::write(&file, "").expect("write");
    let error = Disk::open(&file.join("journal"), SCHEMA).expect_err("no directory");
    assert!(matches!(error, DiskError::Directory { .. }), "{error:?}");
    assert!(!error.is_damage());
}
