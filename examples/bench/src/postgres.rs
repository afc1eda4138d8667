//! Reading a table of a PostgreSQL server into Arrow batches, in the order of its key.

use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int16Type, Int32Type, Int64Type};
use mlops_core::source::{DataSource, PostgresSource, ScanRequest};
use serde_json::{Map, json};

use crate::Outcome;

/// Reads the table `bench_rows` at the URL in `postgres.url` of `folder`; the checksum is the number of cells that are not
/// null and the sum of all whole numbers and floats.
pub(crate) fn run(folder: &Path) -> Result<Outcome, Box<dyn std::error::Error>> {
    let url = std::fs::read_to_string(folder.join("postgres.url"))?;
    let source = PostgresSource::table(url.trim(), "bench_rows").build()?;
    let (mut rows, mut nonnull, mut sum) = (0, 0_usize, 0.0);
    for batch in source.scan(&ScanRequest::all())? {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        for column in batch.columns() {
            nonnull += column.len() - column.null_count();
            sum += total(column);
        }
    }
    let mut figures = Map::new();
    figures.insert("nonnull".into(), json!(nonnull));
    figures.insert("sum".into(), json!(sum.round()));
    Ok(Outcome { rows, figures })
}

fn total(column: &dyn Array) -> f64 {
    match column.data_type() {
        DataType::Int16 => column.as_primitive::<Int16Type>().iter().flatten().map(f64::from).sum(),
        DataType::Int32 => column.as_primitive::<Int32Type>().iter().flatten().map(f64::from).sum(),
        DataType::Int64 => column.as_primitive::<Int64Type>().iter().flatten().map(|v| v as f64).sum(),
        DataType::Float64 => column.as_primitive::<Float64Type>().iter().flatten().sum(),
        _ => 0.0,
    }
}
