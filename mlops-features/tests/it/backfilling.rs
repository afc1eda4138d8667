//! History of a new feature is made of events, whatever comes between, and never twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use mlops_core::arrow::array::{AsArray, RecordBatch};
use mlops_core::arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use mlops_core::pipeline::{Inputs, Step, StepContext};
use mlops_core::{Dataset, Error as Core, EventTime, Name, Window};
use mlops_features::offline::{
    AppendOnce, Backfill, BackfillReport, BackfillStep, Chunk, HistoryRequest, OfflineStore, ParquetStore,
};
use mlops_features::testkit::{Faults, FlakyOfflineStore};
use mlops_features::{Error, FeatureView};

use crate::{builder, data, rows};

/// The number of events of a key within the chunk, known at its end.
fn view() -> FeatureView {
    builder("visits", "user_id").build().unwrap()
}

fn window(from: i64, to: i64) -> Window {
    Window::new(EventTime::from_micros(from), EventTime::from_micros(to)).unwrap()
}

/// One event a microsecond, of keys 0, 1 and 2 in turn; none from 30 to 39.
fn events() -> Dataset {
    let all: Vec<_> = (0..60).filter(|t| !(30..40).contains(t)).map(|t| (t % 3, t, Some(1.0))).collect();
    data(&view(), &all)
}

fn backfill() -> Backfill {
    Backfill::builder(view(), window(0, 55)).chunk(Duration::from_micros(10)).version("1").build().unwrap()
}

/// Counts the events of each key.
fn count(chunk: &Chunk) -> Result<Dataset, Error> {
    let mut sums = [0.0; 3];
    for batch in chunk.events.batches()? {
        let batch = batch?;
        for t in batch["event_timestamp"].as_primitive::<TimestampMicrosecondType>().values() {
            assert!(chunk.window.contains(EventTime::from_micros(*t)), "a chunk has events of its window only");
        }
        batch["user_id"].as_primitive::<Int64Type>().values().iter().for_each(|key| sums[*key as usize] += 1.0);
    }
    let at = chunk.window.end.as_micros();
    let made: Vec<_> =
        (0..3).filter(|key| sums[*key as usize] > 0.0).map(|key| (key, at, Some(sums[key as usize]))).collect();
    Ok(data(&view(), &made))
}

/// What stands in the store, by time and key.
fn content(store: &dyn OfflineStore) -> Vec<(i64, i64, f64)> {
    let mut all = Vec::new();
    for batch in store.scan(&view(), &HistoryRequest::all()).unwrap() {
        let rows: RecordBatch = batch.unwrap().rows;
        let keys = rows["user_id"].as_primitive::<Int64Type>().values().to_vec();
        let times = rows["event_timestamp"].as_primitive::<TimestampMicrosecondType>().values().to_vec();
        let values = rows["visits"].as_primitive::<Float64Type>().values().to_vec();
        all.extend(keys.into_iter().zip(times).zip(values).map(|((key, time), value)| (time, key, value)));
    }
    all.sort_by(|a, b| a.partial_cmp(b).unwrap());
    all
}

/// By hand: ten events a chunk, of three keys in turn beginning with 0, 1, 2, …; the chunk from 30 is empty, the last has
/// five.
fn expected() -> Vec<(i64, i64, f64)> {
    vec![
        (10, 0, 4.0),
        (10, 1, 3.0),
        (10, 2, 3.0),
        (20, 0, 3.0),
        (20, 1, 4.0),
        (20, 2, 3.0),
        (30, 0, 3.0),
        (30, 1, 3.0),
        (30, 2, 4.0),
        (50, 0, 3.0),
        (50, 1, 4.0),
        (50, 2, 3.0),
        (55, 0, 2.0),
        (55, 1, 1.0),
        (55, 2, 2.0),
    ]
}

#[test]
fn each_chunk_is_made_once_and_an_empty_one_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = ParquetStore::open(folder.path()).unwrap();
    let report = backfill().run(&store, &events(), &count, &mut |_| true).unwrap();
    assert_eq!(report, BackfillReport { chunks: 6, appended: 5, before: 0, empty: 1, rows: 15 });
    assert_eq!(content(&store), expected());
    let mut seen = Vec::new();
    let again = backfill().run(&store, &events(), &count, &mut |so_far| {
        seen.push(so_far.done());
        true
    });
    assert_eq!(again.unwrap(), BackfillReport { chunks: 6, appended: 0, before: 5, empty: 1, rows: 0 });
    assert_eq!(seen, [1, 2, 3, 4, 5, 6]);
    let reopened = ParquetStore::open(folder.path()).unwrap();
    assert_eq!(backfill().run(&reopened, &events(), &count, &mut |_| true).unwrap().before, 5);
    assert_eq!(content(&reopened), expected());
}

#[test]
fn a_run_that_was_stopped_anywhere_goes_on_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = ParquetStore::open(folder.path()).unwrap();
    let stopped = backfill().run(&store, &events(), &count, &mut |so_far| so_far.done() < 2).unwrap_err();
    assert!(matches!(&stopped, Error::Core(Core::Cancelled { stage }) if stage.contains("visits")), "{stopped}");
    assert_eq!(content(&store), expected()[..6]);
    let made = AtomicU64::new(0);
    let counted = |chunk: &Chunk| {
        made.fetch_add(1, Ordering::Relaxed);
        count(chunk)
    };
    backfill().run(&store, &events(), &counted, &mut |_| true).unwrap();
    assert_eq!((content(&store), made.into_inner()), (expected(), 4));
}

#[test]
fn lost_answers_and_failures_double_nothing() {
    for after_the_work in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        // Each run is cut off at a later call than the one before; a whole one makes at most twelve.
        for fail_every in 1..=12 {
            let faults = Faults { fail_every, after_the_work, ..Faults::default() };
            let store = FlakyOfflineStore::new(ParquetStore::open(folder.path()).unwrap(), faults);
            if let Err(error) = backfill().run(&store, &events(), &count, &mut |_| true) {
                assert!(error.to_string().contains("made to fail"), "{error}");
            }
        }
        let store = ParquetStore::open(folder.path()).unwrap();
        backfill().run(&store, &events(), &count, &mut |_| true).unwrap();
        assert_eq!(content(&store), expected());
    }
}

#[test]
fn two_runs_at_once_do_the_work_once() {
    let folder = tempfile::tempdir().unwrap();
    let run = || {
        // Each has a store of its own, like another process.
        let store = ParquetStore::open(folder.path()).unwrap();
        backfill().run(&store, &events(), &count, &mut |_| true).unwrap().appended
    };
    let appended: u64 = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        runs.into_iter().map(|run| run.join().unwrap()).sum()
    });
    assert_eq!(appended, 5);
    assert_eq!(content(&ParquetStore::open(folder.path()).unwrap()), expected());
}

#[test]
fn a_new_version_appends_again_and_wins_because_it_came_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = ParquetStore::open(folder.path()).unwrap();
    backfill().run(&store, &events(), &count, &mut |_| true).unwrap();
    let other = Backfill::builder(view(), window(0, 55)).chunk(Duration::from_micros(10)).version("2").build().unwrap();
    let report = other.run(&store, &events(), &count, &mut |_| true).unwrap();
    assert_eq!((report.appended, report.before), (5, 0));
}

#[test]
fn a_chunk_can_look_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = ParquetStore::open(folder.path()).unwrap();
    let builder = Backfill::builder(view(), window(20, 40)).chunk(Duration::from_micros(20));
    let backfill = builder.lookback(Duration::from_micros(5)).build().unwrap();
    let first = AtomicU64::new(u64::MAX);
    let make = |chunk: &Chunk| {
        let batch = chunk.events.to_batch()?;
        let times = batch["event_timestamp"].as_primitive::<TimestampMicrosecondType>().values().to_vec();
        first.store(times[0].cast_unsigned(), Ordering::Relaxed);
        Ok(Dataset::from_batches([rows(&view(), &[(1, 40, Some(times.len() as f64))])])?)
    };
    backfill.run(&store, &events(), &make, &mut |_| true).unwrap();
    assert_eq!((first.into_inner(), content(&store)), (15, vec![(40, 1, 15.0)]));
}

#[test]
fn a_failure_of_the_hosts_code_is_its_own_and_leaves_what_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let store = ParquetStore::open(folder.path()).unwrap();
    let make = |chunk: &Chunk| {
        if chunk.window.start.as_micros() == 20 {
            return Err(Core::invalid_data("events", "no good").into());
        }
        count(chunk)
    };
    let error = backfill().run(&store, &events(), &make, &mut |_| true).unwrap_err();
    assert!(error.to_string().contains("no good"), "{error}");
    assert_eq!(content(&store), expected()[..6]);
}

#[test]
fn settings_out_of_bounds_are_refused() {
    let all = Window::all();
    for chunk in [Duration::ZERO, Duration::from_nanos(999), Duration::MAX, Duration::from_micros(1)] {
        let built = Backfill::builder(view(), all).chunk(chunk).build();
        assert!(matches!(built, Err(Error::Core(Core::Invalid { .. }))), "{chunk:?}");
    }
    let long = Backfill::builder(view(), all).chunk(Duration::from_micros(i64::MAX as u64)).build().unwrap();
    let windows: Vec<_> = long.windows().collect();
    assert_eq!((windows.len(), windows[0].start, windows[2].end), (3, EventTime::MIN, EventTime::MAX));
    assert_eq!(Backfill::builder(view(), window(7, 7)).build().unwrap().windows().count(), 0);
}

#[test]
fn as_a_step_it_obeys_the_contract_and_stops_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn AppendOnce> = Arc::new(ParquetStore::open(folder.path()).unwrap());
    let name = |text: &str| Name::new(text).unwrap();
    let make = || BackfillStep::new(name("fill"), backfill(), store.clone(), name("events"), count);
    let inputs = Inputs::new([(name("events"), events().into())]);
    let stopped = Arc::new(AtomicBool::new(true));
    let flag = stopped.clone();
    let context = StepContext { cancelled: Arc::new(move || flag.load(Ordering::Relaxed)), ..StepContext::default() };
    assert!(matches!(make().run(&inputs, &context), Err(Core::Cancelled { .. })));
    stopped.store(false, Ordering::Relaxed);
    let artifact = make().run(&inputs, &context).unwrap();
    let report: BackfillReport = serde_json::from_value(artifact.as_json().unwrap().clone()).unwrap();
    assert_eq!((report.before, report.appended), (1, 4));
    mlops_core::testkit::step(make, &inputs);
}
