//! Columns as slices of `f64`, nulls as NaN.

use mlops_core::arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use mlops_core::arrow::buffer::ScalarBuffer;
use mlops_core::arrow::compute::cast;
use mlops_core::arrow::datatypes::{DataType, Float64Type};

use crate::Result;

/// The values of a numeric, boolean or time column; shares the column's memory where it can.
///
/// # Errors
/// [`Schema`](mlops_core::Error::Schema) when the column is of another type.
pub(crate) fn floats(name: &str, array: &ArrayRef) -> Result<ScalarBuffer<f64>> {
    let plain = match array.data_type() {
        DataType::Float64 => array.clone(),
        DataType::Boolean => cast(array, &DataType::Float64)?,
        number if number.is_numeric() => cast(array, &DataType::Float64)?,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
            cast(&cast(array, &mlops_core::EventTime::data_type())?, &DataType::Int64)
                .and_then(|micros| cast(&micros, &DataType::Float64))?
        }
        other => {
            let expected = "a number, a boolean or a time (encode text first)";
            return Err(mlops_core::Error::schema(name, expected, other).into());
        }
    };
    let values: &Float64Array = plain.as_primitive::<Float64Type>();
    if values.null_count() == 0 {
        return Ok(values.values().clone());
    }
    Ok(values.iter().map(|value| value.unwrap_or(f64::NAN)).collect::<Vec<_>>().into())
}
