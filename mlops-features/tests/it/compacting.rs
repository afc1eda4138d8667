//! Many small appends become few files, and nobody notices.

use std::path::Path;

use mlops_core::arrow::array::AsArray;
use mlops_core::arrow::datatypes::Float64Type;
use mlops_core::{Digest, Error as Core, EventTime};
use mlops_features::offline::{
    AppendOnce, CompactOptions, HistoryRequest, HistoryStream, OfflineStore, Once, ParquetStore, Watermark,
};
use mlops_features::{Error, FeatureView, ValueType};

use crate::{builder, data};

const NOW: EventTime = EventTime::MAX;

fn view() -> FeatureView {
    builder("v", "user_id").build().unwrap()
}

fn values(stream: HistoryStream) -> (Vec<Option<f64>>, Vec<Watermark>) {
    let (mut values, mut ends) = (Vec::new(), Vec::new());
    for batch in stream {
        let batch = batch.unwrap();
        values.extend(batch.rows["v"].as_primitive::<Float64Type>().iter());
        ends.push(batch.end);
    }
    (values, ends)
}

fn read(store: &ParquetStore, request: &HistoryRequest) -> (Vec<Option<f64>>, Vec<Watermark>) {
    values(store.scan(&view(), request).unwrap())
}

/// A store with `appends` appends of one to three rows, whose values count up.
fn filled(folder: &Path, appends: i64) -> ParquetStore {
    let store = ParquetStore::open(folder).unwrap();
    let mut next = 0;
    for append in 0..appends {
        let rows: Vec<_> = (next..=next + append % 3).map(|at| (at % 5, 100 - at, Some(at as f64))).collect();
        next += append % 3 + 1;
        store.append(&view(), &data(&view(), &rows)).unwrap();
    }
    store
}

fn options(rows_max: u64, grace_us: u64) -> CompactOptions {
    CompactOptions { rows_max, files_min: 2, grace_us }
}

fn files(folder: &Path) -> usize {
    let of_view = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let parquet = |path: &Path| path.extension().is_some_and(|ending| ending == "parquet");
    std::fs::read_dir(of_view).unwrap().filter(|entry| parquet(&entry.as_ref().unwrap().path())).count()
}

#[test]
fn rows_and_positions_stay_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 10);
    let (all, ends) = read(&store, &HistoryRequest::all().batch_rows(2));
    assert_eq!(all.len(), 19);
    let rest: Vec<_> = ends.iter().map(|end| read(&store, &HistoryRequest::all().after(*end)).0).collect();
    let first = store.compact(&view(), &options(8, 0), NOW).unwrap();
    assert_eq!((first.made, first.merged, first.removed), (2, 8, 0), "runs of 1+2+3+1 and 2+3+1+2 rows; 3 is alone");
    let second = store.compact(&view(), &options(1_000, 0), NOW).unwrap();
    assert_eq!((second.made, second.merged, second.removed), (1, 3, 8));
    let third = store.compact(&view(), &options(1_000, 0), NOW).unwrap();
    assert_eq!((third.made, third.removed, files(folder.path())), (0, 3, 2));
    for batch_rows in [1, 2, 100] {
        assert_eq!(read(&store, &HistoryRequest::all().batch_rows(batch_rows)).0, all);
        for (end, rest) in ends.iter().zip(&rest) {
            let request = HistoryRequest::all().batch_rows(batch_rows);
            assert_eq!(read(&store, &request.clone().after(*end)).0, *rest, "after {end}");
            let before = &all[..all.len() - rest.len()];
            assert_eq!(read(&store, &request.until(*end)).0, before, "until {end}");
        }
    }
    let last = read(&store, &HistoryRequest::all()).1.last().copied();
    assert_eq!(last, Some(Watermark { sequence: 9, rows: 1 }));
    let next = store.append(&view(), &data(&view(), &[(1, 1, Some(0.5))])).unwrap();
    assert_eq!(next.end, Some(Watermark { sequence: 10, rows: 1 }), "numbers go on");
    assert_eq!(read(&store, &HistoryRequest::all().after(last.unwrap())).0, [Some(0.5)]);
}

#[test]
fn whoever_reads_meanwhile_reads_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 9);
    let (expected, ends) = read(&store, &HistoryRequest::all());
    let begun = || {
        let mut scan = store.scan(&view(), &HistoryRequest::all()).unwrap();
        assert_eq!(scan.next().unwrap().unwrap().rows.num_rows(), 1);
        scan
    };
    let (quick, slow) = (begun(), begun());
    let between = store.scan(&view(), &HistoryRequest::all().after(ends[2]).until(ends[4])).unwrap();
    let hour = options(1_000, 3_600_000_000);
    let now = mlops_core::Clock::now(&mlops_core::SystemClock);
    assert_eq!(store.compact(&view(), &hour, now).unwrap().made, 1);
    assert_eq!(store.compact(&view(), &hour, now).unwrap().removed, 0, "the grace is not over");
    assert_eq!(values(quick), (expected[1..].to_vec(), ends[1..].to_vec()));
    let removed = store.compact(&view(), &options(1_000, 0), NOW).unwrap().removed;
    assert_eq!(removed, 8, "the files that are read next are gone");
    assert_eq!(values(slow), (expected[1..].to_vec(), ends[1..].to_vec()), "what took their place is read");
    assert_eq!(values(between), (expected[6..9].to_vec(), ends[3..=4].to_vec()));
    assert_eq!(read(&store, &HistoryRequest::all()).0, expected);
}

#[test]
fn columns_that_came_or_went_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 3);
    let wide = builder("v", "user_id").feature("more", ValueType::Float64).build().unwrap();
    let rows = data(&view(), &[(1, 2, Some(7.0))]).to_batch().unwrap();
    let mut columns: Vec<_> =
        rows.schema().fields().iter().map(|f| f.name().clone()).zip(rows.columns().to_vec()).collect();
    columns.push(("more".to_owned(), rows["v"].clone()));
    let wide_rows = mlops_core::arrow::array::RecordBatch::try_from_iter(columns).unwrap();
    let wide_rows = mlops_core::Dataset::from_batches([wide_rows]).unwrap();
    for _ in 0..3 {
        store.append(&wide, &wide_rows).unwrap();
    }
    let report = store.compact(&view(), &options(1_000, 0), NOW).unwrap();
    assert_eq!((report.made, report.merged), (2, 5), "files of other columns are others");
    store.compact(&view(), &options(1_000, 0), NOW).unwrap();
    assert_eq!(files(folder.path()), 3);
    let stream = store.scan(&wide, &HistoryRequest::all()).unwrap();
    let more: Vec<_> = stream
        .flat_map(|batch| batch.unwrap().rows["more"].as_primitive::<Float64Type>().iter().collect::<Vec<_>>())
        .collect();
    assert_eq!(more, [vec![None; 6], vec![Some(7.0); 3]].concat());
}

#[test]
fn ids_of_appends_outlive_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 2);
    let (id, rows) = (Digest::of("chunk"), data(&view(), &[(1, 2, Some(7.0))]));
    let Once::Now(appended) = store.append_once(&view(), &id, &rows).unwrap() else { panic!("it is the first") };
    store.append(&view(), &rows).unwrap();
    for _ in 0..2 {
        store.compact(&view(), &options(1_000, 0), NOW).unwrap();
    }
    assert_eq!(files(folder.path()), 2);
    for store in [store, ParquetStore::open(folder.path()).unwrap()] {
        assert_eq!(store.append_once(&view(), &id, &rows).unwrap(), Once::Before(appended));
    }
}

#[test]
fn a_damaged_file_is_named_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 4);
    let of_view = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let path = of_view.join("00000000000000000002.parquet");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 4;
    bytes[4..middle].fill(0xa5);
    std::fs::write(&path, &bytes).unwrap();
    let error = store.compact(&view(), &options(1_000, 0), NOW).unwrap_err();
    assert!(
        matches!(&error, Error::Core(Core::Corrupt { what, .. }) if what.contains("00000000000000000002")),
        "{error}"
    );
    assert_eq!(files(folder.path()), 4);
    std::fs::write(of_view.join("00000000000000000004-00000000000000000006.parquet"), &bytes[..9]).unwrap();
    assert!(store.compact(&view(), &options(1_000, 0), NOW).is_err());
    let nothing = ParquetStore::open(folder.path().join("empty")).unwrap();
    assert_eq!(nothing.compact(&view(), &CompactOptions::default(), NOW).unwrap().made, 0);
}
