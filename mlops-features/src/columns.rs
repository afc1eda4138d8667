//! Columns of callers in the few layouts that this crate computes on, without changing a value.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, PrimitiveArray, TimestampMicrosecondArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    ArrowTimestampType, DataType, Date32Type, Date64Type, FieldRef, Float64Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use mlops_core::time::DAY_US;

use crate::error::{Core, Result};

/// Largest whole number up to which every whole number is a float.
const FLOAT_INTEGER_MAX: u64 = 1 << 53;

/// Refuses nulls.
pub(crate) fn ensure_no_nulls(array: &dyn Array, column: &str) -> Result<()> {
    match array.logical_null_count() {
        0 => Ok(()),
        nulls => {
            Err(Core::invalid_data(format!("column `{column}`"), format!("{nulls} nulls where none may be")).into())
        }
    }
}

/// `array` as `target`, where every value has the same meaning in both.
///
/// Whole numbers widen or narrow, become floats below 2^53 (2^24 in 32 bits); strings and binaries change layout; dates and timestamps
/// of any unit become microseconds (finer units are rounded down, naive ones are UTC). Lists follow the rules of their elements,
/// of which none may be null.
///
/// # Errors
/// `Core(Schema)` when the types do not correspond, `Core(InvalidData)` when a value does not fit.
pub(crate) fn cast_exactly(array: &ArrayRef, target: &DataType, column: &str) -> Result<ArrayRef> {
    let found = array.data_type();
    if let DataType::List(item) | DataType::FixedSizeList(item, _) = target {
        return list(array, target, item, column);
    }
    if found == target {
        return Ok(array.clone());
    }
    if let DataType::Timestamp(TimeUnit::Microsecond, _) = target {
        return Ok(Arc::new(micros(array, column)?));
    }
    let from = if let DataType::Dictionary(_, values) = found { values.as_ref() } else { found };
    let text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let bytes = |t: &DataType| {
        matches!(t, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
    };
    let real = |t: &DataType| matches!(t, DataType::Float16 | DataType::Float32 | DataType::Float64);
    let widens = real(from) && real(target) && from.primitive_width() <= target.primitive_width();
    let to_real = from.is_integer() && real(target);
    let allowed = from == target
        || *from == DataType::Null
        || (from.is_integer() && target.is_integer())
        || widens
        || to_real
        || (text(from) && text(target))
        || (bytes(from) && bytes(target));
    if !allowed {
        return Err(Core::schema(column, target, found).into());
    }
    let unfit = |e: arrow::error::ArrowError| Core::invalid_data(format!("column `{column}` as {target}"), e);
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let cast = cast_with_options(array, target, &options).map_err(unfit)?;
    if to_real {
        ensure_whole(&cast, column)?;
    }
    Ok(cast)
}

/// A column of lists as `target`, whose elements are of `item` and never null.
fn list(array: &ArrayRef, target: &DataType, item: &FieldRef, column: &str) -> Result<ArrayRef> {
    let mismatch = || Core::schema(column, target, array.data_type());
    let unfit = |e: arrow::error::ArrowError| Core::invalid_data(format!("column `{column}` as {target}"), e);
    let of = match (array.data_type(), target) {
        (DataType::Null, _) => return Ok(new_null_array(target, array.len())),
        (DataType::FixedSizeList(_, found), DataType::FixedSizeList(_, wanted)) if found != wanted => {
            return Err(mismatch().into());
        }
        (
            DataType::List(of)
            | DataType::LargeList(of)
            | DataType::ListView(of)
            | DataType::LargeListView(of)
            | DataType::FixedSizeList(of, _),
            _,
        ) => of,
        _ => return Err(mismatch().into()),
    };
    // Two steps: the layout first, which touches no element, then the elements by the rules of plain columns.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let plain = cast_with_options(array, &DataType::List(of.clone()), &options).map_err(unfit)?;
    let (_, offsets, values, nulls) = plain.as_list::<i32>().clone().into_parts();
    let holes = values.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    if let Some(holes) = holes {
        let whole = |row: usize| holes.slice(offsets[row] as usize, (offsets[row + 1] - offsets[row]) as usize);
        let is_valid = |row: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row));
        if let Some(row) = (0..array.len()).filter(is_valid).find(|row| whole(*row).null_count() > 0) {
            let reason = format!("a null within the list of row {row}");
            return Err(Core::invalid_data(format!("column `{column}`"), reason).into());
        }
    }
    let values = cast_exactly(&values, item.data_type(), column)?;
    let lists = ListArray::try_new(item.clone(), offsets, values, nulls).map_err(unfit)?;
    match target {
        DataType::FixedSizeList(..) => Ok(cast_with_options(&lists, target, &options).map_err(unfit)?),
        _ => Ok(Arc::new(lists)),
    }
}

/// Refuses floats, made from whole numbers, that may stand for several of them.
fn ensure_whole(cast: &ArrayRef, column: &str) -> Result<()> {
    let limit = if cast.data_type() == &DataType::Float64 { FLOAT_INTEGER_MAX as f64 } else { f64::from(1_u32 << 24) };
    let wide = arrow::compute::cast(cast, &DataType::Float64)?;
    let beyond = wide.as_primitive::<Float64Type>().iter().flatten().any(|v| v.abs() >= limit);
    if beyond {
        let reason = "a whole number that a float does not hold exactly";
        return Err(Core::invalid_data(format!("column `{column}` as {}", cast.data_type()), reason).into());
    }
    Ok(())
}

/// A column of instants as microseconds, UTC.
///
/// # Errors
/// `Core(Schema)` when it holds no instants, `Core(InvalidData)` when one is out of range.
pub(crate) fn micros(array: &ArrayRef, column: &str) -> Result<TimestampMicrosecondArray> {
    let array = match array.data_type() {
        DataType::Dictionary(_, values) => &arrow::compute::cast(array, values)?,
        _ => array,
    };
    let out_of_range = || Core::invalid_data(format!("column `{column}`"), "an instant beyond the ends of time");
    let scaled = match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => Some(array.as_primitive::<TimestampMicrosecondType>().clone()),
        DataType::Timestamp(TimeUnit::Second, _) => scale::<TimestampSecondType>(array, 1_000_000),
        DataType::Timestamp(TimeUnit::Millisecond, _) => scale::<TimestampMillisecondType>(array, 1_000),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            Some(array.as_primitive::<TimestampNanosecondType>().unary(|v| v.div_euclid(1_000)))
        }
        DataType::Date32 => Some(array.as_primitive::<Date32Type>().unary(|v| i64::from(v) * DAY_US)),
        DataType::Date64 => array.as_primitive::<Date64Type>().try_unary(|v| v.checked_mul(1_000).ok_or(Overflow)).ok(),
        DataType::Null => Some(PrimitiveArray::new_null(array.len())),
        other => return Err(Core::schema(column, "a timestamp or date", other).into()),
    };
    Ok(scaled.ok_or_else(out_of_range)?.with_timezone("UTC"))
}

struct Overflow;

fn scale<T: ArrowTimestampType>(array: &ArrayRef, by: i64) -> Option<TimestampMicrosecondArray> {
    array.as_primitive::<T>().try_unary(|v| v.checked_mul(by).ok_or(Overflow)).ok()
}

/// Whole numbers of any width.
pub(crate) fn integers(array: &ArrayRef, column: &str) -> Result<PrimitiveArray<Int64Type>> {
    let from = if let DataType::Dictionary(_, values) = array.data_type() { values } else { array.data_type() };
    if !from.is_integer() && *from != DataType::Null {
        return Err(Core::schema(column, "a whole number", array.data_type()).into());
    }
    Ok(cast_exactly(array, &DataType::Int64, column)?.as_primitive::<Int64Type>().clone())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, StringArray, TimestampNanosecondArray, UInt64Array};

    use super::*;
    use crate::define::{Item, ValueType};

    fn cast(array: impl Array + 'static, target: DataType) -> Result<ArrayRef> {
        cast_exactly(&(Arc::new(array) as ArrayRef), &target, "c")
    }

    #[test]
    fn a_value_that_would_change_is_refused() {
        assert!(cast(UInt64Array::from(vec![u64::MAX]), DataType::Int64).is_err());
        assert!(cast(Int64Array::from(vec![i64::MAX]), DataType::Float64).is_err());
        assert!(cast(Int64Array::from(vec![i64::MAX]), DataType::Int32).is_err());
        assert!(cast(Float64Array::from(vec![1.0]), DataType::Int64).is_err());
        assert!(cast(Float64Array::from(vec![1.0]), DataType::Float32).is_err());
        assert!(cast(StringArray::from(vec!["1"]), DataType::Int64).is_err());
    }

    #[test]
    fn layouts_and_widths_that_hold_the_same_values_pass() {
        let array = cast(Int64Array::from(vec![Some(-3), None]), DataType::Float64).unwrap();
        assert_eq!(array.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), [Some(-3.0), None]);
        let text = cast(StringArray::from(vec!["a"]), DataType::Utf8View).unwrap();
        assert_eq!(text.as_string_view().value(0), "a");
    }

    fn lists(rows: Vec<Option<Vec<Option<f32>>>>) -> ListArray {
        ListArray::from_iter_primitive::<arrow::datatypes::Float32Type, _, _>(rows)
    }

    #[test]
    fn lists_take_every_layout_and_follow_the_rules_of_their_elements() {
        let rows = vec![Some(vec![Some(1.5), Some(-0.0)]), None, Some(vec![Some(f32::NAN), Some(2.0)])];
        let vector = ValueType::Vector(2).data_type();
        let points = cast(lists(rows.clone()), vector.clone()).unwrap();
        assert_eq!((points.len(), points.null_count()), (3, 1));
        let again = cast_exactly(&points.slice(2, 1), &vector, "c").unwrap();
        assert_eq!(again.as_fixed_size_list().value(0).as_primitive::<arrow::datatypes::Float32Type>().value(1), 2.0);
        let wide = cast(lists(rows), ValueType::List(Item::Float64).data_type()).unwrap();
        assert_eq!(wide.as_list::<i32>().value(0).as_primitive::<Float64Type>().values(), &[1.5, -0.0]);
        assert!(cast(lists(vec![Some(vec![Some(1.0)])]), vector).unwrap_err().to_string().contains('c'));
        assert!(cast(lists(vec![Some(vec![Some(1.0)])]), ValueType::List(Item::Utf8).data_type()).is_err());
    }

    #[test]
    fn a_null_within_a_list_is_refused_whatever_its_layout() {
        let rows = vec![Some(vec![Some(1.0)]), Some(vec![None])];
        let error = cast(lists(rows.clone()), ValueType::List(Item::Float64).data_type()).unwrap_err().to_string();
        assert!(error.contains("row 1"), "{error}");
        let same = lists(rows);
        let target = same.data_type().clone();
        assert!(cast(same, target).is_err());
    }

    #[test]
    fn nanoseconds_before_the_epoch_round_down() {
        let array: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![-1, 1_999]));
        let micros = micros(&array, "t").unwrap();
        assert_eq!(micros.values(), &[-1, 1]);
    }

    #[test]
    fn seconds_beyond_the_ends_of_time_are_refused() {
        let array: ArrayRef = Arc::new(arrow::array::TimestampSecondArray::from(vec![i64::MAX]));
        assert!(micros(&array, "t").unwrap_err().to_string().contains("`t`"));
    }
}
