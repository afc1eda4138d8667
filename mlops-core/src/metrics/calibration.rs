//! Do probabilities come true as often as they say?

use serde::{Deserialize, Serialize};

use super::check;
use crate::{Error, Result};

/// Rows whose score falls into one of several equally wide bins of `[0, 1]`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationBin {
    /// Rows in the bin.
    pub count: u64,
    /// Sum of their scores.
    pub score_sum: f64,
    /// Sum of their labels.
    pub label_sum: f64,
}

impl CalibrationBin {
    pub(crate) fn add(&mut self, label: f64, score: f64) {
        self.count += 1;
        self.score_sum += score;
        self.label_sum += label;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.score_sum += other.score_sum;
        self.label_sum += other.label_sum;
    }

    /// Mean score; `None` without rows.
    pub fn mean_score(&self) -> Option<f64> {
        (self.count > 0).then(|| self.score_sum / self.count as f64)
    }

    /// Share of positive rows; `None` without rows.
    pub fn positive_rate(&self) -> Option<f64> {
        (self.count > 0).then(|| self.label_sum / self.count as f64)
    }
}

/// The bin of `score` among `bins` equally wide ones of `[0, 1]`: `[a, b)`, 1.0 in the last.
pub(crate) fn bin_of(score: f64, bins: usize) -> usize {
    ((score * bins as f64) as usize).min(bins - 1)
}

/// The reliability diagram: `bins` equally wide bins of `[0, 1]`, `[a, b)` each, 1.0 in the last.
///
/// # Errors
/// [`Error::Invalid`] when the lengths differ or `bins` is not in `1..=65536`, [`Error::InvalidData`] for a label that is not 0 or 1 or a
/// score outside of `0..=1`.
pub fn calibration_bins(labels: &[f64], scores: &[f64], bins: usize) -> Result<Vec<CalibrationBin>> {
    check::binary_probabilities(labels, scores)?;
    if !(1..=65_536).contains(&bins) {
        return Err(Error::invalid("bins", bins, "in 1..=65536"));
    }
    let mut out = vec![CalibrationBin::default(); bins];
    for (&label, &score) in labels.iter().zip(scores) {
        out[bin_of(score, bins)].add(label, score);
    }
    Ok(out)
}

/// Expected calibration error over 10 equally wide bins, in `0..=1`: `Σ nᵢ/n · |mean score − share of positives|`.
///
/// Not to be mixed up with the variant over bins of equal count, which NannyML uses.
///
/// # Errors
/// As [`calibration_bins`].
///
/// # Source
/// Naeini, Cooper, Hauskrecht, *Obtaining well calibrated probabilities using Bayesian binning*, AAAI 2015.
pub fn ece(labels: &[f64], scores: &[f64]) -> Result<f64> {
    Ok(ece_of(&calibration_bins(labels, scores, 10)?))
}

pub(crate) fn ece_of(bins: &[CalibrationBin]) -> f64 {
    let rows: u64 = bins.iter().map(|bin| bin.count).sum();
    bins.iter().map(|bin| (bin.score_sum - bin.label_sum).abs()).sum::<f64>() / rows.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_that_of_a_calculation_by_hand() {
        // bins [0.1, 0.2): scores 0.1 0.15, labels 0 1 → |0.25 − 1| = 0.75; last: scores 0.95 1.0, labels 1 1 → 0.05; sum 0.8 over 4 rows
        let found = ece(&[0.0, 1.0, 1.0, 1.0], &[0.1, 0.15, 0.95, 1.0]).unwrap();
        assert!((found - 0.2).abs() < 1e-12, "{found}");
    }

    #[test]
    fn edges_belong_to_the_bin_above_and_one_to_the_last() {
        let bins = calibration_bins(&[0.0, 0.0, 1.0], &[0.0, 0.5, 1.0], 2).unwrap();
        assert_eq!(bins.iter().map(|bin| bin.count).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(bins[1].positive_rate(), Some(0.5));
        assert!(calibration_bins(&[0.0], &[0.0], 0).is_err());
    }
}
