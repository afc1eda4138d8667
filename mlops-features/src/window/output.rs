//! Values of features as columns.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field};
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
        let nulls = Some(nulls).filter(has_nulls);
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
            Arc::new(ints.collect::<Int64Array>())
        }
        DataType::Float64 => {
            let reals =
                values.iter().map(|value| if let Some(Value::Real(value)) = value { Some(*value) } else { None });
            Arc::new(reals.collect::<Float64Array>())
        }
        _ => {
            let texts =
                values.iter().map(|value| if let Some(Value::Text(text)) = value { Some(&**text) } else { None });
            let bytes: usize = texts.clone().flatten().map(str::len).sum();
            if i32::try_from(bytes).is_err() {
                return Err(Core::invalid_data(format!("column `{name}`"), "more than 2 GiB of text").into());
            }
            Arc::new(texts.collect::<StringArray>())
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
        let found = keys.first().map_or(0, Array::len);
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
    /// 0 where nothing was said.
    Counts(Vec<i64>),
    Ints(Vec<i64>, Vec<bool>),
    /// NaN where nothing was said: no feature ever is.
    Reals(Vec<f64>),
    Cells {
        cells: Vec<Cell>,
        value_type: ValueType,
    },
}

impl Output {
    /// `rows` values of `value_type`: those of no event.
    pub(crate) fn new(value_type: ValueType, blank: &Cell, rows: usize) -> Self {
        match value_type {
            ValueType::Int64 if *blank != Cell::Null => Self::Counts(vec![0; rows]),
            ValueType::Int64 => Self::Ints(vec![0; rows], vec![false; rows]),
            ValueType::Float64 => Self::Reals(vec![f64::NAN; rows]),
            _ => Self::Cells { cells: vec![Cell::Null; rows], value_type },
        }
    }

    pub(crate) fn set(&mut self, row: usize, cell: Cell) {
        match (self, cell) {
            (Self::Counts(values), Cell::One(Value::Int(value))) => values[row] = value,
            (Self::Ints(values, present), Cell::One(Value::Int(value))) => {
                (values[row], present[row]) = (value, true);
            }
            (Self::Reals(values), Cell::One(Value::Real(value))) => values[row] = value,
            (Self::Cells { cells, .. }, cell) => cells[row] = cell,
            _ => {}
        }
    }

    /// The column; rows that are `nobody`'s are null.
    ///
    /// # Errors
    /// `Core(InvalidData)` when texts or lists exceed 2 GiB.
    pub(crate) fn finish(self, name: &str, nobody: Option<&NullBuffer>) -> Result<ArrayRef> {
        match self {
            Self::Counts(values) => Ok(Arc::new(Int64Array::new(values.into(), nobody.cloned()))),
            Self::Ints(values, present) => {
                Ok(Arc::new(Int64Array::new(values.into(), Some(present.into()).filter(has_nulls))))
            }
            Self::Reals(mut values) => {
                let present = BooleanBuffer::collect_bool(values.len(), |row| !values[row].is_nan());
                let nulls = Some(NullBuffer::new(present)).filter(has_nulls);
                if nulls.is_some() {
                    values.iter_mut().for_each(|value| *value = if value.is_nan() { 0.0 } else { *value });
                }
                Ok(Arc::new(Float64Array::new(values.into(), nulls)))
            }
            Self::Cells { cells, value_type } => column(&cells, value_type, name),
        }
    }
}

fn has_nulls(nulls: &NullBuffer) -> bool {
    nulls.null_count() > 0
}
