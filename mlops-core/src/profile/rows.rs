//! Profiles of rows that come one at a time, such as requests.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, RecordBatch, StringBuilder, UInt64Builder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::{ColumnKind, Profile, ProfileOptions, Profiler};
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
    /// For columns of strings.
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
    waiting: usize,
}

/// Rows that are profiled together.
const BLOCK: usize = 4096;

#[derive(Debug)]
struct Column {
    name: String,
    data_type: DataType,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Boolean(BooleanBuilder),
    Integer(Int64Builder, i64, i64),
    Unsigned(UInt64Builder, i64),
    Number(Float64Builder),
    Text(StringBuilder),
    /// And how many µs one unit has; below 1 for nanoseconds.
    Time(Int64Builder, Unit),
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    Micros(i64),
    Nanos,
}

impl Values {
    fn of(data_type: &DataType) -> Option<Self> {
        let integer = |low: i64, high: i64| Some(Self::Integer(Int64Builder::with_capacity(BLOCK), low, high));
        let unsigned = |high: i64| Some(Self::Unsigned(UInt64Builder::with_capacity(BLOCK), high));
        let time = |unit: Unit| Some(Self::Time(Int64Builder::with_capacity(BLOCK), unit));
        match data_type {
            DataType::Boolean => Some(Self::Boolean(BooleanBuilder::with_capacity(BLOCK))),
            DataType::Int8 => integer(i8::MIN.into(), i8::MAX.into()),
            DataType::Int16 => integer(i16::MIN.into(), i16::MAX.into()),
            DataType::Int32 => integer(i32::MIN.into(), i32::MAX.into()),
            DataType::Int64 => integer(i64::MIN, i64::MAX),
            DataType::UInt8 => unsigned(u8::MAX.into()),
            DataType::UInt16 => unsigned(u16::MAX.into()),
            DataType::UInt32 => unsigned(u32::MAX.into()),
            DataType::UInt64 => unsigned(i64::MAX),
            DataType::Date32 => time(Unit::Micros(86_400_000_000)),
            DataType::Date64 | DataType::Timestamp(TimeUnit::Millisecond, _) => time(Unit::Micros(1000)),
            DataType::Timestamp(TimeUnit::Second, _) => time(Unit::Micros(1_000_000)),
            DataType::Timestamp(TimeUnit::Microsecond, _) => time(Unit::Micros(1)),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => time(Unit::Nanos),
            other => match ColumnKind::of(other) {
                ColumnKind::Number => Some(Self::Number(Float64Builder::with_capacity(BLOCK))),
                ColumnKind::Text => Some(Self::Text(StringBuilder::with_capacity(BLOCK, 16 * BLOCK))),
                _ => None,
            },
        }
    }

    /// Whether `cell` fits.
    fn accepts(&self, cell: &Cell<'_>) -> bool {
        match (self, cell) {
            (_, Cell::Null)
            | (Self::Boolean(_), Cell::Boolean(_))
            | (Self::Number(_), Cell::Number(_) | Cell::Integer(_))
            | (Self::Text(_), Cell::Text(_)) => true,
            (Self::Integer(_, low, high), Cell::Integer(value)) => (low..=high).contains(&value),
            (Self::Unsigned(_, high), Cell::Integer(value)) => (0..=*high).contains(value),
            (Self::Time(_, unit), Cell::Time(time)) => unit.of(*time).is_some(),
            _ => false,
        }
    }

    /// Appends a cell that fits.
    fn append(&mut self, cell: &Cell<'_>) {
        match (self, cell) {
            (Self::Boolean(values), Cell::Boolean(value)) => values.append_value(*value),
            (Self::Integer(values, ..), Cell::Integer(value)) => values.append_value(*value),
            (Self::Unsigned(values, _), Cell::Integer(value)) => values.append_value(value.cast_unsigned()),
            (Self::Number(values), Cell::Number(value)) => values.append_value(*value),
            (Self::Number(values), Cell::Integer(value)) => values.append_value(*value as f64),
            (Self::Text(values), Cell::Text(value)) => values.append_value(value),
            (Self::Time(values, unit), Cell::Time(time)) => values.append_option(unit.of(*time)),
            (Self::Boolean(values), _) => values.append_null(),
            (Self::Integer(values, ..) | Self::Time(values, _), _) => values.append_null(),
            (Self::Unsigned(values, _), _) => values.append_null(),
            (Self::Number(values), _) => values.append_null(),
            (Self::Text(values), _) => values.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Boolean(values) => ArrayBuilder::finish(values),
            Self::Integer(values, ..) | Self::Time(values, _) => ArrayBuilder::finish(values),
            Self::Unsigned(values, _) => ArrayBuilder::finish(values),
            Self::Number(values) => ArrayBuilder::finish(values),
            Self::Text(values) => ArrayBuilder::finish(values),
        }
    }
}

impl Unit {
    fn of(self, time: EventTime) -> Option<i64> {
        match self {
            Self::Micros(unit) => Some(time.as_micros().div_euclid(unit)),
            Self::Nanos => time.as_micros().checked_mul(1000),
        }
    }
}

impl Column {
    fn of(field: &Field) -> Result<Self> {
        let Some(values) = Values::of(field.data_type()) else {
            return Err(Error::schema(field.name(), "numbers, times, booleans or strings", field.data_type()));
        };
        // How texts are laid out makes no difference to a profile, and how wide floats are none to a cell.
        let data_type = match values {
            Values::Text(_) => DataType::Utf8,
            Values::Number(_) => DataType::Float64,
            _ => field.data_type().clone(),
        };
        Ok(Self { name: field.name().clone(), data_type, values })
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        let array = self.values.finish();
        let convert = |array: &ArrayRef, to: &DataType| {
            cast(array, to).map_err(|error| Error::invalid_data(format!("column `{}`", self.name), error))
        };
        if array.data_type() == &self.data_type {
            return Ok(array);
        }
        let array = if self.data_type == DataType::Date32 { convert(&array, &DataType::Int32)? } else { array };
        convert(&array, &self.data_type)
    }
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
        Ok(Self { profiler: Profiler::new(&schema, options)?, schema, columns, waiting: 0 })
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
        if let Some((column, _)) = self.columns.iter().zip(row).find(|(column, cell)| !column.values.accepts(cell)) {
            // The cell itself may be personal.
            return Err(Error::schema(&column.name, &column.data_type, "a cell of another type or out of range"));
        }
        for (column, cell) in self.columns.iter_mut().zip(row) {
            column.values.append(cell);
        }
        self.waiting += 1;
        if self.waiting == BLOCK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if self.waiting == 0 {
            return Ok(());
        }
        let columns = self.columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>>>()?;
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
