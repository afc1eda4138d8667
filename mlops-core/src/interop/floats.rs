//! Columns as slices of `f64`, nulls as NaN.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

use crate::time::EventTime;
use crate::{Error, Result};

/// The values of a number, boolean or time column named `name`; nulls become NaN.
///
/// * Integers beyond 2⁵³ are rounded; booleans become 0 and 1; times become µs since the epoch.
/// * The column's memory is shared when it is `Float64` without nulls, and copied otherwise.
///
/// # Errors
/// [`Error::Schema`] when the column is of another type.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::arrow::array::{ArrayRef, Int32Array};
///
/// let column = Arc::new(Int32Array::from(vec![Some(3), None])) as ArrayRef;
/// let values = mlops_core::interop::floats("tenure", &column)?;
/// assert!(values[0] == 3.0 && values[1].is_nan());
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn floats(name: &str, array: &ArrayRef) -> Result<ScalarBuffer<f64>> {
    let plain = match array.data_type() {
        DataType::Float64 => array.clone(),
        DataType::Boolean => cast(array, &DataType::Float64)?,
        number if number.is_numeric() => cast(array, &DataType::Float64)?,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
            cast(&cast(array, &EventTime::data_type())?, &DataType::Int64)
                .and_then(|micros| cast(&micros, &DataType::Float64))?
        }
        other => {
            let expected = "a number, a boolean or a time (encode text first)";
            return Err(Error::schema(name, expected, other));
        }
    };
    let values: &Float64Array = plain.as_primitive::<Float64Type>();
    if values.null_count() == 0 {
        return Ok(values.values().clone());
    }
    Ok(values.iter().map(|value| value.unwrap_or(f64::NAN)).collect::<Vec<_>>().into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, StringArray, TimestampSecondArray};

    use super::*;

    #[track_caller]
    fn check(array: ArrayRef, expected: &[f64]) {
        let found = floats("x", &array).unwrap();
        let bits = |values: &[f64]| values.iter().map(|v| if v.is_nan() { None } else { Some(v.to_bits()) }).collect();
        let (found, expected): (Vec<_>, Vec<_>) = (bits(&found), bits(expected));
        assert_eq!(found, expected);
    }

    #[test]
    fn numbers_booleans_and_times_become_floats() {
        check(Arc::new(Float64Array::from(vec![Some(-0.0), None, Some(f64::NAN)])), &[-0.0, f64::NAN, f64::NAN]);
        check(Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])), &[1.0, f64::NAN, 0.0]);
        check(Arc::new(TimestampSecondArray::from(vec![2])), &[2e6]);
    }

    #[test]
    fn text_is_refused_by_name() {
        let error = floats("plan", &(Arc::new(StringArray::from(vec!["a"])) as ArrayRef)).unwrap_err().to_string();
        assert!(error.contains("`plan`") && error.contains("Utf8"), "{error}");
    }

    #[test]
    fn a_float_column_without_nulls_is_not_copied() {
        let column = Float64Array::from(vec![1.0, 2.0]);
        let address = column.values().as_ptr();
        assert_eq!(floats("x", &(Arc::new(column) as ArrayRef)).unwrap().as_ptr(), address);
    }
}
