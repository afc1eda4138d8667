//! Reads the columns of logs and label tables, whatever their physical layout.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType, UInt64Type};
use mlops_core::rank::RequestId;
use mlops_core::{Error, EventTime, Result};

/// Longest candidate key in bytes; a longer one is no key.
pub(crate) const KEY_BYTES_MAX: usize = 1_024;

/// A candidate key as a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    Int(i128),
    Text(Arc<str>),
}

pub(crate) fn column<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    rows.column_by_name(name).ok_or_else(|| Error::not_found("column", name))
}

fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// Event times; null where there is none.
pub(crate) fn times(rows: &RecordBatch, name: &str) -> Result<Vec<Option<EventTime>>> {
    let array = column(rows, name)?;
    let target = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
    if !matches!(array.data_type(), DataType::Timestamp(..) | DataType::Date32 | DataType::Date64) {
        return Err(Error::schema(name, "a timestamp", array.data_type()));
    }
    // Two steps, for a cast to another time zone would shift nothing but also needs a parsed zone.
    let plain = match array.data_type() {
        DataType::Timestamp(unit, _) => cast(&strip_zone(array, *unit)?, &target)?,
        _ => cast(array, &target)?,
    };
    let plain = plain.as_primitive::<TimestampMicrosecondType>();
    Ok(plain.iter().map(|micros| micros.map(EventTime::from_micros)).collect())
}

/// The same instants without the name of their zone.
fn strip_zone(array: &ArrayRef, unit: arrow::datatypes::TimeUnit) -> Result<ArrayRef> {
    let data = array.to_data().into_builder().data_type(DataType::Timestamp(unit, None)).build()?;
    Ok(arrow::array::make_array(data))
}

/// Numbers as doubles; null where there is none or it is not a number type's value.
pub(crate) fn numbers(rows: &RecordBatch, name: &str) -> Result<Vec<Option<f64>>> {
    let array = column(rows, name)?;
    let is_number = array.data_type().is_numeric() || array.data_type() == &DataType::Boolean;
    if !is_number {
        return Err(Error::schema(name, "a number or a boolean", array.data_type()));
    }
    Ok(cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().iter().collect())
}

/// Integers; null where there is none or it is beyond 64 bits.
pub(crate) fn integers(rows: &RecordBatch, name: &str) -> Result<Vec<Option<i64>>> {
    let array = column(rows, name)?;
    if !array.data_type().is_integer() {
        return Err(Error::schema(name, "an integer", array.data_type()));
    }
    Ok(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().iter().collect())
}

/// Texts; integers and booleans are printed.
pub(crate) fn texts(rows: &RecordBatch, name: &str) -> Result<Vec<Option<String>>> {
    let array = column(rows, name)?;
    let printable =
        is_text(array.data_type()) || array.data_type().is_integer() || array.data_type() == &DataType::Boolean;
    if !printable {
        return Err(Error::schema(name, "a text, an integer or a boolean", array.data_type()));
    }
    Ok(cast(array, &DataType::Utf8)?.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect())
}

/// Request ids: 32 hex digits, or integers; null where it is neither.
pub(crate) fn request_ids(rows: &RecordBatch, name: &str) -> Result<Vec<Option<RequestId>>> {
    let array = column(rows, name)?;
    if array.data_type().is_integer() {
        return Ok(whole(array)?
            .into_iter()
            .map(|id| id.and_then(|id| u128::try_from(id).ok()).map(RequestId))
            .collect());
    }
    if !is_text(array.data_type()) {
        return Err(Error::schema(name, "32 hex digits or an integer", array.data_type()));
    }
    let parse = |text: &str| {
        let is_hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if is_hex { u128::from_str_radix(text, 16).ok().map(RequestId) } else { None }
    };
    Ok(cast(array, &DataType::Utf8)?.as_string::<i32>().iter().map(|text| text.and_then(parse)).collect())
}

/// Candidate keys: texts or integers; null where there is none or it is too long.
pub(crate) fn keys(rows: &RecordBatch, name: &str) -> Result<Vec<Option<Key>>> {
    let array = column(rows, name)?;
    if array.data_type().is_integer() {
        return Ok(whole(array)?.into_iter().map(|key| key.map(Key::Int)).collect());
    }
    if !is_text(array.data_type()) {
        return Err(Error::schema(name, "a text or an integer", array.data_type()));
    }
    let short = |text: &&str| text.len() <= KEY_BYTES_MAX;
    let texts = cast(array, &DataType::Utf8)?;
    Ok(texts.as_string::<i32>().iter().map(|text| text.filter(short).map(|t| Key::Text(t.into()))).collect())
}

fn whole(array: &ArrayRef) -> Result<Vec<Option<i128>>> {
    if array.data_type() == &DataType::UInt64 {
        return Ok(array.as_primitive::<UInt64Type>().iter().map(|v| v.map(i128::from)).collect());
    }
    Ok(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().iter().map(|v| v.map(i128::from)).collect())
}

/// `array` as the type of `target`, where nothing is lost by it.
pub(crate) fn fit(array: &ArrayRef, target: &DataType) -> Option<ArrayRef> {
    let from = array.data_type();
    if from == target {
        return Some(array.clone());
    }
    let widens = match target {
        DataType::Float64 => matches!(from, DataType::Float32 | DataType::Float16) || from.is_integer(),
        DataType::Int64 => from.is_integer() && from != &DataType::UInt64,
        text if is_text(text) => is_text(from),
        DataType::Timestamp(_, _) => matches!(from, DataType::Timestamp(..) | DataType::Date32),
        _ => false,
    };
    if widens { cast(array, target).ok() } else { None }
}
