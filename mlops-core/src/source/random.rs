//! Random tables of everything that a text format holds, for laws of round trips.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float32Array, Float64Array, Int16Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

/// Days and microseconds of the years 0000 to 9999 (`date -u -d 9999-12-31 +%s` divided by 86,400 is 2,932,896).
const DAYS: std::ops::Range<i32> = -719_528..2_932_897;
const MICROS: std::ops::Range<i64> = -62_167_219_200_000_000..253_402_300_800_000_000;

type Row = (
    (i64, Option<i16>, Option<u64>, Option<f64>, Option<f32>),
    (Option<bool>, Option<i32>, Option<i64>, Option<i64>, Option<String>),
);

/// Any text, and texts of what dialects make of.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[\"',;\\t\\r\\n \u{feff}a\\\\0é-]{0,5}", "NULL|null|true|1|-|1e5|2024-01-01|NaN|"]
}

fn row(finite: bool) -> impl Strategy<Value = Row> {
    // All bit patterns, but one NaN: text spells only that one.
    let double = any::<u64>().prop_map(f64::from_bits).prop_map(|v| if v.is_nan() { f64::NAN } else { v });
    let single = any::<u32>().prop_map(f32::from_bits).prop_map(|v| if v.is_nan() { f32::NAN } else { v });
    let double = double.prop_map(move |v| if finite && !v.is_finite() { f64::MAX } else { v });
    let single = single.prop_map(move |v| if finite && !v.is_finite() { f32::MAX } else { v });
    let nanos = i64::MIN / 1_000..i64::MAX / 1_000;
    (
        (any::<i64>(), of(any::<i16>()), of(any::<u64>()), of(double), of(single)),
        (of(any::<bool>()), of(DAYS), of(MICROS), of(nanos), of(text())),
    )
}

/// Tables of up to 20 rows; without NaN and infinities where `finite`.
pub(super) fn tables(finite: bool) -> impl Strategy<Value = RecordBatch> {
    vec(row(finite), 0..20).prop_map(|rows| {
        let (numbers, others): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let times: TimestampMicrosecondArray = others.iter().map(|o| o.2).collect();
        let nanos: TimestampNanosecondArray = others.iter().map(|o| o.3.map(|micros| micros * 1_000)).collect();
        RecordBatch::try_from_iter_with_nullable([
            ("id", Arc::new(Int64Array::from_iter_values(numbers.iter().map(|n| n.0))) as ArrayRef, false),
            ("short", Arc::new(numbers.iter().map(|n| n.1).collect::<Int16Array>()), true),
            ("unsigned", Arc::new(numbers.iter().map(|n| n.2).collect::<UInt64Array>()), true),
            ("double", Arc::new(numbers.iter().map(|n| n.3).collect::<Float64Array>()), true),
            ("single", Arc::new(numbers.iter().map(|n| n.4).collect::<Float32Array>()), true),
            ("flag", Arc::new(others.iter().map(|o| o.0).collect::<BooleanArray>()), true),
            ("day", Arc::new(others.iter().map(|o| o.1).collect::<Date32Array>()), true),
            ("time", Arc::new(times.with_timezone("Asia/Ho_Chi_Minh")), true),
            ("nanos", Arc::new(nanos), true),
            ("text", Arc::new(others.iter().map(|o| o.4.as_deref()).collect::<StringArray>()), true),
        ])
        .expect("columns of one length")
    })
}
