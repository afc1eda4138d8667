//! Reads Arrow arrays as blocks of numbers or as texts, whatever their physical type.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Decimal128Type, Float16Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use crate::{Error, Result};

/// Values that are handed on at a time; small enough that clearing the buffers costs less than one column's work.
const BLOCK: usize = 128;

/// Receives present values: as numbers, and as keys that are equal exactly where the values are.
pub(crate) type NumberSink<'a> = &'a mut dyn FnMut(&[f64], &[u64]);

/// Receives present texts, each with how often it stands there.
pub(crate) type TextSink<'s, 'a> = &'s mut dyn FnMut(&'a str, u64);

/// How the keys of a column of numbers are to be read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyKind {
    Signed,
    Unsigned,
    Float,
}

impl KeyKind {
    pub(crate) fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => Self::Unsigned,
            DataType::Float16 | DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) => Self::Float,
            _ => Self::Signed,
        }
    }

    pub(crate) fn number(self, key: u64) -> f64 {
        match self {
            Self::Signed => key.cast_signed() as f64,
            Self::Unsigned => key as f64,
            Self::Float => f64::from_bits(key),
        }
    }

    pub(crate) fn text(self, key: u64) -> String {
        match self {
            Self::Signed => key.cast_signed().to_string(),
            Self::Unsigned => key.to_string(),
            Self::Float => f64::from_bits(key).to_string(),
        }
    }
}

/// One key per value: the two zeros are one value, and so are all NaN.
fn float_key(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() }
}

/// Whether [`numbers`] reads this type as numbers that may be averaged.
pub(crate) fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_floating() || matches!(data_type, DataType::Decimal128(..))
}

/// Whether [`numbers`] reads this type as µs since the epoch.
pub(crate) fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..))
}

/// Whether [`texts`] reads this type.
pub(crate) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => {
            matches!(**values, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
        }
        _ => false,
    }
}

/// Hands the present values of `array` on in blocks; booleans are 0 and 1, times are µs since the epoch.
pub(crate) fn numbers(array: &dyn Array, sink: NumberSink<'_>) -> Result<()> {
    macro_rules! integers {
        ($type:ty) => {
            primitive::<$type>(array, sink, |v| (f64::from(v), i64::from(v).cast_unsigned()))
        };
    }
    macro_rules! times {
        ($type:ty, $micros:expr) => {
            primitive::<$type>(array, sink, |v| ($micros(v), i64::from(v).cast_unsigned()))
        };
    }
    match array.data_type() {
        DataType::Int8 => integers!(Int8Type),
        DataType::Int16 => integers!(Int16Type),
        DataType::Int32 => integers!(Int32Type),
        DataType::Int64 => primitive::<Int64Type>(array, sink, |v| (v as f64, v.cast_unsigned())),
        DataType::UInt8 => integers!(UInt8Type),
        DataType::UInt16 => integers!(UInt16Type),
        DataType::UInt32 => integers!(UInt32Type),
        DataType::UInt64 => primitive::<UInt64Type>(array, sink, |v| (v as f64, v)),
        DataType::Float16 => primitive::<Float16Type>(array, sink, |v| (v.to_f64(), float_key(v.to_f64()))),
        DataType::Float32 => primitive::<Float32Type>(array, sink, |v| (f64::from(v), float_key(f64::from(v)))),
        DataType::Float64 => primitive::<Float64Type>(array, sink, |v| (v, float_key(v))),
        DataType::Decimal128(_, scale) => {
            let unit = 10_f64.powi(i32::from(*scale));
            primitive::<Decimal128Type>(array, sink, |v| (v as f64 / unit, float_key(v as f64 / unit)));
        }
        DataType::Date32 => times!(Date32Type, |v| f64::from(v) * 86_400e6),
        DataType::Date64 => times!(Date64Type, |v| v as f64 * 1e3),
        DataType::Timestamp(TimeUnit::Second, _) => times!(TimestampSecondType, |v| v as f64 * 1e6),
        DataType::Timestamp(TimeUnit::Millisecond, _) => times!(TimestampMillisecondType, |v| v as f64 * 1e3),
        DataType::Timestamp(TimeUnit::Microsecond, _) => times!(TimestampMicrosecondType, |v| v as f64),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            times!(TimestampNanosecondType, |v: i64| v.div_euclid(1000) as f64);
        }
        DataType::Boolean => booleans(array, sink),
        other => return Err(Error::invalid("array type", other, "a number, a time or a boolean")),
    }
    Ok(())
}

fn primitive<T: ArrowPrimitiveType>(
    array: &dyn Array,
    sink: NumberSink<'_>,
    convert: impl Fn(T::Native) -> (f64, u64),
) {
    let array = array.as_primitive::<T>();
    let (mut values, mut keys) = ([0.0; BLOCK], [0; BLOCK]);
    match array.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => {
            for chunk in array.values().chunks(BLOCK) {
                for ((&native, value), key) in chunk.iter().zip(&mut values).zip(&mut keys) {
                    (*value, *key) = convert(native);
                }
                sink(&values[..chunk.len()], &keys[..chunk.len()]);
            }
        }
        Some(nulls) => {
            let mut len = 0;
            for row in nulls.valid_indices() {
                (values[len], keys[len]) = convert(array.values()[row]);
                len += 1;
                if len == BLOCK {
                    sink(&values, &keys);
                    len = 0;
                }
            }
            if len > 0 {
                sink(&values[..len], &keys[..len]);
            }
        }
    }
}

/// How many of a boolean array's present values are true.
pub(crate) fn count_true(array: &dyn Array) -> u64 {
    array.as_boolean().true_count() as u64
}

fn booleans(array: &dyn Array, sink: NumberSink<'_>) {
    let yes = count_true(array);
    let no = (array.len() - array.null_count()) as u64 - yes;
    for (count, value) in [(no, 0_u8), (yes, 1_u8)] {
        let (values, keys) = ([f64::from(value); BLOCK], [u64::from(value); BLOCK]);
        let mut left = count;
        while left > 0 {
            let len = left.min(BLOCK as u64) as usize;
            sink(&values[..len], &keys[..len]);
            left -= len as u64;
        }
    }
}

/// Hands the present texts of `array` on; repeated ones of a dictionary come once with their count.
pub(crate) fn texts<'a>(array: &'a dyn Array, sink: TextSink<'_, 'a>) -> Result<()> {
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().iter().flatten().for_each(|text| sink(text, 1)),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().flatten().for_each(|text| sink(text, 1)),
        DataType::Utf8View => array.as_string_view().iter().flatten().for_each(|text| sink(text, 1)),
        DataType::Dictionary(..) if is_text(array.data_type()) => dictionary(array, sink),
        other => return Err(Error::invalid("array type", other, "a string or a dictionary of strings")),
    }
    Ok(())
}

fn dictionary<'a>(array: &'a dyn Array, sink: TextSink<'_, 'a>) {
    let Some(dictionary) = array.as_any_dictionary_opt() else { return };
    let (keys, values) = (dictionary.keys(), dictionary.values());
    if values.is_empty() {
        return;
    }
    let places = dictionary.normalized_keys();
    let present = places.iter().enumerate().filter(|&(row, _)| keys.is_valid(row)).map(|(_, &place)| place);
    // A window's few rows may point into a dictionary of millions: then it is not worth counting by place.
    if values.len() > 4 * array.len() {
        present.filter_map(|place| text_at(values, place)).for_each(|text| sink(text, 1));
        return;
    }
    let mut counts = vec![0_u64; values.len()];
    present.for_each(|place| counts[place] += 1);
    for (place, &count) in counts.iter().enumerate().filter(|&(_, &count)| count > 0) {
        if let Some(text) = text_at(values, place) {
            sink(text, count);
        }
    }
}

pub(crate) fn text_at(values: &ArrayRef, place: usize) -> Option<&str> {
    if values.is_null(place) {
        return None;
    }
    match values.data_type() {
        DataType::Utf8 => Some(values.as_string::<i32>().value(place)),
        DataType::LargeUtf8 => Some(values.as_string::<i64>().value(place)),
        DataType::Utf8View => Some(values.as_string_view().value(place)),
        _ => None,
    }
}

/// Nulls of `array`, those inside of a dictionary included.
pub(crate) fn null_count(array: &dyn Array) -> u64 {
    array.logical_null_count() as u64
}
