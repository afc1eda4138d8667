//! Drift of every column between two tables: the peers' tests, and the verdict.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Float64Type};
use mlops_core::Dataset;
use mlops_core::source::ParquetSource;
use mlops_core::stats::drift::{ColumnDrift, DriftMethod, DriftRule, Verdict, compare_batches, drift_of};
use mlops_core::stats::{Method, compare_columns};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::usage::Usage;

/// Columns that the generator shifts: numbers from 28 on and texts from 6 on.
fn is_planted(column: &str) -> bool {
    let number = |prefix: &str| column.strip_prefix(prefix).and_then(|rest| rest.parse::<usize>().ok());
    number("num_").is_some_and(|i| i >= 28) || number("cat_").is_some_and(|i| i >= 6)
}

fn table(folder: &Path, name: &str) -> mlops_core::Result<Dataset> {
    Dataset::from_source(Arc::new(ParquetSource::open(folder.join(format!("{name}.parquet")))?))?.hold()
}

fn column(batches: &[RecordBatch], place: usize) -> Vec<ArrayRef> {
    batches.iter().map(|batch| batch.column(place).clone()).collect()
}

/// Kolmogorov-Smirnov on numbers and χ² on texts, rejected below 0.05 without any correction, as the peers do.
fn tested(reference: &[RecordBatch], current: &[RecordBatch]) -> mlops_core::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for (place, field) in reference[0].schema().fields().iter().enumerate() {
        let method =
            if field.data_type() == &DataType::Float64 { Method::KolmogorovSmirnov } else { Method::ChiSquareUnmerged };
        let result = compare_columns(&column(reference, place), &column(current, place), &[method])?;
        if result[0].p_value.is_some_and(|p| p < 0.05) {
            found.insert(field.name().clone());
        }
    }
    Ok(found)
}

fn drifted(drifts: &[ColumnDrift]) -> BTreeSet<String> {
    drifts.iter().filter(|drift| drift.verdict == Verdict::Drifted).map(|drift| drift.column.clone()).collect()
}

/// The same table with a million in the first row of every column of numbers.
fn with_outlier(batches: &[RecordBatch]) -> mlops_core::Result<Vec<RecordBatch>> {
    let spoilt = |array: &ArrayRef| match array.data_type() {
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>().iter().enumerate();
            Arc::new(values.map(|(row, value)| if row == 0 { Some(1e6) } else { value }).collect::<Float64Array>())
        }
        _ => array.clone(),
    };
    let first = RecordBatch::try_new(batches[0].schema(), batches[0].columns().iter().map(spoilt).collect())?;
    Ok(std::iter::once(first).chain(batches[1..].iter().cloned()).collect())
}

fn score(figures: &mut Map<String, Value>, name: &str, found: &BTreeSet<String>) {
    let hits = found.iter().filter(|column| is_planted(column)).count();
    figures.insert(format!("{name}_found"), json!(hits));
    figures.insert(format!("{name}_false"), json!(found.len() - hits));
}

/// Compares `drift_ref.parquet` with `drift_cur.parquet` in `folder`; reading is not timed, as it is not for the peers.
pub(crate) fn run(folder: &Path) -> Result<Outcome, Box<dyn std::error::Error>> {
    let sets = (table(folder, "drift_ref")?, table(folder, "drift_cur")?);
    let held = |set: &Dataset| set.batches()?.collect::<mlops_core::Result<Vec<RecordBatch>>>();
    let (reference, current) = (held(&sets.0)?, held(&sets.1)?);
    let rule = DriftRule::builder().method(DriftMethod::Robust).build()?;
    let mut figures = Map::new();
    let mut timed = |name: &str, found: &mut dyn FnMut() -> mlops_core::Result<BTreeSet<String>>| {
        let start = Usage::now()?;
        let found = found()?;
        let used = Usage::now()?.since(&start);
        figures.insert(format!("{name}_cpu_s"), json!(used.cpu_s));
        score(&mut figures, name, &found);
        Ok::<_, Box<dyn std::error::Error>>(found)
    };
    timed("tests", &mut || tested(&reference, &current))?;
    let exact = timed("verdict", &mut || Ok(drifted(&compare_batches(&reference, &current, &rule)?)))?;
    let sketched = timed("profiles", &mut || Ok(drifted(&drift_of(&sets.0, &sets.1, &rule)?)))?;
    let spoilt = (with_outlier(&reference)?, with_outlier(&current)?);
    let in_reference = drifted(&compare_batches(&spoilt.0, &current, &rule)?);
    let in_current = drifted(&compare_batches(&reference, &spoilt.1, &rule)?);
    let is_unchanged = in_reference == exact && in_current == exact && sketched == exact;
    figures.insert("unchanged_by_outlier".into(), json!(is_unchanged));
    Ok(Outcome { rows: sets.0.num_rows()? + sets.1.num_rows()?, figures })
}
