//! Why a row has its score, and which features a forest leans on.

use crate::Result;

use super::limits::Shape;
use super::{Forest, Tree};

/// What each feature added to one raw score.
#[derive(Debug, Clone, PartialEq)]
pub struct Contributions {
    /// The raw score before anything is known about the row: the cover-weighted mean over the training rows.
    pub bias: f64,
    /// One signed amount per feature, in the order of [`Forest::features`].
    pub by_feature: Vec<f64>,
}

/// How much a forest uses a feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Importance {
    /// Name of the feature.
    pub feature: String,
    /// Splits that look at it.
    pub splits: u64,
    /// Loss that those splits took away in training, in units of the objective.
    pub gain: f64,
}

impl Forest {
    /// Path attribution of one row: how its raw score came to be, feature by feature.
    ///
    /// Every node has a mean, the cover-weighted mean of the leaves below it. Going down a tree moves the expectation
    /// from one mean to the next, and the feature of the split gets the difference. `bias` plus all contributions is the
    /// raw score up to rounding. Costs one walk per tree. Unlike Shapley values it depends on the order of the
    /// splits on the path: features near a root get less than their share where features act together.
    ///
    /// # Errors
    /// [`mlops_core::Error::Invalid`] when the row has another length than there are features.
    ///
    /// # Source
    /// Saabas, *Interpreting random forests*, 2014.
    pub fn contributions(&self, row: &[f64]) -> Result<Contributions> {
        self.check_row(row)?;
        let mut found = Contributions { bias: self.base_score, by_feature: vec![0.0; self.features.len()] };
        for (tree, means) in self.trees.iter().zip(&self.split_means) {
            let Some(&root) = means.first() else {
                found.bias += tree.leaf_value[0];
                continue;
            };
            found.bias += root;
            let (mut node, mut mean) = (0_usize, root);
            loop {
                let child = tree.step(node, row);
                let next = if child >= 0 { means[child as usize] } else { tree.leaf_value[!child as usize] };
                found.by_feature[tree.feature[node] as usize] += next - mean;
                if child < 0 {
                    break;
                }
                (node, mean) = (child as usize, next);
            }
        }
        Ok(found)
    }

    /// Splits and gain of every feature, in the order of [`Forest::features`]; zeros where a feature is not used.
    pub fn importance(&self) -> Vec<Importance> {
        let unused = |feature: &String| Importance { feature: feature.clone(), splits: 0, gain: 0.0 };
        let mut found: Vec<Importance> = self.features.iter().map(unused).collect();
        for tree in &self.trees {
            for (&feature, &gain) in tree.feature.iter().zip(&tree.gain) {
                let entry = &mut found[feature as usize];
                entry.splits += 1;
                entry.gain += gain;
            }
        }
        found
    }
}

/// Cover-weighted mean of the leaves below each split; the plain mean where all covers are 0.
pub(super) fn split_means(tree: &Tree, shape: &Shape) -> Vec<f64> {
    // (cover, cover · value, leaves, sum of values) below each split, children before parents.
    let mut below = vec![(0.0, 0.0, 0.0, 0.0); tree.splits()];
    for &split in shape.splits_in_order.iter().rev() {
        let split = split as usize;
        let mut sum = (0.0, 0.0, 0.0, 0.0);
        for child in [tree.left[split], tree.right[split]] {
            let part = if child >= 0 {
                below[child as usize]
            } else {
                let (value, cover) = (tree.leaf_value[!child as usize], tree.leaf_cover[!child as usize]);
                (cover, cover * value, 1.0, value)
            };
            sum = (sum.0 + part.0, sum.1 + part.1, sum.2 + part.2, sum.3 + part.3);
        }
        below[split] = sum;
    }
    below
        .into_iter()
        .map(|(cover, weighted, leaves, sum)| if cover > 0.0 { weighted / cover } else { sum / leaves })
        .collect()
}
