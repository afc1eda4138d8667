//! Rows as digests, equal for equal values.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::row::{RowConverter, SortField};

use crate::{Error, Result, Schema};

/// Reads the key of each row.
pub(in crate::clean) struct KeyReader {
    positions: Vec<usize>,
    converter: RowConverter,
    nulls_are_equal: bool,
}

impl KeyReader {
    pub(in crate::clean) fn new(schema: &Schema, positions: Vec<usize>, nulls_are_equal: bool) -> Result<Self> {
        let mut fields = Vec::with_capacity(positions.len());
        for &position in &positions {
            let field = schema.arrow().field(position);
            let sort = SortField::new(field.data_type().clone());
            if !RowConverter::supports_fields(std::slice::from_ref(&sort)) {
                return Err(Error::schema(field.name(), "a type that keys are made of", field.data_type()));
            }
            fields.push(sort);
        }
        Ok(Self { positions, converter: RowConverter::new(fields)?, nulls_are_equal })
    }

    /// One digest per row, `None` where the row has no key.
    pub(in crate::clean) fn digests(&self, batch: &RecordBatch) -> Result<Vec<Option<u128>>> {
        if self.positions.is_empty() {
            // A table without columns: its rows cannot be told apart.
            return Ok(vec![Some(0); batch.num_rows()]);
        }
        let columns: Vec<ArrayRef> = self.positions.iter().map(|&at| canonical(batch.column(at))).collect();
        let keyless = if self.nulls_are_equal { None } else { nulls_of(&columns) };
        let rows = self.converter.convert_columns(&columns)?;
        let has_key = |row: usize| keyless.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        Ok(rows.iter().enumerate().map(|(row, bytes)| has_key(row).then(|| digest(bytes.as_ref()))).collect())
    }
}

fn nulls_of(columns: &[ArrayRef]) -> Option<NullBuffer> {
    columns.iter().fold(None, |all, column| NullBuffer::union(all.as_ref(), column.logical_nulls().as_ref()))
}

fn digest(bytes: &[u8]) -> u128 {
    let mut first = [0; 16];
    first.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    u128::from_le_bytes(first)
}

/// The same values with one zero and one NaN.
pub(in crate::clean) fn canonical(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 => {
            let one = |v: f32| if v.is_nan() { f32::NAN } else { v + 0.0 };
            let plain: Float32Array = array.as_primitive::<Float32Type>().unary(one);
            Arc::new(plain)
        }
        DataType::Float64 => {
            let one = |v: f64| if v.is_nan() { f64::NAN } else { v + 0.0 };
            let plain: Float64Array = array.as_primitive::<Float64Type>().unary(one);
            Arc::new(plain)
        }
        _ => array.clone(),
    }
}

/// Writes the values of one column as bytes, equal for equal values; `None` for types that have no such form.
pub(in crate::clean) fn converter(data_type: &DataType) -> Result<Option<RowConverter>> {
    let field = [SortField::new(data_type.clone())];
    if RowConverter::supports_fields(&field) {
        return Ok(Some(RowConverter::new(field.to_vec())?));
    }
    Ok(None)
}
