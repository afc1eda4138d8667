//! Metrics of predicted numbers.

use serde::{Deserialize, Serialize};

use super::check;
use crate::stats::Moments;
use crate::{Error, Result};

/// Root of the mean squared error, in the unit of the labels.
///
/// # Errors
/// [`Error::Invalid`] when the lengths differ or there are no rows, [`Error::InvalidData`] for NaN or infinities.
///
/// # Examples
/// ```
/// assert_eq!(mlops_core::metrics::rmse(&[1.0, 2.0], &[4.0, 6.0])?, 12.5_f64.sqrt());
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn rmse(labels: &[f64], predictions: &[f64]) -> Result<f64> {
    let totals = RegressionTotals::of(labels, predictions)?;
    Ok((totals.squared_sum / labels.len() as f64).sqrt())
}

/// Mean absolute error, in the unit of the labels.
///
/// # Errors
/// As [`rmse`].
pub fn mae(labels: &[f64], predictions: &[f64]) -> Result<f64> {
    let totals = RegressionTotals::of(labels, predictions)?;
    Ok(totals.absolute_sum / labels.len() as f64)
}

/// Share of the labels' variance that is explained: 1 at best, 0 for the mean as prediction, negative below.
///
/// # Errors
/// As [`rmse`], and [`Error::Invalid`] when all labels are equal, for then there is nothing to explain.
pub fn r2(labels: &[f64], predictions: &[f64]) -> Result<f64> {
    let totals = RegressionTotals::of(labels, predictions)?;
    totals.r2().ok_or_else(|| Error::invalid("variance of the labels", 0, "above 0 and finite"))
}

/// Mergeable sums of the metrics of predicted numbers; equal to the functions over all rows, to rounding.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegressionTotals {
    labels: Moments,
    absolute_sum: f64,
    squared_sum: f64,
    error_sum: f64,
}

impl RegressionTotals {
    fn of(labels: &[f64], predictions: &[f64]) -> Result<Self> {
        let mut totals = Self::default();
        totals.update(labels, predictions)?;
        Ok(totals)
    }

    /// Adds rows.
    ///
    /// # Errors
    /// As [`rmse`]; nothing is added then.
    pub fn update(&mut self, labels: &[f64], predictions: &[f64]) -> Result<()> {
        check::same_length(labels.len(), predictions.len())?;
        check::finite("label", labels)?;
        check::finite("prediction", predictions)?;
        self.labels.update_slice(labels);
        for (label, prediction) in labels.iter().zip(predictions) {
            let error = prediction - label;
            self.error_sum += error;
            self.absolute_sum += error.abs();
            self.squared_sum += error * error;
        }
        Ok(())
    }

    /// Adds the rows of `other`.
    ///
    /// # Errors
    /// As [`Moments::merge`].
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.labels.merge(&other.labels)?;
        self.error_sum += other.error_sum;
        self.absolute_sum += other.absolute_sum;
        self.squared_sum += other.squared_sum;
        Ok(())
    }

    /// Rows seen.
    pub fn rows(&self) -> u64 {
        self.labels.count()
    }

    /// Root of the mean squared error; `None` without rows.
    pub fn rmse(&self) -> Option<f64> {
        self.mean(self.squared_sum).map(f64::sqrt)
    }

    /// Mean absolute error; `None` without rows.
    pub fn mae(&self) -> Option<f64> {
        self.mean(self.absolute_sum)
    }

    /// Mean of prediction less label; `None` without rows.
    pub fn bias(&self) -> Option<f64> {
        self.mean(self.error_sum)
    }

    /// Share of the labels' variance that is explained; `None` when they do not vary.
    pub fn r2(&self) -> Option<f64> {
        let variance = self.labels.variance(0).filter(|&variance| variance > 0.0)?;
        self.mean(self.squared_sum).map(|squared| 1.0 - squared / variance)
    }

    fn mean(&self, sum: f64) -> Option<f64> {
        (self.rows() > 0).then(|| sum / self.rows() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [f64; 4] = [3.0, -0.5, 2.0, 7.0];
    const PREDICTIONS: [f64; 4] = [2.5, 0.0, 2.0, 8.0];

    #[test]
    fn errors_agree_with_scikit_learn() {
        // scikit-learn 1.9.1, the example of its documentation: mse 0.375, mae 0.5, r2 0.9486081370449679
        assert!((rmse(&LABELS, &PREDICTIONS).unwrap() - 0.375_f64.sqrt()).abs() < 1e-12);
        assert!((mae(&LABELS, &PREDICTIONS).unwrap() - 0.5).abs() < 1e-12);
        assert!((r2(&LABELS, &PREDICTIONS).unwrap() - 0.948_608_137_044_967_9).abs() < 1e-12);
    }

    #[test]
    fn merged_totals_equal_one_pass() {
        let mut totals = RegressionTotals::of(&LABELS[..1], &PREDICTIONS[..1]).unwrap();
        totals.merge(&RegressionTotals::of(&LABELS[1..], &PREDICTIONS[1..]).unwrap()).unwrap();
        assert!((totals.r2().unwrap() - r2(&LABELS, &PREDICTIONS).unwrap()).abs() < 1e-12);
        assert_eq!((totals.rows(), totals.bias()), (4, Some(0.25)));
        assert_eq!(RegressionTotals::default().rmse(), None);
    }

    #[test]
    fn bad_input_names_its_position() {
        let error = rmse(&[1.0, f64::NAN], &[1.0, 2.0]).unwrap_err().to_string();
        assert_eq!(error, "label at position 1: NaN is not a finite number");
        assert!(r2(&[1.0, 1.0], &[1.0, 2.0]).is_err());
        assert!(mae(&[], &[]).is_err());
    }
}
