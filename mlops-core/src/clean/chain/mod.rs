//! Several transforms, one after another, as one.

mod fit;
mod rest;

pub use fit::{Explanation, FitPass, Stage};

use std::sync::Arc;

use arrow::array::RecordBatch;

use self::fit::{Done, Fit};
use super::rows::pack;
use super::{Changes, FittedTransform, FittedTransformExt, Pass, Scope, Transform, TransformState, Watch};
use crate::{Dataset, Error, Result, Schema};

pub(super) const KIND: &str = "chain";

/// Most stages of one chain.
pub const STAGES_MAX: usize = 64;

/// Bytes of rows that the fit of a chain holds in memory where nothing was said: 512 MiB.
pub const CHAIN_BYTES_DEFAULT: u64 = 1 << 29;

/// Transforms that are fitted one after another, each on what those before it put out.
///
/// * A fit reads its data once, and treats each row once per stage: the rows before stages that learn are held, in memory
///   up to [`held_bytes_max`](ChainBuilder::held_bytes_max) and in a temporary file of the table's size beyond, until those
///   after them are. Stages that learn nothing hold nothing. Columns that a stage leaves alone are shared, not copied.
/// * Adjacent stages learn from one reading of the rows that are held where none of them looks at what another one before it
///   changes (see [`Study`](super::Study)); what they learn is what they would learn one after another, to the last bit.
///   [`explain`](Chain::explain) tells which ones.
/// * One state holds those of all stages, and one digest names it.
/// * [`Scope::Table`] as soon as one stage is; [`FittedChain::rows_only`] leaves those stages out for single requests.
///
/// # Examples
/// ```
/// use mlops_core::clean::{Chain, Dedup, Impute, Pick, Scale, Strategy};
///
/// let chain = Chain::builder()
///     .then(Dedup::builder().keys("event_id").build()?)
///     .then(Impute::builder().fill(Pick::Numbers, Strategy::Median).indicator(true).build()?)
///     .then(Scale::builder().standard(Pick::Numbers).build()?)
///     .build()?;
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Chain {
    stages: Vec<Arc<dyn Transform>>,
    held_bytes_max: u64,
}

/// Builder of [`Chain`]; its form in files is a list of [`Recipe`](super::Recipe)s.
#[derive(Clone, Debug, Default)]
pub struct ChainBuilder {
    stages: Vec<Arc<dyn Transform>>,
    held_bytes_max: Option<u64>,
}

impl ChainBuilder {
    /// Adds `transform` after all others.
    pub fn then(self, transform: impl Transform) -> Self {
        self.then_shared(Arc::new(transform))
    }

    /// Adds a shared transform after all others.
    pub fn then_shared(mut self, transform: Arc<dyn Transform>) -> Self {
        self.stages.push(transform);
        self
    }

    /// Bytes of rows that a fit holds in memory before they go to disk. Default [`CHAIN_BYTES_DEFAULT`].
    pub fn held_bytes_max(mut self, bytes: u64) -> Self {
        self.held_bytes_max = Some(bytes);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no stage or more than [`STAGES_MAX`].
    pub fn build(self) -> Result<Chain> {
        if self.stages.is_empty() || self.stages.len() > STAGES_MAX {
            return Err(Error::invalid("stages", self.stages.len(), "1 to 64 stages"));
        }
        Ok(Chain { stages: self.stages, held_bytes_max: self.held_bytes_max.unwrap_or(CHAIN_BYTES_DEFAULT) })
    }
}

impl Chain {
    /// Starts without a stage.
    pub fn builder() -> ChainBuilder {
        ChainBuilder::default()
    }

    /// As [`Transform::fit`], as the chain that it is.
    ///
    /// # Errors
    /// [`Error::Stage`] with what the fit of that stage says.
    pub fn fit_chain(&self, data: &Dataset) -> Result<FittedChain> {
        Ok(self.fit_apply(data)?.0)
    }

    /// As [`fit_chain`](Self::fit_chain), with the rows of `data` as the chain leaves them: no second reading of it, and no
    /// second treatment by any stage but the last. The rows before the last stage are held as long as the data set is. It has no
    /// provenance, which would cost the digest of `data`; [`FittedTransformExt::provenance`](super::FittedTransformExt::provenance) gives
    /// it, and [`apply`](super::FittedTransformExt::apply) the same rows with it.
    ///
    /// # Errors
    /// As [`fit_chain`](Self::fit_chain).
    pub fn fit_apply(&self, data: &Dataset) -> Result<(FittedChain, Dataset)> {
        let Done { stages, rows, .. } = Fit::begin(self, data, &Watch::never()).run()?;
        Ok((FittedChain { stages }, rows))
    }

    /// How this learns from `data`, reading by reading, and what it changes in it, stage by stage. A fit, and one more reading.
    ///
    /// # Errors
    /// As [`fit_chain`](Self::fit_chain), and the first error of a pass.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    ///
    /// use mlops_core::Dataset;
    /// use mlops_core::arrow::array::{ArrayRef, Float64Array, RecordBatch};
    /// use mlops_core::clean::{Chain, Impute, Scale, Strategy};
    ///
    /// let x = Arc::new(Float64Array::from(vec![Some(1.0), None])) as ArrayRef;
    /// let y = Arc::new(Float64Array::from(vec![2.0, 4.0])) as ArrayRef;
    /// let data = Dataset::from_batches([RecordBatch::try_from_iter_with_nullable([("x", x, true), ("y", y, true)])?])?;
    /// let impute = Impute::builder().fill("x", Strategy::Mean).build()?;
    /// let chain = Chain::builder().then(impute).then(Scale::builder().min_max("y").build()?);
    /// // Neither looks at what the other changes.
    /// let told = chain.then(Scale::builder().min_max("x").build()?).build()?.explain(&data)?;
    /// assert!(told.to_string().starts_with(
    ///     "fit: 1 impute, 2 scale in one reading of [\"x\", \"y\"]\nfit: 3 scale in one reading of [\"x\"]\nimpute: 2 rows in"
    /// ));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn explain(&self, data: &Dataset) -> Result<Explanation> {
        let Done { stages, passes, .. } = Fit::begin(self, data, &Watch::never()).run()?;
        Ok(Explanation { passes, changes: FittedChain { stages }.changes_of(data)? })
    }
}

fn of_stage(place: usize, error: Error) -> Error {
    match error {
        // Not a matter of the stage.
        Error::Cancelled { .. } => error,
        error => Error::stage(format!("stage {} of the chain", place + 1), error),
    }
}

impl Transform for Chain {
    fn fit(&self, data: &Dataset) -> Result<Box<dyn FittedTransform>> {
        Ok(Box::new(self.fit_chain(data)?))
    }

    fn fit_watched(&self, data: &Dataset, watch: &Watch) -> Result<Box<dyn FittedTransform>> {
        let Done { stages, .. } = Fit::begin(self, &watch.over(data)?, watch).run()?;
        Ok(Box::new(FittedChain { stages }))
    }

    fn settings(&self) -> Result<serde_json::Value> {
        let stages = self.stages.iter().map(|stage| stage.settings()).collect::<Result<Vec<_>>>()?;
        Ok(serde_json::json!({ KIND: stages }))
    }
}

/// A [`Chain`] whose stages know their numbers.
#[derive(Clone, Debug)]
pub struct FittedChain {
    stages: Vec<Arc<dyn FittedTransform>>,
}

impl FittedChain {
    pub(super) fn of(stages: Vec<Arc<dyn FittedTransform>>) -> Self {
        Self { stages }
    }

    /// The stages in order.
    pub fn stages(&self) -> &[Arc<dyn FittedTransform>] {
        &self.stages
    }

    /// The stages that treat single rows: what a request goes through. Those of [`Scope::Table`] are left out but for
    /// [what they do to single rows](FittedTransform::for_rows), so they must not change the columns
    /// ([`Dedup`](super::Dedup) does not).
    pub fn rows_only(&self) -> Self {
        let of_rows = |stage: &Arc<dyn FittedTransform>| match stage.scope() {
            Scope::Row => Some(stage.clone()),
            Scope::Table => stage.for_rows(),
        };
        Self { stages: self.stages.iter().filter_map(of_rows).collect() }
    }

    /// The schema before each stage, and after the last.
    fn schemas(&self, input: &Schema) -> Result<Vec<Schema>> {
        let mut schemas = vec![input.clone()];
        for (place, stage) in self.stages.iter().enumerate() {
            schemas.push(stage.output_schema(&schemas[place]).map_err(|error| of_stage(place, error))?);
        }
        Ok(schemas)
    }
}

impl FittedTransform for FittedChain {
    fn scope(&self) -> Scope {
        let table = self.stages.iter().any(|stage| stage.scope() == Scope::Table);
        if table { Scope::Table } else { Scope::Row }
    }

    fn output_schema(&self, input: &Schema) -> Result<Schema> {
        Ok(self.schemas(input)?.pop().unwrap_or_else(|| input.clone()))
    }

    fn begin(&self, input: &Schema) -> Result<Box<dyn Pass>> {
        let schemas = self.schemas(input)?;
        let begin = |(stage, schema): (&Arc<dyn FittedTransform>, &Schema)| stage.begin(schema);
        let stages = self.stages.iter().zip(&schemas).map(begin).collect::<Result<Vec<_>>>()?;
        Ok(Box::new(ChainPass { stages, drained: 0 }))
    }

    fn for_rows(&self) -> Option<Arc<dyn FittedTransform>> {
        Some(Arc::new(self.rows_only()))
    }

    fn state(&self) -> Result<TransformState> {
        let states = self.stages.iter().map(FittedTransform::state).collect::<Result<Vec<_>>>()?;
        let settings: Vec<_> = states.iter().map(|state| &state.settings).collect();
        Ok(TransformState { settings: serde_json::json!({ KIND: settings }), ..pack(KIND, &states)? })
    }
}

struct ChainPass {
    stages: Vec<Box<dyn Pass>>,
    /// Stages that have nothing left to hand on.
    drained: usize,
}

impl ChainPass {
    /// Takes `batch` through the stages from `place` on.
    fn through(&mut self, place: usize, batch: RecordBatch) -> Result<RecordBatch> {
        self.stages[place..].iter_mut().try_fold(batch, |batch, stage| stage.apply(&batch))
    }
}

impl Pass for ChainPass {
    fn apply(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        self.through(0, batch.clone())
    }

    /// What the first stage held back goes through all that follow before the next of them is drained.
    fn drain(&mut self) -> Result<Option<RecordBatch>> {
        while self.drained < self.stages.len() {
            match self.stages[self.drained].drain()? {
                Some(batch) => return self.through(self.drained + 1, batch).map(Some),
                None => self.drained += 1,
            }
        }
        Ok(None)
    }

    fn changes(&self) -> Changes {
        Changes { steps: self.stages.iter().flat_map(|stage| stage.changes().steps).collect() }
    }
}

#[cfg(test)]
mod tests;
