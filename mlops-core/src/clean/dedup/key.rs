//! Keys of the rows of a table.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};

use crate::rowkey::{KeyHasher, is_key, keyless};
use crate::{Error, Result, Schema};

/// Reads the key of each row. Keys of two readers do not compare.
pub(super) struct KeyReader {
    positions: Vec<usize>,
    hasher: KeyHasher,
    nulls_are_equal: bool,
}

impl KeyReader {
    pub(super) fn new(schema: &Schema, positions: Vec<usize>, nulls_are_equal: bool) -> Result<Self> {
        for &position in &positions {
            let field = schema.arrow().field(position);
            if !is_key(field.data_type()) {
                return Err(Error::schema(field.name(), "a type that keys are made of", field.data_type()));
            }
        }
        Ok(Self { positions, hasher: KeyHasher::new(), nulls_are_equal })
    }

    /// One key per row, `None` where the row has no key.
    pub(super) fn keys(&self, batch: &RecordBatch) -> Result<Vec<Option<u128>>> {
        if self.positions.is_empty() {
            // A table without columns: its rows cannot be told apart.
            return Ok(vec![Some(0); batch.num_rows()]);
        }
        let columns: Vec<&ArrayRef> = self.positions.iter().map(|&at| batch.column(at)).collect();
        let keyless = if self.nulls_are_equal { None } else { keyless(&columns) };
        let hashes =
            columns.iter().map(|column| self.hasher.column(column).map(Arc::new)).collect::<Result<Vec<_>>>()?;
        let has_key = |row: usize| keyless.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        let keys = self.hasher.join(&hashes).into_iter().enumerate();
        Ok(keys.map(|(row, key)| has_key(row).then_some(key)).collect())
    }
}
