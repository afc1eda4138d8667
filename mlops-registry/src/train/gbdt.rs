//! Gradient boosting as a [`Trainer`].

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::data::Matrix;
use super::{Round, TrainData, Trained, Trainer};
use crate::flavor::ForestModel;
use crate::gbdt::{GbdtParams, Objective, TrainingMatrix, train};
use crate::{Error, Result};

/// Histogram gradient boosting: binary, regression, or ranking by groups of rows. Missing values are learned from.
///
/// # Examples
/// ```
/// use std::ops::ControlFlow;
/// use std::sync::Arc;
///
/// use mlops_core::Dataset;
/// use mlops_core::arrow::array::{Float64Array, RecordBatch};
/// use mlops_registry::gbdt::{GbdtParams, Objective};
/// use mlops_registry::train::{GbdtTrainer, TrainData, Trainer};
///
/// let column = |values: Vec<f64>| Arc::new(Float64Array::from(values)) as _;
/// let tenure: Vec<f64> = (0..200).map(f64::from).collect();
/// let churned = tenure.iter().map(|days| f64::from(*days < 90.0)).collect();
/// let rows = RecordBatch::try_from_iter([("tenure", column(tenure)), ("churned", column(churned))])?;
/// let data = TrainData::builder(Dataset::from_batches([rows])?).features(["tenure"]).label("churned").build()?;
///
/// let trainer = GbdtTrainer::new(GbdtParams::builder(Objective::Binary).rounds(20).build()?);
/// let trained = trainer.train(&data, &mut |_| ControlFlow::Continue(()))?;
/// assert_eq!(trained.importance[0].0, "tenure");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct GbdtTrainer {
    params: GbdtParams,
}

impl GbdtTrainer {
    /// A trainer with these settings.
    pub fn new(params: GbdtParams) -> Self {
        Self { params }
    }
}

fn matrix(names: &[String], from: Matrix) -> Result<TrainingMatrix> {
    let mut matrix = TrainingMatrix::new(names.to_vec(), from.features, from.labels)?;
    if let Some(weights) = from.weights {
        matrix = matrix.with_weights(weights)?;
    }
    if let Some(groups) = from.groups {
        matrix = matrix.with_groups(groups)?;
    }
    Ok(matrix)
}

impl Trainer for GbdtTrainer {
    fn algorithm(&self) -> &'static str {
        "gbdt"
    }

    fn settings(&self) -> Result<serde_json::Value> {
        serde_json::to_value(&self.params).map_err(|e| Error::invalid_data("gbdt settings", e))
    }

    fn train(&self, data: &TrainData, on_round: &mut dyn FnMut(Round) -> ControlFlow<()>) -> Result<Trained> {
        let output = if self.params.objective() == Objective::Binary { "probability" } else { "score" };
        let signature = data.signature(output)?;
        let rows = matrix(data.features(), data.train_matrix()?)?;
        let valid = data.valid_matrix()?.map(|valid| matrix(data.features(), valid)).transpose()?;
        let rounds_max = self.params.rounds();
        let trained = train(&self.params, &rows, valid.as_ref(), &mut |r| {
            on_round(Round { round: r.round, rounds_max, train_metric: r.train_metric, valid_metric: r.valid_metric })
        })?;
        let mut metrics = BTreeMap::from([("best_round".to_owned(), f64::from(trained.report.best_round))]);
        let best = trained.report.rounds.iter().find(|r| r.round == trained.report.best_round);
        if let Some(value) = best.and_then(|r| r.valid_metric) {
            metrics.insert(format!("valid_{}", trained.report.metric.name()), value);
        }
        let importance = super::by_weight(trained.forest.importance().into_iter().map(|i| (i.feature, i.gain)));
        Ok(Trained { model: Box::new(ForestModel::new(trained.forest, signature)?), metrics, importance })
    }
}
