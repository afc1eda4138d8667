//! Kolmogorov-Smirnov test of two samples, of two sketches and of two histograms.

use serde::{Deserialize, Serialize};

use super::Histogram;
use super::distance::sorted;
use super::kolmogorov::two_sided_tail;
use super::quantiles::{Quantiles, Ranks};
use crate::{Error, Result};

/// What [`ks_two_sample`] finds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KsTest {
    /// Greatest difference of the two distribution functions, in `0..=1`.
    pub statistic: f64,
    /// Probability of a statistic at least this large when both samples come from one distribution.
    pub p_value: f64,
    /// Whether the p-value counts paths exactly rather than using the limit.
    pub exact: bool,
}

/// Greatest `n · m` for which the p-value is exact.
const EXACT_MAX: usize = 10_000;

/// How the p-value of [`ks_test`] is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KsPValue {
    /// Exactly up to `n · m = 10 000`, by the limit beyond.
    Auto,
    /// By counting paths, `O(n · m)`, up to `n · m = 2^27`; to an absolute error of some `1e-15`.
    Exact,
    /// By the limit distribution.
    Limit,
}

/// Greatest `n · m` for which an exact p-value may be asked for.
const PATHS_MAX: usize = 1 << 27;

/// [`ks_test`] with the p-value that fits the sizes.
///
/// # Errors
/// As [`ks_test`].
///
/// # Examples
/// ```
/// let test = mlops_core::stats::ks_two_sample(&[0.1, 0.2, 0.3], &[1.1, 1.2, 1.3])?;
/// assert_eq!(test.statistic, 1.0);
/// assert!((test.p_value - 0.1).abs() < 1e-12);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn ks_two_sample(reference: &[f64], current: &[f64]) -> Result<KsTest> {
    ks_test(reference, current, KsPValue::Auto)
}

/// Two-sample, two-sided Kolmogorov-Smirnov test.
///
/// By [`KsPValue::Auto`] the p-value is exact up to `n · m = 10 000` and that of `kstwo.sf(D, round(n·m / (n+m)))` beyond, as
/// scipy's `ks_2samp` (which counts paths up to 10 000 values a side: ask for [`KsPValue::Exact`]). With ties the true p-value is smaller than the one given: the test errs on the side of "no difference".
///
/// * `reference`, `current`: samples of finite numbers in any order. `O(n log n + m log m)`.
///
/// # Errors
/// [`Error::Invalid`] when a sample is empty, or too large for an exact p-value; [`Error::InvalidData`] when a value is not
/// finite.
///
/// # Source
/// Smirnov 1939; exact paths by Hodges, *The significance probability of the Smirnov two-sample test*, Ark. Mat. 3, 1958.
///
/// # Examples
/// ```
/// use mlops_core::stats::{KsPValue, ks_test};
///
/// let test = ks_test(&[0.1, 0.2, 0.3], &[1.1, 1.2, 1.3], KsPValue::Exact)?;
/// assert!((test.p_value - 0.1).abs() < 1e-12 && test.exact);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn ks_test(reference: &[f64], current: &[f64], p_value: KsPValue) -> Result<KsTest> {
    let paths = reference.len().saturating_mul(current.len());
    if p_value == KsPValue::Exact && paths > PATHS_MAX {
        return Err(Error::invalid("n · m for an exact p-value", paths, "at most 2^27"));
    }
    Ok(of_sorted(&sorted(reference, "reference")?, &sorted(current, "current")?, p_value))
}

/// [`ks_test`] of sorted samples that are not empty, nor too large for what is asked.
pub(super) fn of_sorted(a: &[f64], b: &[f64], p_value: KsPValue) -> KsTest {
    let (n, m) = (a.len(), b.len());
    let statistic = greatest_gap(a, b);
    let exact = match p_value {
        KsPValue::Auto => n.saturating_mul(m) <= EXACT_MAX,
        KsPValue::Exact => true,
        KsPValue::Limit => false,
    };
    let p_value = if exact { path_tail(n, m, statistic) } else { limit_tail(n as u64, m as u64, statistic) };
    KsTest { statistic, p_value, exact }
}

/// Greatest difference of the distribution functions of two sorted samples.
fn greatest_gap(a: &[f64], b: &[f64]) -> f64 {
    let (n, m) = (a.len() as f64, b.len() as f64);
    // Times n·m, so that there is no division in the loop; and no branch on the data, which is a coin toss.
    let (mut i, mut j, mut gap) = (0, 0, 0.0_f64);
    while i < a.len() && j < b.len() {
        let (x, y) = (a[i], b[j]);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
        let next = if x < y { x } else { y };
        // Within a run of equal values the functions have not yet taken their step.
        let is_step = a.get(i).is_none_or(|&v| v > next) & b.get(j).is_none_or(|&v| v > next);
        let now = (i as f64 * m - j as f64 * n).abs();
        let most = if now > gap { now } else { gap };
        gap = if is_step { most } else { gap };
    }
    // Where one side ran out inside of a run, the rest of the run belongs to the last step.
    let last = a[i.saturating_sub(1)].max(b[j.saturating_sub(1)]);
    let i = i + a[i..].partition_point(|&v| v <= last);
    let j = j + b[j..].partition_point(|&v| v <= last);
    gap.max((i as f64 * m - j as f64 * n).abs()) / (n * m)
}

/// p-value of the limit distribution with `n` and `m` rows.
pub(crate) fn limit_tail(n: u64, m: u64, statistic: f64) -> f64 {
    let (n, m) = (n as f64, m as f64);
    // numpy rounds halves to even, and so scipy's effective size.
    two_sided_tail((n * m / (n + m)).round_ties_even() as u64, statistic)
}

/// Share of all lattice paths from (0, 0) to (n, m) that reach the statistic.
fn path_tail(n: usize, m: usize, statistic: f64) -> f64 {
    let (nf, mf) = (n as f64, m as f64);
    // Half a lattice step below, so that rounding cannot decide.
    let reached = ((statistic * nf * mf).round() - 0.5) / (nf * mf);
    let is_inside = |i: usize, j: usize| (i as f64 / nf - j as f64 / mf).abs() <= reached;
    let mut inside: Vec<f64> = (0..=m).map(|j| f64::from(u8::from(is_inside(0, j)))).collect();
    for j in 1..=m {
        inside[j] *= inside[j - 1];
    }
    for i in 1..=n {
        let weight = i as f64 / (i + m) as f64;
        inside[0] = if is_inside(i, 0) { inside[0] * weight } else { 0.0 };
        for j in 1..=m {
            inside[j] = if is_inside(i, j) { inside[j] * weight + inside[j - 1] } else { 0.0 };
        }
    }
    (1.0 - inside[m]).clamp(0.0, 1.0)
}

/// A statistic known up to an error: from sketches or histograms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KsEstimate {
    /// Estimate of the greatest difference of the two distribution functions.
    pub statistic: f64,
    /// By how much the true statistic may differ.
    pub error: f64,
    /// p-value of `statistic − error`: the most cautious of those that the error leaves open.
    pub p_value: f64,
}

impl KsEstimate {
    fn new(n: u64, m: u64, statistic: f64, error: f64) -> Self {
        Self { statistic, error, p_value: limit_tail(n, m, (statistic - error).max(0.0)) }
    }
}

/// Kolmogorov-Smirnov statistic of two quantile sketches.
///
/// The error is the sum of both rank errors, and holds as often as they do; it is 0 while both sketches are exact.
///
/// # Errors
/// [`Error::Invalid`] when a sketch is empty.
pub fn ks_of_quantiles(reference: &Quantiles, current: &Quantiles) -> Result<KsEstimate> {
    let (n, m) = (reference.count(), current.count());
    if n == 0 || m == 0 {
        return Err(Error::invalid("values in a sketch", 0, "above 0"));
    }
    let statistic = greatest_difference(&reference.ranks(), &current.ranks(), |share| share, |share| share);
    Ok(KsEstimate::new(n, m, statistic, reference.rank_error() + current.rank_error()))
}

/// Greatest difference of two distribution functions after `a` and `b` were applied to them.
pub(crate) fn greatest_difference(
    reference: &Ranks,
    current: &Ranks,
    a: impl Fn(f64) -> f64,
    b: impl Fn(f64) -> f64,
) -> f64 {
    let (n, m) = (reference.total().max(1) as f64, current.total().max(1) as f64);
    let mut most = 0.0_f64;
    reference.walk(current, |_, x, y| most = most.max((a(x as f64 / n) - b(y as f64 / m)).abs()));
    most
}

/// Kolmogorov-Smirnov statistic of two histograms with equal edges.
///
/// The functions are compared at the edges only; between two edges they may differ by up to the greater share
/// of that bin more, and this is the error given. Nulls and NaN are left out.
///
/// # Errors
/// [`Error::Invalid`] when the edges differ or a histogram holds no numbers.
pub fn ks_of_histograms(reference: &Histogram, current: &Histogram) -> Result<KsEstimate> {
    if reference.edges() != current.edges() {
        return Err(Error::invalid("edges of the current histogram", format!("{:?}", current.edges()), "equal"));
    }
    let (n, m) = (reference.total(), current.total());
    let shares = super::distance::shares(&reference.open_counts(), &current.open_counts())?;
    let (mut a, mut b, mut statistic, mut most) = (0.0_f64, 0.0_f64, 0.0_f64, 0.0_f64);
    for (r, c) in shares {
        // Inside of the bin, one side may have risen by its whole share before the other moves.
        most = most.max(a + r - b).max(b + c - a);
        (a, b) = (a + r, b + c);
        statistic = statistic.max((a - b).abs());
    }
    Ok(KsEstimate::new(n, m, statistic, (most - statistic).max(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reference: &[f64], current: &[f64], statistic: f64, p_value: f64) {
        let test = ks_two_sample(reference, current).unwrap();
        assert!((test.statistic - statistic).abs() < 1e-12, "{test:?}");
        assert!((test.p_value - p_value).abs() < 1e-9, "{test:?}");
    }

    #[test]
    fn small_samples_are_exact_as_in_scipy() {
        // scipy 1.17.1: ks_2samp(a, b, method="exact")
        check(&[1., 2., 3., 4., 5.], &[3., 4., 5., 6., 7., 8.], 0.5, 0.357_142_857_142_857_15);
        check(&[3., 2., 1., 2.], &[2., 3., 3., 5., 6.], 0.55, 0.428_571_428_571_428_6);
        check(&[0.1, 0.2, 0.3], &[1.1, 1.2, 1.3], 1.0, 0.1);
        check(&[1., 2.], &[1., 2.], 0.0, 1.0);
    }

    #[test]
    fn larger_samples_follow_the_limit_as_in_scipy() {
        // scipy 1.17.1: ks_2samp(a, b, method="asymp") on the same two sequences
        let a: Vec<f64> = (0..101).map(|i| f64::from(i * 37 % 101) / 101.0).collect();
        let b: Vec<f64> = (0..211).map(|i| (f64::from(i * 53 % 211) / 211.0).powf(1.2)).collect();
        check(&a, &b, 0.071_371_592_135_516_86, 0.854_522_501_145_822_1);
        // and with method="exact"
        let exact = ks_test(&a, &b, KsPValue::Exact).unwrap();
        assert!(exact.exact && (exact.p_value - 0.845_121_359_625_500_5).abs() < 1e-9, "{exact:?}");
        // and, of the first two samples above, with method="asymp"
        let limit = ks_test(&[1., 2., 3., 4., 5.], &[3., 4., 5., 6., 7., 8.], KsPValue::Limit).unwrap();
        assert!(!limit.exact && (limit.p_value - 0.3333333333333333).abs() < 1e-9, "{limit:?}");
        let long = vec![0.0; 1 << 14];
        assert!(ks_test(&long, &long, KsPValue::Exact).unwrap_err().to_string().contains("2^27"));
    }

    #[test]
    fn sketches_give_the_exact_statistic_while_they_are_exact() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0], [3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        let sketch = |values: &[f64]| {
            let mut quantiles = Quantiles::new(200).unwrap();
            quantiles.update_slice(values);
            quantiles
        };
        let estimate = ks_of_quantiles(&sketch(&a), &sketch(&b)).unwrap();
        assert!((estimate.statistic - 0.5).abs() < 1e-12 && estimate.error == 0.0);
        assert!(ks_of_quantiles(&sketch(&a), &sketch(&[])).is_err());
    }

    #[test]
    fn the_error_of_histograms_covers_the_truth() {
        let a: Vec<f64> = (0..500).map(|i| f64::from(i % 100) / 100.0).collect();
        let b: Vec<f64> = (0..400).map(|i| (f64::from(i % 80) / 80.0).powi(2)).collect();
        let truth = ks_two_sample(&a, &b).unwrap().statistic;
        for bins in [2, 5, 20, 100] {
            let fill = |values: &[f64]| {
                let mut histogram = Histogram::equal_width(0.0, 1.0, bins).unwrap();
                values.iter().for_each(|&value| histogram.update(value));
                histogram
            };
            let found = ks_of_histograms(&fill(&a), &fill(&b)).unwrap();
            assert!(found.statistic <= truth + 1e-12 && truth <= found.statistic + found.error + 1e-12, "{found:?}");
        }
    }

    #[test]
    fn values_that_are_not_finite_are_named() {
        let error = ks_two_sample(&[1.0, f64::INFINITY], &[1.0]).unwrap_err().to_string();
        assert_eq!(error, "reference sample, value 1: inf is not finite");
    }
}
