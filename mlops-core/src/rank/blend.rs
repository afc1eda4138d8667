//! Several objectives, one order: weights that can change while requests run.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::{Error, Name, Result};

/// How much each objective counts: `score = Σ weight · objective`. A negative weight is for what is unwanted.
///
/// # Examples
/// ```
/// use mlops_core::rank::Weights;
/// let weights = Weights::new("spring", [("click", 1.0), ("complaint", -5.0)])?;
/// assert_eq!(weights.get("complaint"), Some(-5.0));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Weights {
    version: Arc<str>,
    by_objective: BTreeMap<Name, f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    version: String,
    by_objective: BTreeMap<Name, f64>,
}

impl TryFrom<Unchecked> for Weights {
    type Error = Error;

    fn try_from(unchecked: Unchecked) -> Result<Self> {
        Self::new(unchecked.version, unchecked.by_objective)
    }
}

impl From<Weights> for Unchecked {
    fn from(weights: Weights) -> Self {
        Self { version: weights.version.to_string(), by_objective: weights.by_objective }
    }
}

impl Weights {
    /// Weights by objective; `version` is what a served answer is traced back with.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a weight is not finite or an objective is not a [`Name`].
    pub fn new<N: AsRef<str>>(
        version: impl Into<Arc<str>>,
        weights: impl IntoIterator<Item = (N, f64)>,
    ) -> Result<Self> {
        let mut by_objective = BTreeMap::new();
        for (objective, weight) in weights {
            if !weight.is_finite() {
                return Err(Error::invalid(
                    "weight",
                    format!("{weight} of `{}`", objective.as_ref()),
                    "a finite number",
                ));
            }
            by_objective.insert(Name::new(objective)?, weight);
        }
        Ok(Self { version: version.into(), by_objective })
    }

    /// What these weights are called in [`Served::versions`](super::Served::versions).
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// The weight of `objective`.
    pub fn get(&self, objective: &str) -> Option<f64> {
        self.by_objective.get(objective).copied()
    }

    /// Every objective and its weight, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, f64)> {
        self.by_objective.iter().map(|(name, weight)| (name, *weight))
    }
}

/// The weights of a pipeline: a handle to read and swap them while requests run.
///
/// A request sees one set of weights from beginning to end.
#[derive(Debug)]
pub struct Blend {
    objectives: Vec<Name>,
    current: RwLock<Arc<Resolved>>,
}

/// Weights in the order of the pipeline's scorers.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) weights: Weights,
    pub(super) by_scorer: Vec<f64>,
}

impl Blend {
    pub(super) fn new(objectives: Vec<Name>, weights: Weights) -> Result<Self> {
        let resolved = resolve(&objectives, weights)?;
        Ok(Self { objectives, current: RwLock::new(Arc::new(resolved)) })
    }

    /// The weights of requests that begin now.
    pub fn weights(&self) -> Weights {
        self.current().weights.clone()
    }

    /// Takes `weights` for every request that begins from now on, and returns those before.
    ///
    /// # Errors
    /// [`Error::NotFound`] when an objective of the pipeline has no weight, or a weight no objective; nothing changes then.
    pub fn swap(&self, weights: Weights) -> Result<Weights> {
        let resolved = Arc::new(self.resolve(weights)?);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        Ok(std::mem::replace(&mut *current, resolved).weights.clone())
    }

    pub(super) fn current(&self) -> Arc<Resolved> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn resolve(&self, weights: Weights) -> Result<Resolved> {
        resolve(&self.objectives, weights)
    }
}

fn resolve(objectives: &[Name], weights: Weights) -> Result<Resolved> {
    if let Some((unknown, _)) = weights.iter().find(|(name, _)| !objectives.contains(name)) {
        return Err(Error::not_found("objective", unknown.as_str()));
    }
    let weight = |name: &Name| weights.get(name.as_str()).ok_or_else(|| Error::not_found("weight", name.as_str()));
    let by_scorer = objectives.iter().map(weight).collect::<Result<_>>()?;
    Ok(Resolved { weights, by_scorer })
}

/// `Σ weight · score` over the objectives that were scored; NaN where there is none. An objective of weight 0 does not
/// count, whatever its scores.
pub(super) fn blend<'a>(rows: usize, parts: impl Iterator<Item = (f64, &'a [f64])>) -> Vec<f64> {
    let mut blended: Option<Vec<f64>> = None;
    for (weight, scores) in parts {
        let blended = blended.get_or_insert_with(|| vec![0.0; rows]);
        if weight != 0.0 {
            blended.iter_mut().zip(scores).for_each(|(sum, score)| *sum += weight * score);
        }
    }
    blended.unwrap_or_else(|| vec![f64::NAN; rows])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blended_scores_are_the_weighted_sum() {
        let (click, complaint) = ([0.5, 0.25, f64::NAN], [0.1, 0.0, 0.0]);
        let both = [(1.0, click.as_slice()), (-2.0, complaint.as_slice())];
        let blended = blend(3, both.into_iter());
        assert_eq!(blended[..2], [0.3, 0.25]);
        assert!(blended[2].is_nan());
        assert_eq!(blend(3, [(0.0, click.as_slice())].into_iter()), [0.0; 3]);
        assert!(blend(2, std::iter::empty()).iter().all(|s| s.is_nan()));
    }

    #[test]
    fn a_swap_that_does_not_fit_changes_nothing() {
        let names = vec![Name::new("a").unwrap(), Name::new("b").unwrap()];
        let blend = Blend::new(names, Weights::new("1", [("a", 1.0), ("b", 2.0)]).unwrap()).unwrap();
        let missing = blend.swap(Weights::new("2", [("a", 1.0)]).unwrap());
        assert!(matches!(missing, Err(Error::NotFound { kind: "weight", .. })));
        let unknown = blend.swap(Weights::new("2", [("a", 1.0), ("b", 1.0), ("c", 1.0)]).unwrap());
        assert!(matches!(unknown, Err(Error::NotFound { kind: "objective", .. })));
        assert_eq!(&**blend.weights().version(), "1");
        let before = blend.swap(Weights::new("2", [("a", 5.0), ("b", 1.0)]).unwrap()).unwrap();
        assert_eq!(&**before.version(), "1");
        assert_eq!(blend.current().by_scorer, [5.0, 1.0]);
    }

    #[test]
    fn weights_that_are_not_numbers_are_refused_in_code_and_in_text() {
        assert!(Weights::new("1", [("a", f64::NAN)]).is_err());
        assert!(Weights::new("1", [("../a", 1.0)]).is_err());
        let text = r#"{"version":"1","by_objective":{"a":1.5}}"#;
        let read: Weights = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert!(serde_json::from_str::<Weights>(r#"{"version":"1","by_objective":{"a":1e999}}"#).is_err());
    }
}
