//! What every metric demands of its input.

use crate::{Error, Result};

/// Equal lengths, at least one row.
pub(crate) fn same_length(labels: usize, other: usize) -> Result<()> {
    if labels != other {
        return Err(Error::invalid("number of predictions", other, "that of the labels"));
    }
    if labels == 0 {
        return Err(Error::invalid("number of labels", 0, "at least 1"));
    }
    Ok(())
}

/// No NaN, no infinity.
pub(crate) fn finite(what: &'static str, values: &[f64]) -> Result<()> {
    every(what, values, "a finite number", f64::is_finite)
}

/// Labels 0 and 1 only.
pub(crate) fn binary(labels: &[f64]) -> Result<()> {
    every("label", labels, "0 or 1", |label| label == 0.0 || label == 1.0)
}

/// Probabilities.
pub(crate) fn probabilities(scores: &[f64]) -> Result<()> {
    every("score", scores, "in 0..=1", |score| (0.0..=1.0).contains(&score))
}

/// Relevance grades and weights.
pub(crate) fn not_negative(what: &'static str, values: &[f64]) -> Result<()> {
    every(what, values, "a finite number of at least 0", |value| value >= 0.0 && value.is_finite())
}

fn every(what: &'static str, values: &[f64], domain: &'static str, is_fine: impl Fn(f64) -> bool) -> Result<()> {
    match values.iter().enumerate().find(|&(_, &value)| !is_fine(value)) {
        None => Ok(()),
        Some((place, value)) => {
            Err(Error::invalid_data(format!("{what} at position {place}"), format_args!("{value} is not {domain}")))
        }
    }
}

/// Labels that are 0 or 1, finite scores, as many of each.
pub(crate) fn binary_scores(labels: &[f64], scores: &[f64]) -> Result<()> {
    same_length(labels.len(), scores.len())?;
    binary(labels)?;
    finite("score", scores)
}

/// Labels that are 0 or 1, probabilities, as many of each.
pub(crate) fn binary_probabilities(labels: &[f64], scores: &[f64]) -> Result<()> {
    same_length(labels.len(), scores.len())?;
    binary(labels)?;
    probabilities(scores)
}
