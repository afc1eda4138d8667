//! Memory over the size of a table: profile and validation of rows that are made while they are read.

use std::sync::Arc;

use mlops_core::Dataset;
use mlops_core::profile::{ProfileOptions, Profiler};
use mlops_core::source::{DataSource, ScanRequest};
use mlops_core::validate::{RunOptions, Suite};
use serde_json::{Map, json};

use crate::Outcome;
use crate::orders::Orders;
use crate::validate::{failing, rules};

type Failure = Box<dyn std::error::Error>;

/// Profiles `gb` gigabytes of orders with all relations; the checksum is that ids do not look unique, and nulls.
pub(crate) fn profile(gb: f64) -> Result<Outcome, Failure> {
    let orders = Orders::of_gb(gb);
    let mut profiler = Profiler::new(orders.schema()?.arrow(), &ProfileOptions::report())?;
    for batch in orders.scan(&ScanRequest::all())? {
        profiler.update(&batch?)?;
    }
    let profile = profiler.finish();
    let mut figures = Map::new();
    figures.insert("gb".into(), json!(gb));
    figures.insert("profile_kb".into(), json!(profile.to_bytes().len() / 1024));
    figures.insert("equal".into(), json!(profile.rows() == orders.rows));
    Ok(Outcome { rows: profile.rows(), figures })
}

/// Checks 25 rules over `gb` gigabytes of orders, two of which say that keys are unique; both counts of rows in excess must be
/// those of the rows' maker.
pub(crate) fn validate(gb: f64) -> Result<Outcome, Failure> {
    let orders = Orders::of_gb(gb);
    let data = Dataset::from_source(Arc::new(orders))?;
    let suite = rules(orders.rows)?.into_iter().try_fold(Suite::new(), |suite, (name, rule)| suite.rule(name, rule))?;
    let report = suite.run_with(&data, &RunOptions::new().samples(100))?.report;
    let excess = |check: &str| report.finding(check).map(failing);
    let found = (excess("r02_order_id_unique")?, excess("r03_order_ts_unique")?);
    let shown = report.samples.iter().filter(|sample| sample.check.as_str() == "r02_order_id_unique").count() as u64;
    let mut figures = Map::new();
    figures.insert("gb".into(), json!(gb));
    figures.insert("excess".into(), json!(found));
    figures.insert("equal".into(), json!(found == orders.excess() && shown == found.0.min(100)));
    Ok(Outcome { rows: report.rows, figures })
}
