use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{Float64Type, Int64Type};
use proptest::prelude::*;

use super::*;
use crate::window::op::Op;
use crate::window::oracle::{
    ALL, MINUTE, Row, batch, column, ensure_alike, expected, minutes, row, view, windows, within,
};
use crate::window::span::{FIVE_MINUTES_US, HOUR_US};
use crate::window::value::Kind;
use crate::{Entity, Error, KeyType, ValueType};

fn events(view: &WindowView, rows: &[Row]) -> Events {
    Events::read(view, &batch(rows, &vec![Some(1); rows.len()])).unwrap()
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
    for at in 0..rows.len() {
        state.update(&events, at).unwrap();
    }
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
    for at in 0..2 {
        state.update(&events, at).unwrap();
    }
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
