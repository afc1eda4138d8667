//! Validation: checks look at every row once and report what they found as values.
//!
//! A [`Check`] is a reusable rule with a stable id; a [`Suite`] runs any number of them in one pass over the data and
//! gives a [`Report`]. What does not hold is a [`Finding`], never an error: errors are for checks that cannot run.
//! The rules that come with the crate are settings ([`Rule`]), so that suites are stored as JSON (or YAML, with the feature
//! `yaml`), compared ([`SuiteSettings::diff`]), drawn from a profile ([`suggest`]) and rebuilt.
//!
//! Entry points: [`Suite::run`] for tables, [`Suite::run_with`] to set rows aside, [`Suite::check_row`] for requests.

mod diff;
mod drift;
mod freshness;
mod given;
mod groups;
mod holds;
mod html;
mod junit;
mod kernel;
mod length;
mod monotonic;
mod mostly;
mod null_ratio;
mod passing;
mod range;
mod ratio;
mod refers;
mod regex;
mod report;
mod route;
mod rows;
mod rule;
mod sample;
mod schema;
mod set;
mod statistic;
mod suggest;
mod suite;
mod unique;
mod when;

pub use self::diff::{Effect, RuleChange, SettingChange, SuiteDiff};
pub use self::drift::Drift;
pub use self::freshness::Freshness;
pub use self::groups::{GroupMeasure, Groups};
pub use self::holds::{Compare, Holds};
pub use self::length::TextLength;
pub use self::monotonic::Monotonic;
pub use self::mostly::Mostly;
pub use self::null_ratio::NullRatio;
pub use self::passing::Route;
pub use self::range::{Bound, Range};
pub use self::ratio::Decision;
pub use self::refers::Refers;
pub use self::regex::{PATTERN_BYTES_MAX, Pattern};
pub use self::report::{REPORT_FORMAT, Report};
pub use self::route::{MARKS_COLUMN, MARKS_IN_WORD, MARKS_MAX, MARKS_METADATA};
pub use self::rows::RowCount;
pub use self::rule::{Rule, RuleCheck, RuleSpec};
pub use self::sample::{Cell, SAMPLE_TEXT_MAX, Sample, Shown};
pub use self::schema::{ColumnRule, Columns};
pub use self::set::{OneOf, SET_VALUES_MAX};
pub use self::statistic::{Measure, Statistic};
pub use self::suggest::{SuggestOptions, suggest};
#[cfg(feature = "yaml")]
pub use self::suite::YAML_BYTES_MAX;
pub use self::suite::{Outcome, RowVerdicts, RunOptions, SAMPLES_MAX, SUITE_FORMAT, Suite, SuiteSettings};
pub use self::unique::{DISTINCT_DEFAULT, Unique};
pub use self::when::When;

use std::collections::BTreeMap;
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

/// What a check looks at before it judges.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Each row on its own, which it marks when it does not fit: also right for a single request.
    Row,
    /// Rows in the light of those before them (such as duplicates), which it marks: left out on the request path.
    RowInTable,
    /// The table as a whole; no row is marked. Left out on the request path.
    Table,
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
    /// The measured value that was judged, such as a ratio or a drift score; always finite.
    pub observed: Option<f64>,
    /// Further measured numbers by name, all finite; each rule says which it gives.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measures: BTreeMap<String, f64>,
    /// More in words. Never quotes values of sensitive columns.
    pub detail: String,
}

impl Finding {
    /// How the demand was decided. What is undecided, for want of rows, counts as [`passed`](Self::passed).
    pub fn decision(&self) -> Decision {
        match self.measures.get(kernel::UNDECIDED) {
            Some(undecided) if *undecided == 1.0 => Decision::Undecided,
            _ if self.passed => Decision::Passed,
            _ => Decision::Failed,
        }
    }
}

/// One rule about a table.
///
/// # Contract
/// * The id is stable: it names the rule in reports, quarantine and diffs of suites.
/// * One run sees every batch of one table once, in order, and needs bounded memory (stated where it grows).
/// * Batches hold at least the [`columns`](Self::columns) of the check, and may lack others of the schema.
/// * A null is not a violation unless the rule is about nulls.
/// * The verdict does not depend on how the rows are cut into batches.
///
/// `testkit::check` checks these; run it on your own check.
pub trait Check: Debug + Send + Sync + 'static {
    /// Stable name of the rule.
    fn id(&self) -> &Name;

    /// How bad a failure is.
    fn severity(&self) -> Severity;

    /// What it looks at before it judges; the same in every run.
    fn scope(&self) -> Scope;

    /// Columns whose values it reads. Scans bring these, and samples of failing rows show them.
    fn columns(&self) -> Vec<&str>;

    /// Starts one run over a table of `schema`.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) or [`Error::Schema`](crate::Error::Schema) when the rule cannot be
    /// applied to such a table.
    fn begin(&self, schema: &Schema) -> Result<Box<dyn CheckRun>>;
}

/// One run of a check over one table.
pub trait CheckRun: Send {
    /// Looks at `batch`. Checks that mark rows answer with one value per row, true where the row does not fit (null
    /// counts as false); checks of [`Scope::Table`] answer `None`.
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

#[cfg(test)]
mod tests;
