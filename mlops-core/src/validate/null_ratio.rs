//! How much of a column may be missing.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::buffer::BooleanBuffer;
use serde::{Deserialize, Serialize};

use super::Scope;
use super::kernel::{Column, Kernel, KernelRun, Verdict, quoted, ratio};
use crate::{Error, Result, Schema};

/// At most a share of the rows has a null in `column`.
///
/// * Nulls are what Arrow calls so, also where a dictionary key points to a null; NaN is not a null, nor is empty text.
/// * The share is `nulls / rows`; an empty table passes.
/// * With a share of 0, the default, rows are marked one by one; above it the table is judged and no row is marked.
/// * `observed` is the share of nulls.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NullRatio {
    column: String,
    #[serde(default)]
    max: f64,
}

impl NullRatio {
    /// No nulls in `column`.
    pub fn of(column: impl Into<String>) -> Self {
        Self { column: column.into(), max: 0.0 }
    }

    /// Greatest share of nulls that still passes, within 0..=1. Default 0.
    pub fn max(mut self, max: f64) -> Self {
        self.max = max;
        self
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        if !(0.0..=1.0).contains(&self.max) {
            return Err(Error::invalid("max", self.max, "a share within 0..=1"));
        }
        Ok(Arc::new(self.clone()))
    }
}

impl Kernel for NullRatio {
    fn demand(&self) -> String {
        if self.max == 0.0 {
            return format!("{} has no nulls", quoted(&self.column));
        }
        format!("at most {} of {} is null", self.max, quoted(&self.column))
    }

    fn scope(&self) -> Scope {
        if self.max == 0.0 { Scope::Row } else { Scope::Table }
    }

    fn columns(&self) -> Vec<&str> {
        vec![&self.column]
    }

    fn begin(&self, schema: &Schema) -> Result<Box<dyn KernelRun>> {
        let column = Column::find(schema, &self.column)?;
        Ok(Box::new(Run { column, max: self.max, rows: 0, nulls: 0 }))
    }
}

struct Run {
    column: Column,
    max: f64,
    rows: u64,
    nulls: u64,
}

impl KernelRun for Run {
    fn update(&mut self, batch: &RecordBatch) -> Result<Option<BooleanBuffer>> {
        let array = self.column.of(batch)?;
        let nulls = array.logical_nulls();
        self.rows += array.len() as u64;
        self.nulls += nulls.as_ref().map_or(0, |nulls| nulls.null_count() as u64);
        let marks = || match &nulls {
            Some(nulls) => !nulls.inner(),
            None => BooleanBuffer::new_unset(array.len()),
        };
        Ok((self.max == 0.0).then(marks))
    }

    fn finish(self: Box<Self>) -> Result<Verdict> {
        let share = ratio(self.nulls, self.rows);
        let passed = share.is_none_or(|share| share <= self.max);
        let failures = || format!("nulls in {} of {} rows", self.nulls, self.rows);
        let detail = if passed { String::new() } else { failures() };
        let failed_rows = if self.max == 0.0 { self.nulls } else { 0 };
        Ok(Verdict { passed, failed_rows, observed: share, detail, ..Verdict::default() })
    }
}
