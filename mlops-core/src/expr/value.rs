//! Columns and constants while an expression runs.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, Float64Array, Int64Array, LargeStringArray,
    PrimitiveArray, StringArray, StringViewArray, TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Date32Type, Int64Type, TimeUnit};

use super::Type;
use crate::Result;
use crate::source::Scalar;
use crate::time::{DAY_US, EventTime};

/// One value per row, or one for all of them. Times are microseconds in `Int64`.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) array: ArrayRef,
    /// The array has one value, which holds for every row.
    pub(super) constant: bool,
}

impl Value {
    pub(super) fn rows(array: impl Array + 'static) -> Self {
        Self { array: Arc::new(array), constant: false }
    }

    pub(super) fn null(kind: Type) -> Self {
        Self { array: new_null_array(&kind.inside(), 1), constant: true }
    }

    pub(super) fn time(time: EventTime) -> Self {
        Self { array: Arc::new(Int64Array::from(vec![time.as_micros()])), constant: true }
    }

    pub(super) fn scalar(scalar: &Scalar) -> (Self, Type) {
        let (array, kind): (ArrayRef, _) = match scalar {
            Scalar::Bool(value) => (Arc::new(BooleanArray::from(vec![*value])), Type::Bool),
            Scalar::Int(value) => (Arc::new(Int64Array::from(vec![*value])), Type::Int),
            Scalar::Float(value) => (Arc::new(Float64Array::from(vec![*value])), Type::Float),
            Scalar::Text(value) => (Arc::new(StringViewArray::from(vec![value.as_str()])), Type::Text),
            Scalar::Time(time) => return (Self::time(*time), Type::Time),
        };
        (Self { array, constant: true }, kind)
    }

    pub(super) fn is_null_constant(&self) -> bool {
        self.constant && self.array.is_null(0)
    }

    pub(super) fn numbers<T: ArrowPrimitiveType>(&self) -> &PrimitiveArray<T> {
        self.array.as_primitive()
    }

    pub(super) fn texts(&self) -> Texts<'_> {
        match self.array.data_type() {
            DataType::Utf8 => Texts::Utf8(self.array.as_string()),
            DataType::LargeUtf8 => Texts::Large(self.array.as_string()),
            _ => Texts::View(self.array.as_string_view()),
        }
    }

    /// One value per row, constants written out.
    pub(super) fn spread(&self, rows: usize) -> Result<ArrayRef> {
        if !self.constant || rows == 1 {
            return Ok(self.array.clone());
        }
        Ok(take(&self.array, &UInt32Array::from(vec![0; rows]), None)?)
    }
}

/// Text of any layout.
#[derive(Clone, Copy)]
pub(super) enum Texts<'a> {
    Utf8(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
}

impl<'a> Texts<'a> {
    pub(super) fn value(self, row: usize) -> &'a str {
        match self {
            Self::Utf8(texts) => texts.value(row),
            Self::Large(texts) => texts.value(row),
            Self::View(texts) => texts.value(row),
        }
    }
}

impl Type {
    /// What a column of `data_type` is read as.
    pub(super) fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text,
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => Self::Time,
            DataType::Dictionary(_, values) => return Self::of(values),
            DataType::Decimal128(..) => Self::Float,
            other if other.is_integer() => Self::Int,
            other if other.is_floating() => Self::Float,
            _ => return None,
        })
    }

    /// Layout of values while an expression runs.
    fn inside(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int | Self::Time => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Text => DataType::Utf8View,
        }
    }

    /// A column of the table as values.
    pub(super) fn read(self, array: &ArrayRef) -> Result<Value> {
        let plain = match array.data_type() {
            DataType::Dictionary(_, values) => cast(array, values)?,
            _ => array.clone(),
        };
        let array = match self {
            Self::Bool | Self::Text => plain,
            Self::Int => cast(&plain, &DataType::Int64)?,
            Self::Float => cast(&plain, &DataType::Float64)?,
            Self::Time => Arc::new(micros(&plain)?),
        };
        Ok(Value { array, constant: false })
    }

    /// Values as a column of this type's [`Type::data_type`].
    pub(super) fn write(self, value: &Value, rows: usize) -> Result<ArrayRef> {
        let array = value.spread(rows)?;
        Ok(match self {
            Self::Time => {
                let (_, values, nulls) = array.as_primitive::<Int64Type>().clone().into_parts();
                Arc::new(TimestampMicrosecondArray::new(values, nulls).with_timezone("UTC"))
            }
            Self::Text => cast(&array, &DataType::Utf8View)?,
            _ => array,
        })
    }
}

/// Microseconds since 1970 of any type of time; null where they do not fit.
pub(crate) fn micros(array: &ArrayRef) -> Result<Int64Array> {
    let times = |step: i64| -> Result<Int64Array> {
        let raw = cast(array, &DataType::Int64)?;
        Ok(raw.as_primitive::<Int64Type>().unary_opt(|value| value.checked_mul(step)))
    };
    match array.data_type() {
        DataType::Date32 => Ok(array.as_primitive::<Date32Type>().unary(|days| i64::from(days) * DAY_US)),
        DataType::Timestamp(TimeUnit::Second, _) => times(1_000_000),
        DataType::Timestamp(TimeUnit::Microsecond, _) => times(1),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let raw = cast(array, &DataType::Int64)?;
            Ok(raw.as_primitive::<Int64Type>().unary(|nanos| nanos.div_euclid(1000)))
        }
        _ => times(1000),
    }
}
