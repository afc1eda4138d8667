//! Tree ensembles as data: what the trainer writes is what the service scores.
//!
//! A [`Forest`] is checked once, when it is built or read, and compiled for scoring at that moment; after that it is
//! immutable and can be shared between threads without a lock. Entry points: [`Forest::from_json`],
//! [`Forest::raw_scores`] for a batch of candidates, [`Forest::raw_score`] for one row, [`Forest::contributions`]
//! for the reasons behind a score.

mod bits;
mod explain;
mod limits;
mod tree;
mod walk;
mod wire;

use std::fmt;

use mlops_core::Error as Core;

use crate::Result;
use bits::BitKernel;
use walk::WalkKernel;

pub use explain::{Contributions, Importance};
pub use limits::{DEPTH_MAX, FEATURE_NAME_BYTES_MAX, FEATURES_MAX, LEAF_VALUE_MAX, LEAVES_MAX, TREES_MAX};
pub(crate) use limits::{check_features, check_link};
pub use tree::Tree;
pub use wire::FORMAT;

/// How a raw score becomes a prediction.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Link {
    /// The prediction is the raw score: regression and ranking.
    Identity,
    /// The prediction is the probability `1 / (1 + exp(-slope · raw))`.
    Logistic {
        /// Steepness, dimensionless, above 0; 1 unless the model was trained with another one.
        slope: f64,
    },
}

impl Link {
    /// The prediction of a raw score. NaN stays NaN.
    pub fn apply(self, raw: f64) -> f64 {
        match self {
            Self::Identity => raw,
            Self::Logistic { slope } => 1.0 / (1.0 + (-slope * raw).exp()),
        }
    }
}

/// A checked, scoreable sum of decision trees.
///
/// `raw(row) = base_score + tree₀(row) + tree₁(row) + …`, added in `f64` in the order of the trees, so every way of
/// scoring gives the same bits. A split sends a value left when `value <= threshold`, right when it is greater, and
/// to its default side when it is NaN (a missing value). Infinities are ordinary extreme values.
///
/// # Examples
/// ```
/// use mlops_registry::forest::{Forest, Link, Tree};
///
/// let stump = Tree {
///     feature: vec![0],
///     threshold: vec![10.0],
///     default_left: vec![false],
///     left: vec![!0],
///     right: vec![!1],
///     gain: vec![4.0],
///     leaf_value: vec![-1.0, 1.0],
///     leaf_cover: vec![30.0, 10.0],
/// };
/// let forest = Forest::new(vec!["tenure_days".into()], vec![stump], Link::Identity, 0.5)?;
/// assert_eq!(forest.raw_score(&[3.0])?, -0.5);
/// assert_eq!(forest.raw_score(&[f64::NAN])?, 1.5);
/// let again = Forest::from_json(forest.to_json()?.as_bytes())?;
/// assert_eq!(again, forest);
/// # Ok::<(), mlops_registry::Error>(())
/// ```
#[derive(Clone)]
pub struct Forest {
    features: Vec<String>,
    trees: Vec<Tree>,
    /// Mean value of every split node, per tree: what [`Forest::contributions`] walks along.
    split_means: Vec<Vec<f64>>,
    link: Link,
    base_score: f64,
    kernel: Kernel,
}

/// The compiled form; both give the bits of a plain walk.
#[derive(Clone)]
enum Kernel {
    /// Trees of few leaves: leaf masks instead of pointers.
    Bits(BitKernel),
    /// Deep trees: several walks in lock-step.
    Walk(WalkKernel),
}

impl Forest {
    /// Checks the parts and compiles them for scoring.
    ///
    /// * `features`: one name per input column, in the order in which rows are given.
    /// * `trees`: may be empty; the forest is then the constant `base_score`.
    /// * `base_score`: finite, at most [`LEAF_VALUE_MAX`] in magnitude.
    ///
    /// Takes time and memory linear in the number of leaves.
    ///
    /// # Errors
    /// [`mlops_core::Error::InvalidData`] naming the tree and the fault: arrays of different length, a child or a
    /// feature that does not exist, a node with several parents or out of reach, numbers that are not finite, or a
    /// size above one of the limits of this module.
    pub fn new(features: Vec<String>, trees: Vec<Tree>, link: Link, base_score: f64) -> Result<Self> {
        let shapes = limits::check(&features, &trees, link, base_score)?;
        let split_means = trees.iter().zip(&shapes).map(|(tree, shape)| explain::split_means(tree, shape)).collect();
        let kernel = if shapes.iter().all(|shape| shape.leaves <= bits::TREE_LEAVES_MAX) {
            Kernel::Bits(BitKernel::compile(&trees, &shapes))
        } else {
            Kernel::Walk(WalkKernel::compile(&trees, &shapes))
        };
        Ok(Self { features, trees, split_means, link, base_score, kernel })
    }

    /// Names of the input columns, in order.
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// The trees, in the order in which they are added.
    pub fn trees(&self) -> &[Tree] {
        &self.trees
    }

    /// How a raw score becomes a prediction.
    pub fn link(&self) -> Link {
        self.link
    }

    /// What every row starts from.
    pub fn base_score(&self) -> f64 {
        self.base_score
    }

    /// Raw scores of many rows.
    ///
    /// * `columns`: one slice per feature in the order of [`Forest::features`], all of the length of `out`; NaN is missing.
    /// * `out`: overwritten with one score per row.
    ///
    /// Allocates a few hundred bytes per feature; takes no lock.
    ///
    /// # Errors
    /// [`mlops_core::Error::Invalid`] when the number of columns or a length differs; `out` is then untouched.
    pub fn raw_scores(&self, columns: &[&[f64]], out: &mut [f64]) -> Result<()> {
        if columns.len() != self.features.len() {
            return Err(Core::Invalid {
                setting: "columns",
                value: format!("{} for {} features", columns.len(), self.features.len()),
                domain: "one column per feature of the forest",
            }
            .into());
        }
        if let Some(at) = columns.iter().position(|column| column.len() != out.len()) {
            return Err(Core::Invalid {
                setting: "columns",
                value: format!("{} rows of `{}` for {} scores", columns[at].len(), self.features[at], out.len()),
                domain: "one value per score",
            }
            .into());
        }
        out.fill(self.base_score);
        match &self.kernel {
            Kernel::Bits(kernel) => kernel.add_scores(columns, out),
            Kernel::Walk(kernel) => kernel.add_scores(columns, out),
        }
        Ok(())
    }

    /// Raw score of one row: one value per feature in the order of [`Forest::features`]; NaN is missing.
    ///
    /// # Errors
    /// [`mlops_core::Error::Invalid`] when the row has another length.
    pub fn raw_score(&self, row: &[f64]) -> Result<f64> {
        self.check_row(row)?;
        Ok(match &self.kernel {
            Kernel::Bits(kernel) => kernel.score(row, self.base_score),
            Kernel::Walk(kernel) => kernel.score(row, self.base_score),
        })
    }

    /// Prediction of one row: [`Forest::raw_score`] through [`Forest::link`].
    ///
    /// # Errors
    /// [`mlops_core::Error::Invalid`] when the row has another length than there are features.
    pub fn predict(&self, row: &[f64]) -> Result<f64> {
        Ok(self.link.apply(self.raw_score(row)?))
    }

    fn check_row(&self, row: &[f64]) -> Result<()> {
        if row.len() == self.features.len() {
            return Ok(());
        }
        let value = format!("{} values for {} features", row.len(), self.features.len());
        Err(Core::Invalid { setting: "row", value, domain: "one value per feature of the forest" }.into())
    }
}

impl PartialEq for Forest {
    fn eq(&self, other: &Self) -> bool {
        self.features == other.features
            && self.trees == other.trees
            && self.link == other.link
            && self.base_score == other.base_score
    }
}

impl fmt::Debug for Forest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forest")
            .field("features", &self.features.len())
            .field("trees", &self.trees.len())
            .field("link", &self.link)
            .field("base_score", &self.base_score)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
