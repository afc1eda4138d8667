//! Student's and Welch's t-test.

use serde::{Deserialize, Serialize};
use statrs::function::beta::beta_reg;

use super::Moments;
use super::distance::check_finite;
use super::two_sample::at_least;
use crate::{Error, Result};

/// What is assumed about the variances of two samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variances {
    /// They are equal and pooled (Student).
    Equal,
    /// They may differ (Welch).
    Unequal,
}

/// What [`t_test`] finds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TTest {
    /// Difference of the means, reference less current, over its standard error.
    pub statistic: f64,
    /// Degrees of freedom; not whole for unequal variances.
    pub degrees: f64,
    /// Probability of a statistic at least this far from 0 when the means are equal.
    pub p_value: f64,
}

/// Two-sided t-test of equal means.
///
/// Assumes normal values or many of them; one far outlier inflates the variance and hides any shift.
///
/// * `reference`, `current`: at least 2 finite numbers each, in any order. `O(n)`.
/// * Without any variance the statistic is 0 (p = 1) for equal means and infinite (p = 0) otherwise.
///
/// # Errors
/// [`Error::Invalid`] when a sample has fewer than 2 values, [`Error::InvalidData`] when a value is not finite or their squares
/// leave the range of `f64`.
///
/// # Source
/// Student 1908; Welch, *The generalization of "Student's" problem*, Biometrika 34, 1947 (`scipy.stats.ttest_ind`).
///
/// # Examples
/// ```
/// use mlops_core::stats::{Variances, t_test};
///
/// let test = t_test(&[1.0, 2.0, 3.0], &[2.0, 3.0, 4.0], Variances::Equal)?;
/// assert!((test.statistic + 1.5_f64.sqrt()).abs() < 1e-12 && test.degrees == 4.0);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn t_test(reference: &[f64], current: &[f64], variances: Variances) -> Result<TTest> {
    let (a, b) = (Side::of(reference, "reference")?, Side::of(current, "current")?);
    let (square, degrees) = match variances {
        Variances::Equal => {
            let degrees = a.n + b.n - 2.0;
            let pooled = ((a.n - 1.0) * a.variance + (b.n - 1.0) * b.variance) / degrees;
            (pooled * (1.0 / a.n + 1.0 / b.n), degrees)
        }
        Variances::Unequal => {
            let (x, y) = (a.variance / a.n, b.variance / b.n);
            let sum = x + y;
            // Shares of the sum, for squares of tiny variances vanish.
            let (x, y) = if sum > 0.0 { (x / sum, y / sum) } else { (0.5, 0.5) };
            (sum, 1.0 / (x * x / (a.n - 1.0) + y * y / (b.n - 1.0)))
        }
    };
    let difference = a.mean - b.mean;
    let statistic = if difference == 0.0 { 0.0 } else { difference / square.sqrt() };
    Ok(TTest { statistic, degrees, p_value: tail(statistic, degrees) })
}

/// Probability that Student's t with so many degrees of freedom lies beyond `statistic` on either side.
fn tail(statistic: f64, degrees: f64) -> f64 {
    let x = degrees / (degrees + statistic * statistic);
    if x <= 0.0 { 0.0 } else { beta_reg(degrees / 2.0, 0.5, x.min(1.0)).clamp(0.0, 1.0) }
}

struct Side {
    n: f64,
    mean: f64,
    variance: f64,
}

impl Side {
    fn of(sample: &[f64], which: &'static str) -> Result<Self> {
        at_least(sample, which, 2, "at least 2 values")?;
        check_finite(sample, which)?;
        let mut moments = Moments::default();
        moments.update_slice(sample);
        match (moments.mean(), moments.variance(1)) {
            (Some(mean), Some(variance)) => Ok(Self { n: sample.len() as f64, mean, variance }),
            _ => Err(Error::invalid_data(format!("{which} sample"), "its squares leave the range of numbers")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::two_sample::tests::samples;
    use super::*;

    #[track_caller]
    fn check(variances: Variances, statistic: f64, degrees: f64, p_value: f64) {
        let (a, b) = samples();
        let found = t_test(&a, &b, variances).unwrap();
        for (found, expected) in [(found.statistic, statistic), (found.degrees, degrees), (found.p_value, p_value)] {
            assert!((found - expected).abs() <= 1e-9 * expected.abs(), "{found} is not {expected}");
        }
        let turned = t_test(&b, &a, variances).unwrap();
        assert!((turned.statistic + found.statistic).abs() < 1e-12 && (turned.p_value - found.p_value).abs() < 1e-12);
    }

    #[test]
    fn both_agree_with_scipy() {
        // scipy 1.17.1: ttest_ind(a, b), and with equal_var=False
        check(Variances::Equal, -0.2002351150764023, 310.0, 0.8414279991050888);
        check(Variances::Unequal, -0.201701375380044, 200.85141291294198, 0.8403543227178664);
    }

    #[test]
    fn far_tails_do_not_vanish() {
        let a: Vec<f64> = (0..50).map(f64::from).collect();
        let b: Vec<f64> = a.iter().map(|v| v + 60.0).collect();
        // scipy 1.17.1: ttest_ind(range(50), range(60, 110)).pvalue
        let found = t_test(&a, &b, Variances::Equal).unwrap().p_value;
        assert!((found / 2.359574561304357e-37 - 1.0).abs() < 1e-8, "{found}");
    }

    #[test]
    fn samples_without_variance_are_equal_or_not() {
        let found = t_test(&[1.0; 3], &[1.0; 4], Variances::Unequal).unwrap();
        assert_eq!((found.statistic, found.p_value), (0.0, 1.0));
        let found = t_test(&[1.0; 3], &[2.0; 4], Variances::Equal).unwrap();
        assert_eq!((found.statistic, found.p_value), (f64::NEG_INFINITY, 0.0));
    }

    #[test]
    fn bad_samples_are_named() {
        let error = t_test(&[1.0], &[1.0, 2.0], Variances::Equal).unwrap_err().to_string();
        assert_eq!(error, "reference = 1 is not at least 2 values");
        assert!(t_test(&[1.0, 2.0], &[1.0, f64::NAN], Variances::Equal).unwrap_err().to_string().contains("current"));
        assert!(t_test(&[1.0, f64::MAX], &[f64::MIN, 2.0], Variances::Equal).is_err());
    }
}
