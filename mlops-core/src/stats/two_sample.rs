//! What all two-sample tests share.

use serde::{Deserialize, Serialize};
use statrs::function::erf::erfc;

use crate::{Error, Result};

/// A statistic and how likely at least that much is when both samples come from one distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwoSampleTest {
    /// The test's statistic; each test says how it is scaled.
    pub statistic: f64,
    /// In `0..=1`.
    pub p_value: f64,
}

impl TwoSampleTest {
    pub(super) fn new(statistic: f64, p_value: f64) -> Self {
        Self { statistic, p_value: p_value.clamp(0.0, 1.0) }
    }
}

/// Probability of a standard normal number beyond `z` on either side.
pub(super) fn normal_two_sided(z: f64) -> f64 {
    erfc(z.abs() / std::f64::consts::SQRT_2)
}

/// A sample too small for a test, or with too little in it.
pub(super) fn at_least(sample: &[f64], which: &'static str, least: usize, domain: &'static str) -> Result<()> {
    if sample.len() < least { Err(Error::invalid(which, sample.len(), domain)) } else { Ok(()) }
}

/// Runs of equal values of two sorted samples together, in order: the value, and how many each side has.
pub(super) fn runs<'a>(a: &'a [f64], b: &'a [f64]) -> impl Iterator<Item = (f64, usize, usize)> + 'a {
    let (mut i, mut j) = (0, 0);
    std::iter::from_fn(move || {
        let next = match (a.get(i), b.get(j)) {
            (Some(&x), Some(&y)) => x.min(y),
            (Some(&only), None) | (None, Some(&only)) => only,
            (None, None) => return None,
        };
        let equal = |rest: &[f64]| rest.iter().take_while(|&&value| value == next).count();
        let (x, y) = (equal(&a[i..]), equal(&b[j..]));
        (i, j) = (i + x, j + y);
        Some((next, x, y))
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Two sequences without ties, of 101 and 211 values.
    pub(in crate::stats) fn samples() -> (Vec<f64>, Vec<f64>) {
        let a = (0..101).map(|i| f64::from(i * 37 % 101) / 101.0).collect();
        let b = (0..211).map(|i| (f64::from(i * 53 % 211) / 211.0).powf(1.2) + 0.05).collect();
        (a, b)
    }

    /// Two sequences with many ties, of 40 and 55 values.
    pub(in crate::stats) fn tied() -> (Vec<f64>, Vec<f64>) {
        let a = (0..40).map(|i| f64::from(i * i % 7)).collect();
        let b = (0..55).map(|i| f64::from(i * i % 9)).collect();
        (a, b)
    }

    #[track_caller]
    pub(in crate::stats) fn agrees(test: TwoSampleTest, statistic: f64, p_value: f64) {
        let near = |found: f64, expected: f64| (found - expected).abs() <= 1e-9 * expected.abs().max(1e-9);
        assert!(
            near(test.statistic, statistic) && near(test.p_value, p_value),
            "{test:?} is not {statistic}, {p_value}"
        );
    }

    #[test]
    fn runs_hold_every_value_once() {
        let found: Vec<_> = runs(&[1.0, 2.0, 2.0], &[2.0, 3.0]).collect();
        assert_eq!(found, [(1.0, 1, 0), (2.0, 2, 1), (3.0, 0, 1)]);
    }

    #[test]
    fn the_normal_tail_is_that_of_scipy() {
        // scipy 1.17.1: 2 * norm.sf([1.96, 6])
        assert!((normal_two_sided(1.96) - 0.049_995_790_296_440_87).abs() < 1e-9);
        assert!((normal_two_sided(-6.0) / 1.973_175_290_075_389e-9 - 1.0).abs() < 1e-9);
    }
}
