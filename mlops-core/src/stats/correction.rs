//! Adjusting p-values for the number of tests.

use crate::{Error, Result};

/// Benjamini-Hochberg: p-values adjusted so that rejecting those at or below `q` makes at most a share `q` of the
/// rejections false on average, for independent or positively dependent tests.
///
/// * `p_values`: any number, in `0..=1`. The answers are in the same order, each at least its p-value and at most 1.
///
/// # Errors
/// [`Error::Invalid`] when a value is NaN or outside `0..=1`.
///
/// # Source
/// Benjamini, Hochberg, *Controlling the false discovery rate*, J. R. Stat. Soc. B 57, 1995
/// (`scipy.stats.false_discovery_control`).
///
/// # Examples
/// ```
/// let q = mlops_core::stats::benjamini_hochberg(&[0.01, 0.04, 0.9])?;
/// assert!((q[0] - 0.03).abs() < 1e-12 && (q[1] - 0.06).abs() < 1e-12);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn benjamini_hochberg(p_values: &[f64]) -> Result<Vec<f64>> {
    let order = ascending(p_values)?;
    let mut adjusted = vec![1.0; p_values.len()];
    let mut least = 1.0_f64;
    for (rank, &place) in order.iter().enumerate().rev() {
        least = least.min(p_values[place] * p_values.len() as f64 / (rank + 1) as f64);
        adjusted[place] = least;
    }
    Ok(adjusted)
}

/// Holm: p-values adjusted so that rejecting those at or below `α` makes any false rejection at most `α` likely,
/// however the tests depend on each other. Never weaker than Bonferroni.
///
/// * `p_values`: any number, in `0..=1`. The answers are in the same order, each at least its p-value and at most 1.
///
/// # Errors
/// [`Error::Invalid`] when a value is NaN or outside `0..=1`.
///
/// # Source
/// Holm, *A simple sequentially rejective multiple test procedure*, Scand. J. Stat. 6, 1979.
///
/// # Examples
/// ```
/// let adjusted = mlops_core::stats::holm(&[0.01, 0.04, 0.9])?;
/// assert!((adjusted[0] - 0.03).abs() < 1e-12 && (adjusted[1] - 0.08).abs() < 1e-12);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn holm(p_values: &[f64]) -> Result<Vec<f64>> {
    let order = ascending(p_values)?;
    let mut adjusted = vec![1.0; p_values.len()];
    let mut most = 0.0_f64;
    for (rank, &place) in order.iter().enumerate() {
        most = most.max(p_values[place] * (p_values.len() - rank) as f64).min(1.0);
        adjusted[place] = most;
    }
    Ok(adjusted)
}

fn ascending(p_values: &[f64]) -> Result<Vec<usize>> {
    if let Some(p) = p_values.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(Error::invalid("p-value", p, "in 0..=1"));
    }
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    Ok(order)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const P: [f64; 6] = [0.001, 0.008, 0.039, 0.041, 0.042, 0.6];

    #[track_caller]
    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-12, "{found:?} is not {expected:?}");
        }
    }

    #[test]
    fn benjamini_hochberg_agrees_with_scipy() {
        // scipy 1.17.1: false_discovery_control(P)
        close(&benjamini_hochberg(&P).unwrap(), &[0.006, 0.024, 0.0504, 0.0504, 0.0504, 0.6]);
    }

    #[test]
    fn holm_steps_down_as_by_hand() {
        // 6·0.001, 5·0.008, 4·0.039, then the running maximum: 3·0.041 and 2·0.042 are below 0.156.
        close(&holm(&P).unwrap(), &[0.006, 0.04, 0.156, 0.156, 0.156, 0.6]);
        close(&holm(&[0.6, 0.5]).unwrap(), &[1.0, 1.0]);
    }

    #[test]
    fn no_p_values_are_no_error_and_impossible_ones_are() {
        assert!(benjamini_hochberg(&[]).unwrap().is_empty() && holm(&[]).unwrap().is_empty());
        for bad in [f64::NAN, -0.1, 1.1] {
            assert!(benjamini_hochberg(&[0.5, bad]).unwrap_err().to_string().contains("p-value"));
            assert!(holm(&[bad]).is_err());
        }
    }

    proptest! {
        #[test]
        fn adjusted_values_keep_the_order_and_lie_between_p_and_bonferroni(p in prop::collection::vec(0.0..=1.0_f64, 1..40)) {
            let (bh, holm) = (benjamini_hochberg(&p).unwrap(), holm(&p).unwrap());
            for i in 0..p.len() {
                let bonferroni = (p[i] * p.len() as f64).min(1.0);
                prop_assert!(p[i] <= bh[i] + 1e-15 && bh[i] <= holm[i] + 1e-12 && holm[i] <= bonferroni + 1e-12);
                for j in 0..p.len() {
                    prop_assert!(p[i] > p[j] || bh[i] <= bh[j] && holm[i] <= holm[j]);
                }
            }
        }
    }
}
