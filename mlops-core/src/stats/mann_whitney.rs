//! Mann-Whitney U test, also known as Wilcoxon's rank-sum test.

use super::distance::sorted;
use super::two_sample::{TwoSampleTest, normal_two_sided, runs};
use crate::Result;

/// Greatest smaller sample for which the p-value may be exact, as in scipy.
const EXACT_SIDE_MAX: usize = 8;
/// Greatest `n · m` for which it is.
const EXACT_MAX: usize = 10_000;

/// Two-sided Mann-Whitney U test: is a value of one sample as often above one of the other as below?
///
/// The statistic is U of the reference: pairs in which its value is the greater, ties counted half, in `0..=n·m`. The p-value is
/// exact when there are no ties, one sample has at most 8 values, and `n·m` is at most 10 000; otherwise normal, with
/// corrections for ties and continuity, as scipy's `method="auto"`. All values equal give p = 1.
///
/// * `reference`, `current`: finite numbers in any order. `O(n log n)`.
///
/// # Errors
/// [`crate::Error::Invalid`] when a sample is empty, [`crate::Error::InvalidData`] when a value is not finite.
///
/// # Source
/// Mann, Whitney, *On a test of whether one of two random variables is stochastically larger than the other*, Ann. Math.
/// Statist. 18, 1947 (`scipy.stats.mannwhitneyu`).
///
/// # Examples
/// ```
/// let test = mlops_core::stats::mann_whitney_u(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0])?;
/// assert_eq!(test.statistic, 0.0);
/// assert!((test.p_value - 0.1).abs() < 1e-12);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn mann_whitney_u(reference: &[f64], current: &[f64]) -> Result<TwoSampleTest> {
    Ok(of_sorted(&sorted(reference, "reference")?, &sorted(current, "current")?))
}

pub(super) fn of_sorted(a: &[f64], b: &[f64]) -> TwoSampleTest {
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (mut u, mut ties, mut below) = (0.0, 0.0, 0.0);
    for (_, x, y) in runs(a, b) {
        let (x, y) = (x as f64, y as f64);
        u += x * (below + y / 2.0);
        below += y;
        let t = x + y;
        ties += t * t * t - t;
    }
    let greater = u.max(n * m - u);
    let is_exact = ties == 0.0 && a.len().min(b.len()) <= EXACT_SIDE_MAX && a.len() * b.len() <= EXACT_MAX;
    if is_exact {
        return TwoSampleTest::new(u, 2.0 * exact_tail(a.len().min(b.len()), a.len().max(b.len()), greater as usize));
    }
    let rows = n + m;
    let variance = n * m / 12.0 * ((rows + 1.0) - ties / (rows * (rows - 1.0)));
    let z = (greater - n * m / 2.0 - 0.5) / variance.max(0.0).sqrt();
    // Below the mean by the correction for continuity alone: twice a tail above one half.
    let p_value = if variance > 0.0 && z > 0.0 { normal_two_sided(z) } else { 1.0 };
    TwoSampleTest::new(u, p_value)
}

/// `P(U ≥ u)`: the ways to choose are the coefficients of the Gaussian binomial, `∏ (1 − q^(m+i)) / (1 − q^i)`.
fn exact_tail(n: usize, m: usize, u: usize) -> f64 {
    let mut ways = vec![0_i128; n * m + 1];
    ways[0] = 1;
    for i in 1..=n {
        for place in (m + i..ways.len()).rev() {
            ways[place] -= ways[place - m - i];
        }
        for place in i..ways.len() {
            ways[place] += ways[place - i];
        }
    }
    let sum = |ways: &[i128]| ways.iter().map(|&count| count as f64).sum::<f64>();
    sum(&ways[u.min(n * m)..]) / sum(&ways)
}

#[cfg(test)]
mod tests {
    use super::super::two_sample::tests::{agrees, samples, tied};
    use super::*;

    #[test]
    fn large_and_tied_samples_agree_with_scipy() {
        // scipy 1.17.1: mannwhitneyu(a, b)
        let (a, b) = samples();
        agrees(mann_whitney_u(&a, &b).unwrap(), 10531.0, 0.867907011481093);
        let (a, b) = tied();
        agrees(mann_whitney_u(&a, &b).unwrap(), 1111.0, 0.9352625630116845);
    }

    #[test]
    fn small_samples_are_exact_as_in_scipy() {
        // scipy 1.17.1: mannwhitneyu([1, 3, 5.5, 9], [2, 4, 6, 7, 8, 10, 11])
        let (a, b) = ([9.0, 1.0, 5.5, 3.0], [2.0, 4.0, 6.0, 7.0, 8.0, 10.0, 11.0]);
        agrees(mann_whitney_u(&a, &b).unwrap(), 8.0, 0.3151515151515151);
        let b: Vec<f64> = (0..1_250).map(|i| f64::from(i) + 0.5).collect();
        let a: Vec<f64> = (0..8).map(|i| f64::from(i * 100 + 500)).collect();
        // scipy 1.17.1, method="exact"
        agrees(mann_whitney_u(&a, &b).unwrap(), 6800.0, 0.07879659574657295);
    }

    #[test]
    fn values_that_are_all_equal_do_not_differ() {
        agrees(mann_whitney_u(&[2.0; 20], &[2.0; 30]).unwrap(), 300.0, 1.0);
        assert!(mann_whitney_u(&[], &[1.0]).is_err());
    }
}
