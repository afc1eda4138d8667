//! The store in one SQLite file: several processes, damage, a file that somebody holds.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use mlops_core::Error as Core;
use mlops_core::arrow::array::{AsArray, RecordBatch};
use mlops_core::arrow::datatypes::Float64Type;
use mlops_features::online::{OnlineRead, SqliteStore};
use mlops_features::{Error, FeatureView, Keys, ValueType};

use crate::{builder, ints, rows};

fn ctr() -> FeatureView {
    builder("ctr", "user_id").build().unwrap()
}

fn read(store: &SqliteStore, view: &FeatureView, ids: &[i64]) -> Result<Vec<Option<f64>>, Error> {
    let keys = Keys::new(view.entity(), &[ints(ids)]).unwrap();
    let rows = store.read_sync(&[OnlineRead { view, features: &[0], keys: &keys }])?;
    Ok(rows[0].columns[0].as_primitive::<Float64Type>().iter().collect())
}

/// Set in the processes that write beside each other, to their number.
const WRITER: &str = "MLOPS_FEATURES_TEST_SQLITE_WRITER";

/// The time of the row of `key` in one round of one writer.
fn time(writer: i64, round: i64, key: i64) -> i64 {
    (round * 7 + writer * 13 + key) % 101
}

#[test]
fn of_two_processes_that_write_the_same_keys_the_latest_row_wins() {
    let view = ctr();
    if let Ok(told) = std::env::var(WRITER) {
        let (writer, path) = told.split_once(' ').unwrap();
        let writer: i64 = writer.parse().unwrap();
        let store = SqliteStore::open(path).unwrap();
        for round in 0..20 {
            let content: Vec<_> =
                (0..30).map(|key| (key, time(writer, round, key), Some(time(writer, round, key) as f64))).collect();
            store.write_sync(&view, &rows(&view, &content), None).unwrap();
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.db");
    let name = "sqlite::of_two_processes_that_write_the_same_keys_the_latest_row_wins";
    let start = |writer: i64| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(WRITER, format!("{writer} {}", path.display()))
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut children = [start(0), start(1)];
    // This process reads meanwhile: rows whole, values only ever written ones.
    let store = SqliteStore::open(&path).unwrap();
    let keys: Vec<i64> = (0..30).collect();
    while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        for value in read(&store, &view, &keys).unwrap().into_iter().flatten() {
            assert!(value.fract() == 0.0 && (0.0..101.0).contains(&value), "{value}");
        }
    }
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let latest = |key: i64| (0..20).flat_map(|round| (0..2).map(move |writer| time(writer, round, key))).max();
    let expected: Vec<_> = keys.iter().map(|key| latest(*key).map(|time| time as f64)).collect();
    assert_eq!(read(&store, &view, &keys).unwrap(), expected);
}

#[test]
fn a_view_that_another_process_widened_is_read_and_written_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.db");
    let (one, other) = (SqliteStore::open(&path).unwrap(), SqliteStore::open(&path).unwrap());
    let (narrow, wide) = (ctr(), builder("ctr", "user_id").feature("more", ValueType::Float64).build().unwrap());
    one.write_sync(&narrow, &rows(&narrow, &[(1, 5, Some(1.0))]), None).unwrap();
    let batch = rows(&narrow, &[(2, 5, Some(2.0))]);
    let mut columns: Vec<_> =
        batch.schema().fields().iter().map(|f| f.name().clone()).zip(batch.columns().to_vec()).collect();
    columns.push(("more".to_owned(), batch.column(2).clone()));
    other.write_sync(&wide, &RecordBatch::try_from_iter(columns).unwrap(), None).unwrap();
    assert_eq!(read(&one, &narrow, &[1, 2]).unwrap(), [Some(1.0), Some(2.0)]);
    one.write_sync(&narrow, &rows(&narrow, &[(3, 5, Some(3.0))]), None).unwrap();
    assert_eq!(read(&other, &wide, &[1, 2, 3]).unwrap(), [Some(1.0), Some(2.0), Some(3.0)]);
    let retyped =
        FeatureView::builder("ctr", narrow.entity().clone()).feature("more", ValueType::Utf8).build().unwrap();
    let keys = Keys::new(retyped.entity(), &[ints(&[2])]).unwrap();
    let refused = one.read_sync(&[OnlineRead { view: &retyped, features: &[0], keys: &keys }]);
    assert!(matches!(refused, Err(Error::Changed { .. })), "{refused:?}");
}

/// Changes the stored row of one key by other means.
fn damage(path: &Path, row: &[u8]) {
    let connection = rusqlite::Connection::open(path).unwrap();
    assert_eq!(connection.execute("UPDATE rows SET row = ?1", [row]).unwrap(), 1);
}

#[test]
fn a_flipped_bit_in_a_stored_row_is_corrupt_and_the_next_row_puts_it_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.db");
    let (store, view) = (SqliteStore::open(&path).unwrap(), ctr());
    store.write_sync(&view, &rows(&view, &[(1, 5, Some(0.5))]), None).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    let stored: Vec<u8> = connection.query_row("SELECT row FROM rows", [], |row| row.get(0)).unwrap();
    drop(connection);
    for byte in 0..stored.len() {
        let mut damaged = stored.clone();
        damaged[byte] ^= 1 << (byte % 8);
        damage(&path, &damaged);
        let error = read(&store, &view, &[1]).unwrap_err();
        assert!(
            matches!(&error, Error::Core(Core::Corrupt { what, .. }) if what.contains("ctr")),
            "byte {byte}: {error:?}"
        );
    }
    store.write_sync(&view, &rows(&view, &[(1, 1, Some(0.75))]), None).unwrap();
    assert_eq!(read(&store, &view, &[1]).unwrap(), [Some(0.75)], "a damaged row gives way to any other");
}

#[test]
fn files_that_are_no_store_are_refused_and_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.db");
    for content in [b"not a database".to_vec(), vec![0xAB; 10_000]] {
        fs::write(&path, &content).unwrap();
        let error = SqliteStore::open(&path).unwrap_err();
        assert!(matches!(error, Error::Core(Core::Corrupt { .. })), "{error:?}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    fs::remove_file(&path).unwrap();
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE other (x)").unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::InvalidData { reason, .. }) if reason.contains("online")), "{error:?}");
    let missing = SqliteStore::open(folder.path().join("no/such/folder.db")).unwrap_err();
    assert!(matches!(missing, Error::Core(Core::Io { .. })), "{missing:?}");
    assert!(SqliteStore::builder(folder.path().join("new.db")).readers(0).open().is_err());
}

/// Set in the process that only holds the write lock.
const HOLD: &str = "MLOPS_FEATURES_TEST_SQLITE_HOLD";

#[test]
fn a_file_that_another_process_writes_all_the_time_is_busy_for_writers_and_open_to_readers() {
    if let Some(path) = std::env::var_os(HOLD) {
        let connection = rusqlite::Connection::open(path).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        println!("held");
        let _ = std::io::stdin().read(&mut [0]);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.db");
    let (store, view) = (SqliteStore::builder(&path).wait(Duration::from_millis(50)).open().unwrap(), ctr());
    store.write_sync(&view, &rows(&view, &[(1, 5, Some(0.5))]), None).unwrap();
    let name = "sqlite::a_file_that_another_process_writes_all_the_time_is_busy_for_writers_and_open_to_readers";
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(HOLD, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut out = std::io::BufReader::new(other.stdout.take().unwrap());
    while !said.contains("held") {
        assert!(std::io::BufRead::read_line(&mut out, &mut said).unwrap() > 0, "{said}");
    }
    let error = store.write_sync(&view, &rows(&view, &[(1, 6, Some(1.0))]), None).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::Busy { what }) if what.contains("online.db")), "{error:?}");
    assert_eq!(read(&store, &view, &[1]).unwrap(), [Some(0.5)], "readers do not wait");
    drop(other.stdin.take());
    other.wait().unwrap();
    store.write_sync(&view, &rows(&view, &[(1, 6, Some(1.0))]), None).unwrap();
    assert_eq!(read(&store, &view, &[1]).unwrap(), [Some(1.0)]);
}
