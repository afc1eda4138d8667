//! Where served vectors are kept, and what a row of them holds.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::nullif;
use arrow::datatypes::{Field, Schema as ArrowSchema};
use mlops_core::schema::{Role, Schema, Sensitivity};
use mlops_core::{Digest, EventTime, Window};

use crate::columns::cast_exactly;
use crate::error::{Core, Error, Result};
use crate::serve::{FeatureVectors, ServingPlan, Status};
use crate::view::annotate;

/// The column with the instants of requests.
pub(super) const SERVED_AT: &str = "served_at";

/// Served vectors of one service, in the order of their arrival.
///
/// # Contract
/// * Rows of an append that returned are read from then on, in any order; of one that failed, none are. The very same rows
///   appended again may be there once.
/// * `read` gives all rows whose `served_at` lies in the window; others may come along.
///
/// `testkit::vector_log` checks these; run it on your own log.
pub trait VectorLog: Debug + Send + Sync + 'static {
    /// Adds `rows`, all of the schema of the first append.
    ///
    /// # Errors
    /// Whatever keeps the log from writing.
    fn append(&self, rows: &RecordBatch) -> Result<()>;

    /// Batches of rows that were served within `window`.
    ///
    /// # Errors
    /// Whatever keeps the log from reading, also out of the iterator.
    fn read(&self, window: Window) -> Result<Box<dyn Iterator<Item = Result<RecordBatch>> + Send>>;
}

/// The columns of a log: what a plan is asked with, what it answered, and when the rows behind that became true.
///
/// ```text
/// served_at | keys and other columns of the caller | event_time(view) per read | returned columns
/// ```
#[derive(Clone, Debug)]
pub(super) struct LogSchema {
    plan: ServingPlan,
    pub(super) schema: Schema,
    /// Columns of the caller: names, in the order of the log.
    callers: Vec<Field>,
    /// Returned columns that are kept, by position in the plan's schema.
    pub(super) kept: Vec<usize>,
    /// Names of those that are not.
    pub(super) masked: Vec<String>,
}

impl LogSchema {
    /// Of `plan`, without columns that are more sensitive than `sensitivity_max`.
    ///
    /// # Errors
    /// [`Error::Collision`] when two columns would have one name.
    pub(super) fn new(plan: &ServingPlan, sensitivity_max: Sensitivity) -> Result<Self> {
        let told = Schema::new(plan.schema().clone())?;
        let mut kept = Vec::new();
        let mut masked = Vec::new();
        for (position, name) in told.names().enumerate() {
            if told.sensitivity(name)? <= sensitivity_max {
                kept.push(position);
            } else {
                masked.push(name.to_owned());
            }
        }
        let callers: Vec<Field> = plan.caller_schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        let time = |name: String, nullable| Field::new(name, EventTime::data_type(), nullable);
        let served_at = annotate(time(SERVED_AT.to_owned(), false), Role::EventTime, Sensitivity::default())?;
        let reads = plan.joins().iter().map(|join| time(event_time_name(join.label().as_str()), true));
        let returned = kept.iter().map(|position| plan.schema().field(*position).clone());
        let fields: Vec<Field> = [served_at].into_iter().chain(callers.clone()).chain(reads).chain(returned).collect();
        let mut seen = BTreeSet::new();
        if let Some(twice) = fields.iter().find(|field| !seen.insert(field.name())) {
            let (first, second) = ("columns of the caller".to_owned(), format!("service `{}`", plan.service()));
            return Err(Error::Collision { column: twice.name().clone(), first, second });
        }
        Ok(Self { plan: plan.clone(), schema: Schema::new(ArrowSchema::new(fields))?, callers, kept, masked })
    }

    pub(super) fn fingerprint(&self) -> Digest {
        self.plan.fingerprint()
    }

    /// Rows of `entities` whose keys are in the sample; all of them when their share is one.
    pub(super) fn pick(
        &self,
        entities: &RecordBatch,
        share: f64,
        in_sample: impl Fn(&[u8]) -> bool,
    ) -> Result<BooleanBuffer> {
        let rows = entities.num_rows();
        if share >= 1.0 {
            return Ok(BooleanBuffer::new_set(rows));
        }
        let keys = self.plan.keys_of(entities)?;
        let mut bytes = Vec::new();
        Ok(BooleanBuffer::collect_bool(rows, |row| {
            bytes.clear();
            for keys in &keys {
                keys.encode(row, &mut bytes);
            }
            in_sample(&bytes)
        }))
    }

    /// `vectors`, which `entities` asked for at `now`, as rows of the log.
    ///
    /// # Errors
    /// `Core(Schema)` when `entities` are not those of the vectors.
    pub(super) fn rows(&self, entities: &RecordBatch, vectors: &FeatureVectors, now: EventTime) -> Result<RecordBatch> {
        let rows = vectors.rows();
        if entities.num_rows() != rows {
            let found = format!("{} entities", entities.num_rows());
            return Err(Core::schema(self.plan.service().as_str(), format!("{rows} entities"), found).into());
        }
        let times = |values: Vec<Option<i64>>| {
            Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC")) as ArrayRef
        };
        let mut columns = vec![times(vec![Some(now.as_micros()); rows])];
        for field in &self.callers {
            let missing = || Core::schema(field.name(), field.data_type(), "no such column");
            let column = entities.column_by_name(field.name()).ok_or_else(missing)?;
            columns.push(cast_exactly(column, field.data_type(), field.name())?);
        }
        for read in 0..self.plan.joins().len() {
            columns.push(times((0..rows).map(|row| vectors.event_time_of(read, row, now)).collect()));
        }
        for position in &self.kept {
            let column = &vectors.columns()[*position];
            // An empty window is known, whether there is a state or not.
            columns.push(if vectors.plan().is_live(*position) {
                column.clone()
            } else {
                known(column, vectors.statuses(*position))?
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(self.schema.arrow().clone(), columns, &options)?)
    }
}

pub(super) fn event_time_name(label: &str) -> String {
    format!("event_time({label})")
}

/// What was known, without what a policy put in its place.
fn known(column: &ArrayRef, statuses: &[Status]) -> Result<ArrayRef> {
    let unknown = |row: usize| matches!(statuses[row], Status::NotFound | Status::OutsideMaxAge);
    let unknown = BooleanBuffer::collect_bool(statuses.len(), unknown);
    if unknown.count_set_bits() == 0 {
        return Ok(column.clone());
    }
    Ok(nullif(column, &BooleanArray::new(unknown, None))?)
}
