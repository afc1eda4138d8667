//! Epps-Singleton test of two samples.

use statrs::distribution::ContinuousCDF;

use super::distance::sorted;
use super::psi::chi_squared;
use super::two_sample::{TwoSampleTest, at_least};
use crate::{Error, Result};

/// Points at which the characteristic functions are compared, in units of half the pooled interquartile range.
const POINTS: [f64; 2] = [0.4, 0.8];

type Four = [f64; 4];

/// Epps-Singleton test: compares the characteristic functions of two samples at two points.
///
/// More powerful than Kolmogorov-Smirnov in many cases, and right for discrete values too. The statistic follows χ² with 4
/// degrees of freedom (fewer where the covariance is singular), with the authors' correction for fewer than 25 values a side.
///
/// * `reference`, `current`: at least 5 finite numbers each, in any order. `O(n log n)`.
///
/// # Errors
/// [`Error::Invalid`] when a sample has fewer than 5 values or the pooled interquartile range is 0;
/// [`Error::InvalidData`] when a value is not finite.
///
/// # Source
/// Epps, Singleton, *An omnibus test for the two-sample problem using the empirical characteristic function*, J. Stat. Comput.
/// Simul. 26, 1986 (`scipy.stats.epps_singleton_2samp`).
///
/// # Examples
/// ```
/// let a: Vec<f64> = (0..50).map(f64::from).collect();
/// let b: Vec<f64> = a.iter().map(|v| v * 1.5).collect();
/// assert!(mlops_core::stats::epps_singleton(&a, &b)?.p_value < 0.01);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn epps_singleton(reference: &[f64], current: &[f64]) -> Result<TwoSampleTest> {
    at_least(reference, "reference", 5, "at least 5 values")?;
    at_least(current, "current", 5, "at least 5 values")?;
    of_sorted(&sorted(reference, "reference")?, &sorted(current, "current")?)
}

pub(super) fn of_sorted(a: &[f64], b: &[f64]) -> Result<TwoSampleTest> {
    at_least(a, "reference", 5, "at least 5 values")?;
    at_least(b, "current", 5, "at least 5 values")?;
    let (n, m) = (a.len() as f64, b.len() as f64);
    let spread = pooled_range(a, b) / 2.0;
    if !(spread > 0.0 && spread.is_finite()) {
        return Err(Error::invalid("pooled interquartile range", 2.0 * spread, "above 0"));
    }
    let ((mean_a, cov_a), (mean_b, cov_b)) = (moments(a, spread), moments(b, spread));
    let mut covariance = [[0.0; 4]; 4];
    for (i, row) in covariance.iter_mut().enumerate() {
        for (j, cell) in row.iter_mut().enumerate() {
            *cell = (n + m) * (cov_a[i][j] / n + cov_b[i][j] / m);
        }
    }
    let difference = [0, 1, 2, 3].map(|i| mean_a[i] - mean_b[i]);
    let (form, rank) = inverse_form(covariance, difference);
    let rows = n + m;
    let small = 1.0 / (1.0 + rows.powf(-0.45) + 10.1 * (n.powf(-1.7) + m.powf(-1.7)));
    let statistic = rows * form * if n.max(m) < 25.0 { small } else { 1.0 };
    Ok(TwoSampleTest::new(statistic, chi_squared(rank).map_or(1.0, |distribution| distribution.sf(statistic))))
}

/// Interquartile range of both samples together, type 7.
fn pooled_range(a: &[f64], b: &[f64]) -> f64 {
    let mut all = [a, b].concat();
    super::radix::sort(&mut all);
    let quantile = |p: f64| {
        let place = p * (all.len() - 1) as f64;
        let low = place.floor() as usize;
        let high = all[(low + 1).min(all.len() - 1)];
        all[low] + (place - low as f64) * (high - all[low])
    };
    quantile(0.75) - quantile(0.25)
}

/// Means and covariances (over n) of the cosines and sines at both points.
fn moments(sample: &[f64], spread: f64) -> (Four, [Four; 4]) {
    let parts = |x: f64| {
        let [first, second] = POINTS.map(|point| (point / spread * x).sin_cos());
        [first.1, second.1, first.0, second.0]
    };
    let n = sample.len() as f64;
    let mut mean = [0.0; 4];
    for &x in sample {
        for (sum, part) in mean.iter_mut().zip(parts(x)) {
            *sum += part / n;
        }
    }
    let mut covariance = [[0.0; 4]; 4];
    for &x in sample {
        let parts = parts(x);
        let away = [0, 1, 2, 3].map(|i| parts[i] - mean[i]);
        for (row, x) in covariance.iter_mut().zip(away) {
            for (cell, y) in row.iter_mut().zip(away) {
                *cell += x * y / n;
            }
        }
    }
    (mean, covariance)
}

/// `xᵀ A⁺ x` and the rank of the symmetric `A`, from its eigenvectors by Jacobi's rotations.
fn inverse_form(mut a: [Four; 4], x: Four) -> (f64, usize) {
    let mut vectors = [[0.0; 4]; 4];
    for (i, row) in vectors.iter_mut().enumerate() {
        row[i] = 1.0;
    }
    // A handful of sweeps bring the rest below rounding; the bound is for values that never settle.
    for _ in 0..64 {
        let rest: f64 = (0..4).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[i][j].abs()).sum();
        if rest <= f64::MIN_POSITIVE {
            break;
        }
        for p in 0..4 {
            for q in p + 1..4 {
                rotate(&mut a, &mut vectors, p, q);
            }
        }
    }
    let values = [0, 1, 2, 3].map(|i| a[i][i]);
    let least = values.iter().fold(0.0_f64, |most, value| most.max(value.abs())) * 4.0 * f64::EPSILON;
    let mut form = 0.0;
    let mut rank = 0;
    for (i, value) in values.into_iter().enumerate().filter(|(_, value)| *value > least) {
        let along: f64 = (0..4).map(|row| vectors[row][i] * x[row]).sum();
        form += along * along / value;
        rank += 1;
    }
    (form, rank)
}

fn rotate(a: &mut [Four; 4], vectors: &mut [Four; 4], p: usize, q: usize) {
    if a[p][q] == 0.0 {
        return;
    }
    let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
    let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
    let c = 1.0 / t.hypot(1.0);
    let s = t * c;
    for row in a.iter_mut().chain(vectors.iter_mut()) {
        (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
    }
    let (x, y) = (a[p], a[q]);
    a[p] = [0, 1, 2, 3].map(|column| c * x[column] - s * y[column]);
    a[q] = [0, 1, 2, 3].map(|column| s * x[column] + c * y[column]);
}

#[cfg(test)]
mod tests {
    use super::super::two_sample::tests::{agrees, samples, tied};
    use super::*;

    #[test]
    fn agrees_with_scipy() {
        // scipy 1.17.1: epps_singleton_2samp
        let (a, b) = samples();
        agrees(epps_singleton(&a, &b).unwrap(), 3.9580259234181017, 0.41171622675305974);
        agrees(epps_singleton(&a[..12], &b[..17]).unwrap(), 1.4014285286903159, 0.843946693259108);
        let (a, b) = tied();
        agrees(epps_singleton(&a, &b).unwrap(), 40.51858175937462, 3.381041783418559e-08);
    }

    #[test]
    fn too_few_values_and_values_without_spread_are_errors() {
        assert!(epps_singleton(&[1.0; 4], &[1.0; 9]).unwrap_err().to_string().contains("at least 5 values"));
        assert!(epps_singleton(&[1.0; 9], &[1.0; 9]).unwrap_err().to_string().contains("interquartile"));
    }

    #[test]
    fn equal_samples_do_not_differ() {
        let (a, _) = samples();
        let found = epps_singleton(&a, &a).unwrap();
        assert!(found.statistic.abs() < 1e-9 && found.p_value > 0.999_999, "{found:?}");
    }
}
