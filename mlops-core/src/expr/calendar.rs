//! Times by the proleptic Gregorian calendar in UTC, for every instant that 64 bits of microseconds hold.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array};
use arrow::datatypes::{Float64Type, Int64Type};

use super::eval::nulls_of;
use super::value::Value;
use super::{Function, Type};
use crate::time::{DAY_US, Date, EventTime, weekday};

const HOUR_US: i64 = 3_600_000_000;
const MINUTE_US: i64 = 60_000_000;

pub(super) fn compute(function: Function, args: &[Value], len: usize) -> ArrayRef {
    use Function as F;
    let part = |f: fn(i64) -> i64| -> ArrayRef { Arc::new(args[0].numbers::<Int64Type>().unary::<_, Int64Type>(f)) };
    let at = |arg: &Value, row: usize| if arg.constant { 0 } else { row };
    match function {
        F::Year => part(|us| date(us).year),
        F::Month => part(|us| date(us).month),
        F::Day => part(|us| date(us).day),
        F::Weekday => part(|us| weekday(us.div_euclid(DAY_US)) + 1),
        F::Hour => part(|us| us.rem_euclid(DAY_US) / HOUR_US),
        F::Minute => part(|us| us.rem_euclid(HOUR_US) / MINUTE_US),
        F::Second => part(|us| us.rem_euclid(MINUTE_US) / 1_000_000),
        F::SecondsBetween => {
            let (later, earlier) = (args[0].numbers::<Int64Type>(), args[1].numbers::<Int64Type>());
            let seconds = |row| {
                let us = i128::from(later.value(at(&args[0], row))) - i128::from(earlier.value(at(&args[1], row)));
                us as f64 / 1e6
            };
            let values: Vec<f64> = (0..len).map(seconds).collect();
            Arc::new(Float64Array::new(values.into(), nulls_of(args, len)))
        }
        _ => {
            let (times, seconds) = (args[0].numbers::<Int64Type>(), args[1].numbers::<Float64Type>());
            let nulls = nulls_of(args, len);
            let moved = |row: usize| {
                if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                    return None;
                }
                let us = (seconds.value(at(&args[1], row)) * 1e6).floor();
                let fits = us.abs() < 9.2e18;
                fits.then(|| times.value(at(&args[0], row)).checked_add(us as i64)).flatten()
            };
            Arc::new((0..len).map(moved).collect::<Int64Array>())
        }
    }
}

/// `time(a)`.
pub(super) fn from(operand: Type, value: &Value, len: usize) -> ArrayRef {
    if operand != Type::Text {
        return value.array.clone();
    }
    let texts = value.texts();
    let read = |row: usize| EventTime::parse(texts.value(row)).ok().map(EventTime::as_micros);
    Arc::new((0..len).map(|row| value.array.is_valid(row).then(|| read(row)).flatten()).collect::<Int64Array>())
}

fn date(us: i64) -> Date {
    Date::of_days(us.div_euclid(DAY_US))
}
