//! The four cells of a binary decision.

use serde::{Deserialize, Serialize};

use super::check;
use crate::Result;

/// Counts of right and wrong decisions; ratios are `None` where their divisor is 0.
///
/// # Examples
/// ```
/// use mlops_core::metrics::Confusion;
///
/// let confusion = Confusion::at(&[1.0, 1.0, 0.0, 0.0], &[0.9, 0.3, 0.6, 0.1], 0.5)?;
/// assert_eq!((confusion.precision(), confusion.recall()), (Some(0.5), Some(0.5)));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confusion {
    /// Positive rows that were selected.
    pub true_positives: u64,
    /// Negative rows that were selected.
    pub false_positives: u64,
    /// Negative rows that were not selected.
    pub true_negatives: u64,
    /// Positive rows that were not selected.
    pub false_negatives: u64,
}

impl Confusion {
    /// Counts rows whose score is at least `threshold` as selected.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] when the lengths differ, [`crate::Error::InvalidData`] for a label that is not 0 or 1 or a score that is not finite.
    pub fn at(labels: &[f64], scores: &[f64], threshold: f64) -> Result<Self> {
        check::binary_scores(labels, scores)?;
        let mut confusion = Self::default();
        for (&label, &score) in labels.iter().zip(scores) {
            confusion.add(label > 0.0, score >= threshold);
        }
        Ok(confusion)
    }

    /// Adds one decision.
    pub fn add(&mut self, is_positive: bool, is_selected: bool) {
        let cell = match (is_positive, is_selected) {
            (true, true) => &mut self.true_positives,
            (false, true) => &mut self.false_positives,
            (false, false) => &mut self.true_negatives,
            (true, false) => &mut self.false_negatives,
        };
        *cell += 1;
    }

    /// Adds the counts of `other`.
    ///
    /// # Errors
    /// None today; the signature is that of every mergeable statistic.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.true_positives += other.true_positives;
        self.false_positives += other.false_positives;
        self.true_negatives += other.true_negatives;
        self.false_negatives += other.false_negatives;
        Ok(())
    }

    /// All rows.
    pub fn rows(&self) -> u64 {
        self.true_positives + self.false_positives + self.true_negatives + self.false_negatives
    }

    /// Share of right decisions.
    pub fn accuracy(&self) -> Option<f64> {
        ratio(self.true_positives + self.true_negatives, self.rows())
    }

    /// Share of the selected rows that are positive.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_positives)
    }

    /// Share of the positive rows that are selected.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// Share of the negative rows that are selected.
    pub fn false_positive_rate(&self) -> Option<f64> {
        ratio(self.false_positives, self.false_positives + self.true_negatives)
    }

    /// Share of all rows that are selected.
    pub fn selection_rate(&self) -> Option<f64> {
        ratio(self.true_positives + self.false_positives, self.rows())
    }

    /// Harmonic mean of precision and recall.
    pub fn f1(&self) -> Option<f64> {
        let both = 2 * self.true_positives;
        ratio(both, both + self.false_positives + self.false_negatives)
    }
}

pub(crate) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratios_are_those_of_the_cells() {
        let confusion = Confusion { true_positives: 6, false_positives: 2, true_negatives: 10, false_negatives: 4 };
        assert_eq!(confusion.accuracy(), Some(16.0 / 22.0));
        assert_eq!(confusion.precision(), Some(0.75));
        assert_eq!(confusion.recall(), Some(0.6));
        assert_eq!(confusion.f1(), Some(12.0 / 18.0));
        assert_eq!(confusion.false_positive_rate(), Some(2.0 / 12.0));
        assert_eq!(confusion.selection_rate(), Some(8.0 / 22.0));
    }

    #[test]
    fn a_ratio_without_rows_is_none() {
        let nothing_selected = Confusion::at(&[1.0, 0.0], &[0.1, 0.2], 0.5).unwrap();
        assert_eq!((nothing_selected.precision(), nothing_selected.recall()), (None, Some(0.0)));
        assert_eq!(Confusion::default().f1(), None);
    }

    #[test]
    fn a_score_on_the_threshold_is_selected() {
        assert_eq!(Confusion::at(&[1.0], &[0.5], 0.5).unwrap().true_positives, 1);
    }
}
