//! The contract of [`StateStore`].

use std::sync::Barrier;

use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use mlops_core::{Error as Core, EventTime};

use super::{Row, batch, block_on, entity, row, view};
use crate::error::Error;
use crate::online::{OnlineRead, OnlineRows, RowTimes, StateStore};
use crate::{FeatureView, Keys};

/// Threads that count at once.
const THREADS: usize = 4;

/// What each of them counts to.
const ROUNDS: i64 = 25;

/// Checks the contract of [`StateStore`] on fresh, empty stores made by `make`.
///
/// # Panics
/// With the sentence of the contract that does not hold.
pub fn state_store<S: StateStore>(make: impl Fn() -> S) {
    a_row_is_put_where_it_is_what_was_seen(&make());
    created_times_are_compared_too(&make());
    the_answers_are_those_of_the_rows(&make());
    bad_calls_put_nothing(&make());
    many_writers_lose_nothing(&make());
}

fn at(event_time: i64, created: Option<i64>) -> RowTimes {
    RowTimes { event_time: EventTime::from_micros(event_time), created: created.map(EventTime::from_micros) }
}

fn stats() -> FeatureView {
    view("stats")
}

fn replace<S: StateStore>(store: &S, rows: &[Row], seen: &[Option<RowTimes>]) -> Vec<bool> {
    block_on(store.replace(&stats(), &batch(rows), seen)).expect("a replacement by good rows succeeds")
}

fn read<S: StateStore>(store: &S, keys: &[i64]) -> OnlineRows {
    let view = stats();
    let ids: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::Int64Array::from(keys.to_vec()));
    let keys = Keys::new(&entity(), &[ids]).expect("good keys");
    let mut rows =
        block_on(store.read(&[OnlineRead { view: &view, features: &[0], keys: &keys }])).expect("a read succeeds");
    rows.swap_remove(0)
}

fn score<S: StateStore>(store: &S, key: i64) -> Option<f64> {
    read(store, &[key]).columns[0].as_primitive::<Float64Type>().iter().next().flatten()
}

fn a_row_is_put_where_it_is_what_was_seen<S: StateStore>(store: &S) {
    assert_eq!(replace(store, &[row(1, 10, None, 1.0)], &[Some(at(10, None))]), [false], "there is none yet");
    assert_eq!(score(store, 1), None, "a row that was not put changes nothing");
    assert_eq!(replace(store, &[row(1, 10, None, 1.0)], &[None]), [true], "none was seen, and none is there");
    assert_eq!(replace(store, &[row(1, 99, None, 2.0)], &[None]), [false], "one is there");
    assert_eq!(replace(store, &[row(1, 99, None, 2.0)], &[Some(at(9, None))]), [false], "another one is there");
    assert_eq!(score(store, 1), Some(1.0), "a row that was not put changes nothing");
    assert_eq!(read(store, &[1]).times(0), Some(at(10, None)), "times are read as they were put");
    assert_eq!(replace(store, &[row(1, 5, None, 3.0)], &[Some(at(10, None))]), [true], "a lesser row is put, too");
    assert_eq!((score(store, 1), read(store, &[1]).times(0)), (Some(3.0), Some(at(5, None))));
    assert_eq!(replace(store, &[row(1, 5, None, 3.0)], &[Some(at(10, None))]), [false], "a call again puts nothing");
    let written = block_on(store.write(&stats(), &batch(&[row(1, 6, None, 4.0)]), None)).expect("a write succeeds");
    assert_eq!((written.written, score(store, 1)), (1, Some(4.0)), "a write goes on from what was put");
}

fn created_times_are_compared_too<S: StateStore>(store: &S) {
    assert_eq!(replace(store, &[row(1, 10, Some(1), 1.0)], &[None]), [true]);
    for wrong in [Some(at(10, None)), Some(at(10, Some(0))), Some(at(10, Some(2))), Some(at(11, Some(1))), None] {
        assert_eq!(replace(store, &[row(1, 10, Some(7), 2.0)], &[wrong]), [false], "{wrong:?} is not there");
    }
    assert_eq!(replace(store, &[row(1, 10, Some(2), 2.0)], &[Some(at(10, Some(1)))]), [true]);
    assert_eq!((score(store, 1), read(store, &[1]).times(0)), (Some(2.0), Some(at(10, Some(2)))));
    assert_eq!(replace(store, &[row(1, 10, None, 3.0)], &[Some(at(10, Some(2)))]), [true]);
    let ends = [(i64::MIN, Some(i64::MIN)), (i64::MAX, Some(i64::MAX)), (-1, Some(-1)), (0, Some(0))];
    let mut before = Some(at(10, None));
    for (event_time, created) in ends {
        assert_eq!(replace(store, &[row(1, event_time, created, 4.0)], &[before]), [true], "{event_time} {created:?}");
        before = Some(at(event_time, created));
        assert_eq!(read(store, &[1]).times(0), before);
    }
}

fn the_answers_are_those_of_the_rows<S: StateStore>(store: &S) {
    let odd: Vec<Row> = (0..600).filter(|key| key % 2 == 1).map(|key| row(key, 1, None, 0.5)).collect();
    assert!(replace(store, &odd, &vec![None; odd.len()]).iter().all(|put| *put));
    // In no order of keys.
    let all: Vec<Row> = (0..600).map(|key| key * 7 % 600).map(|key| row(key, 2, None, key as f64)).collect();
    let put = replace(store, &all, &vec![None; all.len()]);
    for (row, put) in all.iter().zip(put) {
        let key = row.key.unwrap_or_default();
        assert_eq!(put, key % 2 == 0, "one answer per row, in their order: {key}");
        assert_eq!(score(store, key), Some(if put { key as f64 } else { 0.5 }));
    }
    assert!(replace(store, &[], &[]).is_empty(), "no rows, no answers");
}

fn bad_calls_put_nothing<S: StateStore>(store: &S) {
    let refused = |rows: &[Row], seen: &[Option<RowTimes>]| {
        block_on(store.replace(&stats(), &batch(rows), seen)).expect_err("a bad call is refused")
    };
    let twice = [row(1, 1, None, 1.0), row(2, 1, None, 1.0), row(1, 2, None, 2.0)];
    assert!(matches!(refused(&twice, &[None; 3]), Error::Core(Core::InvalidData { .. })), "a key twice is bad data");
    let nobody = [row(1, 1, None, 1.0), Row { key: None, ..row(1, 1, None, 1.0) }];
    assert!(matches!(refused(&nobody, &[None; 2]), Error::Core(Core::InvalidData { .. })), "a null key is bad data");
    assert!(matches!(refused(&twice[..2], &[None]), Error::Core(Core::Schema { .. })), "times are told for each row");
    assert_eq!((score(store, 1), score(store, 2)), (None, None), "nothing is put then");
}

/// All of them count the same keys up by one.
fn many_writers_lose_nothing<S: StateStore>(store: &S) {
    let start = Barrier::new(THREADS);
    let count = || {
        start.wait();
        for _ in 0..ROUNDS {
            let mut open = vec![1, 2];
            while !open.is_empty() {
                let stored = read(store, &open);
                let scores = stored.columns[0].as_primitive::<Float64Type>();
                let next = |(at, key): (usize, &i64)| {
                    let (score, turn) = (scores.iter().nth(at).flatten().unwrap_or(0.0) + 1.0, stored.times(at));
                    let turn = turn.and_then(|seen| seen.created).map_or(0, EventTime::as_micros) + 1;
                    row(*key, 7, Some(turn), score)
                };
                let rows: Vec<Row> = open.iter().enumerate().map(next).collect();
                let seen: Vec<_> = (0..open.len()).map(|at| stored.times(at)).collect();
                let put = replace(store, &rows, &seen);
                open = open.into_iter().zip(put).filter_map(|(key, put)| (!put).then_some(key)).collect();
            }
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(count))));
    let all = (THREADS as i64 * ROUNDS) as f64;
    assert_eq!([score(store, 1), score(store, 2)], [Some(all); 2], "of several who saw the same row one puts his");
}
