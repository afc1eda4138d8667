//! Rules as settings, and the one check type that runs them.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use serde::{Deserialize, Serialize};

use super::kernel::{Kernel, KernelRun};
use super::{
    Check, CheckRun, Columns, Drift, Finding, NullRatio, OneOf, Pattern, Range, RowCount, Scope, Severity, Unique,
};
use crate::{Name, Result, Schema};

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
    /// No two rows have the same key.
    Unique(Unique),
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
            fn compile(&self) -> Result<Arc<dyn Kernel>> {
                match self {
                    $(Self::$kind(rule) => rule.compile(),)*
                }
            }
        }
    };
}

rule_from!(NullRatio, Range, OneOf, Pattern, Unique, Columns, RowCount, Drift);

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

/// A [`RuleSpec`] whose settings were checked: a [`Check`].
#[derive(Clone, Debug)]
pub struct RuleCheck {
    spec: RuleSpec,
    kernel: Arc<dyn Kernel>,
}

impl RuleCheck {
    /// Checks the settings of `spec`.
    ///
    /// # Errors
    /// [`Error::Stage`](crate::Error::Stage) naming the rule, around [`Error::Invalid`](crate::Error::Invalid) naming the
    /// setting.
    pub fn new(spec: RuleSpec) -> Result<Self> {
        let kernel = spec.rule.compile().map_err(|e| super::suite::in_check(&spec.id, e))?;
        Ok(Self { spec, kernel })
    }

    /// The settings.
    pub fn spec(&self) -> &RuleSpec {
        &self.spec
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
        let run = self.kernel.begin(schema)?;
        Ok(Box::new(RuleRun { check: self.clone(), run, rows: 0 }))
    }
}

struct RuleRun {
    check: RuleCheck,
    run: Box<dyn KernelRun>,
    rows: u64,
}

impl CheckRun for RuleRun {
    fn update(&mut self, batch: &RecordBatch) -> Result<Option<BooleanArray>> {
        let failing = self.run.update(batch)?;
        self.rows += batch.num_rows() as u64;
        Ok(failing.map(|marks| BooleanArray::new(marks, None)))
    }

    fn finish(self: Box<Self>) -> Result<Finding> {
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
