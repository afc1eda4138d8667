//! Cleaning written as a closure on a polars plan.

use std::fmt;
use std::sync::Arc;

use ::polars::prelude::LazyFrame;
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use serde::{Deserialize, Serialize};

use super::rows::{admit, fitted_column, pack, settings, type_name, unpack};
use super::told::told;
use super::{Changes, FittedTransform, Pass, Scope, StepChanges, Transform, TransformState};
use crate::{Dataset, Error, Name, Result, Schema};

/// What states and settings of this transform are called.
const KIND: &str = "polars";

type Work = dyn Fn(LazyFrame) -> LazyFrame + Send + Sync;

/// A closure on a [`LazyFrame`] as a step of cleaning.
///
/// * [`rows`](Self::rows) is for work that treats each row on its own: it runs once per batch, which costs a plan each
///   time (about 0.1 ms), so prefer the transforms that are built in on the request path.
/// * [`table`](Self::table) is for work that looks at all rows: they are held until the table was seen, all in memory.
///   Work whose order of rows is not fixed, such as a group-by that does not maintain order, gives no stable digest.
/// * Rows may be dropped and columns added, changed or left out; rows are never made up. Columns that keep their name keep
///   their role, sensitivity and unit. Types and nulls cross as [`interop::polars`](mod@crate::interop::polars) says.
/// * Code has no digest: the caller names the work and states its version, and changes the version whenever the code or
///   something that it captured changes. A state holds the two and the columns, and no code:
///   [`restore`](Self::restore) takes the closure from this transform, and refuses the state of other work.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
/// use mlops_core::arrow::datatypes::Float64Type;
/// use mlops_core::clean::{FittedTransformExt, PolarsTransform, Transform, restore_with};
/// use mlops_core::interop::polars::polars::prelude::{col, lit};
/// use mlops_core::{Dataset, Name};
///
/// let spend = PolarsTransform::rows(Name::new("thousands")?, "1", |frame| {
///     frame.with_columns([col("spend") / lit(1_000.0)])
/// })?;
/// let values = Arc::new(Float64Array::from(vec![500.0, 2_000.0])) as ArrayRef;
/// let batch = RecordBatch::try_from_iter([("spend", values)])?;
/// let fitted = spend.fit(&Dataset::from_batches([batch.clone()])?)?;
/// assert_eq!(fitted.apply_batch(&batch)?.column(0).as_primitive::<Float64Type>().values(), &[0.5, 2.0]);
///
/// let restored = restore_with(&fitted.state()?, &|state| spend.restore(state))?;
/// assert_eq!(restored.digest()?, fitted.digest()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct PolarsTransform {
    definition: Definition,
    work: Arc<Work>,
}

/// Which work it is; all that decides what is done, for the code has no digest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    name: Name,
    version: String,
    scope: Scope,
}

impl PolarsTransform {
    /// `work` on each row alone; `version` stands for its code and for what it captured.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the version is empty.
    pub fn rows(
        name: Name,
        version: impl Into<String>,
        work: impl Fn(LazyFrame) -> LazyFrame + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::new(name, version.into(), Scope::Row, Arc::new(work))
    }

    /// `work` on all rows of a table together.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub fn table(
        name: Name,
        version: impl Into<String>,
        work: impl Fn(LazyFrame) -> LazyFrame + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::new(name, version.into(), Scope::Table, Arc::new(work))
    }

    fn new(name: Name, version: String, scope: Scope, work: Arc<Work>) -> Result<Self> {
        if version.is_empty() {
            return Err(Error::invalid("version", "\"\"", "a text that changes with the code"));
        }
        Ok(Self { definition: Definition { name, version, scope }, work })
    }

    /// What this work was fitted on, from a state: the closure that [`restore_with`](super::restore_with) asks for.
    ///
    /// # Errors
    /// [`Error::InvalidData`] when the state is of another kind or layout, or of work of another name, version or scope.
    pub fn restore(&self, state: &TransformState) -> Result<Box<dyn FittedTransform>> {
        let fitted: Fitted = unpack(KIND, state)?;
        if fitted.definition != self.definition {
            let Definition { name, version, .. } = &fitted.definition;
            let reason = format_args!("it is of `{name}` in version {version:?} and not of {self:?}");
            return Err(Error::invalid_data(format!("state of `{KIND}`"), reason));
        }
        Ok(told(state.settings.clone(), Box::new(FittedPolars { work: self.work.clone(), fitted })))
    }
}

impl fmt::Debug for PolarsTransform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Definition { name, version, scope } = &self.definition;
        f.debug_struct("PolarsTransform")
            .field("name", name)
            .field("version", version)
            .field("scope", scope)
            .finish_non_exhaustive()
    }
}

impl Transform for PolarsTransform {
    /// Nothing is learned but the columns. Errors are those of [`Dataset::map_lazy`] on a table of these columns.
    fn fit(&self, data: &Dataset) -> Result<Box<dyn FittedTransform>> {
        let fields = data.schema().arrow().fields().iter();
        let columns = fields.map(|field| (field.name().clone(), type_name(field.data_type()))).collect();
        let fitted = Fitted { definition: self.definition.clone(), columns };
        let fitted = FittedPolars { work: self.work.clone(), fitted };
        fitted.output_schema(data.schema())?;
        Ok(told(self.settings()?, Box::new(fitted)))
    }

    fn settings(&self) -> Result<serde_json::Value> {
        settings(KIND, &self.definition)
    }
}

/// Names and types of the columns that the work was first run on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fitted {
    definition: Definition,
    columns: Vec<(String, String)>,
}

#[derive(Clone)]
struct FittedPolars {
    work: Arc<Work>,
    fitted: Fitted,
}

impl fmt::Debug for FittedPolars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fitted.fmt(f)
    }
}

impl FittedPolars {
    fn run(&self, rows: &Dataset) -> Result<Dataset> {
        rows.map_lazy(|frame| (self.work)(frame))
    }
}

impl FittedTransform for FittedPolars {
    fn scope(&self) -> Scope {
        self.fitted.definition.scope
    }

    fn output_schema(&self, input: &Schema) -> Result<Schema> {
        for (name, expected) in &self.fitted.columns {
            fitted_column(input, name, expected)?;
        }
        Ok(self.run(&Dataset::empty(input.clone()))?.schema().clone())
    }

    fn begin(&self, input: &Schema) -> Result<Box<dyn Pass>> {
        let output = self.output_schema(input)?;
        let mut changes = StepChanges::new(KIND);
        let kept = |name: &&str| output.index_of(name).is_err();
        changes.columns_dropped = input.names().filter(kept).map(str::to_owned).collect();
        Ok(Box::new(PolarsPass { made: self.clone(), input: input.clone(), output, held: Vec::new(), changes }))
    }

    fn state(&self) -> Result<TransformState> {
        pack(KIND, &self.fitted)
    }
}

struct PolarsPass {
    made: FittedPolars,
    input: Schema,
    output: Schema,
    held: Vec<RecordBatch>,
    changes: StepChanges,
}

impl PolarsPass {
    fn run(&mut self, batches: Vec<RecordBatch>) -> Result<RecordBatch> {
        let rows_in: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let made = self.made.run(&Dataset::held(self.input.clone(), batches)?)?;
        let batches = made.batches()?.map(|batch| self.output.attach(&batch?)).collect::<Result<Vec<_>>>()?;
        let made = concat_batches(self.output.arrow(), &batches)?;
        if made.num_rows() > rows_in {
            let rows = format!("{} of {rows_in}", made.num_rows());
            return Err(Error::invalid("rows after polars work", rows, "at most as many as came in"));
        }
        self.changes.rows_out += made.num_rows() as u64;
        Ok(made)
    }
}

impl Pass for PolarsPass {
    fn apply(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let batch = admit(&self.input, batch)?;
        self.changes.rows_in += batch.num_rows() as u64;
        match self.made.scope() {
            Scope::Row => self.run(vec![batch]),
            Scope::Table => {
                self.held.push(batch);
                Ok(RecordBatch::new_empty(self.output.arrow().clone()))
            }
        }
    }

    fn drain(&mut self) -> Result<Option<RecordBatch>> {
        if self.held.is_empty() {
            return Ok(None);
        }
        let held = std::mem::take(&mut self.held);
        self.run(held).map(Some)
    }

    fn changes(&self) -> Changes {
        self.changes.clone().into()
    }
}

#[cfg(test)]
mod tests {
    use ::polars::prelude::{SortMultipleOptions, UnionArgs, UniqueKeepStrategy, col, cols, concat, lit};
    use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::clean::{Chain, FittedTransformExt, Impute, Strategy, restore_with};
    use crate::schema::Role;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn visits() -> Dataset {
        let ids = Int64Array::from(vec![1, 2, 1, 3, 2, 1]);
        let spend = Float64Array::from(vec![Some(1.0), Some(-2.0), None, Some(4.0), Some(5.0), Some(6.0)]);
        let columns = [("id", Arc::new(ids) as ArrayRef, false), ("spend", Arc::new(spend), true)];
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let schema = Schema::new(batch.schema()).unwrap().with_role("id", Role::Key).unwrap();
        Dataset::held(schema, [batch]).unwrap()
    }

    fn halves() -> PolarsTransform {
        let work = |frame: LazyFrame| frame.with_columns([(col("spend") / lit(2.0)).alias("half")]);
        PolarsTransform::rows(name("halves"), "1", work).unwrap()
    }

    fn firsts() -> PolarsTransform {
        let by = || Some(cols(["id"]));
        let work = move |frame: LazyFrame| {
            frame.unique_stable(by(), UniqueKeepStrategy::First).sort(["id"], SortMultipleOptions::default())
        };
        PolarsTransform::table(name("firsts"), "1", work).unwrap()
    }

    #[test]
    #[cfg(feature = "testkit")]
    fn work_on_rows_and_work_on_tables_pass_the_kit() {
        crate::testkit::transform(halves, |state| restore_with(state, &|state| halves().restore(state)), &visits());
        crate::testkit::transform(firsts, |state| restore_with(state, &|state| firsts().restore(state)), &visits());
    }

    #[test]
    fn it_stands_in_a_chain_and_annotations_stay() {
        let impute = Impute::builder().fill("spend", Strategy::Constant(0.0.into())).build().unwrap();
        let chain = Chain::builder().then(impute).then(firsts()).then(halves()).build().unwrap();
        let fitted: Arc<dyn FittedTransform> = chain.fit(&visits()).unwrap().into();
        let made = fitted.apply(&visits(), crate::EventTime::EPOCH).unwrap();
        assert_eq!(made.schema().with(Role::Key), ["id"]);
        let batch = made.to_batch().unwrap();
        assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[1, 2, 3]);
        let halves: Vec<Option<f64>> = batch["half"].as_primitive::<arrow::datatypes::Float64Type>().iter().collect();
        assert_eq!(halves, [Some(0.5), Some(-1.0), Some(2.0)]);
        assert_eq!(fitted.changes_of(&visits()).unwrap().rows_dropped(), 3);
    }

    #[test]
    fn a_state_of_other_work_is_refused() {
        let state = halves().fit(&visits()).unwrap().state().unwrap();
        let newer = PolarsTransform::rows(name("halves"), "2", |frame| frame).unwrap();
        let error = newer.restore(&state).unwrap_err().to_string();
        assert!(error.contains("`halves` in version \"1\""), "{error}");
        assert!(PolarsTransform::rows(name("halves"), "", |frame| frame).is_err());
    }

    #[test]
    fn rows_are_never_made_up_and_a_plan_that_does_not_resolve_is_an_error() {
        let twice = |frame: LazyFrame| concat([frame.clone(), frame], UnionArgs::default()).unwrap();
        let twice = PolarsTransform::rows(name("twice"), "1", twice).unwrap().fit(&visits()).unwrap();
        let error = twice.changes_of(&visits()).unwrap_err().to_string();
        assert!(error.contains("12 of 6"), "{error}");
        let unknown = |frame: LazyFrame| frame.select([col("nowhere")]);
        let unknown = PolarsTransform::rows(name("unknown"), "1", unknown).unwrap();
        assert!(matches!(unknown.fit(&visits()), Err(Error::NotFound { kind: "column", name }) if name == "nowhere"));
    }
}
