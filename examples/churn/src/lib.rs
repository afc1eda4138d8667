//! From a CSV file of customers to a gated model, with polars for the feature work.
//!
//! ```text
//! CSV → Dataset (roles, sensitivity, units) → suite → polars plan of features → Dataset → split by hash of the customer
//!     → decision tree, logistic regression, boosted trees → AUC, log loss, calibration, fairness → runs, artifacts, versions
//!     → gate → alias `production`, or a refusal with its reasons → loaded again by alias, predictions compared
//! ```
//!
//! The table is that of the public Telco churn file, read from `--data`, or drawn by [`shop::churn`]. Gender and age are
//! not learned from: they are kept to hold the models against them.

mod args;
mod checks;
mod contest;
mod features;
mod figures;
mod measure;
mod table;

pub use args::Args;
pub use checks::suite;
pub use features::{FEATURES, features};
pub use figures::Figures;
pub use table::{open, schema};

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use mlops_core::validate::Severity;
use mlops_core::{Dataset, Error, Result, file};
use mlops_registry::train::split_by_key;

use crate::contest::Contest;

/// Share of the customers that models learn from; the others judge them.
const LEARN_SHARE: f64 = 0.8;

/// Runs the whole job and writes what happens to `out`; with `--json` the last line is one JSON object.
///
/// # Errors
/// Whatever stops the job, naming it: the wrong file, data that the suite rejects, a store that fails, a reloaded model
/// that predicts something else. A model that the gate refuses is a finding, not an error.
pub fn run(args: &Args, out: &mut dyn Write) -> Result<Figures> {
    let began = Instant::now();
    let temporary = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), e))?;
    let folder = args.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
    let mut say = |line: String| writeln!(out, "{line}").map_err(|e| Error::io("standard output", e));

    let path = data_file(args, &folder)?;
    let customers = table::open(&path)?;
    let report = checks::suite()?.run(&customers)?;
    file::write_bytes(folder.join("validation.html"), report.to_html().as_bytes())?;
    say(format!("data: {} customers from {}", report.rows, path.display()))?;
    say(report.to_string())?;
    report.gate(Severity::Error)?;

    let made = features::features(&customers)?;
    let (learn, judge) = split_by_key(&made, &[table::KEY], LEARN_SHARE, args.seed)?;
    say(format!(
        "features: {} columns by a polars plan; {} customers to learn from, {} to judge by",
        FEATURES.len(),
        learn.num_rows()?,
        judge.num_rows()?
    ))?;

    let contest = Contest::open(&folder, report.to_html().into_bytes())?;
    let entries = contest.hold(&learn, &judge, &mut say)?;
    let reloaded = contest.reload(&entries, &judge)?;
    let mut figures = Figures::new(&report, &learn, &judge, &entries, reloaded)?;
    figures.set("wall_ms", u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    say(figures.summary(&entries))?;
    if args.json {
        say(figures.to_json())?;
    }
    Ok(figures)
}

/// The file that was given, or one with drawn customers in the work folder.
fn data_file(args: &Args, folder: &Path) -> Result<PathBuf> {
    if let Some(path) = &args.data {
        return Ok(path.clone());
    }
    let path = folder.join("customers.csv");
    shop::write_churn_csv(&path, args.rows(), args.seed)?;
    Ok(path)
}

/// Labels of `data`, 0 or 1.
fn labels(data: &Dataset) -> Result<Vec<f64>> {
    let rows = data.to_batch()?;
    let column = rows.column_by_name(table::LABEL).ok_or_else(|| Error::not_found("column", table::LABEL))?;
    Ok(mlops_core::interop::floats(table::LABEL, column)?.to_vec())
}
