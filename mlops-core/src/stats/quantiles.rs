//! Quantiles and ranks of a stream of numbers, from a KLL sketch.

use arrow::array::Array;

use super::bytes::serde_by_bytes;
use super::kll::Kll;
use super::values;
use crate::{Error, Result};

/// Approximate quantiles and ranks of finite numbers, in bounded memory.
///
/// Holds every value up to about `k` of them and is exact so far; beyond, ranks are off by at most
/// [`Quantiles::rank_error`] in 99 of 100 sketches, and at most `3·k` values are held.
/// NaN and infinities are not added: [`super::Moments`] counts them.
///
/// The same values in the same order give the same bytes in every process. Another order or another
/// split into merged parts gives other bytes with the same bound.
///
/// # Source
/// Karnin, Lang, Liberty, *Optimal quantile approximation in streams*, FOCS 2016; the bound is the
/// one measured for Apache DataSketches, whose byte format this is.
///
/// # Examples
/// ```
/// let mut quantiles = mlops_core::stats::Quantiles::new(200)?;
/// quantiles.update_slice(&[4.0, 1.0, 3.0, 2.0]);
/// assert_eq!(quantiles.quantile(0.5)?, Some(2.5));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Quantiles {
    kll: Kll,
}

serde_by_bytes!(Quantiles);

impl Quantiles {
    /// An empty sketch of size `k`; the rank error is about `2.3 / k^0.97`: 1.3 % at 200, 0.27 % at 1024.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `k` is below 8.
    pub fn new(k: u16) -> Result<Self> {
        if k < 8 {
            return Err(Error::invalid("k", k, "in 8..=65535"));
        }
        Ok(Self { kll: Kll::new(k) })
    }

    /// Adds one value; NaN and infinities are left out.
    pub fn update(&mut self, value: f64) {
        if value.is_finite() {
            self.kll.extend(&[value]);
        }
    }

    /// Adds `values`; NaN and infinities are left out.
    pub fn update_slice(&mut self, values: &[f64]) {
        if values.iter().all(|v| v.is_finite()) {
            self.kll.extend(values);
        } else {
            let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
            self.kll.extend(&finite);
        }
    }

    /// Adds the finite values of `array`, read as [`super::Moments::update_array`] reads them.
    ///
    /// # Errors
    /// [`Error::Invalid`] for types that are not numbers, times or booleans; nothing is added then.
    pub fn update_array(&mut self, array: &dyn Array) -> Result<()> {
        values::numbers(array, &mut |values, _| self.update_slice(values))
    }

    /// Adds what `other` has seen; the error becomes that of the coarser sketch.
    ///
    /// # Errors
    /// [`Error::Invalid`] when both together have seen more than 2^55 values.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.kll.merge(&other.kll)
    }

    /// Values seen.
    pub fn count(&self) -> u64 {
        self.kll.count()
    }

    /// The size parameter.
    pub fn k(&self) -> u16 {
        self.kll.k()
    }

    /// Whether every value is still held, so that all answers are exact.
    pub fn is_exact(&self) -> bool {
        self.kll.is_exact()
    }

    /// By how much a rank may be off, as a share of all values, in 99 of 100 sketches; 0 while exact.
    pub fn rank_error(&self) -> f64 {
        if self.is_exact() { 0.0 } else { 2.296 / f64::from(self.kll.k_min()).powf(0.9723) }
    }

    /// By how much the share of values between two points may be off; 0 while exact.
    pub fn share_error(&self) -> f64 {
        if self.is_exact() { 0.0 } else { 2.446 / f64::from(self.kll.k_min()).powf(0.9433) }
    }

    /// Smallest value, exactly.
    pub fn min(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.kll.min())
    }

    /// Greatest value, exactly.
    pub fn max(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.kll.max())
    }

    /// The value below which the share `p` of all values lies: linear between the two nearest order
    /// statistics (type 7 of Hyndman and Fan, numpy's default). `None` while empty.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `p` is not in `0..=1`.
    pub fn quantile(&self, p: f64) -> Result<Option<f64>> {
        Ok(self.quantiles(&[p])?.map(|found| found[0]))
    }

    /// As [`Quantiles::quantile`], for several shares with one sort.
    ///
    /// # Errors
    /// [`Error::Invalid`] when one of `shares` is not in `0..=1`.
    pub fn quantiles(&self, shares: &[f64]) -> Result<Option<Vec<f64>>> {
        if let Some(p) = shares.iter().find(|p| !(0.0..=1.0).contains(*p)) {
            return Err(Error::invalid("share", p, "in 0..=1"));
        }
        let view = self.ranks();
        Ok((self.count() > 0).then(|| shares.iter().map(|&p| view.quantile(p)).collect()))
    }

    /// Share of values at or below `x`; 0 while empty.
    pub fn rank(&self, x: f64) -> f64 {
        self.ranks().at_or_below(x)
    }

    /// A sorted copy for many questions.
    pub fn ranks(&self) -> Ranks {
        Ranks::of_weighted(self.kll.weighted().into_iter(), self.kll.min(), self.kll.max())
    }

    /// The sketch in the format of Apache DataSketches (KLL of doubles), readable by its Java and C++ libraries.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.kll.to_bytes()
    }

    /// Reads [`Quantiles::to_bytes`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the bytes are not a sketch of finite numbers.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Ok(Self { kll: Kll::from_bytes(bytes)? })
    }
}

/// A sorted copy of a [`Quantiles`] sketch, or of a whole sample, for many questions at once.
#[derive(Debug, Clone)]
pub struct Ranks {
    /// Each once.
    values: Vec<f64>,
    /// How many values lie at or below each of `values`.
    cumulative: Vec<u64>,
    total: u64,
    min: f64,
    max: f64,
}

impl Ranks {
    fn of_weighted(sorted: impl Iterator<Item = (f64, u64)>, min: f64, max: f64) -> Self {
        let mut total = 0;
        let (mut values, mut cumulative): (Vec<f64>, Vec<u64>) = (Vec::new(), Vec::new());
        for (value, weight) in sorted {
            total += weight;
            match (values.last(), cumulative.last_mut()) {
                (Some(&last), Some(reached)) if last == value => *reached = total,
                _ => {
                    values.push(value);
                    cumulative.push(total);
                }
            }
        }
        Self { values, cumulative, total, min, max }
    }

    /// Exact ranks of sorted finite values.
    pub(crate) fn of_sorted(sorted: &[f64]) -> Self {
        debug_assert!(sorted.is_sorted());
        let (first, last) = (sorted.first().copied(), sorted.last().copied());
        let weighted = sorted.iter().map(|&value| (value, 1));
        Self::of_weighted(weighted, first.unwrap_or(f64::INFINITY), last.unwrap_or(f64::NEG_INFINITY))
    }

    /// How many values they stand for.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Smallest and greatest value; `None` while empty.
    pub(crate) fn range(&self) -> Option<(f64, f64)> {
        (self.total > 0).then_some((self.min, self.max))
    }

    /// Values and how many there are of each, in order.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let before = std::iter::once(0).chain(self.cumulative.iter().copied());
        self.values
            .iter()
            .zip(self.cumulative.iter().zip(before))
            .map(|(&value, (&upto, before))| (value, upto - before))
    }

    /// Visits each value of either side once, in order, with how many of both sides are at or below it.
    pub(crate) fn walk(&self, other: &Self, mut visit: impl FnMut(f64, u64, u64)) {
        let (a, b) = (&self.values[..], &other.values[..]);
        let (mut i, mut j, mut x, mut y) = (0, 0, 0, 0);
        while i < a.len() && j < b.len() {
            let next = if a[i] < b[j] { a[i] } else { b[j] };
            // No branch on the data: which side is next is a coin toss that no processor predicts.
            (x, i) = if a[i] <= next { (self.cumulative[i], i + 1) } else { (x, i) };
            (y, j) = if b[j] <= next { (other.cumulative[j], j + 1) } else { (y, j) };
            visit(next, x, y);
        }
        a[i..].iter().zip(&self.cumulative[i..]).for_each(|(&value, &x)| visit(value, x, y));
        b[j..].iter().zip(&other.cumulative[j..]).for_each(|(&value, &y)| visit(value, x, y));
    }

    /// Share of values at or below `x`; 0 while empty.
    pub fn at_or_below(&self, x: f64) -> f64 {
        self.share(self.values.partition_point(|&v| v <= x))
    }

    /// Share of values below `x`; 0 while empty.
    pub fn below(&self, x: f64) -> f64 {
        self.share(self.values.partition_point(|&v| v < x))
    }

    /// How many values lie outside of `low..=high`.
    pub(crate) fn outside(&self, low: f64, high: f64) -> u64 {
        let (below, upto) = (self.values.partition_point(|&v| v < low), self.values.partition_point(|&v| v <= high));
        self.reached(below) + (self.total - self.reached(upto))
    }

    fn share(&self, held: usize) -> f64 {
        if held == 0 { 0.0 } else { self.reached(held) as f64 / self.total as f64 }
    }

    /// How many values the first so many held ones stand for.
    fn reached(&self, held: usize) -> u64 {
        held.checked_sub(1).and_then(|last| self.cumulative.get(last)).copied().unwrap_or(0)
    }

    /// Distinct held values in order.
    pub(crate) fn distinct(&self) -> impl Iterator<Item = f64> + '_ {
        self.values.iter().copied()
    }

    /// Type-7 quantile; NaN while empty, and `p` must be in `0..=1`.
    pub(crate) fn quantile(&self, p: f64) -> f64 {
        let place = p * self.total.saturating_sub(1) as f64;
        let low = place.floor();
        let (a, b) = (self.order_statistic(low as u64), self.order_statistic(low as u64 + 1));
        let value = if a == b { a } else { a + (place - low) * (b - a) };
        // The difference of two huge values may overflow where their mean does not.
        if value.is_finite() { value } else { a + (place - low) * b - (place - low) * a }
    }

    /// The value that `index` others precede in sorted order.
    fn order_statistic(&self, index: u64) -> f64 {
        let last = self.total.saturating_sub(1);
        if self.total == 0 {
            return f64::NAN;
        }
        if index == 0 {
            return self.min;
        }
        if index >= last {
            return self.max;
        }
        let place = self.cumulative.partition_point(|&weight| weight <= index);
        self.values.get(place).copied().unwrap_or(self.max)
    }
}

#[cfg(test)]
mod tests;
