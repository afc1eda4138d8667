//! Logged vectors against the offline join of the same plan.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Field, Schema as ArrowSchema, TimestampMicrosecondType};
use mlops_core::schema::{Finder, Schema, Sensitivity};
use mlops_core::{Dataset, Digest, EventTime, Window};
use serde::{Deserialize, Serialize};

use super::compare::same_bits;
use super::log::{LogSchema, SERVED_AT, VectorLog, event_time_name};
use super::report::{FeatureSkew, SkewExample, SkewReport};
use crate::columns::cast_exactly;
use crate::error::{Core, Result};
use crate::offline::{AsOfOptions, OfflineStore};
use crate::serve::ServingPlan;
use crate::window::{WindowJoin, window_join};

/// Settings of an [`audit`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditOptions {
    window: Window,
    as_known: bool,
    sensitivity_max: Sensitivity,
    examples: usize,
    chunk_rows: usize,
}

impl Default for AuditOptions {
    fn default() -> Self {
        Self {
            window: Window::all(),
            as_known: false,
            sensitivity_max: Sensitivity::Internal,
            examples: 5,
            chunk_rows: 1 << 18,
        }
    }
}

impl AuditOptions {
    /// The defaults, stated at each setting.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only rows that were served within `window`. Default all.
    pub fn window(mut self, window: Window) -> Self {
        self.window = window;
        self
    }

    /// Whether training rows are made with [`AsOfOptions::as_known`]: nothing is late then. Default false.
    pub fn as_known(mut self, as_known: bool) -> Self {
        self.as_known = as_known;
        self
    }

    /// What the logger kept: see [`VectorLoggerBuilder::sensitivity_max`](super::VectorLoggerBuilder::sensitivity_max).
    /// Default `Internal`.
    pub fn sensitivity_max(mut self, sensitivity: Sensitivity) -> Self {
        self.sensitivity_max = sensitivity;
        self
    }

    /// Most examples per column. Default 5.
    pub fn examples(mut self, examples: usize) -> Self {
        self.examples = examples;
        self
    }

    /// Rows that are joined at once: memory grows with it, the number of reads of the history shrinks. At least 1; default
    /// 262144.
    pub fn chunk_rows(mut self, rows: usize) -> Self {
        self.chunk_rows = rows.max(1);
        self
    }
}

/// Compares what `log` holds of `plan`'s answers with what training rows of the same keys and instants hold.
///
/// Each logged value is looked for, bit for bit, in this order:
/// 1. in the training row of its instant: **equal**;
/// 2. in what was known at its instant (`created ≤ served_at`), where views have a created time: **late**. A training row
///    of later holds what nobody could have served;
/// 3. in the feature rows that the store served, by their logged event times: **behind** when those lie before the
///    instant, since the store had an older row than history has by now (the materialization had not come so far, or the
///    newer row arrived late in a view that does not say when), **ahead** when one lies after;
/// 4. nowhere: **differing**, which is skew.
///
/// What is compared is what was known, not what a view's policy served in its place. The two zeros differ, and a NaN equals
/// one of the same bits only. Keys are told as BLAKE3 digests of the bytes of [`Keys::encode`](crate::Keys::encode), for all
/// distinct keys of the plan one after the other.
///
/// # Errors
/// As [`ServingPlan::training_set`] and [`VectorLog::read`]; `Core(Schema)` when the log holds other columns than the plan.
pub fn audit(
    log: &dyn VectorLog,
    offline: &dyn OfflineStore,
    plan: &ServingPlan,
    options: &AuditOptions,
) -> Result<SkewReport> {
    audit_with(log, offline, plan, &[], options)
}

/// As [`audit`], for a plan with [live](ServingPlan::live) window views, whose features are joined from `events`: the raw
/// events of each of them, by its name. What had not come in when a request was served is counted as differing: events have no
/// created time by which it could be told as late.
///
/// # Errors
/// As [`audit`] and [`ServingPlan::training_set_with`].
pub fn audit_with(
    log: &dyn VectorLog,
    offline: &dyn OfflineStore,
    plan: &ServingPlan,
    events: &[(&str, Dataset)],
    options: &AuditOptions,
) -> Result<SkewReport> {
    let columns = LogSchema::new(plan, options.sensitivity_max)?;
    let named = |position: &usize| plan.schema().field(*position).name().clone();
    let feature = |position| FeatureSkew { feature: named(position), ..FeatureSkew::default() };
    let mut report = SkewReport {
        service: plan.service().clone(),
        plan: plan.fingerprint(),
        rows: 0,
        span: None,
        features: columns.kept.iter().map(feature).collect(),
        masked: columns.masked.clone(),
    };
    let auditor = Auditor { offline, plan, events, options, columns: &columns };
    let mut waiting = Vec::new();
    let mut rows = 0;
    for batch in log.read(options.window)? {
        let batch = auditor.logged(&batch?)?;
        rows += batch.num_rows();
        waiting.push(batch);
        if rows >= options.chunk_rows {
            auditor.chunk(&std::mem::take(&mut waiting), &mut report)?;
            rows = 0;
        }
    }
    auditor.chunk(&waiting, &mut report)?;
    Ok(report)
}

struct Auditor<'a> {
    offline: &'a dyn OfflineStore,
    plan: &'a ServingPlan,
    events: &'a [(&'a str, Dataset)],
    options: &'a AuditOptions,
    columns: &'a LogSchema,
}

impl Auditor<'_> {
    /// Rows of the log, as the plan's columns and within the window.
    fn logged(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut finder = Finder::of(batch.schema_ref().fields());
        let read = |field: &Arc<Field>| {
            let missing = || Core::schema(field.name(), field.data_type(), "no such column in the log");
            let column = batch.column(finder.find(field.name()).ok_or_else(missing)?);
            cast_exactly(column, field.data_type(), field.name())
        };
        let schema = self.columns.schema.arrow();
        let columns = schema.fields().iter().map(read).collect::<Result<Vec<_>>>()?;
        let batch = RecordBatch::try_new(schema.clone(), columns)?;
        let at = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        let within = |row| self.options.window.contains(EventTime::from_micros(at.value(row)));
        let within = BooleanBuffer::collect_bool(batch.num_rows(), within);
        Ok(filter_record_batch(&batch, &BooleanArray::new(within, None))?)
    }

    fn chunk(&self, batches: &[RecordBatch], report: &mut SkewReport) -> Result<()> {
        let rows = concat_batches(self.columns.schema.arrow(), batches)?;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        report.rows += rows.num_rows() as u64;
        let at = rows.column(0).as_primitive::<TimestampMicrosecondType>();
        let ends = arrow::compute::min(at).zip(arrow::compute::max(at));
        if let Some((first, last)) = ends.map(|(a, b)| (EventTime::from_micros(a), EventTime::from_micros(b))) {
            report.span = Some(report.span.map_or((first, last), |(a, b)| (a.min(first), b.max(last))));
        }
        let asked = self.asked(&rows)?;
        let trained = self.training(&asked, self.options.as_known)?;
        let same: Vec<BooleanBuffer> = self.compare(&rows, &trained)?;
        let mut explained = None;
        for (place, same) in same.into_iter().enumerate() {
            let skew = &mut report.features[place];
            let equal = same.count_set_bits() as u64;
            skew.compared += rows.num_rows() as u64;
            skew.equal += equal;
            if equal == rows.num_rows() as u64 {
                continue;
            }
            if explained.is_none() {
                explained = Some(self.explain(&rows, &asked)?);
            }
            let Some(explained) = &explained else { continue };
            for row in (0..rows.num_rows()).filter(|row| !same.value(*row)) {
                if explained.known[place].value(row) {
                    skew.late += 1;
                } else if explained.served[place].value(row) && explained.ahead.value(row) {
                    skew.ahead += 1;
                } else if explained.served[place].value(row) {
                    skew.behind += 1;
                } else {
                    skew.differing += 1;
                    if skew.examples.len() < self.options.examples {
                        skew.examples.push(self.example(&asked, at.value(row), row)?);
                    }
                }
            }
        }
        Ok(())
    }

    /// Columns of the caller and the instant.
    fn asked(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let callers = self.plan.caller_schema().fields().len();
        Ok(rows.project(&(0..=callers).collect::<Vec<_>>())?)
    }

    /// Returned columns of training rows for `asked`.
    fn training(&self, asked: &RecordBatch, as_known: bool) -> Result<RecordBatch> {
        let options = AsOfOptions::new().event_time(SERVED_AT).as_known(as_known);
        let spine = Dataset::from_batches([asked.clone()])?;
        let set = self.plan.training_set_with(self.offline, &spine, self.events, &options)?;
        self.returned(&set.dataset)
    }

    fn returned(&self, data: &Dataset) -> Result<RecordBatch> {
        let names: Vec<&str> = self.plan.schema().fields().iter().map(|field| field.name().as_str()).collect();
        let request = mlops_core::source::ScanRequest::all().columns(names);
        Ok(Dataset::collect(data.scan(&request)?)?.to_batch()?)
    }

    /// Per kept column, the rows at which the log and `computed` have the same bits.
    fn compare(&self, logged: &RecordBatch, computed: &RecordBatch) -> Result<Vec<BooleanBuffer>> {
        let first = logged.num_columns() - self.columns.kept.len();
        let compare =
            |(place, position): (usize, &usize)| same_bits(logged.column(first + place), computed.column(*position));
        self.columns.kept.iter().enumerate().map(compare).collect()
    }

    fn explain(&self, rows: &RecordBatch, asked: &RecordBatch) -> Result<Explained> {
        let known = self.compare(rows, &self.training(asked, true)?)?;
        let served = self.compare(rows, &self.as_served(rows, asked)?)?;
        let at = rows.column(0).as_primitive::<TimestampMicrosecondType>();
        let times: Vec<&TimestampMicrosecondArray> = self.event_times(rows)?;
        let ahead = |row: usize| times.iter().any(|times| times.is_valid(row) && times.value(row) > at.value(row));
        Ok(Explained { known, served, ahead: BooleanBuffer::collect_bool(rows.num_rows(), ahead) })
    }

    fn event_times<'b>(&self, rows: &'b RecordBatch) -> Result<Vec<&'b TimestampMicrosecondArray>> {
        let find = |label: &str| {
            let name = event_time_name(label);
            let missing = || Core::schema(name.as_str(), EventTime::data_type(), "no such column in the log");
            Ok(rows.column_by_name(&name).ok_or_else(missing)?.as_primitive())
        };
        self.plan.joins().iter().map(|join| find(join.label().as_str())).collect()
    }

    /// Returned columns over the feature rows that were served, each view as of the event time of its own.
    fn as_served(&self, rows: &RecordBatch, asked: &RecordBatch) -> Result<RecordBatch> {
        let mut fields: Vec<Arc<Field>> = asked.schema().fields().iter().cloned().collect();
        let mut columns: Vec<ArrayRef> = asked.columns().to_vec();
        let mut add = |joined: RecordBatch| {
            fields.extend(joined.schema().fields().iter().skip(asked.num_columns()).cloned());
            columns.extend(joined.columns().iter().skip(asked.num_columns()).cloned());
        };
        let options = AsOfOptions::new().event_time(SERVED_AT).full_names(true);
        let reads = || self.plan.joins().iter().zip(self.plan.windows());
        for ((join, _), times) in reads().zip(self.event_times(rows)?).filter(|((_, windows), _)| windows.is_none()) {
            // No row was served: nothing is known before all time.
            let times = times.iter().map(|time| Some(time.unwrap_or(i64::MIN))).collect::<TimestampMicrosecondArray>();
            let mut spine = asked.columns().to_vec();
            spine[0] = Arc::new(times.with_timezone("UTC"));
            let spine = Dataset::from_batches([RecordBatch::try_new(asked.schema(), spine)?])?;
            add(self.offline.as_of(&spine, std::slice::from_ref(join), &options)?.dataset.to_batch()?);
        }
        for (join, windows) in reads().filter_map(|(join, windows)| Some((join, windows?))) {
            let events = self.events.iter().find(|(view, _)| *view == windows.name().as_str());
            let (_, events) =
                events.ok_or_else(|| Core::not_found("events of window view", windows.name().as_str()))?;
            let spine = Dataset::from_batches([asked.clone()])?;
            let views = [(WindowJoin::selecting(windows, join), events.clone())];
            add(window_join(&spine, &views, &options)?.dataset.to_batch()?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(asked.num_rows()));
        let joined = RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), columns, &options)?;
        let joined = Dataset::from_batches([joined])?;
        let spine = Schema::new(asked.schema())?;
        self.returned(&self.plan.completed(&spine, joined, &AsOfOptions::new().event_time(SERVED_AT))?)
    }

    fn example(&self, asked: &RecordBatch, served_at: i64, row: usize) -> Result<SkewExample> {
        let mut bytes = Vec::new();
        for keys in self.plan.keys_of(&asked.slice(row, 1))? {
            keys.encode(0, &mut bytes);
        }
        Ok(SkewExample { key: Digest::of(&bytes), served_at: EventTime::from_micros(served_at) })
    }
}

/// Where else the logged values were found, per kept column and row.
struct Explained {
    known: Vec<BooleanBuffer>,
    served: Vec<BooleanBuffer>,
    /// Per row: a feature row that was served lies after the instant.
    ahead: BooleanBuffer,
}
