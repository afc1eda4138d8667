//! What a suite found over one table.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Finding, Sample, Severity};
use crate::{Digest, Error, Name, Result};

/// Layout of [`Report`] as JSON.
pub const REPORT_FORMAT: u32 = 1;

/// What a suite found over one table: findings in the order of the suite, and some of the rows that did not fit.
///
/// Values of sensitive columns stand nowhere in it. `Display` is a table for a terminal.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Layout, [`REPORT_FORMAT`].
    pub format: u32,
    /// Rows looked at.
    pub rows: u64,
    /// Rows that at least one check of [`Severity::Error`] marked: those that go to quarantine.
    pub rejected_rows: u64,
    /// Fingerprint of the schema.
    pub schema: Digest,
    /// Digest of the data, where it was asked for; equal to [`Dataset::digest`](crate::Dataset::digest).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<Digest>,
    /// One finding per check, in the order of the suite.
    pub findings: Vec<Finding>,
    /// The first rows that each check marked, check by check.
    pub samples: Vec<Sample>,
    /// Checks that set bits in the quarantine's mask: the first one bit 0, the second one bit 1, and so on. Empty when
    /// nothing was set aside.
    pub mark_bits: Vec<Name>,
}

impl Report {
    /// Whether everything of at least `severity` holds.
    pub fn passed(&self, severity: Severity) -> bool {
        self.failures(severity).next().is_none()
    }

    /// What does not hold, of at least `severity`, in the order of the suite.
    pub fn failures(&self, severity: Severity) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| !finding.passed && finding.severity >= severity)
    }

    /// The finding of `check`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the suite had no such check.
    pub fn finding(&self, check: &str) -> Result<&Finding> {
        self.findings.iter().find(|f| f.check.as_str() == check).ok_or_else(|| Error::not_found("finding", check))
    }

    /// Turns failures of at least `severity` into an error, for a caller that stops there.
    ///
    /// # Errors
    /// [`Error::Rejected`] with the ids of what failed.
    pub fn gate(&self, severity: Severity) -> Result<()> {
        let failed: Vec<String> = self.failures(severity).map(|finding| finding.check.to_string()).collect();
        if failed.is_empty() {
            return Ok(());
        }
        let what = match self.dataset {
            Some(digest) => format!("data set {}", digest.short()),
            None => format!("table of {} rows", self.rows),
        };
        Err(Error::Rejected { what, failed })
    }

    /// The report as one HTML page that needs nothing else: no script, no outside style, every text escaped.
    pub fn to_html(&self) -> String {
        super::html::page(self)
    }

    /// The report as JUnit XML, a test per check under the suite `name`: what continuous integration shows. A check that does not
    /// hold is a failure, whatever its severity, which is the failure's type. No sample stands in it.
    pub fn to_junit(&self, name: &str) -> String {
        super::junit::xml(self, name)
    }

    /// Digest of the report.
    ///
    /// # Errors
    /// [`Error::InvalidData`] when it has no JSON form; reports that a suite made always have one.
    pub fn digest(&self) -> Result<Digest> {
        Digest::of_json(self)
    }
}

/// `ok`, `info`, `warn` or `FAIL`.
pub(super) fn verdict(finding: &Finding) -> &'static str {
    match (finding.passed, finding.severity) {
        (true, _) => "ok",
        (false, Severity::Info) => "info",
        (false, Severity::Warning) => "warn",
        (false, Severity::Error) => "FAIL",
    }
}

/// A number in as few digits as tell it apart at a glance.
pub(super) fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.fract() == 0.0 && value.abs() < 1e15 => format!("{value}"),
        Some(value) if (1e-4..1e15).contains(&value.abs()) => format!("{value:.4}"),
        Some(value) => format!("{value:.3e}"),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.findings.iter().filter(|finding| !finding.passed).count();
        writeln!(f, "{} checks over {} rows: {failed} failed", self.findings.len(), self.rows)?;
        let width = self.findings.iter().map(|finding| finding.check.as_str().len()).max().unwrap_or(0).max(5);
        writeln!(f, "{:<4}  {:<width$}  {:>10}  {:>10}  demand", "", "check", "failed", "observed")?;
        for finding in &self.findings {
            let (verdict, observed) = (verdict(finding), number(finding.observed));
            let (check, rows) = (finding.check.as_str(), finding.failed_rows);
            write!(f, "{verdict:<4}  {check:<width$}  {rows:>10}  {observed:>10}  {}", finding.demand)?;
            if !finding.detail.is_empty() {
                write!(f, " ({})", finding.detail)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
