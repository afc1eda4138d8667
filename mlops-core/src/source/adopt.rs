//! Batches as a binary file stores them, made those of the schema that was asked for.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::Schema as ArrowSchema;

use crate::schema::{Finder, logical_type};
use crate::{Error, Result, Schema};

/// `batch` with the columns of `schema` in its order; other encodings of the same content are cast.
pub(super) fn adopt(schema: &Schema, batch: RecordBatch) -> Result<RecordBatch> {
    let found = batch.schema();
    let mut finder = Finder::of(found.fields());
    let place = |name| finder.find(name).ok_or_else(|| Error::not_found("column", name));
    let indices = schema.names().map(place).collect::<Result<Vec<_>>>()?;
    let batch = batch.project(&indices)?;
    if batch.schema_ref() == schema.arrow() {
        return Ok(batch);
    }
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let columns = schema.arrow().fields().iter().zip(batch.columns()).map(|(field, array)| {
        if array.data_type() == field.data_type() {
            Ok(array.clone())
        } else {
            debug_assert_eq!(logical_type(array.data_type()), logical_type(field.data_type()));
            Ok(cast_with_options(array, field.data_type(), &strict)?)
        }
    });
    let fields = schema.arrow().fields().clone();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let plain =
        RecordBatch::try_new_with_options(ArrowSchema::new(fields).into(), columns.collect::<Result<_>>()?, &options)
            .map_err(|e| Error::schema("*", "values that fit the declared nullability", e))?;
    schema.attach(&plain)
}
