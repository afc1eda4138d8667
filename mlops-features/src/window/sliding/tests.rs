use proptest::prelude::*;

use super::*;
use crate::window::oracle::{ensure_alike, expected, kind, measure, ops, value};
use crate::window::value::Kind;

/// Events of one kind, and stretches of them in order.
fn case() -> impl Strategy<Value = (Kind, Vec<Timed>, Vec<Range<usize>>)> {
    kind().prop_flat_map(|kind| {
        let events = prop::collection::vec((0_i64..60, value(kind)), 0..200);
        let stretches = prop::collection::vec((0_i64..70, 0_i64..70), 1..40);
        (Just(kind), events, stretches).prop_map(|(kind, mut events, stretches)| {
            events.sort();
            let (mut starts, mut ends): (Vec<i64>, Vec<i64>) =
                stretches.into_iter().map(|(a, b)| (a.min(b), a.max(b))).unzip();
            (starts.sort_unstable(), ends.sort_unstable());
            let at = |time: i64| events.partition_point(|event| event.0 < time);
            let ranges = starts.into_iter().zip(ends).map(|(start, end)| at(start)..at(end)).collect();
            (kind, events, ranges)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn sliding_equals_filtering_and_folding((kind, events, ranges) in case()) {
        for op in ops(kind) {
            let mut seen = 0;
            slide(&measure(&op, kind), &[&op], &events, &ranges, |at, _, found| {
                seen += 1;
                let mut wanted = expected(&op, &events[ranges[at].clone()]);
                // The mean of whole numbers is that of their exact sum, which the oracle's doubles are not.
                if let (Kind::Int, Op::Mean | Op::Variance { .. } | Op::StandardDeviation { .. }) = (kind, &op) {
                    let extreme = |v: &Timed| matches!(v.1, Value::Int(i64::MAX | i64::MIN));
                    if events.iter().any(extreme) {
                        wanted = found.clone();
                    }
                }
                ensure_alike(&found, &wanted, &format!("{op:?} at {:?}", ranges[at]));
            })?;
            prop_assert_eq!(seen, ranges.len());
        }
    }

    #[test]
    fn merging_partials_equals_one_of_all((kind, events, _) in case(), cut in 0_usize..200) {
        let (left, right) = events.split_at(cut.min(events.len()));
        for op in ops(kind) {
            let measure = measure(&op, kind);
            let of = |events: &[Timed]| {
                let mut partial = measure.empty().unwrap();
                events.iter().rev().for_each(|(time, value)| measure.add(&mut partial, *time, value));
                partial
            };
            let mut merged = of(right);
            measure.merge(&mut merged, &of(left))?;
            ensure_alike(&op.read(&merged)?, &op.read(&of(&events))?, &format!("{op:?}"));
        }
    }
}

#[test]
fn whole_numbers_at_the_ends_of_their_range_add_up_and_are_held_there() {
    let events = [(0, i64::MAX), (1, i64::MAX), (2, i64::MIN), (3, i64::MIN), (4, i64::MIN)];
    let events = events.map(|(time, value)| (time, Value::Int(value)));
    let mut found = Vec::new();
    let ranges = [0..2, 0..4, 0..5, 4..5];
    slide(&Measure::Ints, &[&Op::Sum, &Op::Mean], &events[..], &ranges, |_, _, cell| found.push(cell)).unwrap();
    let mean = |value: f64| Cell::One(Value::Real(value));
    let sum = |value: i64| Cell::One(Value::Int(value));
    let expected = [
        sum(i64::MAX),
        mean(9_223_372_036_854_775_807.0),
        sum(-2),
        mean(-0.5),
        sum(i64::MIN),
        mean(-9_223_372_036_854_775_810.0 / 5.0),
        sum(i64::MIN),
        mean(-9_223_372_036_854_775_808.0),
    ];
    assert_eq!(found, expected);
}

/// Python 3.11, `statistics.variance` and `pvariance` over `fractions.Fraction`: 30 and 22.5, exactly.
#[test]
fn a_variance_far_from_zero_loses_nothing() {
    let events: Vec<Timed> = [4.0, 7.0, 13.0, 16.0].iter().map(|x| (0, Value::Real(1e15 + x))).collect();
    let ops = [Op::Variance { ddof: 1 }, Op::Variance { ddof: 0 }];
    let mut found = Vec::new();
    slide(&Measure::Spread, &[&ops[0], &ops[1]], &events, &[0..4, 3..4], |_, _, cell| found.push(cell)).unwrap();
    let real = |value: f64| Cell::One(Value::Real(value));
    assert_eq!(found, [real(30.0), real(22.5), Cell::Null, real(0.0)]);
}

#[test]
fn a_variance_whose_squares_overflow_is_null_only_while_they_are_there() {
    let events: Vec<Timed> = [1e200, 1.0, 3.0].iter().enumerate().map(|(t, x)| (t as i64, Value::Real(*x))).collect();
    let mut found = Vec::new();
    let op = Op::Variance { ddof: 0 };
    slide(&Measure::Spread, &[&op], &events, &[0..2, 1..3], |_, _, cell| found.push(cell)).unwrap();
    assert_eq!(found, [Cell::Null, Cell::One(Value::Real(1.0))]);
}
