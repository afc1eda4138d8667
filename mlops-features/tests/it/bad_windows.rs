//! Events that no window should be thrown off by.

use std::sync::Arc;
use std::time::Duration;

use mlops_core::arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch};
use mlops_core::arrow::datatypes::{Float64Type, Int64Type};
use mlops_core::validate::{Range, Suite};
use mlops_core::{Dataset, Error as Core, EventTime};
use mlops_features::ingest::Checks;
use mlops_features::offline::AsOfOptions;
use mlops_features::online::{MemoryStore, OnlineStore};
use mlops_features::stream::{StreamIngest, StreamIngestBuilder, WindowStates, channel};
use mlops_features::testkit::block_on;
use mlops_features::window::{Op, TimeWindow, WindowJoin, WindowView, window_join};
use mlops_features::{Entity, Error, KeyType, Keys, ValueType};

use crate::{ints, times};

const HOUR: Duration = Duration::from_hours(1);
const HOUR_US: i64 = 3_600_000_000;

fn windows(value_type: ValueType, ops: impl IntoIterator<Item = Op>, window: TimeWindow) -> WindowView {
    let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
    WindowView::builder("seen", user)
        .column("x", value_type)
        .event_id("id")
        .lateness(HOUR)
        .count(window)
        .aggregates("x", ops, [window])
        .build()
        .unwrap()
}

/// Events of the user 1, whose ids count up.
fn events(at: &[i64], x: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter([
        ("user_id", ints(&vec![1; at.len()])),
        ("event_timestamp", times(at)),
        ("id", ints(&(0..at.len() as i64).collect::<Vec<_>>())),
        ("x", x),
    ])
    .unwrap()
}

/// All features at `now`, from a stream that brought the events and from their history.
fn both(view: &WindowView, rows: &RecordBatch, now: i64) -> [Vec<ArrayRef>; 2] {
    let store = Arc::new(MemoryStore::new());
    take(view, rows, &store).unwrap();
    let spine = RecordBatch::try_from_iter([("user_id", ints(&[1])), ("at", times(&[now]))]).unwrap();
    let spine = Dataset::from_batches([spine]).unwrap();
    let history = Dataset::from_batches([rows.clone()]).unwrap();
    let options = AsOfOptions::new().event_time("at");
    let set = window_join(&spine, &[(WindowJoin::new(view), history)], &options).unwrap();
    [live(view, &*store, now), set.dataset.to_batch().unwrap().columns()[2..].to_vec()]
}

fn take(view: &WindowView, rows: &RecordBatch, store: &Arc<MemoryStore>) -> Result<u64, Error> {
    let ingest = StreamIngest::builder("seen")?.windows(view, store.clone())?.build()?;
    let (sender, mut source) = channel(rows.num_rows().max(1));
    sender.send(rows.clone())?;
    drop(sender);
    Ok(ingest.run(&mut source, &mut |_| true)?.counted)
}

fn live(view: &WindowView, store: &dyn OnlineStore, now: i64) -> Vec<ArrayRef> {
    let states = WindowStates::new(view).unwrap();
    let keys = Keys::new(view.entity(), &[ints(&[1])]).unwrap();
    let features: Vec<usize> = (0..view.feature_view().features().len()).collect();
    block_on(states.get(store, &keys, &features, EventTime::from_micros(now))).unwrap().columns
}

fn real(column: &ArrayRef) -> Option<f64> {
    column.as_primitive::<Float64Type>().iter().next().flatten()
}

fn whole(column: &ArrayRef) -> Option<i64> {
    column.as_primitive::<Int64Type>().iter().next().flatten()
}

#[test]
fn nan_and_infinities_are_events_without_a_value() {
    let ops = [
        Op::Count,
        Op::Sum,
        Op::Mean,
        Op::Min,
        Op::Max,
        Op::Variance { ddof: 1 },
        Op::First,
        Op::Last,
        Op::LastN { n: 9 },
        Op::Quantiles { shares: vec![0.5], k: 200 },
    ];
    for window in [TimeWindow::exact(HOUR), TimeWindow::sawtooth(HOUR), TimeWindow::lifetime()] {
        let view = windows(ValueType::Float64, ops.clone(), window);
        let x = [f64::NAN, 1.0, f64::INFINITY, 3.0, f64::NEG_INFINITY, -f64::NAN];
        let rows = events(&[10, 20, 30, 40, 50, 60], Arc::new(Float64Array::from(x.to_vec())));
        for found in both(&view, &rows, 100) {
            assert_eq!((whole(&found[0]), whole(&found[1])), (Some(6), Some(2)), "six events, two with a value");
            let numbers: Vec<_> = found[2..9].iter().map(real).collect();
            assert_eq!(numbers, [4.0, 2.0, 1.0, 3.0, 2.0, 1.0, 3.0].map(Some));
            for lists in &found[9..] {
                assert!(
                    lists.as_list::<i32>().value(0).as_primitive::<Float64Type>().iter().flatten().all(f64::is_finite)
                );
            }
        }
        let none = events(&[10, 20], Arc::new(Float64Array::from(vec![f64::NAN, f64::INFINITY])));
        for found in both(&view, &none, 100) {
            assert_eq!((whole(&found[0]), whole(&found[1])), (Some(2), Some(0)));
            assert!(found[2..].iter().all(|column| column.is_null(0)), "nothing is made of nothing");
        }
    }
}

#[test]
fn sums_beyond_their_type_are_held_at_its_ends_and_come_back() {
    let hours = |hours: &[i64]| hours.iter().map(|hour| hour * HOUR_US).collect::<Vec<_>>();
    let view = windows(ValueType::Int64, [Op::Sum, Op::Mean, Op::Max], TimeWindow::exact(2 * HOUR));
    let x: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, i64::MAX, i64::MIN]));
    let rows = events(&hours(&[0, 1, 2]), x);
    for (now, sum, mean) in [(2, i64::MAX, i64::MAX as f64), (3, -1, -0.5), (4, i64::MIN, i64::MIN as f64)] {
        for found in both(&view, &rows, now * HOUR_US) {
            // A state stands where its latest event is, so history alone looks back from before.
            assert_eq!((whole(&found[1]), real(&found[2])), (Some(sum), Some(mean)), "at {now}");
        }
    }
    let view = windows(ValueType::Float64, [Op::Sum, Op::Mean, Op::Variance { ddof: 0 }], TimeWindow::exact(2 * HOUR));
    let x: ArrayRef = Arc::new(Float64Array::from(vec![f64::MAX, f64::MAX, -f64::MAX]));
    let rows = events(&hours(&[0, 1, 2]), x);
    for (now, sum, mean) in [(2, f64::INFINITY, f64::MAX), (3, 0.0, 0.0), (4, -f64::MAX, -f64::MAX)] {
        for found in both(&view, &rows, now * HOUR_US) {
            assert_eq!((real(&found[1]), real(&found[2])), (Some(sum), Some(mean)), "at {now}");
            assert_eq!(real(&found[3]), None, "squares beyond the doubles have no variance");
        }
    }
}

#[test]
fn events_at_the_ends_of_time_count_offline_and_live() {
    let ends = [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX];
    for (window, now, expected) in [
        (TimeWindow::lifetime(), i64::MAX, 5),
        (TimeWindow::exact(HOUR), i64::MAX, 1),
        (TimeWindow::sawtooth(HOUR), i64::MAX, 1),
        (TimeWindow::tumbling(HOUR), i64::MAX, 0),
    ] {
        let view = windows(ValueType::Int64, [Op::Count], window);
        for found in both(&view, &events(&ends, ints(&ends)), now) {
            assert_eq!(found.iter().map(whole).collect::<Vec<_>>(), [Some(expected); 2], "{window:?}");
        }
    }
    // Long before the epoch: what lies before the window stays out of it.
    let view = windows(ValueType::Int64, [Op::Sum], TimeWindow::exact(HOUR));
    let rows = events(&[i64::MIN, i64::MIN + 1], ints(&[5, 7]));
    for found in both(&view, &rows, i64::MIN + 1) {
        assert_eq!((whole(&found[0]), whole(&found[1])), (Some(1), Some(5)));
    }
}

#[test]
fn an_event_of_a_wrong_clock_can_be_kept_out_so_that_it_does_not_move_a_window_away() {
    let far = EventTime::parse("9999-12-31T23:59:59Z").unwrap().as_micros();
    let view = windows(ValueType::Int64, [Op::Sum], TimeWindow::exact(HOUR));
    let run = |checks: Option<Checks>| {
        let store = Arc::new(MemoryStore::new());
        let ingest = StreamIngest::builder("seen").unwrap().windows(&view, store.clone()).unwrap();
        let ingest = checks.into_iter().fold(ingest, StreamIngestBuilder::checks).build().unwrap();
        let (sender, mut source) = channel(10);
        sender.send(events(&[10, far, 20], ints(&[1, 2, 4]))).unwrap();
        drop(sender);
        let report = ingest.run(&mut source, &mut |_| true).unwrap();
        (report.set_aside, whole(&live(&view, &*store, 100)[1]))
    };
    assert_eq!(run(None), (0, None), "the window stands at the end of the year 9999");
    let folder = tempfile::tempdir().unwrap();
    let soon = Suite::new().rule("clock", Range::of("event_timestamp").at_most(EventTime::from_micros(1_000))).unwrap();
    assert_eq!(run(Some(Checks::set_aside(soon, folder.path()))), (1, Some(5)));
}

#[test]
fn states_of_another_definition_are_refused_and_stay_and_their_events_are_not_acknowledged() {
    let store = Arc::new(MemoryStore::new());
    let before = windows(ValueType::Int64, [Op::Sum], TimeWindow::exact(HOUR));
    take(&before, &events(&[10], ints(&[5])), &store).unwrap();
    let after = windows(ValueType::Int64, [Op::Sum], TimeWindow::exact(2 * HOUR));
    let error = take(&after, &events(&[20], ints(&[7])), &store).unwrap_err();
    assert!(matches!(&error, Error::Changed { view, .. } if view == "seen"), "{error:?}");
    let states = WindowStates::new(&after).unwrap();
    let keys = Keys::new(after.entity(), &[ints(&[1])]).unwrap();
    let error = block_on(states.get(&*store, &keys, &[0], EventTime::from_micros(100))).unwrap_err();
    assert!(matches!(&error, Error::Changed { .. }), "{error:?}");
    assert_eq!(whole(&live(&before, &*store, 100)[1]), Some(5));
}

#[test]
fn a_delivery_with_one_bad_event_has_no_effect_and_names_what_is_wrong() {
    let view = windows(ValueType::Int64, [Op::Sum], TimeWindow::exact(HOUR));
    let good = events(&[10, 20], ints(&[1, 2]));
    let with = |name: &str, column: ArrayRef| {
        let schema = good.schema();
        let columns = schema.fields().iter().zip(good.columns()).map(|(field, old)| {
            (field.name().clone(), if field.name() == name { column.clone() } else { old.clone() }, true)
        });
        RecordBatch::try_from_iter_with_nullable(columns.collect::<Vec<_>>()).unwrap()
    };
    let halves: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 1.5]));
    let holes: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
    let bad = [
        (with("event_timestamp", Arc::new(Int64Array::from(vec![1, 2]))), "event_timestamp"),
        (with("id", holes), "id"),
        (with("x", halves), "x"),
        (good.project(&[0, 1, 2]).unwrap(), "x"),
        (good.project(&[1, 2, 3]).unwrap(), "user_id"),
    ];
    for (rows, word) in bad {
        let store = Arc::new(MemoryStore::new());
        let error = take(&view, &rows, &store).unwrap_err();
        let typed = matches!(&error, Error::Core(Core::Schema { .. } | Core::InvalidData { .. }));
        assert!(typed && error.to_string().contains(&format!("`{word}`")), "{word}: {error:?}");
        assert_eq!(store.len(WindowStates::new(&view).unwrap().stored()), 0);
    }
    assert_eq!(take(&view, &good.slice(0, 0), &Arc::new(MemoryStore::new())).unwrap(), 0);
}

#[test]
fn definitions_of_windows_outside_of_their_domain_are_refused_by_name() {
    let user = || Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
    let build = |op: Op, window: TimeWindow| {
        let view = WindowView::builder("seen", user()).column("x", ValueType::Float64);
        view.aggregate("x", op, window).build()
    };
    let longest = Duration::from_micros(1 << 61);
    for (window, word) in [
        (TimeWindow::exact(Duration::ZERO), "window length"),
        (TimeWindow::exact(Duration::from_nanos(999)), "window length"),
        (TimeWindow::exact(longest + Duration::from_micros(1)), "window length"),
        (TimeWindow::exact(Duration::MAX), "window length"),
        (TimeWindow::tumbling(Duration::ZERO), "window length"),
        (TimeWindow::sawtooth(Duration::from_micros(HOUR_US as u64 - 1)), "window length"),
        (TimeWindow::exact(HOUR).earlier(Duration::MAX), "window offset"),
    ] {
        let error = build(Op::Sum, window).unwrap_err().to_string();
        assert!(error.contains(word), "{window:?}: {error}");
    }
    for op in [
        Op::LastN { n: 0 },
        Op::Quantiles { shares: vec![f64::NAN], k: 200 },
        Op::Quantiles { shares: vec![1.1], k: 200 },
        Op::Quantiles { shares: vec![], k: 200 },
        Op::TopK { k: 0 },
    ] {
        assert!(build(op.clone(), TimeWindow::exact(HOUR)).is_err(), "{op:?}");
    }
    let twice = WindowView::builder("seen", user()).column("x", ValueType::Float64);
    let twice = twice.aggregates("x", [Op::Sum, Op::Sum], [TimeWindow::exact(HOUR)]).build().unwrap_err();
    assert!(twice.to_string().contains("`seen:x_sum_1h`"), "{twice}");
    assert!(WindowView::builder("seen", user()).column("x", ValueType::Float64).build().is_err(), "no features");
    assert!(build(Op::Sum, TimeWindow::exact(longest)).is_ok());
}
