//! Crossings there and back, and the contract of a plan as a source.

mod annotations;
mod from_arrow;
mod from_polars;
mod pushdown;
mod scans;

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use polars::prelude as pl;

use super::*;

/// Nine rows of the types that predicates know, with nulls, both zeros, and NaNs of both signs.
fn table() -> RecordBatch {
    let floats = [1.5, -0.0, 0.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -7.25];
    let mut reals: Vec<Option<f64>> = floats.into_iter().map(Some).collect();
    reals.push(None);
    let ints = vec![Some(3), Some(-1), None, Some(i64::MAX), Some(0), Some(5), Some(i64::MIN), Some(5), Some(2)];
    let texts = vec![Some("b"), Some(""), Some("đồng"), None, Some("a"), Some("b"), Some("B"), Some("zz"), Some("a")];
    let flags = vec![Some(true), Some(false), None, Some(true), Some(false), None, Some(true), Some(true), Some(false)];
    RecordBatch::try_from_iter_with_nullable([
        ("int", Arc::new(Int64Array::from(ints)) as ArrayRef, true),
        ("real", Arc::new(Float64Array::from(reals)), true),
        ("text", Arc::new(StringArray::from(texts)), true),
        ("flag", Arc::new(BooleanArray::from(flags)), true),
    ])
    .unwrap()
}

fn held(batch: RecordBatch) -> Dataset {
    Dataset::from_batches([batch]).unwrap()
}

/// A plan over [`table`], as a data set, and the same rows held in memory.
fn plan_and_rows() -> (Dataset, Dataset) {
    let plan = LazyFrameSource::new("table", held(table()).lazy().unwrap()).unwrap();
    let plan = Dataset::from_source(Arc::new(plan)).unwrap();
    let rows = plan.hold().unwrap();
    (plan, rows)
}

fn one_column(series: pl::Series) -> DataFrame {
    DataFrame::new(series.len(), vec![series.into()]).unwrap()
}
