//! Small tables for tests.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Float64Type;

use super::{Changes, FittedTransform, Transform};
use crate::Dataset;

pub(super) fn column(values: impl Array + 'static) -> ArrayRef {
    Arc::new(values)
}

pub(super) fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap()
}

pub(super) fn data<const N: usize>(columns: [(&str, ArrayRef); N]) -> Dataset {
    Dataset::from_batches([batch(columns)]).unwrap()
}

/// `data` in batches of `rows`.
pub(super) fn recut(data: &Dataset, rows: usize) -> Dataset {
    let whole = data.to_batch().unwrap();
    let pieces = (0..whole.num_rows()).step_by(rows).map(|at| whole.slice(at, rows.min(whole.num_rows() - at)));
    Dataset::held(data.schema().clone(), pieces).unwrap()
}

/// All rows that come out of one pass over `data`, and what it changed.
pub(super) fn pass(fitted: &dyn FittedTransform, data: &Dataset) -> (RecordBatch, Changes) {
    let output = fitted.output_schema(data.schema()).unwrap();
    let mut pass = fitted.begin(data.schema()).unwrap();
    let mut rows: Vec<_> = data.batches().unwrap().map(|batch| pass.apply(&batch.unwrap()).unwrap()).collect();
    while let Some(batch) = pass.drain().unwrap() {
        rows.push(batch);
    }
    (arrow::compute::concat_batches(output.arrow(), &rows).unwrap(), pass.changes())
}

/// Fitted on `data` and applied to it.
pub(super) fn clean(transform: &impl Transform, data: &Dataset) -> (RecordBatch, Changes) {
    pass(transform.fit(data).unwrap().as_ref(), data)
}

pub(super) fn floats(batch: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    batch[name].as_primitive::<Float64Type>().iter().collect()
}

/// Equal to within rounding, NaN to NaN.
#[track_caller]
pub(super) fn near(found: &[Option<f64>], expected: &[Option<f64>]) {
    assert_eq!(found.len(), expected.len());
    for (place, pair) in found.iter().zip(expected).enumerate() {
        let equal = match pair {
            (Some(found), Some(expected)) if expected.is_nan() => found.is_nan(),
            (Some(found), Some(expected)) => (found - expected).abs() <= 1e-12 * expected.abs().max(1.0),
            (None, None) => true,
            _ => false,
        };
        assert!(equal, "at {place}: {found:?} is not {expected:?}");
    }
}
