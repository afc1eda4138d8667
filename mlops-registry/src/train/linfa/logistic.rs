//! Logistic regression.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use linfa::prelude::Fit;
use linfa_logistic::LogisticRegression;
use serde::{Deserialize, Serialize};

use super::matrix::{Rows, Scale};
use crate::flavor::LinearModel;
use crate::forest::Link;
use crate::train::{Round, TrainData, Trained, Trainer};
use crate::{Error, Result};

/// Binary logistic regression with an L2 penalty on standardised features; gives the probability of label 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "LogisticBuilder", into = "LogisticBuilder")]
pub struct LogisticTrainer {
    settings: LogisticBuilder,
}

/// Settings of a [`LogisticTrainer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogisticBuilder {
    penalty: f64,
    iterations_max: u64,
}

impl Default for LogisticBuilder {
    fn default() -> Self {
        Self { penalty: 1.0, iterations_max: 200 }
    }
}

impl LogisticBuilder {
    /// Weight of `½‖w‖²` in the loss, with `w` in units of standard deviations. Default 1.
    pub fn penalty(mut self, penalty: f64) -> Self {
        self.penalty = penalty;
        self
    }

    /// Most iterations of L-BFGS. Default 200.
    pub fn iterations_max(mut self, iterations: u64) -> Self {
        self.iterations_max = iterations;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Invalid`](mlops_core::Error::Invalid) when the penalty is negative or not finite, or there are no iterations.
    pub fn build(self) -> Result<LogisticTrainer> {
        if !(self.penalty >= 0.0 && self.penalty.is_finite()) {
            return Err(Error::invalid("penalty", self.penalty, "finite and not negative"));
        }
        if self.iterations_max == 0 {
            return Err(Error::invalid("iterations_max", 0, "at least 1"));
        }
        Ok(LogisticTrainer { settings: self })
    }
}

impl TryFrom<LogisticBuilder> for LogisticTrainer {
    type Error = Error;

    fn try_from(settings: LogisticBuilder) -> Result<Self> {
        settings.build()
    }
}

impl From<LogisticTrainer> for LogisticBuilder {
    fn from(trainer: LogisticTrainer) -> Self {
        trainer.settings
    }
}

impl LogisticTrainer {
    /// Starts from the defaults.
    pub fn builder() -> LogisticBuilder {
        LogisticBuilder::default()
    }
}

impl Trainer for LogisticTrainer {
    fn algorithm(&self) -> &'static str {
        "logistic"
    }

    fn settings(&self) -> Result<serde_json::Value> {
        serde_json::to_value(self).map_err(|e| Error::invalid_data("logistic settings", e))
    }

    fn train(&self, data: &TrainData, _: &mut dyn FnMut(Round) -> ControlFlow<()>) -> Result<Trained> {
        let mut rows = Rows::read(data)?.without_weights("logistic regression")?;
        let classes = rows.classes(data.label())?;
        let scale = Scale::standardise(&mut rows.x);
        let dataset = linfa::Dataset::new(rows.x, classes);
        let settings =
            LogisticRegression::default().alpha(self.settings.penalty).max_iterations(self.settings.iterations_max);
        let fitted = settings.fit(&dataset).map_err(|e| Error::external("linfa", e))?;
        // linfa calls the more frequent class positive, whatever its label: turn the model so that it speaks of label 1.
        let sign = if fitted.labels().pos.class { 1.0 } else { -1.0 };
        let (coefficients, intercept) = scale.unscale(&(fitted.params() * sign), fitted.intercept() * sign);
        let scaled = fitted.params().iter().map(|c| c.abs());
        let importance = super::super::by_weight(data.features().iter().cloned().zip(scaled));
        let model =
            LinearModel::new(data.signature("probability")?, coefficients, intercept, Link::Logistic { slope: 1.0 })?;
        Ok(Trained { model: Box::new(model), metrics: BTreeMap::new(), importance })
    }
}
