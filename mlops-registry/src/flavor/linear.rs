//! Linear models.

use std::sync::Arc;

use mlops_core::arrow::array::{ArrayRef, Float64Array, RecordBatch};
use mlops_core::arrow::buffer::ScalarBuffer;
use mlops_core::interop::floats;
use mlops_core::model::{Model, Signature};
use serde::{Deserialize, Serialize};

use crate::forest::{Link, check_link};
use crate::{Error, Result};

const FORMAT: u32 = 1;

/// `link(intercept + Σ coefficientᵢ · xᵢ)`: what logistic regression and the elastic net leave behind.
///
/// A missing value makes the output of its row NaN: a linear model has no answer for it. Impute first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct LinearModel {
    signature: Signature,
    coefficients: Vec<f64>,
    intercept: f64,
    link: Link,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: u32,
    signature: Signature,
    coefficients: Vec<f64>,
    intercept: f64,
    link: Link,
}

impl LinearModel {
    /// Name of the flavor.
    pub const FLAVOR: &'static str = "linear";

    /// Puts the parts together: one coefficient per input of the signature.
    ///
    /// # Errors
    /// [`InvalidData`](mlops_core::Error::InvalidData) when their number differs, a number is not finite, or the slope of
    /// the link is not above 0.
    pub fn new(signature: Signature, coefficients: Vec<f64>, intercept: f64, link: Link) -> Result<Self> {
        if coefficients.len() != signature.inputs.len() {
            let reason = format!("{} coefficients for {} inputs", coefficients.len(), signature.inputs.len());
            return Err(Error::invalid_data("linear model", reason));
        }
        if let Some(bad) = coefficients.iter().chain([&intercept]).find(|c| !c.is_finite()) {
            return Err(Error::invalid_data("linear model", format!("a coefficient is {bad}")));
        }
        check_link(link).map_err(|reason| Error::invalid_data("linear model", reason))?;
        Ok(Self { signature, coefficients, intercept, link })
    }

    /// One coefficient per input, in the order of the signature.
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// The constant part.
    pub fn intercept(&self) -> f64 {
        self.intercept
    }

    /// Reads what [`Model::to_bytes`] wrote; a [`Reader`](super::Reader).
    ///
    /// # Errors
    /// [`InvalidData`](mlops_core::Error::InvalidData) when it is not a sound linear model, [`Error::Format`] when a newer
    /// version wrote it.
    pub fn read(bytes: &[u8]) -> Result<Box<dyn Model>> {
        Ok(Box::new(super::read_json::<Self>("linear model", bytes, FORMAT)?))
    }

    fn columns(&self, features: &RecordBatch) -> mlops_core::Result<Vec<ScalarBuffer<f64>>> {
        let arrays = self.signature.select(features)?;
        self.signature.names().zip(&arrays).map(|(name, array)| floats(name, array)).collect()
    }
}

impl TryFrom<Wire> for LinearModel {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self> {
        if wire.format != FORMAT {
            return Err(Error::Format { what: "linear model", found: wire.format, known: FORMAT });
        }
        Self::new(wire.signature, wire.coefficients, wire.intercept, wire.link)
    }
}

impl From<LinearModel> for Wire {
    fn from(model: LinearModel) -> Self {
        let LinearModel { signature, coefficients, intercept, link } = model;
        Self { format: FORMAT, signature, coefficients, intercept, link }
    }
}

impl Model for LinearModel {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn flavor(&self) -> &'static str {
        Self::FLAVOR
    }

    fn predict(&self, features: &RecordBatch) -> mlops_core::Result<ArrayRef> {
        let columns = self.columns(features)?;
        let mut scores = vec![self.intercept; features.num_rows()];
        for (column, coefficient) in columns.iter().zip(&self.coefficients) {
            scores.iter_mut().zip(column.iter()).for_each(|(score, value)| *score += coefficient * value);
        }
        for score in &mut scores {
            *score = self.link.apply(*score);
        }
        Ok(Arc::new(Float64Array::from(scores)))
    }

    fn explain(&self, features: &RecordBatch) -> mlops_core::Result<Option<RecordBatch>> {
        let columns = self.columns(features)?;
        let part = |(column, c): (&ScalarBuffer<f64>, &f64)| column.iter().map(|value| c * value).collect::<Vec<f64>>();
        let parts = columns.iter().zip(&self.coefficients).map(part).chain([vec![self.intercept; features.num_rows()]]);
        let arrays = parts.map(|part| Arc::new(Float64Array::from(part)) as ArrayRef);
        Ok(Some(RecordBatch::try_from_iter(self.signature.names().chain(["bias"]).zip(arrays))?))
    }

    fn to_bytes(&self) -> mlops_core::Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| mlops_core::Error::invalid_data("linear model", e))
    }
}
