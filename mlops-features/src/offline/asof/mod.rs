//! The as-of join: for each entity row, the feature row that was valid at its instant.
//!
//! Entry points: [`as_of_join`], and [`AsOfEngine`] for those who bring their own engine.

mod ages;
mod engine;
mod gather;
pub(crate) mod group;
mod history;
pub(crate) mod joined;
pub(crate) mod native;
pub(crate) mod options;
pub(crate) mod partition;
#[cfg(feature = "polars")]
mod polars;
pub(crate) mod report;
pub(crate) mod spine;
mod training;

pub use engine::{AsOfEngine, NativeEngine};
pub use options::AsOfOptions;
#[cfg(feature = "polars")]
pub use polars::PolarsEngine;
pub use report::{AgeQuantiles, JoinReport};
pub(crate) use training::Origin;
pub use training::{SaveOptions, SavedTrainingSet, TrainingLineage, TrainingSet, ViewLineage};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use mlops_core::Dataset;
use mlops_core::schema::{Role, Schema};

use crate::error::{Core, Result};
use crate::service::{ViewJoin, output_names};
use crate::view::annotate;

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
/// Memory stays within what [`AsOfOptions::memory_bytes`] says; time is linear in the rows on both sides. Where the result
/// does not fit, its data set is put together from files without a name whenever it is read, which vanish with it.
///
/// # Errors
/// `Core(Schema)` for a missing column or one of another type, `Core(InvalidData)` for an instant or event time that is null or
/// out of range, [`Error::Collision`](crate::Error::Collision) when two columns would have one name, `Core(Conflict)` when a history gave other
/// rows the second time it was read, `Core(Invalid)` above 4294967294 rows of a history, `Core(Io)` when there is no room for
/// the files.
pub fn as_of_join(spine: &Dataset, views: &[(ViewJoin, Dataset)], options: &AsOfOptions) -> Result<TrainingSet> {
    NativeEngine.join(spine, views, options)
}

/// Columns of the result: those of the entity rows, then the features.
pub(crate) fn output_schema<'a>(
    spine: &Schema,
    joins: impl Iterator<Item = &'a ViewJoin> + Clone,
    options: &AsOfOptions,
) -> Result<Schema> {
    let names = output_names(joins.clone(), options.has_full_names(), spine.names())?;
    let mut fields: Vec<Field> = spine.arrow().fields().iter().map(|field| field.as_ref().clone()).collect();
    for (join, names) in joins.zip(names) {
        for (feature, name) in join.features().zip(names) {
            let field = Field::new(name, feature.value_type.data_type(), true);
            fields.push(annotate(field, Role::Feature, feature.sensitivity)?);
        }
    }
    Ok(Schema::new(ArrowSchema::new(fields))?)
}

/// The column with the instants of entity rows.
pub(crate) fn time_column(schema: &Schema, options: &AsOfOptions) -> Result<String> {
    if let Some(column) = options.time_column() {
        schema.index_of(column)?;
        return Ok(column.to_owned());
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

/// Batches of at most `rows` rows with the columns named, of `data`.
pub(crate) fn scan(
    data: &Dataset,
    columns: &[&str],
    rows: usize,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    for column in columns {
        if data.schema().index_of(column).is_err() {
            return Err(Core::schema(*column, "a column", "no such column").into());
        }
    }
    let request = mlops_core::source::ScanRequest::all().columns(columns.iter().copied()).batch_rows(rows);
    Ok(data.scan(&request)?.map(|batch| Ok(batch?)))
}

#[cfg(test)]
mod tests;
