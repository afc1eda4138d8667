//! Likelihood-ratio test of two columns of counts.

use statrs::distribution::ContinuousCDF;

use super::distance::shares;
use super::psi::chi_squared;
use super::two_sample::TwoSampleTest;
use crate::Result;

/// G-test of homogeneity: `2 Σ observed · ln(observed / expected)` over both samples, χ² with categories − 1 degrees of freedom.
///
/// Categories without rows are left out; nothing is merged, so mind rare ones ([`super::chi2_two_sample`] merges them).
///
/// * `reference`, `current`: counts per category, same length.
///
/// # Errors
/// [`crate::Error::Invalid`] when the lengths differ or either side is empty.
///
/// # Source
/// Wilks 1935; Woolf, *The log likelihood ratio test*, Ann. Hum. Genet. 21, 1957
/// (`scipy.stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")`).
///
/// # Examples
/// ```
/// let test = mlops_core::stats::g_test(&[50, 50], &[30, 70])?;
/// assert!(test.statistic > 8.0 && test.p_value < 0.01);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn g_test(reference: &[u64], current: &[u64]) -> Result<TwoSampleTest> {
    shares(reference, current)?;
    let total = |counts: &[u64]| counts.iter().map(|&count| count as f64).sum::<f64>();
    let (n, m) = (total(reference), total(current));
    let part = |observed: f64, expected: f64| if observed > 0.0 { observed * (observed / expected).ln() } else { 0.0 };
    let (mut sum, mut used) = (0.0, 0_usize);
    for (&r, &c) in reference.iter().zip(current) {
        let (r, c) = (r as f64, c as f64);
        if r + c > 0.0 {
            used += 1;
            sum += part(r, (r + c) * (n / (n + m))) + part(c, (r + c) * (m / (n + m)));
        }
    }
    let statistic = (2.0 * sum).max(0.0);
    Ok(TwoSampleTest::new(statistic, chi_squared(used - 1).map_or(1.0, |distribution| distribution.sf(statistic))))
}

#[cfg(test)]
mod tests {
    use super::super::two_sample::tests::agrees;
    use super::*;

    #[test]
    fn agrees_with_scipy() {
        // scipy 1.17.1: chi2_contingency([[10, 20, 70], [30, 30, 90]], correction=False, lambda_="log-likelihood")
        agrees(g_test(&[10, 20, 70], &[30, 30, 90]).unwrap(), 4.917308905731261, 0.0855499850953352);
        agrees(g_test(&[10, 0, 70, 0], &[30, 30, 90, 0]).unwrap(), 32.91427443000079, 7.124528360541233e-08);
    }

    #[test]
    fn equal_shares_and_single_categories_cannot_differ() {
        assert!(g_test(&[10, 20], &[30, 60]).unwrap().p_value > 0.999_999);
        agrees(g_test(&[7], &[9]).unwrap(), 0.0, 1.0);
        assert!(g_test(&[0], &[9]).is_err() && g_test(&[1], &[1, 2]).is_err());
    }
}
