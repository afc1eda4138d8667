//! Rules, suites and reports over small tables with counts made by hand.

mod drifts;
mod property;
mod rules;
mod suggestions;
mod suites;
mod waiting;
mod wide;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};

use super::{Finding, Report, Rule, Suite};
use crate::{Dataset, Error};

fn table(columns: impl IntoIterator<Item = (&'static str, ArrayRef)>) -> Dataset {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    Dataset::from_batches([RecordBatch::try_from_iter_with_nullable(columns).unwrap()]).unwrap()
}

fn column(array: impl arrow::array::Array + 'static) -> Dataset {
    table([("x", Arc::new(array) as ArrayRef)])
}

fn run(rule: impl Into<Rule>, data: &Dataset) -> Report {
    Suite::new().rule("rule", rule).unwrap().run(data).unwrap()
}

fn finding(rule: impl Into<Rule>, data: &Dataset) -> Finding {
    run(rule, data).findings.remove(0)
}

#[track_caller]
fn fails(rule: impl Into<Rule>, data: &Dataset, rows: &[u64]) {
    let suite = Suite::new().rule("rule", rule).unwrap();
    let report = suite.run_with(data, &super::RunOptions::new().samples(100)).unwrap().report;
    let found: Vec<u64> = report.samples.iter().map(|sample| sample.row).collect();
    assert_eq!(found, rows);
    assert_eq!(report.findings[0].failed_rows, rows.len() as u64);
    assert_eq!(report.findings[0].passed, rows.is_empty());
}

/// The error of a rule that cannot run, as text.
fn refusal(rule: impl Into<Rule>, data: &Dataset) -> Error {
    Suite::new().rule("my_rule", rule).and_then(|suite| suite.run(data)).unwrap_err()
}
