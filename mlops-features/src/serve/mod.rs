//! Feature vectors for requests: a service, compiled once, read in one round trip, with a truthful status per value.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{nullif, take};
use arrow::datatypes::{Field, Schema as ArrowSchema, SchemaRef};
use async_trait::async_trait;
use mlops_core::rank::{Budget, Hydrator, Query, Slate};
use mlops_core::schema::Role;
use mlops_core::{EventTime, Name};
use serde::{Deserialize, Serialize};

use crate::error::{Core, Result};
use crate::key::{Keys, pick};
use crate::online::{OnlineRead, OnlineRows, OnlineStore};
use crate::service::{FeatureService, ViewJoin, output_names};
use crate::view::{FeatureView, annotate};

/// What is behind one value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum Status {
    /// The value is there and not too old.
    Present,
    /// The key is known and not too old; its value is null.
    NullValue,
    /// There is no row for the key, or the key is null. The value is null.
    NotFound,
    /// The row is older than the view's ttl. The value is null, as it is in an as-of join.
    OutsideMaxAge,
}

/// A feature service with its views looked up and its columns named: all that can go wrong before a request has not.
#[derive(Clone, Debug)]
pub struct ServingPlan {
    service: Name,
    joins: Vec<ViewJoin>,
    schema: SchemaRef,
}

impl ServingPlan {
    /// Compiles `service`, whose views are among `views`.
    ///
    /// # Errors
    /// As [`FeatureService::joins`].
    pub fn compile(service: &FeatureService, views: &[FeatureView]) -> Result<Self> {
        let joins = service.joins(views)?;
        let names = output_names(&joins, service.full_names(), [])?;
        let features = joins.iter().flat_map(ViewJoin::features);
        let fields = names.into_iter().flatten().zip(features).map(|(name, feature)| {
            annotate(Field::new(name, feature.value_type.data_type(), true), Role::Feature, feature.sensitivity)
        });
        let schema = Arc::new(ArrowSchema::new(fields.collect::<Result<Vec<_>>>()?));
        Ok(Self { service: service.name().clone(), joins, schema })
    }

    /// The service.
    pub fn service(&self) -> &Name {
        &self.service
    }

    /// What is read of each view.
    pub fn joins(&self) -> &[ViewJoin] {
        &self.joins
    }

    /// Columns of a feature vector, annotated.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Columns that a caller must have: the keys of all views, each once, in order of first use.
    pub fn key_columns(&self) -> Vec<&Name> {
        let mut names = Vec::new();
        for name in self.joins.iter().flat_map(ViewJoin::key_columns) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

/// Answers feature vectors of one service from one store, and counts what they were made of.
pub struct FeatureServer {
    plan: ServingPlan,
    store: Arc<dyn OnlineStore>,
    counters: Vec<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    present: AtomicU64,
    null_value: AtomicU64,
    not_found: AtomicU64,
    outside_max_age: AtomicU64,
    ahead: AtomicU64,
}

/// How many values of one view had which status since the server was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusCounts {
    /// The view, or its alias.
    pub view: Name,
    /// [`Status::Present`].
    pub present: u64,
    /// [`Status::NullValue`].
    pub null_value: u64,
    /// [`Status::NotFound`].
    pub not_found: u64,
    /// [`Status::OutsideMaxAge`].
    pub outside_max_age: u64,
    /// Rows, not values, whose event time was after the request's instant. Their values are served.
    pub ahead: u64,
}

/// Feature vectors, column by column.
#[derive(Clone, Debug)]
pub struct FeatureVectors {
    schema: SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
    /// One per value, column by column.
    statuses: Vec<Status>,
    /// Per column the view that it comes from.
    views: Vec<usize>,
    /// Per view and row.
    ages: Vec<Vec<Option<i64>>>,
}

impl FeatureVectors {
    /// Names, types and annotations of the columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns, as long as there were entities.
    pub fn columns(&self) -> &[ArrayRef] {
        &self.columns
    }

    /// Number of entities.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Statuses of `column`, one per entity; empty beyond the last column.
    pub fn statuses(&self, column: usize) -> &[Status] {
        self.statuses.get(column * self.rows..(column + 1) * self.rows).unwrap_or_default()
    }

    /// Microseconds from the event time of the row behind a value to "now", negative when it lies ahead; `None` where there
    /// is no row.
    pub fn age_us(&self, column: usize, row: usize) -> Option<i64> {
        let view = self.views.get(column)?;
        self.ages.get(*view)?.get(row).copied().flatten()
    }

    /// The age of a value, zero when its event time lies ahead; `None` where there is no row.
    pub fn age(&self, column: usize, row: usize) -> Option<Duration> {
        self.age_us(column, row).map(|age| Duration::from_micros(u64::try_from(age).unwrap_or(0)))
    }

    /// The columns as one batch.
    ///
    /// # Errors
    /// None at present: the columns are those of the schema.
    pub fn to_batch(&self) -> Result<RecordBatch> {
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), self.columns.clone(), &options)?)
    }
}

impl FeatureServer {
    /// Serves `plan` from `store`.
    pub fn new(plan: ServingPlan, store: Arc<dyn OnlineStore>) -> Self {
        let counters = plan.joins.iter().map(|_| Counters::default()).collect();
        Self { plan, store, counters }
    }

    /// What it serves.
    pub fn plan(&self) -> &ServingPlan {
        &self.plan
    }

    /// Feature vectors as of `now`, one per row of `entities`, in their order.
    ///
    /// A value older than its view's ttl is null with [`Status::OutsideMaxAge`]; an age of exactly the ttl is not too old.
    /// The store holds one row per key, so one whose event time is after `now` cannot be exchanged for the one before: it is
    /// served, has a negative age, and is counted as `ahead`.
    ///
    /// * `entities`: at least the [key columns](ServingPlan::key_columns); null keys are answered with `NotFound`.
    ///
    /// # Errors
    /// `Core(Schema)` for a missing key column or one of another type; whatever [`OnlineStore::read`] says.
    pub async fn get(&self, entities: &RecordBatch, now: EventTime) -> Result<FeatureVectors> {
        let key = |join: &ViewJoin| Keys::new(join.view().entity(), &pick(entities, join.key_columns())?);
        let keys = self.plan.joins.iter().map(key).collect::<Result<Vec<_>>>()?;
        let parts = self.read(&keys, now).await?;
        let rows = entities.num_rows();
        let width = self.plan.schema.fields().len();
        let mut vectors = FeatureVectors {
            schema: self.plan.schema.clone(),
            columns: Vec::with_capacity(width),
            rows,
            statuses: Vec::with_capacity(width * rows),
            views: Vec::with_capacity(width),
            ages: Vec::with_capacity(parts.len()),
        };
        for (view, part) in parts.into_iter().enumerate() {
            vectors.views.extend(std::iter::repeat_n(view, part.columns.len()));
            vectors.columns.extend(part.columns);
            vectors.statuses.extend(part.statuses);
            vectors.ages.push(part.ages);
        }
        Ok(vectors)
    }

    /// What is known of `keys`, one element per view of the plan.
    async fn read(&self, keys: &[Keys], now: EventTime) -> Result<Vec<Part>> {
        let reads = self.plan.joins.iter().zip(keys);
        let reads = reads.map(|(join, keys)| OnlineRead { view: join.view(), features: join.feature_indices(), keys });
        let reads: Vec<OnlineRead<'_>> = reads.collect();
        let answers = self.store.read(&reads).await?;
        if answers.len() != reads.len() {
            let found = format!("{} answers to {} reads", answers.len(), reads.len());
            return Err(Core::schema("online store", "one answer per read", found).into());
        }
        let judged = self.plan.joins.iter().zip(&self.counters).zip(answers);
        judged.map(|((join, counters), rows)| Part::judge(join, rows, now, counters)).collect()
    }

    /// Statuses so far, per view in the order of the plan.
    pub fn counts(&self) -> Vec<StatusCounts> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = self.plan.joins.iter().zip(&self.counters).map(|(join, counters)| StatusCounts {
            view: join.label().clone(),
            present: read(&counters.present),
            null_value: read(&counters.null_value),
            not_found: read(&counters.not_found),
            outside_max_age: read(&counters.outside_max_age),
            ahead: read(&counters.ahead),
        });
        counts.collect()
    }
}

impl fmt::Debug for FeatureServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeatureServer")
            .field("service", &self.plan.service)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// What was read of one view, with statuses.
struct Part {
    columns: Vec<ArrayRef>,
    statuses: Vec<Status>,
    ages: Vec<Option<i64>>,
}

impl Part {
    fn judge(join: &ViewJoin, rows: OnlineRows, now: EventTime, counters: &Counters) -> Result<Self> {
        let count = rows.event_time.len();
        let age = |row: usize| rows.event_time(row).map(|at| now.as_micros().saturating_sub(at.as_micros()));
        let ages: Vec<Option<i64>> = (0..count).map(age).collect();
        let ttl = join.view().ttl_us().map_or(i64::MAX, |ttl| i64::try_from(ttl).unwrap_or(i64::MAX));
        let of_row = |age: &Option<i64>| match age {
            None => Status::NotFound,
            Some(age) if *age > ttl => Status::OutsideMaxAge,
            Some(_) => Status::Present,
        };
        let of_rows: Vec<Status> = ages.iter().map(of_row).collect();
        let expired = of_rows.contains(&Status::OutsideMaxAge);
        let mask = expired.then(|| of_rows.iter().map(|s| Some(*s == Status::OutsideMaxAge)).collect::<BooleanArray>());
        let mut statuses = Vec::with_capacity(count * rows.columns.len());
        let mut columns = Vec::with_capacity(rows.columns.len());
        for column in rows.columns {
            if column.len() != count {
                let found = format!("{} values", column.len());
                return Err(Core::schema(join.label().as_str(), format!("{count} values"), found).into());
            }
            match column.nulls() {
                None => statuses.extend_from_slice(&of_rows),
                Some(nulls) => statuses.extend(of_rows.iter().enumerate().map(|(row, status)| match status {
                    Status::Present if nulls.is_null(row) => Status::NullValue,
                    other => *other,
                })),
            }
            columns.push(match &mask {
                Some(mask) => nullif(&column, mask)?,
                None => column,
            });
        }
        counters.add(&statuses, ages.iter().flatten().filter(|age| **age < 0).count());
        Ok(Self { columns, statuses, ages })
    }
}

impl Counters {
    fn add(&self, statuses: &[Status], ahead: usize) {
        let count = |wanted: Status| statuses.iter().filter(|status| **status == wanted).count() as u64;
        let pairs = [
            (&self.present, count(Status::Present)),
            (&self.null_value, count(Status::NullValue)),
            (&self.not_found, count(Status::NotFound)),
            (&self.outside_max_age, count(Status::OutsideMaxAge)),
            (&self.ahead, ahead as u64),
        ];
        for (counter, more) in pairs.into_iter().filter(|(_, more)| *more > 0) {
            counter.fetch_add(more, Ordering::Relaxed);
        }
    }
}

/// A feature service as a stage of ranking: reads the context's features once and each candidate's own, in one round trip.
///
/// A view's key columns are looked up among the candidates' columns first, then in the query's context. A view that only
/// needs the context is read for one key, and its values are repeated for every candidate.
#[derive(Debug)]
pub struct FeatureServiceHydrator {
    name: Name,
    server: Arc<FeatureServer>,
}

impl FeatureServiceHydrator {
    /// A stage of this name.
    pub fn new(name: Name, server: Arc<FeatureServer>) -> Self {
        Self { name, server }
    }

    /// What it reads from.
    pub fn server(&self) -> &Arc<FeatureServer> {
        &self.server
    }
}

/// Keys of `join` for every candidate, or the one of the context for all of them (then true).
fn keys_for(join: &ViewJoin, query: &Query, slate: &Slate) -> Result<(Keys, bool)> {
    let entity = join.view().entity();
    let own = |name: &Name| slate.rows().column_by_name(name.as_str());
    let shared = |name: &Name| query.context().column_by_name(name.as_str());
    let missing = |name: &Name| Core::schema(name.as_str(), "a key column of candidates or context", "no such column");
    if join.key_columns().iter().all(|name| own(name).is_none()) {
        return Ok((Keys::new(entity, &pick(query.context(), join.key_columns())?)?, true));
    }
    let column = |name: &Name| match (own(name), shared(name)) {
        (Some(own), _) => Ok(own.clone()),
        (None, Some(shared)) => Ok(repeat(shared, slate.len())?),
        (None, None) => Err(missing(name).into()),
    };
    let arrays = join.key_columns().iter().map(column).collect::<Result<Vec<_>>>()?;
    Ok((Keys::new(entity, &arrays)?, false))
}

/// The first value of `array`, `rows` times.
fn repeat(array: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    Ok(take(array, &UInt32Array::from_value(0, rows), None)?)
}

#[async_trait]
impl Hydrator for FeatureServiceHydrator {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        self.server.plan.schema.fields().iter().map(|field| field.as_ref().clone()).collect()
    }

    async fn hydrate(&self, query: &Query, slate: &Slate, _budget: Budget) -> mlops_core::Result<Vec<ArrayRef>> {
        let sought = self.server.plan.joins.iter().map(|join| keys_for(join, query, slate));
        let (keys, shared): (Vec<Keys>, Vec<bool>) = sought.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        let parts = self.server.read(&keys, query.at()).await?;
        let mut columns = Vec::with_capacity(self.server.plan.schema.fields().len());
        for (part, shared) in parts.into_iter().zip(shared) {
            for column in part.columns {
                columns.push(if shared { repeat(&column, slate.len())? } else { column });
            }
        }
        Ok(columns)
    }
}
