use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, Int64Type};
use proptest::prelude::*;

use super::*;
use crate::window::op::Op;
use crate::window::oracle::{ensure_alike, expected, ops, within};
use crate::window::span::{FIVE_MINUTES_US, HOUR_US};
use crate::window::value::Kind;
use crate::{Entity, Error, KeyType, ValueType};

const MINUTE: i64 = 60_000_000;

/// One event: time, an integer, a double (NaN is absent), a text.
type Row = (i64, Option<i64>, Option<f64>, Option<String>);

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

fn windows() -> Vec<TimeWindow> {
    let hours = |h: u64| minutes(60 * h);
    vec![
        TimeWindow::exact(hours(1)),
        TimeWindow::exact(minutes(61)).earlier(minutes(7)),
        TimeWindow::exact(hours(75)),
        TimeWindow::sawtooth(hours(2)),
        TimeWindow::sawtooth(hours(13)).earlier(hours(30)),
        TimeWindow::sawtooth(hours(49)),
        TimeWindow::sawtooth(hours(12 * 24)),
        TimeWindow::tumbling(minutes(7)),
        TimeWindow::tumbling(hours(24)),
        TimeWindow::tumbling(hours(5)).earlier(minutes(1)),
        TimeWindow::lifetime(),
        TimeWindow::lifetime().earlier(hours(26)),
    ]
}

fn view(windows: impl IntoIterator<Item = TimeWindow>, lateness: Duration, kinds: &[Kind]) -> WindowView {
    let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
    let mut view = WindowView::builder("events", user)
        .column("a", ValueType::Int64)
        .column("b", ValueType::Float64)
        .column("c", ValueType::Utf8)
        .event_id("id")
        .lateness(lateness);
    for window in windows {
        view = view.count(window);
        for kind in kinds {
            for op in ops(*kind) {
                let column = match kind {
                    Kind::Int => "a",
                    Kind::Real => "b",
                    Kind::Text => "c",
                };
                view = view.aggregate(column, op, window);
            }
        }
    }
    view.build().unwrap()
}

const ALL: [Kind; 3] = [Kind::Int, Kind::Real, Kind::Text];

fn events(view: &WindowView, rows: &[Row]) -> Events {
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.0));
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("user_id", Arc::new(Int64Array::from(vec![1; rows.len()])) as ArrayRef, true),
        ("event_timestamp", Arc::new(times), true),
        ("id", Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)), true),
        ("a", Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()), true),
        ("b", Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>()), true),
        ("c", Arc::new(rows.iter().map(|row| row.3.clone()).collect::<StringArray>()), true),
    ]);
    Events::read(view, &batch.unwrap()).unwrap()
}

/// The present values of a column of `rows`.
fn column(rows: &[Row], column: Option<usize>) -> Vec<(i64, Value)> {
    let value = |row: &Row| match column {
        None => Some(Value::Int(0)),
        Some(0) => row.1.map(Value::Int),
        Some(1) => row.2.and_then(Value::real),
        Some(_) => row.3.as_deref().map(|text| Value::Text(text.into())),
    };
    rows.iter().filter_map(|row| value(row).map(|value| (row.0, value))).collect()
}

/// Compares every feature of `state` at `t` with what the letter of the law says of `rows`.
#[track_caller]
fn ensure_law(state: &WindowState, rows: &[Row], t: i64) {
    let view = state.view();
    let cells = state.read(t).unwrap();
    let plan = view.plan();
    let names = view.feature_view().features();
    for slot in &plan.slots {
        let present = column(rows, slot.column);
        for reading in &slot.readings {
            let held = within(&present, &plan.windows[reading.window], t);
            for feature in &reading.features {
                let wanted = expected(&plan.ops[*feature], &held);
                ensure_alike(&cells[*feature], &wanted, &format!("{} at {t}", names[*feature].name));
            }
        }
    }
}

fn row() -> impl Strategy<Value = Row> {
    let time = prop_oneof![-3_000_i64..3_000, 2_900_i64..3_000].prop_map(|m| m * MINUTE);
    let real = prop_oneof![8 => (-80_i32..80).prop_map(|x| f64::from(x) / 16.0), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)];
    (
        time,
        prop::option::weighted(0.8, -3_i64..4),
        prop::option::weighted(0.8, real),
        prop::option::weighted(0.8, "[a-c]"),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_stream_out_of_order_reads_as_its_events_in_order(
        arrivals in prop::collection::vec((row(), 0_i64..90, any::<bool>()), 1..80),
    ) {
        let view = view(windows(), minutes(90), &ALL);
        let mut arrivals: Vec<(i64, Row, bool)> =
            arrivals.into_iter().map(|(row, delay, look)| (row.0 + delay * MINUTE, row, look)).collect();
        arrivals.sort_by_key(|arrival| arrival.0);
        let rows: Vec<Row> = arrivals.iter().map(|arrival| arrival.1.clone()).collect();
        let events = events(&view, &rows);
        let mut state = WindowState::new(&view);
        for (at, (now, _, look)) in arrivals.iter().enumerate() {
            state.advance(EventTime::from_micros(*now))?;
            prop_assert_eq!(state.update(&events, at)?, Update::Counted);
            prop_assert_eq!(state.update(&events, at)?, Update::Duplicate);
            if *look {
                ensure_law(&state, &rows[..=at], *now);
            }
        }
        let last = arrivals.last().unwrap().0;
        for later in [last, last + 1, last + HOUR_US, last + 2 * DAY_US + 7] {
            ensure_law(&state, &rows, later);
        }
        let back = WindowState::from_bytes(&view, &state.to_bytes())?;
        ensure_law(&back, &rows, last + 1);
        prop_assert_eq!(back.to_bytes(), state.to_bytes());
    }

    #[test]
    fn history_and_stream_together_read_as_all_in_one(
        rows in prop::collection::vec(row(), 1..80),
        cut in -3_000_i64..3_000,
        later in 0_i64..4_000,
    ) {
        let view = view(windows(), minutes(10), &ALL);
        let mut rows = rows;
        rows.sort_by_key(|row| row.0);
        let events = events(&view, &rows);
        let cut = cut * MINUTE;
        let (mut history, mut stream) = (WindowState::new(&view), WindowState::new(&view));
        for (at, row) in rows.iter().enumerate() {
            let state = if row.0 < cut { &mut history } else { &mut stream };
            state.advance(EventTime::from_micros(row.0))?;
            prop_assert_eq!(state.update(&events, at)?, Update::Counted);
        }
        history.advance(EventTime::from_micros(cut))?;
        stream.merge(history)?;
        let now = stream.latest().as_micros() + later * MINUTE;
        ensure_law(&stream, &rows, now);
        stream.advance(EventTime::from_micros(now))?;
        ensure_law(&stream, &rows, now + later * MINUTE);
    }
}

fn rows_at(times: impl IntoIterator<Item = i64>) -> Vec<Row> {
    times.into_iter().map(|time| (time, Some(1), None, None)).collect()
}

fn sum(state: &WindowState, t: i64) -> Option<i64> {
    let keys = [Arc::new(Int64Array::from(vec![1])) as ArrayRef];
    let rows = state.view().rows(&keys, &[state], EventTime::from_micros(t)).unwrap();
    let sums = rows.column(2).as_primitive::<Int64Type>();
    sums.is_valid(0).then(|| sums.value(0))
}

fn sums(window: TimeWindow, lateness: Duration, events_max: u32) -> WindowView {
    let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
    let view = WindowView::builder("events", user).column("a", ValueType::Int64).event_id("id");
    view.aggregate("a", Op::Sum, window).lateness(lateness).events_max(events_max).build().unwrap()
}

#[test]
fn what_comes_too_late_is_told_and_does_not_count() {
    let view = sums(TimeWindow::lifetime(), minutes(5), 100);
    let events = events(&view, &rows_at([0, 95 * MINUTE, 95 * MINUTE - 1]));
    let mut state = WindowState::new(&view);
    state.advance(EventTime::from_micros(100 * MINUTE)).unwrap();
    assert_eq!(state.update(&events, 0).unwrap(), Update::Late);
    assert_eq!(state.update(&events, 1).unwrap(), Update::Counted);
    assert_eq!(state.update(&events, 2).unwrap(), Update::Late);
    assert_eq!(sum(&state, 100 * MINUTE), Some(1));
}

#[test]
fn a_sawtooth_forgets_raw_events_and_keeps_their_sums() {
    let view = sums(TimeWindow::sawtooth(minutes(60)), Duration::ZERO, 10);
    let events = events(&view, &rows_at((0..600).map(|i| i * MINUTE / 10)));
    let mut state = WindowState::new(&view);
    for at in 0..600 {
        state.advance(events.time(at)).unwrap();
        // Fifty events fall into five minutes, but no more than ten may be held.
        match state.update(&events, at) {
            Ok(update) => assert_eq!(update, Update::Counted),
            Err(error) => assert!(error.to_string().contains("events_max"), "{error}"),
        }
    }
    assert!(state.raw_events() <= 10);
    assert_eq!(sum(&state, 60 * MINUTE), Some(12 * 10));
    let roomy = sums(TimeWindow::sawtooth(minutes(60)), Duration::ZERO, 100);
    let mut state = WindowState::new(&roomy);
    for at in 0..600 {
        state.advance(events.time(at)).unwrap();
        state.update(&events, at).unwrap();
    }
    assert!(state.raw_events() <= 50, "{}", state.raw_events());
    assert_eq!(sum(&state, 60 * MINUTE), Some(600));
    assert_eq!(sum(&state, 60 * MINUTE + FIVE_MINUTES_US), Some(550));
}

#[test]
fn ids_are_remembered_no_longer_than_an_event_may_be_late() {
    let view = sums(TimeWindow::tumbling(minutes(5)), minutes(5), 100);
    let events = events(&view, &rows_at((0..1_000).map(|i| i * MINUTE)));
    let mut state = WindowState::new(&view);
    for at in 0..1_000 {
        state.advance(events.time(at)).unwrap();
        state.update(&events, at).unwrap();
    }
    assert_eq!((state.ids.len(), state.raw_events()), (6, 0));
    assert_eq!(sum(&state, 1_000 * MINUTE), Some(5));
    state.advance(EventTime::from_micros(2_000 * MINUTE)).unwrap();
    assert!(state.is_empty());
    assert_eq!(sum(&state, 2_000 * MINUTE), None);
}

#[test]
fn a_moment_before_the_latest_cannot_be_read() {
    let view = sums(TimeWindow::lifetime(), Duration::ZERO, 100);
    let mut state = WindowState::new(&view);
    state.advance(EventTime::from_micros(10)).unwrap();
    state.advance(EventTime::from_micros(5)).unwrap();
    assert_eq!(state.latest(), EventTime::from_micros(10));
    assert!(state.read(9).unwrap_err().to_string().contains("now"));
    assert!(state.read(10).is_ok());
}

#[test]
fn events_at_the_ends_of_time_are_counted_where_they_lie() {
    let view = view(windows(), Duration::ZERO, &[Kind::Int]);
    let rows: Vec<Row> = [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX]
        .into_iter()
        .map(|time| (time, Some(i64::from(time > 0)), None, None))
        .collect();
    let events = events(&view, &rows);
    let mut state = WindowState::new(&view);
    for at in 0..rows.len() {
        assert_eq!(state.update(&events, at).unwrap(), Update::Counted);
    }
    for t in [i64::MIN, i64::MIN + 2, 0, 1, i64::MAX - 1, i64::MAX] {
        ensure_law(&state, &rows, t);
        state.advance(EventTime::from_micros(t)).unwrap();
        ensure_law(&state, &rows, t);
    }
}

#[test]
fn one_event_in_two_states_keeps_them_from_merging() {
    let view = sums(TimeWindow::lifetime(), minutes(5), 100);
    let events = events(&view, &rows_at([0, 1]));
    let (mut one, mut other) = (WindowState::new(&view), WindowState::new(&view));
    one.update(&events, 0).unwrap();
    other.update(&events, 0).unwrap();
    assert!(one.merge(other.clone()).unwrap_err().to_string().contains("both"));
    assert_eq!(sum(&one, 10), Some(1));
    let stranger = sums(TimeWindow::tumbling(minutes(5)), minutes(5), 100);
    assert!(matches!(one.merge(WindowState::new(&stranger)), Err(Error::Changed { .. })));
}

#[test]
fn damaged_bytes_are_refused_whichever_of_them_it_is() {
    let view = view(windows(), minutes(90), &ALL);
    let rows: Vec<Row> = (0..20).map(|i| (i * HOUR_US, Some(i), Some(0.1), Some("x".to_owned()))).collect();
    let events = events(&view, &rows);
    let mut state = WindowState::new(&view);
    (0..rows.len()).for_each(|at| drop(state.update(&events, at).unwrap()));
    let good = state.to_bytes();
    assert!(WindowState::from_bytes(&view, &good).is_ok());
    let step = good.len() / 400 + 1;
    for at in (0..good.len()).step_by(step) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        let error = WindowState::from_bytes(&view, &bad).unwrap_err();
        assert!(matches!(error, Error::Core(mlops_core::Error::Corrupt { .. })), "{at}: {error}");
        assert!(WindowState::from_bytes(&view, &good[..at]).is_err());
        // A writer that means ill knows how to make a checksum.
        bad.truncate(good.len() - 4);
        let crc = crc32c::crc32c(&bad);
        bad.extend_from_slice(&crc.to_le_bytes());
        drop(WindowState::from_bytes(&view, &bad));
    }
    let other = sums(TimeWindow::lifetime(), Duration::ZERO, 9);
    assert!(matches!(WindowState::from_bytes(&other, &good), Err(Error::Changed { .. })));
}

#[test]
fn rows_are_those_of_the_feature_view() {
    let view = view([TimeWindow::exact(minutes(60))], Duration::ZERO, &ALL);
    let rows = [(0, Some(2), Some(0.5), Some("x".to_owned())), (1, None, Some(f64::NAN), None)];
    let events = events(&view, &rows);
    let (mut state, empty) = (WindowState::new(&view), WindowState::new(&view));
    (0..2).for_each(|at| drop(state.update(&events, at).unwrap()));
    let keys = [Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef];
    let found = view.rows(&keys, &[&state, &empty], EventTime::from_micros(5)).unwrap();
    assert_eq!(found.schema(), *view.feature_view().schema().arrow());
    let counts = found.column_by_name("count_1h").unwrap().as_primitive::<Int64Type>();
    assert_eq!(counts.values(), &[2, 0]);
    let means = found.column_by_name("b_mean_1h").unwrap().as_primitive::<Float64Type>();
    assert_eq!((means.value(0), means.is_null(1)), (0.5, true));
    let last = found.column_by_name("c_last3_1h").unwrap().as_list::<i32>();
    assert_eq!((last.value(0).as_string::<i32>().value(0), last.is_null(1)), ("x", true));
    assert!(view.rows(&keys, &[&state], EventTime::from_micros(5)).is_err());
}
