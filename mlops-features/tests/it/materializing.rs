//! History comes online: late rows too, after failures too, and never twice in a way that shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mlops_core::arrow::array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use mlops_core::pipeline::{Inputs, Step, StepContext};
use mlops_core::{Dataset, Error as Core, EventTime, ManualClock, Name, Window};
use mlops_features::offline::{OfflineStore, ParquetStore, Watermark};
use mlops_features::online::{MemoryStore, OnlineRead, OnlineStore, RedbStore};
use mlops_features::testkit::{Faults, FlakyOfflineStore, FlakyOnlineStore, block_on};
use mlops_features::{
    Error, FeatureView, Keys, MaterializeOptions, MaterializeReport, MaterializeStep, Range, materialize,
};
use proptest::prelude::*;

use crate::{builder, data, ints};

fn view() -> FeatureView {
    builder("ctr", "user_id").build().unwrap()
}

fn value(store: &MemoryStore, view: &FeatureView, key: i64) -> Option<f64> {
    use mlops_core::arrow::array::AsArray;
    use mlops_core::arrow::datatypes::Float64Type;
    let keys = Keys::new(view.entity(), &[ints(&[key])]).unwrap();
    let rows = store.read_sync(&[OnlineRead { view, features: &[0], keys: &keys }]).unwrap();
    rows[0].columns[0].as_primitive::<Float64Type>().iter().next().flatten()
}

fn run(offline: &dyn OfflineStore, online: &dyn OnlineStore, chunk_rows: usize) -> Result<MaterializeReport, Error> {
    let options = MaterializeOptions::builder().chunk_rows(chunk_rows).build().unwrap();
    materialize(offline, online, &view(), &options, &mut |_| true)
}

#[test]
fn a_row_that_arrives_late_comes_online_when_it_is_newer_than_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (offline, online, view) = (ParquetStore::open(folder.path()).unwrap(), MemoryStore::new(), view());
    offline.append(&view, &data(&view, &[(1, 100, Some(0.1)), (2, 100, Some(0.2))])).unwrap();
    let first = run(&offline, &online, 10).unwrap();
    assert_eq!((first.rows, first.online.written, first.from, first.chunks), (2, 2, None, 1));
    // An older row of a new key, and an older row of a known one.
    offline.append(&view, &data(&view, &[(3, 5, Some(0.3)), (1, 50, Some(9.9))])).unwrap();
    let second = run(&offline, &online, 10).unwrap();
    assert_eq!((second.rows, second.online.written, second.online.superseded), (2, 1, 1));
    assert_eq!(second.from, first.to);
    assert_eq!([1, 2, 3].map(|key| value(&online, &view, key)), [Some(0.1), Some(0.2), Some(0.3)]);
    let third = run(&offline, &online, 10).unwrap();
    assert_eq!((third.rows, third.to), (0, None), "nothing new, nothing read");
}

#[test]
fn a_run_that_fails_anywhere_is_resumed_and_ends_as_an_undisturbed_one() {
    let folder = tempfile::tempdir().unwrap();
    let view = view();
    let offline = ParquetStore::open(folder.path()).unwrap();
    let content: Vec<_> = (0..40).map(|i| (i % 7, i * 13 % 29, Some(i as f64))).collect();
    offline.append(&view, &data(&view, &content[..25])).unwrap();
    offline.append(&view, &data(&view, &content[25..])).unwrap();
    let calm = MemoryStore::new();
    run(&offline, &calm, 3).unwrap();
    for after_the_work in [false, true] {
        let faults = Faults { fail_every: 5, after_the_work, delay: Duration::ZERO };
        let online = FlakyOnlineStore::new(MemoryStore::new(), faults);
        let flaky =
            FlakyOfflineStore::new(ParquetStore::open(folder.path()).unwrap(), Faults { fail_every: 7, ..faults });
        let failures = (0..100).take_while(|_| run(&flaky, &online, 3).is_err()).count();
        assert!((1..100).contains(&failures), "{failures} failures");
        for key in 0..7 {
            assert_eq!(value(online.inner(), &view, key), value(&calm, &view, key), "key {key}");
        }
        assert_eq!(online.inner().watermark_sync(&view).unwrap(), calm.watermark_sync(&view).unwrap());
    }
}

#[test]
fn a_position_inside_of_an_append_is_where_the_next_run_begins() {
    let folder = tempfile::tempdir().unwrap();
    let view = view();
    let offline = ParquetStore::open(folder.path().join("history")).unwrap();
    offline.append(&view, &data(&view, &(0..10).map(|i| (i, i, Some(0.0))).collect::<Vec<_>>())).unwrap();
    let path = folder.path().join("online.redb");
    {
        let online = RedbStore::open(&path).unwrap();
        let options = MaterializeOptions::builder().chunk_rows(4).build().unwrap();
        let stopped = materialize(&offline, &online, &view, &options, &mut |report| report.rows < 8);
        assert!(matches!(stopped, Err(Error::Core(Core::Cancelled { .. }))), "{stopped:?}");
    }
    let online = RedbStore::open(&path).unwrap();
    assert_eq!(online.watermark_sync(&view).unwrap(), Some(Watermark { sequence: 0, rows: 8 }));
    let report = run(&offline, &online, 4).unwrap();
    assert_eq!((report.rows, report.online.written), (2, 2));
}

#[test]
fn a_window_is_brought_without_moving_the_position() {
    let folder = tempfile::tempdir().unwrap();
    let (offline, online, view) = (ParquetStore::open(folder.path()).unwrap(), MemoryStore::new(), view());
    offline.append(&view, &data(&view, &[(1, 1, Some(0.1)), (2, 2, Some(0.2)), (3, 3, Some(0.3))])).unwrap();
    let window = Window::new(EventTime::from_micros(2), EventTime::from_micros(3)).unwrap();
    let options = MaterializeOptions::builder().range(Range::Window(window)).build().unwrap();
    let report = materialize(&offline, &online, &view, &options, &mut |_| true).unwrap();
    assert_eq!((report.online.written, online.watermark_sync(&view).unwrap()), (1, None));
    assert_eq!([1, 2, 3].map(|key| value(&online, &view, key)), [None, Some(0.2), None]);
}

#[test]
fn rows_without_a_key_are_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (offline, online, view) = (ParquetStore::open(folder.path()).unwrap(), MemoryStore::new(), view());
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("user_id", Arc::new(Int64Array::from(vec![None, Some(1), None])) as ArrayRef, true),
        ("event_timestamp", crate::times(&[1, 1, 1]), true),
        ("ctr", Arc::new(Float64Array::from(vec![0.1, 0.2, 0.3])), true),
    ])
    .unwrap();
    assert_eq!(batch.column(0).null_count(), 2);
    offline.append(&view, &mlops_core::Dataset::from_batches([batch]).unwrap()).unwrap();
    let report = run(&offline, &online, 1).unwrap();
    assert_eq!((report.rows, report.null_keys, report.online.written), (3, 2, 1));
    assert_eq!(online.watermark_sync(&view).unwrap().map(|at| at.rows), Some(3), "the position passes them");
}

#[test]
fn as_a_step_it_reports_and_can_be_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let view = view();
    let offline = Arc::new(ParquetStore::open(folder.path()).unwrap());
    offline.append(&view, &data(&view, &[(1, 1, Some(0.1))])).unwrap();
    let online = Arc::new(MemoryStore::new());
    let name = Name::new("materialize_ctr").unwrap();
    let step = MaterializeStep::new(name, offline.clone(), online.clone(), view.clone(), MaterializeOptions::default());
    let cancelled = Arc::new(AtomicBool::new(false));
    let asked = cancelled.clone();
    let context = StepContext {
        clock: Arc::new(ManualClock::at(EventTime::EPOCH)),
        cancelled: Arc::new(move || asked.load(Ordering::Relaxed)),
        progress: Arc::new(|_| {}),
    };
    let artifact = step.run(&Inputs::default(), &context).unwrap();
    let report: MaterializeReport = serde_json::from_value(artifact.as_json().unwrap().clone()).unwrap();
    assert_eq!(report.online.written, 1);
    assert_eq!(step.fingerprint().unwrap(), step.fingerprint().unwrap());
    offline.append(&view, &data(&view, &[(2, 1, Some(0.1))])).unwrap();
    cancelled.store(true, Ordering::Relaxed);
    assert!(matches!(step.run(&Inputs::default(), &context), Err(Core::Cancelled { .. })));
}

#[test]
fn settings_outside_of_their_domain_are_refused() {
    assert!(MaterializeOptions::builder().chunk_rows(0).build().is_err());
    assert!(serde_json::from_str::<MaterializeOptions>(r#"{"chunk_rows": 0}"#).is_err());
    assert!(serde_json::from_str::<MaterializeOptions>(r#"{"chunk": 1}"#).is_err());
    assert!(MaterializeOptions::builder().memory_bytes(1000).build().is_err());
    assert_eq!(serde_json::from_str::<MaterializeOptions>("{}").unwrap(), MaterializeOptions::default());
}

#[test]
fn what_was_read_before_history_failed_is_brought_online() {
    let folder = tempfile::tempdir().unwrap();
    let (view, online) = (view(), MemoryStore::new());
    let offline = ParquetStore::open(folder.path()).unwrap();
    for append in 0..3 {
        offline.append(&view, &data(&view, &[(append, append, Some(0.5))])).unwrap();
    }
    let mut files: Vec<_> = walk(folder.path()).into_iter().filter(|path| path.extension().is_some()).collect();
    files.sort();
    std::fs::write(&files[2], b"no Parquet").unwrap();
    let error = run(&offline, &online, 100).unwrap_err();
    assert!(matches!(error, Error::Core(Core::Corrupt { .. })), "{error}");
    assert_eq!(online.watermark_sync(&view).unwrap(), Some(Watermark { sequence: 1, rows: 1 }));
    assert_eq!([0, 1, 2].map(|key| value(&online, &view, key)), [Some(0.5), Some(0.5), None]);
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_row_that_its_chunk_beats_is_not_written_and_a_chunk_ends_by_what_was_read() {
    let folder = tempfile::tempdir().unwrap();
    let (view, online) = (view(), MemoryStore::new());
    let offline = ParquetStore::open(folder.path()).unwrap();
    let content: Vec<_> = (0..40).map(|at| (at % 2, at, Some(0.0))).collect();
    offline.append(&view, &data(&view, &content)).unwrap();
    // Two keys are never three: a chunk ends when eight times three rows were read.
    let report = run(&offline, &online, 3).unwrap();
    assert_eq!((report.rows, report.chunks), (40, 2));
    assert_eq!((report.online.written, report.online.superseded), (4, 36));
}

#[test]
fn progress_is_told_while_a_chunk_is_read_and_who_stops_there_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (view, online) = (view(), MemoryStore::new());
    let offline = ParquetStore::open(folder.path()).unwrap();
    let content: Vec<_> = (0..50).map(|at| (at % 3, at, Some(at as f64))).collect();
    offline.append(&view, &data(&view, &content)).unwrap();
    let options = MaterializeOptions::builder().chunk_rows(10).build().unwrap();
    let mut told = Vec::new();
    let stopped = materialize(&offline, &online, &view, &options, &mut |report| {
        told.push((report.rows, report.chunks));
        told.len() < 3
    });
    assert!(matches!(stopped, Err(Error::Core(Core::Cancelled { .. }))));
    assert_eq!(told, [(10, 0), (20, 0), (30, 0)]);
    assert_eq!([0, 1, 2].map(|key| value(&online, &view, key)), [Some(27.0), Some(28.0), Some(29.0)]);
    let rest = run(&offline, &online, 10).unwrap();
    assert_eq!((rest.rows, value(&online, &view, 1)), (20, Some(49.0)));
}

/// Keys in the order of their bytes, the first number least: between, behind and in front of what is there, beside another view.
#[test]
fn rows_of_one_view_never_land_among_those_of_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.redb");
    let (first, second) = (view(), builder("price", "user_id").build().unwrap());
    let online = RedbStore::open(&path).unwrap();
    let write = |view: &FeatureView, content: &[(i64, i64, Option<f64>)]| {
        online.write_sync(view, &crate::rows(view, content), None).unwrap()
    };
    write(&first, &[(2, 5, Some(0.2)), (4, 5, Some(0.4))]);
    write(&second, &[(1, 5, Some(9.1)), (3, 5, Some(9.3))]);
    // 3 stands between, 5 and 6 behind; what is there for 4 is newer, and 2 is replaced.
    let summary = write(
        &first,
        &[(6, 1, Some(0.6)), (5, 1, Some(0.5)), (4, 1, Some(-1.0)), (3, 1, Some(0.3)), (2, 6, Some(0.25))],
    );
    assert_eq!((summary.written, summary.superseded), (4, 1));
    assert_eq!(write(&first, &[(1, 1, Some(0.1))]).written, 1);
    assert_eq!(write(&second, &[(2, 1, Some(9.2)), (7, 1, Some(9.7))]).written, 2);
    drop(online);
    let online = RedbStore::builder(&path).verify_on_open(true).open().unwrap();
    let values = |view| stored(&online, view, 8).into_iter().map(|row| row.map(|row| row.2)).collect::<Vec<_>>();
    let known = |values: [f64; 6]| values.into_iter().map(Some).collect::<Vec<_>>();
    assert_eq!(values(&first), [vec![None], known([0.1, 0.25, 0.3, 0.4, 0.5, 0.6]), vec![None]].concat());
    let second = values(&second);
    assert_eq!(second[..4], [None, Some(9.1), Some(9.2), Some(9.3)]);
    assert_eq!(second[4..], [None, None, None, Some(9.7)]);
}

/// Key, event time, created time, value.
type Row = (Option<i64>, i64, Option<i64>, f64);

fn history(view: &FeatureView, rows: &[Row]) -> Dataset {
    let times =
        |times: Vec<Option<i64>>| Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")) as ArrayRef;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
        times(rows.iter().map(|row| Some(row.1)).collect()),
        times(rows.iter().map(|row| row.2).collect()),
        Arc::new(rows.iter().map(|row| row.3).collect::<Float64Array>()),
    ];
    Dataset::from_batches([RecordBatch::try_new(view.schema().arrow().clone(), columns).unwrap()]).unwrap()
}

/// Event time, created time and value of the keys from 0.
fn stored(store: &dyn OnlineStore, view: &FeatureView, keys: i64) -> Vec<Option<(i64, Option<i64>, f64)>> {
    use mlops_core::arrow::array::AsArray;
    use mlops_core::arrow::datatypes::Float64Type;
    let keys = Keys::new(view.entity(), &[ints(&(0..keys).collect::<Vec<_>>())]).unwrap();
    let reads = [OnlineRead { view, features: &[0], keys: &keys }];
    let mut rows = block_on(store.read(&reads)).unwrap();
    let rows = rows.remove(0);
    let values = rows.columns[0].as_primitive::<Float64Type>();
    let created = |at: usize| rows.created.is_valid(at).then(|| rows.created.value(at));
    let row = |at: usize| rows.found(at).then(|| (rows.event_time.value(at), created(at), values.value(at)));
    (0..keys.len()).map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Law 3: whatever the cuts of history and the portions in which it comes online, what stays is what a map keeps that takes
    /// the rows one by one.
    #[test]
    fn appends_and_chunks_of_any_size_leave_the_same_rows(
        appends in proptest::collection::vec(
            proptest::collection::vec(
                (proptest::option::weighted(0.9, 0_i64..8), 0_i64..5, proptest::option::of(0_i64..3)), 1..20,
            ), 1..5,
        ),
        chunk_rows in 1_usize..12,
        stop_after in 0_u64..4,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let view = builder("ctr", "user_id").created("known").build().unwrap();
        let offline = ParquetStore::open(folder.path().join("history")).unwrap();
        let (memory, redb) = (MemoryStore::new(), RedbStore::open(folder.path().join("online.redb")).unwrap());
        let options = MaterializeOptions::builder().chunk_rows(chunk_rows).build().unwrap();
        let mut expected = vec![None; 8];
        let (mut next, mut end) = (0.0, None);
        for append in &appends {
            let rows: Vec<Row> = append.iter().map(|(key, time, created)| {
                next += 1.0;
                (*key, *time, *created, next)
            }).collect();
            end = offline.append(&view, &history(&view, &rows)).unwrap().end;
            for (key, time, created, value) in rows {
                let Some(key) = key else { continue };
                let row: &mut Option<(i64, Option<i64>, f64)> = &mut expected[key as usize];
                if row.is_none_or(|row| (row.0, row.1) <= (time, created)) {
                    *row = Some((time, created, value));
                }
            }
            // Some runs are stopped early; the next one goes on.
            let _ = materialize(&offline, &redb, &view, &options, &mut |report| report.chunks < stop_after);
        }
        let report = materialize(&offline, &memory, &view, &options, &mut |_| true).unwrap();
        materialize(&offline, &redb, &view, &options, &mut |_| true).unwrap();
        prop_assert_eq!(report.rows, appends.iter().map(Vec::len).sum::<usize>() as u64);
        prop_assert_eq!(report.rows, report.null_keys + report.online.written + report.online.superseded);
        for store in [&memory as &dyn OnlineStore, &redb] {
            prop_assert_eq!(&stored(store, &view, 8), &expected);
        }
        prop_assert_eq!(memory.watermark_sync(&view).unwrap(), end);
        prop_assert_eq!(redb.watermark_sync(&view).unwrap(), end);
    }
}
