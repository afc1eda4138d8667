//! Effect sizes from the profiles of one column.

use super::{DriftMethod, DriftRule};
use crate::Result;
use crate::profile::{ColumnProfile, ValueCount};
use crate::stats::chi2::chi2_two_sample;
use crate::stats::ks::{greatest_difference, limit_tail};
use crate::stats::psi::psi_test_of;
use crate::stats::quantiles::Ranks;
use crate::stats::{FrequentItems, Moments, Quantiles, kolmogorov};

/// Categories of a text column that have a bin of their own.
const CATEGORIES: usize = 63;

/// A size, what chance alone would give, and the probability of that much by chance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effect {
    pub(super) size: f64,
    pub(super) expected_by_chance: f64,
    pub(super) p_value: f64,
}

impl Effect {
    /// Nothing was measured.
    pub(super) const NONE: Self = Self { size: 0.0, expected_by_chance: 0.0, p_value: 1.0 };
}

/// Both columns have rows and are of one kind.
pub(super) fn measure(reference: &ColumnProfile, current: &ColumnProfile, rule: &DriftRule) -> Result<Effect> {
    let numbers = (Numbers::of(reference), Numbers::of(current));
    if let (Some(r), Some(c)) = &numbers {
        return match rule.method {
            DriftMethod::Ks => Ok(kolmogorov_smirnov(r, c)),
            DriftMethod::Psi => Ok(index(&number_shares(r, c, rule.bins), r.rows, c.rows)),
        };
    }
    let shares = category_shares(reference, current);
    match rule.method {
        DriftMethod::Psi => Ok(index(&shares, reference.rows(), current.rows())),
        DriftMethod::Ks => total_variation(&shares, reference.rows(), current.rows()),
    }
}

fn index(shares: &[(f64, f64)], n: u64, m: u64) -> Effect {
    let test = psi_test_of(shares, n, m);
    Effect { size: test.psi.max(0.0), expected_by_chance: test.expected_by_chance, p_value: test.p_value }
}

fn total_variation(shares: &[(f64, f64)], n: u64, m: u64) -> Result<Effect> {
    let scale = 1.0 / n as f64 + 1.0 / m as f64;
    let pooled = |&(r, c): &(f64, f64)| (r * n as f64 + c * m as f64) / (n as f64 + m as f64);
    let counts = |rows: u64, share: &dyn Fn(&(f64, f64)) -> f64| {
        shares.iter().map(|both| (share(both) * rows as f64).round() as u64).collect::<Vec<_>>()
    };
    let test = chi2_two_sample(&counts(n, &|both| both.0), &counts(m, &|both| both.1))?;
    Ok(Effect {
        size: shares.iter().map(|(r, c)| (c - r).abs()).sum::<f64>() / 2.0,
        // A share's difference is about normal with variance p(1 − p)(1/n + 1/m); its mean size is √(2/π) of the deviation.
        expected_by_chance: shares
            .iter()
            .map(|both| (pooled(both) * (1.0 - pooled(both)).max(0.0) * scale * std::f64::consts::FRAC_2_PI).sqrt())
            .sum::<f64>()
            / 2.0,
        p_value: test.p_value,
    })
}

/// What both methods need of a column of numbers.
struct Numbers<'a> {
    rows: u64,
    moments: &'a Moments,
    quantiles: &'a Quantiles,
    counts: Option<Vec<ValueCount>>,
    ranks: Ranks,
}

impl<'a> Numbers<'a> {
    fn of(column: &'a ColumnProfile) -> Option<Self> {
        let (moments, quantiles) = (column.moments()?, column.quantiles()?);
        Some(Self { rows: column.rows(), moments, quantiles, counts: column.value_counts(), ranks: quantiles.ranks() })
    }

    fn share(&self, count: u64) -> f64 {
        count as f64 / self.rows as f64
    }

    /// Nulls and NaN.
    fn missing(&self) -> f64 {
        self.share(self.rows - self.present())
    }

    fn finite(&self) -> f64 {
        self.share(self.moments.count())
    }

    fn negative_infinite(&self) -> f64 {
        self.share(self.moments.negative_infinite())
    }

    fn present(&self) -> u64 {
        self.moments.count() + self.moments.negative_infinite() + self.moments.positive_infinite()
    }

    /// Share of rows below `x`, infinities included, missing values not.
    fn below(&self, x: f64) -> f64 {
        self.negative_infinite() + self.finite() * self.ranks.below(x)
    }

    /// Share of rows with the value `x`: counted, or from the sketch.
    fn at(&self, x: f64) -> f64 {
        match &self.counts {
            Some(counts) => counts
                .binary_search_by(|count| count.value.total_cmp(&x))
                .map_or(0.0, |place| self.share(counts[place].count)),
            None if x.is_infinite() => {
                let both = (self.moments.negative_infinite(), self.moments.positive_infinite());
                self.share(if x > 0.0 { both.1 } else { both.0 })
            }
            None => self.finite() * (self.ranks.at_or_below(x) - self.ranks.below(x)),
        }
    }
}

fn number_shares(reference: &Numbers<'_>, current: &Numbers<'_>, bins: usize) -> Vec<(f64, f64)> {
    let present = (1.0 - reference.missing(), 1.0 - current.missing());
    let mut shares = match &reference.counts {
        Some(counts) if counts.len() > 1 || reference.moments.count() == 0 => {
            let mut shares: Vec<(f64, f64)> =
                counts.iter().map(|count| (reference.share(count.count), current.at(count.value))).collect();
            let known: f64 = shares.iter().map(|both| both.1).sum();
            shares.push((0.0, no_dust(present.1 - known)));
            shares
        }
        _ => {
            let edges = edges(&reference.ranks, bins);
            let side = |numbers: &Numbers<'_>, present: f64| {
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
    shares.push((reference.missing(), current.missing()));
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
fn kolmogorov_smirnov(reference: &Numbers<'_>, current: &Numbers<'_>) -> Effect {
    let start = |numbers: &Numbers<'_>| numbers.missing() + numbers.negative_infinite();
    let (r0, c0) = (start(reference), start(current));
    let inside = greatest_difference(
        &reference.ranks,
        &current.ranks,
        |share| r0 + share * reference.finite(),
        |share| c0 + share * current.finite(),
    );
    let outside = (r0 - c0).abs().max((reference.missing() - current.missing()).abs());
    let size = inside.max(outside).max((r0 + reference.finite() - c0 - current.finite()).abs());
    let error =
        reference.quantiles.rank_error() * reference.finite() + current.quantiles.rank_error() * current.finite();
    let (n, m) = (reference.rows, current.rows);
    Effect {
        size,
        expected_by_chance: kolmogorov::MEAN * (1.0 / n as f64 + 1.0 / m as f64).sqrt(),
        p_value: limit_tail(n, m, (size - error).max(0.0)),
    }
}

/// Shares over booleans, or the reference's most frequent texts and all others; missing values last.
fn category_shares(reference: &ColumnProfile, current: &ColumnProfile) -> Vec<(f64, f64)> {
    let share = |count: u64, column: &ColumnProfile| count as f64 / column.rows() as f64;
    let present = |column: &ColumnProfile| column.rows() - column.nulls();
    let mut shares = Vec::new();
    let mut known = (0, 0);
    let mut add = |r: u64, c: u64| {
        known = (known.0 + r, known.1 + c);
        shares.push((share(r, reference), share(c, current)));
    };
    if let (Some(r), Some(c)) = (reference.true_count(), current.true_count()) {
        add(r, c);
    } else if let (Some(r), Some(c)) = (reference.frequent(), current.frequent()) {
        for (r, c) in text_counts(r, c) {
            add(r, c);
        }
    }
    let rest = |column: &ColumnProfile, known: u64| share(present(column).saturating_sub(known), column);
    shares.push((rest(reference, known.0), rest(current, known.1)));
    shares.push((share(reference.nulls(), reference), share(current.nulls(), current)));
    shares
}

/// Counts of the reference's most frequent texts. Where a sketch is not exact, texts that its error could have made
/// are left to the others, and a count is the middle of its bounds.
fn text_counts(reference: &FrequentItems, current: &FrequentItems) -> Vec<(u64, u64)> {
    let middle = |count: crate::stats::Estimate| if count.low == 0 { 0 } else { u64::midpoint(count.low, count.high) };
    let error = reference.error_max().max(current.error_max());
    reference
        .top(CATEGORIES)
        .into_iter()
        .filter(|item| reference.is_exact() && current.is_exact() || item.count.low > 2 * error)
        .map(|item| (middle(item.count), middle(current.count(&item.value))))
        .collect()
}
