//! z-test of two proportions.

use super::two_sample::{TwoSampleTest, normal_two_sided};
use crate::{Error, Result};

/// z-test of two proportions, with the pooled variance and without a correction for continuity.
///
/// `z = (p − q) / √(s (1 − s) (1/n + 1/m))` with the pooled share `s`, two-sided. For few rows use [`super::fisher_exact`]. Where all
/// rows are yes, or none, z is 0 and p is 1.
///
/// * `reference`, `current`: how many yes and how many no.
///
/// # Errors
/// [`Error::Invalid`] when a side has no rows.
///
/// # Source
/// The square of z is Pearson's χ² of the table (`scipy.stats.chi2_contingency(table, correction=False)`); Evidently's
/// `z` test for columns of two values.
///
/// # Examples
/// ```
/// let test = mlops_core::stats::proportions_z([50, 50], [30, 70])?;
/// assert!((test.statistic.powi(2) - 25.0 / 3.0).abs() < 1e-12);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn proportions_z(reference: [u64; 2], current: [u64; 2]) -> Result<TwoSampleTest> {
    let side = |counts: [u64; 2], which: &'static str| {
        let [yes, no] = counts.map(|count| count as f64);
        if yes + no > 0.0 { Ok((yes, yes + no)) } else { Err(Error::invalid(which, 0, "above 0")) }
    };
    let ((x, n), (y, m)) = (side(reference, "rows of the reference")?, side(current, "rows of the current data")?);
    let pooled = (x + y) / (n + m);
    let variance = pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m);
    if variance <= 0.0 {
        return Ok(TwoSampleTest::new(0.0, 1.0));
    }
    let z = (x / n - y / m) / variance.sqrt();
    Ok(TwoSampleTest::new(z, normal_two_sided(z)))
}

#[cfg(test)]
mod tests {
    use super::super::chi2::chi2_two_sample;
    use super::super::two_sample::tests::agrees;
    use super::*;

    #[test]
    fn the_square_is_that_of_the_chi_square_test() {
        // scipy 1.17.1: 2 * norm.sf(z) with z by the formula, counts 120 of 500 and 99 of 300
        agrees(proportions_z([120, 380], [99, 201]).unwrap(), -2.76390434647448, 0.005711427945968373);
        let chi2 = chi2_two_sample(&[120, 380], &[99, 201]).unwrap();
        let z = proportions_z([120, 380], [99, 201]).unwrap();
        assert!((z.statistic.powi(2) - chi2.statistic).abs() < 1e-10 && (z.p_value - chi2.p_value).abs() < 1e-10);
    }

    #[test]
    fn one_answer_only_cannot_differ() {
        agrees(proportions_z([5, 0], [9, 0]).unwrap(), 0.0, 1.0);
        assert!(proportions_z([0, 0], [9, 0]).is_err());
    }
}
