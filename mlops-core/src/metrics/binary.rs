//! Metrics of scores against labels 0 and 1.

use super::check;
use crate::{Error, Result};

/// Area under the ROC curve: the probability that a positive row scores above a negative one, ties counting half.
///
/// * `labels`: 0 or 1; `scores`: any finite numbers; `weights`: none, or one finite weight of at least 0 per row.
/// * `O(n log n)`; the order of rows does not matter.
///
/// # Errors
/// [`Error::Invalid`] when lengths differ or one class has no weight (there is no area then), [`Error::InvalidData`] for a bad
/// label, score or weight.
///
/// # Source
/// Hanley, McNeil, *The meaning and use of the area under a ROC curve*, Radiology 143, 1982; equals scikit-learn's `roc_auc_score`.
///
/// # Examples
/// ```
/// let auc = mlops_core::metrics::auc(&[0.0, 0.0, 1.0, 1.0], &[0.1, 0.4, 0.35, 0.8], None)?;
/// assert_eq!(auc, 0.75);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn auc(labels: &[f64], scores: &[f64], weights: Option<&[f64]>) -> Result<f64> {
    check::binary_scores(labels, scores)?;
    if let Some(weights) = weights {
        if weights.len() != labels.len() {
            return Err(Error::invalid("number of weights", weights.len(), "that of the labels"));
        }
        check::not_negative("weight", weights)?;
    }
    let weight = |row: usize| weights.and_then(|weights| weights.get(row)).copied().unwrap_or(1.0);
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_unstable_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let (mut negatives, mut positives, mut area) = (0.0, 0.0, 0.0);
    for tied in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let (mut up, mut down) = (0.0, 0.0);
        for &row in tied {
            *if labels[row] > 0.0 { &mut up } else { &mut down } += weight(row);
        }
        area += up * (negatives + down / 2.0);
        (positives, negatives) = (positives + up, negatives + down);
    }
    if positives > 0.0 && negatives > 0.0 {
        Ok(area / (positives * negatives))
    } else {
        Err(Error::invalid("classes in the labels", 1, "2, both with weight"))
    }
}

/// Mean of `−ln p(label)` in nats, probabilities moved into `[1e-15, 1 − 1e-15]` first.
///
/// # Errors
/// [`Error::Invalid`] when the lengths differ, [`Error::InvalidData`] for a label that is not 0 or 1 or a score outside of `0..=1`.
pub fn log_loss(labels: &[f64], scores: &[f64]) -> Result<f64> {
    check::binary_probabilities(labels, scores)?;
    Ok(labels.iter().zip(scores).map(|(&label, &score)| log_loss_of(label, score)).sum::<f64>() / labels.len() as f64)
}

pub(crate) fn log_loss_of(label: f64, score: f64) -> f64 {
    let score = score.clamp(1e-15, 1.0 - 1e-15);
    if label > 0.0 { -score.ln() } else { -(-score).ln_1p() }
}

/// Mean squared difference of probability and label, in `0..=1`.
///
/// # Errors
/// As [`log_loss`].
///
/// # Source
/// Brier, *Verification of forecasts expressed in terms of probability*, Mon. Weather Rev. 78, 1950.
pub fn brier(labels: &[f64], scores: &[f64]) -> Result<f64> {
    check::binary_probabilities(labels, scores)?;
    Ok(labels.iter().zip(scores).map(|(label, score)| (score - label).powi(2)).sum::<f64>() / labels.len() as f64)
}

/// Share of rows whose predicted class is the label; any number of classes, compared as numbers.
///
/// For scores and a threshold, see [`super::Confusion`].
///
/// # Errors
/// [`Error::Invalid`] when the lengths differ, [`Error::InvalidData`] for NaN or infinities.
pub fn accuracy(labels: &[f64], predictions: &[f64]) -> Result<f64> {
    check::same_length(labels.len(), predictions.len())?;
    check::finite("label", labels)?;
    check::finite("prediction", predictions)?;
    let right = labels.iter().zip(predictions).filter(|(label, prediction)| label == prediction).count();
    Ok(right as f64 / labels.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    const LABELS: [f64; 6] = [0.0, 1.0, 1.0, 0.0, 1.0, 0.0];
    const SCORES: [f64; 6] = [0.2, 0.2, 0.7, 0.7, 0.9, 0.1];

    #[test]
    fn scores_agree_with_scikit_learn() {
        // scikit-learn 1.9.1: roc_auc_score, with sample_weight=[1..6], log_loss, brier_score_loss
        close(auc(&LABELS, &SCORES, None).unwrap(), 0.7777777777777778);
        close(auc(&LABELS, &SCORES, Some(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])).unwrap(), 0.8636363636363635);
        close(log_loss(&LABELS, &SCORES).unwrap(), 0.6006583738881052);
        close(brier(&LABELS, &SCORES).unwrap(), 0.21333333333333337);
    }

    #[test]
    fn equal_scores_are_worth_a_half() {
        close(auc(&[0.0, 1.0, 1.0], &[0.5; 3], None).unwrap(), 0.5);
        close(auc(&[0.0, 1.0], &[-0.0, 0.0], None).unwrap(), 0.5);
    }

    #[test]
    fn certain_mistakes_have_a_finite_loss() {
        assert!(log_loss(&[1.0, 0.0], &[0.0, 1.0]).unwrap() < 35.0);
    }

    #[test]
    fn bad_input_names_its_position() {
        let error = auc(&[0.0, 1.0], &[0.1, f64::NAN], None).unwrap_err().to_string();
        assert_eq!(error, "score at position 1: NaN is not a finite number");
        let error = auc(&[0.0, 2.0], &[0.1, 0.2], None).unwrap_err().to_string();
        assert_eq!(error, "label at position 1: 2 is not 0 or 1");
        assert!(auc(&[1.0, 1.0], &[0.1, 0.2], None).unwrap_err().to_string().contains("classes"));
        assert!(auc(&[0.0, 1.0], &[0.1, 0.2], Some(&[1.0])).is_err());
        assert!(log_loss(&[0.0, 1.0], &[0.1, 1.2]).is_err());
        assert!(accuracy(&[], &[]).is_err());
    }

    #[test]
    fn accuracy_counts_equal_classes() {
        close(accuracy(&[0.0, 1.0, 2.0, 2.0], &[0.0, 2.0, 2.0, 2.0]).unwrap(), 0.75);
    }
}
