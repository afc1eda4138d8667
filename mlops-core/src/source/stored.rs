//! Rows in the types that a file format holds.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;

use crate::{Result, Schema};

/// `batch`, whose columns are those of `stored` by place, cast where its types differ.
pub(super) fn in_types_of(stored: &Schema, batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = stored.arrow().fields().iter().zip(batch.columns()).map(|(field, array)| {
        if array.data_type() == field.data_type() { Ok(array.clone()) } else { Ok(cast(array, field.data_type())?) }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(stored.arrow().clone(), columns.collect::<Result<_>>()?, &options)?)
}
