//! Values of features as columns.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, Float64Array, Int64Array, ListArray, PrimitiveArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
use mlops_core::EventTime;

use super::state::WindowState;
use super::value::{Cell, Value};
use super::view::WindowView;
use crate::define::ValueType;
use crate::error::{Core, Result};

/// A column of `value_type` with the values of `cells`.
///
/// # Errors
/// `Core(InvalidData)` when texts or lists exceed 2 GiB.
pub(crate) fn column(cells: &[Cell], value_type: ValueType, name: &str) -> Result<ArrayRef> {
    if let ValueType::List(item) = value_type {
        let lists = cells.iter().map(|cell| if let Cell::Many(values) = cell { values.as_slice() } else { &[] });
        let offsets = OffsetBuffer::from_lengths(lists.clone().map(<[Value]>::len));
        let all: Vec<Option<&Value>> = lists.flatten().map(Some).collect();
        if i32::try_from(all.len()).is_err() {
            return Err(Core::invalid_data(format!("column `{name}`"), "more than 2^31 values in lists").into());
        }
        let values = plain(&all, &item.data_type(), name)?;
        let nulls: NullBuffer = cells.iter().map(|cell| *cell != Cell::Null).collect::<Vec<_>>().into();
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        let field = Arc::new(Field::new_list_field(item.data_type(), true));
        return Ok(Arc::new(ListArray::try_new(field, offsets, values, nulls)?));
    }
    let values: Vec<Option<&Value>> =
        cells.iter().map(|cell| if let Cell::One(value) = cell { Some(value) } else { None }).collect();
    plain(&values, &value_type.data_type(), name)
}

fn plain(values: &[Option<&Value>], data_type: &DataType, name: &str) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Int64 => {
            let ints = values.iter().map(|value| if let Some(Value::Int(value)) = value { Some(*value) } else { None });
            Arc::new(Int64Array::from_iter(ints))
        }
        DataType::Float64 => {
            let reals =
                values.iter().map(|value| if let Some(Value::Real(value)) = value { Some(*value) } else { None });
            Arc::new(Float64Array::from_iter(reals))
        }
        _ => {
            let texts =
                values.iter().map(|value| if let Some(Value::Text(text)) = value { Some(&**text) } else { None });
            let bytes: usize = texts.clone().flatten().map(str::len).sum();
            if i32::try_from(bytes).is_err() {
                return Err(Core::invalid_data(format!("column `{name}`"), "more than 2 GiB of text").into());
            }
            Arc::new(StringArray::from_iter(texts))
        }
    })
}

impl WindowView {
    /// Rows of the [feature view](Self::feature_view) at `now`, ready for an online store: `keys`, one array per key column of the
    /// entity, each with its state.
    ///
    /// # Errors
    /// `Core(Schema)` when there are not as many keys as states, or their types differ; `Core(Invalid)` when a state was
    /// advanced beyond `now`; [`Error::Changed`](crate::Error::Changed) when one is of another definition.
    pub fn rows(&self, keys: &[ArrayRef], states: &[&WindowState], now: EventTime) -> Result<RecordBatch> {
        let found = keys.first().map_or(0, |array| array.len());
        if found != states.len() {
            let expected = format!("{} keys", states.len());
            return Err(Core::schema(self.entity().name().as_str(), expected, format!("{found} keys")).into());
        }
        let view = self.feature_view();
        let mut features: Vec<Vec<Cell>> = vec![Vec::with_capacity(states.len()); view.features().len()];
        for state in states {
            state.ensure_of(self)?;
            let cells = state.read(now.as_micros())?;
            features.iter_mut().zip(cells).for_each(|(feature, cell)| feature.push(cell));
        }
        let times = TimestampMicrosecondArray::from(vec![now.as_micros(); states.len()]).with_timezone("UTC");
        let mut columns = vec![Arc::new(times) as ArrayRef];
        for (cells, feature) in features.iter().zip(view.features()) {
            columns.push(column(cells, feature.value_type, feature.name.as_str())?);
        }
        let names = self.entity().keys().iter().map(|key| key.name.as_str()).chain([view.event_time()]);
        let names = names.chain(view.features().iter().map(|feature| feature.name.as_str()));
        let rows = RecordBatch::try_from_iter_with_nullable(
            names.zip(keys.iter().cloned().chain(columns)).map(|(name, column)| (name, column, true)),
        )?;
        view.conform(&rows)
    }
}

/// A column in the making whose rows come in any order.
#[derive(Debug)]
pub(crate) enum Output {
    Ints(Numbers<Int64Type>),
    Reals(Numbers<Float64Type>),
    Cells { cells: Vec<Cell>, value_type: ValueType },
}

/// Numbers, and which of them are there.
#[derive(Debug)]
pub(crate) struct Numbers<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    valid: Vec<bool>,
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    fn new(rows: usize) -> Self {
        Self { values: vec![T::Native::default(); rows], valid: vec![false; rows] }
    }

    pub(crate) fn set(&mut self, row: usize, value: T::Native) {
        self.values[row] = value;
        self.valid[row] = true;
    }

    fn finish(self) -> ArrayRef {
        let nulls = Some(NullBuffer::from(self.valid)).filter(|nulls| nulls.null_count() > 0);
        Arc::new(PrimitiveArray::<T>::new(self.values.into(), nulls))
    }
}

impl Output {
    /// `rows` nulls of `value_type`.
    pub(crate) fn new(value_type: ValueType, rows: usize) -> Self {
        match value_type {
            ValueType::Int64 => Self::Ints(Numbers::new(rows)),
            ValueType::Float64 => Self::Reals(Numbers::new(rows)),
            _ => Self::Cells { cells: vec![Cell::Null; rows], value_type },
        }
    }

    pub(crate) fn set(&mut self, row: usize, cell: Cell) {
        match (self, cell) {
            (Self::Ints(numbers), Cell::One(Value::Int(value))) => numbers.set(row, value),
            (Self::Reals(numbers), Cell::One(Value::Real(value))) => numbers.set(row, value),
            (Self::Cells { cells, .. }, cell) => cells[row] = cell,
            _ => {}
        }
    }

    /// # Errors
    /// `Core(InvalidData)` when texts or lists exceed 2 GiB.
    pub(crate) fn finish(self, name: &str) -> Result<ArrayRef> {
        match self {
            Self::Ints(numbers) => Ok(numbers.finish()),
            Self::Reals(numbers) => Ok(numbers.finish()),
            Self::Cells { cells, value_type } => column(&cells, value_type, name),
        }
    }
}
