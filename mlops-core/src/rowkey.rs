//! Keys of rows: hashes of 128 bits, equal for equal values whatever their layout.

mod piles;
mod rowset;
mod seen;
mod stable;

pub(crate) use self::rowset::RowSet;
pub(crate) use self::seen::{KeyLimits, Seen, Times};
pub(crate) use self::stable::StableKeys;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Float32Array, Float64Array, GenericByteArray, GenericByteViewArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    ByteArrayType, ByteViewType, DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
};
use arrow::row::{RowConverter, SortField};

use crate::{Error, Result};

/// Lower half of the key of a number, which is not 0 and leaves the lowest bit free.
const NUMBER: u128 = 2;

/// Hashes values with a key of its own, so that data cannot be made to collide; hashes of two of them do not compare.
///
/// * One column of numbers, times or booleans of up to 64 bits has no collisions at all, and its upper half is the value:
///   what counts up stays together. Others have 128 bits of keyed SipHash.
/// * Of several columns, the upper half is that of the first and the lower one a universal hash of all: two different keys out
///   of n are taken for one with a probability of less than `n² / 2^64`, where all of them share the first value, which is a
///   number.
/// * `-0.0` equals `0.0`, and every NaN every other (inside of nested values their bits count); text and binary are compared
///   by their bytes; a null equals a null.
#[derive(Debug)]
pub(crate) struct KeyHasher {
    halves: [RandomState; 2],
    factor: u128,
    null: u128,
}

impl KeyHasher {
    pub(crate) fn new() -> Self {
        let halves = [RandomState::new(), RandomState::new()];
        let random = |salt: u64| u128::from(halves[0].hash_one(salt)) | u128::from(halves[1].hash_one(salt)) << 64;
        let (factor, null) = (random(0) | 1, random(1));
        Self { halves, factor, null }
    }

    /// One hash per row.
    ///
    /// # Errors
    /// [`Error::Schema`] for a type that keys are not made of.
    pub(crate) fn column(&self, array: &ArrayRef) -> Result<Vec<u128>> {
        let mut hashes = self.values(array)?;
        if let Some(nulls) = array.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
            (!nulls.inner()).set_indices().for_each(|row| hashes[row] = self.null);
        }
        Ok(hashes)
    }

    /// One hash per row of several columns, of which there is at least one.
    pub(crate) fn join(&self, columns: &[Arc<Vec<u128>>]) -> Vec<u128> {
        let [first, rest @ ..] = columns else { return Vec::new() };
        let mut sums = self.spread(first, 0);
        for (position, column) in rest.iter().enumerate() {
            let next = self.spread(column, position + 1);
            sums.iter_mut().zip(next).for_each(|(sum, one)| *sum = sum.wrapping_add(one));
        }
        sums.iter_mut().zip(first.iter()).for_each(|(sum, first)| *sum = first >> 64 << 64 | *sum >> 64);
        sums
    }

    /// Hashes as summands of a sum that depends on the position: of products with random factors, the upper half is uniform.
    fn spread(&self, hashes: &[u128], position: usize) -> Vec<u128> {
        let salt = position as u64 + 2;
        let factor = u128::from(self.halves[0].hash_one(salt)) << 64 | u128::from(self.halves[1].hash_one(salt)) | 1;
        hashes.iter().map(|hash| hash.wrapping_mul(self.factor).rotate_left(64).wrapping_mul(factor)).collect()
    }

    fn number(bits: u64) -> u128 {
        u128::from(bits) << 64 | NUMBER
    }

    fn bytes(&self, bytes: &[u8]) -> u128 {
        let half = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            hasher.write(bytes);
            u128::from(hasher.finish())
        };
        half(&self.halves[0]) | half(&self.halves[1]) << 64
    }

    fn values(&self, array: &ArrayRef) -> Result<Vec<u128>> {
        use DataType as T;
        Ok(match array.data_type() {
            T::Null => vec![self.null; array.len()],
            T::Boolean => array.as_boolean().values().iter().map(|value| Self::number(value.into())).collect(),
            T::Float16 | T::Float32 | T::Float64 => {
                let wide = cast(array, &T::Float64)?;
                wide.as_primitive::<Float64Type>().values().iter().map(|value| Self::number(bits(*value))).collect()
            }
            T::Utf8 => self.texts(array.as_string::<i32>()),
            T::LargeUtf8 => self.texts(array.as_string::<i64>()),
            T::Utf8View => self.views(array.as_string_view()),
            T::Binary => self.texts(array.as_binary::<i32>()),
            T::LargeBinary => self.texts(array.as_binary::<i64>()),
            T::BinaryView => self.views(array.as_binary_view()),
            T::Dictionary(..) => {
                let dictionary = array.as_any_dictionary();
                if dictionary.values().is_empty() {
                    return Ok(vec![self.null; array.len()]);
                }
                let values = self.column(dictionary.values())?;
                let keys = dictionary.normalized_keys();
                keys.into_iter().map(|key| values.get(key).copied().unwrap_or(self.null)).collect()
            }
            other => match other.primitive_width() {
                Some(1) => Self::fixed::<Int8Type>(array)?,
                Some(2) => Self::fixed::<Int16Type>(array)?,
                Some(4) => Self::fixed::<Int32Type>(array)?,
                Some(8) => Self::fixed::<Int64Type>(array)?,
                _ => self.rows(array)?,
            },
        })
    }

    /// Numbers and times by their bits, whatever they stand for.
    fn fixed<T: ArrowPrimitiveType<Native: Into<i64>>>(array: &ArrayRef) -> Result<Vec<u128>> {
        let data = array.to_data().into_builder().data_type(T::DATA_TYPE).build()?;
        let plain = arrow::array::PrimitiveArray::<T>::from(data);
        Ok(plain.values().iter().map(|value| Self::number(Into::<i64>::into(*value).cast_unsigned())).collect())
    }

    fn texts<T: ByteArrayType<Native: AsRef<[u8]>>>(&self, array: &GenericByteArray<T>) -> Vec<u128> {
        (0..array.len()).map(|row| self.bytes(array.value(row).as_ref())).collect()
    }

    fn views<T: ByteViewType<Native: AsRef<[u8]>> + ?Sized>(&self, array: &GenericByteViewArray<T>) -> Vec<u128> {
        (0..array.len()).map(|row| self.bytes(array.value(row).as_ref())).collect()
    }

    /// Wide and nested values by the bytes that they sort by.
    fn rows(&self, array: &ArrayRef) -> Result<Vec<u128>> {
        let unfit = || Error::schema("*", "a type that keys are made of", array.data_type());
        let rows = converter(array.data_type())?.ok_or_else(unfit)?.convert_columns(std::slice::from_ref(array))?;
        Ok(rows.iter().map(|row| self.bytes(row.as_ref())).collect())
    }
}

/// Rows that have a value in each of `columns`, where some do not.
pub(crate) fn keyless(columns: &[&ArrayRef]) -> Option<NullBuffer> {
    columns.iter().fold(None, |all, column| NullBuffer::union(all.as_ref(), column.logical_nulls().as_ref()))
}

/// Whether keys are made of this type.
pub(crate) fn is_key(data_type: &DataType) -> bool {
    match data_type {
        DataType::Null => true,
        DataType::Dictionary(_, values) => is_key(values),
        other => RowConverter::supports_fields(&[SortField::new(other.clone())]),
    }
}

/// Bits of a float with one zero and one NaN.
fn bits(value: f64) -> u64 {
    if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() }
}

/// The same values with one zero and one NaN.
pub(crate) fn canonical(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Float32 => {
            let one = |v: f32| if v.is_nan() { f32::NAN } else { v + 0.0 };
            let plain: Float32Array = array.as_primitive::<Float32Type>().unary(one);
            Arc::new(plain)
        }
        DataType::Float64 => {
            let one = |v: f64| if v.is_nan() { f64::NAN } else { v + 0.0 };
            let plain: Float64Array = array.as_primitive::<Float64Type>().unary(one);
            Arc::new(plain)
        }
        _ => array.clone(),
    }
}

/// Writes the values of one column as bytes, equal for equal values; `None` for types that have no such form.
pub(crate) fn converter(data_type: &DataType) -> Result<Option<RowConverter>> {
    let field = [SortField::new(data_type.clone())];
    if RowConverter::supports_fields(&field) {
        return Ok(Some(RowConverter::new(field.to_vec())?));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn hashes(hasher: &KeyHasher, array: impl Array + 'static) -> Vec<u128> {
        hasher.column(&(Arc::new(array) as ArrayRef)).unwrap()
    }

    #[test]
    fn equal_values_have_equal_keys_whatever_their_layout() {
        let hasher = KeyHasher::new();
        let texts = StringArray::from(vec![Some("a"), None, Some("b"), Some("a"), Some("")]);
        let expected = hashes(&hasher, texts.clone());
        assert!(expected[0] == expected[3] && expected[0] != expected[2] && expected[1] != expected[4]);
        for layout in [DataType::LargeUtf8, DataType::Utf8View] {
            assert_eq!(hasher.column(&cast(&texts, &layout).unwrap()).unwrap(), expected);
        }
        let dictionary: arrow::array::DictionaryArray<Int32Type> = texts.iter().collect();
        assert_eq!(hashes(&hasher, dictionary), expected);
        let floats = hashes(&hasher, Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN, 1.0]));
        assert!(floats[0] == floats[1] && floats[2] == floats[3] && floats[0] != floats[4]);
        let narrow = hashes(&hasher, Float32Array::from(vec![0.5]));
        assert_eq!(narrow, hashes(&hasher, Float64Array::from(vec![0.5])));
    }

    #[test]
    fn the_place_of_a_value_in_a_key_counts() {
        let hasher = KeyHasher::new();
        let a = Arc::new(hashes(&hasher, Int64Array::from(vec![1, 2, 1])));
        let b = Arc::new(hashes(&hasher, Int64Array::from(vec![2, 1, 2])));
        let keys = hasher.join(&[a.clone(), b.clone()]);
        assert!(keys[0] == keys[2] && keys[0] != keys[1]);
        assert_ne!(hasher.join(&[b, a])[0], keys[0]);
        let text = || StringArray::from(vec!["a"]);
        assert_ne!(hashes(&KeyHasher::new(), text()), hashes(&KeyHasher::new(), text()));
    }

    #[test]
    fn neighbouring_numbers_never_share_a_key() {
        let hasher = KeyHasher::new();
        let mut all = hashes(&hasher, Int64Array::from_iter_values((-5_000..5_000).chain([i64::MIN, i64::MAX])));
        all.iter_mut().for_each(|hash| *hash &= !1);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 10_002);
    }
}
