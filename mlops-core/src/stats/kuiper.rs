//! Two-sample Kuiper test.

use super::distance::sorted;
use super::two_sample::{TwoSampleTest, runs};
use crate::Result;

/// Two-sample Kuiper test: the greatest difference of the distribution functions upwards plus that downwards.
///
/// As sensitive in the tails as in the middle, and the same wherever a circle (hours, directions) is cut open. The p-value is
/// that of the limit with Stephens' correction: good from some 20 values a side, conservative with ties.
///
/// * `reference`, `current`: finite numbers in any order. `O(n log n)`. The statistic is in `0..=2`.
///
/// # Errors
/// [`crate::Error::Invalid`] when a sample is empty, [`crate::Error::InvalidData`] when a value is not finite.
///
/// # Source
/// Kuiper, *Tests concerning random points on a circle*, Proc. K. Ned. Akad. Wet. A 63, 1960; Stephens, *Use of the
/// Kolmogorov-Smirnov, Cramér-von Mises and related statistics without extensive tables*, J. R. Stat. Soc. B 32, 1970.
///
/// # Examples
/// ```
/// let test = mlops_core::stats::kuiper(&[0.1, 0.2, 0.3], &[1.1, 1.2, 1.3])?;
/// assert_eq!(test.statistic, 1.0);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn kuiper(reference: &[f64], current: &[f64]) -> Result<TwoSampleTest> {
    Ok(of_sorted(&sorted(reference, "reference")?, &sorted(current, "current")?))
}

pub(super) fn of_sorted(a: &[f64], b: &[f64]) -> TwoSampleTest {
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (mut up, mut down, mut i, mut j) = (0.0_f64, 0.0_f64, 0, 0);
    for (_, x, y) in runs(a, b) {
        (i, j) = (i + x, j + y);
        let gap = (i as f64 * m - j as f64 * n) / (n * m);
        (up, down) = (up.max(gap), down.max(-gap));
    }
    let statistic = up + down;
    let root = (n * m / (n + m)).sqrt();
    TwoSampleTest::new(statistic, limit((root + 0.155 + 0.24 / root) * statistic))
}

/// `2 Σ (4 j² λ² − 1) exp(−2 j² λ²)`.
fn limit(lambda: f64) -> f64 {
    // Below, the sum is 1 to all digits and converges too slowly to say so.
    if lambda < 0.4 {
        return 1.0;
    }
    let term = |j: f64| {
        let square = (j * lambda).powi(2);
        (4.0 * square - 1.0) * (-2.0 * square).exp()
    };
    2.0 * (1..100).map(|j| term(f64::from(j))).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::two_sample::tests::{agrees, samples, tied};
    use super::*;

    #[test]
    fn agrees_with_the_formula() {
        // numpy 2.4.6, the formulas of the source over np.searchsorted distribution functions
        let (a, b) = samples();
        agrees(kuiper(&a, &b).unwrap(), 0.08085026512129884, 0.9980193379112442);
        let (a, b) = tied();
        agrees(kuiper(&a, &b).unwrap(), 0.4136363636363636, 0.005894871473592017);
        assert_eq!(kuiper(&a, &a).unwrap(), TwoSampleTest { statistic: 0.0, p_value: 1.0 });
        assert!(kuiper(&[], &a).is_err());
    }

    proptest! {
        #[test]
        fn where_a_circle_is_cut_open_does_not_matter(
            a in prop::collection::vec(0..24_u32, 1..60), b in prop::collection::vec(0..24_u32, 1..60), cut in 0..24_u32,
        ) {
            let hours = |values: &[u32], turn: u32| values.iter().map(|h| f64::from((h + turn) % 24)).collect::<Vec<_>>();
            let found = kuiper(&hours(&a, 0), &hours(&b, 0)).unwrap().statistic;
            let turned = kuiper(&hours(&a, cut), &hours(&b, cut)).unwrap().statistic;
            prop_assert!((found - turned).abs() < 1e-12, "{found} {turned}");
        }
    }
}
