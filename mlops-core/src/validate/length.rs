//! How long texts may be.

use std::sync::Arc;

use arrow::array::Array;
use arrow::buffer::BooleanBuffer;
use serde::{Deserialize, Serialize};

use super::Scope;
use super::given::{Given, Shared};
use super::kernel::{Column, Kernel, KernelRun, Tally, Verdict, quoted};
use crate::source::is_text;
use crate::{Error, Result, Schema};

/// Every text of `column` has at least `min` and at most `max` characters (Unicode scalar values), both inclusive.
///
/// Nulls pass; text of any layout. `observed` is the share of rows that do not fit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextLength {
    column: String,
    #[serde(default)]
    min: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<u32>,
}

impl TextLength {
    /// Texts of `column` have at least `min` characters.
    pub fn at_least(column: impl Into<String>, min: u32) -> Self {
        Self { column: column.into(), min, max: None }
    }

    /// Texts of `column` have between `min` and `max` characters.
    pub fn between(column: impl Into<String>, min: u32, max: u32) -> Self {
        Self { column: column.into(), min, max: Some(max) }
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        match self.max {
            Some(max) if max < self.min => Err(Error::invalid("max", max, "at least min")),
            _ => Ok(Arc::new(self.clone())),
        }
    }

    pub(super) fn bounds(&self) -> (Option<f64>, Option<f64>) {
        (Some(self.min.into()), self.max.map(Into::into))
    }
}

impl Kernel for TextLength {
    fn demand(&self) -> String {
        let column = quoted(&self.column);
        match self.max {
            Some(max) if max == self.min => format!("{column} has {max} characters"),
            Some(max) => format!("{column} has {} to {max} characters", self.min),
            None => format!("{column} has at least {} characters", self.min),
        }
    }

    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn columns(&self) -> Vec<&str> {
        vec![&self.column]
    }

    fn begin(&self, schema: &Schema, _given: &Given) -> Result<Box<dyn KernelRun>> {
        let column = Column::find(schema, &self.column)?;
        if !is_text(column.value_type()) {
            return Err(column.unfit("text"));
        }
        Ok(Box::new(Run { column, min: self.min, max: self.max.unwrap_or(u32::MAX), tally: Tally::default() }))
    }
}

struct Run {
    column: Column,
    min: u32,
    max: u32,
    tally: Tally,
}

impl KernelRun for Run {
    fn update(&mut self, batch: &Shared<'_>) -> Result<Option<BooleanBuffer>> {
        let lengths = batch.lengths(&self.column)?;
        let fits = self.min..=self.max;
        let failing = BooleanBuffer::collect_bool(lengths.len(), |row| !fits.contains(&lengths[row]));
        Ok(Some(self.tally.take(failing, self.column.of(batch)?.logical_nulls())))
    }

    fn finish(self: Box<Self>) -> Result<Verdict> {
        Ok(self.tally.verdict())
    }
}
