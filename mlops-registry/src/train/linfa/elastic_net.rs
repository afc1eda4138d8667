//! Linear regression with an elastic-net penalty.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use linfa::prelude::Fit;
use linfa_elasticnet::ElasticNet;
use serde::{Deserialize, Serialize};

use super::matrix::{Rows, Scale};
use crate::flavor::LinearModel;
use crate::forest::Link;
use crate::train::{Round, TrainData, Trained, Trainer};
use crate::{Error, Result};

/// Least squares with a mixed L1 and L2 penalty on standardised features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ElasticNetBuilder", into = "ElasticNetBuilder")]
pub struct ElasticNetTrainer {
    settings: ElasticNetBuilder,
}

/// Settings of an [`ElasticNetTrainer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ElasticNetBuilder {
    penalty: f64,
    l1_ratio: f64,
    iterations_max: u32,
    tolerance: f64,
}

impl Default for ElasticNetBuilder {
    fn default() -> Self {
        Self { penalty: 0.1, l1_ratio: 0.5, iterations_max: 1_000, tolerance: 1e-6 }
    }
}

impl ElasticNetBuilder {
    /// Weight of the penalty beside the mean squared error, with coefficients in units of standard deviations. Default 0.1.
    pub fn penalty(mut self, penalty: f64) -> Self {
        self.penalty = penalty;
        self
    }

    /// Share of L1 in the penalty: 1 is the lasso, 0 is ridge. Default 0.5.
    pub fn l1_ratio(mut self, l1_ratio: f64) -> Self {
        self.l1_ratio = l1_ratio;
        self
    }

    /// Most rounds of coordinate descent. Default 1000.
    pub fn iterations_max(mut self, iterations: u32) -> Self {
        self.iterations_max = iterations;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Invalid`](mlops_core::Error::Invalid) when the penalty is negative or not finite, the ratio is outside 0 to 1, or
    /// there are no iterations.
    pub fn build(self) -> Result<ElasticNetTrainer> {
        if !(self.penalty >= 0.0 && self.penalty.is_finite()) {
            return Err(Error::invalid("penalty", self.penalty, "finite and not negative"));
        }
        if !(0.0..=1.0).contains(&self.l1_ratio) {
            return Err(Error::invalid("l1_ratio", self.l1_ratio, "between 0 and 1"));
        }
        if self.iterations_max == 0 || !(self.tolerance > 0.0 && self.tolerance.is_finite()) {
            return Err(Error::invalid("iterations_max", self.iterations_max, "at least 1, with a tolerance above 0"));
        }
        Ok(ElasticNetTrainer { settings: self })
    }
}

impl TryFrom<ElasticNetBuilder> for ElasticNetTrainer {
    type Error = Error;

    fn try_from(settings: ElasticNetBuilder) -> Result<Self> {
        settings.build()
    }
}

impl From<ElasticNetTrainer> for ElasticNetBuilder {
    fn from(trainer: ElasticNetTrainer) -> Self {
        trainer.settings
    }
}

impl ElasticNetTrainer {
    /// Starts from the defaults.
    pub fn builder() -> ElasticNetBuilder {
        ElasticNetBuilder::default()
    }
}

impl Trainer for ElasticNetTrainer {
    fn algorithm(&self) -> &'static str {
        "elastic_net"
    }

    fn settings(&self) -> Result<serde_json::Value> {
        serde_json::to_value(self).map_err(|e| Error::invalid_data("elastic net settings", e))
    }

    fn train(&self, data: &TrainData, _: &mut dyn FnMut(Round) -> ControlFlow<()>) -> Result<Trained> {
        let mut rows = Rows::read(data)?.without_weights("the elastic net")?;
        if let Some(row) = rows.y.iter().position(|y| !y.is_finite()) {
            return Err(Error::invalid_data(format!("label `{}` of row {row}", data.label()), "it is not finite"));
        }
        let scale = Scale::standardise(&mut rows.x);
        let dataset = linfa::Dataset::new(rows.x, rows.y);
        let settings = ElasticNet::params()
            .penalty(self.settings.penalty)
            .l1_ratio(self.settings.l1_ratio)
            .tolerance(self.settings.tolerance)
            .max_iterations(self.settings.iterations_max);
        let fitted = settings.fit(&dataset).map_err(|e| Error::external("linfa", e))?;
        let scaled = fitted.hyperplane().iter().map(|c| c.abs());
        let importance = super::super::by_weight(data.features().iter().cloned().zip(scaled));
        let (coefficients, intercept) = scale.unscale(fitted.hyperplane(), fitted.intercept());
        let model = LinearModel::new(data.signature("score")?, coefficients, intercept, Link::Identity)?;
        let metrics = BTreeMap::from([("iterations".to_owned(), f64::from(fitted.n_steps()))]);
        Ok(Trained { model: Box::new(model), metrics, importance })
    }
}
