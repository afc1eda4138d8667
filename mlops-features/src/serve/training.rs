//! The features of a service for training rows: the same reads, the same expressions, at the instant of each row.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema as ArrowSchema;
use mlops_core::Dataset;
use mlops_core::schema::Schema;
use mlops_core::source::{BatchStream, DataSource, ScanRequest, SourceInfo};

use super::ServingPlan;
use super::plan::{CallerColumn, Origin};
use crate::columns::{cast_exactly, ensure_no_nulls, micros};
use crate::error::{Error, Result};
use crate::offline::asof::time_column;
use crate::offline::{AsOfOptions, OfflineStore, TrainingSet};

impl ServingPlan {
    /// What the service would have answered to each row of `spine` at its instant: the columns of `spine`, then those of
    /// the [schema](Self::schema). Stored features are joined as of the instant by
    /// [`OfflineStore::as_of`], computed ones are computed over them by the expressions that requests are answered with,
    /// `now()` being the instant of the row. There is one report per [join](Self::joins).
    ///
    /// Null stands where there is no valid row, whatever a view's [policy](crate::StatusPolicy) serves there. Computed
    /// features are computed when the data set is read, batch by batch.
    ///
    /// * `spine`: keys, an instant, and the [columns of computed features](Self::request_columns).
    /// * `options`: names of columns are those of the service, whatever they say of full names.
    ///
    /// # Errors
    /// As [`OfflineStore::as_of`]; `Core(Schema)` for a missing column or one of another type,
    /// [`Error::Collision`](crate::Error::Collision) when `spine` has a column of the name of a feature.
    pub fn training_set(
        &self,
        offline: &dyn OfflineStore,
        spine: &Dataset,
        options: &AsOfOptions,
    ) -> Result<TrainingSet> {
        let service = self.service();
        for field in self.schema().fields() {
            if spine.schema().index_of(field.name()).is_ok() {
                let (first, second) = ("the entity rows".to_owned(), format!("service `{service}`"));
                return Err(Error::Collision { column: field.name().clone(), first, second });
            }
        }
        let mut set = offline.as_of(spine, self.joins(), &options.clone().full_names(true))?;
        set.dataset = self.completed(spine.schema(), set.dataset, options)?;
        Ok(set)
    }

    /// The columns of `spine` and of the plan, over `joined`: those of `spine`, then all that the joins read.
    pub(crate) fn completed(&self, spine: &Schema, joined: Dataset, options: &AsOfOptions) -> Result<Dataset> {
        let rows = TrainingRows::new(self, spine, joined, options)?;
        Ok(Dataset::from_source(Arc::new(rows))?)
    }
}

/// Joined rows whose computed features are computed whenever they are read.
#[derive(Clone)]
struct TrainingRows {
    plan: ServingPlan,
    /// The columns of the entity rows, then those of the joins of the plan.
    joined: Dataset,
    /// The columns of the entity rows, then those of the plan.
    schema: Schema,
    spine: usize,
    /// Where the columns of each read begin.
    starts: Vec<usize>,
    /// Per column that the plan takes from the caller.
    brought: Vec<usize>,
    instant: usize,
}

impl TrainingRows {
    fn new(plan: &ServingPlan, spine: &Schema, joined: Dataset, options: &AsOfOptions) -> Result<Self> {
        let instant = spine.index_of(&time_column(spine, options)?)?;
        let mut next = spine.len();
        let starts = plan.plan().reads.iter().map(|read| {
            let start = next;
            next += read.defaults.len();
            start
        });
        let starts = starts.collect();
        let place = |column: &CallerColumn| spine.index_of(column.name.as_str()).map_err(|_| column.missing());
        let brought = plan.plan().columns.iter().map(place).collect::<Result<_>>()?;
        let fields = joined.schema().arrow().fields().iter().take(spine.len());
        let fields: Vec<_> = fields.chain(plan.schema().fields()).cloned().collect();
        let schema = Schema::new(ArrowSchema::new(fields))?;
        Ok(Self { plan: plan.clone(), joined, schema, spine: spine.len(), starts, brought, instant })
    }

    fn complete(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let plan = self.plan.plan();
        let instant_name = self.schema.arrow().field(self.instant).name();
        let instants = micros(batch.column(self.instant), instant_name)?;
        ensure_no_nulls(&instants, instant_name)?;
        let instants = Arc::new(instants) as ArrayRef;
        let bring = |(column, at): (&CallerColumn, &usize)| {
            cast_exactly(batch.column(*at), &column.value_type.data_type(), column.name.as_str())
        };
        let brought = plan.columns.iter().zip(&self.brought).map(bring).collect::<Result<Vec<_>>>()?;
        let mut computed: Vec<Vec<ArrayRef>> = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            let source = |origin| (self.column(batch, &computed, &brought, origin), false);
            let columns = step.run(source, &instants)?;
            computed.push(columns);
        }
        let outputs = plan.outputs.iter().map(|origin| self.column(batch, &computed, &brought, *origin));
        let columns = batch.columns().iter().take(self.spine).chain(outputs).cloned().collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.arrow().clone(), columns, &options)?)
    }

    fn column<'a>(
        &self,
        batch: &'a RecordBatch,
        computed: &'a [Vec<ArrayRef>],
        brought: &'a [ArrayRef],
        origin: Origin,
    ) -> &'a ArrayRef {
        match origin {
            Origin::Read(read, column) => batch.column(self.starts[read] + column),
            Origin::Step(step, column) => &computed[step][column],
            Origin::Caller(column) => &brought[column],
        }
    }
}

impl fmt::Debug for TrainingRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrainingRows").field("plan", &self.plan).field("joined", &self.joined).finish_non_exhaustive()
    }
}

impl DataSource for TrainingRows {
    fn info(&self) -> mlops_core::Result<SourceInfo> {
        let info = self.joined.info()?;
        let location = format!("{} for service {}", info.location, self.plan.service());
        let mut told = SourceInfo::new("training rows", location);
        told.modified = info.modified;
        Ok(told)
    }

    fn schema(&self) -> mlops_core::Result<Schema> {
        Ok(self.schema.clone())
    }

    fn scan(&self, request: &ScanRequest) -> mlops_core::Result<BatchStream> {
        let rows = self.clone();
        let joined = self.joined.scan(&ScanRequest::all().batch_rows(request.rows_per_batch()))?;
        let completed = joined.map(move |batch| Ok(rows.complete(&batch?)?));
        request.finish(BatchStream::new(self.schema.clone(), completed))
    }
}
