//! Reading a CSV file of which nothing is known: types from a sample, every cell, the digest of the content.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use mlops_core::Dataset;
use mlops_core::dataset::ContentHasher;
use mlops_core::source::CsvSource;
use serde_json::{Map, json};

use crate::Outcome;

/// Reads `rows.csv` in `folder`; the checksum is the number of cells that are not null and the sum of all numbers.
pub(crate) fn run(folder: &Path) -> Result<Outcome, Box<dyn std::error::Error>> {
    let data = Dataset::from_source(Arc::new(CsvSource::open(folder.join("rows.csv"))?))?;
    let mut hasher = ContentHasher::new(data.schema())?;
    let (mut nonnull, mut sum) = (0_usize, 0.0);
    for batch in data.batches()? {
        let batch = batch?;
        hasher.update(&batch)?;
        for column in batch.columns() {
            nonnull += column.len() - column.null_count();
            sum += match column.data_type() {
                DataType::Int64 => column.as_primitive::<Int64Type>().iter().flatten().map(|v| v as f64).sum::<f64>(),
                DataType::Float64 => column.as_primitive::<Float64Type>().iter().flatten().sum::<f64>(),
                _ => 0.0,
            };
        }
    }
    let mut figures = Map::new();
    figures.insert("nonnull".into(), json!(nonnull));
    figures.insert("sum".into(), json!(sum.round()));
    let rows = hasher.rows();
    figures.insert("digest".into(), json!(hasher.finish().short()));
    Ok(Outcome { rows, figures })
}
