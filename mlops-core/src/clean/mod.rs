//! Cleaning: settings are fitted on data, and what was fitted is applied to tables and to single requests alike.
//!
//! A [`Transform`] is settings only; [`Transform::fit`] learns from data and gives a [`FittedTransform`], which is all
//! that can be applied. Its [`TransformState`] is small, versioned, and restores the same numbers: see [`restore`].
//!
//! * What is wrong with values: [`Impute`], [`Nearest`], [`FillForward`], [`Outliers`], [`Cast`]; with rows:
//!   [`IsolationForest`], [`Dedup`], [`NearDedup`]; with columns: [`Select`], [`Prune`].
//! * What models can read: [`Scale`], [`Encode`], [`Bin`], [`Dates`], [`Text`].
//! * [`Chain`] for several of them one after another, [`Chain::explain`] for how they learn and what they change; [`Recipe`] is
//!   their form in files. A [`Study`] lets a transform learn beside its neighbours, a [`Watch`] stops a fit.
//! * To apply one: [`FittedTransformExt`]. Every pass tells what it changed: [`Changes`].
//! * As a step of a pipeline: [`Clean`].
//!
//! # Examples
//! ```
//! use std::sync::Arc;
//!
//! use mlops_core::arrow::array::{ArrayRef, Float64Array, RecordBatch};
//! use mlops_core::clean::{Chain, FittedTransform, FittedTransformExt, Impute, Scale, Strategy, Transform};
//! use mlops_core::{Dataset, EventTime};
//!
//! let spend = Float64Array::from(vec![Some(10.0), None, Some(30.0)]);
//! let data = Dataset::from_batches([RecordBatch::try_from_iter([("spend", Arc::new(spend) as ArrayRef)])?])?;
//!
//! let chain = Chain::builder()
//!     .then(Impute::builder().fill("spend", Strategy::Median).build()?)
//!     .then(Scale::builder().min_max("spend").build()?)
//!     .build()?;
//! let fitted: Arc<dyn FittedTransform> = chain.fit(&data)?.into();
//! let clean = fitted.apply(&data, EventTime::EPOCH)?.to_batch()?;
//! let expected = Float64Array::from(vec![0.0, 0.5, 1.0]);
//! assert_eq!(clean.column(0).as_ref(), &expected as &dyn mlops_core::arrow::array::Array);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bin;
mod cast;
mod chain;
mod changes;
mod date;
mod dedup;
mod derive;
mod encode;
mod ext;
#[cfg(test)]
mod fixture;
mod impute;
mod learn;
mod outlier;
mod pick;
#[cfg(feature = "polars")]
mod polars;
mod prune;
mod recipe;
mod rows;
mod scale;
mod select;
mod step;
mod study;
mod text;
mod told;
mod watch;

pub use bin::{BINS_MAX, Bin, BinBuilder, Bins, FittedBin};
pub use cast::{Cast, CastBuilder, CastTo, Unreadable};
pub use chain::{CHAIN_BYTES_DEFAULT, Chain, ChainBuilder, Explanation, FitPass, FittedChain, STAGES_MAX, Stage};
pub use changes::{Change, Changes, StepChanges};
pub use date::{DatePart, Dates, DatesBuilder, FittedDates, VIETNAM_OFFSET_MINUTES};
pub use dedup::{
    Dedup, DedupBuilder, FittedDedup, FittedNearDedup, HELD_BYTES_DEFAULT, KEYS_DEFAULT, Keep, NEAR_BYTES_DEFAULT,
    NearDedup, NearDedupBuilder, Shingles,
};
pub use encode::{ENCODED_COLUMNS_MAX, Encode, EncodeBuilder, Encoding, FittedEncode, Smooth, Unknown};
pub use ext::{FittedTransformExt, TransformExt};
pub use impute::{
    FillForward, FillForwardBuilder, FittedFillForward, FittedImpute, FittedNearest, GROUPS_DEFAULT, Impute,
    ImputeBuilder, Nan, Nearest, NearestBuilder, Neighbours, Strategy,
};
pub use learn::{EXACT_VALUES_MAX, MODE_BYTES_MAX, MODE_VALUES_MAX, SKETCH_K};
pub use outlier::{
    Action, Fence, FittedIsolationForest, FittedOutliers, IsolationForest, IsolationForestBuilder, Outliers,
    OutliersBuilder,
};
pub use pick::Pick;
#[cfg(feature = "polars")]
pub use polars::PolarsTransform;
pub use prune::{Correlation, Finding, FittedPrune, Prune, PruneBuilder, Stays};
pub use recipe::{Recipe, restore, restore_rows, restore_with};
pub use scale::{Distribution, FittedScale, Method, Power, Scale, ScaleBuilder};
pub use select::{FittedSelect, Select, SelectBuilder};
pub use step::Clean;
#[cfg(any(test, feature = "testkit"))]
pub(crate) use study::Effects;
pub use study::{Learner, Study};
pub use text::{FittedText, Text, TextBuilder, TextPart};
pub use watch::Watch;

use std::fmt::Debug;
use std::sync::Arc;

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
    /// What [`Transform::settings`] said when it was fitted: so that what was made by it can tell how. Null in states that
    /// were written before they had any.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub settings: serde_json::Value,
    /// Everything that decides what it does: settings as far as they are needed, and learned values.
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
/// * Equal `settings` and equal rows give equal states.
/// * The state of what was fitted tells the settings.
///
/// `testkit::transform` checks these; run it on your own transform.
pub trait Transform: Debug + Send + Sync + 'static {
    /// Learns from `data`.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) or [`Error::Schema`](crate::Error::Schema) naming a column that is
    /// missing or of a type that the step cannot treat.
    fn fit(&self, data: &Dataset) -> Result<Box<dyn FittedTransform>>;

    /// Everything that decides what is learned, with the name of the transform: what a pipeline's fingerprint covers.
    ///
    /// # Errors
    /// [`Error::InvalidData`](crate::Error::InvalidData) when a setting has no JSON form.
    fn settings(&self) -> Result<serde_json::Value>;

    /// The same fit on rows of `schema`, for a transform that learns all it needs from one reading, so that a
    /// [`Chain`] can let it learn beside its neighbours; `None`, as here, for one that wants the rows for itself.
    ///
    /// # Errors
    /// What [`fit`](Self::fit) says of the schema.
    fn study(&self, schema: &Schema) -> Result<Option<Study>> {
        let _ = schema;
        Ok(None)
    }

    /// As [`fit`](Self::fit), until the host wants to stop: here, whenever a batch of `data` is read. A transform that holds
    /// rows of its own looks at `watch` when it goes through them, too.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), and [`Error::Cancelled`](crate::Error::Cancelled).
    fn fit_watched(&self, data: &Dataset, watch: &Watch) -> Result<Box<dyn FittedTransform>> {
        self.fit(&watch.over(data)?)
    }
}

/// A cleaning step that knows its numbers.
///
/// # Contract
/// * Every pass gives batches of exactly `output_schema`.
/// * With [`Scope::Row`], a row alone gives the same output as in any table, and row count and order are kept unless the
///   step drops rows by their own values; nothing is held back.
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

    /// What a single request goes through in place of a step of [`Scope::Table`]; `None` where it passes by.
    fn for_rows(&self) -> Option<Arc<dyn FittedTransform>> {
        None
    }

    /// Everything the step knows.
    ///
    /// # Errors
    /// [`Error::InvalidData`](crate::Error::InvalidData) when a learned value has no JSON form.
    fn state(&self) -> Result<TransformState>;
}

/// One pass over one table, batch after batch in order.
///
/// # Contract
/// * The rows of all `apply` and then of all `drain` are the output; `apply` is not called after `drain`.
/// * `changes` counts all that was done so far, and does not depend on how rows are cut into batches.
pub trait Pass: Send {
    /// The rows of `batch`, treated, less those that are held back until the whole table was seen.
    ///
    /// # Errors
    /// [`Error::Schema`](crate::Error::Schema) when the batch is not of the schema that the pass began with.
    fn apply(&mut self, batch: &RecordBatch) -> Result<RecordBatch>;

    /// After the last batch: the next rows that were held back, `None` when there are none left.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when what was set aside on disk cannot be read back.
    fn drain(&mut self) -> Result<Option<RecordBatch>>;

    /// What this pass has changed so far.
    fn changes(&self) -> Changes;
}
