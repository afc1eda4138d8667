//! Text of a stated form.

use std::sync::Arc;

use ::regex::Regex;
use arrow::array::Array;
use arrow::buffer::BooleanBuffer;
use serde::{Deserialize, Serialize};

use super::Scope;
use super::given::Given;
use super::kernel::{Column, Kernel, KernelRun, ValueRun, ValueTest, failing_text, quoted, shorten};
use crate::expr::whole;
use crate::source::is_text;
use crate::{Error, Result, Schema};

/// Longest regular expression in bytes.
pub const PATTERN_BYTES_MAX: usize = crate::expr::PATTERN_BYTES_MAX;

/// Every text of `column` matches a regular expression **from end to end**; write `.*x.*` for "contains x".
///
/// * Syntax is that of the `regex` crate: Unicode, linear time, no look-around and no back-references. `.` does not match
///   a line break.
/// * Nulls pass; empty text is matched like any other. Text of any layout, dictionaries judged once per value.
/// * `observed` is the share of rows that do not match.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pattern {
    column: String,
    pattern: String,
}

impl Pattern {
    /// Text of `column` matches `pattern` from end to end.
    pub fn of(column: impl Into<String>, pattern: impl Into<String>) -> Self {
        Self { column: column.into(), pattern: pattern.into() }
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        Ok(Arc::new(Compiled { rule: self.clone(), regex: Arc::new(whole(&self.pattern)?) }))
    }
}

#[derive(Debug)]
struct Compiled {
    rule: Pattern,
    /// Shared by all runs: a clone of the expression would start with an empty cache.
    regex: Arc<Regex>,
}

impl Kernel for Compiled {
    fn demand(&self) -> String {
        format!("{} matches {} from end to end", quoted(&self.rule.column), shorten(&self.rule.pattern, 80))
    }

    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn columns(&self) -> Vec<&str> {
        vec![&self.rule.column]
    }

    fn begin(&self, schema: &Schema, _given: &Given) -> Result<Box<dyn KernelRun>> {
        let column = Column::find(schema, &self.rule.column)?;
        if !is_text(column.value_type()) {
            return Err(column.unfit("text"));
        }
        Ok(Box::new(ValueRun::new(column, Matches(self.regex.clone()))))
    }
}

struct Matches(Arc<Regex>);

impl ValueTest for Matches {
    fn failing(&self, values: &dyn Array) -> Result<BooleanBuffer> {
        failing_text(values, |text| self.0.is_match(text)).ok_or_else(|| Error::schema("*", "text", values.data_type()))
    }
}
