//! Damage to any byte of what is kept on disk, and definitions that change over it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mlops_core::arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use mlops_core::arrow::datatypes::Float64Type;
use mlops_core::{Dataset, Digest, Error as Core, EventTime, Name, Window};
use mlops_features::ingest::statistics::{FileStatistics, StatisticsStore};
use mlops_features::ingest::{Gate, Push, Target};
use mlops_features::offline::{AppendOnce, CompactOptions, HistoryRequest, OfflineStore, ParquetStore};
use mlops_features::online::{MemoryStore, OnlineRead, OnlineStore, RedbStore, SqliteStore};
use mlops_features::skew::{ParquetVectorLog, VectorLog};
use mlops_features::testkit::block_on;
use mlops_features::{Error, FeatureView, Keys, MaterializeOptions, ValueType, materialize};

use crate::{builder, data, ints, rows, times};

/// Of which bytes one is flipped; every byte was tried when the formats were made.
const STRIDE: usize = 17;

fn view() -> FeatureView {
    builder("ctr", "user_id").build().unwrap()
}

fn content() -> Vec<(i64, i64, Option<f64>)> {
    (0..60).map(|i| (i, 100 + i, (i % 7 != 0).then_some(i as f64 + 0.25))).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Flips a bit here and there in `file` and has `read` look at each: the value that was there, or an error that names the
/// damage. Gives how many were noticed.
#[track_caller]
fn flip<T: PartialEq + std::fmt::Debug>(file: &Path, read: impl Fn() -> Result<T, Error>) -> usize {
    let whole = fs::read(file).unwrap();
    let expected = read().unwrap();
    let mut noticed = 0;
    for at in (0..whole.len()).step_by(STRIDE) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(file, &damaged).unwrap();
        match read() {
            Ok(found) => assert_eq!(found, expected, "byte {at} of {}", whole.len()),
            Err(Error::Core(Core::Corrupt { .. } | Core::InvalidData { .. })) => noticed += 1,
            Err(other) => panic!("byte {at} of {}: {other:?}", whole.len()),
        }
    }
    fs::write(file, &whole).unwrap();
    assert_eq!(read().unwrap(), expected);
    noticed
}

fn scan(store: &ParquetStore, request: &HistoryRequest) -> Result<Vec<RecordBatch>, Error> {
    store.scan(&view(), request)?.map(|batch| Ok(batch?.rows)).collect()
}

#[test]
fn history_gives_what_was_appended_or_says_that_it_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let store = ParquetStore::open(folder.path()).unwrap();
    store.append(&view(), &data(&view(), &content())).unwrap();
    let file = files(folder.path()).remove(0);
    let all = HistoryRequest::all();
    assert!(flip(&file, || scan(&store, &all)) > 20);
    // Row groups are left out by what the footer says of them: damage there must not lose rows.
    let some =
        HistoryRequest::all().window(Window::new(EventTime::from_micros(110), EventTime::from_micros(120)).unwrap());
    assert!(flip(&file, || scan(&store, &some)) > 20);
    // A version is no reading: most damage shows only to those who read.
    flip(&file, || store.history(&view())?.version().map(|_| ()));
}

#[test]
fn damaged_history_is_not_compacted_into_a_file_that_looks_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = ParquetStore::open(folder.path()).unwrap();
    for part in content().chunks(20) {
        store.append(&view(), &data(&view(), part)).unwrap();
    }
    let mut all = files(folder.path());
    all.sort();
    let whole = fs::read(&all[0]).unwrap();
    let options = CompactOptions { files_min: 2, ..CompactOptions::default() };
    for at in (4..whole.len()).step_by(STRIDE) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&all[0], &damaged).unwrap();
        match store.compact(&view(), &options, EventTime::EPOCH) {
            Err(Error::Core(Core::Corrupt { what, .. })) => assert!(what.contains(".parquet"), "{what}"),
            // A byte that means nothing.
            Ok(report) => {
                assert_eq!(report.made, 1);
                let parquet = |file: &PathBuf| file.extension().is_some_and(|end| end == "parquet");
                let made = files(folder.path()).into_iter().find(|file| parquet(file) && !all.contains(file)).unwrap();
                let found: usize =
                    scan(&store, &HistoryRequest::all()).unwrap().iter().map(RecordBatch::num_rows).sum();
                assert_eq!(found, 60);
                fs::remove_file(made).unwrap();
            }
            Err(other) => panic!("byte {at}: {other:?}"),
        }
    }
}

#[test]
fn a_history_file_without_checksums_is_read_as_it_is() {
    use mlops_core::source::ParquetSink;

    let folder = tempfile::tempdir().unwrap();
    let store = ParquetStore::open(folder.path()).unwrap();
    store.append(&view(), &data(&view(), &content())).unwrap();
    let file = files(folder.path()).remove(0);
    let expected = scan(&store, &HistoryRequest::all()).unwrap();
    fs::remove_file(&file).unwrap();
    data(&view(), &content()).write_to(&ParquetSink::new(&file)).unwrap();
    assert_eq!(scan(&store, &HistoryRequest::all()).unwrap(), expected);
}

#[test]
fn ids_of_appends_are_under_the_same_checksums() {
    let folder = tempfile::tempdir().unwrap();
    let id = Digest::of("chunk");
    let store = ParquetStore::open(folder.path()).unwrap();
    store.append_once(&view(), &id, &data(&view(), &content())).unwrap();
    let file =
        files(folder.path()).into_iter().find(|file| file.extension().is_some_and(|end| end == "parquet")).unwrap();
    // A store that was just opened reads the footer anew.
    let read = || ParquetStore::open(folder.path())?.appended(&view(), &id);
    assert!(flip(&file, read) > 20);
}

fn values(store: &dyn OnlineStore) -> Result<Vec<Option<f64>>, Error> {
    let (view, ids) = (view(), (0..60).collect::<Vec<i64>>());
    let keys = Keys::new(view.entity(), &[ints(&ids)])?;
    let rows = block_on(store.read(&[OnlineRead { view: &view, features: &[0], keys: &keys }]))?;
    Ok(rows[0].columns[0].as_primitive::<Float64Type>().iter().collect())
}

#[test]
fn an_sqlite_file_never_gives_another_value() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.db");
    SqliteStore::open(&path).unwrap().write_sync(&view(), &rows(&view(), &content()), None).unwrap();
    let whole = fs::read(&path).unwrap();
    let expected: Vec<_> = content().iter().map(|row| row.2).collect();
    let (mut noticed, mut changed) = (0, 0);
    for at in (0..whole.len()).step_by(STRIDE) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        for beside in ["online.db-wal", "online.db-shm"] {
            let _ = fs::remove_file(folder.path().join(beside));
        }
        fs::write(&path, &damaged).unwrap();
        match SqliteStore::open(&path).and_then(|store| values(&store)) {
            Err(error) => {
                let typed = matches!(
                    &error,
                    Error::Core(
                        Core::Corrupt { .. }
                            | Core::InvalidData { .. }
                            | Core::External { .. }
                            | Core::Io { .. }
                            | Core::Busy { .. }
                    ) | Error::Changed { .. }
                );
                assert!(typed, "byte {at}: {error:?}");
                noticed += 1;
            }
            Ok(found) => {
                // A key that was damaged is another key; no value is ever another value.
                let wrong = found.iter().zip(&expected).find(|(found, row)| found.is_some() && found != row);
                assert_eq!(wrong, None, "byte {at}");
                changed += usize::from(found != expected);
            }
        }
    }
    assert!(noticed > 50 && changed < noticed / 4, "{noticed} noticed, {changed} with a key that nobody finds");
}

#[test]
fn statistics_of_a_day_are_those_that_were_kept_or_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let statistics = Arc::new(FileStatistics::open(folder.path()).unwrap());
    let gate = Gate::new().statistics(statistics.clone());
    let push = Push::builder(view()).online(Arc::new(MemoryStore::new())).gate(gate).build().unwrap();
    push.push(&rows(&view(), &content()), Target::Online).unwrap();
    let file = files(folder.path()).remove(0);
    let name = Name::new("ctr").unwrap();
    let read = || Ok(statistics.read(&name, 0)?.map(|profile| profile.to_bytes()));
    assert!(flip(&file, read) > 20);
}

#[test]
fn what_was_served_is_what_was_logged_or_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let log = ParquetVectorLog::open(folder.path()).unwrap();
    let served = [("user_id", ints(&[1, 2])), ("served_at", times(&[10, 20])), ("ctr", ints(&[70_000, 80_000]))];
    log.append(&RecordBatch::try_from_iter(served).unwrap()).unwrap();
    let file = files(folder.path()).remove(0);
    let all = Window::new(EventTime::MIN, EventTime::MAX).unwrap();
    // What stands beside the rows, like the kinds of the columns, is not among them.
    let columns = |rows: Result<RecordBatch, Error>| rows.map(|rows| rows.columns().to_vec());
    assert!(flip(&file, || log.read(all)?.map(columns).collect::<Result<Vec<_>, _>>()) > 10);
}

/// `ctr` as text, and a row of it.
fn retyped() -> (FeatureView, RecordBatch) {
    let view = FeatureView::builder("ctr", view().entity().clone()).feature("ctr", ValueType::Utf8).build().unwrap();
    let text: ArrayRef = Arc::new(StringArray::from(vec!["high"]));
    let rows = RecordBatch::try_from_iter([("user_id", ints(&[1])), ("event_timestamp", times(&[999])), ("ctr", text)]);
    (view, rows.unwrap())
}

#[track_caller]
fn is_changed<T: std::fmt::Debug>(outcome: Result<T, Error>) {
    match outcome {
        Err(Error::Changed { view, what, .. }) => assert_eq!((view.as_str(), what.as_str()), ("ctr", "ctr")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_view_that_became_another_type_is_refused_at_every_door_and_what_was_there_stays() {
    let folder = tempfile::tempdir().unwrap();
    let offline = Arc::new(ParquetStore::open(folder.path().join("history")).unwrap());
    offline.append(&view(), &data(&view(), &content())).unwrap();
    let online: [Arc<dyn OnlineStore>; 3] = [
        Arc::new(MemoryStore::new()),
        Arc::new(RedbStore::open(folder.path().join("online.redb")).unwrap()),
        Arc::new(SqliteStore::open(folder.path().join("online.db")).unwrap()),
    ];
    let (other, bad) = retyped();
    for online in online {
        let run =
            |view: &FeatureView| materialize(&*offline, &*online, view, &MaterializeOptions::default(), &mut |_| true);
        run(&view()).unwrap();
        let before = values(&*online).unwrap();
        is_changed(run(&other));
        let push = Push::builder(other.clone()).online(online.clone()).build().unwrap();
        is_changed(push.push(&bad, Target::Online));
        let keys = Keys::new(other.entity(), &[ints(&[1])]).unwrap();
        is_changed(block_on(online.read(&[OnlineRead { view: &other, features: &[0], keys: &keys }])));
        assert_eq!(values(&*online).unwrap(), before);
    }
    is_changed(offline.scan(&other, &HistoryRequest::all()).and_then(|mut scan| scan.next().transpose()));
    assert_eq!(scan(&offline, &HistoryRequest::all()).unwrap().len(), 1);
}

#[test]
fn nothing_is_brought_where_there_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let offline = ParquetStore::open(folder.path()).unwrap();
    let none = rows(&view(), &[]);
    let appended = offline.append(&view(), &Dataset::from_batches([none.clone()]).unwrap()).unwrap();
    assert_eq!((appended.rows, appended.end), (0, None));
    let online = Arc::new(MemoryStore::new());
    let report = materialize(&offline, &*online, &view(), &MaterializeOptions::default(), &mut |_| true).unwrap();
    assert_eq!((report.rows, report.chunks, report.to), (0, 0, None));
    let push = Push::builder(view()).online(online.clone()).build().unwrap();
    assert_eq!(push.push(&none, Target::Online).unwrap().online.written, 0);
    assert_eq!((online.len(&view()), block_on(online.watermark(&view())).unwrap()), (0, None));
    // A file of others that has no rows is no fault either.
    let file = folder.path().join("empty.parquet");
    let empty = Dataset::from_batches([none]).unwrap();
    empty.write_to(&mlops_core::source::ParquetSink::new(&file)).unwrap();
    let read = Dataset::from_source(Arc::new(mlops_core::source::ParquetSource::open(&file).unwrap())).unwrap();
    assert_eq!(offline.append(&view(), &read).unwrap().rows, 0);
}

#[test]
fn values_at_the_ends_of_doubles_go_all_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let offline = Arc::new(ParquetStore::open(folder.path().join("history")).unwrap());
    let online = Arc::new(RedbStore::open(folder.path().join("online.redb")).unwrap());
    let statistics = Arc::new(FileStatistics::open(folder.path().join("statistics")).unwrap());
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MAX, f64::from_bits(1)];
    let at = [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX];
    let batch = RecordBatch::try_from_iter([
        ("user_id", ints(&[0, 1, 2, 3, 4, 5])),
        ("event_timestamp", times(&at)),
        ("ctr", Arc::new(Float64Array::from(odd.to_vec())) as ArrayRef),
    ])
    .unwrap();
    let gate = Gate::new().statistics(statistics.clone());
    let push = Push::builder(view()).offline(offline.clone()).online(online.clone()).gate(gate).build().unwrap();
    push.push(&batch, Target::OnlineAndOffline).unwrap();
    let bits = |values: &[Option<f64>]| values.iter().map(|value| value.map(f64::to_bits)).collect::<Vec<_>>();
    let expected = odd.map(|value| Some(value.to_bits())).to_vec();
    assert_eq!(bits(&values(&*online).unwrap()[..6]), expected);
    let scanned = scan(&offline, &HistoryRequest::all()).unwrap();
    let found: Vec<_> = scanned[0]["ctr"].as_primitive::<Float64Type>().iter().collect();
    assert_eq!(bits(&found), expected);
    let days = statistics.days(&Name::new("ctr").unwrap()).unwrap();
    assert_eq!(days, [-106_751_992, -1, 0, 106_751_991], "days of the first and the last instant that there are");
    let fresh = MemoryStore::new();
    materialize(&*offline, &fresh, &view(), &MaterializeOptions::default(), &mut |_| true).unwrap();
    assert_eq!(bits(&values(&fresh).unwrap()[..6]), expected);
}
