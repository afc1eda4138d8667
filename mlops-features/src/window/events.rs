//! Events as they come in, in the types that are computed on.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use mlops_core::schema::Finder;
use mlops_core::{Digest, EventTime};

use super::value::{Kind, Value};
use super::view::WindowView;
use crate::columns::{cast_exactly, ensure_no_nulls, micros};
use crate::error::{Core, Result};
use crate::key::Keys;

/// Events of one view: whose, when, which, and what.
#[derive(Clone, Debug)]
pub struct Events {
    keys: Keys,
    times: Vec<i64>,
    ids: Option<Vec<u128>>,
    columns: Vec<Values>,
}

/// Values of one column of events.
#[derive(Clone, Debug)]
pub(crate) enum Values {
    Ints(Int64Array),
    Reals(Float64Array),
    Texts(StringArray),
}

impl Values {
    /// Reads `array` as values of `kind`.
    pub(crate) fn read(array: &ArrayRef, kind: Kind, column: &str) -> Result<Self> {
        Ok(match kind {
            Kind::Int if *array.data_type() == DataType::Boolean => {
                Self::Ints(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
            }
            Kind::Int => Self::Ints(cast_exactly(array, &DataType::Int64, column)?.as_primitive::<Int64Type>().clone()),
            Kind::Real => {
                Self::Reals(cast_exactly(array, &DataType::Float64, column)?.as_primitive::<Float64Type>().clone())
            }
            Kind::Text => Self::Texts(cast_exactly(array, &DataType::Utf8, column)?.as_string::<i32>().clone()),
        })
    }

    /// The value of `row`, where it is present.
    pub(crate) fn get(&self, row: usize) -> Option<Value> {
        match self {
            Self::Ints(values) => values.is_valid(row).then(|| Value::Int(values.value(row))),
            Self::Reals(values) if values.is_valid(row) => Value::real(values.value(row)),
            Self::Reals(_) => None,
            Self::Texts(values) => values.is_valid(row).then(|| Value::Text(values.value(row).into())),
        }
    }
}

/// Ids of events as numbers: those of integers are their bits, those of texts the beginning of their BLAKE3 digest, two of
/// which are not equal in practice.
pub(crate) fn ids(array: &ArrayRef, column: &str) -> Result<Vec<u128>> {
    ensure_no_nulls(array, column)?;
    let from = if let DataType::Dictionary(_, values) = array.data_type() { values } else { array.data_type() };
    if from.is_integer() {
        let whole = cast_exactly(array, &DataType::Int64, column)?;
        return Ok(whole
            .as_primitive::<Int64Type>()
            .values()
            .iter()
            .map(|id| u128::from(id.cast_unsigned()))
            .collect());
    }
    let texts = cast_exactly(array, &DataType::Utf8, column)?;
    let number = |text: &str| {
        let digest = Digest::of(text);
        digest.as_bytes().iter().take(16).fold(0, |id, byte| id << 8 | u128::from(*byte))
    };
    Ok(texts.as_string::<i32>().iter().flatten().map(number).collect())
}

impl Events {
    /// Reads `rows`: key columns, event time, id if the view has one, and the columns that it aggregates. Others are left out.
    ///
    /// # Errors
    /// `Core(Schema)` for a missing column or one of another type, `Core(InvalidData)` for a null event time or id or a value that its type
    /// cannot hold. Null keys are no error: they are nobody's.
    pub fn read(view: &WindowView, rows: &RecordBatch) -> Result<Self> {
        let mut finder = Finder::of(rows.schema_ref().fields());
        let mut column = |name: &str| {
            let missing = || Core::schema(name, "a column", format!("no such column for `{}`", view.name()));
            finder.find(name).map(|at| rows.column(at)).ok_or_else(missing)
        };
        let time = column(view.event_time())?;
        ensure_no_nulls(time, view.event_time())?;
        let ids = view.event_id().map(|name| ids(column(name)?, name)).transpose()?;
        let columns = view.columns().iter().zip(&view.plan().kinds).map(|(declared, kind)| {
            let name = declared.name.as_str();
            Values::read(column(name)?, *kind, name)
        });
        Ok(Self {
            keys: Keys::of(view.entity(), rows)?,
            times: micros(time, view.event_time())?.values().to_vec(),
            ids,
            columns: columns.collect::<Result<_>>()?,
        })
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Whose they are.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// When the event `row` happened.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn time(&self, row: usize) -> EventTime {
        EventTime::from_micros(self.times[row])
    }

    pub(crate) fn id(&self, row: usize) -> Option<u128> {
        self.ids.as_ref().map(|ids| ids[row])
    }

    /// The values of the event `row`, one per column of the view.
    pub(crate) fn values(&self, row: usize) -> Arc<[Option<Value>]> {
        self.columns.iter().map(|column| column.get(row)).collect()
    }
}
