//! Two-sample Cramér-von Mises test.

use std::collections::BTreeMap;

use statrs::function::gamma::ln_gamma;

use super::distance::sorted;
use super::two_sample::{TwoSampleTest, at_least, runs};
use crate::Result;

/// Greatest sample for which the p-value is exact, as in scipy.
const EXACT_SIDE_MAX: usize = 20;

/// Two-sample Cramér-von Mises test: the squared difference of the distribution functions, over the pooled sample.
///
/// Sees small differences over a wide range better than Kolmogorov-Smirnov. The p-value is exact for up to 20 values on both
/// sides and that of the limit beyond (never below some `1e-15`), as scipy's `method="auto"`; ties get mean ranks, and make it
/// approximate.
///
/// * `reference`, `current`: at least 2 finite numbers each, in any order. `O(n log n)`.
///
/// # Errors
/// [`crate::Error::Invalid`] when a sample has fewer than 2 values, [`crate::Error::InvalidData`] when a value is not finite.
///
/// # Source
/// Anderson, *On the distribution of the two-sample Cramér-von Mises criterion*, Ann. Math. Statist. 33, 1962; exact: Xiao,
/// Gordon, Yakovlev, J. Stat. Softw. 17, 2007 (`scipy.stats.cramervonmises_2samp`).
///
/// # Examples
/// ```
/// let test = mlops_core::stats::cramer_von_mises(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0])?;
/// assert!((test.p_value - 0.1).abs() < 1e-12);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn cramer_von_mises(reference: &[f64], current: &[f64]) -> Result<TwoSampleTest> {
    at_least(reference, "reference", 2, "at least 2 values")?;
    at_least(current, "current", 2, "at least 2 values")?;
    Ok(of_sorted(&sorted(reference, "reference")?, &sorted(current, "current")?))
}

/// Of at least 2 values each.
pub(super) fn of_sorted(a: &[f64], b: &[f64]) -> TwoSampleTest {
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (pairs, rows) = (n * m, n + m);
    let u = weighted_squares(a, b);
    let statistic = u / (pairs * rows) - (4.0 * pairs - 1.0) / (6.0 * rows);
    if a.len().max(b.len()) <= EXACT_SIDE_MAX {
        return TwoSampleTest::new(statistic, exact_tail(a.len() as u64, b.len() as u64, u));
    }
    let mean = (1.0 + 1.0 / rows) / 6.0;
    let variance =
        (rows + 1.0) * (4.0 * pairs * rows - 3.0 * (n * n + m * m) - 2.0 * pairs) / (45.0 * rows * rows * 4.0 * pairs);
    let scaled = 1.0 / 6.0 + (statistic - mean) / (45.0 * variance).sqrt();
    TwoSampleTest::new(statistic, if scaled < 0.003 { 1.0 } else { 1.0 - limit(scaled) })
}

/// `n Σ (rᵢ − i)² + m Σ (sⱼ − j)²` over the ranks of both in the pooled sample.
fn weighted_squares(a: &[f64], b: &[f64]) -> f64 {
    let (mut first, mut second) = (0.0, 0.0);
    let (mut i, mut j) = (0.0_f64, 0.0_f64);
    // Σ (shift − k)² over a run of equal values, whose own places differ by k.
    let squares = |shift: f64, count: f64| {
        let (ones, halves) = (count, count * (count + 1.0) / 2.0);
        shift * shift * ones - 2.0 * shift * halves + count * (count + 1.0) * (2.0 * count + 1.0) / 6.0
    };
    for (_, x, y) in runs(a, b) {
        let (x, y) = (x as f64, y as f64);
        let middle = i + j + 0.5 * (x + y + 1.0);
        first += squares(middle - i, x);
        second += squares(middle - j, y);
        (i, j) = (i + x, j + y);
    }
    a.len() as f64 * first + b.len() as f64 * second
}

/// Share of the lattice paths from (0, 0) to (n, m) whose squared distances from the diagonal sum up to the statistic.
fn exact_tail(n: u64, m: u64, u: f64) -> f64 {
    let common = n / gcd(n, m) * m;
    let (a, b, pairs) = (common / n, common / m, (n * m) as f64);
    let (common, rows) = (common as f64, (n + m) as f64);
    let reached = (common * common * rows * (6.0 * u - pairs * (4.0 * pairs - 1.0)) / (6.0 * pairs * pairs)).floor();
    let reached = reached.max(0.0) as u64;
    let mut row: Vec<BTreeMap<u64, f64>> = Vec::new();
    for j in 0..=m {
        let mut next: Vec<BTreeMap<u64, f64>> = Vec::new();
        for i in 0..=n {
            let square = (a * i).abs_diff(b * j).pow(2);
            let mut paths = BTreeMap::new();
            if i == 0 && j == 0 {
                paths.insert(0, 1.0);
            }
            for before in
                [row.get(i as usize), i.checked_sub(1).and_then(|i| next.get(i as usize))].into_iter().flatten()
            {
                for (&sum, &count) in before {
                    // Sums only grow: beyond what is asked for they need not be told apart.
                    *paths.entry((sum + square).min(reached)).or_insert(0.0) += count;
                }
            }
            next.push(paths);
        }
        row = next;
    }
    let Some(paths) = row.last() else { return 1.0 };
    paths.get(&reached).copied().unwrap_or(0.0) / paths.values().sum::<f64>()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The limit distribution of the one-sample statistic, by the series of Anderson and Darling (1952).
fn limit(x: f64) -> f64 {
    let term = |k: f64| {
        let y = 4.0 * k + 1.0;
        let q = y * y / (16.0 * x);
        let factor = (ln_gamma(k + 0.5) - ln_gamma(k + 1.0)).exp() / (std::f64::consts::PI.powf(1.5) * x.sqrt());
        factor * y.sqrt() * scaled_bessel(q)
    };
    (0..60).map(|k| term(f64::from(k))).take_while(|term| *term > 1e-20).sum::<f64>().min(1.0)
}

/// `exp(−q) K_¼(q)`, from `K_ν(q) = ∫ exp(−q cosh t) cosh(νt) dt` over `t ≥ 0`: the trapezoid rule converges at once on it.
fn scaled_bessel(q: f64) -> f64 {
    let step = 1.0 / 32.0;
    let value = |t: f64| (-q * (1.0 + t.cosh())).exp() * (t / 4.0).cosh();
    let rest = (1..2_000).map(|i| value(f64::from(i) * step)).take_while(|value| *value > 0.0);
    step * (value(0.0) / 2.0 + rest.sum::<f64>())
}

#[cfg(test)]
mod tests {
    use super::super::two_sample::tests::{agrees, samples, tied};
    use super::*;

    #[test]
    fn large_samples_follow_the_limit_as_in_scipy() {
        // scipy 1.17.1: cramervonmises_2samp(a, b)
        let (a, b) = samples();
        agrees(cramer_von_mises(&a, &b).unwrap(), 0.026113600696561434, 0.9890520437392614);
        let (a, b) = tied();
        agrees(cramer_von_mises(&a, &b).unwrap(), 0.6814354066985633, 0.014034224672935025);
    }

    #[test]
    fn small_samples_are_exact_as_in_scipy() {
        // scipy 1.17.1: cramervonmises_2samp([1, 3, 5.5, 9], [2, 4, 6, 7, 8, 10, 11])
        let (a, b) = ([9.0, 1.0, 5.5, 3.0], [2.0, 4.0, 6.0, 7.0, 8.0, 10.0, 11.0]);
        agrees(cramer_von_mises(&a, &b).unwrap(), 0.16233766233766223, 0.41515151515151516);
        let (a, b) = samples();
        // scipy 1.17.1: cramervonmises_2samp(a[:20], b[:15] + 0.2)
        let b: Vec<f64> = b.iter().take(15).map(|v| v + 0.2).collect();
        agrees(cramer_von_mises(&a[..20], &b).unwrap(), 0.13999999999999968, 0.4417734813438053);
    }

    #[test]
    fn equal_samples_do_not_differ() {
        let (a, _) = samples();
        assert!(cramer_von_mises(&a, &a).unwrap().p_value > 0.999);
        // Mean ranks are not what chance would deal: scipy 1.17.1 says the same of [2]*5 and [2]*7.
        agrees(cramer_von_mises(&[2.0; 5], &[2.0; 7]).unwrap(), 0.113_492_063_492_063_31, 0.611_111_111_111_111_2);
        assert!(cramer_von_mises(&[1.0], &[1.0, 2.0]).is_err());
    }
}
