//! Population stability index: the plain number, and the test that says what chance alone would give.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};

use super::distance::shares;
use crate::Result;

/// Population stability index of `current` against `reference`.
///
/// `PSI = Σ (cᵢ − rᵢ) · ln(cᵢ / rᵢ)` over bin shares, shares below `1e-6` raised to `1e-6`.
///
/// * `reference`, `current`: counts per bin, same length (n ≥ 1), same edges.
/// * Returns a dimensionless value ≥ 0; 0 when the shares are equal.
///
/// A number without its chance level says little: see [`psi_test`].
///
/// # Errors
/// [`crate::Error::Invalid`] when the lengths differ or either side is empty.
///
/// # Source
/// Siddiqi, *Credit Risk Scorecards*, Wiley, 2006.
///
/// # Examples
/// ```
/// let psi = mlops_core::stats::psi(&[50, 50], &[50, 50])?;
/// assert!(psi.abs() < 1e-12);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn psi(reference: &[u64], current: &[u64]) -> Result<f64> {
    Ok(index(shares(reference, current)?.into_iter(), 1e-6))
}

/// `Σ (c − r) ln(c / r)` with shares raised to `floor`, not renormalised.
pub(crate) fn index(shares: impl Iterator<Item = (f64, f64)>, floor: f64) -> f64 {
    shares.map(|(r, c)| (r.max(floor), c.max(floor))).map(|(r, c)| (c - r) * (c / r).ln()).sum()
}

/// What [`psi_test`] finds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PsiTest {
    /// The index, with shares below `1e-4` raised to `1e-4`.
    pub psi: f64,
    /// Bins with rows on either side.
    pub bins: usize,
    /// Mean of the index when nothing has changed: `(bins − 1)(1/n + 1/m)`.
    pub expected_by_chance: f64,
    /// What chance exceeds in 5 of 100 cases.
    pub limit_95: f64,
    /// What chance exceeds in 1 of 100 cases.
    pub limit_99: f64,
    /// Probability of an index at least this large when nothing has changed.
    pub p_value: f64,
}

/// Population stability index with its distribution under no drift.
///
/// Without drift `PSI / (1/n + 1/m)` follows a χ² distribution with `bins − 1` degrees of freedom, about: with 10 bins
/// and 100 rows on both sides the index is 0.18 on average, above the folklore limit of 0.1, by chance alone.
/// The approximation wants some 5 expected rows per bin.
///
/// * `reference`, `current`: counts per bin, same length, same edges; give nulls a bin of their own.
/// * Shares below `1e-4` are raised to `1e-4` without renormalising. Bins that are empty on both sides do not count.
///
/// # Errors
/// [`crate::Error::Invalid`] when the lengths differ or either side is empty.
///
/// # Source
/// Yurdakul, *Statistical properties of population stability index*, Western Michigan University, 2018.
///
/// # Examples
/// ```
/// let test = mlops_core::stats::psi_test(&[250, 250, 250, 250], &[100, 150, 350, 400])?;
/// assert!(test.psi > test.limit_99);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn psi_test(reference: &[u64], current: &[u64]) -> Result<PsiTest> {
    let shares = shares(reference, current)?;
    Ok(psi_test_of(&shares, reference.iter().sum(), current.iter().sum()))
}

/// Shares below this are raised to it.
const FLOOR: f64 = 1e-4;

/// [`psi_test`] over shares of `n` reference rows and `m` current ones.
pub(crate) fn psi_test_of(shares: &[(f64, f64)], n: u64, m: u64) -> PsiTest {
    let used = shares.iter().copied().filter(|&(r, c)| r > 0.0 || c > 0.0);
    let bins = used.clone().count();
    let psi = index(used, FLOOR);
    let scale = 1.0 / n as f64 + 1.0 / m as f64;
    match chi_squared(bins.saturating_sub(1)) {
        None => PsiTest { psi, bins, expected_by_chance: 0.0, limit_95: 0.0, limit_99: 0.0, p_value: 1.0 },
        Some(distribution) => PsiTest {
            psi,
            bins,
            expected_by_chance: (bins - 1) as f64 * scale,
            limit_95: distribution.inverse_cdf(0.95) * scale,
            limit_99: distribution.inverse_cdf(0.99) * scale,
            p_value: distribution.sf(psi / scale).clamp(0.0, 1.0),
        },
    }
}

/// χ² with so many degrees of freedom; `None` without any.
pub(crate) fn chi_squared(degrees: usize) -> Option<ChiSquared> {
    if degrees == 0 { None } else { ChiSquared::new(degrees as f64).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1e-3), "{found} is not {expected}");
    }

    #[test]
    fn the_plain_index_is_that_of_the_formula() {
        // By hand: (0.25−0.5)·ln(0.5) + (0.75−0.5)·ln(1.5) = 0.25·ln 3
        close(psi(&[50, 50], &[25, 75]).unwrap(), 0.25 * 3_f64.ln());
        // An empty bin counts as one in a million: (1e-6 − 0.5)·ln(2e-6) + (1 − 0.5)·ln 2
        let expected = (1e-6 - 0.5) * 2e-6_f64.ln() + 0.5 * 2_f64.ln();
        close(psi(&[1, 1], &[0, 9]).unwrap(), expected);
    }

    #[test]
    fn chance_level_and_limits_are_those_of_the_chi_square() {
        // scipy 1.17.1: chi2.ppf([.95, .99], 9) = [16.918977604620448, 21.665994333461924]
        let test = psi_test(&[10; 10], &[10; 10]).unwrap();
        close(test.expected_by_chance, 9.0 * 0.02);
        close(test.limit_95, 16.918_977_604_620_448 * 0.02);
        close(test.limit_99, 21.665_994_333_461_924 * 0.02);
        close(test.p_value, 1.0);
    }

    #[test]
    fn the_p_value_is_that_of_scipy() {
        // scipy 1.17.1: chi2.sf(0.25·ln 3 / (1/100 + 1/100), 1)
        close(psi_test(&[50, 50], &[25, 75]).unwrap().p_value, 0.000_210_758_201_698_196_1);
    }

    #[test]
    fn bins_that_are_empty_on_both_sides_do_not_count() {
        let test = psi_test(&[5, 0, 5], &[7, 0, 3]).unwrap();
        assert_eq!(test.bins, 2);
        assert_eq!(psi_test(&[5, 0], &[7, 0]).unwrap().p_value, 1.0);
    }

    #[test]
    fn differing_lengths_and_empty_sides_are_errors() {
        assert!(psi(&[1], &[1, 1]).is_err());
        assert!(psi(&[], &[]).is_err());
        assert!(psi_test(&[0, 0], &[1, 1]).is_err());
    }
}
