//! Sums of classification metrics over a stream.

use serde::{Deserialize, Serialize};

use super::binary::log_loss_of;
use super::calibration::{CalibrationBin, bin_of, ece_of};
use super::check;
use super::confusion::Confusion;
use crate::{Error, Result};

/// Mergeable sums of the metrics of probabilities against labels 0 and 1.
///
/// Everything equals the functions over all rows to rounding, but for the AUC: that comes from counts in 1000 equally wide
/// score bins per class, and [`BinaryTotals::auc_error`] bounds its error. About 16 KiB.
///
/// # Examples
/// ```
/// let mut totals = mlops_core::metrics::BinaryTotals::new(0.5)?;
/// totals.update(&[0.0, 1.0, 1.0], &[0.2, 0.4, 0.8])?;
/// assert_eq!((totals.auc(), totals.confusion().recall()), (Some(1.0), Some(0.5)));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct BinaryTotals {
    threshold: f64,
    confusion: Confusion,
    log_loss_sum: f64,
    brier_sum: f64,
    calibration: Vec<CalibrationBin>,
    negatives: Vec<u64>,
    positives: Vec<u64>,
}

/// Score bins of the AUC.
const BINS: usize = 1000;
/// Bins of the calibration error.
const CALIBRATION: usize = 10;

impl BinaryTotals {
    /// No rows yet; scores of at least `threshold` count as selected.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `threshold` is not in `0..=1`.
    pub fn new(threshold: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&threshold) {
            return Err(Error::invalid("threshold", threshold, "in 0..=1"));
        }
        Ok(Self {
            threshold,
            confusion: Confusion::default(),
            log_loss_sum: 0.0,
            brier_sum: 0.0,
            calibration: vec![CalibrationBin::default(); CALIBRATION],
            negatives: vec![0; BINS],
            positives: vec![0; BINS],
        })
    }

    /// Adds rows: labels 0 or 1, probabilities as scores.
    ///
    /// # Errors
    /// As [`super::log_loss`]; nothing is added then.
    pub fn update(&mut self, labels: &[f64], scores: &[f64]) -> Result<()> {
        check::binary_probabilities(labels, scores)?;
        for (&label, &score) in labels.iter().zip(scores) {
            let is_positive = label > 0.0;
            self.confusion.add(is_positive, score >= self.threshold);
            self.log_loss_sum += log_loss_of(label, score);
            self.brier_sum += (score - label).powi(2);
            self.calibration[bin_of(score, CALIBRATION)].add(label, score);
            let side = if is_positive { &mut self.positives } else { &mut self.negatives };
            side[bin_of(score, BINS)] += 1;
        }
        Ok(())
    }

    /// Adds the rows of `other`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the thresholds differ; nothing is added then.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.threshold != other.threshold {
            return Err(Error::invalid("threshold of merged totals", other.threshold, "equal"));
        }
        self.confusion.merge(&other.confusion)?;
        self.log_loss_sum += other.log_loss_sum;
        self.brier_sum += other.brier_sum;
        self.calibration.iter_mut().zip(&other.calibration).for_each(|(mine, theirs)| mine.merge(theirs));
        self.negatives.iter_mut().zip(&other.negatives).for_each(|(mine, theirs)| *mine += theirs);
        self.positives.iter_mut().zip(&other.positives).for_each(|(mine, theirs)| *mine += theirs);
        Ok(())
    }

    /// Rows seen.
    pub fn rows(&self) -> u64 {
        self.confusion.rows()
    }

    /// The decisions at the threshold: accuracy, precision, recall, F1.
    pub fn confusion(&self) -> &Confusion {
        &self.confusion
    }

    /// Mean log loss in nats; `None` without rows.
    pub fn log_loss(&self) -> Option<f64> {
        self.mean(self.log_loss_sum)
    }

    /// Brier score; `None` without rows.
    pub fn brier(&self) -> Option<f64> {
        self.mean(self.brier_sum)
    }

    /// Expected calibration error over 10 equally wide bins; `None` without rows.
    pub fn ece(&self) -> Option<f64> {
        (self.rows() > 0).then(|| ece_of(&self.calibration))
    }

    /// The reliability diagram behind [`BinaryTotals::ece`].
    pub fn calibration(&self) -> &[CalibrationBin] {
        &self.calibration
    }

    /// Area under the ROC curve, scores of one bin counted as ties; `None` unless both classes were seen.
    pub fn auc(&self) -> Option<f64> {
        self.auc_and_error().map(|(auc, _)| auc)
    }

    /// By how much the true area may differ from [`BinaryTotals::auc`]: half of the share of pairs that lie in one bin.
    pub fn auc_error(&self) -> Option<f64> {
        self.auc_and_error().map(|(_, error)| error)
    }

    fn auc_and_error(&self) -> Option<(f64, f64)> {
        let (mut below, mut area, mut tied, mut positives) = (0.0, 0.0, 0.0, 0.0);
        for (&down, &up) in self.negatives.iter().zip(&self.positives) {
            let (down, up) = (down as f64, up as f64);
            area += up * (below + down / 2.0);
            tied += up * down / 2.0;
            below += down;
            positives += up;
        }
        let pairs = positives * below;
        (pairs > 0.0).then(|| (area / pairs, tied / pairs))
    }

    fn mean(&self, sum: f64) -> Option<f64> {
        (self.rows() > 0).then(|| sum / self.rows() as f64)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: u32,
    threshold: f64,
    confusion: Confusion,
    log_loss_sum: f64,
    brier_sum: f64,
    calibration: Vec<CalibrationBin>,
    negatives: Vec<u64>,
    positives: Vec<u64>,
}

impl From<BinaryTotals> for Wire {
    fn from(t: BinaryTotals) -> Self {
        let BinaryTotals { threshold, confusion, log_loss_sum, brier_sum, calibration, negatives, positives } = t;
        Self { format: 1, threshold, confusion, log_loss_sum, brier_sum, calibration, negatives, positives }
    }
}

impl TryFrom<Wire> for BinaryTotals {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self> {
        crate::stats::bytes::check_format("binary totals", wire.format, 1)?;
        let empty = Self::new(wire.threshold)?;
        let Wire { confusion, log_loss_sum, brier_sum, calibration, negatives, positives, .. } = wire;
        let sum = |counts: &[u64]| counts.iter().fold(0_u64, |sum, &count| sum.saturating_add(count));
        let cells = |cells: [u64; 2]| sum(&cells);
        let sane = calibration.len() == CALIBRATION
            && (negatives.len(), positives.len()) == (BINS, BINS)
            && sum(&negatives) == cells([confusion.true_negatives, confusion.false_positives])
            && sum(&positives) == cells([confusion.true_positives, confusion.false_negatives])
            && sum(&calibration.iter().map(|bin| bin.count).collect::<Vec<_>>())
                == cells([sum(&negatives), sum(&positives)])
            && cells([sum(&negatives), sum(&positives)]) <= 1 << 56;
        if sane {
            Ok(Self { confusion, log_loss_sum, brier_sum, calibration, negatives, positives, ..empty })
        } else {
            Err(Error::corrupt("binary totals", "counts contradict each other"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{auc, brier, ece, log_loss};
    use super::*;

    fn rows(count: u32) -> (Vec<f64>, Vec<f64>) {
        let label = |i: u32| f64::from(u8::from(i * 7919 % 100 < 30));
        let score = |i: u32| (f64::from(i * 104_729 % 9973) / 9973.0 * 0.7 + 0.3 * label(i)).min(1.0);
        ((0..count).map(label).collect(), (0..count).map(score).collect())
    }

    #[test]
    fn totals_equal_the_functions_over_all_rows() {
        let (labels, scores) = rows(3000);
        let mut totals = BinaryTotals::new(0.5).unwrap();
        let mut late = totals.clone();
        totals.update(&labels[..1000], &scores[..1000]).unwrap();
        late.update(&labels[1000..], &scores[1000..]).unwrap();
        totals.merge(&late).unwrap();
        let close = |found: Option<f64>, expected: f64| assert!((found.unwrap() - expected).abs() < 1e-12);
        close(totals.log_loss(), log_loss(&labels, &scores).unwrap());
        close(totals.brier(), brier(&labels, &scores).unwrap());
        close(totals.ece(), ece(&labels, &scores).unwrap());
        assert_eq!(*totals.confusion(), Confusion::at(&labels, &scores, 0.5).unwrap());
        let off = (totals.auc().unwrap() - auc(&labels, &scores, None).unwrap()).abs();
        assert!(off <= totals.auc_error().unwrap() && totals.auc_error().unwrap() < 1e-3, "{off}");
    }

    #[test]
    fn without_both_classes_there_is_no_area() {
        let mut totals = BinaryTotals::new(0.5).unwrap();
        assert_eq!((totals.log_loss(), totals.auc()), (None, None));
        totals.update(&[1.0], &[0.7]).unwrap();
        assert_eq!(totals.auc(), None);
    }

    #[test]
    fn json_comes_back_and_contradictions_are_refused() {
        let (labels, scores) = rows(50);
        let mut totals = BinaryTotals::new(0.25).unwrap();
        totals.update(&labels, &scores).unwrap();
        let json = serde_json::to_string(&totals).unwrap();
        assert_eq!(serde_json::from_str::<BinaryTotals>(&json).unwrap(), totals);
        let cells = totals.confusion().true_positives;
        let broken = json.replace(&format!("\"true_positives\":{cells}"), &format!("\"true_positives\":{}", cells + 1));
        assert!(serde_json::from_str::<BinaryTotals>(&broken).is_err());
    }
}
