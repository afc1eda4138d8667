//! Candidates of one request, as columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{Field, Schema as ArrowSchema, SchemaRef};

use crate::{Error, Name, Result};

/// Candidates in rows, what is known of them in columns; the first column is the candidate key.
#[derive(Clone, Debug)]
pub struct Slate {
    rows: RecordBatch,
    objectives: Vec<(Name, Arc<[f64]>)>,
}

impl Slate {
    /// A slate of candidates; the first column of `rows` is their key.
    ///
    /// # Errors
    /// [`Error::Schema`] when there is no column or a key is null.
    pub fn new(rows: RecordBatch) -> Result<Self> {
        match rows.columns().first() {
            None => Err(Error::schema("candidate key", "a first column", "no columns")),
            Some(key) if key.null_count() > 0 => Err(Error::schema(
                rows.schema().field(0).name(),
                "keys without nulls",
                format!("{} nulls", key.null_count()),
            )),
            Some(_) => Ok(Self { rows, objectives: Vec::new() }),
        }
    }

    /// Number of candidates.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether there is no candidate.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All columns.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// Name of the key column.
    pub fn key_name(&self) -> &str {
        self.rows.schema_ref().field(0).name()
    }

    /// The candidate keys.
    pub fn keys(&self) -> &ArrayRef {
        self.rows.column(0)
    }

    /// A column by name.
    ///
    /// # Errors
    /// [`Error::NotFound`] when no stage made it.
    pub fn column(&self, name: &str) -> Result<&ArrayRef> {
        self.rows.column_by_name(name).ok_or_else(|| Error::not_found("slate column", name))
    }

    /// Scores of one objective, where it was scored.
    pub fn objective(&self, name: &str) -> Option<&[f64]> {
        self.objectives.iter().find(|(objective, _)| objective.as_str() == name).map(|(_, scores)| scores.as_ref())
    }

    /// Every objective with its scores, in the order of scoring.
    pub fn objectives(&self) -> impl Iterator<Item = (&Name, &[f64])> {
        self.objectives.iter().map(|(name, scores)| (name, scores.as_ref()))
    }

    /// The slate with more columns; a column of a known name replaces it.
    ///
    /// # Errors
    /// [`Error::Schema`] when a column is not as long as the slate, or of another type than its field.
    pub fn with_columns(self, fields: &[Field], arrays: Vec<ArrayRef>) -> Result<Self> {
        if fields.len() != arrays.len() {
            return Err(Error::schema("*", format!("{} columns", fields.len()), format!("{} columns", arrays.len())));
        }
        let mut all_fields: Vec<Arc<Field>> = self.rows.schema().fields().iter().cloned().collect();
        let mut all_arrays = self.rows.columns().to_vec();
        for (field, array) in fields.iter().zip(arrays) {
            if array.len() != self.len() || array.data_type() != field.data_type() {
                let expected = format!("{} of {} rows", field.data_type(), self.len());
                return Err(Error::schema(field.name(), expected, format!("{} of {}", array.data_type(), array.len())));
            }
            if let Some(known) = all_fields.iter().position(|f| f.name() == field.name()) {
                all_fields[known] = Arc::new(field.clone());
                all_arrays[known] = array;
            } else {
                all_fields.push(Arc::new(field.clone()));
                all_arrays.push(array);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.len()));
        let rows = RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(all_fields)), all_arrays, &options)?;
        Ok(Self { rows, ..self })
    }

    /// The slate with `arrays` behind its columns; `schema` is that of the whole.
    pub(super) fn extended(self, schema: &SchemaRef, arrays: impl IntoIterator<Item = ArrayRef>) -> Result<Self> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.len()));
        let mut columns = Vec::with_capacity(schema.fields().len());
        columns.extend_from_slice(self.rows.columns());
        columns.extend(arrays);
        let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options)?;
        Ok(Self { rows, ..self })
    }

    /// The slate with scores of one more objective.
    ///
    /// # Errors
    /// [`Error::Schema`] when there is not one score per candidate.
    pub fn with_objective(mut self, name: Name, scores: Vec<f64>) -> Result<Self> {
        if scores.len() != self.len() {
            return Err(Error::schema(
                name.as_str(),
                format!("{} scores", self.len()),
                format!("{} scores", scores.len()),
            ));
        }
        self.objectives.retain(|(known, _)| *known != name);
        self.objectives.push((name, scores.into()));
        Ok(self)
    }

    /// Only the candidates for which `keep` is true.
    ///
    /// # Errors
    /// [`Error::Schema`] when there is not one value per candidate.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Self> {
        if keep.len() != self.len() {
            return Err(Error::schema("keep", format!("{} values", self.len()), format!("{} values", keep.len())));
        }
        let kept: Vec<usize> = (0..keep.len()).filter(|i| keep.is_valid(*i) && keep.value(*i)).collect();
        let objectives =
            self.objectives.iter().map(|(n, s)| (n.clone(), kept.iter().map(|i| s[*i]).collect())).collect();
        Ok(Self { rows: filter_record_batch(&self.rows, keep)?, objectives })
    }

    /// The candidates at `positions`, in that order.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a position is outside of the slate.
    pub fn take(&self, positions: &[usize]) -> Result<Self> {
        if let Some(outside) = positions.iter().find(|p| **p >= self.len()) {
            return Err(Error::invalid("position", outside, "inside the slate"));
        }
        let indices = UInt32Array::from_iter_values(positions.iter().map(|p| *p as u32));
        let objectives =
            self.objectives.iter().map(|(n, s)| (n.clone(), positions.iter().map(|p| s[*p]).collect())).collect();
        Ok(Self { rows: take_record_batch(&self.rows, &indices)?, objectives })
    }
}
