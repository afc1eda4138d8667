//! Any number of checks in one pass.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use serde::{Deserialize, Serialize};

use super::given::{Given, Shared};
use super::lanes::{Open, marks};
use super::pass::{Pass, Wants};
use super::report::{REPORT_FORMAT, Report};
use super::route::Router;
use super::rule::{Rule, RuleCheck, RuleSpec};
use super::sample::shown_columns;
use super::{Check, Scope, Severity};
use crate::expr::Expr;
use crate::rowkey::KeyHasher;
use crate::source::{DataSink, ScanRequest, Written};
use crate::time::EventTime;
use crate::{Dataset, Error, Name, Result, Schema};

/// Layout of [`SuiteSettings`] as JSON.
pub const SUITE_FORMAT: u32 = 1;

/// Longest suite as YAML, in bytes.
#[cfg(feature = "yaml")]
pub const YAML_BYTES_MAX: usize = 1 << 24;

/// Most failing rows that a report shows per check.
pub const SAMPLES_MAX: usize = 100;

/// Failing rows that a report shows per check where nothing was said.
const SAMPLES_DEFAULT: usize = 5;

/// Most checks in one suite.
const CHECKS_MAX: usize = super::MARKS_MAX;

/// A failure of the check `id`.
pub(super) fn in_check(id: &Name, error: Error) -> Error {
    Error::stage(format!("check `{id}`"), error)
}

/// Checks with unique ids, run together in one pass.
///
/// Cloning is cheap; a suite can be run on any number of threads at once.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::Dataset;
/// use mlops_core::arrow::array::{Float64Array, RecordBatch, StringArray};
/// use mlops_core::validate::{NullRatio, OneOf, Range, Severity, Suite};
///
/// let suite = Suite::new()
///     .rule("price_known", NullRatio::of("price"))?
///     .rule("price_sane", Range::of("price").above(0).at_most(1e9))?
///     .rule_at(Severity::Warning, "plan_known", OneOf::of("plan", ["prepaid", "postpaid"]))?;
///
/// let data = Dataset::from_batches([RecordBatch::try_from_iter([
///     ("price", Arc::new(Float64Array::from(vec![10.0, -1.0])) as _),
///     ("plan", Arc::new(StringArray::from(vec!["prepaid", "gold"])) as _),
/// ])?])?;
/// let report = suite.run(&data)?;
/// assert_eq!(report.finding("price_sane")?.failed_rows, 1);
/// let refused = report.gate(Severity::Error).unwrap_err().to_string();
/// assert!(refused.contains("price_sane") && !refused.contains("plan_known"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Suite {
    entries: Vec<Entry>,
    given: Given,
}

/// A check of a suite.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Rule(RuleCheck),
    /// A check of the host.
    Own(Arc<dyn Check>),
}

impl Entry {
    pub(super) fn check(&self) -> &dyn Check {
        match self {
            Self::Rule(rule) => rule,
            Self::Own(check) => check.as_ref(),
        }
    }

    pub(super) fn expressions(&self) -> Vec<&Expr> {
        match self {
            Self::Rule(rule) => rule.expressions(),
            Self::Own(_) => Vec::new(),
        }
    }

    pub(super) fn begin(&self, schema: &Schema, given: &Given) -> Result<Open> {
        match self {
            Self::Rule(rule) => rule.start(schema, given).map(Open::Rule),
            Self::Own(check) => check.begin(schema).map(Open::Own),
        }
        .map_err(|e| in_check(self.check().id(), e))
    }
}

/// A suite as it is stored.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteSettings {
    /// Layout, [`SUITE_FORMAT`].
    pub format: u32,
    /// The rules in order.
    pub rules: Vec<RuleSpec>,
}

/// What one run does beside judging. By default: 5 samples per check, no digest, no row set aside.
#[derive(Clone, Copy, Debug)]
pub struct RunOptions<'a> {
    samples: usize,
    digest: bool,
    quarantine: Option<&'a dyn DataSink>,
    passed: Option<&'a dyn DataSink>,
}

impl Default for RunOptions<'_> {
    fn default() -> Self {
        Self { samples: SAMPLES_DEFAULT, digest: false, quarantine: None, passed: None }
    }
}

impl<'a> RunOptions<'a> {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Failing rows shown per check, at most [`SAMPLES_MAX`]. Default 5.
    pub fn samples(mut self, rows: usize) -> Self {
        self.samples = rows.min(SAMPLES_MAX);
        self
    }

    /// Puts the digest of the data into the report; it is computed in the same pass, over all columns.
    pub fn digest(mut self) -> Self {
        self.digest = true;
        self
    }

    /// Writes rows that a check of [`Severity::Error`] marks to `sink`, with a column
    /// [`MARKS_COLUMN`](super::MARKS_COLUMN) that names the checks by bits. Values stay as they are, and so does what
    /// the schema says of their sensitivity.
    pub fn quarantine(mut self, sink: &'a dyn DataSink) -> Self {
        self.quarantine = Some(sink);
        self
    }

    /// Writes the other rows to `sink`.
    pub fn passed(mut self, sink: &'a dyn DataSink) -> Self {
        self.passed = Some(sink);
        self
    }
}

/// What a run gave.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The findings.
    pub report: Report,
    /// What was written to quarantine, where one was given.
    pub quarantined: Option<Written>,
    /// What was written to the sink of rows that passed, where one was given.
    pub passed: Option<Written>,
}

impl Suite {
    /// No checks as yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check of the host.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when the suite has a check of that id.
    pub fn check(self, check: impl Check) -> Result<Self> {
        self.push(Entry::Own(Arc::new(check)))
    }

    /// Adds a rule of [`Severity::Error`].
    ///
    /// # Errors
    /// As [`spec`](Self::spec), and [`Error::Invalid`] when `id` is not a name.
    pub fn rule(self, id: impl AsRef<str>, rule: impl Into<Rule>) -> Result<Self> {
        self.rule_at(Severity::Error, id, rule)
    }

    /// Adds a rule of `severity`.
    ///
    /// # Errors
    /// As [`rule`](Self::rule).
    pub fn rule_at(self, severity: Severity, id: impl AsRef<str>, rule: impl Into<Rule>) -> Result<Self> {
        self.spec(RuleSpec { id: Name::new(id)?, severity, rule: rule.into() })
    }

    /// Adds a rule by its settings.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when the suite has a check of that id, [`Error::Stage`] naming the rule around
    /// [`Error::Invalid`] naming the setting when its settings are out of their domain.
    pub fn spec(self, spec: RuleSpec) -> Result<Self> {
        self.push(Entry::Rule(RuleCheck::new(spec)?))
    }

    /// What `now` is for rules that ask for it, in every run from here on.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use mlops_core::validate::{Freshness, Suite};
    /// use mlops_core::{Clock, SystemClock};
    /// let daily = Suite::new().rule("fresh", Freshness::of("ts", Duration::from_hours(24)))?;
    /// let today = daily.at(SystemClock.now());
    /// # assert_eq!(today.len(), 1);
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    pub fn at(mut self, now: EventTime) -> Self {
        self.given = self.given.at(now);
        self
    }

    /// Gives the data set that rules call `name`: those of its columns that they look into are read once, here, so call it
    /// after the rules were added.
    ///
    /// # Errors
    /// [`Error::NotFound`] when no rule looks into a data set of that name or a column is missing, [`Error::Schema`] for a
    /// type that keys are not made of, [`Error::Invalid`] above 50 million different keys, and what the scan says.
    pub fn refer(mut self, name: &str, data: &Dataset) -> Result<Self> {
        let mut found = false;
        for entry in &self.entries {
            let Entry::Rule(rule) = entry else { continue };
            for (_, columns) in rule.spec().rule.targets().filter(|(target, _)| *target == name) {
                self.given.refer(name, columns, data)?;
                found = true;
            }
        }
        if found { Ok(self) } else { Err(Error::not_found("rule that looks into the data set", name)) }
    }

    fn push(mut self, entry: Entry) -> Result<Self> {
        let id = entry.check().id();
        if self.entries.iter().any(|known| known.check().id() == id) {
            return Err(Error::AlreadyExists { kind: "check", name: id.to_string() });
        }
        if self.entries.len() == CHECKS_MAX {
            return Err(Error::invalid("suite", format!("more than {CHECKS_MAX} checks"), "at most 10000"));
        }
        self.entries.push(entry);
        Ok(self)
    }

    /// Number of checks.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no check.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Ids in order.
    pub fn ids(&self) -> impl Iterator<Item = &Name> {
        self.entries.iter().map(|entry| entry.check().id())
    }

    /// The suite as it is stored.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming a check of the host, which has no settings that could be stored.
    pub fn settings(&self) -> Result<SuiteSettings> {
        let spec = |entry: &Entry| match entry {
            Entry::Rule(rule) => Ok(rule.spec().clone()),
            Entry::Own(check) => {
                Err(Error::invalid("check", check.id(), "a rule of this crate, which alone can be stored"))
            }
        };
        Ok(SuiteSettings { format: SUITE_FORMAT, rules: self.entries.iter().map(spec).collect::<Result<_>>()? })
    }

    /// Rebuilds a stored suite.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a layout of another version, and what [`spec`](Self::spec) says.
    pub fn from_settings(settings: SuiteSettings) -> Result<Self> {
        if settings.format != SUITE_FORMAT {
            return Err(Error::invalid("format", settings.format, "the suite layout 1"));
        }
        settings.rules.into_iter().try_fold(Self::new(), Self::spec)
    }

    /// The suite as JSON text.
    ///
    /// # Errors
    /// As [`settings`](Self::settings).
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(&self.settings()?).map_err(|e| Error::invalid_data("suite", e))
    }

    /// Reads a suite from JSON text. Unknown fields and kinds are refused.
    ///
    /// # Errors
    /// [`Error::InvalidData`] when the text is not a suite, and what [`from_settings`](Self::from_settings) says.
    pub fn from_json(text: &str) -> Result<Self> {
        Self::from_settings(serde_json::from_str(text).map_err(|e| Error::invalid_data("suite", e))?)
    }

    /// The suite as YAML text.
    ///
    /// # Errors
    /// As [`settings`](Self::settings).
    #[cfg(feature = "yaml")]
    pub fn to_yaml(&self) -> Result<String> {
        serde_saphyr::to_string(&self.settings()?).map_err(|e| Error::invalid_data("suite", e))
    }

    /// Reads a suite from YAML text of at most [`YAML_BYTES_MAX`] bytes. Unknown fields and kinds are refused, and so is text
    /// whose anchors unfold to much more than it is long.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    ///
    /// # Examples
    /// ```
    /// use mlops_core::validate::Suite;
    /// let suite = Suite::from_yaml(
    ///     "format: 1\n\
    ///      rules:\n\
    ///      - id: paid\n\
    ///     \x20 severity: warning\n\
    ///     \x20 rule: {kind: holds, expr: \"amount >= 0 or status = 'REFUND'\"}\n",
    /// )?;
    /// assert_eq!(Suite::from_yaml(&suite.to_yaml()?)?.settings()?, suite.settings()?);
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    #[cfg(feature = "yaml")]
    pub fn from_yaml(text: &str) -> Result<Self> {
        if text.len() > YAML_BYTES_MAX {
            return Err(Error::invalid("suite", format!("{} bytes", text.len()), "at most 16 MiB of YAML"));
        }
        Self::from_settings(serde_saphyr::from_str(text).map_err(|e| Error::invalid_data("suite", e))?)
    }

    /// Runs every check in one pass over `data`, reading only the columns that checks and samples need.
    ///
    /// # Errors
    /// [`Error::Stage`] naming the check around [`Error::NotFound`] or [`Error::Schema`] naming the column, when a check
    /// cannot be applied to such a table; the first error of the scan.
    pub fn run(&self, data: &Dataset) -> Result<Report> {
        Ok(self.run_with(data, &RunOptions::new())?.report)
    }

    /// Like [`run`](Self::run), and sets rows aside or writes a digest as `options` say, in the same pass.
    ///
    /// Memory: one batch and what the checks hold. Where [`Unique`](super::Unique) has more keys than it may hold, rows from
    /// there on are written in a second reading of the data, once all are known. Sinks commit only after the last row, the quarantine first; after an
    /// error nothing is visible in either. What is written does not depend on checks that mark no rows: gate the report
    /// before using the rows that passed. See also [`passing`](Self::passing), which needs no sink.
    ///
    /// # Errors
    /// As [`run`](Self::run); what the sinks say; with a quarantine, [`Error::Invalid`] when more than
    /// [`MARKS_MAX`](super::MARKS_MAX) checks could set bits and [`Error::AlreadyExists`] when the data has a column of
    /// the name [`MARKS_COLUMN`](super::MARKS_COLUMN); [`Error::Conflict`] when data that is read twice had another number of
    /// rows the second time.
    pub fn run_with(&self, data: &Dataset, options: &RunOptions<'_>) -> Result<Outcome> {
        let schema = data.schema();
        let (quarantine, passed) = (options.quarantine, options.passed);
        let wants = Wants {
            samples: options.samples,
            digest: options.digest,
            batches: quarantine.is_some() || passed.is_some(),
            marks: quarantine.is_some(),
        };
        let mut pass = Pass::begin(self, data, self.request(schema, options), wants)?;
        let mut router = Router::begin(schema, pass.bits(), quarantine, passed)?;
        while let Some((batch, judged)) = pass.next()? {
            router.route(&batch, &judged.marks, &judged.rejected)?;
        }
        let mark_bits = if wants.marks { pass.bits().to_vec() } else { Vec::new() };
        let found = pass.finish()?;
        let (quarantined, passed) = router.commit()?;
        let report = Report {
            format: REPORT_FORMAT,
            rows: found.rows,
            rejected_rows: found.rejected_rows,
            schema: schema.fingerprint(),
            dataset: found.digest,
            findings: found.findings,
            samples: found.samples,
            mark_bits,
        };
        Ok(Outcome { report, quarantined, passed })
    }

    pub(super) fn given(&self) -> &Given {
        &self.given
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All columns where rows are written or digested, else only those that are looked at.
    fn request(&self, schema: &Schema, options: &RunOptions<'_>) -> ScanRequest {
        if options.digest || options.quarantine.is_some() || options.passed.is_some() {
            return ScanRequest::all();
        }
        let wanted: BTreeSet<String> = self.entries.iter().flat_map(|entry| needed(schema, entry.check())).collect();
        let columns: Vec<&str> = schema.names().filter(|name| wanted.contains(*name)).collect();
        match (columns.is_empty(), schema.names().next()) {
            // A row count needs some column to count.
            (true, Some(first)) => ScanRequest::all().columns([first]),
            (true, None) => ScanRequest::all(),
            (false, _) => ScanRequest::all().columns(columns),
        }
    }

    /// Judges single rows on the request path: all checks of [`Scope::Row`], the same code as in [`run`](Self::run).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn check_row(&self, rows: &RecordBatch) -> Result<RowVerdicts> {
        let schema = Schema::new(rows.schema())?;
        let mut verdicts = RowVerdicts { rows: rows.num_rows(), checks: Vec::new() };
        let hasher = KeyHasher::new();
        let shared = Shared::new(rows, &hasher, 0);
        for entry in self.entries.iter().filter(|entry| entry.check().scope() == Scope::Row) {
            let check = entry.check();
            let mut run = entry.begin(&schema, &self.given)?;
            if let Some(failing) = marks(check, &mut run, &shared)? {
                verdicts.checks.push((check.id().clone(), check.severity(), failing));
            }
        }
        Ok(verdicts)
    }
}

/// What a check reads and what its samples show.
fn needed(schema: &Schema, check: &dyn Check) -> Vec<String> {
    let mut columns = shown_columns(schema, check);
    columns.extend(check.columns().into_iter().map(str::to_owned));
    columns
}

/// Which rows failed which checks, for a few rows on the request path.
#[derive(Clone, Debug)]
pub struct RowVerdicts {
    rows: usize,
    checks: Vec<(Name, Severity, BooleanBuffer)>,
}

impl RowVerdicts {
    /// Number of rows that were judged.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether `row` passed every check of at least `severity`; false for a row that was not judged.
    pub fn passed(&self, row: usize, severity: Severity) -> bool {
        row < self.rows && !self.failed(row).any(|(_, found)| found >= severity)
    }

    /// The checks that `row` failed, in the order of the suite.
    pub fn failed(&self, row: usize) -> impl Iterator<Item = (&Name, Severity)> {
        let fails = move |marks: &BooleanBuffer| row < marks.len() && marks.value(row);
        self.checks.iter().filter(move |(_, _, marks)| fails(marks)).map(|(id, severity, _)| (id, *severity))
    }

    /// One value per row: true where it passed every check of at least `severity`.
    pub fn keep(&self, severity: Severity) -> BooleanBuffer {
        let judged = self.checks.iter().filter(|(_, found, _)| *found >= severity);
        !&judged.fold(BooleanBuffer::new_unset(self.rows), |all, (_, _, marks)| &all | marks)
    }
}
