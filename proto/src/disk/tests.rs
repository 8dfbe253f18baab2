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
    disk.db.remove("a").expect("remove").expect("record");
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
    let mut record = disk.db.get("a").expect("get").expect("record").to_vec();
    record[envelope::HEAD] ^= 1;
    disk.db.insert("a", record).expect("insert");
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
    let mut record = disk.db.get("a").expect("get").expect("record").to_vec();
    record[0] ^= 2;
    disk.db.insert("a", record).expect("insert");
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
    assert!(matches!(error, DiskError::Failed { .. }), "{error:?}");
}
