//! What features are, by the letter of their definition: filter the events, then fold. For tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use mlops_core::stats::{Distinct, Histogram};
use proptest::prelude::*;

use super::measure::Measure;
use super::op::Op;
use super::sliding::Timed;
use super::span::TimeWindow;
use super::value::{Cell, Kind, Value};
use super::view::WindowView;
use crate::{Entity, KeyType, ValueType};

/// Values in `[start, end)` of `window` at `t`, in the order of time, then value.
pub(super) fn within(events: &[Timed], window: &TimeWindow, t: i64) -> Vec<Timed> {
    let (start, end) = window.bounds(t);
    let mut held: Vec<Timed> = events.iter().filter(|event| start <= event.0 && event.0 < end).cloned().collect();
    held.sort();
    held
}

/// The feature, of values in the order of time, then value.
pub(super) fn expected(op: &Op, held: &[Timed]) -> Cell {
    let values: Vec<&Value> = held.iter().map(|(_, value)| value).collect();
    let numbers: Vec<f64> = values.iter().filter_map(|value| value.number()).collect();
    let n = values.len();
    let list = |values: Vec<Value>| if n == 0 { Cell::Null } else { Cell::Many(values) };
    let one = |value: Option<&&Value>| value.map_or(Cell::Null, |value| Cell::One((*value).clone()));
    match op {
        Op::Count => Cell::count(n as u64),
        Op::Distinct => Cell::count(values.iter().collect::<BTreeSet<_>>().len() as u64),
        Op::DistinctSketch { precision } => {
            let mut sketch = Distinct::new(*precision).unwrap();
            for value in values {
                match value {
                    Value::Int(value) => sketch.update_integer(*value),
                    Value::Real(value) => sketch.update_number(*value),
                    Value::Text(text) => sketch.update_text(text),
                }
            }
            Cell::count(sketch.estimate().value)
        }
        _ if n == 0 => Cell::Null,
        Op::Sum if matches!(values[0], Value::Int(_)) => {
            let exact: i128 = values.iter().map(|v| if let Value::Int(v) = v { i128::from(*v) } else { 0 }).sum();
            Cell::One(Value::Int(exact.clamp(i64::MIN.into(), i64::MAX.into()) as i64))
        }
        Op::Sum => Cell::real(Some(numbers.iter().sum())),
        Op::Mean => Cell::real(Some(numbers.iter().sum::<f64>() / n as f64)),
        Op::Variance { ddof } => Cell::real(variance(&numbers, *ddof)),
        Op::StandardDeviation { ddof } => Cell::real(variance(&numbers, *ddof).map(f64::sqrt)),
        Op::Min => one(values.iter().min()),
        Op::Max => one(values.iter().max()),
        Op::First => one(values.first()),
        Op::Last => one(values.last()),
        Op::FirstN { n } => list(values.into_iter().take(*n as usize).cloned().collect()),
        Op::LastN { n } => list(values.into_iter().rev().take(*n as usize).cloned().collect()),
        Op::LastNDistinct { n } => {
            let mut last: BTreeMap<&Value, i64> = BTreeMap::new();
            for (time, value) in held {
                last.insert(value, *time);
            }
            let mut order: Vec<(i64, &Value)> = last.into_iter().map(|(value, time)| (time, value)).collect();
            order.sort();
            list(order.into_iter().rev().take(*n as usize).map(|(_, value)| value.clone()).collect())
        }
        Op::TopK { k } | Op::TopKSketch { k, .. } => {
            let mut counts: BTreeMap<&Value, i64> = BTreeMap::new();
            values.iter().for_each(|value| *counts.entry(value).or_default() -= 1);
            let mut order: Vec<(i64, &Value)> = counts.into_iter().map(|(value, count)| (count, value)).collect();
            order.sort();
            list(order.into_iter().take(*k as usize).map(|(_, value)| value.clone()).collect())
        }
        Op::Quantiles { shares, .. } => {
            let mut sorted = numbers;
            sorted.sort_by(f64::total_cmp);
            let at = |share: &f64| {
                let place = share * (n - 1) as f64;
                let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
                Value::Real(low + (place - place.floor()) * (high - low))
            };
            list(shares.iter().map(at).collect())
        }
        Op::Histogram { edges } => {
            let mut histogram = Histogram::new(edges.clone()).unwrap();
            numbers.iter().for_each(|x| histogram.update(*x));
            list(histogram.open_counts().into_iter().map(|count| Value::Int(count as i64)).collect())
        }
    }
}

fn variance(x: &[f64], ddof: u8) -> Option<f64> {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    (x.len() > usize::from(ddof))
        .then(|| x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - f64::from(ddof)))
}

/// Whether two values are equal, doubles to 1e-9 of the greater or of one.
#[track_caller]
pub(super) fn ensure_alike(found: &Cell, expected: &Cell, what: &str) {
    let close = |a: &Value, b: &Value| match (a, b) {
        (Value::Real(a), Value::Real(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0),
        _ => a == b,
    };
    let alike = match (found, expected) {
        (Cell::One(a), Cell::One(b)) => close(a, b),
        (Cell::Many(a), Cell::Many(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(a, b)),
        _ => found == expected,
    };
    assert!(alike, "{what}: found {found:?}, expected {expected:?}");
}

/// Every op that columns of `kind` have.
pub(super) fn ops(kind: Kind) -> Vec<Op> {
    let edges = vec![-1.5, 0.0, 2.0];
    let all = [
        Op::Count,
        Op::Sum,
        Op::Mean,
        Op::Variance { ddof: 1 },
        Op::StandardDeviation { ddof: 0 },
        Op::Min,
        Op::Max,
        Op::First,
        Op::Last,
        Op::FirstN { n: 2 },
        Op::LastN { n: 3 },
        Op::LastNDistinct { n: 2 },
        Op::Distinct,
        Op::DistinctSketch { precision: 8 },
        Op::Quantiles { shares: vec![0.0, 0.5, 0.9], k: 200 },
        Op::TopK { k: 2 },
        Op::TopKSketch { k: 2, capacity: 64 },
        Op::Histogram { edges },
    ];
    all.into_iter().filter(|op| op.output(Some(kind)).is_some()).collect()
}

/// Values of which some are equal and sums are exact in doubles.
pub(super) fn value(kind: Kind) -> BoxedStrategy<Value> {
    match kind {
        Kind::Int => prop_oneof![9 => -3_i64..4, 1 => Just(i64::MAX), 1 => Just(i64::MIN)].prop_map(Value::Int).boxed(),
        Kind::Real => (-200_i32..200).prop_map(|sixteenths| Value::Real(f64::from(sixteenths) / 16.0)).boxed(),
        Kind::Text => "[a-c]{0,2}".prop_map(|text| Value::Text(text.into())).boxed(),
    }
}

pub(super) fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![Just(Kind::Int), Just(Kind::Real), Just(Kind::Text)]
}

/// The measure that `op` reads from a column of `kind`.
pub(super) fn measure(op: &Op, kind: Kind) -> Measure {
    op.measure(Some(kind))
}

pub(super) const MINUTE: i64 = 60_000_000;

/// One event: time, an integer, a double (NaN is absent), a text.
pub(super) type Row = (i64, Option<i64>, Option<f64>, Option<String>);

pub(super) fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

pub(super) fn windows() -> Vec<TimeWindow> {
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

pub(super) fn view(windows: impl IntoIterator<Item = TimeWindow>, lateness: Duration, kinds: &[Kind]) -> WindowView {
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

pub(super) const ALL: [Kind; 3] = [Kind::Int, Kind::Real, Kind::Text];

/// `rows` as events, each of a key and with its position as id.
pub(super) fn batch(rows: &[Row], keys: &[Option<i64>]) -> RecordBatch {
    let times = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.0));
    let columns = [
        ("user_id", Arc::new(Int64Array::from(keys.to_vec())) as ArrayRef, true),
        ("event_timestamp", Arc::new(times), true),
        ("id", Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)), true),
        ("a", Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()), true),
        ("b", Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>()), true),
        ("c", Arc::new(rows.iter().map(|row| row.3.clone()).collect::<StringArray>()), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// The present values of a column of `rows`.
pub(super) fn column(rows: &[Row], column: Option<usize>) -> Vec<(i64, Value)> {
    let value = |row: &Row| match column {
        None => Some(Value::Int(0)),
        Some(0) => row.1.map(Value::Int),
        Some(1) => row.2.and_then(Value::real),
        Some(_) => row.3.as_deref().map(|text| Value::Text(text.into())),
    };
    rows.iter().filter_map(|row| value(row).map(|value| (row.0, value))).collect()
}

pub(super) fn row() -> impl Strategy<Value = Row> {
    let time = prop_oneof![-3_000_i64..3_000, 2_900_i64..3_000].prop_map(|m| m * MINUTE);
    let real = prop_oneof![8 => (-80_i32..80).prop_map(|x| f64::from(x) / 16.0), 1 => Just(f64::NAN), 1 => Just(f64::INFINITY)];
    (
        time,
        prop::option::weighted(0.8, -3_i64..4),
        prop::option::weighted(0.8, real),
        prop::option::weighted(0.8, "[a-c]"),
    )
}
