//! Distances between two distributions: over counts of the same bins, or over two samples.

use super::radix;
use crate::{Error, Result};

/// Shares of two vectors of counts.
pub(crate) fn shares(reference: &[u64], current: &[u64]) -> Result<Vec<(f64, f64)>> {
    if reference.len() != current.len() {
        return Err(Error::invalid("number of current bins", current.len(), "that of the reference"));
    }
    let total = |counts: &[u64], which: &'static str| match counts.iter().map(|&count| count as f64).sum::<f64>() {
        total if total > 0.0 => Ok(total),
        _ => Err(Error::invalid(which, 0, "above 0")),
    };
    let (n, m) = (total(reference, "rows of the reference")?, total(current, "rows of the current data")?);
    Ok(reference.iter().zip(current).map(|(&r, &c)| (r as f64 / n, c as f64 / m)).collect())
}

/// Jensen-Shannon divergence in bits: in `0..=1`, symmetric, 0 when the shares are equal.
///
/// `JSD = ½ KL(p ‖ m) + ½ KL(q ‖ m)` with `m = (p + q) / 2` and logarithms to base 2. The distance of scipy
/// (`jensenshannon(p, q, base=2)`) is its square root, [`js_distance`].
///
/// * `reference`, `current`: counts per bin, same length, same edges.
///
/// # Errors
/// [`Error::Invalid`] when the lengths differ or either side is empty.
///
/// # Source
/// Lin, *Divergence measures based on the Shannon entropy*, IEEE Trans. Inf. Theory 37, 1991.
pub fn js_divergence(reference: &[u64], current: &[u64]) -> Result<f64> {
    let half = |p: f64, mean: f64| if p > 0.0 { 0.5 * p * (p / mean).log2() } else { 0.0 };
    let terms = shares(reference, current)?.into_iter().map(|(p, q)| {
        let mean = f64::midpoint(p, q);
        half(p, mean) + half(q, mean)
    });
    Ok(terms.sum::<f64>().clamp(0.0, 1.0))
}

/// Square root of [`js_divergence`]: a metric, in `0..=1`.
///
/// # Errors
/// As [`js_divergence`].
///
/// # Source
/// Endres, Schindelin, *A new metric for probability distributions*, IEEE Trans. Inf. Theory 49, 2003.
pub fn js_distance(reference: &[u64], current: &[u64]) -> Result<f64> {
    js_divergence(reference, current).map(f64::sqrt)
}

/// Kullback-Leibler divergence `Σ cᵢ ln(cᵢ / rᵢ)` of `current` from `reference` in nats, at least 0.
///
/// Infinite when `current` has rows in a bin where `reference` has none; no smoothing is done.
///
/// # Errors
/// [`Error::Invalid`] when the lengths differ or either side is empty.
///
/// # Source
/// Kullback, Leibler, *On information and sufficiency*, Ann. Math. Statist. 22, 1951.
pub fn kl_divergence(reference: &[u64], current: &[u64]) -> Result<f64> {
    let terms = shares(reference, current)?.into_iter().map(|(r, c)| if c > 0.0 { c * (c / r).ln() } else { 0.0 });
    Ok(terms.sum::<f64>().max(0.0))
}

/// Total variation distance `½ Σ |cᵢ − rᵢ|`, in `0..=1`: by how much the probability of any set of bins can differ.
///
/// # Errors
/// [`Error::Invalid`] when the lengths differ or either side is empty.
pub fn total_variation(reference: &[u64], current: &[u64]) -> Result<f64> {
    let sum: f64 = shares(reference, current)?.into_iter().map(|(r, c)| (c - r).abs()).sum();
    Ok((sum / 2.0).min(1.0))
}

/// Hellinger distance `√(½ Σ (√cᵢ − √rᵢ)²)`, in `0..=1`.
///
/// # Errors
/// [`Error::Invalid`] when the lengths differ or either side is empty.
///
/// # Source
/// Hellinger, *Neue Begründung der Theorie quadratischer Formen von unendlichvielen Veränderlichen*, 1909.
pub fn hellinger(reference: &[u64], current: &[u64]) -> Result<f64> {
    let sum: f64 = shares(reference, current)?.into_iter().map(|(r, c)| (c.sqrt() - r.sqrt()).powi(2)).sum();
    Ok((sum / 2.0).sqrt().min(1.0))
}

/// Wasserstein distance of order 1 between two samples: the area between their distribution functions, in the unit of the values.
///
/// `O(n log n)`; order does not matter. A single far outlier moves it as far as it lies away, divided by `n`.
///
/// # Errors
/// [`Error::Invalid`] when a sample is empty, [`Error::InvalidData`] when a value is not finite.
///
/// # Source
/// Vallender, *Calculation of the Wasserstein distance between probability distributions on the line*, 1974
/// (`scipy.stats.wasserstein_distance`).
pub fn wasserstein_1d(reference: &[f64], current: &[f64]) -> Result<f64> {
    Ok(wasserstein_of_sorted(&sorted(reference, "reference")?, &sorted(current, "current")?))
}

/// [`wasserstein_1d`] of sorted samples that are not empty.
pub(crate) fn wasserstein_of_sorted(reference: &[f64], current: &[f64]) -> f64 {
    let (n, m) = (reference.len() as f64, current.len() as f64);
    let (mut i, mut j, mut area) = (0, 0, 0.0);
    let mut last = reference[0].min(current[0]);
    while i < reference.len() || j < current.len() {
        let next = match (reference.get(i), current.get(j)) {
            (Some(&a), Some(&b)) => a.min(b),
            (Some(&only), None) | (None, Some(&only)) => only,
            (None, None) => break,
        };
        area += (next - last) * (i as f64 / n - j as f64 / m).abs();
        last = next;
        while reference.get(i).is_some_and(|&v| v <= next) {
            i += 1;
        }
        while current.get(j).is_some_and(|&v| v <= next) {
            j += 1;
        }
    }
    area
}

/// A sorted copy of a sample of finite numbers.
pub(crate) fn sorted(sample: &[f64], which: &'static str) -> Result<Vec<f64>> {
    if sample.is_empty() {
        return Err(Error::invalid("sample", which, "at least one value"));
    }
    check_finite(sample, which)?;
    let mut copy = sample.to_vec();
    radix::sort(&mut copy);
    Ok(copy)
}

pub(crate) fn check_finite(sample: &[f64], which: &'static str) -> Result<()> {
    match sample.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some((place, value)) => {
            let what = format!("{which} sample, value {place}");
            Err(Error::invalid_data(what, format_args!("{value} is not finite")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{found} is not {expected}");
    }

    // scipy 1.17.1, numpy 2.4.6, p = [.1, .4, .5], q = [.25, .25, .5]
    const REFERENCE: [u64; 3] = [10, 40, 50];
    const CURRENT: [u64; 3] = [5, 5, 10];

    #[test]
    fn distances_over_counts_agree_with_scipy() {
        close(js_distance(&REFERENCE, &CURRENT).unwrap(), 0.191_185_783_901_170_2);
        close(js_divergence(&REFERENCE, &CURRENT).unwrap(), 0.191_185_783_901_170_2_f64.powi(2));
        close(kl_divergence(&REFERENCE, &CURRENT).unwrap(), 0.111_571_775_657_104_87);
        close(hellinger(&REFERENCE, &CURRENT).unwrap(), 0.160_182_243_006_967_23);
        close(total_variation(&REFERENCE, &CURRENT).unwrap(), 0.15);
    }

    #[test]
    fn disjoint_counts_are_as_far_as_can_be() {
        let (a, b) = ([1, 0], [0, 7]);
        close(js_divergence(&a, &b).unwrap(), 1.0);
        close(hellinger(&a, &b).unwrap(), 1.0);
        close(total_variation(&a, &b).unwrap(), 1.0);
        assert_eq!(kl_divergence(&a, &b).unwrap(), f64::INFINITY);
    }

    #[test]
    fn equal_shares_have_no_distance() {
        for distance in [js_divergence, kl_divergence, total_variation, hellinger] {
            close(distance(&[1, 2, 0], &[10, 20, 0]).unwrap(), 0.0);
        }
    }

    #[test]
    fn wasserstein_agrees_with_scipy() {
        // scipy 1.17.1 wasserstein_distance
        close(wasserstein_1d(&[0.0, 1.0, 3.0], &[5.0, 6.0, 8.0]).unwrap(), 5.0);
        close(wasserstein_1d(&[3.0, 1.0, 0.0, 1.0], &[2.0, 2.0, -1.0]).unwrap(), 13.0 / 12.0);
        close(wasserstein_1d(&[1.5], &[1.5, 1.5]).unwrap(), 0.0);
    }

    #[test]
    fn bad_input_is_named() {
        assert!(js_divergence(&[1], &[1, 2]).unwrap_err().to_string().contains("bins"));
        assert!(hellinger(&[0, 0], &[1, 2]).unwrap_err().to_string().contains("reference"));
        assert!(total_variation(&[1], &[0]).unwrap_err().to_string().contains("current"));
        let error = wasserstein_1d(&[1.0], &[0.0, f64::NAN]).unwrap_err().to_string();
        assert!(error.contains("current sample, value 1"), "{error}");
        assert!(wasserstein_1d(&[], &[0.0]).is_err());
    }

    #[test]
    fn shares_that_round_up_stay_within_one() {
        // Their sum is 1 + 2^-52.
        let reference = [8, 5, 1, 7, 9, 0, 0, 0, 0, 0];
        let current = [0, 0, 0, 0, 0, 2, 3, 5, 2, 6];
        assert_eq!(total_variation(&reference, &current).unwrap(), 1.0);
    }
}
