//! Fisher's exact test of a table of two by two.

use statrs::function::gamma::ln_gamma;

use super::two_sample::TwoSampleTest;
use crate::{Error, Result};

/// Tables that are this much more likely than the one found still count as no more likely: rounding must not decide (scipy's).
const SLACK: f64 = 1.0 + 1e-7;
/// Rows of a table: logarithms of greater factorials lose the digits that the test needs.
const ROWS_MAX: u64 = 1 << 40;

/// Fisher's exact test: do two yes-or-no samples differ, with the margins as they are?
///
/// The statistic is the odds ratio of the sample, `(r₁ c₂) / (r₂ c₁)`: infinite or NaN where a factor is 0. The p-value sums the
/// probabilities of all tables that are at most as likely as this one (two-sided). `O(√n)`.
///
/// * `reference`, `current`: how many yes and how many no.
///
/// # Errors
/// [`Error::Invalid`] when a side has no rows or the table has more than 2^40.
///
/// # Source
/// Fisher, *The logic of inductive inference*, J. R. Stat. Soc. 98, 1935 (`scipy.stats.fisher_exact`).
///
/// # Examples
/// ```
/// let test = mlops_core::stats::fisher_exact([8, 2], [1, 5])?;
/// assert_eq!(test.statistic, 20.0);
/// assert!((test.p_value - 0.034_965_034_965_035).abs() < 1e-12);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn fisher_exact(reference: [u64; 2], current: [u64; 2]) -> Result<TwoSampleTest> {
    let rows = reference.iter().chain(&current).try_fold(0_u64, |sum, &count| sum.checked_add(count));
    let rows =
        rows.filter(|&rows| rows <= ROWS_MAX).ok_or(Error::invalid("rows of the table", "more", "at most 2^40"))?;
    for (side, which) in [(reference, "rows of the reference"), (current, "rows of the current data")] {
        if side == [0, 0] {
            return Err(Error::invalid(which, 0, "above 0"));
        }
    }
    let [a, b] = reference.map(|count| count as f64);
    let [c, d] = current.map(|count| count as f64);
    let odds = if b * c == 0.0 && a * d == 0.0 { f64::NAN } else { a * d / (b * c) };
    let n = reference[0] + reference[1];
    let table = Table { n, m: rows - n, yes: reference[0] + current[0] };
    Ok(TwoSampleTest { statistic: odds, p_value: table.two_sided(reference[0]).clamp(0.0, 1.0) })
}

/// The margins: rows of both sides, and how many say yes.
struct Table {
    n: u64,
    m: u64,
    yes: u64,
}

impl Table {
    fn range(&self) -> (u64, u64) {
        (self.yes.saturating_sub(self.m), self.yes.min(self.n))
    }

    /// Logarithm of the probability of `x` yes in the reference.
    fn ln_probability(&self, x: u64) -> f64 {
        let choose =
            |n: u64, k: u64| ln_gamma(n as f64 + 1.0) - ln_gamma(k as f64 + 1.0) - ln_gamma((n - k) as f64 + 1.0);
        choose(self.n, x) + choose(self.m, self.yes - x) - choose(self.n + self.m, self.yes)
    }

    /// Probability of `x + 1` over that of `x`.
    fn ratio(&self, x: u64) -> f64 {
        let up = (self.n - x) as f64 * (self.yes - x) as f64;
        up / ((x + 1) as f64 * (self.m + x + 1 - self.yes) as f64)
    }

    fn two_sided(&self, found: u64) -> f64 {
        let (low, high) = self.range();
        let mode = ((self.yes + 1) as f64 * (self.n + 1) as f64 / (self.n + self.m + 2) as f64).floor() as u64;
        let mode = mode.clamp(low, high);
        let limit = self.ln_probability(found) + SLACK.ln();
        let is_no_likelier = |x: u64| self.ln_probability(x) <= limit;
        if is_no_likelier(mode) {
            return 1.0;
        }
        // Probabilities grow up to the mode and fall beyond it: one tail on each side.
        let below = last(low, mode, is_no_likelier).map_or(0.0, |x| self.tail(x, low));
        let above = last(0, high - mode, |i| is_no_likelier(high - i)).map_or(0.0, |i| self.tail(high - i, high));
        below + above
    }

    /// Sum of the probabilities from `x` away from the mode, up to `end`.
    fn tail(&self, mut x: u64, end: u64) -> f64 {
        let first = self.ln_probability(x).exp();
        let (mut term, mut sum) = (1.0, 1.0);
        while x != end && term > sum * 1e-17 {
            if x < end {
                term *= self.ratio(x);
                x += 1;
            } else {
                x -= 1;
                term /= self.ratio(x);
            }
            sum += term;
        }
        first * sum
    }
}

/// The greatest of `low..=high` for which `holds`, which holds up to some point; `None` where it never does.
fn last(mut low: u64, mut high: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    if !holds(low) {
        return None;
    }
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if holds(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reference: [u64; 2], current: [u64; 2], odds: f64, p_value: f64) {
        let found = fisher_exact(reference, current).unwrap();
        assert!(found.statistic == odds || (found.statistic / odds - 1.0).abs() < 1e-12, "{found:?}");
        assert!((found.p_value / p_value - 1.0).abs() < 1e-7, "{found:?} is not {p_value}");
    }

    #[test]
    fn tables_agree_with_scipy() {
        // scipy 1.17.1: fisher_exact([reference, current])
        check([8, 2], [1, 5], 20.0, 0.034965034965034975);
        check([120, 380], [99, 201], 0.6411483253588517, 0.006826206797680827);
        check([3, 0], [0, 3], f64::INFINITY, 0.10000000000000002);
        check([1, 9], [11, 3], 0.030303030303030304, 0.0027594561852200836);
        check([50000, 50000], [50500, 49500], 0.9801980198019802, 0.02563959662539231);
        check([2, 1000000], [15, 1000000], 0.13333333333333333, 0.0023497601420003535);
    }

    #[test]
    fn tables_that_cannot_differ_have_no_evidence() {
        let found = fisher_exact([0, 5], [0, 9]).unwrap();
        assert!(found.statistic.is_nan() && found.p_value == 1.0);
    }

    #[test]
    fn empty_sides_and_endless_tables_are_errors() {
        assert!(fisher_exact([0, 0], [1, 2]).unwrap_err().to_string().contains("reference"));
        assert!(fisher_exact([u64::MAX, 1], [1, 2]).unwrap_err().to_string().contains("2^40"));
    }
}
