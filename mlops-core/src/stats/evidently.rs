//! Distances binned and scaled as Evidently bins and scales them, for the same numbers.
//!
//! Not recommended beside our own: the bins span the pooled range, so that one far outlier takes all resolution from them.

use super::Moments;
use super::distance::{sorted, wasserstein_of_sorted};
use super::two_sample::runs;
use crate::{Error, Result};

/// Different values of the reference above which Evidently bins numbers instead of counting values.
const VALUES_MAX: usize = 20;
/// What an empty share becomes, unless other shares are as small.
const ZERO: f64 = 1e-4;

/// Population stability index of numbers, as Evidently computes it.
///
/// With more than 20 different reference values: Sturges' number of equally wide bins over both samples together, otherwise one
/// bin per value. An empty share becomes `1e-4`, or a millionth of the smallest other share where that is at most `1e-4`.
/// Evidently calls 0.1 and above drift.
///
/// * `reference`, `current`: finite numbers in any order.
///
/// # Errors
/// [`Error::Invalid`] when a sample is empty, [`Error::InvalidData`] when a value is not finite.
///
/// # Source
/// Evidently 0.7.23, `evidently/legacy/calculations/stattests/{psi,utils}.py`.
///
/// # Examples
/// ```
/// let reference: Vec<f64> = (0..100).map(f64::from).collect();
/// let current: Vec<f64> = reference.iter().map(|v| v * 0.5).collect();
/// assert!(mlops_core::stats::psi_evidently(&reference, &current)? > 0.1);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn psi_evidently(reference: &[f64], current: &[f64]) -> Result<f64> {
    let counts = binned(&sorted(reference, "reference")?, &sorted(current, "current")?);
    Ok(psi_of_counts(&counts))
}

/// [`psi_evidently`] of a column of categories: counts per category of both sides, of the same length.
///
/// # Errors
/// [`Error::Invalid`] when the lengths differ or either side is empty.
pub fn psi_evidently_of_counts(reference: &[u64], current: &[u64]) -> Result<f64> {
    super::distance::shares(reference, current)?;
    Ok(psi_of_counts(&reference.iter().copied().zip(current.iter().copied()).collect::<Vec<_>>()))
}

/// Jensen-Shannon distance (natural logarithm, square root) over the bins of [`psi_evidently`], empty shares left empty.
///
/// # Errors
/// As [`psi_evidently`].
///
/// # Source
/// Evidently 0.7.23, `jensenshannon.py` (`scipy.spatial.distance.jensenshannon`).
pub fn js_evidently(reference: &[f64], current: &[f64]) -> Result<f64> {
    let counts = binned(&sorted(reference, "reference")?, &sorted(current, "current")?);
    let (r, c): (Vec<u64>, Vec<u64>) = counts.into_iter().unzip();
    Ok((super::js_divergence(&r, &c)? * std::f64::consts::LN_2).sqrt())
}

/// Wasserstein distance over the standard deviation (ddof 0) of the reference, or over 0.001 where that is smaller.
///
/// # Errors
/// [`Error::Invalid`] when a sample is empty, [`Error::InvalidData`] when a value is not finite or its square leaves the range
/// of `f64`.
///
/// # Source
/// Evidently 0.7.23, `wasserstein_distance_norm.py`.
///
/// # Examples
/// ```
/// let distance = mlops_core::stats::wasserstein_evidently(&[0.0, 2.0], &[1.0, 3.0])?;
/// assert_eq!(distance, 1.0);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn wasserstein_evidently(reference: &[f64], current: &[f64]) -> Result<f64> {
    scaled_of_sorted(&sorted(reference, "reference")?, &sorted(current, "current")?)
}

pub(super) fn scaled_of_sorted(reference: &[f64], current: &[f64]) -> Result<f64> {
    let mut moments = Moments::default();
    moments.update_slice(reference);
    let Some(deviation) = moments.standard_deviation(0) else {
        return Err(Error::invalid_data("reference sample", "its squares leave the range of numbers"));
    };
    Ok(wasserstein_of_sorted(reference, current) / deviation.max(0.001))
}

/// Counts of both sides per bin, of sorted samples that are not empty.
pub(super) fn binned(reference: &[f64], current: &[f64]) -> Vec<(u64, u64)> {
    let different = 1 + reference.windows(2).filter(|pair| pair[0] != pair[1]).take(VALUES_MAX).count();
    if different <= VALUES_MAX {
        return counted(reference, current, usize::MAX);
    }
    let edges = sturges(reference, current);
    let (r, c) = (histogram(reference, &edges), histogram(current, &edges));
    r.into_iter().zip(c).collect()
}

/// Counts of both sides per value in order, of at most one value more than `most`.
pub(super) fn counted(reference: &[f64], current: &[f64], most: usize) -> Vec<(u64, u64)> {
    let runs = runs(reference, current).map(|(_, r, c)| (r as u64, c as u64));
    runs.take(most.saturating_add(1)).collect()
}

/// numpy's `histogram_bin_edges(pooled, "sturges")`.
fn sturges(reference: &[f64], current: &[f64]) -> Vec<f64> {
    let low = reference[0].min(current[0]);
    let high = reference[reference.len() - 1].max(current[current.len() - 1]);
    let rows = (reference.len() + current.len()) as f64;
    let width = (high - low) / (rows.log2() + 1.0);
    let bins = ((high - low) / width).ceil().max(1.0) as usize;
    let step = (high - low) / bins as f64;
    (0..=bins).map(|i| if i == bins { high } else { low + step * i as f64 }).collect()
}

/// numpy's `histogram` over given edges: half-open bins, the last one closed.
fn histogram(sorted: &[f64], edges: &[f64]) -> Vec<u64> {
    let last = edges.len() - 1;
    let upto = |i: usize| if i == last { sorted.len() } else { sorted.partition_point(|&value| value < edges[i]) };
    (0..last).map(|i| (upto(i + 1) - upto(i)) as u64).collect()
}

fn psi_of_counts(counts: &[(u64, u64)]) -> f64 {
    let side = |count: &dyn Fn(&(u64, u64)) -> u64| {
        let total: f64 = counts.iter().map(|both| count(both) as f64).sum();
        let shares: Vec<f64> = counts.iter().map(|both| count(both) as f64 / total).collect();
        let least = shares.iter().copied().filter(|&share| share > 0.0).fold(f64::INFINITY, f64::min);
        let zero = if least <= ZERO { least / 1e6 } else { ZERO };
        shares.into_iter().map(|share| if share > 0.0 { share } else { zero }).collect::<Vec<f64>>()
    };
    let (r, c) = (side(&|both| both.0), side(&|both| both.1));
    r.iter().zip(&c).map(|(r, c)| (r - c) * (r / c).ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::super::two_sample::tests::{samples, tied};
    use super::*;

    #[track_caller]
    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-10 * expected.abs(), "{found} is not {expected}");
    }

    #[test]
    fn numbers_are_those_of_the_stated_algorithm() {
        // numpy 2.4.6, scipy 1.17.1: the algorithm of Evidently 0.7.23 as its source states it, run on the same sequences
        let ((a, b), (x, y)) = (samples(), tied());
        close(psi_evidently(&a, &b).unwrap(), 0.027121065124247425);
        close(psi_evidently(&x, &y).unwrap(), 4.267057348954649);
        close(js_evidently(&a, &b).unwrap(), 0.05810936684189308);
        close(wasserstein_evidently(&a, &b).unwrap(), 0.05713444889435637);
        close(psi_evidently_of_counts(&[500, 0, 500], &[400, 100, 500]).unwrap(), 0.7123991075017365);
    }

    #[test]
    fn one_outlier_in_the_reference_hides_a_shift_as_it_does_there() {
        // Why this is for parity only.
        let (a, b) = samples();
        let shifted: Vec<f64> = b.iter().map(|v| v + 0.5).collect();
        let clean = psi_evidently(&a, &shifted).unwrap();
        let spoilt = psi_evidently(&[&a[..], &[1e6]].concat(), &shifted).unwrap();
        assert!(clean > 1.0 && spoilt < 0.1, "{clean} {spoilt}");
    }

    #[test]
    fn empty_samples_are_errors() {
        assert!(psi_evidently(&[], &[1.0]).is_err() && wasserstein_evidently(&[1.0], &[]).is_err());
        assert!(psi_evidently_of_counts(&[0], &[1]).is_err());
    }
}
