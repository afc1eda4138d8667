//! Chi-square test of two columns of counts.

use serde::{Deserialize, Serialize};
use statrs::distribution::ContinuousCDF;

use super::psi::chi_squared;
use crate::{Error, Result};

/// What [`chi2_two_sample`] finds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Chi2Test {
    /// `Σ (observed − expected)² / expected` over both samples.
    pub statistic: f64,
    /// Categories after merging, less one.
    pub degrees: usize,
    /// Probability of a statistic at least this large when both samples come from one distribution; 1 without degrees of freedom.
    pub p_value: f64,
    /// Rare categories that were merged into one.
    pub merged: usize,
}

/// What a test does with categories of fewer than 5 expected rows, on which its distribution does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RareCategories {
    /// They are tested as one.
    Merged,
    /// They are tested as they are, as scipy does.
    Kept,
}

/// [`chi2_test`] with rare categories merged.
///
/// # Errors
/// As [`chi2_test`].
///
/// # Examples
/// ```
/// let test = mlops_core::stats::chi2_two_sample(&[50, 50], &[30, 70])?;
/// assert!((test.statistic - 25.0 / 3.0).abs() < 1e-12);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn chi2_two_sample(reference: &[u64], current: &[u64]) -> Result<Chi2Test> {
    chi2_test(reference, current, RareCategories::Merged)
}

/// Chi-square test of homogeneity of two vectors of counts, without Yates' correction.
///
/// With [`RareCategories::Merged`], categories with fewer than 5 expected rows on either side are merged into one before the
/// test, and that one into the smallest of the rest where it is still too small. Categories without rows are left out.
///
/// * `reference`, `current`: counts per category, same length.
///
/// # Errors
/// [`Error::Invalid`] when the lengths differ or either side is empty.
///
/// # Source
/// Pearson 1900; Cochran, *Some methods for strengthening the common χ² tests*, Biometrics 10, 1954, for
/// the rule of 5. Equals `scipy.stats.chi2_contingency(table, correction=False)` where nothing is merged.
///
/// # Examples
/// ```
/// use mlops_core::stats::{RareCategories, chi2_test};
///
/// let (reference, current) = ([50, 40, 2, 1], [30, 60, 1, 2]);
/// assert_eq!(chi2_test(&reference, &current, RareCategories::Kept)?.degrees, 3);
/// assert_eq!(chi2_test(&reference, &current, RareCategories::Merged)?.merged, 2);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn chi2_test(reference: &[u64], current: &[u64], rare: RareCategories) -> Result<Chi2Test> {
    if reference.len() != current.len() {
        return Err(Error::invalid("number of current categories", current.len(), "that of the reference"));
    }
    let (n, m) = (total(reference), total(current));
    if n <= 0.0 || m <= 0.0 {
        return Err(Error::invalid("rows of a sample", 0, "above 0"));
    }
    let least = n.min(m) / (n + m);
    let is_rare = |cell: &(f64, f64)| rare == RareCategories::Merged && (cell.0 + cell.1) * least < 5.0;
    let cells = reference.iter().zip(current).map(|(&r, &c)| (r as f64, c as f64)).filter(|cell| cell.0 + cell.1 > 0.0);
    let (merged, mut kept): (Vec<_>, Vec<_>) = cells.partition(is_rare);
    if !merged.is_empty() {
        let pooled = merged.iter().fold((0.0, 0.0), |sum, cell| (sum.0 + cell.0, sum.1 + cell.1));
        let smallest = kept.iter_mut().min_by(|a, b| (a.0 + a.1).total_cmp(&(b.0 + b.1)));
        match smallest {
            Some(smallest) if is_rare(&pooled) => *smallest = (smallest.0 + pooled.0, smallest.1 + pooled.1),
            _ => kept.push(pooled),
        }
    }
    let statistic: f64 = kept
        .iter()
        .map(|&(r, c)| {
            let (er, ec) = ((r + c) * (n / (n + m)), (r + c) * (m / (n + m)));
            (r - er).powi(2) / er + (c - ec).powi(2) / ec
        })
        .sum();
    let degrees = kept.len().saturating_sub(1);
    let p_value = chi_squared(degrees).map_or(1.0, |distribution| distribution.sf(statistic).clamp(0.0, 1.0));
    Ok(Chi2Test { statistic, degrees, p_value, merged: merged.len() })
}

fn total(counts: &[u64]) -> f64 {
    counts.iter().map(|&count| count as f64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-9 * expected.abs(), "{found} is not {expected}");
    }

    #[test]
    fn agrees_with_scipy_where_nothing_is_rare() {
        // scipy 1.17.1: chi2_contingency([[10, 20, 70], [30, 30, 90]], correction=False)
        let test = chi2_two_sample(&[10, 20, 70], &[30, 30, 90]).unwrap();
        close(test.statistic, 4.6875);
        close(test.p_value, 0.095_967_086_044_998_48);
        assert_eq!((test.degrees, test.merged), (2, 0));
    }

    #[test]
    fn rare_categories_are_tested_together() {
        let test = chi2_two_sample(&[50, 40, 3, 3, 4], &[45, 45, 4, 3, 3]).unwrap();
        let pooled = chi2_two_sample(&[50, 40, 10], &[45, 45, 10]).unwrap();
        assert_eq!(test, Chi2Test { merged: 3, ..pooled });
    }

    #[test]
    fn rare_categories_that_are_kept_agree_with_scipy() {
        // scipy 1.17.1: chi2_contingency([[50, 40, 3, 3, 4], [45, 45, 4, 3, 3]], correction=False)
        let test = chi2_test(&[50, 40, 3, 3, 4], &[45, 45, 4, 3, 3], RareCategories::Kept).unwrap();
        close(test.statistic, 0.8429898275099512);
        close(test.p_value, 0.9325935229965191);
        assert_eq!((test.degrees, test.merged), (4, 0));
    }

    #[test]
    fn a_single_category_cannot_differ() {
        let test = chi2_two_sample(&[7, 0], &[9, 0]).unwrap();
        assert_eq!((test.statistic, test.degrees, test.p_value), (0.0, 0, 1.0));
        assert!(chi2_two_sample(&[1], &[0]).is_err());
        assert!(chi2_two_sample(&[1], &[1, 2]).is_err());
    }
}
