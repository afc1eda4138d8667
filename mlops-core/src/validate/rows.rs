//! How long a table may be.

use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use serde::{Deserialize, Serialize};

use super::Scope;
use super::given::{Given, Shared};
use super::kernel::{Kernel, KernelRun, Verdict};
use crate::{Error, Result, Schema};

/// The table has at least `min` and at most `max` rows, both inclusive. Nulls do not matter; `observed` is the count.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowCount {
    #[serde(default)]
    min: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<u64>,
}

impl RowCount {
    /// At least `min` rows.
    pub fn at_least(min: u64) -> Self {
        Self { min, max: None }
    }

    /// At least `min` and at most `max` rows.
    pub fn between(min: u64, max: u64) -> Self {
        Self { min, max: Some(max) }
    }

    pub(super) fn bounds(&self) -> (Option<f64>, Option<f64>) {
        (Some(self.min as f64), self.max.map(|max| max as f64))
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        match self.max {
            Some(max) if max < self.min => Err(Error::invalid("max", max, "at least min")),
            _ => Ok(Arc::new(self.clone())),
        }
    }
}

impl Kernel for RowCount {
    fn demand(&self) -> String {
        match self.max {
            Some(max) => format!("row count between {} and {max}", self.min),
            None => format!("row count of at least {}", self.min),
        }
    }

    fn scope(&self) -> Scope {
        Scope::Table
    }

    fn columns(&self) -> Vec<&str> {
        Vec::new()
    }

    fn begin(&self, _schema: &Schema, _given: &Given) -> Result<Box<dyn KernelRun>> {
        Ok(Box::new(Run { rule: self.clone(), rows: 0 }))
    }
}

struct Run {
    rule: RowCount,
    rows: u64,
}

impl KernelRun for Run {
    fn update(&mut self, batch: &Shared<'_>) -> Result<Option<BooleanBuffer>> {
        self.rows += batch.num_rows() as u64;
        Ok(None)
    }

    fn finish(self: Box<Self>) -> Result<Verdict> {
        let passed = self.rows >= self.rule.min && self.rule.max.is_none_or(|max| self.rows <= max);
        let detail = if passed { String::new() } else { format!("row count is {}", self.rows) };
        Ok(Verdict { passed, observed: Some(self.rows as f64), detail, ..Verdict::default() })
    }
}
