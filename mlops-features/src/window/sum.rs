//! Sums of doubles without any rounding, so that neither order, nor grouping, nor taking values out again changes them.
//!
//! A double is a whole number times a power of two. As long as all of a sum's values fit over one power, it is a 128-bit
//! integer; beyond, an array of 32-bit digits that spans the range of doubles, with carries left for later (after R. Neal, *Fast
//! exact summation using small and large superaccumulators*, 2015).

use super::bytes::{Reader, put_i16, put_u16};
use crate::error::Result;

/// Weight of the least bit of a double: 2^−1074.
const LEAST: i32 = -1_074;

/// Digits from there on: enough for the greatest double 2^40 times.
const DIGITS: usize = 68;

/// Additions between two propagations of carries: each adds less than 2^33 to a digit.
const ADDS_MAX: u32 = 1 << 28;

const MASK: i64 = 0xFFFF_FFFF;

/// A sum of finite doubles, exact.
#[derive(Clone, Debug)]
pub(crate) enum ExactSum {
    /// `units · 2^exponent`.
    Narrow {
        units: i128,
        exponent: i32,
    },
    Wide(Box<Wide>),
}

#[derive(Clone, Debug)]
pub(crate) struct Wide {
    /// Digit `i` has the weight `2^(32 i − 1074)`.
    digits: [i64; DIGITS],
    adds: u32,
}

impl Default for ExactSum {
    fn default() -> Self {
        Self::Narrow { units: 0, exponent: 0 }
    }
}

impl PartialEq for ExactSum {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

/// `x` as `units · 2^exponent` with odd units; zero as `(0, 0)`. `x` must be finite.
pub(crate) fn decompose(x: f64) -> (i64, i32) {
    let bits = x.to_bits();
    let fraction = (bits & ((1 << 52) - 1)) as i64;
    let (units, exponent) = match (bits >> 52 & 0x7FF) as i32 {
        0 => (fraction, LEAST),
        biased => (fraction | 1 << 52, biased - 1_075),
    };
    if units == 0 {
        return (0, 0);
    }
    let zeros = units.trailing_zeros();
    let units = units >> zeros;
    (if x.is_sign_negative() { -units } else { units }, exponent + zeros as i32)
}

/// `2^exponent`, for the exponents of doubles.
pub(crate) fn power(exponent: i32) -> f64 {
    debug_assert!((LEAST..=1_023).contains(&exponent));
    if exponent >= -1_022 {
        f64::from_bits(((exponent + 1_023) as u64) << 52)
    } else {
        f64::from_bits(1 << (exponent - LEAST))
    }
}

/// `units · 2^exponent`, rounded once to the nearest double, with an exponent of at least −1074.
fn round(units: i128, exponent: i32) -> f64 {
    // The conversion rounds; the product is exact, for below the normal range there is nothing that it could lose.
    match exponent {
        ..=1_023 => units as f64 * power(exponent),
        _ => units as f64 * power(1_023) * power(exponent - 1_023),
    }
}

/// `units << by`, where that is still an `i128` with a bit to spare.
fn shifted(units: i128, by: i32) -> Option<i128> {
    if units == 0 {
        return Some(0);
    }
    let room = units.unsigned_abs().leading_zeros() as i32 - 2;
    (by <= room).then(|| units << by)
}

impl ExactSum {
    /// Adds a finite value.
    pub(crate) fn add(&mut self, x: f64) {
        let (units, exponent) = decompose(x);
        self.add_scaled(i128::from(units), exponent);
    }

    /// Takes out a finite value that was added.
    pub(crate) fn remove(&mut self, x: f64) {
        self.add(-x);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        match other {
            Self::Narrow { units, exponent } => self.add_scaled(*units, *exponent),
            Self::Wide(other) => {
                let mine = self.widen();
                let mut other = other.as_ref().clone();
                other.carry();
                mine.carry();
                mine.digits.iter_mut().zip(&other.digits).for_each(|(mine, theirs)| *mine += theirs);
                mine.carry();
            }
        }
    }

    fn add_scaled(&mut self, units: i128, exponent: i32) {
        if units == 0 {
            return;
        }
        if let Self::Narrow { units: mine, exponent: at } = self {
            let least = if *mine == 0 { exponent } else { exponent.min(*at) };
            let aligned = shifted(*mine, *at - least).zip(shifted(units, exponent - least));
            if let Some(sum) = aligned.and_then(|(a, b)| a.checked_add(b)) {
                (*mine, *at) = (sum, least);
                return;
            }
        }
        self.widen().add(units, exponent);
    }

    fn widen(&mut self) -> &mut Wide {
        if let Self::Narrow { units, exponent } = *self {
            let mut wide = Wide { digits: [0; DIGITS], adds: 0 };
            wide.add(units, exponent);
            *self = Self::Wide(Box::new(wide));
        }
        match self {
            Self::Wide(wide) => wide,
            Self::Narrow { .. } => unreachable!("it was widened above"),
        }
    }

    /// The sum, rounded once to the nearest double; infinite where it is beyond them.
    pub(crate) fn value(&self) -> f64 {
        self.scaled(0)
    }

    /// The sum times `2^−down`, rounded once unless the result is subnormal.
    fn scaled(&self, down: i32) -> f64 {
        match self {
            Self::Narrow { units: 0, .. } => 0.0,
            Self::Narrow { units, exponent } if *exponent - down >= LEAST => round(*units, *exponent - down),
            Self::Narrow { units, exponent } => round(*units, *exponent) * power(-down),
            Self::Wide(wide) => wide.scaled(down),
        }
    }

    /// The sum divided by `n` ≥ 1: finite even where the sum is not.
    pub(crate) fn mean(&self, n: u64) -> f64 {
        let sum = self.value();
        if sum.is_finite() { sum / n as f64 } else { self.scaled(64) / n as f64 * power(64) }
    }

    /// Three doubles whose sum is this one to some 2^−159 of it; `None` where it is infinite.
    pub(crate) fn parts(&self) -> Option<[f64; 3]> {
        let mut rest = self.clone();
        let mut parts = [0.0; 3];
        for part in &mut parts {
            *part = rest.value();
            if !part.is_finite() {
                return None;
            }
            rest.remove(*part);
        }
        Some(parts)
    }

    /// Sign, exponent and magnitude without zeros at either end: equal for equal sums.
    fn canonical(&self) -> (bool, i32, Vec<u8>) {
        let (negative, exponent, mut bytes) = match self {
            Self::Narrow { units: 0, .. } => return (false, 0, Vec::new()),
            Self::Narrow { units, exponent } => {
                let zeros = units.trailing_zeros();
                (*units < 0, *exponent + zeros as i32, (units.unsigned_abs() >> zeros).to_le_bytes().to_vec())
            }
            Self::Wide(wide) => {
                let (negative, digits) = wide.magnitude();
                let Some(first) = digits.iter().position(|digit| *digit != 0) else { return (false, 0, Vec::new()) };
                let zeros = digits[first].trailing_zeros();
                let wide = |at: usize| digits.get(at).map_or(0, |digit| u64::from(*digit));
                let moved = (first..DIGITS).map(|at| ((wide(at) | wide(at + 1) << 32) >> zeros) as u32);
                let bytes = moved.flat_map(u32::to_le_bytes).collect();
                (negative, 32 * first as i32 + zeros as i32 + LEAST, bytes)
            }
        };
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(used);
        (negative, exponent, bytes)
    }

    /// `[exponent i16][length u16, its highest bit the sign][magnitude]`, little endian.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let (negative, exponent, bytes) = self.canonical();
        put_i16(out, exponent as i16);
        put_u16(out, bytes.len() as u16 | u16::from(negative) << 15);
        out.extend_from_slice(&bytes);
    }

    pub(crate) fn decode(from: &mut Reader<'_>) -> Result<Self> {
        let exponent = i32::from(from.i16()?);
        let length = from.u16()?;
        let bytes = from.raw(usize::from(length & 0x7FFF))?;
        let top = exponent - LEAST + 8 * bytes.len() as i32;
        if !(LEAST..=1_100).contains(&exponent) || top > 32 * (DIGITS as i32 - 1) {
            return Err(from.corrupt("a sum beyond the range of doubles"));
        }
        let mut sum = Self::default();
        for (at, chunk) in bytes.chunks(8).enumerate() {
            let units = chunk.iter().rev().fold(0_i128, |units, byte| units << 8 | i128::from(*byte));
            sum.add_scaled(if length >> 15 == 1 { -units } else { units }, exponent + 64 * at as i32);
        }
        Ok(sum)
    }
}

impl Wide {
    fn add(&mut self, units: i128, exponent: i32) {
        let bit = (exponent - LEAST) as usize;
        let (mut at, shift) = (bit / 32, bit % 32);
        let mut rest = units;
        while rest != 0 && rest != -1 {
            let piece = u64::from(rest as u32) << shift;
            self.digits[at] += piece as i64 & MASK;
            self.digits[at + 1] += (piece >> 32) as i64;
            rest >>= 32;
            at += 1;
        }
        if rest == -1 {
            self.digits[at] -= 1 << shift;
        }
        self.adds += 1;
        if self.adds >= ADDS_MAX {
            self.carry();
        }
    }

    /// Brings every digit but the last to 0 ≤ digit < 2^32.
    fn carry(&mut self) {
        for at in 0..DIGITS - 1 {
            self.digits[at + 1] += self.digits[at] >> 32;
            self.digits[at] &= MASK;
        }
        self.adds = 0;
    }

    fn magnitude(&self) -> (bool, [u32; DIGITS]) {
        let mut wide = self.clone();
        wide.carry();
        let negative = wide.digits[DIGITS - 1] < 0;
        if negative {
            wide.digits.iter_mut().for_each(|digit| *digit = -*digit);
            wide.carry();
        }
        (negative, wide.digits.map(|digit| digit as u32))
    }

    fn scaled(&self, down: i32) -> f64 {
        let (negative, digits) = self.magnitude();
        let Some(top) = digits.iter().rposition(|digit| *digit != 0) else { return 0.0 };
        // 97 bits or more, which decide the rounding together with whether anything lies below them.
        let low = top.saturating_sub(3);
        let mut units = digits[low..=top].iter().rev().fold(0_u128, |units, digit| units << 32 | u128::from(*digit));
        units |= u128::from(digits[..low].iter().any(|digit| *digit != 0));
        let exponent = 32 * low as i32 + LEAST;
        let value = if exponent - down >= LEAST {
            units as f64 * power(exponent - down)
        } else {
            units as f64 * power(exponent) * power(-down)
        };
        if negative { -value } else { value }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        values.iter().for_each(|value| sum.add(*value));
        sum
    }

    /// Expected values by Python 3.11, `math.fsum`.
    #[test]
    fn sums_are_those_of_fsum() {
        assert_eq!(of(&[0.1; 10]).value(), 1.0);
        assert_eq!(of(&[1e16, 1.0, -1e16]).value(), 1.0);
        assert_eq!(of(&[1e308, 1e-308, -1e308]).value(), 1e-308);
        assert_eq!(of(&[1e100, 1.0, -1e100, 1e-100]).value(), 1.0);
        assert_eq!(of(&[5e-324, 5e-324]).value(), 1e-323);
        assert_eq!(of(&[f64::MAX, f64::MAX, -f64::MAX]).value(), f64::MAX);
        assert_eq!(of(&[]).value(), 0.0);
    }

    #[test]
    fn a_tie_below_the_last_bit_is_broken_by_the_smallest_of_values() {
        let half_ulp = f64::EPSILON / 2.0;
        assert_eq!(of(&[1.0, half_ulp]).value(), 1.0);
        assert_eq!(of(&[1.0, half_ulp, 5e-324]).value(), 1.0 + f64::EPSILON);
        assert_eq!(of(&[1.0, half_ulp, -5e-324]).value(), 1.0);
    }

    #[test]
    fn beyond_the_doubles_the_sum_is_infinite_and_the_mean_is_not() {
        let sum = of(&[f64::MAX, f64::MAX]);
        assert_eq!((sum.value(), sum.mean(2)), (f64::INFINITY, f64::MAX));
        let sum = of(&[-f64::MAX, -f64::MAX, 5e-324, 5e-324]);
        assert_eq!((sum.value(), sum.mean(2)), (f64::NEG_INFINITY, -f64::MAX));
    }

    #[test]
    fn damaged_sums_are_refused() {
        for bytes in [&[0_u8, 0][..], &[0, 0, 2, 0, 1], &[0x00, 0x80, 1, 0, 1], &[0x4C, 0x04, 0xFF, 0x7F]] {
            assert!(ExactSum::decode(&mut Reader::new(bytes, "sum")).is_err(), "{bytes:?}");
        }
        let mut bytes = vec![0, 0, 0xFF, 0x7F];
        bytes.resize(4 + 0x7FFF, 0xFF);
        assert!(ExactSum::decode(&mut Reader::new(&bytes, "sum")).is_err());
    }

    fn any_finite() -> impl Strategy<Value = f64> {
        any::<f64>().prop_filter("finite", |value| value.is_finite())
    }

    proptest! {
        #[test]
        fn order_grouping_and_removal_leave_no_trace(
            values in prop::collection::vec(prop_oneof![any_finite(), -1e6..1e6], 0..40),
            extra in prop::collection::vec(any_finite(), 0..20),
        ) {
            let whole = of(&values);
            let mut reversed = ExactSum::default();
            values.iter().rev().for_each(|value| reversed.add(*value));
            prop_assert_eq!(&whole, &reversed);
            let (left, right) = values.split_at(values.len() / 2);
            let mut merged = of(left);
            merged.merge(&of(right));
            merged.merge(&of(&extra));
            extra.iter().for_each(|value| merged.remove(*value));
            prop_assert_eq!(&whole, &merged);
            prop_assert_eq!(whole.value().to_bits(), merged.value().to_bits());
        }

        #[test]
        fn bytes_come_back(values in prop::collection::vec(any_finite(), 0..20)) {
            let sum = of(&values);
            let mut bytes = Vec::new();
            sum.encode(&mut bytes);
            let back = ExactSum::decode(&mut Reader::new(&bytes, "sum")).unwrap();
            prop_assert_eq!(&back, &sum);
            prop_assert_eq!(back.value().to_bits(), sum.value().to_bits());
        }

        #[test]
        fn of_small_whole_numbers_it_is_the_integer_sum(values in prop::collection::vec(-1_000_000_i64..1_000_000, 0..50)) {
            let doubles: Vec<f64> = values.iter().map(|value| *value as f64).collect();
            prop_assert_eq!(of(&doubles).value(), values.iter().sum::<i64>() as f64);
        }
    }
}
