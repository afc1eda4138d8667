//! Times by the proleptic Gregorian calendar in UTC, for every instant that 64 bits of microseconds hold.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array};
use arrow::datatypes::{Float64Type, Int64Type};

use super::eval::nulls_of;
use super::value::Value;
use super::{Function, Type};
use crate::time::{DAY_US, EventTime};

const HOUR_US: i64 = 3_600_000_000;
const MINUTE_US: i64 = 60_000_000;

pub(super) fn compute(function: Function, args: &[Value], len: usize) -> ArrayRef {
    use Function as F;
    let part = |f: fn(i64) -> i64| -> ArrayRef { Arc::new(args[0].numbers::<Int64Type>().unary::<_, Int64Type>(f)) };
    let at = |arg: &Value, row: usize| if arg.constant { 0 } else { row };
    match function {
        F::Year => part(|us| date(us).0),
        F::Month => part(|us| date(us).1),
        F::Day => part(|us| date(us).2),
        // 1 January 1970 was a Thursday.
        F::Weekday => part(|us| (us.div_euclid(DAY_US) + 3).rem_euclid(7) + 1),
        F::Hour => part(|us| us.rem_euclid(DAY_US) / HOUR_US),
        F::Minute => part(|us| us.rem_euclid(HOUR_US) / MINUTE_US),
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

/// Year, month and day.
///
/// # Source
/// Hinnant, *chrono-Compatible Low-Level Date Algorithms*, 2013, `civil_from_days`.
fn date(us: i64) -> (i64, i64, i64) {
    let days = us.div_euclid(DAY_US) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
