//! One decision tree as plain arrays.

use serde::{Deserialize, Serialize};

/// A binary decision tree: `n` splits and `n + 1` leaves as parallel arrays.
///
/// Split 0 is the root; a tree without splits is its only leaf. A child `c >= 0` is split `c`, a child `c < 0` is leaf
/// `!c` (that is, `-c - 1`), the convention of LightGBM's text format. Plain data: [`super::Forest::new`] checks it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// Input column that each split looks at.
    pub feature: Vec<u32>,
    /// Greatest value that goes left. `+∞` sends everything that is not missing left; it is written as `null`.
    #[serde(with = "unbounded")]
    pub threshold: Vec<f64>,
    /// Whether a missing value goes left.
    pub default_left: Vec<bool>,
    /// Child for values that are not above the threshold.
    pub left: Vec<i32>,
    /// Child for values above the threshold.
    pub right: Vec<i32>,
    /// Loss that each split took away in training, in units of the objective; 0 where it is not known.
    pub gain: Vec<f64>,
    /// What each leaf adds to the raw score.
    pub leaf_value: Vec<f64>,
    /// Training rows (or their weight) in each leaf; 0 where it is not known.
    pub leaf_cover: Vec<f64>,
}

impl Tree {
    /// A tree that adds `value` to every row.
    pub fn constant(value: f64, cover: f64) -> Self {
        Self { leaf_value: vec![value], leaf_cover: vec![cover], ..Self::default() }
    }

    /// Number of leaves.
    pub fn leaves(&self) -> usize {
        self.leaf_value.len()
    }

    /// Number of splits.
    pub fn splits(&self) -> usize {
        self.feature.len()
    }

    /// The child that `row` takes at split `node` of a checked tree.
    pub(super) fn step(&self, node: usize, row: &[f64]) -> i32 {
        let value = row[self.feature[node] as usize];
        let goes_left = if value.is_nan() { self.default_left[node] } else { value <= self.threshold[node] };
        if goes_left { self.left[node] } else { self.right[node] }
    }
}

/// `+∞` has no spelling in JSON: it is stored as `null`.
mod unbounded {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(thresholds: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(thresholds.iter().map(|&t| t.is_finite().then_some(t)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        let bounds = Vec::<Option<f64>>::deserialize(deserializer)?;
        Ok(bounds.into_iter().map(|bound| bound.unwrap_or(f64::INFINITY)).collect())
    }
}
