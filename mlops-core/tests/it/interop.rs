//! The kit of sources on polars plans.

use std::sync::Arc;

use mlops_core::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use mlops_core::interop::polars::LazyFrameSource;
use mlops_core::interop::polars::polars::prelude::{
    Column, DataType, IntoLazy, LazyFrame, PolarsError, SortMultipleOptions, col,
};
use mlops_core::schema::{Role, Sensitivity};
use mlops_core::testkit::{data_source, unreadable_source};
use mlops_core::{Dataset, Schema};

fn rows() -> Dataset {
    let reals = vec![Some(1.5), Some(-0.0), Some(0.0), Some(f64::NAN), Some(-f64::NAN), None, Some(2.0)];
    let times = vec![Some(0), Some(1), None, Some(-1), Some(86_400_000_000), Some(5), Some(5)];
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from_iter_values(0..7)) as ArrayRef, true),
        ("real", Arc::new(Float64Array::from(reals)), true),
        ("text", Arc::new(StringArray::from(vec!["b", "", "a", "đ", "b", "c", "a"])), true),
        (
            "flag",
            Arc::new(BooleanArray::from((0..7).map(|i| (i != 3).then_some(i % 2 == 0)).collect::<Vec<_>>())),
            true,
        ),
        ("at", Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")), true),
        ("day", Arc::new(Date32Array::from(vec![0, 1, 2, -1, 0, 5, 5])), true),
    ]);
    let batch = batch.unwrap();
    let schema = Schema::new(batch.schema())
        .and_then(|schema| schema.with_role("id", Role::Key))
        .and_then(|schema| schema.with_sensitivity("text", Sensitivity::Personal))
        .unwrap();
    Dataset::held(schema, [batch]).unwrap()
}

#[test]
fn a_plan_keeps_the_contract_of_sources() {
    let rows = rows();
    let source = |plan: LazyFrame| LazyFrameSource::new("rows", plan).unwrap().annotated_like(rows.schema()).unwrap();
    data_source(&source(rows.lazy().unwrap()), &rows);
    // The same rows out of a plan that does something.
    let turned = rows
        .lazy()
        .unwrap()
        .sort(["id"], SortMultipleOptions::default())
        .with_column(col("id") + col("id") - col("id"));
    data_source(&source(turned), &rows);
    data_source(&Dataset::map_lazy(&rows, |plan| plan.filter(col("id").is_not_null())).unwrap(), &rows);
}

#[test]
fn a_plan_that_fails_keeps_the_contract_of_sources() {
    let refuse = |_: Column| Err(PolarsError::ComputeError("no".into()));
    let plan = rows().lazy().unwrap().with_column(col("id").map(refuse, |_, field| Ok(field.clone())));
    unreadable_source(&LazyFrameSource::new("refusing", plan).unwrap());
    let strict = rows().lazy().unwrap().with_column(col("text").strict_cast(DataType::Float64));
    unreadable_source(&LazyFrameSource::new("strict", strict).unwrap());
    let frame = rows().to_polars().unwrap().lazy();
    assert!(LazyFrameSource::new("nowhere", frame.select([col("nowhere")])).is_err());
}
