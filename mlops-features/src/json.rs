//! Values as JSON: what callers over a network send.

use std::fmt::Display;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array, Int64Array,
    ListBuilder, StringArray, StringBuilder, TimestampMicrosecondArray, new_null_array,
};
use arrow::array::{Float64Builder, Int64Builder};
use arrow::datatypes::{DataType, Float32Type, TimeUnit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mlops_core::EventTime;
use serde_json::Value;

use crate::columns::cast_exactly;
use crate::define::{Item, ValueType};
use crate::error::{Core, Result};

/// A column of type `target` from JSON values; `None` is null, too.
///
/// Whole numbers as numbers; real numbers as numbers or as `"NaN"`, `"Infinity"`, `"-Infinity"`; bytes in base 64; instants as
/// RFC 3339 text (UTC where no offset is given) or as microseconds since the epoch; lists and vectors as arrays.
///
/// # Errors
/// `Core(InvalidData)` naming column and row for a value of another kind or out of range. The value is never quoted.
pub(crate) fn column<'a>(
    name: &str,
    target: &DataType,
    values: impl ExactSizeIterator<Item = Option<&'a Value>>,
) -> Result<ArrayRef> {
    let values = values.map(|value| value.filter(|value| !value.is_null()));
    let read = Reading { name };
    let array: ArrayRef = match target {
        DataType::Null => new_null_array(target, values.len()),
        DataType::Boolean => Arc::new(read.all(values, "true or false", Value::as_bool)?.collect::<BooleanArray>()),
        DataType::Int32 => {
            let whole = |value: &Value| value.as_i64().and_then(|value| i32::try_from(value).ok());
            Arc::new(read.all(values, "a whole number of 32 bits", whole)?.collect::<Int32Array>())
        }
        DataType::Int64 => {
            Arc::new(read.all(values, "a whole number of 64 bits", Value::as_i64)?.collect::<Int64Array>())
        }
        DataType::Float32 => Arc::new(read.all(values, "a number of 32 bits", single)?.collect::<Float32Array>()),
        DataType::Float64 => Arc::new(read.all(values, "a number", real)?.collect::<Float64Array>()),
        DataType::Utf8 => Arc::new(read.all(values, "a text", Value::as_str)?.collect::<StringArray>()),
        DataType::Binary => {
            let bytes = |value: &Value| value.as_str().and_then(|text| STANDARD.decode(text).ok());
            Arc::new(read.all(values, "bytes in base 64", bytes)?.collect::<BinaryArray>())
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let all = read.all(values, "an instant", instant)?.collect::<TimestampMicrosecondArray>();
            Arc::new(all.with_timezone_opt(zone.clone()))
        }
        DataType::FixedSizeList(..) => read.vectors(values, target)?,
        DataType::List(_) => read.lists(values, target)?,
        other => return Err(Core::schema(name, "a type that JSON has", other).into()),
    };
    if array.data_type() == target { Ok(array) } else { cast_exactly(&array, target, name) }
}

/// The name of the column, for errors.
struct Reading<'n> {
    name: &'n str,
}

impl Reading<'_> {
    fn refuse(&self, row: usize, expected: impl Display) -> crate::Error {
        let what = format!("column `{}`", self.name);
        Core::invalid_data(what, format!("the value of row {row} is not {expected}")).into()
    }

    /// Each value by `read`, or the first that is none.
    fn all<'v, T>(
        &self,
        values: impl Iterator<Item = Option<&'v Value>>,
        expected: &str,
        read: impl Fn(&'v Value) -> Option<T>,
    ) -> Result<std::vec::IntoIter<Option<T>>> {
        let one = |(row, value): (usize, Option<&'v Value>)| {
            value.map(|value| read(value).ok_or_else(|| self.refuse(row, expected))).transpose()
        };
        Ok(values.enumerate().map(one).collect::<Result<Vec<_>>>()?.into_iter())
    }

    fn vectors<'v>(&self, values: impl Iterator<Item = Option<&'v Value>>, target: &DataType) -> Result<ArrayRef> {
        let DataType::FixedSizeList(_, width) = target else {
            return Err(Core::schema(self.name, "a vector", target).into());
        };
        let expected = format!("an array of {width} numbers");
        let point = |value: &Value| {
            let numbers = value.as_array().filter(|numbers| numbers.len() == *width as usize)?;
            numbers.iter().map(|number| single(number).map(Some)).collect::<Option<Vec<_>>>()
        };
        let points = self.all(values, &expected, point)?;
        Ok(Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(points, *width)))
    }

    fn lists<'v>(&self, values: impl Iterator<Item = Option<&'v Value>>, target: &DataType) -> Result<ArrayRef> {
        let ValueType::List(item) = ValueType::of(self.name, target)? else {
            return Err(Core::schema(self.name, "a list", target).into());
        };
        let lists = self.all(values, "an array", Value::as_array)?;
        Ok(match item {
            Item::Int64 => {
                let mut builder = ListBuilder::new(Int64Builder::new());
                self.each(lists, "an array of whole numbers", Value::as_i64, |list| builder.append_option(list))?;
                Arc::new(builder.finish())
            }
            Item::Float64 => {
                let mut builder = ListBuilder::new(Float64Builder::new());
                self.each(lists, "an array of numbers", real, |list| builder.append_option(list))?;
                Arc::new(builder.finish())
            }
            Item::Utf8 => {
                let mut builder = ListBuilder::new(StringBuilder::new());
                self.each(lists, "an array of texts", Value::as_str, |list| builder.append_option(list))?;
                Arc::new(builder.finish())
            }
        })
    }

    /// Calls `append` with the elements of each list in turn.
    fn each<'v, T>(
        &self,
        lists: impl Iterator<Item = Option<&'v Vec<Value>>>,
        expected: &str,
        read: impl Fn(&'v Value) -> Option<T>,
        mut append: impl FnMut(Option<Vec<Option<T>>>),
    ) -> Result<()> {
        for (row, list) in lists.enumerate() {
            let elements = list.map(|list| list.iter().map(|v| read(v).map(Some)).collect::<Option<Vec<_>>>());
            let elements = elements.map(|all| all.ok_or_else(|| self.refuse(row, expected))).transpose()?;
            append(elements);
        }
        Ok(())
    }
}

/// A number, or one of those that JSON does not have.
fn real(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        other => other.as_f64(),
    }
}

/// As [`real`], rounded to single precision where it does not become infinite by that.
fn single(value: &Value) -> Option<f32> {
    let wide = real(value)?;
    let narrow = wide as f32;
    (narrow.is_infinite() == wide.is_infinite()).then_some(narrow)
}

/// Microseconds since the epoch.
fn instant(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => EventTime::parse(text).ok().map(EventTime::as_micros),
        other => other.as_i64(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
    use serde_json::json;

    use super::*;

    fn read(value_type: ValueType, values: &Value) -> Result<ArrayRef> {
        let values = values.as_array().unwrap();
        column("c", &value_type.data_type(), values.iter().map(Some))
    }

    #[test]
    fn every_type_is_read() {
        let table = [
            (ValueType::Bool, json!([true, null])),
            (ValueType::Int32, json!([-1, null])),
            (ValueType::Int64, json!([i64::MAX, null])),
            (ValueType::Float32, json!([0.5, null])),
            (ValueType::Float64, json!(["-Infinity", null])),
            (ValueType::Utf8, json!(["é", null])),
            (ValueType::Binary, json!(["AP8=", null])),
            (ValueType::Timestamp, json!(["1969-12-31T23:59:59.5Z", null])),
            (ValueType::Vector(2), json!([[1, 2.5], null])),
            (ValueType::List(Item::Int64), json!([[1, 2], null])),
            (ValueType::List(Item::Float64), json!([["NaN"], null])),
            (ValueType::List(Item::Utf8), json!([[], null])),
        ];
        for (value_type, values) in table {
            let array = read(value_type, &values).unwrap();
            assert_eq!((array.len(), array.null_count()), (2, 1), "{value_type}");
            assert_eq!(array.data_type(), &value_type.data_type());
        }
        let time = read(ValueType::Timestamp, &json!(["1969-12-31T23:59:59.5", 7])).unwrap();
        assert_eq!(time.as_primitive::<TimestampMicrosecondType>().values(), &[-500_000, 7]);
        let real = read(ValueType::Float64, &json!(["Infinity", 1])).unwrap();
        assert_eq!(real.as_primitive::<Float64Type>().values(), &[f64::INFINITY, 1.0]);
    }

    #[test]
    fn a_value_of_another_kind_is_refused_by_row_and_never_quoted() {
        let table = [
            (ValueType::Bool, json!([true, "0912345678"])),
            (ValueType::Int32, json!([1, 3_000_000_000_i64])),
            (ValueType::Int64, json!([1, 1.5])),
            (ValueType::Int64, json!([1, u64::MAX])),
            (ValueType::Float32, json!([1, 1e39])),
            (ValueType::Float64, json!([1, "0912345678"])),
            (ValueType::Utf8, json!(["a", 912345678])),
            (ValueType::Binary, json!(["AA==", "0912345678 "])),
            (ValueType::Timestamp, json!([1, "0912345678x"])),
            (ValueType::Vector(2), json!([[1, 2], [1]])),
            (ValueType::Vector(2), json!([[1, 2], [1, null]])),
            (ValueType::List(Item::Utf8), json!([[], [1]])),
        ];
        for (value_type, values) in table {
            let error = read(value_type, &values).unwrap_err().to_string();
            assert!(error.contains("`c`") && error.contains("row 1"), "{value_type}: {error}");
            assert!(!error.contains("912345678"), "{error}");
        }
    }
}
