//! Values of any type, read one by one and put into gaps.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
    new_empty_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{cast, interleave};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};

use super::super::{Nan, missing};
use super::KIND;
use super::walk::Fillings;
use crate::source::{Scalar, is_text};
use crate::time::EventTime;
use crate::{Error, Result};

/// `array` with `fillings` put in.
pub(super) fn filled(array: &ArrayRef, fillings: &Fillings) -> Result<ArrayRef> {
    if fillings.is_empty() {
        return Ok(array.clone());
    }
    let values = values_of(fillings, array.data_type())?;
    let mut sources: Vec<(usize, usize)> = (0..array.len()).map(|row| (0, row)).collect();
    for (place, (row, _)) in fillings.iter().enumerate() {
        sources[*row] = (1, place);
    }
    Ok(interleave(&[array, &values], &sources)?)
}

/// The values of `fillings` in one array of `data_type`.
fn values_of(fillings: &Fillings, data_type: &DataType) -> Result<ArrayRef> {
    let values = || fillings.iter().map(|(_, value)| value);
    let array: ArrayRef = match fillings.first() {
        None => new_empty_array(data_type),
        Some((_, Scalar::Bool(_))) => {
            Arc::new(values().map(|v| if let Scalar::Bool(v) = v { Some(*v) } else { None }).collect::<BooleanArray>())
        }
        Some((_, Scalar::Int(_))) => {
            Arc::new(values().map(|v| if let Scalar::Int(v) = v { Some(*v) } else { None }).collect::<Int64Array>())
        }
        Some((_, Scalar::Float(_))) => {
            Arc::new(values().map(|v| if let Scalar::Float(v) = v { Some(*v) } else { None }).collect::<Float64Array>())
        }
        Some((_, Scalar::Text(_))) => {
            Arc::new(values().map(|v| if let Scalar::Text(v) = v { Some(v) } else { None }).collect::<StringArray>())
        }
        Some((_, Scalar::Time(_))) => {
            let micros = values().map(|v| if let Scalar::Time(v) = v { Some(v.as_micros()) } else { None });
            Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }
    };
    let array = cast(&array, data_type)?;
    if array.null_count() > 0 {
        return Err(Error::invalid_data(format!("state of `{KIND}`"), "a value of another type than its column"));
    }
    Ok(array)
}

/// Reads the cells of one column.
pub(super) struct Cells {
    name: String,
    plain: ArrayRef,
    pub(super) gaps: BooleanBuffer,
}

impl Cells {
    pub(super) fn of(name: &str, array: &ArrayRef) -> Result<Self> {
        let data_type = array.data_type();
        let plain = match data_type {
            DataType::Boolean => array.clone(),
            DataType::Float32 | DataType::Float64 => cast(array, &DataType::Float64)?,
            DataType::UInt64 => cast(array, &DataType::Int64)?,
            number if number.is_integer() => cast(array, &DataType::Int64)?,
            text if is_text(text) => cast(array, &DataType::Utf8)?,
            _ => cast(array, &EventTime::data_type())?,
        };
        if plain.logical_null_count() > array.logical_null_count() {
            return Err(Error::schema(name, "values within 64 signed bits or the range of µs", "others"));
        }
        Ok(Self { name: name.to_owned(), gaps: missing(array, Nan::Missing), plain })
    }

    pub(super) fn value(&self, row: usize) -> Result<Option<Scalar>> {
        if self.gaps.value(row) {
            return Ok(None);
        }
        Ok(Some(match self.plain.data_type() {
            DataType::Boolean => Scalar::Bool(self.plain.as_boolean().value(row)),
            DataType::Int64 => Scalar::Int(self.plain.as_primitive::<Int64Type>().value(row)),
            DataType::Float64 => {
                let value = self.plain.as_primitive::<Float64Type>().value(row);
                if value.is_infinite() {
                    return Err(Error::schema(&self.name, "finite numbers, which a state can hold", value));
                }
                Scalar::Float(value)
            }
            DataType::Utf8 => Scalar::Text(self.plain.as_string::<i32>().value(row).to_owned()),
            _ => {
                let micros = self.plain.as_primitive::<TimestampMicrosecondType>().value(row);
                Scalar::Time(EventTime::from_micros(micros))
            }
        }))
    }
}
