//! Profiles of rows that come one at a time, such as requests.

mod block;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use self::block::{BLOCK, Column, TEXT_BYTES};
use super::{Profile, ProfileOptions, Profiler};
use crate::{Error, EventTime, Result};

/// One value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// For columns of booleans.
    Boolean(bool),
    /// For columns of integers, floats and decimals.
    Integer(i64),
    /// For columns of floats and decimals.
    Number(f64),
    /// For columns of strings, of less than 2 GiB.
    Text(&'a str),
    /// For columns of dates and timestamps; what is finer than their unit is cut off.
    Time(EventTime),
}

/// Takes rows one at a time and profiles them as a [`Profiler`] of the same schema does, in blocks of 4096.
///
/// Nothing is allocated for a row; a block costs what a batch of its size does. What is not in a full block yet is in the
/// profile once [`RowProfiler::profile`] or [`RowProfiler::finish`] asks for it.
///
/// # Examples
/// ```
/// use mlops_core::arrow::datatypes::{DataType, Field, Schema};
/// use mlops_core::profile::{Cell, ProfileOptions, RowProfiler};
///
/// let schema = Schema::new(vec![
///     Field::new("price", DataType::Float64, true),
///     Field::new("city", DataType::Utf8, true),
/// ]);
/// let mut rows = RowProfiler::new(&schema, &ProfileOptions::default())?;
/// rows.push(&[Cell::Number(1.5), Cell::Text("Huế")])?;
/// rows.push(&[Cell::Null, Cell::Text("Huế")])?;
/// let profile = rows.finish()?;
/// assert_eq!((profile.rows(), profile.column("price").unwrap().nulls()), (2, 1));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug)]
pub struct RowProfiler {
    profiler: Profiler,
    schema: SchemaRef,
    columns: Vec<Column>,
    /// Places of the columns of texts.
    texts: Vec<usize>,
    waiting: usize,
}

impl RowProfiler {
    /// An empty profile of rows with the columns of `schema`, which may be that of a stored table: both profiles merge.
    ///
    /// # Errors
    /// [`Error::Schema`] naming a column that is neither a number, a time, a boolean nor a string; else those of
    /// [`Profiler::new`].
    pub fn new(schema: &Schema, options: &ProfileOptions) -> Result<Self> {
        let columns = schema.fields().iter().map(|field| Column::of(field)).collect::<Result<Vec<_>>>()?;
        let field = |column: &Column| Field::new(&column.name, column.data_type.clone(), true);
        let schema: SchemaRef = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
        let texts = (0..columns.len()).filter(|place| columns[*place].data_type == DataType::Utf8).collect();
        Ok(Self { profiler: Profiler::new(&schema, options)?, schema, columns, texts, waiting: 0 })
    }

    /// Adds one row, a cell for each column in order.
    ///
    /// # Errors
    /// [`Error::Schema`] when there are more or fewer cells than columns, or one does not fit its column or the range
    /// of its type; nothing is added then.
    pub fn push(&mut self, row: &[Cell<'_>]) -> Result<()> {
        if row.len() != self.columns.len() {
            return Err(Error::schema("*", format_args!("{} cells", self.columns.len()), row.len()));
        }
        for (place, cell) in row.iter().enumerate() {
            if !self.columns[place].push(self.waiting, cell) {
                self.columns[..place].iter_mut().for_each(|column| column.truncate(self.waiting));
                // The cell itself may be personal.
                let Column { name, data_type, .. } = &self.columns[place];
                return Err(Error::schema(name, data_type, "a cell of another type or out of range"));
            }
        }
        self.waiting += 1;
        let is_full =
            self.waiting == BLOCK || self.texts.iter().any(|place| self.columns[*place].text_bytes() > TEXT_BYTES);
        if is_full { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if self.waiting == 0 {
            return Ok(());
        }
        let columns = self.columns.iter_mut().map(|column| column.take(self.waiting)).collect::<Result<Vec<_>>>()?;
        self.waiting = 0;
        let batch = RecordBatch::try_new(self.schema.clone(), columns);
        self.profiler.update(&batch.map_err(|error| Error::invalid_data("rows", error))?)
    }

    /// The profile of all rows so far.
    ///
    /// # Errors
    /// None in practice: every cell was checked when it was pushed.
    pub fn profile(&mut self) -> Result<&Profile> {
        self.flush()?;
        Ok(self.profiler.profile())
    }

    /// The profile of all rows.
    ///
    /// # Errors
    /// None in practice: every cell was checked when it was pushed.
    pub fn finish(mut self) -> Result<Profile> {
        self.flush()?;
        Ok(self.profiler.finish())
    }
}

#[cfg(test)]
mod tests;
