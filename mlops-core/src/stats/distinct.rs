//! How many different values a stream has, from a HyperLogLog sketch.

use arrow::array::Array;
use datasketches::hash::value::raw_bytes;
use datasketches::hll::{Coupon, HllSketch, HllType, HllUnion};
use serde::{Deserialize, Serialize};

use super::bytes::serde_by_bytes;
use super::values;
use crate::{Error, Result};

/// Approximate number of different values, nulls and NaN left out.
///
/// With the default precision of 12 the standard error is 1.6 % beyond 384 values, and below them the count is
/// practically exact; 4 KiB at most. The estimate depends on the set of values only: neither order, nor
/// repetition, nor the split into merged parts changes it.
///
/// Numbers are hashed as 64-bit integers or as the bits of a double, texts as their bytes: what the Java and
/// C++ libraries of Apache DataSketches do (they skip empty strings, we count them).
///
/// # Source
/// Flajolet, Fusy, Gandouet, Meunier, *HyperLogLog*, AofA 2007; the composite estimator of Apache DataSketches.
#[derive(Debug, Clone)]
pub struct Distinct {
    sketch: HllSketch,
}

serde_by_bytes!(Distinct);

impl Default for Distinct {
    fn default() -> Self {
        match Self::new(Self::PRECISION) {
            Ok(distinct) => distinct,
            Err(_) => unreachable!("the default precision is valid"),
        }
    }
}

/// An estimate and the interval that holds the truth in 95 of 100 cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// The most likely value.
    pub value: u64,
    /// Lower end, inclusive.
    pub low: u64,
    /// Upper end, inclusive.
    pub high: u64,
}

impl Estimate {
    /// A number that is known exactly.
    pub fn exact(value: u64) -> Self {
        Self { value, low: value, high: value }
    }

    /// Whether the interval is a single number.
    pub fn is_exact(&self) -> bool {
        self.low == self.high
    }
}

/// Modes of the byte format that hold values rather than registers.
const LIST: u8 = 0;
const SET: u8 = 1;

impl Distinct {
    /// The default: 4096 registers.
    pub const PRECISION: u8 = 12;

    /// An empty sketch of `2^precision` registers of one byte; standard error `1.04 / 2^(precision/2)`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `precision` is not in `8..=16`.
    pub fn new(precision: u8) -> Result<Self> {
        if !(8..=16).contains(&precision) {
            return Err(Error::invalid("precision", precision, "in 8..=16"));
        }
        let sketch =
            HllSketch::new(precision, HllType::Hll8).map_err(|error| Error::external("datasketches", error))?;
        Ok(Self { sketch })
    }

    /// Adds one text.
    pub fn update_text(&mut self, text: &str) {
        self.sketch.update_with_coupon(Coupon::from_value(raw_bytes::from_str(text)));
    }

    /// Adds one number; NaN is left out, and the two zeros are one value.
    pub fn update_number(&mut self, value: f64) {
        if !value.is_nan() {
            self.update_key((value + 0.0).to_bits());
        }
    }

    /// Adds one integer.
    pub fn update_integer(&mut self, value: i64) {
        self.update_key(value.cast_unsigned());
    }

    pub(crate) fn update_key(&mut self, key: u64) {
        self.sketch.update_with_coupon(Coupon::from_value(key));
    }

    /// Adds the present values of `array`: integers, floats, `Decimal128` as doubles, booleans, dates and
    /// timestamps by their integers, strings and dictionaries of strings.
    ///
    /// # Errors
    /// [`Error::Invalid`] for other types; nothing is added then.
    pub fn update_array(&mut self, array: &dyn Array) -> Result<()> {
        if values::is_text(array.data_type()) {
            return values::texts(array, &mut |text, _| self.update_text(text));
        }
        values::numbers(array, &mut |values, keys| {
            for (_, &key) in values.iter().zip(keys).filter(|(value, _)| !value.is_nan()) {
                self.update_key(key);
            }
        })
    }

    /// Adds what `other` has seen; the precision becomes the smaller of the two.
    ///
    /// # Errors
    /// [`Error::External`] never in practice: both precisions were checked.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if other.sketch.is_empty() {
            return Ok(());
        }
        let precision = self.sketch.lg_config_k().min(other.sketch.lg_config_k());
        let mut union = HllUnion::new(precision).map_err(|error| Error::external("datasketches", error))?;
        union.update(&self.sketch);
        union.update(&other.sketch);
        self.sketch = union.to_sketch(HllType::Hll8);
        Ok(())
    }

    /// Number of different values seen, with two standard errors to each side.
    pub fn estimate(&self) -> Estimate {
        let value = self.sketch.composite_estimate();
        let registers = (1_u64 << self.sketch.lg_config_k()) as f64;
        // Up to here the sketch holds 32-bit hashes of the values themselves, and two of them rarely collide.
        if value <= registers / 8.0 * 0.75 {
            return Estimate::exact(value.round() as u64);
        }
        let error = 2.0 * 1.04 / registers.sqrt();
        Estimate {
            value: value.round() as u64,
            low: (value / (1.0 + error)).floor() as u64,
            high: (value / (1.0 - error)).ceil() as u64,
        }
    }

    /// The sketch in the format of Apache DataSketches (HLL_8); equal for equal sets of values, whatever their order.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.sketch.serialize();
        let start = match bytes.get(7).map(|mode| mode & 3) {
            Some(LIST) => 8,
            Some(SET) => 12,
            _ => return self.registers_only().unwrap_or(bytes),
        };
        // The few values that are held stand in order of arrival or of probing: sort them.
        if let Some(body) = bytes.get_mut(start..) {
            let mut coupons: Vec<[u8; 4]> = body.as_chunks().0.to_vec();
            coupons.sort_unstable_by_key(|coupon| u32::from_le_bytes(*coupon));
            body.copy_from_slice(coupons.as_flattened());
        }
        bytes
    }

    /// The bytes without the running estimate that depends on order: a union has none.
    fn registers_only(&self) -> Option<Vec<u8>> {
        let mut union = HllUnion::new(self.sketch.lg_config_k()).ok()?;
        union.update(&self.sketch);
        union.update(&self.sketch);
        Some(union.to_sketch(HllType::Hll8).serialize())
    }

    /// Reads [`Distinct::to_bytes`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the bytes are not such a sketch.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let corrupt = |reason: &dyn std::fmt::Display| Error::corrupt("distinct sketch", reason);
        let sketch = HllSketch::deserialize(bytes).map_err(|error| corrupt(&error))?;
        if !(8..=16).contains(&sketch.lg_config_k()) || sketch.target_type() != HllType::Hll8 {
            return Err(corrupt(&"precision or type out of range"));
        }
        if !sketch.composite_estimate().is_finite() {
            return Err(corrupt(&"the estimate is not finite"));
        }
        Ok(Self { sketch })
    }
}

#[cfg(test)]
mod tests;
