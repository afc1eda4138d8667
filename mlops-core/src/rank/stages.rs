//! Stages that most pipelines need.

use std::sync::{Arc, PoisonError, RwLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Float64Type, Schema as ArrowSchema};
use async_trait::async_trait;

use super::merge::first_seen;
use super::{Budget, CandidateSource, Filter, Hydrator, Query, Scored, Scorer, Slate};
use crate::model::{Model, ValueType};
use crate::source::Predicate;
use crate::{Error, Name, Result, Schema};

/// Candidates from a table in memory, the same for everybody, in the order of the table.
///
/// The table can be swapped while requests run.
#[derive(Debug)]
pub struct FixedCandidates {
    name: Name,
    table: RwLock<RecordBatch>,
}

impl FixedCandidates {
    /// Candidates in the rows of `table`, whose first column is their key.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `name` is not a [`Name`], [`Error::Schema`] when there is no column or a key is null or
    /// comes twice.
    pub fn new(name: impl AsRef<str>, table: RecordBatch) -> Result<Self> {
        check_keys(&table)?;
        Ok(Self { name: Name::new(name)?, table: RwLock::new(table) })
    }

    /// Answers from `table` from now on, and returns the table before.
    ///
    /// # Errors
    /// [`Error::Schema`] when it has other columns, or a key is null or comes twice; nothing changes then.
    pub fn swap(&self, table: RecordBatch) -> Result<RecordBatch> {
        check_keys(&table)?;
        let mut current = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let table = Schema::new(current.schema())?.attach(&table)?;
        Ok(std::mem::replace(&mut *current, table))
    }

    fn table(&self) -> RecordBatch {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn check_keys(table: &RecordBatch) -> Result<()> {
    let keys = Slate::new(table.clone())?.keys().clone();
    let twice = first_seen(&keys)?.into_iter().enumerate().find(|(row, first)| *row != *first as usize);
    match twice {
        None => Ok(()),
        Some((row, first)) => {
            let found = format!("one key in rows {first} and {row}");
            Err(Error::schema(table.schema_ref().field(0).name(), "keys that come once", found))
        }
    }
}

#[async_trait]
impl CandidateSource for FixedCandidates {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        self.table().schema_ref().fields().iter().map(|field| field.as_ref().clone()).collect()
    }

    async fn retrieve(&self, _query: &Query, limit: usize, _budget: Budget) -> Result<RecordBatch> {
        let table = self.table();
        Ok(if table.num_rows() > limit { table.slice(0, limit) } else { table })
    }
}

/// Columns of the request's context, repeated for every candidate: how a model sees who asks.
#[derive(Debug)]
pub struct ContextColumns {
    name: Name,
    fields: Vec<Field>,
}

impl ContextColumns {
    /// Adds the context columns `fields`, with these types. One that a request does not have is null when its field is
    /// nullable.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `name` is not a [`Name`].
    pub fn new(name: impl AsRef<str>, fields: impl IntoIterator<Item = Field>) -> Result<Self> {
        Ok(Self { name: Name::new(name)?, fields: fields.into_iter().collect() })
    }
}

#[async_trait]
impl Hydrator for ContextColumns {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        self.fields.clone()
    }

    async fn hydrate(&self, query: &Query, slate: &Slate, _budget: Budget) -> Result<Vec<ArrayRef>> {
        let column = |field: &Field| match query.context().column_by_name(field.name()) {
            Some(value) if value.data_type() == field.data_type() => repeat(value, slate.len()),
            Some(value) => Err(Error::schema(field.name(), field.data_type(), value.data_type())),
            None if field.is_nullable() => Ok(new_null_array(field.data_type(), slate.len())),
            None => Err(Error::not_found("context column", field.name())),
        };
        self.fields.iter().map(column).collect()
    }
}

/// The first value of `value`, `rows` times.
pub(super) fn repeat(value: &dyn Array, rows: usize) -> Result<ArrayRef> {
    Ok(take(value, &UInt32Array::from_value(0, rows), None)?)
}

/// Keeps the candidates for which a condition on one column is true; a null is not.
#[derive(Debug)]
pub struct PredicateFilter {
    name: Name,
    predicate: Predicate,
}

impl PredicateFilter {
    /// A filter on `predicate`; `name` is the reason that is reported.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `name` is not a [`Name`].
    pub fn new(name: impl AsRef<str>, predicate: Predicate) -> Result<Self> {
        Ok(Self { name: Name::new(name)?, predicate })
    }
}

#[async_trait]
impl Filter for PredicateFilter {
    fn name(&self) -> &Name {
        &self.name
    }

    fn check(&self, columns: &Schema) -> Result<()> {
        self.predicate.check(columns)
    }

    async fn keep(&self, _query: &Query, slate: &Slate, _budget: Budget) -> Result<BooleanArray> {
        let mask = self.predicate.mask(slate.rows())?;
        Ok(if mask.null_count() > 0 { arrow::compute::prep_null_mask_filter(&mask) } else { mask })
    }
}

/// A model as a scorer: its output is the score, null is NaN.
#[derive(Debug)]
pub struct ModelScorer {
    name: Name,
    model: Arc<dyn Model>,
    version: Arc<str>,
}

impl ModelScorer {
    /// Scores the objective `name` with `model`; `version` is what a served answer is traced back with.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `name` is not a [`Name`], [`Error::Schema`] when the model's output is no number.
    pub fn new(name: impl AsRef<str>, model: Arc<dyn Model>, version: impl Into<Arc<str>>) -> Result<Self> {
        let signature = model.signature();
        if !matches!(signature.output_type, ValueType::Float | ValueType::Int | ValueType::Bool) {
            return Err(Error::schema(&signature.output, ValueType::Float, signature.output_type));
        }
        Ok(Self { name: Name::new(name)?, version: version.into(), model })
    }

    /// The slate's columns, with integers as floats where the model takes floats.
    fn features(&self, slate: &Slate) -> Result<RecordBatch> {
        let rows = slate.rows();
        let mut casts: Vec<(usize, ArrayRef)> = Vec::new();
        for input in self.model.signature().inputs.iter().filter(|input| input.value_type == ValueType::Float) {
            let place = rows.schema_ref().index_of(&input.name);
            let place = place.map_err(|_| Error::not_found("slate column", &input.name))?;
            if rows.column(place).data_type().is_integer() {
                casts.push((place, cast(rows.column(place), &DataType::Float64)?));
            }
        }
        if casts.is_empty() {
            return Ok(rows.clone());
        }
        let mut fields = rows.schema_ref().fields().to_vec();
        let mut columns = rows.columns().to_vec();
        for (place, column) in casts {
            fields[place] = Arc::new(fields[place].as_ref().clone().with_data_type(DataType::Float64));
            columns[place] = column;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), columns, &options)?)
    }
}

#[async_trait]
impl Scorer for ModelScorer {
    fn name(&self) -> &Name {
        &self.name
    }

    fn check(&self, columns: &Schema) -> Result<()> {
        self.model.signature().check(columns)
    }

    async fn score(&self, _query: &Query, slate: &Slate, _budget: Budget) -> Result<Scored> {
        let output = self.model.predict(&self.features(slate)?)?;
        let output = match output.data_type() {
            DataType::Float64 => output,
            _ => cast(&output, &DataType::Float64)?,
        };
        let output: &Float64Array = output.as_primitive::<Float64Type>();
        let scores = match output.null_count() {
            0 => output.values().to_vec(),
            _ => output.iter().map(|score| score.unwrap_or(f64::NAN)).collect(),
        };
        Ok(Scored { scores, version: self.version.clone() })
    }
}
