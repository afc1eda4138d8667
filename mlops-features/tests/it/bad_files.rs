//! Files of the stores that are cut, foreign, locked or no files at all, and values that look dangerous: a typed error
//! that names the file, or the same bytes back.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mlops_core::arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use mlops_core::arrow::datatypes::Float64Type;
use mlops_core::source::ParquetSink;
use mlops_core::{Dataset, Error as Core};
use mlops_features::offline::{HistoryBatch, HistoryRequest, OfflineStore, ParquetStore};
use mlops_features::online::{MemoryStore, OnlineRead, OnlineRows, OnlineStore, RedbStore};
use mlops_features::testkit::block_on;
use mlops_features::{Entity, Error, FeatureView, KeyType, Keys, ValueType};

use crate::{builder, data, ints, rows, times};

fn open(path: &Path) -> Result<RedbStore, Error> {
    RedbStore::builder(path).wait(Duration::ZERO).open()
}

fn view() -> FeatureView {
    builder("ctr", "user_id").build().unwrap()
}

fn content() -> Vec<(i64, i64, Option<f64>)> {
    (0..300).map(|i| (i, i, Some(i as f64 + 0.5))).collect()
}

fn values(store: &RedbStore) -> Result<Vec<Option<f64>>, Error> {
    let (view, ids) = (view(), (0..300).collect::<Vec<i64>>());
    let keys = Keys::new(view.entity(), &[ints(&ids)])?;
    let rows = store.read_sync(&[OnlineRead { view: &view, features: &[0], keys: &keys }])?;
    Ok(rows[0].columns[0].as_primitive::<Float64Type>().iter().collect())
}

#[track_caller]
fn names(error: &Error, file: &str) {
    assert!(error.to_string().contains(file), "{error} does not name {file}");
}

/// A folder with a store of [`content`], and its bytes.
fn written() -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.redb");
    open(&path).unwrap().write_sync(&view(), &rows(&view(), &content()), None).unwrap();
    let bytes = fs::read(&path).unwrap();
    (folder, bytes)
}

#[test]
fn a_store_that_was_cut_never_opens_as_one_that_knows_less() {
    let (folder, whole) = written();
    let path = folder.path().join("online.redb");
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let pages = (0..whole.len()).step_by(whole.len() / 150);
    for length in pages.chain([1, 8, 9, 10, 63, 64, 319, 320, 4_095, used / 2, used - 1]) {
        fs::write(&path, &whole[..length]).unwrap();
        match open(&path).and_then(|store| values(&store)) {
            Ok(found) => {
                let expected: Vec<Option<f64>> = content().iter().map(|row| row.2).collect();
                assert_eq!(found, expected, "cut to {length} of {} bytes", whole.len());
            }
            Err(error) => {
                let typed =
                    matches!(&error, Error::Core(Core::Corrupt { .. } | Core::Io { .. } | Core::InvalidData { .. }));
                assert!(typed, "cut to {length}: {error:?}");
                assert!(error.to_string().contains("online.redb") || error.to_string().contains("`ctr`"), "{error}");
            }
        }
    }
    fs::write(&path, &whole).unwrap();
    assert!(values(&open(&path).unwrap()).is_ok());
}

#[test]
fn a_changed_magic_number_is_no_store_and_stays_as_it_is() {
    let (folder, whole) = written();
    let path = folder.path().join("online.redb");
    for at in 0..9 {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x20;
        fs::write(&path, &damaged).unwrap();
        let error = open(&path).unwrap_err();
        assert!(matches!(&error, Error::Core(Core::Corrupt { .. })), "byte {at}: {error:?}");
        names(&error, "online.redb");
        assert_eq!(fs::read(&path).unwrap(), damaged);
    }
}

#[test]
fn flips_in_the_header_are_noticed_or_harmless() {
    let (folder, whole) = written();
    let path = folder.path().join("online.redb");
    for at in (9..400).step_by(3) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&path, &damaged).unwrap();
        match open(&path).and_then(|store| values(&store)) {
            Ok(found) => {
                let wrong = found.iter().zip(content()).find(|(found, row)| found.is_some() && **found != row.2);
                assert!(wrong.is_none(), "flip at {at}: {wrong:?}");
            }
            Err(Error::Core(
                Core::Corrupt { .. } | Core::Io { .. } | Core::InvalidData { .. } | Core::External { .. },
            )) => {}
            Err(other) => panic!("flip at {at}: {other:?}"),
        }
    }
}

#[test]
fn an_empty_file_is_not_taken_for_a_new_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.redb");
    fs::write(&path, b"").unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::Corrupt { .. })), "{error:?}");
    names(&error, "online.redb");
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
}

#[test]
fn places_that_are_no_files_are_refused_by_name_and_nothing_is_left_there() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("store.redb");
    fs::create_dir(&below).unwrap();
    let error = open(&below).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::Io { .. })), "{error:?}");
    names(&error, "store.redb");
    let error = open(&folder.path().join("a\0b")).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::Io { .. })), "{error:?}");
    let error = open(&folder.path().join("n".repeat(10_000))).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::Io { .. })), "{error:?}");
    fs::write(folder.path().join("file"), b"").unwrap();
    for store in [folder.path().join("file"), folder.path().join("file/below"), folder.path().join("a\0b")] {
        let error = ParquetStore::open(&store).unwrap_err();
        assert!(matches!(&error, Error::Core(Core::Io { .. })), "{error:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "a folder and a file, as they were");
    assert_eq!(fs::read_dir(&below).unwrap().count(), 0);
}

#[test]
fn a_store_that_is_open_in_this_process_is_busy_and_goes_on() {
    let (folder, _) = written();
    let path = folder.path().join("online.redb");
    let store = open(&path).unwrap();
    for wait in [Duration::ZERO, Duration::from_millis(60)] {
        let error = RedbStore::builder(&path).wait(wait).open().unwrap_err();
        assert!(matches!(&error, Error::Core(Core::Busy { .. })), "{error:?}");
        names(&error, "online.redb");
    }
    store.write_sync(&view(), &rows(&view(), &[(0, 9_999, Some(7.0))]), None).unwrap();
    assert_eq!(values(&store).unwrap()[0], Some(7.0));
    drop(store);
    assert_eq!(values(&open(&path).unwrap()).unwrap()[0], Some(7.0));
}

#[test]
fn a_redb_file_of_another_program_is_refused_and_gets_no_tables() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.redb");
    let table: redb::TableDefinition<'_, &str, u64> = redb::TableDefinition::new("rows");
    for ours in [false, true] {
        let database = redb::Database::create(&path).unwrap();
        let write = database.begin_write().unwrap();
        if ours {
            write.open_table(table).unwrap().insert("a", 1).unwrap();
        }
        write.commit().unwrap();
        drop(database);
        let error = open(&path).unwrap_err();
        assert!(matches!(&error, Error::Core(Core::InvalidData { .. } | Core::Corrupt { .. })), "{error:?}");
        names(&error, "other.redb");
        let database = redb::Database::open(&path).unwrap();
        let read = redb::ReadableDatabase::begin_read(&database).unwrap();
        assert_eq!(read.list_tables().unwrap().count(), usize::from(ours));
    }
}

#[test]
fn many_openers_of_one_new_store_all_get_it_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.redb");
    std::thread::scope(|scope| {
        for i in 0..6 {
            let path = &path;
            scope.spawn(move || {
                let store = RedbStore::builder(path).wait(Duration::from_mins(1)).open().unwrap();
                store.write_sync(&view(), &rows(&view(), &[(i, i, Some(i as f64))]), None).unwrap();
            });
        }
    });
    let found = values(&open(&path).unwrap()).unwrap();
    assert_eq!(found[..6], (0..6).map(|i| Some(f64::from(i))).collect::<Vec<_>>());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half-made stays beside it");
}

#[test]
fn what_a_killed_process_left_beside_a_store_is_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".mlops-1a2b3c.tmp"), vec![0; 10_000]).unwrap();
    let path = folder.path().join("online.redb");
    drop(open(&path).unwrap());
    assert!(open(&path).is_ok());
}

fn history(folder: &Path) -> (ParquetStore, std::path::PathBuf) {
    let store = ParquetStore::open(folder).unwrap();
    store.append(&view(), &data(&view(), &content())).unwrap();
    let of_view = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let file = of_view.join(format!("{:020}.parquet", 0));
    assert!(file.is_file());
    (store, file)
}

fn scan(store: &ParquetStore) -> Result<Vec<HistoryBatch>, Error> {
    store.scan(&view(), &HistoryRequest::all())?.collect()
}

#[test]
fn history_that_is_empty_foreign_or_a_folder_is_named_and_appends_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (store, file) = history(folder.path());
    let whole = fs::read(&file).unwrap();

    fs::write(&file, b"").unwrap();
    let error = scan(&store).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::Corrupt { .. })), "{error:?}");
    names(&error, "00000000000000000000.parquet");

    fs::remove_file(&file).unwrap();
    let foreign = RecordBatch::try_from_iter([("colour", Arc::new(StringArray::from(vec!["red"])) as ArrayRef)]);
    Dataset::from_batches([foreign.unwrap()]).unwrap().write_to(&ParquetSink::new(&file)).unwrap();
    let error = scan(&store).unwrap_err();
    assert!(matches!(&error, Error::Changed { view, .. } if view == "ctr"), "{error:?}");

    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let error = scan(&store).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::Io { .. } | Core::Corrupt { .. })), "{error:?}");
    names(&error, "00000000000000000000.parquet");

    fs::remove_dir(&file).unwrap();
    fs::write(&file, &whole).unwrap();
    store.append(&view(), &data(&view(), &content())).unwrap();
    assert_eq!(scan(&store).unwrap().iter().map(|batch| batch.rows.num_rows()).sum::<usize>(), 600);
}

#[test]
fn an_append_of_bad_rows_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, file) = history(folder.path());
    let beside = || fs::read_dir(file.parent().unwrap()).unwrap().count();
    assert_eq!(beside(), 1);
    let good = rows(&view(), &[(1, 1, Some(0.5))]);
    let missing = good.project(&[0, 1]).unwrap();
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let typed = RecordBatch::try_from_iter([("user_id", ints(&[1])), ("event_timestamp", times(&[1])), ("ctr", text)]);
    for bad in [missing, typed.unwrap()] {
        let error = store.append(&view(), &Dataset::from_batches([bad]).unwrap()).unwrap_err();
        assert!(matches!(&error, Error::Core(Core::Schema { column, .. }) if column == "ctr"), "{error:?}");
        assert_eq!(beside(), 1);
    }
    // A column that the view does not know is no row of it, and no fault.
    let mut wider: Vec<(String, ArrayRef)> =
        good.schema().fields().iter().map(|f| f.name().clone()).zip(good.columns().to_vec()).collect();
    wider.push(("unknown".to_owned(), ints(&[1])));
    let wider = RecordBatch::try_from_iter(wider).unwrap();
    store.append(&view(), &Dataset::from_batches([wider]).unwrap()).unwrap();
    assert!(scan(&store).unwrap().iter().all(|batch| batch.rows.num_columns() == 3));
}

/// Keys that a path, a terminal or a buffer could stumble over.
fn hostile() -> Vec<String> {
    let long = "k".repeat(10_000);
    let keys = ["", "..", "../../etc/passwd", "/", "a/b", "a\0b", "\0", "a\nb", "khách hàng", "\u{1b}[2J", &long];
    keys.map(str::to_owned).to_vec()
}

fn texts(store: &impl OnlineStore, view: &FeatureView, wanted: &[String]) -> OnlineRows {
    let keys = Keys::new(view.entity(), &[Arc::new(StringArray::from(wanted.to_vec())) as ArrayRef]).unwrap();
    let features: Vec<usize> = (0..view.features().len()).collect();
    let read = OnlineRead { view, features: &features, keys: &keys };
    block_on(store.read(&[read])).unwrap().remove(0)
}

#[test]
fn keys_and_values_are_data_whatever_they_hold() {
    let entity = Entity::builder("thing").key("name", KeyType::Utf8).build().unwrap();
    let view =
        FeatureView::builder("odd", entity).feature("text", ValueType::Utf8).feature("number", ValueType::Float64);
    let view = view.build().unwrap();
    let keys = hostile();
    let numbers = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MAX];
    let numbers: Vec<f64> = (0..keys.len()).map(|at| numbers[at % numbers.len()]).collect();
    let strings = || Arc::new(StringArray::from(keys.clone())) as ArrayRef;
    let batch = RecordBatch::try_from_iter([
        ("name", strings()),
        ("event_timestamp", times(&vec![1; keys.len()])),
        ("text", strings()),
        ("number", Arc::new(Float64Array::from(numbers.clone()))),
    ])
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.redb");
    let (memory, redb) = (MemoryStore::new(), open(&path).unwrap());
    memory.write_sync(&view, &batch, None).unwrap();
    redb.write_sync(&view, &batch, None).unwrap();
    drop(redb);
    let redb = open(&path).unwrap();
    for found in [texts(&memory, &view, &keys), texts(&redb, &view, &keys)] {
        let text: Vec<&str> = found.columns[0].as_string::<i32>().iter().flatten().collect();
        assert_eq!(text, keys);
        let bits: Vec<u64> =
            found.columns[1].as_primitive::<Float64Type>().values().iter().map(|v| v.to_bits()).collect();
        assert_eq!(bits, numbers.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
    }
    let unknown = texts(&redb, &view, &["K".to_owned(), "a".to_owned(), "..\0".to_owned()]);
    assert_eq!(unknown.event_time.null_count(), 3, "none of them is taken for another");

    let offline = ParquetStore::open(folder.path().join("history")).unwrap();
    offline.append(&view, &Dataset::from_batches([batch.clone()]).unwrap()).unwrap();
    let scanned = offline.scan(&view, &HistoryRequest::all()).unwrap().next().unwrap().unwrap();
    assert_eq!(scanned.rows.columns()[0].as_string::<i32>(), batch.columns()[0].as_string::<i32>());
    // One folder for the view, named by a digest: no key and no name became a path.
    assert_eq!(fs::read_dir(folder.path().join("history")).unwrap().count(), 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn of_duplicate_keys_in_one_write_the_latest_stays_and_none_is_lost_uncounted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("online.redb")).unwrap();
    let twice = [(0, 5, Some(1.0)), (0, 9, Some(2.0)), (0, 7, Some(3.0)), (0, 9, Some(4.0)), (1, 1, None)];
    let summary = store.write_sync(&view(), &rows(&view(), &twice), None).unwrap();
    assert_eq!((summary.written, summary.superseded), (2, 3));
    assert_eq!(values(&store).unwrap()[..2], [Some(4.0), None]);
}
