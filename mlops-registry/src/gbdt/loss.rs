//! Losses that need one row at a time: their start, their gradients, and the metric that watches them.

use serde::{Deserialize, Serialize};

use super::grow::Gradient;
use super::lambdarank::{LambdaRank, Ndcg};
use super::matrix::{TrainingMatrix, refuse};
use super::params::{GbdtParamsBuilder, Objective};
use crate::Result;

/// The figure that watches a training run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// Root of the weighted mean squared error, in units of the label; lower is better.
    Rmse,
    /// Weighted mean of `-ln p(label)`, in nats; lower is better.
    LogLoss,
    /// Mean NDCG of the queries at the rank that was set, in `0..=1`; higher is better.
    ///
    /// Gain `2^l - 1`, discount `1 / log2(rank + 1)`; rows of equal score keep their order; a query without a relevant row
    /// counts as 1, as in LightGBM.
    Ndcg,
}

impl Metric {
    /// Its name in logs, such as `log_loss`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rmse => "rmse",
            Self::LogLoss => "log_loss",
            Self::Ndcg => "ndcg",
        }
    }

    /// Whether `a` is strictly better than `b`.
    pub fn is_better(self, a: f64, b: f64) -> bool {
        if self == Self::Ndcg { a > b } else { a < b }
    }
}

/// A loss over one matrix.
pub(super) enum Loss {
    Squared,
    Logistic { slope: f64 },
    Lambda(LambdaRank),
}

impl Loss {
    /// The loss that was asked for, when the labels of `matrix` suit it.
    pub(super) fn new(matrix: &TrainingMatrix, settings: &GbdtParamsBuilder) -> Result<Self> {
        check_labels(matrix, settings)?;
        Ok(match settings.objective {
            Objective::Regression => Self::Squared,
            Objective::Binary => Self::Logistic { slope: settings.sigmoid },
            Objective::LambdaRank => Self::Lambda(LambdaRank::new(matrix, settings)),
        })
    }

    /// The constant score that fits best; 0 for ranking, where no constant matters.
    pub(super) fn start(&self, matrix: &TrainingMatrix) -> f64 {
        let mean = || {
            let (mut sum, mut weights) = (0.0, 0.0);
            each(matrix, |label, weight, _| {
                sum += weight * label;
                weights += weight;
            });
            sum / weights
        };
        match self {
            Self::Squared => mean(),
            Self::Logistic { slope } => {
                let share = mean().clamp(1e-15, 1.0 - 1e-15);
                (share / (1.0 - share)).ln() / slope
            }
            Self::Lambda(_) => 0.0,
        }
    }

    /// Derivatives of the loss by the score of each row.
    ///
    /// * squared: `g = w (s - y)`, `h = w`
    /// * logistic with `p = 1 / (1 + exp(-σ s))`: `g = w σ (p - y)`, `h = w σ² p (1 - p)`
    /// * ranking: see [`LambdaRank::gradients`]
    pub(super) fn gradients(&mut self, matrix: &TrainingMatrix, scores: &[f64], out: &mut [Gradient]) {
        match self {
            Self::Squared => each(matrix, |label, weight, row| out[row] = [weight * (scores[row] - label), weight]),
            Self::Logistic { slope } => each(matrix, |label, weight, row| {
                let p = 1.0 / (1.0 + (-*slope * scores[row]).exp());
                out[row] = [weight * *slope * (p - label), weight * *slope * *slope * p * (1.0 - p)];
            }),
            Self::Lambda(lambda) => lambda.gradients(matrix, scores, out),
        }
    }
}

/// Judges scores on one matrix.
pub(super) enum Judge {
    Rmse,
    LogLoss { slope: f64 },
    Ndcg(Ndcg),
}

impl Judge {
    pub(super) fn new(matrix: &TrainingMatrix, settings: &GbdtParamsBuilder) -> Result<Self> {
        check_labels(matrix, settings)?;
        Ok(match settings.objective {
            Objective::Regression => Self::Rmse,
            Objective::Binary => Self::LogLoss { slope: settings.sigmoid },
            Objective::LambdaRank => Self::Ndcg(Ndcg::new(matrix, settings.ndcg_at as usize)),
        })
    }

    pub(super) fn metric(&mut self, matrix: &TrainingMatrix, scores: &[f64]) -> f64 {
        let (mut sum, mut weights) = (0.0, 0.0);
        match self {
            Self::Rmse => {
                each(matrix, |label, weight, row| {
                    sum += weight * (scores[row] - label).powi(2);
                    weights += weight;
                });
                (sum / weights).sqrt()
            }
            Self::LogLoss { slope } => {
                each(matrix, |label, weight, row| {
                    // -ln p(label) = ln(1 + exp(-margin)), written so that no exponential overflows.
                    let margin = *slope * scores[row] * (2.0 * label - 1.0);
                    sum += weight * ((-margin.abs()).exp().ln_1p() - margin.min(0.0));
                    weights += weight;
                });
                sum / weights
            }
            Self::Ndcg(ndcg) => ndcg.mean(matrix, scores),
        }
    }
}

pub(super) fn metric_of(objective: Objective) -> Metric {
    match objective {
        Objective::Regression => Metric::Rmse,
        Objective::Binary => Metric::LogLoss,
        Objective::LambdaRank => Metric::Ndcg,
    }
}

/// Calls `use_row(label, weight, row)` for every row.
fn each(matrix: &TrainingMatrix, mut use_row: impl FnMut(f64, f64, usize)) {
    match matrix.weights() {
        Some(weights) => {
            for (row, (&label, &weight)) in matrix.labels().iter().zip(weights).enumerate() {
                use_row(label, weight, row);
            }
        }
        None => matrix.labels().iter().enumerate().for_each(|(row, &label)| use_row(label, 1.0, row)),
    }
}

fn check_labels(matrix: &TrainingMatrix, settings: &GbdtParamsBuilder) -> Result<()> {
    let find = |fits: &dyn Fn(f64) -> bool| matrix.labels().iter().position(|&label| !fits(label));
    let (row, domain) = match settings.objective {
        Objective::Regression => (None, String::new()),
        Objective::Binary => (find(&|label| label == 0.0 || label == 1.0), "0 or 1".to_owned()),
        Objective::LambdaRank => {
            if matrix.groups().is_none() {
                return Err(refuse("ranking needs the sizes of the queries".to_owned()));
            }
            let greatest = f64::from(settings.grade_max);
            let fits = |label: f64| label.fract() == 0.0 && (0.0..=greatest).contains(&label);
            (find(&fits), format!("a whole grade from 0 to {greatest}"))
        }
    };
    match row {
        None => Ok(()),
        Some(row) => Err(refuse(format!("label {} of row {row} is not {domain}", matrix.labels()[row]))),
    }
}
