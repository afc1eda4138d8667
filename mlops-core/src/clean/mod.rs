//! Cleaning: settings are fitted on data, and what was fitted is applied to tables and to single requests alike.
//!
//! A [`Transform`] is settings only; [`Transform::fit`] learns from data and gives a [`FittedTransform`], which is all
//! that can be applied. Its [`TransformState`] is small, versioned, and restores the same numbers.

use std::fmt::Debug;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::{Dataset, Digest, Result, Schema};

/// Whether a transform looks at one row at a time or at a whole table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Each row on its own: also right for a single request.
    Row,
    /// Rows depend on those before them (such as dropping duplicates): left out on the request path.
    Table,
}

/// Everything that a fitted transform knows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformState {
    /// Which transform wrote it, such as `impute`.
    pub kind: String,
    /// Version of `body`'s layout.
    pub format: u32,
    /// Settings and learned values.
    pub body: serde_json::Value,
}

impl TransformState {
    /// Digest of the state: two transforms with one digest give the same output.
    ///
    /// # Errors
    /// [`Error::InvalidData`](crate::Error::InvalidData) when the body has no JSON form.
    pub fn digest(&self) -> Result<Digest> {
        Digest::of_json(self)
    }
}

/// Settings of a cleaning step, not yet fitted.
///
/// # Contract
/// * `fit` reads the data in bounded memory (stated where it must hold more) and does not change it.
/// * Fitting twice on the same rows gives equal states, whatever the batches.
///
/// `testkit::transform` checks these; run it on your own transform.
pub trait Transform: Debug + Send + Sync + 'static {
    /// Learns from `data`.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) or [`Error::Schema`](crate::Error::Schema) naming a column that is
    /// missing or of a type that the step cannot treat.
    fn fit(&self, data: &Dataset) -> Result<Box<dyn FittedTransform>>;
}

/// A cleaning step that knows its numbers.
///
/// # Contract
/// * Every pass gives batches of exactly `output_schema`.
/// * With [`Scope::Row`], a row alone gives the same output as in any table, and row count and order are kept unless the
///   step drops rows by their own values.
/// * `state` restores to a transform with the same output, bit for bit.
pub trait FittedTransform: Debug + Send + Sync + 'static {
    /// Whether single rows can be treated.
    fn scope(&self) -> Scope;

    /// Columns after the step, for columns `input` before it.
    ///
    /// # Errors
    /// [`Error::Schema`](crate::Error::Schema) when `input` lacks what the step was fitted on.
    fn output_schema(&self, input: &Schema) -> Result<Schema>;

    /// Starts one pass over one table of `input` columns.
    ///
    /// # Errors
    /// As [`output_schema`](Self::output_schema).
    fn begin(&self, input: &Schema) -> Result<Box<dyn Pass>>;

    /// Everything the step knows.
    ///
    /// # Errors
    /// [`Error::InvalidData`](crate::Error::InvalidData) when a learned value has no JSON form.
    fn state(&self) -> Result<TransformState>;
}

/// One pass over one table, batch after batch in order.
pub trait Pass: Send {
    /// The rows of `batch`, treated.
    ///
    /// # Errors
    /// [`Error::Schema`](crate::Error::Schema) when the batch is not of the schema that the pass began with.
    fn apply(&mut self, batch: &RecordBatch) -> Result<RecordBatch>;
}
