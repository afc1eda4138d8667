//! Statistics of a column between bounds.

use std::fmt;
use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use serde::{Deserialize, Serialize};

use super::Scope;
use super::given::{Given, Shared};
use super::kernel::{Column, Kernel, KernelRun, Verdict, measures, quoted};
use crate::stats::values::is_number;
use crate::stats::{Moments, Quantiles};
use crate::{Error, Result, Schema};

/// Size of the sketch that quantiles come from: a rank error of 0.27 %.
const SKETCH_SIZE: u16 = 1024;

/// What is measured of a column.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Measure {
    /// The mean.
    Mean,
    /// The standard deviation, with the divisor `n − 1`.
    StandardDeviation,
    /// The value below which this share lies, within 0..=1; by a sketch with a rank error of 0.27 %,
    /// exact up to a thousand values; infinities do not count.
    Quantile(f64),
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mean => f.write_str("mean"),
            Self::StandardDeviation => f.write_str("standard deviation"),
            Self::Quantile(share) => write!(f, "quantile {share}"),
        }
    }
}

/// A statistic of the numbers in `column` lies between bounds, both inclusive.
///
/// Nulls and NaN do not count; a table without a number passes. `observed` is the statistic, and the measure `numbers` says
/// over how many it was taken.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistic {
    column: String,
    measure: Measure,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
}

impl Statistic {
    /// `measure` of `column`, without bounds as yet; at least one is needed.
    pub fn of(column: impl Into<String>, measure: Measure) -> Self {
        Self { column: column.into(), measure, min: None, max: None }
    }

    /// It is not less than `min`.
    pub fn at_least(mut self, min: f64) -> Self {
        self.min = Some(min);
        self
    }

    /// It is not greater than `max`.
    pub fn at_most(mut self, max: f64) -> Self {
        self.max = Some(max);
        self
    }

    pub(super) fn bounds(&self) -> (Option<f64>, Option<f64>) {
        (self.min, self.max)
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        check_bounds(self.min, self.max)?;
        match self.measure {
            Measure::Quantile(share) if !(0.0..=1.0).contains(&share) => {
                Err(Error::invalid("quantile", share, "a share within 0..=1"))
            }
            _ => Ok(Arc::new(self.clone())),
        }
    }
}

/// At least one bound, both finite, the lower one not above the upper one.
pub(super) fn check_bounds(min: Option<f64>, max: Option<f64>) -> Result<()> {
    let domain = "a lower bound, an upper bound or both, finite and in order";
    let finite = min.into_iter().chain(max).all(f64::is_finite);
    let some = min.is_some() || max.is_some();
    let in_order = min.zip(max).is_none_or(|(min, max)| min <= max);
    if finite && some && in_order { Ok(()) } else { Err(Error::invalid("bounds", between(min, max), domain)) }
}

/// Bounds in words.
pub(super) fn between(min: Option<f64>, max: Option<f64>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!("between {min} and {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => "without bounds".to_owned(),
    }
}

impl Kernel for Statistic {
    fn demand(&self) -> String {
        format!("{} of {} is {}", self.measure, quoted(&self.column), between(self.min, self.max))
    }

    fn scope(&self) -> Scope {
        Scope::Table
    }

    fn columns(&self) -> Vec<&str> {
        vec![&self.column]
    }

    fn begin(&self, schema: &Schema, _given: &Given) -> Result<Box<dyn KernelRun>> {
        let column = Column::find(schema, &self.column)?;
        if !is_number(column.value_type()) {
            return Err(column.unfit("a number"));
        }
        let state = match self.measure {
            Measure::Quantile(share) => State::Quantiles(Box::new(Quantiles::new(SKETCH_SIZE)?), share),
            Measure::Mean => State::Moments(Box::default(), false),
            Measure::StandardDeviation => State::Moments(Box::default(), true),
        };
        Ok(Box::new(Run { rule: self.clone(), column, state }))
    }
}

enum State {
    /// With whether it is the deviation.
    Moments(Box<Moments>, bool),
    Quantiles(Box<Quantiles>, f64),
}

struct Run {
    rule: Statistic,
    column: Column,
    state: State,
}

impl KernelRun for Run {
    fn update(&mut self, batch: &Shared<'_>) -> Result<Option<BooleanBuffer>> {
        let values = self.column.plain(batch)?;
        match &mut self.state {
            State::Moments(moments, _) => moments.update_array(&values)?,
            State::Quantiles(quantiles, _) => quantiles.update_array(&values)?,
        }
        Ok(None)
    }

    fn finish(self: Box<Self>) -> Result<Verdict> {
        let (value, count) = match &self.state {
            State::Moments(moments, false) => (moments.mean(), moments.count()),
            State::Moments(moments, true) => (moments.standard_deviation(1), moments.count()),
            State::Quantiles(quantiles, share) => (quantiles.quantile(*share)?, quantiles.count()),
        };
        let fits =
            |value: f64| self.rule.min.is_none_or(|min| value >= min) && self.rule.max.is_none_or(|max| value <= max);
        let passed = value.is_none_or(fits);
        let told = || format!("{} is {}", self.rule.measure, value.unwrap_or(f64::NAN));
        let detail = if passed { String::new() } else { told() };
        let numbers = measures([("numbers", count as f64)]);
        Ok(Verdict { passed, observed: value, measures: numbers, detail, ..Verdict::default() })
    }
}
