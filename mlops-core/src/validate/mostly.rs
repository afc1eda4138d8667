//! Rules that a share of rows may break.

use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use serde::{Deserialize, Serialize};

use super::given::{Given, Shared};
use super::kernel::{Kernel, KernelRun, Verdict, ratio_verdict};
use super::ratio::Limit;
use super::{Rule, Scope};
use crate::expr::Expr;
use crate::rowkey::RowSet;
use crate::{Error, Result, Schema};

/// At least a share of the rows fits another rule, which must be one that marks rows.
///
/// * The share is over all rows that the rule saw, nulls among them; an empty table passes without a
///   [`confidence`](Self::confidence). No row is marked: the table is judged.
/// * `observed` is the share of rows that do not fit; with a confidence, `lower` and `upper` are its bounds and `undecided`
///   is 1 where neither passing nor failing is certain enough. What is undecided counts as passed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mostly {
    rule: Box<Rule>,
    at_least: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confidence: Option<f64>,
}

impl Mostly {
    /// At least the share `at_least` of the rows, within 0..=1, fits `rule`.
    pub fn of(rule: impl Into<Rule>, at_least: f64) -> Self {
        Self { rule: Box::new(rule.into()), at_least, confidence: None }
    }

    /// Judges the share in the population that the rows were drawn from: pass and fail each need this confidence, within
    /// 0.5..=0.999999, by the bounds of Clopper and Pearson. Default: the share of these very rows is judged.
    pub fn confidence(mut self, confidence: f64) -> Self {
        self.confidence = Some(confidence);
        self
    }

    fn limit(&self) -> Limit {
        // 1 − 0.95 is a little more than 0.05; what is written as a share of those that fit is meant to the digit.
        let max = ((1.0 - self.at_least) * 1e12).round() / 1e12;
        Limit { max, confidence: self.confidence }
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        let inner = self.rule.compile()?;
        if inner.scope() == Scope::Table {
            return Err(Error::invalid("rule", inner.demand(), "a rule that marks rows"));
        }
        if !(0.0..=1.0).contains(&self.at_least) || !self.limit().is_sound() {
            return Err(Error::invalid(
                "at_least",
                self.at_least,
                "a share within 0..=1, confidence within 0.5..=0.999999",
            ));
        }
        Ok(Arc::new(Compiled { rule: self.clone(), inner }))
    }

    pub(super) fn inner(&self) -> &Rule {
        &self.rule
    }

    pub(super) fn share(&self) -> f64 {
        self.at_least
    }
}

#[derive(Debug)]
struct Compiled {
    rule: Mostly,
    inner: Arc<dyn Kernel>,
}

impl Kernel for Compiled {
    fn demand(&self) -> String {
        let sure = self.rule.confidence.map_or(String::new(), |sure| format!(" with {} % confidence", sure * 100.0));
        format!("{}, for at least {} of the rows{sure}", self.inner.demand(), self.rule.at_least)
    }

    fn scope(&self) -> Scope {
        Scope::Table
    }

    fn columns(&self) -> Vec<&str> {
        self.inner.columns()
    }

    fn expressions(&self) -> Vec<&Expr> {
        self.inner.expressions()
    }

    fn begin(&self, schema: &Schema, given: &Given) -> Result<Box<dyn KernelRun>> {
        Ok(Box::new(Run { limit: self.rule.limit(), inner: self.inner.begin(schema, given)?, rows: 0, failed: 0 }))
    }
}

struct Run {
    limit: Limit,
    inner: Box<dyn KernelRun>,
    rows: u64,
    failed: u64,
}

impl KernelRun for Run {
    fn update(&mut self, batch: &Shared<'_>) -> Result<Option<BooleanBuffer>> {
        self.rows += batch.num_rows() as u64;
        self.failed += self.inner.update(batch)?.map_or(0, |marks| marks.count_set_bits() as u64);
        Ok(None)
    }

    fn waits(&self) -> bool {
        self.inner.waits()
    }

    fn settle(&mut self) -> Result<RowSet> {
        self.failed += self.inner.settle()?.len();
        Ok(RowSet::default())
    }

    fn finish(self: Box<Self>) -> Result<Verdict> {
        let mut verdict = ratio_verdict(self.limit, self.failed, self.rows, "misfits");
        verdict.failed_rows = self.failed;
        verdict.measures.extend(self.inner.finish()?.measures);
        Ok(verdict)
    }
}
