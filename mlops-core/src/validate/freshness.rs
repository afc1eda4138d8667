//! How old the newest row may be.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::Array;
use arrow::buffer::BooleanBuffer;
use arrow::compute::max;
use serde::{Deserialize, Serialize};

use super::Scope;
use super::given::{Given, Shared};
use super::kernel::{Column, Kernel, KernelRun, Verdict, measures, quoted};
use crate::expr::micros;
use crate::stats::values::is_time;
use crate::time::EventTime;
use crate::{Error, Result, Schema};

/// Greatest age: more is a number in another unit.
const AGE_SECONDS_MAX: u64 = 10_000_000_000;

/// The newest time in `column` is not older than an age, seen from the time that [`Suite::at`](super::Suite::at) gives.
///
/// Nulls do not count; a table without a time fails. `observed` is the age of the newest row in seconds, negative where it
/// lies ahead of now; `ahead_seconds` bounds that too where it is set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freshness {
    column: String,
    age_seconds: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ahead_seconds: Option<u64>,
}

impl Freshness {
    /// The newest time in `column` is at most `age` old; parts of seconds do not count.
    pub fn of(column: impl Into<String>, age: Duration) -> Self {
        Self { column: column.into(), age_seconds: age.as_secs(), ahead_seconds: None }
    }

    /// No time lies further ahead of now than this. Default: not looked at.
    pub fn ahead(mut self, ahead: Duration) -> Self {
        self.ahead_seconds = Some(ahead.as_secs());
        self
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        if self.age_seconds > AGE_SECONDS_MAX {
            return Err(Error::invalid("age_seconds", self.age_seconds, "at most 10000000000, about 300 years"));
        }
        Ok(Arc::new(self.clone()))
    }

    pub(super) fn age_seconds(&self) -> u64 {
        self.age_seconds
    }
}

impl Kernel for Freshness {
    fn demand(&self) -> String {
        let ahead = self.ahead_seconds.map_or(String::new(), |ahead| format!(" and at most {ahead} s ahead"));
        format!("the newest {} is at most {} s old{ahead}", quoted(&self.column), self.age_seconds)
    }

    fn scope(&self) -> Scope {
        Scope::Table
    }

    fn columns(&self) -> Vec<&str> {
        vec![&self.column]
    }

    fn begin(&self, schema: &Schema, given: &Given) -> Result<Box<dyn KernelRun>> {
        let column = Column::find(schema, &self.column)?;
        if !is_time(column.value_type()) {
            return Err(column.unfit("a timestamp or a date"));
        }
        Ok(Box::new(Run { rule: self.clone(), column, now: given.now()?, newest: None, times: 0 }))
    }
}

struct Run {
    rule: Freshness,
    column: Column,
    now: EventTime,
    newest: Option<i64>,
    times: u64,
}

impl KernelRun for Run {
    fn update(&mut self, batch: &Shared<'_>) -> Result<Option<BooleanBuffer>> {
        let times = micros(&self.column.plain(batch)?)?;
        self.newest = self.newest.max(max(&times));
        self.times += (times.len() - times.null_count()) as u64;
        Ok(None)
    }

    fn finish(self: Box<Self>) -> Result<Verdict> {
        let Some(newest) = self.newest else {
            return Ok(Verdict { detail: "there is no time".to_owned(), ..Verdict::default() });
        };
        let age_us = i128::from(self.now.as_micros()) - i128::from(newest);
        let seconds = |seconds: u64| i128::from(seconds) * 1_000_000;
        let old = age_us > seconds(self.rule.age_seconds);
        let ahead = self.rule.ahead_seconds.is_some_and(|ahead| -age_us > seconds(ahead));
        let age = age_us as f64 / 1e6;
        let detail = match (old, ahead) {
            (true, _) => format!("the newest is {age:.0} s old"),
            (_, true) => format!("the newest lies {:.0} s ahead", -age),
            _ => String::new(),
        };
        let times = measures([("times", self.times as f64)]);
        Ok(Verdict { passed: !old && !ahead, observed: Some(age), measures: times, detail, ..Verdict::default() })
    }
}
