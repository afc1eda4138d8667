//! Rows that come in are checked, counted, and kept where they should be.

use std::sync::Arc;

use mlops_core::arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch};
use mlops_core::arrow::datatypes::Float64Type;
use mlops_core::source::{DataSource, ParquetSource, ScanRequest};
use mlops_core::validate::{Range, RowCount, Suite};
use mlops_core::{Dataset, Error as Core};
use mlops_features::ingest::statistics::{Day, FileStatistics, StatisticsStore, read_days};
use mlops_features::ingest::{Checks, Gate, Push, Target};
use mlops_features::offline::{HistoryRequest, OfflineStore, ParquetStore};
use mlops_features::online::{MemoryStore, OnlineRead};
use mlops_features::testkit::{Faults, FlakyOnlineStore};
use mlops_features::{Error, FeatureView, Keys, MaterializeOptions, Materializer};

use crate::{builder, data, ints, rows};

const DAY: i64 = 86_400_000_000;

fn view() -> FeatureView {
    builder("ctr", "user_id").build().unwrap()
}

fn shares() -> Suite {
    Suite::new().rule("share", Range::of("ctr").at_least(0).at_most(1)).unwrap()
}

fn online(store: &MemoryStore, view: &FeatureView, key: i64) -> Option<f64> {
    let keys = Keys::new(view.entity(), &[ints(&[key])]).unwrap();
    let rows = store.read_sync(&[OnlineRead { view, features: &[0], keys: &keys }]).unwrap();
    rows[0].columns[0].as_primitive::<Float64Type>().iter().next().flatten()
}

fn history(store: &ParquetStore, view: &FeatureView) -> usize {
    store.scan(view, &HistoryRequest::all()).unwrap().map(|batch| batch.unwrap().rows.num_rows()).sum()
}

struct House {
    folder: tempfile::TempDir,
    offline: Arc<ParquetStore>,
    online: Arc<MemoryStore>,
    aside: std::path::PathBuf,
    statistics: Arc<FileStatistics>,
}

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let offline = Arc::new(ParquetStore::open(folder.path().join("history")).unwrap());
    let statistics = Arc::new(FileStatistics::open(folder.path().join("statistics")).unwrap());
    let aside = folder.path().join("aside");
    House { offline, online: Arc::new(MemoryStore::new()), aside, statistics, folder }
}

impl House {
    fn push(&self, gate: Gate) -> Push {
        let push = Push::builder(view()).offline(self.offline.clone()).online(self.online.clone());
        push.gate(gate).build().unwrap()
    }

    fn set_aside(&self) -> Vec<RecordBatch> {
        let Ok(views) = std::fs::read_dir(&self.aside) else { return Vec::new() };
        let files = views.flat_map(|view| std::fs::read_dir(view.unwrap().path()).unwrap());
        files
            .flat_map(|file| {
                let source = ParquetSource::open(file.unwrap().path()).unwrap();
                source.scan(&ScanRequest::all()).unwrap().map(Result::unwrap).collect::<Vec<_>>()
            })
            .collect()
    }
}

#[test]
fn each_target_gets_the_rows_that_it_was_meant_to_get() {
    let (view, rows) = (view(), rows(&view(), &[(1, 5, Some(0.5)), (2, 6, None)]));
    for (target, in_history, is_online) in
        [(Target::Online, 0, true), (Target::Offline, 2, false), (Target::OnlineAndOffline, 2, true)]
    {
        let house = house();
        let report = house.push(Gate::new()).push(&rows, target).unwrap();
        assert_eq!((report.rows, report.online.written), (2, if is_online { 2 } else { 0 }));
        assert_eq!(report.history.map_or(0, |end| end.rows as usize), in_history);
        assert_eq!(history(&house.offline, &view), in_history, "{target:?}");
        assert_eq!(online(&house.online, &view, 1), is_online.then_some(0.5), "{target:?}");
    }
}

#[test]
fn a_push_that_cannot_be_done_whole_writes_nothing() {
    let house = house();
    let push = house.push(Gate::new().checks(Checks::refuse(shares())));
    let refused = push.push(&rows(&view(), &[(1, 5, Some(0.5)), (2, 5, Some(1.5))]), Target::OnlineAndOffline);
    let error = refused.unwrap_err();
    assert!(matches!(error, Error::Core(Core::Rejected { .. })) && error.to_string().contains("share"), "{error}");
    let null_key = RecordBatch::try_from_iter_with_nullable([
        ("user_id", Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef, true),
        ("event_timestamp", crate::times(&[1, 1]), true),
        ("ctr", Arc::new(Float64Array::from(vec![0.1, 0.2])), true),
    ])
    .unwrap();
    let error = push.push(&null_key, Target::OnlineAndOffline).unwrap_err().to_string();
    assert!(error.contains("null in row 1"), "{error}");
    assert_eq!((history(&house.offline, &view()), house.online.len(&view())), (0, 0));
    assert!(push.push(&null_key, Target::Offline).is_ok(), "history takes rows without a key");
    let only = Push::builder(view()).online(house.online.clone()).build().unwrap();
    let missing = only.push(&rows(&view(), &[(1, 5, None)]), Target::OnlineAndOffline);
    assert!(matches!(missing, Err(Error::Core(Core::NotFound { .. }))));
    assert_eq!(house.online.len(&view()), 0);
    assert!(Push::builder(view()).build().is_err());
}

#[test]
fn failing_rows_are_set_aside_once_and_the_others_come_in() {
    let house = house();
    let push = house.push(Gate::new().checks(Checks::set_aside(shares(), &house.aside)));
    let batch = rows(&view(), &[(1, 5, Some(0.5)), (2, 5, Some(1.5)), (3, 5, Some(-1.0)), (4, 5, None)]);
    for _ in 0..2 {
        let report = push.push(&batch, Target::OnlineAndOffline).unwrap();
        assert_eq!((report.rows, report.set_aside), (4, 2));
    }
    let aside = house.set_aside();
    assert_eq!(aside.iter().map(RecordBatch::num_rows).sum::<usize>(), 2, "pushed twice, set aside once");
    assert!(aside[0].column_by_name("ctr").is_some() && aside[0].num_columns() > 3, "with what they failed");
    assert_eq!([1, 2, 3].map(|key| online(&house.online, &view(), key)), [Some(0.5), None, None]);
    let none_left = rows(&view(), &[(9, 5, Some(7.0))]);
    assert_eq!(push.push(&none_left, Target::OnlineAndOffline).unwrap().history, None);
}

#[test]
fn a_check_of_the_whole_batch_refuses_it_even_where_rows_are_set_aside() {
    let house = house();
    let suite = shares().rule("enough", RowCount::at_least(3)).unwrap();
    let push = house.push(Gate::new().checks(Checks::set_aside(suite, &house.aside)));
    let batch = rows(&view(), &[(1, 5, Some(0.5)), (2, 5, Some(0.5)), (3, 5, Some(-1.0))]);
    let error = push.push(&batch, Target::Online).unwrap_err().to_string();
    assert!(error.contains("enough"), "{error}");
    assert_eq!(house.online.len(&view()), 0);
}

#[test]
fn statistics_are_those_of_the_day_of_the_event_and_count_each_row_once() {
    let house = house();
    let statistics: Arc<dyn StatisticsStore> = house.statistics.clone();
    let push = house.push(Gate::new().statistics(statistics.clone()));
    let view = view();
    let first = rows(&view, &[(1, -1, Some(0.25)), (2, 0, Some(0.5)), (3, DAY - 1, Some(1.0)), (4, 3 * DAY, None)]);
    push.push(&first, Target::Online).unwrap();
    push.push(&first, Target::Online).unwrap(); // as after a failure
    for i in 0..100 {
        // More parts than are kept apart.
        push.push(&rows(&view, &[(i, DAY / 2, Some(i as f64))]), Target::Online).unwrap();
    }
    assert_eq!(statistics.days(view.name()).unwrap(), [-1, 0, 3]);
    let count = |day: Day| statistics.read(view.name(), day).unwrap().map(|profile| profile.rows());
    assert_eq!([-1, 0, 1, 3].map(count), [Some(1), Some(102), None, Some(1)]);
    let day = statistics.read(view.name(), 0).unwrap().unwrap();
    let ctr = day.column("ctr").unwrap().moments().unwrap();
    assert_eq!((ctr.min(), ctr.max()), (Some(0.0), Some(99.0)));
    let all = read_days(&*statistics, view.name(), -1..4).unwrap().unwrap();
    assert_eq!((all.rows(), all.column("ctr").unwrap().nulls()), (104, 1));
    assert!(read_days(&*statistics, view.name(), 10..20).unwrap().is_none());
}

#[test]
fn statistics_hide_what_not_everyone_may_see_and_damage_is_told() {
    use mlops_core::schema::Sensitivity;
    let house = house();
    let view = builder("ctr", "user_id")
        .sensitive("income", mlops_features::ValueType::Float64, Sensitivity::Personal)
        .build()
        .unwrap();
    let rows = RecordBatch::try_from_iter([
        ("user_id", ints(&[1, 2])),
        ("event_timestamp", crate::times(&[1, 1])),
        ("ctr", Arc::new(Float64Array::from(vec![0.1, 0.2])) as ArrayRef),
        ("income", Arc::new(Float64Array::from(vec![1e6, 2e6]))),
    ])
    .unwrap();
    let gate = Gate::new().statistics(house.statistics.clone());
    let push = Push::builder(view.clone()).online(house.online.clone()).gate(gate).build().unwrap();
    push.push(&rows, Target::Online).unwrap();
    let profile = house.statistics.read(view.name(), 0).unwrap().unwrap();
    assert!(profile.column("income").unwrap().is_hidden() && !profile.column("ctr").unwrap().is_hidden());
    let folder = house.folder.path().join("statistics");
    let file = walk(&folder).into_iter().find(|path| path.extension().is_some()).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    for cut in [0, 1, 4, 20, 40, bytes.len() / 2] {
        std::fs::write(&file, &bytes[..cut]).unwrap();
        let error = house.statistics.read(view.name(), 0).unwrap_err();
        assert!(matches!(error, Error::Core(Core::Corrupt { .. })), "{cut}: {error}");
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_materialization_lets_rows_through_the_gate_and_counts_them_once_whatever_fails() {
    let house = house();
    let view = view();
    let content: Vec<_> = (0..30).map(|i| (i, i, Some(if i % 10 == 3 { 2.0 } else { 0.5 }))).collect();
    house.offline.append(&view, &data(&view, &content)).unwrap();
    let gate = Gate::new().checks(Checks::set_aside(shares(), &house.aside)).statistics(house.statistics.clone());
    let faults = Faults { fail_every: 4, after_the_work: true, ..Faults::default() };
    let flaky = FlakyOnlineStore::new(MemoryStore::new(), faults);
    let options = MaterializeOptions::builder().chunk_rows(7).build().unwrap();
    let materializer = Materializer::new(&*house.offline, &flaky, &view).options(options).gate(gate);
    let failures = (0..100).take_while(|_| materializer.run(&mut |_| true).is_err()).count();
    assert!((1..100).contains(&failures), "{failures}");
    assert_eq!((flaky.inner().len(&view), house.set_aside().iter().map(RecordBatch::num_rows).sum()), (27, 3_usize));
    let counted = house.statistics.read(view.name(), 0).unwrap().unwrap();
    assert_eq!(counted.rows(), 27, "a write whose answer was lost is counted, and no row twice");
    let strict =
        Materializer::new(&*house.offline, &*house.online, &view).gate(Gate::new().checks(Checks::refuse(shares())));
    assert!(matches!(strict.run(&mut |_| true), Err(Error::Core(Core::Rejected { .. }))));
    assert_eq!(house.online.len(&view), 0);
    assert!(Dataset::from_batches([rows(&view, &[])]).is_ok());
}
