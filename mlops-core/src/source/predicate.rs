//! Simple conditions on one column, which sources can push down.

use arrow::array::{
    Array, BooleanArray, Float64Array, Int64Array, RecordBatch, Scalar as ArrowScalar, StringArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp;
use arrow::compute::{cast, filter_record_batch, is_not_null, is_null};
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use crate::time::EventTime;
use crate::{Error, Result, Schema};

/// How a column is compared with a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Comparison {
    /// Equal.
    Eq,
    /// Not equal.
    NotEq,
    /// Less than.
    Lt,
    /// Less than or equal.
    LtEq,
    /// Greater than.
    Gt,
    /// Greater than or equal.
    GtEq,
}

/// A constant of one of the types that rows are compared with.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scalar {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A real number.
    Float(f64),
    /// Text.
    Text(String),
    /// An instant.
    Time(EventTime),
}

macro_rules! scalar_from {
    ($($from:ty => $variant:ident),*) => {$(
        impl From<$from> for Scalar {
            fn from(value: $from) -> Self {
                Self::$variant(value.into())
            }
        }
    )*};
}

scalar_from!(bool => Bool, i64 => Int, i32 => Int, f64 => Float, &str => Text, String => Text, EventTime => Time);

/// A condition on one column. Rows for which it is not true, nulls among them, are left out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Predicate {
    /// The column compares with the value. NaN compares as Arrow's total order does: equal to itself, above all else.
    Compare {
        /// The column.
        column: String,
        /// How.
        comparison: Comparison,
        /// With what.
        value: Scalar,
    },
    /// The column is null.
    IsNull {
        /// The column.
        column: String,
    },
    /// The column is not null.
    IsNotNull {
        /// The column.
        column: String,
    },
}

impl Predicate {
    /// `column` `comparison` `value`.
    pub fn new(column: impl Into<String>, comparison: Comparison, value: impl Into<Scalar>) -> Self {
        Self::Compare { column: column.into(), comparison, value: value.into() }
    }

    /// The column that is looked at.
    pub fn column(&self) -> &str {
        match self {
            Self::Compare { column, .. } | Self::IsNull { column } | Self::IsNotNull { column } => column,
        }
    }

    /// Checks that the column exists and can be compared with the value.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a missing column, [`Error::Schema`] for one of another type.
    pub fn check(&self, schema: &Schema) -> Result<()> {
        let found = schema.field(self.column())?.data_type();
        let Self::Compare { value, .. } = self else { return Ok(()) };
        let fits = match value {
            Scalar::Bool(_) => matches!(found, DataType::Boolean),
            Scalar::Int(_) | Scalar::Float(_) => found.is_numeric(),
            Scalar::Text(_) => is_text(found),
            Scalar::Time(_) => matches!(found, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64),
        };
        if fits {
            Ok(())
        } else {
            Err(Error::schema(self.column(), format!("a type that compares with {value:?}"), found))
        }
    }

    /// The rows of `batch` for which this is true.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        Ok(filter_record_batch(batch, &self.mask(batch)?)?)
    }

    /// One value per row: true where this holds, null where the column is null.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn mask(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let array = batch.column_by_name(self.column()).ok_or_else(|| Error::not_found("column", self.column()))?;
        match self {
            Self::IsNull { .. } => Ok(is_null(array)?),
            Self::IsNotNull { .. } => Ok(is_not_null(array)?),
            Self::Compare { comparison, value, .. } => compare(array, *comparison, value),
        }
    }
}

pub(crate) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

fn compare(array: &dyn Array, comparison: Comparison, value: &Scalar) -> Result<BooleanArray> {
    let time = EventTime::data_type();
    match value {
        Scalar::Int(v) if *array.data_type() == DataType::UInt64 => match u64::try_from(*v) {
            Ok(v) => run(array, comparison, UInt64Array::from(vec![v])),
            Err(_) => Ok(all_above(array, comparison)),
        },
        Scalar::Bool(v) => run(array, comparison, BooleanArray::from(vec![*v])),
        Scalar::Int(v) if array.data_type().is_integer() => {
            run(&cast(array, &DataType::Int64)?, comparison, Int64Array::from(vec![*v]))
        }
        Scalar::Int(v) => run(&cast(array, &DataType::Float64)?, comparison, Float64Array::from(vec![*v as f64])),
        Scalar::Float(v) => run(&cast(array, &DataType::Float64)?, comparison, Float64Array::from(vec![*v])),
        Scalar::Text(v) => run(&cast(array, &DataType::Utf8)?, comparison, StringArray::from(vec![v.as_str()])),
        Scalar::Time(v) => {
            let constant = TimestampMicrosecondArray::from(vec![v.as_micros()]).with_timezone("UTC");
            run(&cast(array, &time)?, comparison, constant)
        }
    }
}

/// Every value is above the constant: the range of signed numbers does not hold all unsigned ones, nor the other way round.
fn all_above(array: &dyn Array, comparison: Comparison) -> BooleanArray {
    let holds = matches!(comparison, Comparison::NotEq | Comparison::Gt | Comparison::GtEq);
    let values = if holds { BooleanBuffer::new_set(array.len()) } else { BooleanBuffer::new_unset(array.len()) };
    BooleanArray::new(values, array.logical_nulls())
}

fn run(array: &dyn Array, comparison: Comparison, constant: impl Array) -> Result<BooleanArray> {
    let constant = ArrowScalar::new(constant);
    let array: &dyn arrow::array::Datum = &array;
    Ok(match comparison {
        Comparison::Eq => cmp::eq(array, &constant),
        Comparison::NotEq => cmp::neq(array, &constant),
        Comparison::Lt => cmp::lt(array, &constant),
        Comparison::LtEq => cmp::lt_eq(array, &constant),
        Comparison::Gt => cmp::gt(array, &constant),
        Comparison::GtEq => cmp::gt_eq(array, &constant),
    }?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsigned_numbers_beyond_the_signed_ones_are_compared_too() {
        let values = UInt64Array::from(vec![Some(0), Some(5), None, Some(u64::MAX)]);
        let kept = |comparison, constant: i64| {
            let mask = compare(&values, comparison, &constant.into()).unwrap();
            mask.iter().map(|kept| kept == Some(true)).collect::<Vec<_>>()
        };
        assert_eq!(kept(Comparison::Gt, 4), [false, true, false, true]);
        assert_eq!(kept(Comparison::NotEq, 5), [true, false, false, true]);
        assert_eq!(kept(Comparison::Gt, -1), [true, true, false, true]);
        assert_eq!(kept(Comparison::LtEq, -1), [false; 4]);
        assert_eq!(kept(Comparison::Eq, i64::MAX), [false; 4]);
    }
}
