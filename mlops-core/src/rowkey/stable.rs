//! Keys that mean the same in every process: for states that are stored.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::row::{RowConverter, SortField};

use super::{canonical, keyless};
use crate::{Error, Result, Schema};

/// Reads the key of each row as 128 bits of BLAKE3, the same whenever and wherever it is read.
pub(crate) struct StableKeys {
    positions: Vec<usize>,
    converter: RowConverter,
}

impl StableKeys {
    /// Keys of the columns at `positions`.
    ///
    /// # Errors
    /// [`Error::Schema`] naming a column of a type that keys are not made of.
    pub(crate) fn new(schema: &Schema, positions: Vec<usize>) -> Result<Self> {
        let mut fields = Vec::with_capacity(positions.len());
        for &position in &positions {
            let field = schema.arrow().field(position);
            let sort = SortField::new(field.data_type().clone());
            if !RowConverter::supports_fields(std::slice::from_ref(&sort)) {
                return Err(Error::schema(field.name(), "a type that keys are made of", field.data_type()));
            }
            fields.push(sort);
        }
        Ok(Self { positions, converter: RowConverter::new(fields)? })
    }

    /// One digest per row, `None` where a column of the key is null.
    pub(crate) fn digests(&self, batch: &RecordBatch) -> Result<Vec<Option<u128>>> {
        if self.positions.is_empty() {
            // No column: all rows are of one group.
            return Ok(vec![Some(0); batch.num_rows()]);
        }
        let columns: Vec<ArrayRef> = self.positions.iter().map(|&at| canonical(batch.column(at))).collect();
        let keyless = keyless(&columns.iter().collect::<Vec<_>>());
        let rows = self.converter.convert_columns(&columns)?;
        let has_key = |row: usize| keyless.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        Ok(rows.iter().enumerate().map(|(row, bytes)| has_key(row).then(|| digest(bytes.as_ref()))).collect())
    }
}

fn digest(bytes: &[u8]) -> u128 {
    let mut first = [0; 16];
    first.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    u128::from_le_bytes(first)
}
