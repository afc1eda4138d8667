//! Training rows as linfa wants them: a dense matrix without gaps, standardised.

use ndarray::{Array1, Array2};

use crate::train::TrainData;
use crate::{Error, Result};

/// Feature matrix (rows × features) and labels.
pub(super) struct Rows {
    pub(super) x: Array2<f64>,
    pub(super) y: Array1<f64>,
    pub(super) weights: Option<Vec<f64>>,
}

impl Rows {
    /// Reads the training side of `data`.
    ///
    /// # Errors
    /// [`InvalidData`](mlops_core::Error::InvalidData) for no rows, or naming the feature of a value that is missing or
    /// infinite.
    pub(super) fn read(data: &TrainData) -> Result<Self> {
        let matrix = data.train_matrix()?;
        let rows = matrix.labels.len();
        if rows == 0 {
            return Err(Error::invalid_data("training data", "there are no rows"));
        }
        for (name, values) in data.features().iter().zip(&matrix.features) {
            if let Some(row) = values.iter().position(|v| !v.is_finite()) {
                let reason = "it is missing or infinite, which this algorithm cannot learn from; impute or clip first";
                return Err(Error::invalid_data(format!("feature `{name}` of row {row}"), reason));
            }
        }
        let x = Array2::from_shape_fn((rows, matrix.features.len()), |(row, column)| matrix.features[column][row]);
        Ok(Self { x, y: Array1::from(matrix.labels), weights: matrix.weights })
    }

    /// Refuses weights, for algorithms that would silently ignore them.
    pub(super) fn without_weights(self, algorithm: &str) -> Result<Self> {
        if self.weights.is_some() {
            return Err(Error::invalid_data("training data", format!("{algorithm} does not take row weights")));
        }
        Ok(self)
    }

    /// Labels as true and false.
    pub(super) fn classes(&self, label: &str) -> Result<Array1<bool>> {
        if let Some(row) = self.y.iter().position(|y| *y != 0.0 && *y != 1.0) {
            return Err(Error::invalid_data(format!("label `{label}` of row {row}"), "it is neither 0 nor 1"));
        }
        let classes = self.y.mapv(|y| y == 1.0);
        if classes.iter().all(|c| *c) || classes.iter().all(|c| !c) {
            return Err(Error::invalid_data(format!("label `{label}`"), "all rows have one class; two are needed"));
        }
        Ok(classes)
    }
}

/// Column means and deviations, to learn on one scale and to speak in the data's own.
pub(super) struct Scale {
    mean: Array1<f64>,
    deviation: Array1<f64>,
}

impl Scale {
    /// Standardises the columns of `x` in place; constant columns become 0.
    pub(super) fn standardise(x: &mut Array2<f64>) -> Self {
        let mean = x.mean_axis(ndarray::Axis(0)).unwrap_or_else(|| Array1::zeros(x.ncols()));
        let deviation = x.std_axis(ndarray::Axis(0), 0.0).mapv(|sd| if sd > 0.0 { sd } else { 1.0 });
        *x -= &mean;
        *x /= &deviation;
        Self { mean, deviation }
    }

    /// Coefficients and intercept for the data as it was.
    pub(super) fn unscale(&self, coefficients: &Array1<f64>, intercept: f64) -> (Vec<f64>, f64) {
        let raw = coefficients / &self.deviation;
        let intercept = intercept - (&raw * &self.mean).sum();
        (raw.to_vec(), intercept)
    }
}
