//! Which types cross between Arrow and polars, and as what.
//!
//! Polars imports some Arrow types by multiplying values without a look at overflow, and misreads others where they are
//! nested. So whatever polars does not have is brought to a type that it has by Arrow's checked casts, on this side.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, TimeUnit};
use polars::prelude::{self as pl, TimeZone};

use crate::error::Cause;
use crate::source::is_text;

/// Key of field metadata in which polars keeps the name of a set of categories.
const CATEGORIES: &str = "_PL_CATEGORICAL2";
/// Key of field metadata in which polars keeps the values of an enumeration.
const ENUMERATION: &str = "_PL_ENUM_VALUES2";
/// Most digits of a decimal in polars.
const DECIMAL_DIGITS_MAX: u8 = 38;

/// `field` as it crosses to polars; `Err` names the type, nested or not, that polars does not have.
pub(super) fn outward(field: &Field) -> Result<Field, String> {
    outward_with(field, &[CATEGORIES, ENUMERATION])
}

fn outward_with(field: &Field, kept: &[&str]) -> Result<Field, String> {
    if field.name().contains('\0') {
        return Err("a name with a zero byte".to_owned());
    }
    let metadata = field.metadata().iter().filter(|(key, _)| kept.contains(&key.as_str()));
    let metadata = metadata.map(|(key, value)| (key.clone(), value.clone())).collect();
    Ok(Field::new(field.name(), outward_type(field.data_type())?, field.is_nullable()).with_metadata(metadata))
}

fn outward_type(data_type: &DataType) -> Result<DataType, String> {
    // Polars reads a value that its enumeration does not know as null. A column can be checked for that, the inside of a
    // list cannot, so there an enumeration goes as categories, which take every value.
    let nested = |field: &Arc<Field>| outward_with(field, &[CATEGORIES]).map(Arc::new);
    Ok(match data_type {
        DataType::Float16 => DataType::Float32,
        DataType::Date64 => DataType::Timestamp(TimeUnit::Millisecond, None),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Nanosecond),
        DataType::Timestamp(unit, zone) => {
            TimeZone::opt_try_new(zone.as_deref()).map_err(|_| format!("{data_type}, whose time zone is unknown"))?;
            DataType::Timestamp(at_least_millis(*unit), zone.clone())
        }
        DataType::Duration(unit) => DataType::Duration(at_least_millis(*unit)),
        DataType::Decimal32(digits, scale)
        | DataType::Decimal64(digits, scale)
        | DataType::Decimal128(digits, scale)
        | DataType::Decimal256(digits, scale) => {
            let fits = *digits <= DECIMAL_DIGITS_MAX && u8::try_from(*scale).is_ok_and(|scale| scale <= *digits);
            if !fits {
                return Err(data_type.to_string());
            }
            DataType::Decimal128(*digits, *scale)
        }
        DataType::List(item) => DataType::List(nested(item)?),
        DataType::LargeList(item) => DataType::LargeList(nested(item)?),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(nested(item)?, *length),
        DataType::Map(entries, sorted) => DataType::Map(nested(entries)?, *sorted),
        DataType::Struct(fields) if !fields.is_empty() => {
            DataType::Struct(fields.iter().map(nested).collect::<Result<Vec<_>, _>>()?.into())
        }
        DataType::Dictionary(_, values) if is_text(values) && !matches!(**values, DataType::Dictionary(..)) => {
            data_type.clone()
        }
        DataType::Dictionary(_, values) => outward_type(values)?,
        DataType::Struct(_)
        | DataType::Interval(_)
        | DataType::Union(..)
        | DataType::RunEndEncoded(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_) => return Err(data_type.to_string()),
        same => same.clone(),
    })
}

fn at_least_millis(unit: TimeUnit) -> TimeUnit {
    if unit == TimeUnit::Second { TimeUnit::Millisecond } else { unit }
}

/// `field`, as polars gave it, in types that every sink of this family takes.
///
/// Parquet's writer has no form for a dictionary of `Utf8View`, in which polars hands out categories.
pub(super) fn inward(field: &Field) -> Field {
    field.clone().with_data_type(inward_type(field.data_type()))
}

fn inward_type(data_type: &DataType) -> DataType {
    let nested = |field: &Arc<Field>| Arc::new(inward(field));
    match data_type {
        DataType::Dictionary(keys, values) if **values == DataType::Utf8View => {
            DataType::Dictionary(keys.clone(), Box::new(DataType::Utf8))
        }
        DataType::LargeList(item) => DataType::LargeList(nested(item)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(nested(item), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(nested).collect()),
        same => same.clone(),
    }
}

/// The type as which a polars column of `data_type` leaves: inside of lists and structs, `Null` goes as `Boolean`, because
/// the two libraries count the buffers of a `Null` array differently.
pub(super) fn leaving(data_type: &pl::DataType) -> pl::DataType {
    let nested = |inner: &pl::DataType| if inner.is_null() { pl::DataType::Boolean } else { leaving(inner) };
    match data_type {
        pl::DataType::List(item) => pl::DataType::List(Box::new(nested(item))),
        pl::DataType::Array(item, width) => pl::DataType::Array(Box::new(nested(item)), *width),
        pl::DataType::Struct(members) => {
            let member = |field: &pl::Field| pl::Field::new(field.name().clone(), nested(field.dtype()));
            pl::DataType::Struct(members.iter().map(member).collect())
        }
        same => same.clone(),
    }
}

/// `array` as `data_type`; the same array where it is of that type.
pub(super) fn cast(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, Cause> {
    if array.data_type() == data_type {
        return Ok(array.clone());
    }
    let checked = CastOptions { safe: false, ..CastOptions::default() };
    Ok(cast_with_options(array, data_type, &checked)?)
}
