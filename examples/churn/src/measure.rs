//! How good a model is, and how fair.

use std::collections::BTreeMap;

use mlops_core::arrow::array::{AsArray, RecordBatch};
use mlops_core::arrow::compute::cast;
use mlops_core::arrow::datatypes::DataType;
use mlops_core::interop::floats;
use mlops_core::metrics::{GroupRates, accuracy, auc, brier, ece, log_loss};
use mlops_core::model::Model;
use mlops_core::{Dataset, Error, Result};

/// Fewest rows, or churners, of a group for which a rate is given.
const GROUP_ROWS_MIN: u64 = 20;

/// What was measured of one model on the customers that judge.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// Probability of leaving, one per customer.
    pub(crate) scores: Vec<f64>,
    /// By name, as they are logged and as the gate sees them.
    pub(crate) metrics: BTreeMap<String, f64>,
}

/// The output of `model` for `rows`.
pub(crate) fn scores(model: &dyn Model, rows: &RecordBatch) -> Result<Vec<f64>> {
    Ok(floats("probability", &model.predict(rows)?)?.to_vec())
}

/// Measures `model` on `judge`. Who scores at least `threshold` is taken to be leaving.
///
/// Of each audited column there are two differences between its groups: of the share that is taken to be leaving
/// (`…_selection_gap`) and of the share of true churners that is caught (`…_recall_gap`).
pub(crate) fn measure(model: &dyn Model, judge: &Dataset, threshold: f64) -> Result<Measured> {
    let (rows, labels) = (judge.to_batch()?, crate::labels(judge)?);
    let scores = scores(model, &rows)?;
    let taken: Vec<f64> = scores.iter().map(|score| f64::from(*score >= threshold)).collect();
    let mut metrics = BTreeMap::from([
        ("auc".to_owned(), auc(&labels, &scores, None)?),
        ("log_loss".to_owned(), log_loss(&labels, &scores)?),
        ("brier".to_owned(), brier(&labels, &scores)?),
        ("calibration_error".to_owned(), ece(&labels, &scores)?),
        ("accuracy".to_owned(), accuracy(&labels, &taken)?),
    ]);
    for (column, name) in [("gender", "gender"), ("SeniorCitizen", "senior")] {
        let rates = rates(&rows, column, &taken, &labels)?;
        let gaps = [
            ("selection_gap", rates.demographic_parity_difference()),
            ("recall_gap", rates.equal_opportunity_difference()),
        ];
        metrics.extend(gaps.into_iter().filter_map(|(gap, value)| Some((format!("{name}_{gap}"), value?))));
    }
    Ok(Measured { scores, metrics })
}

fn rates(rows: &RecordBatch, column: &str, taken: &[f64], labels: &[f64]) -> Result<GroupRates> {
    let groups = rows.column_by_name(column).ok_or_else(|| Error::not_found("column", column))?;
    let groups = cast(groups, &DataType::Utf8)?;
    let mut rates = GroupRates::new(GROUP_ROWS_MIN)?;
    for ((group, taken), label) in groups.as_string::<i32>().iter().zip(taken).zip(labels) {
        rates.update(group.unwrap_or("unknown"), *taken == 1.0, Some(*label == 1.0))?;
    }
    Ok(rates)
}
