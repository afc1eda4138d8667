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
use crate::error::{Core, Error, Result};
use crate::offline::asof::time_column;
use crate::offline::{AsOfOptions, OfflineStore, TrainingSet};
use crate::window::{WindowJoin, window_join};

impl ServingPlan {
    /// What the service would have answered to each row of `spine` at its instant: the columns of `spine`, then those of
    /// the [schema](Self::schema). Stored features are joined as of the instant by
    /// [`OfflineStore::as_of`], computed ones are computed over them by the expressions that requests are answered with,
    /// `now()` being the instant of the row. There is one report per [join](Self::joins), and the set says
    /// [which service](TrainingSet::service) it was made for.
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
        self.training_set_with(offline, spine, &[], options)
    }

    /// As [`training_set`](Self::training_set), for a plan with [live](Self::live) window views: their features are joined
    /// from `events` by [`window_join`].
    ///
    /// [`as_known`](AsOfOptions::as_known) is about the stored features: events count from when they happened.
    ///
    /// * `events`: the raw events of each window view, by its name;
    ///   [`Definitions::window_events`](crate::definitions::Definitions::window_events) gives those that history has.
    ///
    /// # Errors
    /// As [`training_set`](Self::training_set) and [`window_join`]; `Core(NotFound)` for a window view without events.
    pub fn training_set_with(
        &self,
        offline: &dyn OfflineStore,
        spine: &Dataset,
        events: &[(&str, Dataset)],
        options: &AsOfOptions,
    ) -> Result<TrainingSet> {
        self.ensure_free(spine.schema())?;
        let mut set = self.joined(offline, spine, events, options)?;
        set.dataset = self.completed(spine.schema(), set.dataset, options)?;
        Ok(set.made_for(self.version(), self.plan().service.full_names()))
    }

    /// The columns of `spine`, then of the stored reads, then of the live ones; reports in the order of the reads.
    fn joined(
        &self,
        offline: &dyn OfflineStore,
        spine: &Dataset,
        events: &[(&str, Dataset)],
        options: &AsOfOptions,
    ) -> Result<TrainingSet> {
        let options = options.clone().full_names(true).event_time(time_column(spine.schema(), options)?);
        let reads = &self.plan().reads;
        let stored = reads.iter().filter(|read| read.live.is_none()).map(|read| read.join.clone());
        let set = offline.as_of(spine, &stored.collect::<Vec<_>>(), &options)?;
        let windows = reads.iter().filter_map(|read| {
            let view = read.live.as_ref()?.windows();
            let given = events.iter().find(|(name, _)| *name == view.name().as_str());
            let missing = || Core::not_found("events of window view", view.name().as_str());
            Some(given.ok_or_else(missing).map(|(_, data)| (WindowJoin::selecting(view, &read.join), data.clone())))
        });
        let windows = windows.collect::<Result<Vec<_>, _>>()?;
        if windows.is_empty() {
            return Ok(set);
        }
        // Events are known when they happen.
        let live = window_join(&set.dataset, &windows, &options.as_known(false))?;
        Ok(set.followed_by(live, reads.iter().map(|read| read.live.is_some())))
    }

    fn ensure_free(&self, spine: &Schema) -> Result<()> {
        let taken = self.schema().fields().iter().find(|field| spine.index_of(field.name()).is_ok());
        let Some(field) = taken else { return Ok(()) };
        let (first, second) = ("the entity rows".to_owned(), format!("service `{}`", self.service()));
        Err(Error::Collision { column: field.name().clone(), first, second })
    }

    /// The columns of `spine` and of the plan, over `joined`: those of `spine`, of the stored reads, then of the live ones.
    pub(crate) fn completed(&self, spine: &Schema, joined: Dataset, options: &AsOfOptions) -> Result<Dataset> {
        let rows = TrainingRows::new(self, spine, joined, options)?;
        Ok(Dataset::from_source(Arc::new(rows))?)
    }
}

/// Joined rows whose computed features are computed whenever they are read.
#[derive(Clone)]
struct TrainingRows {
    plan: ServingPlan,
    /// The columns of the entity rows, then those of the stored reads of the plan, then of its live ones.
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
        let reads = &plan.plan().reads;
        let mut starts = vec![0; reads.len()];
        for is_live in [false, true] {
            for (at, read) in reads.iter().enumerate().filter(|(_, read)| read.live.is_some() == is_live) {
                starts[at] = next;
                next += read.defaults.len();
            }
        }
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
