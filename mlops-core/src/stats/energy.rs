//! Energy distance of two samples.

use super::distance::sorted;
use super::two_sample::runs;
use crate::Result;

/// Energy distance `√(2 ∫ (F − G)²)` between two samples, in the square root of the unit of the values; 0 when they are equal.
///
/// Equals `√(2 E|X − Y| − E|X − X′| − E|Y − Y′|)`. Less than the Wasserstein distance does it weigh a thin far tail.
///
/// * `reference`, `current`: finite numbers in any order. `O(n log n)`.
///
/// # Errors
/// [`crate::Error::Invalid`] when a sample is empty, [`crate::Error::InvalidData`] when a value is not finite.
///
/// # Source
/// Székely, *E-statistics: the energy of statistical samples*, Bowling Green State University, 2002
/// (`scipy.stats.energy_distance`).
///
/// # Examples
/// ```
/// let distance = mlops_core::stats::energy_distance(&[0.0], &[8.0])?;
/// assert_eq!(distance, 4.0);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn energy_distance(reference: &[f64], current: &[f64]) -> Result<f64> {
    Ok(of_sorted(&sorted(reference, "reference")?, &sorted(current, "current")?))
}

pub(super) fn of_sorted(a: &[f64], b: &[f64]) -> f64 {
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (mut area, mut i, mut j, mut last) = (0.0, 0, 0, f64::NAN);
    for (value, x, y) in runs(a, b) {
        if i + j > 0 {
            area += (value - last) * (i as f64 / n - j as f64 / m).powi(2);
        }
        (i, j, last) = (i + x, j + y, value);
    }
    (2.0 * area).sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::two_sample::tests::{samples, tied};
    use super::*;

    #[test]
    fn agrees_with_scipy() {
        // scipy 1.17.1: energy_distance
        for ((a, b), expected) in [(samples(), 0.028531815347352416), (tied(), 0.7103645321910725)] {
            let found = energy_distance(&a, &b).unwrap();
            assert!((found - expected).abs() < 1e-12, "{found}");
        }
        assert!(energy_distance(&[], &[1.0]).is_err());
    }

    proptest! {
        #[test]
        fn it_is_that_of_mean_distances(
            a in prop::collection::vec(-9.0..9.0_f64, 1..30), b in prop::collection::vec(-9.0..9.0_f64, 1..30),
        ) {
            let mean = |x: &[f64], y: &[f64]| {
                x.iter().flat_map(|a| y.iter().map(move |b| (a - b).abs())).sum::<f64>() / (x.len() * y.len()) as f64
            };
            let square = 2.0 * mean(&a, &b) - mean(&a, &a) - mean(&b, &b);
            prop_assert!((energy_distance(&a, &b).unwrap().powi(2) - square).abs() < 1e-9);
            prop_assert_eq!(energy_distance(&a, &a).unwrap(), 0.0);
        }
    }
}
