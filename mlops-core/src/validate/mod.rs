//! Validation: checks look at every row once and report what they found as values.
//!
//! A [`Check`] is a reusable rule with a stable id; a suite runs any number of them in one pass over the data. What does
//! not hold is a [`Finding`], never an error: errors are for checks that cannot run.

use std::fmt::Debug;

use arrow::array::{BooleanArray, RecordBatch};
use serde::{Deserialize, Serialize};

use crate::{Name, Result, Schema};

/// How bad it is when a check does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look; does not stop a pipeline.
    Warning,
    /// Stops a pipeline.
    #[default]
    Error,
}

/// How one check came out over one table.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// The check.
    pub check: Name,
    /// What it demands, in words.
    pub demand: String,
    /// How bad a failure is.
    pub severity: Severity,
    /// Whether the demand holds.
    pub passed: bool,
    /// Rows looked at.
    pub rows: u64,
    /// Rows that do not fit, for checks that look at single rows.
    pub failed_rows: u64,
    /// The measured value that was judged, such as a ratio or a drift score.
    pub observed: Option<f64>,
    /// More in words. Never quotes values of sensitive columns.
    pub detail: String,
}

/// One rule about a table.
///
/// # Contract
/// * The id is stable: it names the rule in reports, quarantine and diffs of suites.
/// * One run sees every batch of one table once, in order, and needs bounded memory (stated where it grows).
/// * A null is not a violation unless the rule is about nulls.
/// * The verdict does not depend on how the rows are cut into batches.
///
/// `testkit::check` checks these; run it on your own check.
pub trait Check: Debug + Send + Sync + 'static {
    /// Stable name of the rule.
    fn id(&self) -> &Name;

    /// How bad a failure is.
    fn severity(&self) -> Severity;

    /// Starts one run over a table of `schema`.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) or [`Error::Schema`](crate::Error::Schema) when the rule cannot be
    /// applied to such a table.
    fn begin(&self, schema: &Schema) -> Result<Box<dyn CheckRun>>;
}

/// One run of a check over one table.
pub trait CheckRun: Send {
    /// Looks at `batch`. Checks of single rows answer with one value per row, true where the row does not fit.
    ///
    /// # Errors
    /// [`Error::Schema`](crate::Error::Schema) when the batch is not of the schema that the run began with.
    fn update(&mut self, batch: &RecordBatch) -> Result<Option<BooleanArray>>;

    /// The verdict over everything seen.
    ///
    /// # Errors
    /// [`Error::External`](crate::Error::External) when the verdict needs something outside that failed.
    fn finish(self: Box<Self>) -> Result<Finding>;
}
