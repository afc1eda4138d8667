//! How much of a column may be missing.

use std::sync::Arc;

use arrow::array::Array;
use arrow::buffer::BooleanBuffer;
use serde::{Deserialize, Serialize};

use super::Scope;
use super::given::{Given, Shared};
use super::kernel::{Column, Kernel, KernelRun, Verdict, quoted, ratio_verdict};
use super::ratio::Limit;
use crate::{Error, Result, Schema};

/// At most a share of the rows has a null in `column`.
///
/// * Nulls are what Arrow calls so, also where a dictionary key points to a null; NaN is not a null, nor is empty text.
/// * The share is `nulls / rows`; an empty table passes.
/// * With a share of 0, the default, rows are marked one by one; above it and with a [`confidence`](Self::confidence) the
///   table is judged and no row is marked.
/// * `observed` is the share of nulls; with a confidence, `lower` and `upper` are its bounds and `undecided` is 1 where neither
///   passing nor failing is certain enough. What is undecided counts as passed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NullRatio {
    column: String,
    #[serde(default)]
    max: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confidence: Option<f64>,
}

impl NullRatio {
    /// No nulls in `column`.
    pub fn of(column: impl Into<String>) -> Self {
        Self { column: column.into(), max: 0.0, confidence: None }
    }

    /// Greatest share of nulls that still passes, within 0..=1. Default 0.
    pub fn max(mut self, max: f64) -> Self {
        self.max = max;
        self
    }

    /// Judges the share in the population that the rows were drawn from: pass and fail each need this confidence, within
    /// 0.5..=0.999999, by the bounds of Clopper and Pearson. Default: the share of these very rows is judged.
    pub fn confidence(mut self, confidence: f64) -> Self {
        self.confidence = Some(confidence);
        self
    }

    fn limit(&self) -> Limit {
        Limit { max: self.max, confidence: self.confidence }
    }

    fn marks_rows(&self) -> bool {
        self.max == 0.0 && self.confidence.is_none()
    }

    pub(super) fn share(&self) -> f64 {
        self.max
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        if !self.limit().is_sound() {
            return Err(Error::invalid(
                "max",
                self.max,
                "a share within 0..=1, with a confidence within 0.5..=0.999999",
            ));
        }
        Ok(Arc::new(self.clone()))
    }
}

impl Kernel for NullRatio {
    fn demand(&self) -> String {
        if self.marks_rows() {
            return format!("{} has no nulls", quoted(&self.column));
        }
        let sure = self.confidence.map_or(String::new(), |sure| format!(" with {} % confidence", sure * 100.0));
        format!("at most {} of {} is null{sure}", self.max, quoted(&self.column))
    }

    fn scope(&self) -> Scope {
        if self.marks_rows() { Scope::Row } else { Scope::Table }
    }

    fn columns(&self) -> Vec<&str> {
        vec![&self.column]
    }

    fn begin(&self, schema: &Schema, _given: &Given) -> Result<Box<dyn KernelRun>> {
        let column = Column::find(schema, &self.column)?;
        Ok(Box::new(Run { column, rule: self.clone(), rows: 0, nulls: 0 }))
    }
}

struct Run {
    column: Column,
    rule: NullRatio,
    rows: u64,
    nulls: u64,
}

impl KernelRun for Run {
    fn update(&mut self, batch: &Shared<'_>) -> Result<Option<BooleanBuffer>> {
        let array = self.column.of(batch)?;
        let nulls = array.logical_nulls();
        self.rows += array.len() as u64;
        self.nulls += nulls.as_ref().map_or(0, |nulls| nulls.null_count() as u64);
        let marks = || match &nulls {
            Some(nulls) => !nulls.inner(),
            None => BooleanBuffer::new_unset(array.len()),
        };
        Ok(self.rule.marks_rows().then(marks))
    }

    fn finish(self: Box<Self>) -> Result<Verdict> {
        let mut verdict = ratio_verdict(self.rule.limit(), self.nulls, self.rows, "nulls");
        verdict.failed_rows = if self.rule.marks_rows() { self.nulls } else { 0 };
        Ok(verdict)
    }
}
