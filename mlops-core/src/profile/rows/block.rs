//! Cells of one column that wait to be profiled together.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, BooleanBufferBuilder, Float64Array, Int64Array, StringArray, UInt64Array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, TimeUnit};

use super::Cell;
use crate::profile::ColumnKind;
use crate::{Error, EventTime, Result};

/// Rows that are profiled together.
pub(super) const BLOCK: usize = 4096;

/// Bytes of texts from which on a block is full before it has all of its rows.
pub(super) const TEXT_BYTES: usize = 1 << 22;

#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) data_type: DataType,
    values: Values,
    /// Rows without a value, which hold a zero or nothing.
    nulls: Vec<u16>,
}

#[derive(Debug)]
enum Values {
    Boolean(Vec<bool>),
    Integer(Vec<i64>, i64, i64),
    Unsigned(Vec<u64>, i64),
    Number(Vec<f64>),
    /// Bytes, and where each text begins and ends.
    Text(Vec<u8>, Vec<i32>),
    Time(Vec<i64>, Unit),
}

/// How many µs one unit has.
#[derive(Debug, Clone, Copy)]
enum Unit {
    Micros(i64),
    Nanos,
}

impl Unit {
    fn of(self, time: EventTime) -> Option<i64> {
        match self {
            Self::Micros(unit) => Some(time.as_micros().div_euclid(unit)),
            Self::Nanos => time.as_micros().checked_mul(1000),
        }
    }
}

impl Values {
    fn of(data_type: &DataType) -> Option<Self> {
        let integer = |low: i64, high: i64| Some(Self::Integer(Vec::with_capacity(BLOCK), low, high));
        let unsigned = |high: i64| Some(Self::Unsigned(Vec::with_capacity(BLOCK), high));
        let time = |unit: Unit| Some(Self::Time(Vec::with_capacity(BLOCK), unit));
        match data_type {
            DataType::Boolean => Some(Self::Boolean(Vec::with_capacity(BLOCK))),
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
                ColumnKind::Number => Some(Self::Number(Vec::with_capacity(BLOCK))),
                ColumnKind::Text => Some(Self::Text(Vec::with_capacity(16 * BLOCK), first_end())),
                _ => None,
            },
        }
    }

    /// Adds a cell that is not null; nothing where it does not fit.
    #[inline]
    fn push(&mut self, cell: &Cell<'_>) -> bool {
        match (self, cell) {
            (Self::Boolean(values), Cell::Boolean(value)) => values.push(*value),
            (Self::Integer(values, low, high), Cell::Integer(value)) if (*low..=*high).contains(value) => {
                values.push(*value);
            }
            (Self::Unsigned(values, high), Cell::Integer(value)) if (0..=*high).contains(value) => {
                values.push(value.cast_unsigned());
            }
            (Self::Number(values), Cell::Number(value)) => values.push(*value),
            (Self::Number(values), Cell::Integer(value)) => values.push(*value as f64),
            (Self::Text(bytes, ends), Cell::Text(text)) => {
                let Ok(end) = i32::try_from(bytes.len() + text.len()) else { return false };
                bytes.extend_from_slice(text.as_bytes());
                ends.push(end);
            }
            (Self::Time(values, unit), Cell::Time(time)) => match unit.of(*time) {
                Some(value) => values.push(value),
                None => return false,
            },
            _ => return false,
        }
        true
    }

    fn push_nothing(&mut self) {
        match self {
            Self::Boolean(values) => values.push(false),
            Self::Integer(values, ..) | Self::Time(values, _) => values.push(0),
            Self::Unsigned(values, _) => values.push(0),
            Self::Number(values) => values.push(0.0),
            Self::Text(bytes, ends) => ends.push(bytes.len() as i32),
        }
    }

    fn truncate(&mut self, rows: usize) {
        match self {
            Self::Boolean(values) => values.truncate(rows),
            Self::Integer(values, ..) | Self::Time(values, _) => values.truncate(rows),
            Self::Unsigned(values, _) => values.truncate(rows),
            Self::Number(values) => values.truncate(rows),
            Self::Text(bytes, ends) => {
                ends.truncate(rows + 1);
                bytes.truncate(ends.last().map_or(0, |end| *end as usize));
            }
        }
    }

    /// The values as an array, which takes them with it.
    fn take(&mut self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        fn taken<T>(values: &mut Vec<T>) -> Vec<T> {
            std::mem::replace(values, Vec::with_capacity(BLOCK))
        }
        Ok(match self {
            Self::Boolean(values) => {
                let bits = BooleanBuffer::from(values.as_slice());
                values.clear();
                Arc::new(BooleanArray::new(bits, nulls))
            }
            Self::Integer(values, ..) | Self::Time(values, _) => Arc::new(Int64Array::new(taken(values).into(), nulls)),
            Self::Unsigned(values, _) => Arc::new(UInt64Array::new(taken(values).into(), nulls)),
            Self::Number(values) => Arc::new(Float64Array::new(taken(values).into(), nulls)),
            Self::Text(bytes, ends) => {
                // A little more than this time, so that blocks of one size never grow.
                let room = (bytes.len() + bytes.len() / 8).min(TEXT_BYTES);
                let bytes = std::mem::replace(bytes, Vec::with_capacity(room));
                let ends = OffsetBuffer::new(std::mem::replace(ends, first_end()).into());
                Arc::new(StringArray::try_new(ends, Buffer::from_vec(bytes), nulls)?)
            }
        })
    }
}

/// Where the first text of a block begins, with room for the ends of all.
fn first_end() -> Vec<i32> {
    let mut ends = Vec::with_capacity(BLOCK + 1);
    ends.push(0);
    ends
}

impl Column {
    pub(super) fn of(field: &Field) -> Result<Self> {
        let Some(values) = Values::of(field.data_type()) else {
            return Err(Error::schema(field.name(), "numbers, times, booleans or strings", field.data_type()));
        };
        // How texts are laid out makes no difference to a profile, and how wide floats are none to a cell.
        let data_type = match values {
            Values::Text(..) => DataType::Utf8,
            Values::Number(_) => DataType::Float64,
            _ => field.data_type().clone(),
        };
        Ok(Self { name: field.name().clone(), data_type, values, nulls: Vec::new() })
    }

    /// Adds the cell of `row`, the next one in the block; nothing where it does not fit.
    #[inline]
    pub(super) fn push(&mut self, row: usize, cell: &Cell<'_>) -> bool {
        if matches!(cell, Cell::Null) {
            self.values.push_nothing();
            self.nulls.push(row as u16);
            return true;
        }
        self.values.push(cell)
    }

    /// Forgets what came after the first `rows` of the block.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.nulls.truncate(self.nulls.partition_point(|row| usize::from(*row) < rows));
    }

    /// Bytes of the texts that wait.
    pub(super) fn text_bytes(&self) -> usize {
        if let Values::Text(bytes, _) = &self.values { bytes.len() } else { 0 }
    }

    /// The `rows` cells of the block, which begins anew.
    pub(super) fn take(&mut self, rows: usize) -> Result<ArrayRef> {
        let nulls = (!self.nulls.is_empty()).then(|| {
            let mut present = BooleanBufferBuilder::new(rows);
            present.append_n(rows, true);
            self.nulls.drain(..).for_each(|row| present.set_bit(row.into(), false));
            NullBuffer::new(present.finish())
        });
        let array = self.values.take(nulls)?;
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
