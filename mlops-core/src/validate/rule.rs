//! Rules as settings, and the one check type that runs them.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use serde::{Deserialize, Serialize};

use super::given::{Given, Shared};
use super::kernel::{Kernel, KernelRun};
use super::{
    Check, CheckRun, Columns, Compare, Drift, Finding, Freshness, Groups, Holds, Monotonic, Mostly, NullRatio, OneOf,
    Pattern, Range, Refers, RowCount, Scope, Severity, Statistic, TextLength, Unique, When,
};
use crate::expr::Expr;
use crate::rowkey::{KeyHasher, RowSet};
use crate::time::EventTime;
use crate::{Dataset, Error, Name, Result, Schema};

/// Deepest nesting of rules in rules.
const NESTING_MAX: usize = 4;

/// Settings of every rule that comes with this crate, tagged by `kind` in JSON.
///
/// # Examples
/// ```
/// use mlops_core::validate::{Range, Rule};
/// let rule: Rule = serde_json::from_str(r#"{"kind": "range", "column": "age", "min": {"included": {"int": 0}}}"#)?;
/// assert_eq!(rule, Rule::from(Range::of("age").at_least(0)));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rule {
    /// At most a share of a column is null.
    NullRatio(NullRatio),
    /// Numbers or times lie between bounds.
    Range(Range),
    /// Values are among those allowed.
    OneOf(OneOf),
    /// Text matches a regular expression from end to end.
    Pattern(Pattern),
    /// Texts are of a length between bounds.
    TextLength(TextLength),
    /// No two rows have the same key.
    Unique(Unique),
    /// Keys exist in another data set.
    Refers(Refers),
    /// Two columns of a row compare in a stated way.
    Compare(Compare),
    /// An expression is not false for any row.
    Holds(Holds),
    /// A column only rises or only falls.
    Monotonic(Monotonic),
    /// A measure of each group of rows lies between bounds.
    Groups(Groups),
    /// A statistic of a column lies between bounds.
    Statistic(Statistic),
    /// The newest row is not too old.
    Freshness(Freshness),
    /// Another rule, over some rows only.
    When(When),
    /// Another rule, which a share of the rows may break.
    Mostly(Mostly),
    /// Columns are there, with their types.
    Columns(Columns),
    /// The table is neither too short nor too long.
    RowCount(RowCount),
    /// Columns are distributed as in a reference.
    Drift(Drift),
}

macro_rules! rule_from {
    ($($kind:ident),*) => {
        $(impl From<$kind> for Rule {
            fn from(rule: $kind) -> Self {
                Self::$kind(rule)
            }
        })*

        impl Rule {
            /// Checks the settings and prepares what every run shares.
            pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
                match self {
                    $(Self::$kind(rule) => rule.compile(),)*
                }
            }
        }
    };
}

rule_from!(
    NullRatio, Range, OneOf, Pattern, TextLength, Unique, Refers, Compare, Holds, Monotonic, Groups, Statistic,
    Freshness, When, Mostly, Columns, RowCount, Drift
);

impl Rule {
    /// The rule inside of one that wraps another.
    pub(super) fn inner(&self) -> Option<&Self> {
        match self {
            Self::When(rule) => Some(rule.inner()),
            Self::Mostly(rule) => Some(rule.inner()),
            _ => None,
        }
    }

    /// This rule and those inside of it, from the outside in.
    fn nested(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |rule| rule.inner())
    }

    /// The other data sets that it looks into.
    pub(super) fn targets(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.nested().filter_map(|rule| if let Self::Refers(rule) = rule { Some(rule.target()) } else { None })
    }
}

/// A rule with its id and severity: one entry of a stored suite.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// Stable name of the rule.
    pub id: Name,
    /// How bad a failure is. Default [`Severity::Error`].
    #[serde(default)]
    pub severity: Severity,
    /// What it demands.
    pub rule: Rule,
}

/// A [`RuleSpec`] whose settings were checked: a [`Check`]. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct RuleCheck {
    spec: Arc<RuleSpec>,
    kernel: Arc<dyn Kernel>,
    given: Given,
}

impl RuleCheck {
    /// Checks the settings of `spec`.
    ///
    /// # Errors
    /// [`Error::Stage`](crate::Error::Stage) naming the rule, around [`Error::Invalid`](crate::Error::Invalid) naming the
    /// setting.
    pub fn new(spec: RuleSpec) -> Result<Self> {
        let refuse = |e| super::suite::in_check(&spec.id, e);
        if spec.rule.nested().count() > NESTING_MAX {
            return Err(refuse(Error::invalid("rule", "rules within rules within rules", "at most 4 deep")));
        }
        let kernel = spec.rule.compile().map_err(refuse)?;
        Ok(Self { spec: Arc::new(spec), kernel, given: Given::default() })
    }

    /// What `now` is for rules that ask for it; a suite says it for all of its rules.
    pub fn at(mut self, now: EventTime) -> Self {
        self.given = self.given.at(now);
        self
    }

    /// Reads the keys of the data set `name` that this rule looks into; a suite does it for all of its rules.
    ///
    /// # Errors
    /// As [`Suite::refer`](super::Suite::refer).
    pub fn refer(mut self, name: &str, data: &Dataset) -> Result<Self> {
        let spec = self.spec.clone();
        for (_, columns) in spec.rule.targets().filter(|(target, _)| *target == name) {
            self.given.refer(name, columns, data)?;
        }
        Ok(self)
    }

    /// The settings.
    pub fn spec(&self) -> &RuleSpec {
        &self.spec
    }

    /// Expressions that it works out over whole batches.
    pub(super) fn expressions(&self) -> Vec<&Expr> {
        self.kernel.expressions()
    }

    /// Starts a run with what a suite has.
    pub(super) fn start(&self, schema: &Schema, given: &Given) -> Result<RuleRun> {
        let run = self.kernel.begin(schema, given)?;
        Ok(RuleRun { check: self.clone(), run, rows: 0 })
    }
}

impl Check for RuleCheck {
    fn id(&self) -> &Name {
        &self.spec.id
    }

    fn severity(&self) -> Severity {
        self.spec.severity
    }

    fn scope(&self) -> Scope {
        self.kernel.scope()
    }

    fn columns(&self) -> Vec<&str> {
        self.kernel.columns()
    }

    fn begin(&self, schema: &Schema) -> Result<Box<dyn CheckRun>> {
        Ok(Box::new(Alone { run: self.start(schema, &self.given)?, hasher: KeyHasher::new() }))
    }
}

/// One run of a rule.
pub(super) struct RuleRun {
    check: RuleCheck,
    run: Box<dyn KernelRun>,
    rows: u64,
}

impl RuleRun {
    pub(super) fn update(&mut self, batch: &Shared<'_>) -> Result<Option<BooleanBuffer>> {
        let failing = self.run.update(batch)?;
        self.rows += batch.num_rows() as u64;
        Ok(failing)
    }

    pub(super) fn waits(&self) -> bool {
        self.run.waits()
    }

    pub(super) fn settle(&mut self) -> Result<RowSet> {
        self.run.settle()
    }

    pub(super) fn finish(self) -> Result<Finding> {
        let verdict = self.run.finish()?;
        Ok(Finding {
            check: self.check.spec.id.clone(),
            demand: self.check.kernel.demand(),
            severity: self.check.spec.severity,
            passed: verdict.passed,
            rows: self.rows,
            failed_rows: verdict.failed_rows,
            observed: verdict.observed.filter(|value| value.is_finite()),
            measures: verdict.measures.into_iter().filter(|(_, value)| value.is_finite()).collect(),
            detail: verdict.detail,
        })
    }
}

/// A rule that runs outside of a suite.
struct Alone {
    run: RuleRun,
    hasher: KeyHasher,
}

impl CheckRun for Alone {
    fn update(&mut self, batch: &RecordBatch) -> Result<Option<BooleanArray>> {
        let failing = self.run.update(&Shared::new(batch, &self.hasher, 0))?;
        Ok(failing.map(|marks| BooleanArray::new(marks, None)))
    }

    fn finish(self: Box<Self>) -> Result<Finding> {
        self.run.finish()
    }
}
