//! The contract of logs of served vectors.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use mlops_core::{EventTime, Window};

use super::times;
use crate::skew::VectorLog;

/// One day, in microseconds.
const DAY: i64 = 86_400_000_000;

/// Checks the contract of [`VectorLog`] on fresh logs made by `make`.
///
/// # Panics
/// With the sentence that does not hold.
pub fn vector_log<L: VectorLog>(make: impl Fn() -> L) {
    a_fresh_log_has_no_rows(&make());
    rows_are_read_as_they_were_appended(&make());
    a_window_gets_all_rows_that_were_served_within(&make());
    an_append_without_rows_is_none(&make());
}

/// Rows of these instants, numbered.
fn rows(instants: &[i64]) -> RecordBatch {
    let number: ArrayRef = Arc::new(Int64Array::from_iter_values(instants.iter().copied()));
    let value = instants.iter().map(|at| (at % 3 != 0).then_some(f64::from_bits(*at as u64)));
    RecordBatch::try_from_iter_with_nullable([
        ("served_at", times(instants.iter().map(|at| Some(*at))), false),
        ("number", number, true),
        ("value", Arc::new(value.collect::<Float64Array>()) as ArrayRef, true),
    ])
    .expect("columns of one length")
}

fn read(log: &dyn VectorLog, window: Window) -> Vec<RecordBatch> {
    let batches = log.read(window).expect("a log can be read");
    batches.collect::<Result<_, _>>().expect("a log can be read to its end")
}

/// Numbers of the rows, in ascending order.
fn numbers(batches: &[RecordBatch]) -> Vec<i64> {
    let of = |batch: &RecordBatch| batch["number"].as_primitive::<Int64Type>().values().to_vec();
    let mut numbers: Vec<i64> = batches.iter().flat_map(of).collect();
    numbers.sort_unstable();
    numbers
}

fn a_fresh_log_has_no_rows(log: &dyn VectorLog) {
    assert!(numbers(&read(log, Window::all())).is_empty(), "a fresh log has no rows");
}

fn rows_are_read_as_they_were_appended(log: &dyn VectorLog) {
    let appended = rows(&[1, 2, 3]);
    log.append(&appended).expect("a log can be appended to");
    let batches = read(log, Window::all());
    let whole = arrow::compute::concat_batches(&batches[0].schema(), &batches).expect("batches of one schema");
    for field in appended.schema().fields() {
        let name = field.name().as_str();
        assert_eq!(whole[name].to_data(), appended[name].to_data(), "`{name}` is read as it was appended");
    }
    log.append(&rows(&[4])).expect("a log can be appended to");
    assert_eq!(numbers(&read(log, Window::all())), [1, 2, 3, 4], "a later append is read beside the first");
}

fn a_window_gets_all_rows_that_were_served_within(log: &dyn VectorLog) {
    let days = [-3 * DAY, -1, 0, DAY - 1, DAY, 40 * DAY, 400_000 * DAY];
    log.append(&rows(&days)).expect("a log can be appended to, whatever the day");
    assert_eq!(numbers(&read(log, Window::all())), days, "no row is lost");
    for (from, start) in days.iter().enumerate() {
        for end in &days[from + 1..] {
            let (start, end) = (EventTime::from_micros(*start), EventTime::from_micros(*end));
            let window = Window::new(start, end).expect("ascending");
            let found = numbers(&read(log, window));
            let mut within = days.iter().filter(|at| window.contains(EventTime::from_micros(**at)));
            assert!(within.all(|at| found.contains(at)), "all rows of {window:?} are read");
        }
    }
}

fn an_append_without_rows_is_none(log: &dyn VectorLog) {
    log.append(&rows(&[])).expect("nothing can be appended");
    assert!(numbers(&read(log, Window::all())).is_empty(), "an append without rows is none");
}
