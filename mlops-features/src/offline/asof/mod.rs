//! The as-of join: for each entity row, the feature row that was valid at its instant.
//!
//! Per set of key columns, the entity rows are grouped by key once. Each view is then read twice: first its keys and times,
//! which are enough to choose a row per entity row, then its features a few columns at a time, of which only chosen
//! values are kept. Memory is that of the result, plus some 30 bytes per history row whose key is asked for.

mod gather;
mod history;
pub(crate) mod report;
pub(crate) mod spine;

pub use report::{AgeQuantiles, JoinReport};

use std::collections::BTreeMap;
use std::fmt;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use mlops_core::schema::{Role, Schema};
use mlops_core::{Dataset, Name};
use serde::{Deserialize, Serialize};

use self::history::Chosen;
use self::spine::{Spine, SpineKeys};
use crate::define::KeyType;
use crate::error::{Core, Result};
use crate::service::{ViewJoin, output_names};
use crate::view::annotate;

/// Settings of an as-of join.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AsOfOptions {
    event_time: Option<String>,
    as_known: bool,
    full_names: bool,
}

impl AsOfOptions {
    /// The defaults, stated at each setting.
    pub fn new() -> Self {
        Self::default()
    }

    /// Column of the entity rows with the instant of each. Default: the one with role
    /// [`EventTime`](Role::EventTime), else `event_timestamp`, else the only timestamp.
    pub fn event_time(mut self, column: impl Into<String>) -> Self {
        self.event_time = Some(column.into());
        self
    }

    /// Whether a feature row must also have been known: created at or before the instant. A row without a created time is
    /// then never chosen; a view without such a column counts as known when true. Default false.
    pub fn as_known(mut self, as_known: bool) -> Self {
        self.as_known = as_known;
        self
    }

    pub(crate) fn is_as_known(&self) -> bool {
        self.as_known
    }

    pub(crate) fn has_full_names(&self) -> bool {
        self.full_names
    }

    /// Whether feature columns are called `view__feature` instead of `feature`. Default false.
    pub fn full_names(mut self, full_names: bool) -> Self {
        self.full_names = full_names;
        self
    }
}

/// Entity rows with features joined to them, and how that went.
#[derive(Clone)]
pub struct TrainingSet {
    /// The columns of the entity rows, then those of each view; as many rows, in the same order, as there were
    /// entity rows.
    pub dataset: Dataset,
    /// One report per join, in their order.
    pub reports: Vec<JoinReport>,
}

impl fmt::Debug for TrainingSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrainingSet").field("dataset", &self.dataset).field("reports", &self.reports).finish()
    }
}

/// Joins to each row of `spine` the feature row of each view that was valid at its instant `t`.
///
/// A feature row is a candidate when all keys are equal and non-null, its event time is not after `t` and, with a ttl, its age
/// is at most the ttl (so an age of exactly the ttl is still valid). Of several, the one with the greatest event time
/// wins, then the greatest created time (none is lowest), then the last in source order. A chosen row is taken whole,
/// nulls included. No entity row is dropped, duplicated or reordered; one without a candidate has nulls.
///
/// * `spine`: entity rows: key columns, an instant, and whatever else is to be kept.
/// * `views`: what to join, each with its history: rows with the columns of the view's schema. Feature columns may be
///   missing or of another type only if they are not selected.
///
/// # Errors
/// `Core(Schema)` for a missing column or one of another type, `Core(InvalidData)` for an instant or event time that is null or
/// out of range, [`Error::Collision`](crate::Error::Collision) when two columns would have one name, `Core(Conflict)` when a history gave other
/// rows the second time it was read, `Core(Invalid)` above 4294967294 rows on either side.
pub fn as_of_join(spine: &Dataset, views: &[(ViewJoin, Dataset)], options: &AsOfOptions) -> Result<TrainingSet> {
    let names = output_names(views.iter().map(|(join, _)| join), options.full_names, spine.schema().names())?;
    let time = time_column(spine.schema(), options)?;
    let spine = Spine::read(spine, &time)?;
    let mut keyed: BTreeMap<Vec<(&Name, KeyType)>, SpineKeys> = BTreeMap::new();
    let mut fields = spine.fields();
    let mut columns: Vec<ArrayRef> = Vec::new();
    let mut reports = Vec::new();
    for ((join, history), names) in views.iter().zip(names) {
        let types = join.view().entity().keys().iter().map(|key| key.key_type);
        let by: Vec<(&Name, KeyType)> = join.key_columns().iter().zip(types).collect();
        if !keyed.contains_key(&by) {
            let keys = SpineKeys::group(&spine, join)?;
            keyed.insert(by.clone(), keys);
        }
        let Chosen { rows, history_rows, report } = history::choose(join, history, &keyed[&by], options.as_known)?;
        columns.extend(gather::columns(join, history, &rows, history_rows)?);
        reports.push(report);
        for (feature, name) in join.features().zip(names) {
            let field = Field::new(name, feature.value_type.data_type(), true);
            fields.push(annotate(field, Role::Feature, feature.sensitivity)?);
        }
    }
    let dataset = spine.extend(Schema::new(ArrowSchema::new(fields))?, &columns)?;
    Ok(TrainingSet { dataset, reports })
}

/// The column with the instants of entity rows.
pub(crate) fn time_column(schema: &Schema, options: &AsOfOptions) -> Result<String> {
    if let Some(column) = &options.event_time {
        schema.index_of(column)?;
        return Ok(column.clone());
    }
    let by_role = schema.with(Role::EventTime);
    if let [one] = by_role.as_slice() {
        return Ok((*one).to_owned());
    }
    if schema.index_of("event_timestamp").is_ok() {
        return Ok("event_timestamp".to_owned());
    }
    let is_time = |field: &&std::sync::Arc<Field>| matches!(field.data_type(), DataType::Timestamp(..));
    let times: Vec<&str> = schema.arrow().fields().iter().filter(is_time).map(|field| field.name().as_str()).collect();
    match times.as_slice() {
        [one] => Ok((*one).to_owned()),
        found => Err(Core::schema("event time", "one timestamp column", format!("{found:?}")).into()),
    }
}

/// Refuses what cannot be numbered in 32 bits.
pub(crate) fn ensure_countable(what: &'static str, rows: usize) -> Result<()> {
    if rows < u32::MAX as usize {
        return Ok(());
    }
    Err(Core::invalid(what, rows, "at most 4294967294 rows").into())
}

/// Batches with the columns named, of `data`.
pub(crate) fn scan(data: &Dataset, columns: &[&str]) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    /// Large enough to keep the cost per batch away, small enough to stay in the cache.
    const BATCH_ROWS: usize = 65_536;
    for column in columns {
        if data.schema().index_of(column).is_err() {
            return Err(Core::schema(*column, "a column", "no such column").into());
        }
    }
    let request = mlops_core::source::ScanRequest::all().columns(columns.iter().copied()).batch_rows(BATCH_ROWS);
    Ok(data.scan(&request)?.map(|batch| Ok(batch?)))
}

#[cfg(test)]
mod tests;
