//! Count, mean, variance, skew and kurtosis in one mergeable pass.

use arrow::array::Array;
use serde::{Deserialize, Serialize};

use super::bytes::{Reader, Writer, check_format};
use super::{number, values};
use crate::{Error, Result};

/// Central moments up to the fourth, extremes, and counts of what is not a finite number.
///
/// Only finite values enter the mean, the moments and the extremes; nulls, NaN and the two
/// infinities are counted beside them.
///
/// `merge` equals one pass over both sides: counts and extremes exactly, mean and variance to
/// about `1e-12` relative (while the mean is below a million standard deviations), the third and fourth moment to about `1e-9` of `m2^(3/2)/√n` and `m2²/n`.
/// Values whose squares leave the range of `f64` make the moments (not the mean) `None`.
///
/// # Source
/// Pébay, *Formulas for robust, one-pass parallel computation of covariances and arbitrary-order
/// statistical moments*, Sandia report SAND2008-6212, 2008.
///
/// # Examples
/// ```
/// let mut moments = mlops_core::stats::Moments::default();
/// moments.update_slice(&[1.0, 2.0, 3.0, f64::NAN]);
/// assert_eq!((moments.mean(), moments.nan()), (Some(2.0), 1));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Moments {
    count: u64,
    nulls: u64,
    nan: u64,
    positive_infinite: u64,
    negative_infinite: u64,
    mean: f64,
    m2: f64,
    m3: f64,
    m4: f64,
    min: f64,
    max: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self {
            count: 0,
            nulls: 0,
            nan: 0,
            positive_infinite: 0,
            negative_infinite: 0,
            mean: 0.0,
            m2: 0.0,
            m3: 0.0,
            m4: 0.0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }
}

impl Moments {
    /// Adds one value.
    pub fn update(&mut self, value: f64) {
        if value.is_finite() {
            self.merge_finite(&Self { count: 1, mean: value, min: value, max: value, ..Self::default() });
        } else {
            self.count_other(value);
        }
    }

    /// Adds one null.
    pub fn update_null(&mut self) {
        self.nulls += 1;
    }

    /// Adds `values`, in any order.
    pub fn update_slice(&mut self, values: &[f64]) {
        for block in values.chunks(1024) {
            self.update_block(block);
        }
    }

    /// Adds the values and nulls of `array`: integers, floats, `Decimal128`, booleans as 0 and 1,
    /// dates and timestamps as µs since the epoch.
    ///
    /// # Errors
    /// [`Error::Invalid`] for other types; nothing is added then.
    pub fn update_array(&mut self, array: &dyn Array) -> Result<()> {
        values::numbers(array, &mut |values, _| self.update_block(values))?;
        self.nulls += values::null_count(array);
        Ok(())
    }

    /// Two passes over a block that fits the first cache, then one merge: faster than an update per
    /// value, and more exact.
    fn update_block(&mut self, block: &[f64]) {
        let sum = lanes(block, |x| x);
        if sum.is_finite() {
            self.add_finite(block, sum);
        } else {
            block.iter().filter(|v| !v.is_finite()).for_each(|&v| self.count_other(v));
            let finite: Vec<f64> = block.iter().copied().filter(|v| v.is_finite()).collect();
            self.add_finite(&finite, lanes(&finite, |x| x));
        }
    }

    fn add_finite(&mut self, block: &[f64], sum: f64) {
        if block.is_empty() {
            return;
        }
        let n = block.len() as f64;
        // The sum may overflow where the mean does not.
        let mean = if sum.is_finite() { sum / n } else { lanes(block, |x| x / n) };
        let [mut m2, mut m3, mut m4] = [[0.0_f64; 4]; 3];
        let (mut min, mut max) = ([f64::INFINITY; 4], [f64::NEG_INFINITY; 4]);
        let mut step = |lane: usize, x: f64| {
            let d = x - mean;
            let d2 = d * d;
            m2[lane] += d2;
            m3[lane] += d2 * d;
            m4[lane] += d2 * d2;
            min[lane] = if x < min[lane] { x } else { min[lane] };
            max[lane] = if x > max[lane] { x } else { max[lane] };
        };
        let mut quads = block.chunks_exact(4);
        for quad in &mut quads {
            for (lane, &x) in quad.iter().enumerate() {
                step(lane, x);
            }
        }
        quads.remainder().iter().for_each(|&x| step(0, x));
        let total = |lanes: [f64; 4]| (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
        self.merge_finite(&Self {
            count: block.len() as u64,
            mean,
            m2: total(m2),
            m3: total(m3),
            m4: total(m4),
            min: min.into_iter().fold(f64::INFINITY, f64::min),
            max: max.into_iter().fold(f64::NEG_INFINITY, f64::max),
            ..Self::default()
        });
    }

    fn count_other(&mut self, value: f64) {
        if value.is_nan() {
            self.nan += 1;
        } else if value > 0.0 {
            self.positive_infinite += 1;
        } else {
            self.negative_infinite += 1;
        }
    }

    /// Adds what `other` has seen.
    ///
    /// # Errors
    /// None today; the signature is that of every mergeable statistic.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.nulls += other.nulls;
        self.nan += other.nan;
        self.positive_infinite += other.positive_infinite;
        self.negative_infinite += other.negative_infinite;
        self.merge_finite(other);
        Ok(())
    }

    fn merge_finite(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            (self.count, self.mean, self.min, self.max) = (other.count, other.mean, other.min, other.max);
            (self.m2, self.m3, self.m4) = (other.m2, other.m3, other.m4);
            return;
        }
        let (na, nb) = (self.count as f64, other.count as f64);
        let n = na + nb;
        let d = other.mean - self.mean;
        let (m2a, m2b, m3a, m3b) = (self.m2, other.m2, self.m3, other.m3);
        let (fa, fb) = (na / n, nb / n);
        self.m4 += other.m4
            + d.powi(4) * na * fb * (fa * fa - fa * fb + fb * fb)
            + 6.0 * d * d * (fa * fa * m2b + fb * fb * m2a)
            + 4.0 * d * (fa * m3b - fb * m3a);
        self.m3 += other.m3 + d.powi(3) * na * fb * (fa - fb) + 3.0 * d * (fa * m2b - fb * m2a);
        self.m2 += other.m2 + d * d * na * fb;
        self.mean = if d.is_finite() { self.mean + d * fb } else { self.mean * fa + other.mean * fb };
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Finite values seen.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Nulls seen.
    pub fn nulls(&self) -> u64 {
        self.nulls
    }

    /// NaN seen.
    pub fn nan(&self) -> u64 {
        self.nan
    }

    /// Positive infinities seen.
    pub fn positive_infinite(&self) -> u64 {
        self.positive_infinite
    }

    /// Negative infinities seen.
    pub fn negative_infinite(&self) -> u64 {
        self.negative_infinite
    }

    /// Everything seen: finite values, nulls, NaN and infinities.
    pub fn rows(&self) -> u64 {
        self.count + self.nulls + self.nan + self.positive_infinite + self.negative_infinite
    }

    /// Mean of the finite values; `None` without any.
    pub fn mean(&self) -> Option<f64> {
        self.when(self.count > 0, self.mean)
    }

    /// Smallest finite value, exactly.
    pub fn min(&self) -> Option<f64> {
        self.when(self.count > 0, self.min)
    }

    /// Greatest finite value, exactly.
    pub fn max(&self) -> Option<f64> {
        self.when(self.count > 0, self.max)
    }

    /// Variance with divisor `count − ddof` (0 for the population, 1 for a sample); `None` where that is not above 0.
    pub fn variance(&self, ddof: u64) -> Option<f64> {
        self.when(self.count > ddof, self.m2 / self.count.saturating_sub(ddof) as f64)
    }

    /// Square root of [`Moments::variance`].
    pub fn standard_deviation(&self, ddof: u64) -> Option<f64> {
        self.variance(ddof).map(f64::sqrt)
    }

    /// Skewness `√n · m3 / m2^1.5` (the biased `g1`, scipy's default); `None` where all values are equal.
    pub fn skew(&self) -> Option<f64> {
        self.when(self.m2 > 0.0, (self.count as f64).sqrt() * self.m3 / self.m2.powf(1.5))
    }

    /// Excess kurtosis `n · m4 / m2² − 3` (the biased `g2`, scipy's default); `None` where all values are equal.
    pub fn kurtosis(&self) -> Option<f64> {
        self.when(self.m2 > 0.0, self.count as f64 * self.m4 / (self.m2 * self.m2) - 3.0)
    }

    /// `value`, where it is defined and did not overflow.
    #[expect(clippy::unused_self, reason = "reads as a question about these moments")]
    fn when(&self, defined: bool, value: f64) -> Option<f64> {
        (defined && value.is_finite()).then_some(value)
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        for count in [self.count, self.nulls, self.nan, self.positive_infinite, self.negative_infinite] {
            out.u64(count);
        }
        for value in [self.mean, self.m2, self.m3, self.m4, self.min, self.max] {
            out.f64(value);
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self> {
        let moments = Self {
            count: from.u64()?,
            nulls: from.u64()?,
            nan: from.u64()?,
            positive_infinite: from.u64()?,
            negative_infinite: from.u64()?,
            mean: from.f64()?,
            m2: from.f64()?,
            m3: from.f64()?,
            m4: from.f64()?,
            min: from.f64()?,
            max: from.f64()?,
        };
        moments.check()
    }

    /// What every state has that came from data.
    fn check(self) -> Result<Self> {
        let counts = [self.count, self.nulls, self.nan, self.positive_infinite, self.negative_infinite];
        let sane = counts.iter().all(|&count| count <= 1 << 56)
            && !(self.m2 < 0.0 || self.m4 < 0.0)
            && if self.count == 0 {
                self == Self {
                    nulls: self.nulls,
                    nan: self.nan,
                    positive_infinite: self.positive_infinite,
                    negative_infinite: self.negative_infinite,
                    ..Self::default()
                }
            } else {
                self.min.is_finite() && self.max.is_finite() && self.min <= self.max && self.mean.is_finite()
            };
        if sane { Ok(self) } else { Err(Error::corrupt("moments", "fields contradict each other")) }
    }
}

/// Sum of `f(x)` in four lanes, so that the additions do not wait for each other.
fn lanes(block: &[f64], f: impl Fn(f64) -> f64) -> f64 {
    let mut sums = [0.0; 4];
    let mut quads = block.chunks_exact(4);
    for quad in &mut quads {
        for (sum, &x) in sums.iter_mut().zip(quad) {
            *sum += f(x);
        }
    }
    let rest: f64 = quads.remainder().iter().map(|&x| f(x)).sum();
    (sums[0] + sums[1]) + (sums[2] + sums[3]) + rest
}

/// The stored form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: u32,
    count: u64,
    nulls: u64,
    nan: u64,
    positive_infinite: u64,
    negative_infinite: u64,
    #[serde(with = "number")]
    mean: f64,
    #[serde(with = "number")]
    m2: f64,
    #[serde(with = "number")]
    m3: f64,
    #[serde(with = "number")]
    m4: f64,
    #[serde(with = "number")]
    min: f64,
    #[serde(with = "number")]
    max: f64,
}

impl Wire {
    const FORMAT: u32 = 1;
}

impl From<Moments> for Wire {
    fn from(m: Moments) -> Self {
        Self {
            format: Self::FORMAT,
            count: m.count,
            nulls: m.nulls,
            nan: m.nan,
            positive_infinite: m.positive_infinite,
            negative_infinite: m.negative_infinite,
            mean: m.mean,
            m2: m.m2,
            m3: m.m3,
            m4: m.m4,
            min: m.min,
            max: m.max,
        }
    }
}

impl TryFrom<Wire> for Moments {
    type Error = Error;

    fn try_from(w: Wire) -> Result<Self> {
        check_format("moments", w.format, Wire::FORMAT)?;
        let moments = Self {
            count: w.count,
            nulls: w.nulls,
            nan: w.nan,
            positive_infinite: w.positive_infinite,
            negative_infinite: w.negative_infinite,
            mean: w.mean,
            m2: w.m2,
            m3: w.m3,
            m4: w.m4,
            min: w.min,
            max: w.max,
        };
        moments.check()
    }
}

#[cfg(test)]
mod tests;
