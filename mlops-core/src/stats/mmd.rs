//! Maximum mean discrepancy of two samples.

use super::distance::sorted;
use super::two_sample::at_least;
use crate::{Error, Result};

/// Values of a sample beyond which its pairs are too many.
const SIDE_MAX: usize = 4_096;

/// Squared maximum mean discrepancy with a Gaussian kernel of standard deviation `bandwidth`, unbiased.
///
/// `mean k(x, x′) + mean k(y, y′) − 2 mean k(x, y)` over different pairs, with `k(x, y) = exp(−(x − y)² / 2σ²)`: 0 on average when
/// nothing differs, and then as often below, at most 2. Sees any difference, at the scale of the bandwidth.
///
/// * `reference`, `current`: 2 to 4096 finite numbers each, in any order: draw a sample of longer ones. `O((n + m)²)`.
/// * `bandwidth`: in the unit of the values; without one, the median distance of all pairs of both samples together.
///
/// # Errors
/// [`Error::Invalid`] when a sample is too small or too large, or the bandwidth is not above 0 (half of all pairs may be
/// equal: then give one); [`Error::InvalidData`] when a value is not finite.
///
/// # Source
/// Gretton, Borgwardt, Rasch, Schölkopf, Smola, *A kernel two-sample test*, J. Mach. Learn. Res. 13, 2012, equation 3.
///
/// # Examples
/// ```
/// let (a, b) = ([0.0, 1.0, 2.0, 3.0], [10.0, 11.0, 12.0, 13.0]);
/// let far = mlops_core::stats::mmd_unbiased(&a, &b, Some(1.0))?;
/// assert!(far > 0.5);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn mmd_unbiased(reference: &[f64], current: &[f64], bandwidth: Option<f64>) -> Result<f64> {
    for (sample, which) in [(reference, "reference"), (current, "current")] {
        at_least(sample, which, 2, "at least 2 values")?;
        if sample.len() > SIDE_MAX {
            return Err(Error::invalid(which, sample.len(), "at most 4096 values"));
        }
    }
    let (a, b) = (sorted(reference, "reference")?, sorted(current, "current")?);
    let bandwidth = bandwidth.unwrap_or_else(|| median_distance(&a, &b));
    if !(bandwidth > 0.0 && bandwidth.is_finite()) {
        return Err(Error::invalid("bandwidth", bandwidth, "above 0"));
    }
    let kernel = |x: f64, y: f64| (-((x - y) / bandwidth).powi(2) / 2.0).exp();
    // Each pair within a sample once, for half of the mean over ordered pairs.
    let within = |sample: &[f64]| {
        let pairs = sample.iter().enumerate().flat_map(|(i, &x)| sample[..i].iter().map(move |&y| kernel(x, y)));
        let n = sample.len() as f64;
        2.0 * pairs.sum::<f64>() / (n * (n - 1.0))
    };
    let across: f64 = a.iter().flat_map(|&x| b.iter().map(move |&y| kernel(x, y))).sum();
    Ok(within(&a) + within(&b) - 2.0 * across / (a.len() as f64 * b.len() as f64))
}

/// The smallest distance that at least half of all pairs do not exceed.
fn median_distance(a: &[f64], b: &[f64]) -> f64 {
    let mut all = [a, b].concat();
    super::radix::sort(&mut all);
    let pairs = all.len() * (all.len() - 1) / 2;
    // Distances that are not negative are ordered as their bits are.
    let (mut low, mut high) = (0_u64, (all[all.len() - 1] - all[0]).to_bits());
    while low < high {
        let middle = low + (high - low) / 2;
        if 2 * pairs_within(&all, f64::from_bits(middle)) >= pairs {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    f64::from_bits(low)
}

fn pairs_within(sorted: &[f64], distance: f64) -> usize {
    let mut first = 0;
    let mut count = 0;
    for (place, value) in sorted.iter().enumerate() {
        while value - sorted[first] > distance {
            first += 1;
        }
        count += place - first;
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::two_sample::tests::{samples, tied};
    use super::*;

    #[track_caller]
    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn agrees_with_numpy() {
        // numpy 2.4.6: the formula over np.subtract.outer; the median is the lower one of all pairs
        let (a, b) = samples();
        let far: Vec<f64> = b.iter().map(|v| v + 0.3).collect();
        close(mmd_unbiased(&a, &b, None).unwrap(), -0.005338698448367207);
        close(mmd_unbiased(&a, &far, None).unwrap(), 0.15583298129309098);
        close(mmd_unbiased(&a, &far, Some(0.1)).unwrap(), 0.10066491873364375);
        let (x, y) = tied();
        close(mmd_unbiased(&x, &y, None).unwrap(), 0.11007598191634771);
    }

    #[test]
    fn sizes_and_bandwidths_out_of_bounds_are_named() {
        let long = vec![0.0; SIDE_MAX + 1];
        assert!(mmd_unbiased(&[1.0], &[1.0, 2.0], None).unwrap_err().to_string().contains("reference"));
        assert!(mmd_unbiased(&[1.0, 2.0], &long, None).unwrap_err().to_string().contains("4096"));
        assert!(mmd_unbiased(&[1.0; 3], &[1.0; 3], None).unwrap_err().to_string().contains("bandwidth"));
        assert!(mmd_unbiased(&[1.0, 2.0], &[1.0, 2.0], Some(-1.0)).is_err());
        assert!(mmd_unbiased(&[f64::MIN, f64::MAX], &[f64::MIN, f64::MAX], None).is_err());
    }

    proptest! {
        #[test]
        fn it_is_symmetric_bounded_and_order_free(
            a in prop::collection::vec(-5.0..5.0_f64, 2..40), b in prop::collection::vec(-5.0..5.0_f64, 2..40),
        ) {
            let found = mmd_unbiased(&a, &b, Some(1.0)).unwrap();
            prop_assert!((-2.0..=2.0).contains(&found));
            prop_assert!((mmd_unbiased(&b, &a, Some(1.0)).unwrap() - found).abs() < 1e-12);
            let reversed: Vec<f64> = a.iter().rev().copied().collect();
            prop_assert_eq!(mmd_unbiased(&reversed, &b, Some(1.0)).unwrap(), found);
        }
    }
}
