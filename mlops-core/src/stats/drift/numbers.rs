//! What a comparison needs of a column of numbers.

use arrow::array::{Array, ArrayRef};

use super::effect::Effect;
use crate::Result;
use crate::profile::{ColumnProfile, FEW_MAX, ValueCount};
use crate::stats::ks::{greatest_difference, limit_tail};
use crate::stats::quantiles::Ranks;
use crate::stats::{kolmogorov, radix, values};

/// All values of a column in memory.
pub(in crate::stats) struct Finite {
    pub(in crate::stats) rows: u64,
    /// The finite ones.
    pub(in crate::stats) sorted: Vec<f64>,
    negative_infinite: u64,
    positive_infinite: u64,
}

impl Finite {
    /// Of pieces of numbers or times.
    pub(in crate::stats) fn of_pieces(pieces: &[ArrayRef]) -> Result<Self> {
        let rows: usize = pieces.iter().map(Array::len).sum();
        let mut finite = Vec::with_capacity(rows);
        let (mut negative_infinite, mut positive_infinite) = (0, 0);
        for piece in pieces {
            values::numbers(piece, &mut |values, _| {
                // Adding zero makes the negative zero positive: the two are one value.
                if values.iter().all(|value| value.is_finite()) {
                    finite.extend(values.iter().map(|value| value + 0.0));
                    return;
                }
                finite.extend(values.iter().filter(|value| value.is_finite()).map(|value| value + 0.0));
                negative_infinite += values.iter().filter(|value| **value == f64::NEG_INFINITY).count() as u64;
                positive_infinite += values.iter().filter(|value| **value == f64::INFINITY).count() as u64;
            })?;
        }
        radix::sort(&mut finite);
        Ok(Self { rows: rows as u64, sorted: finite, negative_infinite, positive_infinite })
    }
}

/// Counts and ranks of one side.
pub(in crate::stats) struct Numbers {
    pub(super) rows: u64,
    /// Nulls and NaN.
    pub(super) missing: u64,
    pub(super) negative_infinite: u64,
    pub(super) positive_infinite: u64,
    /// Of the finite values.
    pub(super) ranks: Ranks,
    /// By how much a rank may be off, as a share of the finite values.
    pub(super) rank_error: f64,
    /// Each value with its count, infinities included, where there are few.
    counts: Option<Vec<ValueCount>>,
}

impl Numbers {
    pub(super) fn of_profile(column: &ColumnProfile) -> Option<Self> {
        let (moments, quantiles) = (column.moments()?, column.quantiles()?);
        let (negative, positive) = (moments.negative_infinite(), moments.positive_infinite());
        Some(Self {
            rows: column.rows(),
            missing: column.rows() - (moments.count() + negative + positive),
            negative_infinite: negative,
            positive_infinite: positive,
            ranks: quantiles.ranks(),
            rank_error: quantiles.rank_error(),
            counts: column.value_counts(),
        })
    }

    /// Of pieces of numbers or times.
    pub(super) fn of_pieces(pieces: &[ArrayRef]) -> Result<Self> {
        Ok(Self::of(&Finite::of_pieces(pieces)?))
    }

    pub(in crate::stats) fn of(finite: &Finite) -> Self {
        let Finite { rows, ref sorted, negative_infinite, positive_infinite } = *finite;
        let ranks = Ranks::of_sorted(sorted);
        let counts = few(&ranks, negative_infinite, positive_infinite);
        let missing = rows - sorted.len() as u64 - negative_infinite - positive_infinite;
        Self { rows, missing, negative_infinite, positive_infinite, ranks, rank_error: 0.0, counts }
    }

    pub(super) fn present(&self) -> u64 {
        self.rows - self.missing
    }

    fn share(&self, count: u64) -> f64 {
        count as f64 / self.rows as f64
    }

    fn finite(&self) -> f64 {
        self.share(self.ranks.total())
    }

    /// Share of rows below `x`, infinities included, missing values not.
    fn below(&self, x: f64) -> f64 {
        self.share(self.negative_infinite) + self.finite() * self.ranks.below(x)
    }

    /// Share of rows with the value `x`: counted, or from the sketch.
    fn at(&self, x: f64) -> f64 {
        match &self.counts {
            Some(counts) => counts
                .binary_search_by(|count| count.value.total_cmp(&x))
                .map_or(0.0, |place| self.share(counts[place].count)),
            None if x.is_infinite() => {
                self.share(if x > 0.0 { self.positive_infinite } else { self.negative_infinite })
            }
            None => self.finite() * (self.ranks.at_or_below(x) - self.ranks.below(x)),
        }
    }

    /// Share of the present values outside of `low..=high`; at most as exact as the ranks.
    pub(super) fn outside(&self, low: f64, high: f64) -> f64 {
        let below = if low > f64::NEG_INFINITY { self.negative_infinite } else { 0 };
        let above = if high < f64::INFINITY { self.positive_infinite } else { 0 };
        (self.ranks.outside(low, high) + below + above) as f64 / self.present() as f64
    }

    /// Smallest and greatest present value.
    pub(super) fn range(&self) -> Option<(f64, f64)> {
        if self.present() == 0 {
            return None;
        }
        let (low, high) = self.ranks.range().unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
        let low = if self.negative_infinite > 0 { f64::NEG_INFINITY } else { low.min(f64::INFINITY) };
        let high = if self.positive_infinite > 0 { f64::INFINITY } else { high.max(f64::NEG_INFINITY) };
        Some((low, high))
    }
}

fn few(ranks: &Ranks, negative: u64, positive: u64) -> Option<Vec<ValueCount>> {
    let infinite = |value: f64, count: u64| (count > 0).then_some((value, count));
    let all = infinite(f64::NEG_INFINITY, negative)
        .into_iter()
        .chain(ranks.counts())
        .chain(infinite(f64::INFINITY, positive));
    let counts: Vec<ValueCount> = all.take(FEW_MAX + 1).map(|(value, count)| ValueCount { value, count }).collect();
    (counts.len() <= FEW_MAX).then_some(counts)
}

/// Shares of rows in the bins of the population stability index, missing values last.
pub(in crate::stats) fn number_shares(reference: &Numbers, current: &Numbers, bins: usize) -> Vec<(f64, f64)> {
    let missing = (reference.share(reference.missing), current.share(current.missing));
    let present = (1.0 - missing.0, 1.0 - missing.1);
    let mut shares = match &reference.counts {
        Some(counts) if counts.len() > 1 || reference.ranks.total() == 0 => {
            let mut shares: Vec<(f64, f64)> =
                counts.iter().map(|count| (reference.share(count.count), current.at(count.value))).collect();
            let known: f64 = shares.iter().map(|both| both.1).sum();
            shares.push((0.0, no_dust(present.1 - known)));
            shares
        }
        _ => {
            let edges = edges(&reference.ranks, bins);
            let side = |numbers: &Numbers, present: f64| {
                let mut last = 0.0;
                let mut shares = Vec::with_capacity(edges.len() + 1);
                for below in edges.iter().map(|&edge| numbers.below(edge)).chain([present]) {
                    shares.push(no_dust(below - last));
                    last = below;
                }
                shares
            };
            side(reference, present.0).into_iter().zip(side(current, present.1)).collect()
        }
    };
    shares.push(missing);
    shares
}

/// Differences of shares that should be 0 and are a rounding error are 0.
fn no_dust(share: f64) -> f64 {
    if share < 1e-12 { 0.0 } else { share }
}

/// Inner type-7 quantiles of the reference, each once.
fn edges(ranks: &Ranks, bins: usize) -> Vec<f64> {
    let mut edges: Vec<f64> = (1..bins).map(|i| ranks.quantile(i as f64 / bins as f64)).collect();
    edges.retain(|edge| edge.is_finite());
    edges.dedup();
    edges
}

/// The statistic over rows, missing values first and infinities at the ends: a plain two-sample statistic of values that are
/// totally ordered, so that a change of nulls counts as one of values does.
pub(super) fn kolmogorov_smirnov(reference: &Numbers, current: &Numbers) -> Effect {
    let missing = (reference.share(reference.missing), current.share(current.missing));
    let (n, m) = (reference.rows, current.rows);
    let (size, error) = greatest_gap((reference, missing.0, n), (current, missing.1, m));
    Effect {
        size,
        expected_by_chance: kolmogorov::MEAN * (1.0 / n as f64 + 1.0 / m as f64).sqrt(),
        p_value: limit_tail(n, m, (size - error).max(0.0)),
        interval: None,
        rows: (n, m),
    }
}

/// As [`kolmogorov_smirnov`] over present values only: statistic and p-value.
pub(super) fn kolmogorov_smirnov_of_present(reference: &Numbers, current: &Numbers) -> f64 {
    let (n, m) = (reference.present(), current.present());
    let (size, error) = greatest_gap((reference, 0.0, n), (current, 0.0, m));
    limit_tail(n, m, (size - error).max(0.0))
}

/// Greatest difference of the distribution functions over `rows` of each side, of which a share lies before all values; and
/// by how much it may be off.
fn greatest_gap(reference: (&Numbers, f64, u64), current: (&Numbers, f64, u64)) -> (f64, f64) {
    let start = |(numbers, missing, rows): (&Numbers, f64, u64)| {
        (missing + numbers.negative_infinite as f64 / rows as f64, numbers.ranks.total() as f64 / rows as f64)
    };
    let ((r0, r_finite), (c0, c_finite)) = (start(reference), start(current));
    let inside = greatest_difference(
        &reference.0.ranks,
        &current.0.ranks,
        |share| r0 + share * r_finite,
        |share| c0 + share * c_finite,
    );
    let outside = (r0 - c0).abs().max((reference.1 - current.1).abs());
    let size = inside.max(outside).max((r0 + r_finite - c0 - c_finite).abs());
    (size, reference.0.rank_error * r_finite + current.0.rank_error * c_finite)
}
