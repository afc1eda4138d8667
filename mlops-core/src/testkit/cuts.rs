//! The same rows, cut and laid out in other ways.

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};

use crate::{Dataset, Error, Schema};

/// All rows of `data` as one batch.
pub(super) fn whole(data: &Dataset) -> RecordBatch {
    data.to_batch().expect("the data of a kit can be read")
}

/// The rows of `batch` in several cuts, empty batches among them; every piece is a slice of a larger array.
pub(super) fn cuts(batch: &RecordBatch) -> Vec<Vec<RecordBatch>> {
    let rows = batch.num_rows();
    let every =
        |step: usize| (0..rows).step_by(step).map(|at| batch.slice(at, step.min(rows - at))).collect::<Vec<_>>();
    let empty = batch.slice(0, 0);
    let mut gaps = vec![empty.clone()];
    for piece in every(3) {
        gaps.extend([piece, empty.clone()]);
    }
    vec![vec![batch.clone()], every(1), every(7), gaps, vec![padded(batch).slice(rows, rows)]]
}

/// The rows three times over: a slice of the middle has an offset in every buffer.
fn padded(batch: &RecordBatch) -> RecordBatch {
    concat_batches(&batch.schema(), [batch, batch, batch]).expect("batches of one schema concatenate")
}

/// `batch` without its column `name`.
pub(super) fn without(batch: &RecordBatch, name: &str) -> RecordBatch {
    let keep: Vec<usize> = (0..batch.num_columns()).filter(|i| batch.schema().field(*i).name() != name).collect();
    batch.project(&keep).expect("the positions exist")
}

/// `batch` with its columns turned around and a column of booleans added that nobody asked for.
pub(super) fn rearranged(batch: &RecordBatch) -> RecordBatch {
    let order: Vec<usize> = (0..batch.num_columns()).rev().collect();
    let turned = batch.project(&order).expect("the positions exist");
    let mut columns: Vec<(String, ArrayRef, bool)> = Vec::new();
    for (field, array) in turned.schema().fields().iter().zip(turned.columns()) {
        columns.push((field.name().clone(), array.clone(), field.is_nullable()));
    }
    let extra = BooleanArray::from(vec![true; batch.num_rows()]);
    columns.push(("testkit_extra".to_owned(), std::sync::Arc::new(extra), false));
    RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length make a batch")
}

/// Each row of `batch` as a batch of its own that shares nothing with it.
pub(super) fn singles(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> {
    let pick = |row: usize| UInt32Array::from(vec![u32::try_from(row).expect("kits take small tables")]);
    (0..batch.num_rows()).map(move |row| take_record_batch(batch, &pick(row)).expect("the row exists"))
}

/// The schema of `batch`.
pub(super) fn schema(batch: &RecordBatch) -> Schema {
    Schema::new(batch.schema()).expect("a batch that was read has a schema")
}

/// Whether `error` names a column that is missing or of another type, in whatever wrapping.
pub(super) fn names_a_column(error: &Error) -> bool {
    match error {
        Error::NotFound { .. } | Error::Schema { .. } => true,
        Error::Stage { source, .. } => source.downcast_ref::<Error>().is_some_and(names_a_column),
        _ => false,
    }
}
